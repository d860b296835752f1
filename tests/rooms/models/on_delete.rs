//! What deleting a row does to those that point at it: every `on_delete`, circles, counts.

use std::sync::{Arc, Mutex};

use hulse::models::{Change, ForeignKey, Hooks, Id, Meta, Model, PreDelete};
use hulse::{App, Project, Result, Site};

use super::tables::{Migrated, migrated, open};

#[derive(Model, Debug, Clone)]
#[model(app = "label")]
struct Artist {
    id: Id,
    #[field(max_length = 30)]
    name: String,
}

#[derive(Model, Debug, Clone)]
#[model(app = "label")]
struct Album {
    id: Id,
    #[field(on_delete = cascade)]
    artist: ForeignKey<Artist>,
}

/// Django's own example of RESTRICT.
#[derive(Model, Debug, Clone)]
#[model(app = "label")]
struct Song {
    id: Id,
    #[field(on_delete = cascade)]
    artist: ForeignKey<Artist>,
    #[field(on_delete = restrict)]
    album: ForeignKey<Album>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "label")]
struct Poster {
    id: Id,
    #[field(on_delete = set_default, default = 1)]
    artist: ForeignKey<Artist>,
    #[field(on_delete = set(nobody))]
    printer: Option<ForeignKey<Artist>>,
    #[field(on_delete = set_default)]
    owner: Option<ForeignKey<Artist>>,
}

async fn nobody(site: &Site) -> Result<Artist> {
    let nobody = Artist { name: "nobody".into(), ..Default::default() };
    let known = Artist::objects().filter(|a| a.name().eq("nobody"));
    Ok(known.get_or_create(site, nobody).await?.0)
}

/// Three models in a circle; the last one with a hook.
#[derive(Model, Debug, Clone)]
#[model(app = "circle")]
struct First {
    id: Id,
    #[field(on_delete = cascade)]
    next: Option<ForeignKey<Second>>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "circle")]
struct Second {
    id: Id,
    #[field(on_delete = cascade)]
    next: ForeignKey<Third>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "circle", hooks)]
struct Third {
    id: Id,
    #[field(on_delete = cascade)]
    next: ForeignKey<First>,
}

impl Hooks for Third {
    async fn after_commit(&self, site: &Site, change: Change) -> Result<()> {
        let is_gone = !Self::objects().filter(|t| t.id().eq(self.id)).exists(site).await?;
        assert_eq!(change == Change::Deleted, is_gone);
        Ok(())
    }
}

/// A tree without hooks, and what hangs on it.
#[derive(Model, Debug, Clone)]
#[model(app = "tree")]
struct Branch {
    id: Id,
    #[field(on_delete = cascade)]
    parent: Option<ForeignKey<Self>>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "tree")]
struct Leaf {
    id: Id,
    #[field(on_delete = cascade)]
    branch: ForeignKey<Branch>,
    #[field(on_delete = set_null)]
    shadow: Option<ForeignKey<Self>>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "tree")]
struct Bird {
    id: Id,
    #[field(on_delete = protect)]
    leaf: ForeignKey<Leaf>,
}

/// Nothing but cascades and a SET NULL.
#[derive(Model, Debug, Clone)]
#[model(app = "house")]
struct House {
    id: Id,
    #[field(max_length = 30)]
    name: String,
}

#[derive(Model, Debug, Clone)]
#[model(app = "house")]
struct Room {
    id: Id,
    #[field(on_delete = cascade)]
    house: ForeignKey<House>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "house")]
struct Chair {
    id: Id,
    #[field(on_delete = cascade)]
    room: ForeignKey<Room>,
    #[field(on_delete = set_null)]
    from: Option<ForeignKey<House>>,
}

struct Models(&'static str, fn() -> Vec<&'static Meta>);

impl App for Models {
    fn label(&self) -> &'static str {
        self.0
    }

    fn models(&self) -> Vec<&'static Meta> {
        (self.1)()
    }
}

fn project() -> Project {
    Project::new("records", env!("CARGO_MANIFEST_DIR"))
        .install(Models("label", || {
            vec![Artist::meta(), Album::meta(), Song::meta(), Poster::meta()]
        }))
        .install(Models("circle", || vec![First::meta(), Second::meta(), Third::meta()]))
        .install(Models("house", || vec![House::meta(), Room::meta(), Chair::meta()]))
        .install(Models("tree", || vec![Branch::meta(), Leaf::meta(), Bird::meta()]))
}

