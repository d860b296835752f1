//! Names that come as text and go over relations without a column, and those that must not arrive.

use hulse::models::{ForeignKey, HasMany, Id, Model};
use hulse::{Result, Site};

use super::relations::{
    Club, Comment, Company, Membership, Post, Profile, Tag, Writer, newsrooms, post, tag, writer,
};

/// Two foreign keys lead here, and nothing says which is meant.
#[derive(Model, Debug, Clone)]
#[model(app = "press")]
struct Hall {
    id: Id,
    concerts: HasMany<Concert>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "press")]
struct Concert {
    id: Id,
    #[field(on_delete = cascade)]
    hall: ForeignKey<Hall>,
    #[field(on_delete = cascade)]
    instead: ForeignKey<Hall>,
}

/// Whoever knows the key is let in.
#[derive(Model, Debug, Clone)]
#[model(app = "press")]
struct Ticket {
    #[field(primary_key, max_length = 40, secret)]
    token: String,
    #[field(max_length = 40)]
    owner: String,
    #[field(by = ticket)]
    visits: HasMany<Visit>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "press")]
struct Visit {
    id: Id,
    #[field(on_delete = cascade)]
    ticket: ForeignKey<Ticket>,
}

/// Ann and Bob, friends; Ann follows Bob; a post of each, with one tag each and a comment.
async fn filled(site: &Site) {
    let company = Company { name: "Daily".into(), ..Default::default() };
    let company = Company::create(site, company).await.unwrap();
    let mut ann = writer(site, "Ann").await;
    ann.company = Some((&company).into());
    ann.save(site).await.unwrap();
    let bob = writer(site, "Bob").await;
    let profile = Profile { writer: (&ann).into(), bio: "Writes".into() };
    Profile::create(site, profile).await.unwrap();
    ann.friends().add(site, [&bob]).await.unwrap();
    ann.follows().add(site, [&bob]).await.unwrap();
    for (author, title, name) in [(&ann, "One", "rust"), (&bob, "Two", "web")] {
        let post = post(site, author, title).await;
        post.tags().add(site, [&tag(site, name).await]).await.unwrap();
        let comment = Comment { post: (&post).into(), text: title.into(), ..Default::default() };
        Comment::create(site, comment).await.unwrap();
    }
    let club = Club::create(site, Club { name: "Chess".into(), ..Default::default() }).await;
    let member = Membership { role: "chair".into(), ..Default::default() };
    club.unwrap().members().add_with(site, [&bob], member).await.unwrap();
}

async fn posts(site: &Site, name: &str, value: &str, expected: &[&str]) {
    let rows = Post::objects().filter_by(name, value).order_by_names(["title"]);
    let rows = rows.values(|p| p.title()).all(site).await;
    assert_eq!(rows.unwrap(), expected, "{name} = {value}");
}

async fn writers(site: &Site, name: &str, value: &str, expected: &[&str]) {
    let rows = Writer::objects().filter_by(name, value).values(|w| w.name()).all(site).await;
    assert_eq!(rows.unwrap(), expected, "{name} = {value}");
}

#[tokio::test]
async fn a_name_goes_over_many_to_many_fields_from_both_sides() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        filled(site).await;
        let rust = Tag::objects().filter(|t| t.name().eq("rust")).get(site).await.unwrap();
        posts(site, "tags__name", "rust", &["One"]).await;
        posts(site, "tags__name__in", "rust,web", &["One", "Two"]).await;
        posts(site, "tags", &rust.id.to_string(), &["One"]).await;
        posts(site, "tags__pk__gt", &rust.id.to_string(), &["Two"]).await;
        posts(site, "tags__isnull", "true", &[]).await;
        posts(site, "tags__posts__author__name", "Bob", &["Two"]).await;
        posts(site, "author__friends__name", "Ann", &["Two"]).await;
        let tags = Tag::objects().filter_by("posts__title__istartswith", "t");
        assert_eq!(tags.values(|t| t.name()).all(site).await.unwrap(), ["web"]);
        let clubs = Club::objects().filter_by("members__name", "Bob");
        assert_eq!(clubs.values(|c| c.name()).all(site).await.unwrap(), ["Chess"]);
        let named = Tag::objects().order_by_names(["-posts__title"]).values(|t| t.name());
        assert_eq!(named.all(site).await.unwrap(), ["web", "rust"]);
        let typed = Post::objects().filter(|p| p.tags().name().eq("rust"));
        let named = Post::objects().filter_by("tags__name", "rust");
        let (typed, named) = (typed.sql(site).unwrap(), named.sql(site).unwrap());
        assert_eq!(typed.text, named.text, "the same statement as on the typed side");
    }
}

