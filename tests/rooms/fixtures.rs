//! Fixtures: rows out of a database and into another.

use std::path::Path;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use hulse::fixtures::{Dump, Load, Loaded, Source, dump, load};
use hulse::models::{
    Change, Decimal, ForeignKey, Hooks, Id, M2mChanged, ManyToMany, Meta, Model, PostSave, Uuid,
};
use hulse::{App, Project, Result, Site};
use tempfile::TempDir;

use crate::models::tables::{Migrated, migrated, open};

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "library", natural_key(name))]
struct Writer {
    id: Id,
    #[field(max_length = 30, unique)]
    name: String,
    #[field(on_delete = set_null)]
    favourite: Option<ForeignKey<Book>>,
    #[field(auto_now)]
    changed: DateTime<Utc>,
}

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "library", natural_key(writer, title))]
struct Book {
    id: Id,
    #[field(max_length = 30)]
    title: String,
    #[field(on_delete = cascade)]
    writer: ForeignKey<Writer>,
    #[field(on_delete = cascade)]
    sequel: Option<ForeignKey<Self>>,
    tags: ManyToMany<Tag>,
    #[field(default = 3)]
    copies: i32,
}

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "library")]
struct Tag {
    #[field(primary_key, max_length = 10)]
    word: String,
}

/// A field of every kind.
#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "library")]
struct Sample {
    id: Id,
    truth: bool,
    small: i16,
    count: u32,
    big: i64,
    ratio: f64,
    #[field(text)]
    text: Option<String>,
    at: DateTime<Utc>,
    day: NaiveDate,
    time: NaiveTime,
    span: TimeDelta,
    #[field(max_digits = 8, decimal_places = 2)]
    price: Decimal,
    token: Uuid,
    data: serde_json::Value,
    bytes: Vec<u8>,
}

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "library", hooks)]
struct Loan {
    id: Id,
    #[field(max_length = 30)]
    reader: String,
}

impl Hooks for Loan {
    async fn before_save(&mut self, site: &Site) -> Result<()> {
        assert!(site.in_transaction());
        self.reader.push('!');
        Ok(())
    }

    async fn after_save(&self, _: &Site, _: Change) -> Result<()> {
        if self.reader == "nobody!" { Err(hulse::Error::new("nobody reads")) } else { Ok(()) }
    }
}

struct Library;

impl App for Library {
    fn label(&self) -> &'static str {
        "library"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Book::meta(), Writer::meta(), Tag::meta(), Sample::meta(), Loan::meta()]
    }
}

fn project() -> Project {
    Project::new("library", env!("CARGO_MANIFEST_DIR")).install(Library)
}

/// A file with this text, and the folder it lies in.
fn file(name: &str, text: &str) -> (TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    (folder, Source::File(path))
}

async fn load_text(site: &Site, text: &str) -> Result<Loaded> {
    let (_folder, source) = file("some.json", text);
    load(site, &[source], Load::default(), &mut |_| {}).await
}

async fn dump_text(site: &Site, what: Dump) -> Result<String> {
    let mut out = Vec::new();
    dump(site, &what, &mut out, &mut |_| {}).await?;
    Ok(String::from_utf8(out).unwrap())
}

fn all() -> Dump {
    Dump { models: Library.models(), ..Dump::default() }
}

/// The file's objects refer to later ones, in a circle.
const SHELF: &str = r#"[
{"model": "library.book", "pk": 5, "fields": {"title": "One", "writer": 9, "sequel": 7,
 "tags": ["new", "old"], "copies": 2}},
{"model": "library.book", "pk": 7, "fields": {"title": "Two", "writer": 9, "sequel": 5}},
{"model": "library.writer", "pk": 9, "fields": {"name": "Ann", "favourite": 7,
 "changed": "2020-01-02T03:04:05.678Z"}},
{"model": "library.tag", "pk": "new", "fields": {}},
{"model": "library.tag", "pk": "old", "fields": {}}
]"#;

