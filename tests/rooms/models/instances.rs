//! Rows of models that are known by their description only.

use hulse::models::{Instance, Model, Registry};

use super::saves::Hooked;
use super::{Author, Post, author, fixtures};

#[tokio::test]
async fn a_row_is_made_read_changed_and_deleted_without_its_type() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let registry = Registry::of(site);
        let meta = registry.model("BLOG.author").expect("in whatever case");
        assert!(registry.model("blog.authors").is_none() && registry.model("blog").is_none());
        let mut ann = Instance::new(meta);
        assert!(ann.key().is_none());
        ann.set([("name", "Ann".into())]).unwrap();
        ann.save(site).await.unwrap();
        let key = ann.key().unwrap();
        let mut same = Instance::get(meta, key.clone(), site).await.unwrap();
        assert_eq!(same.value("name").unwrap(), Some("Ann".into()));
        assert_eq!(same.value("nick").unwrap(), Some(None::<String>.into()));
        let typed: &Author = same.downcast().unwrap();
        assert_eq!(typed.name, "Ann");
        assert!(same.downcast::<Post>().is_none());
        same.set([("name", "Anna".into()), ("nick", "A".into())]).unwrap();
        same.save(site).await.unwrap();
        assert_eq!(Author::objects().get(site).await.unwrap().nick.as_deref(), Some("A"));
        assert_eq!(same.delete(site).await.unwrap().of("blog.Author"), 1);
        assert!(same.key().is_none());
        assert!(Instance::get(meta, key, site).await.unwrap_err().is_does_not_exist());
    }
}

#[tokio::test]
async fn unknown_names_and_values_that_do_not_fit_are_told() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        let mut row = Instance::new(Author::meta());
        let error = row.set([("name\" = '' --", "x".into())]).unwrap_err();
        assert!(
            error.is_field()
                && error.to_string().ends_with("choices are: id, name, nick, password")
        );
        assert!(row.value("nope").unwrap_err().is_field());
        let error = row.set([("name", 7_i64.into())]).unwrap_err();
        assert!(error.is_field() && error.to_string().contains("blog.Author.name"), "{error}");

        let mut post = Instance::new(Post::meta());
        let error = post.set([("title", "x".into())]).unwrap_err();
        assert!(error.to_string().contains("blog.Post.author"), "{error}");
        let key = ann.id.get();
        post.set([("author", key.into()), ("status", "live".into())]).unwrap();
        assert_eq!(post.value("live").unwrap(), Some(true.into()), "the default");
        assert!(post.set([("status", "gone".into())]).is_err());
        post.save(site).await.unwrap();
    }
}

#[tokio::test]
async fn its_hooks_are_called_also_for_a_raw_save() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let mut row = Instance::new(Hooked::meta());
        row.set([("word", "raw one".into())]).unwrap();
        row.save_raw(site).await.unwrap();
        row.save(site).await.unwrap();
        assert_eq!(row.downcast::<Hooked>().unwrap().log, "cu");
        let mut bad = Instance::new(Hooked::meta());
        bad.set([("word", "bad".into())]).unwrap();
        assert_eq!(bad.save_raw(site).await.unwrap_err().to_string(), "no such word");
    }
}
