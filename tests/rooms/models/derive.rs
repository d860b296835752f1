//! What the derives say of a model.

use chrono::{DateTime, Utc};
use hulse::models::{
    Choice, Choices, Default as FieldDefault, FieldKind, ForeignKey, Hooks, Id, Model, OnDelete,
};
use serde_json::json;

use super::{Author, Comment, Post, Status, Ticket};

#[test]
fn a_description_names_table_and_columns() {
    let meta = Post::meta();
    assert_eq!((meta.app, meta.model, meta.table), ("blog", "Post", "blog_post"));
    assert_eq!(meta.label(), "blog.Post");
    assert_eq!(meta.ordering, ["-created", "id"]);
    let indexes: Vec<_> = meta.indexes.iter().map(|index| index.fields).collect();
    assert_eq!(indexes, [["author", "-created"]]);
    assert_eq!(meta.primary_key().name, "id");
    assert_eq!(meta.primary_key().kind, FieldKind::BigAuto);
    assert!(meta.rows.is_some() && !<Post as Model>::HOOKS);
}

#[test]
fn a_foreign_key_says_where_it_points() {
    let meta = Post::meta();
    let author = meta.field("author").unwrap();
    assert_eq!((author.column, author.kind), ("author_id", FieldKind::BigInteger));
    assert!(author.index && !author.null);
    let relation = author.relation.unwrap();
    assert!(std::ptr::eq((relation.to)(), Author::meta()));
    assert_eq!(relation.on_delete, OnDelete::Cascade);
    let editor = meta.field("editor").unwrap();
    assert!(editor.null);
    assert_eq!(editor.relation.unwrap().on_delete, OnDelete::SetNull);
}

#[test]
fn a_field_says_what_it_holds() {
    let meta = Post::meta();
    let title = meta.field("title").unwrap();
    assert_eq!((title.kind, title.max_length), (FieldKind::Char, Some(20)));
    assert_eq!(meta.field("body").unwrap().kind, FieldKind::Text);
    assert_eq!(meta.field("live").unwrap().default, Some(FieldDefault::Bool(true)));
    assert_eq!(meta.field("rank").unwrap().default, Some(FieldDefault::Int(-1)));
    let status = meta.field("status").unwrap();
    assert_eq!((status.kind, status.max_length), (FieldKind::Char, Some(40)));
    assert_eq!(status.default, Some(FieldDefault::Text("in_review")));
    assert_eq!(status.choices[1], Choice { value: "in_review", label: "In review" });
    assert!(meta.field("changed").unwrap().auto_now && meta.field("created").unwrap().auto_now_add);
}

#[test]
fn a_foreign_key_has_the_kind_of_the_key_it_points_to() {
    assert_eq!(Ticket::meta().primary_key().name, "code");
    let ticket = super::Seat::meta().field("ticket").unwrap();
    assert_eq!((ticket.column, ticket.kind), ("ticket_id", FieldKind::Text));
    assert_eq!(Comment::meta().field("post").unwrap().kind, FieldKind::BigInteger);
}

#[test]
fn the_app_is_what_holds_the_models() {
    #[derive(Model, Debug, Clone)]
    struct Here {
        id: Id,
    }
    assert_eq!(Here::meta().label(), "rooms.Here", "rooms::models::derive");
    assert_eq!(Here::meta().table, "rooms_here");
}

#[test]
fn choices_have_values_and_labels() {
    assert_eq!(Status::default(), Status::Draft);
    assert_eq!((Status::Published.value(), Status::Published.label()), ("live", "On the site"));
    assert_eq!(Status::from_value("in_review"), Some(Status::InReview));
    assert_eq!(Status::from_value("gone"), None);
}

#[test]
fn a_new_value_has_its_defaults() {
    let post = Post::default();
    assert!(post.live && !post.id.is_set() && post.author.id().is_none());
    assert_eq!((post.status, post.rank, post.stars), (Status::InReview, -1, None));
}

#[test]
fn a_row_is_serialized_without_its_secrets() {
    let author =
        Author { id: 7.into(), name: "Ann".into(), password: "x".into(), ..Default::default() };
    let shown = serde_json::to_value(&author).unwrap();
    assert_eq!(shown, json!({ "id": 7, "name": "Ann", "nick": null }));
    let comment = Comment { post: ForeignKey::to(3), ..Default::default() };
    let shown = serde_json::to_value(&comment).unwrap();
    assert_eq!(shown, json!({ "id": null, "post": 3, "text": "" }));
}

/// Every future of a model can move between threads; `hooks` included.
#[test]
fn futures_are_send() {
    fn is_send<T: Send>(_: T) {}
    #[expect(dead_code, reason = "it only has to compile")]
    async fn calls(site: &hulse::Site, mut post: Post) {
        is_send(post.save(site));
        is_send(post.delete(site));
        is_send(post.refresh(site));
        is_send(post.author.get(site));
        is_send(Post::create(site, Post::default()));
        is_send(Post::objects().filter(|p| p.author().name().eq("ann")).all(site));
        is_send(Post::objects().get_or_create(site, Post::default()));
        is_send(Post::objects().update(site, |p| p.live().set(false)));
        is_send(Post::objects().delete(site));
        is_send(site.atomic(async |site| post.save(&site).await));
    }
}

/// A model may name types of its own module and keywords.
#[derive(Model, Debug, Clone)]
struct Odd {
    id: Id,
    r#type: Option<DateTime<Utc>>,
    #[field(on_delete = do_nothing)]
    parent: Option<ForeignKey<Self>>,
}

#[test]
fn a_model_may_point_to_itself() {
    let meta = Odd::meta();
    assert_eq!(meta.field("type").unwrap().column, "type");
    assert!(std::ptr::eq((meta.field("parent").unwrap().relation.unwrap().to)(), meta));
    fn has_hooks<T: Hooks>() {}
    has_hooks::<Odd>();
}
