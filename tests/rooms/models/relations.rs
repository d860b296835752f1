//! The fields that relate models: what they say of themselves, and how they are crossed.

use hulse::channels::Layer;
use hulse::conf::{Secret, Settings};
use hulse::migrations::{Graph, Migration, ProjectState, arrange, diff, migrate_all};
use hulse::models::{
    ConstraintKind, ForeignKey, HasMany, HasOne, Id, ManyKind, ManyToMany, Meta, Model, OneToOne,
    Uuid,
};
use hulse::{App, Project, Site};
use hulse_tests::{TestDatabase, databases};
use serde_json::json;

#[derive(Model, Debug, Clone)]
#[model(app = "press", ordering = ["name"])]
pub(crate) struct Company {
    pub id: Id,
    #[field(max_length = 30)]
    pub name: String,
    #[field(by = company)]
    pub staff: HasMany<Writer>,
}

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "press", ordering = ["name"])]
pub(crate) struct Writer {
    pub id: Id,
    #[field(max_length = 30, unique)]
    pub name: String,
    #[field(on_delete = set_null)]
    pub company: Option<ForeignKey<Company>>,
    #[field(by = author)]
    pub posts: HasMany<Post>,
    #[field(by = editor)]
    pub edited: HasMany<Post>,
    #[field(by = writer)]
    pub profile: HasOne<Profile>,
    pub friends: ManyToMany<Self>,
    #[field(symmetrical = false)]
    pub follows: ManyToMany<Self>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "press")]
pub(crate) struct Profile {
    #[field(primary_key, on_delete = cascade)]
    pub writer: OneToOne<Writer>,
    #[field(max_length = 100)]
    pub bio: String,
}

#[derive(Model, Debug, Clone)]
#[model(app = "press", ordering = ["name"])]
pub(crate) struct Tag {
    pub id: Id,
    #[field(max_length = 30, unique)]
    pub name: String,
    #[field(by = tags)]
    pub posts: HasMany<Post>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "press", ordering = ["id"])]
pub(crate) struct Post {
    pub id: Id,
    #[field(max_length = 40)]
    pub title: String,
    #[field(on_delete = cascade)]
    pub author: ForeignKey<Writer>,
    #[field(on_delete = set_null)]
    pub editor: Option<ForeignKey<Writer>>,
    pub tags: ManyToMany<Tag>,
    pub comments: HasMany<Comment>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "press", ordering = ["id"])]
pub(crate) struct Comment {
    pub id: Id,
    #[field(on_delete = cascade)]
    pub post: ForeignKey<Post>,
    #[field(max_length = 40)]
    pub text: String,
}

#[derive(Model, Debug, Clone)]
#[model(app = "press", ordering = ["name"])]
pub(crate) struct Club {
    #[field(primary_key, max_length = 20)]
    pub name: String,
    #[field(through = Membership, through_fields(club, person))]
    pub members: ManyToMany<Writer>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "press", ordering = ["id"])]
pub(crate) struct Membership {
    pub id: Id,
    #[field(on_delete = cascade)]
    pub person: ForeignKey<Writer>,
    #[field(on_delete = cascade)]
    pub club: ForeignKey<Club>,
    #[field(on_delete = set_null)]
    pub invited_by: Option<ForeignKey<Writer>>,
    #[field(max_length = 20)]
    pub role: String,
}

/// A key of its own that is no number.
#[derive(Model, Debug, Clone)]
#[model(app = "press")]
pub(crate) struct Page {
    #[field(primary_key)]
    pub code: Uuid,
    pub tags: ManyToMany<Tag>,
}

pub(crate) struct Press;

impl App for Press {
    fn label(&self) -> &'static str {
        "press"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![
            Company::meta(),
            Writer::meta(),
            Profile::meta(),
            Tag::meta(),
            Post::meta(),
            Comment::meta(),
            Club::meta(),
            Membership::meta(),
            Page::meta(),
        ]
    }
}

/// A site with empty tables.
pub(crate) struct Newsroom {
    pub site: Site,
    /// Dropped last: it drops the database.
    _database: TestDatabase,
}

pub(crate) async fn newsrooms() -> Vec<Newsroom> {
    newsrooms_of(|project| project).await
}

/// The same with what a test adds to the project.
pub(crate) async fn newsrooms_of(change: impl Fn(Project) -> Project) -> Vec<Newsroom> {
    made(change, |_| {}).await
}

/// The same with a test's own settings.
pub(crate) async fn newsrooms_with(set: impl Fn(&mut Settings)) -> Vec<Newsroom> {
    made(|project| project, set).await
}

async fn made(change: impl Fn(Project) -> Project, set: impl Fn(&mut Settings)) -> Vec<Newsroom> {
    let mut newsrooms = Vec::new();
    for database in databases().await {
        let mut settings = Settings::default();
        settings.database.url = Secret::new(&database.url);
        set(&mut settings);
        let project = Project::new("press", env!("CARGO_MANIFEST_DIR")).install(Press);
        let layer = Layer::memory(&settings.channels);
        let site = change(project).open(settings, layer).await.unwrap();
        migrate_all(site.database(), &migrations()).await.unwrap();
        newsrooms.push(Newsroom { site, _database: database });
    }
    newsrooms
}