async fn artist(site: &Site, name: &str) -> Artist {
    Artist::create(site, Artist { name: name.into(), ..Default::default() }).await.unwrap()
}

async fn album(site: &Site, artist: &Artist) -> Album {
    let album = Album { artist: artist.into(), ..Default::default() };
    Album::create(site, album).await.unwrap()
}

async fn song(site: &Site, artist: &Artist, album: &Album) -> Song {
    let song = Song { artist: artist.into(), album: album.into(), ..Default::default() };
    Song::create(site, song).await.unwrap()
}

#[tokio::test]
async fn a_restricted_row_goes_only_with_what_restricts_it() {
    for Migrated { site, .. } in &migrated(project).await {
        let (mut ann, mut bob) = (artist(site, "Ann").await, artist(site, "Bob").await);
        let (mut first, mut second) = (album(site, &ann).await, album(site, &ann).await);
        let own = song(site, &ann, &first).await;
        let guest = song(site, &bob, &second).await;

        let error = first.delete(site).await.unwrap_err();
        assert!(error.is_restricted() && !error.is_protected(), "{error:?}");
        let rows = error.protecting_rows();
        assert_eq!((rows.len(), rows[0].meta.label().as_str()), (1, "label.Song"));
        let expected = format!(
            "cannot delete label.Album: album of label.Song restricts it, with id {}",
            own.id
        );
        assert_eq!(error.to_string(), expected);

        // Ann's own song goes with her, Bob's does not.
        let error = ann.delete(site).await.unwrap_err();
        assert!(error.is_restricted() && error.to_string().ends_with(&format!("id {}", guest.id)));
        assert_eq!(Song::objects().count(site).await.unwrap(), 2, "nothing was deleted");

        let deleted = bob.delete(site).await.unwrap();
        assert_eq!((deleted.total, deleted.of("label.Song")), (2, 1));
        let deleted = ann.delete(site).await.unwrap();
        let counts: Vec<_> = deleted.by_model.iter().map(|(m, n)| (m.as_str(), *n)).collect();
        assert_eq!(counts, [("label.Album", 2), ("label.Artist", 1), ("label.Song", 1)]);
        assert_eq!(deleted.total, 4);
        assert!(second.delete(site).await.unwrap().by_model.is_empty(), "it is gone already");
    }
}

#[tokio::test]
async fn a_foreign_key_falls_back_to_its_default_or_to_what_a_function_says() {
    for Migrated { site, .. } in &migrated(project).await {
        let (house, mut ann) = (artist(site, "house").await, artist(site, "Ann").await);
        assert_eq!(house.id, 1);
        let mut poster = Poster {
            artist: (&ann).into(),
            printer: Some((&ann).into()),
            owner: Some((&ann).into()),
            ..Default::default()
        };
        assert_eq!(Poster::default().artist.id(), Some(1), "the default is a new row's too");
        poster.save(site).await.unwrap();
        let mut bob = artist(site, "Bob").await;
        bob.delete(site).await.unwrap();
        let nobodies = Artist::objects().filter(|a| a.name().eq("nobody"));
        assert!(!nobodies.clone().exists(site).await.unwrap(), "nobody pointed to Bob");

        let deleted = ann.delete(site).await.unwrap();
        assert_eq!((deleted.total, deleted.of("label.Artist")), (1, 1));
        poster.refresh(site).await.unwrap();
        let nobody = nobodies.get(site).await.unwrap();
        assert_eq!(poster.artist.id(), Some(1));
        assert_eq!(poster.printer.unwrap().id(), nobody.id.get());
        assert!(poster.owner.is_none(), "no default is NULL");
    }
}