#[tokio::test]
async fn a_shelf_is_loaded_whatever_points_where() {
    for Migrated { site, .. } in &migrated(project).await {
        let loaded = load_text(site, SHELF).await.unwrap();
        assert_eq!(loaded, Loaded { objects: 5, fixtures: 1 });
        let book = Book::objects().filter(|b| b.id().eq(5)).get(site).await.unwrap();
        assert_eq!(
            (book.title.as_str(), book.copies, book.sequel.as_ref().unwrap().id()),
            ("One", 2, Some(7))
        );
        assert_eq!(book.tags().count(site).await.unwrap(), 2);
        let writer = Writer::objects().get(site).await.unwrap();
        assert_eq!(writer.changed.to_rfc3339(), "2020-01-02T03:04:05.678+00:00", "as it is");
        // Keys go on behind those that came.
        let next = Book { writer: (&writer).into(), ..Default::default() };
        assert!(Book::create(site, next).await.unwrap().id.get().unwrap() > 7);

        // Once more: rows are updated, relations set to what the file says.
        let again = SHELF.replace("\"new\", \"old\"", "\"new\"").replace("One", "Uno");
        load_text(site, &again).await.unwrap();
        let book = Book::objects().filter(|b| b.id().eq(5)).get(site).await.unwrap();
        assert_eq!((book.title.as_str(), book.tags().count(site).await.unwrap()), ("Uno", 1));
        assert_eq!(Book::objects().count(site).await.unwrap(), 3);
    }
}

#[tokio::test]
async fn relations_of_many_objects_are_set_together() {
    let object = |key: i32, tags: &str| {
        let fields = format!("{{\"title\": \"{key}\", \"writer\": 9, \"tags\": [{tags}]}}");
        format!(",{{\"model\": \"library.book\", \"pk\": {key}, \"fields\": {fields}}}")
    };
    for Migrated { site, .. } in &migrated(project).await {
        load_text(site, SHELF).await.unwrap();
        let tagged = |tags: &str| {
            let first = object(1_000, tags).split_off(1);
            let more: String = (1_001..1_200).map(|key| object(key, tags)).collect();
            format!("[{first}{more}]")
        };
        let log = site.database().record();
        load_text(site, &tagged("\"new\", \"old\"")).await.unwrap();
        let count = log.count();
        assert!(count < 30, "{count} queries for 200 objects");
        drop(log);
        let count =
            async |tag: &str| Book::objects().filter(|b| b.tags().word().eq(tag)).count(site).await;
        assert_eq!((count("new").await.unwrap(), count("old").await.unwrap()), (201, 201));
        load_text(site, &tagged("\"old\"")).await.unwrap();
        assert_eq!((count("new").await.unwrap(), count("old").await.unwrap()), (1, 201));
        let gone = object(1_300, "\"old\", \"gone\"").split_off(1);
        assert!(load_text(site, &format!("[{gone}]")).await.unwrap_err().is_integrity());
    }
}

#[tokio::test]
async fn a_dump_is_djangos_to_the_byte() {
    for Migrated { site, .. } in &migrated(project).await {
        load_text(site, SHELF).await.unwrap();
        let models = vec![Book::meta(), Tag::meta()];
        let what = Dump { models: models.clone(), ..Dump::default() };
        let expected = concat!(
            r#"[{"model": "library.book", "pk": 5, "fields": {"title": "One", "writer": 9, "#,
            r#""sequel": 7, "copies": 2, "tags": ["new", "old"]}}, "#,
            r#"{"model": "library.book", "pk": 7, "fields": {"title": "Two", "writer": 9, "#,
            r#""sequel": 5, "copies": 3, "tags": []}}, "#,
            r#"{"model": "library.tag", "pk": "new", "fields": {}}, "#,
            r#"{"model": "library.tag", "pk": "old", "fields": {}}]"#,
        );
        assert_eq!(dump_text(site, what).await.unwrap(), expected);
        let what =
            Dump { models: models.clone(), indent: Some(2), keys: vec!["7".into()], ..all() };
        let what = Dump { models: vec![Book::meta()], ..what };
        let expected = "[\n{\n  \"model\": \"library.book\",\n  \"pk\": 7,\n  \"fields\": {\n    \
                        \"title\": \"Two\",\n    \"writer\": 9,\n    \"sequel\": 5,\n    \
                        \"copies\": 3,\n    \"tags\": []\n  }\n}\n]\n";
        assert_eq!(dump_text(site, what).await.unwrap(), expected);
        let none = Dump { models: vec![Loan::meta()], ..Dump::default() };
        assert_eq!(dump_text(site, none).await.unwrap(), "[]");
        let bad = Dump { models: vec![Book::meta()], keys: vec!["x".into()], ..Dump::default() };
        assert!(dump_text(site, bad).await.unwrap_err().is_field());
    }
}

fn sample() -> Sample {
    Sample {
        truth: true,
        small: -7,
        count: 4_000_000_000,
        big: i64::MIN,
        ratio: 0.1,
        text: Some("\u{1}\"é\\ 🦀".into()),
        at: "2024-02-29T23:59:59.000001Z".parse().unwrap(),
        day: "1999-12-31".parse().unwrap(),
        time: "23:59:59.5".parse().unwrap(),
        span: TimeDelta::microseconds(-1_500_000),
        price: "-1234.50".parse().unwrap(),
        token: Uuid::from_u128(7),
        data: serde_json::json!({"a": [1, null, "x"]}),
        bytes: vec![0, 1, 255],
        ..Default::default()
    }
}