#[tokio::test]
async fn a_name_goes_over_a_many_to_many_field_to_its_own_model() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        filled(site).await;
        writers(site, "friends__name", "Bob", &["Ann"]).await;
        writers(site, "friends__name", "Ann", &["Bob"]).await;
        writers(site, "follows__name", "Bob", &["Ann"]).await;
        writers(site, "follows__name", "Ann", &[]).await;
        writers(site, "follows__friends__name", "Ann", &["Ann"]).await;
    }
}

#[tokio::test]
async fn a_name_goes_over_the_other_sides_of_foreign_keys() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        filled(site).await;
        writers(site, "posts__title", "Two", &["Bob"]).await;
        writers(site, "posts__comments__text__startswith", "O", &["Ann"]).await;
        writers(site, "edited__isnull", "true", &["Ann", "Bob"]).await;
        writers(site, "profile__bio", "Writes", &["Ann"]).await;
        writers(site, "profile__isnull", "true", &["Bob"]).await;
        posts(site, "comments__text", "One", &["One"]).await;
        let staff = Company::objects().filter_by("staff__profile__bio__iexact", "WRITES");
        assert_eq!(staff.count(site).await.unwrap(), 1);
        let by = |names: &[&'static str]| {
            let rows = Post::objects().order_by_names(names.iter().copied());
            rows.values(|p| p.title())
        };
        assert_eq!(by(&["-author__name"]).all(site).await.unwrap(), ["Two", "One"]);
        assert_eq!(by(&["author__name"]).all(site).await.unwrap(), ["One", "Two"]);
        let by_company = Post::objects().exclude(|p| p.author().company().isnull(true));
        let by_company = by_company.order_by_names(["author__company__name"]);
        assert_eq!(by_company.count(site).await.unwrap(), 1);
        let by_bio = Writer::objects().filter(|w| w.profile().isnull(false));
        let by_bio = by_bio.order_by_names(["profile__bio"]).values(|w| w.name());
        assert_eq!(by_bio.all(site).await.unwrap(), ["Ann"]);
    }
}

fn refused<T>(outcome: Result<T>, words: &str) {
    let error = outcome.err().expect("a name that leads nowhere").to_string();
    assert!(error.contains(words), "{error}");
}

#[tokio::test]
async fn a_relation_that_is_not_clear_is_refused_as_on_the_typed_side() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        let error = Hall::objects().filter_by("concerts__id", "1").all(site).await;
        refused(error, "press.Hall.concerts: press.Concert has no foreign key to it, or several");
    }
}

#[tokio::test]
async fn a_secret_key_is_reached_neither_by_pk_nor_over_what_points_to_it() {
    for newsroom in newsrooms().await {
        let site = &newsroom.site;
        for name in ["pk", "token", "token__startswith", "pk__gt"] {
            refused(Ticket::objects().filter_by(name, "a").all(site).await, "cannot resolve");
        }
        let names = ["ticket", "ticket_id", "ticket__pk", "ticket__token", "ticket__startswith"];
        for name in names {
            refused(Visit::objects().filter_by(name, "a").all(site).await, "cannot resolve");
            let order = Visit::objects().order_by_names([name]).all(site).await;
            refused(order, "cannot resolve");
        }
        // What is no secret is reached over it; there is just no such table.
        let owner = Visit::objects().filter_by("ticket__owner", "Ann").all(site).await;
        assert!(!owner.unwrap_err().is_field());
        let visits = Ticket::objects().filter_by("visits__id", "1").all(site).await;
        assert!(!visits.unwrap_err().is_field());
    }
}