#[tokio::test]
async fn a_circle_of_models_goes_as_a_whole() {
    for Migrated { site, .. } in &migrated(project).await {
        for by_query in [false, true] {
            let mut first = First::create(site, First::default()).await.unwrap();
            let third = Third { next: (&first).into(), ..Default::default() };
            let third = Third::create(site, third).await.unwrap();
            let second = Second { next: (&third).into(), ..Default::default() };
            let mut second = Second::create(site, second).await.unwrap();
            first.next = Some((&second).into());
            first.save(site).await.unwrap();
            let deleted = if by_query {
                Second::objects().delete(site).await.unwrap()
            } else {
                second.delete(site).await.unwrap()
            };
            assert_eq!((deleted.total, deleted.by_model.len()), (3, 3));
            assert_eq!(First::objects().count(site).await.unwrap(), 0);
        }
    }
}

/// 40 branches, each below the one before, each with 50 leaves.
async fn forest(site: &Site) -> Branch {
    site.atomic(async |site| {
        let mut parent: Option<Branch> = None;
        let mut root = None;
        for _ in 0..40 {
            let branch = Branch { parent: parent.as_ref().map(Into::into), ..Default::default() };
            let branch = Branch::create(&site, branch).await?;
            for _ in 0..5 {
                let leaf = Leaf { branch: (&branch).into(), ..Default::default() };
                Leaf::create(&site, leaf).await?;
            }
            root.get_or_insert(branch.clone());
            parent = Some(branch);
        }
        Ok(root.unwrap())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_tree_goes_with_its_root_and_leaves() {
    for Migrated { site, .. } in &migrated(project).await {
        let mut root = forest(site).await;
        let leaf = Leaf::objects().first(site).await.unwrap().unwrap();
        let mut shadow = Leaf { shadow: Some((&leaf).into()), ..Default::default() };
        let other = Branch::create(site, Branch::default()).await.unwrap();
        shadow.branch = (&other).into();
        shadow.save(site).await.unwrap();
        let mut bird = Bird { leaf: (&leaf).into(), ..Default::default() };
        bird.save(site).await.unwrap();
        let error = root.delete(site).await.unwrap_err();
        assert!(error.is_protected(), "{error}");
        assert_eq!(Branch::objects().count(site).await.unwrap(), 41);
        bird.delete(site).await.unwrap();
        let deleted = root.delete(site).await.unwrap();
        assert_eq!((deleted.of("tree.Branch"), deleted.of("tree.Leaf")), (40, 200));
        shadow.refresh(site).await.unwrap();
        assert!(shadow.shadow.is_none());
    }
}

#[tokio::test]
async fn rows_nobody_is_called_for_are_never_read() {
    for Migrated { site, .. } in &migrated(project).await {
        for name in ["old", "new"] {
            let house = House { name: name.into(), ..Default::default() };
            let house = House::create(site, house).await.unwrap();
            for _ in 0..3 {
                let room = Room { house: (&house).into(), ..Default::default() };
                let room = Room::create(site, room).await.unwrap();
                let chair =
                    Chair { room: (&room).into(), from: Some((&house).into()), id: Id::default() };
                Chair::create(site, chair).await.unwrap();
            }
        }
        let log = site.database().record();
        let old = House::objects().filter(|h| h.name().eq("old"));
        let deleted = old.delete(site).await.unwrap();
        assert_eq!((deleted.total, deleted.of("house.Chair")), (7, 3));
        let texts: Vec<_> = log.queries().into_iter().map(|query| query.sql).collect();
        assert!(!texts.iter().any(|text| text.starts_with("SELECT")), "{texts:?}");
        assert_eq!(texts.iter().filter(|text| text.starts_with("DELETE")).count(), 3);
        assert_eq!(Chair::objects().count(site).await.unwrap(), 3);
        let mut new = House::objects().get(site).await.unwrap();
        assert_eq!(new.delete(site).await.unwrap().total, 7);
    }
}

#[tokio::test]
async fn a_listener_hears_of_rows_that_restrict_and_go_along() {
    for Migrated { site, settings, .. } in &migrated(project).await {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&heard);
        let listening = project().on(move |_, event: Arc<PreDelete<Song>>| {
            to.lock().unwrap().push(event.row.id);
            async { Ok(()) }
        });
        let listening = open(&listening, settings).await;
        let mut ann = artist(site, "Ann").await;
        let album = album(site, &ann).await;
        let song = song(site, &ann, &album).await;
        ann.delete(&listening).await.unwrap();
        assert_eq!(*heard.lock().unwrap(), [song.id]);
    }
}