/// What `makemigrations` writes for the models, read again.
fn migrations() -> Graph {
    let state = ProjectState::of(Press.models());
    let changes = diff(&ProjectState::default(), &state, &[]);
    let empty = Graph::new(Vec::new()).unwrap();
    let files = arrange(changes, &state, &empty, None);
    let read = files
        .into_iter()
        .map(|file| Migration::parse(file.key.clone(), "press.toml", &file.text("")).unwrap());
    Graph::new(read).unwrap()
}

pub(crate) async fn writer(site: &Site, name: &str) -> Writer {
    Writer::create(site, Writer { name: name.into(), ..Default::default() }).await.unwrap()
}

pub(crate) async fn post(site: &Site, author: &Writer, title: &str) -> Post {
    let post = Post { title: title.into(), author: author.into(), ..Default::default() };
    Post::create(site, post).await.unwrap()
}

pub(crate) async fn tag(site: &Site, name: &str) -> Tag {
    Tag::create(site, Tag { name: name.into(), ..Default::default() }).await.unwrap()
}

#[test]
fn a_many_to_many_field_makes_a_model_between() {
    let names: Vec<_> = Meta::with_throughs(Press.models()).iter().map(|m| m.label()).collect();
    let made =
        ["press.Writer_friends", "press.Writer_follows", "press.Post_tags", "press.Page_tags"];
    assert_eq!(names[9..], made);
    let twice = Meta::with_throughs(Meta::with_throughs(Press.models()));
    assert_eq!(twice.len(), names.len());
    let tags = twice[11];
    assert_eq!(tags.table, "press_post_tags");
    let columns: Vec<_> = tags.fields.iter().map(|field| field.column).collect();
    assert_eq!(columns, ["id", "post_id", "tag_id"]);
    let ConstraintKind::Unique { fields, .. } = tags.constraints[0].kind else { panic!("unique") };
    assert_eq!(fields, ["post", "tag"]);
    let columns: Vec<_> = twice[9].fields.iter().map(|field| field.column).collect();
    assert_eq!(columns, ["id", "from_writer_id", "to_writer_id"]);
}

#[test]
fn migrations_make_the_table_between() {
    let state = ProjectState::of(Press.models());
    let changes = diff(&ProjectState::default(), &state, &[]);
    let files = arrange(changes, &state, &Graph::new(Vec::new()).unwrap(), None);
    let text: String = files.iter().map(|file| file.text("")).collect();
    for name in ["Post_tags", "Writer_friends", "Writer_follows"] {
        assert_eq!(text.matches(&format!("create_model = \"{name}\"")).count(), 1, "{text}");
    }
    let between = text.split("create_model = \"Post_tags\"").nth(1).unwrap();
    assert!(between.contains("to = \"press.Post\"") && between.contains("to = \"press.Tag\""));
}

#[test]
fn a_relation_without_column_says_how_it_gets_there() {
    let many = &Writer::meta().many;
    let names: Vec<_> = many.iter().map(|many| many.name).collect();
    assert_eq!(names, ["posts", "edited", "profile", "friends", "follows"]);
    assert!(many.iter().all(|many| Writer::meta().field(many.name).is_none()));
    assert!(matches!(many[0].kind, ManyKind::Reverse { field: "author", one: false, .. }));
    assert!(matches!(many[2].kind, ManyKind::Reverse { field: "writer", one: true, .. }));
    assert!(matches!(many[3].kind, ManyKind::ManyToMany { symmetrical: true, auto: true, .. }));
    assert!(matches!(many[4].kind, ManyKind::ManyToMany { symmetrical: false, auto: true, .. }));
    let ManyKind::ManyToMany { through, auto, .. } = Club::meta().many[0].kind else {
        panic!("many to many")
    };
    assert!(!auto && std::ptr::eq(through(), Membership::meta()));
    assert!(std::ptr::eq(many[0].to(), Post::meta()));
}

#[test]
fn a_one_to_one_is_a_unique_foreign_key() {
    let writer = Profile::meta().primary_key();
    assert_eq!((writer.name, writer.column), ("writer", "writer_id"));
    assert!(writer.unique);
    assert!(std::ptr::eq((writer.relation.unwrap().to)(), Writer::meta()));
}

#[test]
fn what_is_not_loaded_is_not_serialized() {
    let post = Post { title: "x".into(), ..Default::default() };
    let shown = json!({ "id": null, "title": "x", "author": null, "editor": null });
    assert_eq!(serde_json::to_value(&post).unwrap(), shown);
    assert!(!post.tags.is_loaded() && post.tags.loaded().is_none());
    assert_eq!(format!("{:?}", post.clone().tags), "press.Tag not loaded");
}