#[tokio::test]
async fn every_kind_of_field_survives_the_way_to_another_database() {
    let sites = migrated(project).await;
    for Migrated { site, .. } in &sites {
        Sample::objects().delete(site).await.unwrap();
        let one = Sample::create(site, sample()).await.unwrap();
        let two = Sample::create(site, Sample { text: None, ..Default::default() }).await.unwrap();
        for lines in [false, true] {
            let what = Dump { models: vec![Sample::meta()], lines, ..Dump::default() };
            let text = dump_text(site, what).await.unwrap();
            for Migrated { site: other, .. } in &sites {
                Sample::objects().delete(other).await.unwrap();
                let name = if lines { "some.jsonl" } else { "some.json" };
                let (_folder, source) = file(name, &text);
                let loaded = load(other, &[source], Load::default(), &mut |_| {}).await.unwrap();
                assert_eq!(loaded.objects, 2);
                let read = Sample::objects().order_by(|s| s.id().asc()).all(other).await.unwrap();
                assert_eq!(read, [one.clone(), two.clone()], "{text}");
            }
        }
    }
}

#[tokio::test]
async fn natural_keys_name_rows_whose_numbers_differ() {
    for Migrated { site, .. } in &migrated(project).await {
        load_text(site, SHELF).await.unwrap();
        let what = Dump { natural_foreign: true, natural_primary: true, ..all() };
        let text = dump_text(site, what).await.unwrap();
        assert!(text.contains(r#""favourite": ["Ann", "Two"]"#), "{text}");
        assert!(
            text.contains(
                r#"{"model": "library.book", "fields": {"title": "One", "writer": ["Ann"]"#
            )
        );
        // Into a database where Ann is another number, and without her books.
        Writer::objects().delete(site).await.unwrap();
        let ann = Writer { name: "Ann".into(), ..Default::default() };
        let ann = Writer::create(site, ann).await.unwrap();
        assert_ne!(ann.id, 9);
        // She names a book that comes later, and the books each other: that takes a second look.
        let text = text.replace(r#""sequel": ["Ann", "One"]"#, r#""sequel": null"#);
        load_text(site, &text).await.unwrap();
        let books = Book::objects().filter(|b| b.writer().eq(&ann)).count(site).await.unwrap();
        assert_eq!((Writer::objects().count(site).await.unwrap(), books), (1, 2));
        let ann = Writer::objects().get(site).await.unwrap();
        let favourite = ann.favourite.as_ref().unwrap().get(site).await.unwrap();
        assert_eq!(favourite.title, "Two");
        let gone = r#"[{"model": "library.book", "fields": {"title": "x", "writer": ["Bob"]}}]"#;
        let error = load_text(site, gone).await.unwrap_err();
        assert!(error.to_string().contains("object 1 (library.book) names a row"), "{error}");
        let many = r#"[{"model": "library.book", "fields": {"title": "x", "writer": ["a", "b"]}}]"#;
        let error = load_text(site, many).await.unwrap_err().to_string();
        assert!(error.contains("library.Writer is named by 1 values (name), not by 2"), "{error}");
    }
}

#[tokio::test]
async fn hooks_and_receivers_hear_of_a_fixture_that_is_raw() {
    for Migrated { site, settings, .. } in &migrated(project).await {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (to, and) = (Arc::clone(&heard), Arc::clone(&heard));
        let listening = project()
            .on(move |_, event: Arc<PostSave<Writer>>| {
                let (row, new) = (&event.row, event.created);
                to.lock().unwrap().push(format!("{} {new} {}", row.name, event.raw));
                async { Ok(()) }
            })
            .on(move |_, event: Arc<M2mChanged>| {
                and.lock().unwrap().push(format!("{} {}", event.field, event.keys.len()));
                async { Ok(()) }
            });
        let listening = open(&listening, settings).await;
        load_text(&listening, SHELF).await.unwrap();
        let expected = ["tags 2", "tags 2", "Ann true true"];
        assert_eq!(*heard.lock().unwrap(), expected);
        let loans = r#"[{"model": "library.loan", "pk": 1, "fields": {"reader": "Bob"}}]"#;
        load_text(site, loans).await.unwrap();
        assert_eq!(Loan::objects().get(site).await.unwrap().reader, "Bob!");
        let bad = r#"[{"model": "library.tag", "pk": "x"},
                      {"model": "library.loan", "pk": 2, "fields": {"reader": "nobody"}}]"#;
        let error = load_text(site, bad).await.unwrap_err().to_string();
        assert!(error.ends_with("object 2 (library.loan): nobody reads"), "{error}");
        assert_eq!(Tag::objects().filter(|t| t.word().eq("x")).count(site).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_with_file_object_model_and_field() {
    let cases = [
        (r#"{"a": 1}"#, "object 1: invalid type: map, expected a list of objects"),
        (r#"[{"model": "library.tag", "pk": "a"}, {"model": 7}]"#, "object 2: invalid type"),
        (r#"[{"model": "library.tag", "pk": "a"}, "#, "object 2: EOF while parsing"),
        (r#"[{"model": "library.shelf", "pk": 1}]"#, "invalid model identifier: \"library.shelf\""),
        (
            r#"[{"model": "library.tag", "pk": "a", "fields": {"colour": 1}}]"#,
            "object 1 (library.tag): library.Tag has no field \"colour\"; choices are: word",
        ),
        (
            r#"[{"model": "library.writer", "fields": {"name": ["x"]}}]"#,
            "object 1 (library.writer): library.Writer.name cannot hold [\"x\"]",
        ),
        (
            r#"[{"model": "library.book", "fields": {"title": null, "writer": 1}}]"#,
            "library.Book.title cannot be null",
        ),
        (
            r#"[{"model": "library.book", "fields": {"title": "x"}}]"#,
            "library.Book.writer is not set",
        ),
        (r#"[{"model": "library.tag", "pk": "longer than ten"}]"#, "has 15 characters"),
        (r#"[{"model": "library.tag"}]"#, "a library.Tag needs its pk"),
    ];
    for Migrated { site, .. } in &migrated(project).await {
        for (text, expected) in cases {
            let error = load_text(site, text).await.unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("some.json: "), "{error}");
        }
        assert_eq!(Tag::objects().count(site).await.unwrap(), 0);
        let dangling =
            r#"[{"model": "library.book", "pk": 1, "fields": {"title": "x", "writer": 4}}]"#;
        let error = load_text(site, dangling).await.unwrap_err();
        assert!(error.is_integrity(), "{error:?}");
        let twice = r#"[{"model": "library.writer", "pk": 1, "fields": {"name": "x"}},
                        {"model": "library.writer", "pk": 2, "fields": {"name": "x"}}]"#;
        let error = load_text(site, twice).await.unwrap_err();
        assert!(
            error.is_unique_violation() && error.to_string().contains("(library.Writer)"),
            "{error}"
        );
        let missing = Source::File(Path::new("/nowhere/some.json").to_owned());
        let error = load(site, &[missing], Load::default(), &mut |_| {}).await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/some.json"), "{error}");
        let unknown = r#"[{"model": "gone.model", "pk": 1},
                          {"model": "library.tag", "pk": "a", "fields": {"gone": 1}}]"#;
        let (_folder, source) = file("some.json", unknown);
        let options = Load { ignore_nonexistent: true };
        let loaded = load(site, &[source], options, &mut |_| {}).await.unwrap();
        assert_eq!(loaded.objects, 1);
    }
}

/// As `django-admin dumpdata` of Django 5 writes them, with what its own models hold.
#[tokio::test]
async fn djangos_own_dump_of_users_is_read() {
    let project =
        || Project::new("accounts", env!("CARGO_MANIFEST_DIR")).install(hulse::contrib::auth::App);
    let dump = r#"[{"model": "auth.user", "pk": 1, "fields": {"password":
        "pbkdf2_sha256$600000$abc$def=", "last_login": "2023-04-05T06:07:08.901Z", "is_superuser":
        true, "username": "lia", "first_name": "", "last_name": "", "email": "l@example.com",
        "is_staff": true, "is_active": true, "date_joined": "2023-01-01T00:00:00Z", "groups": [],
        "user_permissions": []}}]"#;
    for Migrated { site, .. } in &migrated(project).await {
        let (_folder, source) = file("users.json", dump);
        let options = Load { ignore_nonexistent: true };
        load(site, &[source], options, &mut |_| {}).await.unwrap();
        let lia = hulse::contrib::auth::User::objects().get(site).await.unwrap();
        assert_eq!((lia.username.as_str(), lia.is_superuser), ("lia", true));
        assert_eq!(lia.date_joined.to_rfc3339(), "2023-01-01T00:00:00+00:00");
    }
}
