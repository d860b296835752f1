//! What other apps hear of a model's rows.

use std::sync::{Arc, Mutex};

use hulse::channels::Layer;
use hulse::models::{PostDelete, PostSave, PreDelete, PreSave};
use hulse::{Error, Project, Site};

use super::saves::Hooked;
use super::{Author, Blog, Comment, Fixture, Post, author, fixtures, post};

type Heard = Arc<Mutex<Vec<String>>>;

/// The fixture's site once more, with receivers.
async fn listening(fixture: &Fixture, connect: impl FnOnce(Project) -> Project) -> Site {
    let project = Project::new("blog", env!("CARGO_MANIFEST_DIR")).install(Blog);
    let layer = Layer::memory(&fixture.settings.channels);
    connect(project).open(fixture.settings.clone(), layer).await.unwrap()
}

fn take(heard: &Heard) -> Vec<String> {
    std::mem::take(&mut heard.lock().unwrap())
}

#[tokio::test]
async fn receivers_hear_of_saves_and_deletes_inside_the_transaction() {
    for fixture in fixtures().await {
        let heard = Heard::default();
        let (to1, to2) = (Arc::clone(&heard), Arc::clone(&heard));
        let (to3, to4) = (Arc::clone(&heard), Arc::clone(&heard));
        let site = listening(&fixture, |project| {
            project
                .on(move |site: Site, event: Arc<PreSave<Author>>| {
                    let row = event.row();
                    assert!(site.in_transaction() && !event.raw);
                    to1.lock().unwrap().push(format!("pre {} {}", row.id, row.name));
                    async { Ok(()) }
                })
                .on(move |_, event: Arc<PostSave<Author>>| {
                    let (row, new) = (&event.row, event.created);
                    to2.lock().unwrap().push(format!("post {} {new}", row.name));
                    async { Ok(()) }
                })
                .on(move |_, event: Arc<PreDelete<Author>>| {
                    to3.lock().unwrap().push(format!("pre-delete {}", event.row.name));
                    async { Ok(()) }
                })
                .on(move |_, event: Arc<PostDelete<Author>>| {
                    assert!(event.row.id.is_set(), "the key it had");
                    to4.lock().unwrap().push(format!("post-delete {}", event.row.name));
                    async { Ok(()) }
                })
        })
        .await;
        let mut ann = author(&site, "Ann").await;
        assert_eq!(take(&heard), ["pre unset Ann", "post Ann true"]);
        ann.save(&site).await.unwrap();
        assert_eq!(take(&heard)[1], "post Ann false");
        Author::objects().update(&site, |a| [a.name().set("Anna")]).await.unwrap();
        assert_eq!(take(&heard), [""; 0], "an update tells nobody");
        ann.delete(&site).await.unwrap();
        assert_eq!(take(&heard), ["pre-delete Ann", "post-delete Ann"]);
        author(&site, "Bob").await;
        take(&heard);
        Author::objects().delete(&site).await.unwrap();
        assert_eq!(take(&heard), ["pre-delete Bob", "post-delete Bob"]);
    }
}

#[tokio::test]
async fn a_cascade_tells_who_listens_to_the_rows_it_takes() {
    for fixture in fixtures().await {
        let heard = Heard::default();
        let to = Arc::clone(&heard);
        let site = listening(&fixture, |project| {
            project.on(move |_, event: Arc<PostDelete<Comment>>| {
                to.lock().unwrap().push(event.row.text.clone());
                async { Ok(()) }
            })
        })
        .await;
        let mut ann = author(&site, "Ann").await;
        let one = post(&site, &ann, "one").await;
        for text in ["a", "b"] {
            let comment = Comment { post: (&one).into(), text: text.into(), ..Default::default() };
            Comment::create(&site, comment).await.unwrap();
        }
        ann.delete(&site).await.unwrap();
        let mut heard = take(&heard);
        heard.sort();
        assert_eq!(heard, ["a", "b"]);
    }
}

#[tokio::test]
async fn a_receivers_error_undoes_the_save_and_nothing_else() {
    for fixture in fixtures().await {
        let site = listening(&fixture, |project| {
            project
                .on(|_, event: Arc<PostSave<Author>>| async move {
                    if event.row.name == "bad" { Err(Error::new("not you")) } else { Ok(()) }
                })
                .on(|_, event: Arc<PostDelete<Post>>| async move {
                    if event.row.title == "bad" { Err(Error::new("stays")) } else { Ok(()) }
                })
        })
        .await;
        site.atomic(async |site| {
            let mut ann = author(&site, "Ann").await;
            let bad = Author { name: "bad".into(), ..Default::default() };
            assert_eq!(Author::create(&site, bad).await.unwrap_err().to_string(), "not you");
            post(&site, &ann, "bad").await;
            assert_eq!(ann.delete(&site).await.unwrap_err().to_string(), "stays");
            Ok(())
        })
        .await
        .unwrap();
        let names = Author::objects().all(&site).await.unwrap();
        assert_eq!(names.iter().map(|a| a.name.as_str()).collect::<Vec<_>>(), ["Ann"]);
        assert_eq!(Post::objects().count(&site).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_receiver_may_change_the_row_before_it_is_saved() {
    for fixture in fixtures().await {
        let site = listening(&fixture, |project| {
            project.on(|_, event: Arc<PreSave<Author>>| async move {
                event.change(|row| row.name.insert_str(0, "Dr. "));
                Ok(())
            })
        })
        .await;
        let ann = author(&site, "Ann").await;
        assert_eq!(ann.name, "Dr. Ann");
        assert!(Author::objects().filter(|a| a.name().eq("Dr. Ann")).exists(&site).await.unwrap());
    }
}

#[tokio::test]
async fn the_models_own_hook_stands_around_the_receivers() {
    for fixture in fixtures().await {
        let heard = Heard::default();
        let to = Arc::clone(&heard);
        let site = listening(&fixture, |project| {
            project.on(move |_, event: Arc<PreSave<Hooked>>| {
                // `before_save` has left its mark already.
                to.lock().unwrap().push(event.row().log);
                async { Ok(()) }
            })
        })
        .await;
        let row = Hooked { word: "around".into(), ..Default::default() };
        Hooked::create(&site, row).await.unwrap();
        assert_eq!(take(&heard), ["c"]);
    }
}
