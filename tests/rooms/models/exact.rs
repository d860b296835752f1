//! What the databases would each do in their own way, or silently: it is the same, or an error.

use std::sync::Mutex;

use hulse::db::Dialect;
use hulse::fixtures::{Dump, Load, Source, dump, load};
use hulse::models::{Bulk, Change, ForeignKey, Hooks, Id, ManyToMany, Meta, Model, Uuid};
use hulse::{App, Project, Result, Site};

use super::tables::{Migrated, migrated};

#[derive(Model, Debug, Clone)]
#[model(app = "exact")]
struct Mark {
    id: Id,
    #[field(max_length = 20)]
    word: String,
}

/// One that says when it goes.
#[derive(Model, Debug, Clone)]
#[model(app = "exact", hooks)]
struct Note {
    id: Id,
    #[field(max_length = 20)]
    name: String,
    marks: ManyToMany<Mark>,
}

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn saw(what: &str, row: &Note) {
    SEEN.lock().unwrap().push(format!("{what} {}", row.name));
}

impl Hooks for Note {
    async fn before_delete(&mut self, _: &Site) -> Result<()> {
        saw("before", self);
        Ok(())
    }

    async fn after_delete(&self, _: &Site) -> Result<()> {
        saw("after", self);
        Ok(())
    }

    async fn after_commit(&self, _: &Site, change: Change) -> Result<()> {
        if change == Change::Deleted {
            saw("committed", self);
        }
        Ok(())
    }
}

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "exact")]
struct Paper {
    id: Id,
    must: serde_json::Value,
    may: Option<serde_json::Value>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "exact")]
struct Measure {
    id: Id,
    ratio: f64,
    maybe: Option<f64>,
}

const FIRST: Uuid = Uuid::from_u128(0x550e8400_e29b_41d4_a716_446655440000);

#[derive(Model, Debug, Clone)]
#[model(app = "exact")]
struct Owner {
    #[field(primary_key)]
    key: Uuid,
}

#[derive(Model, Debug, Clone)]
#[model(app = "exact")]
struct Shelf {
    #[field(primary_key)]
    number: u32,
}

#[derive(Model, Debug, Clone)]
#[model(app = "exact")]
struct Thing {
    id: Id,
    #[field(on_delete = set_default, default = "550e8400-e29b-41d4-a716-446655440000")]
    owner: ForeignKey<Owner>,
    #[field(on_delete = set_default, default = 7)]
    shelf: ForeignKey<Shelf>,
}

/// Conditions on texts: the query says which rows meet them, the database is to agree.
#[derive(Model, Debug, Clone)]
#[model(
    app = "texts",
    check(name = "code_start", |c| c.begins().startswith("A_b")),
    check(name = "code_part", |c| c.has().contains("x%Y")),
    check(name = "code_empty", |c| c.has().startswith("") & c.begins().contains("")),
)]
struct Code {
    id: Id,
    #[field(max_length = 20)]
    begins: String,
    #[field(max_length = 20)]
    has: String,
}

/// Among the rows that are not closed; of some nobody knows.
#[derive(Model, Debug, Clone)]
#[model(
    app = "exact",
    unique(name = "seat_number", number, condition = |s| !s.state().eq("closed")),
)]
struct Seat {
    id: Id,
    number: i32,
    #[field(max_length = 20)]
    state: Option<String>,
}

struct Exact;

impl App for Exact {
    fn label(&self) -> &'static str {
        "exact"
    }

    fn models(&self) -> Vec<&'static Meta> {
        let first = [Mark::meta(), Note::meta(), Paper::meta(), Measure::meta(), Owner::meta()];
        let more = [Shelf::meta(), Thing::meta(), Seat::meta()];
        first.into_iter().chain(more).collect()
    }
}

struct Texts;

impl App for Texts {
    fn label(&self) -> &'static str {
        "texts"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Code::meta()]
    }
}

fn project() -> Project {
    Project::new("exact", env!("CARGO_MANIFEST_DIR")).install(Exact)
}

fn texts() -> Project {
    Project::new("texts", env!("CARGO_MANIFEST_DIR")).install(Texts)
}

#[tokio::test]
async fn a_row_that_a_join_finds_twice_goes_once() {
    for Migrated { site, .. } in &migrated(project).await {
        let mark = async |word: &str| {
            let mark = Mark { word: word.into(), ..Default::default() };
            Mark::create(site, mark).await.unwrap()
        };
        let (one, two) = (mark("x1").await, mark("x2").await);
        for name in ["both", "single"] {
            let note = Note { name: name.into(), ..Default::default() };
            let note = Note::create(site, note).await.unwrap();
            let marks = if name == "both" { vec![&one, &two] } else { vec![&one] };
            note.marks().add(site, marks).await.unwrap();
        }
        SEEN.lock().unwrap().clear();
        let found = Note::objects().filter(|n| n.marks().word().startswith("x"));
        let found = found.order_by(|n| n.name().asc());
        assert_eq!(found.clone().count(site).await.unwrap(), 3, "as the join has them");
        let deleted = found.delete(site).await.unwrap();
        assert_eq!((deleted.of("exact.Note"), deleted.of("exact.Note_marks")), (2, 3));
        let seen = std::mem::take(&mut *SEEN.lock().unwrap());
        let expected = ["before both", "before single", "after both", "after single"];
        assert_eq!(seen[..4], expected);
        assert_eq!(seen[4..], ["committed both", "committed single"]);
    }
}

#[tokio::test]
async fn null_in_a_fixture_is_null_where_the_field_may_be() {
    let folder = tempfile::tempdir().unwrap();
    for Migrated { site, .. } in &migrated(project).await {
        let json = serde_json::Value::Null;
        let none = Paper { must: json.clone(), may: None, ..Default::default() };
        let none = Paper::create(site, none).await.unwrap();
        let some = Paper { must: json.clone(), may: Some(json), ..Default::default() };
        let some = Paper::create(site, some).await.unwrap();

        let mut out = Vec::new();
        let what = Dump { models: vec![Paper::meta()], ..Dump::default() };
        dump(site, &what, &mut out, &mut |_| {}).await.unwrap();
        Paper::objects().delete(site).await.unwrap();
        let path = folder.path().join("papers.json");
        std::fs::write(&path, out).unwrap();
        load(site, &[Source::File(path)], Load::default(), &mut |_| {}).await.unwrap();

        let read = Paper::objects().order_by(|p| p.id().asc()).all(site).await.unwrap();
        assert_eq!(read, [none, Paper { may: None, ..some }], "a fixture has one null");
        let nulls = Paper::objects().filter(|p| p.may().isnull(true));
        assert_eq!(nulls.count(site).await.unwrap(), 2);
    }
}

#[tokio::test]
async fn a_number_that_the_database_cannot_keep_is_refused_by_its_field() {
    let row = |ratio, maybe| Measure { ratio, maybe, ..Default::default() };
    for Migrated { site, .. } in &migrated(project).await {
        let dialect = site.db().dialect();
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let keeps = match dialect {
                Dialect::Sqlite => !number.is_nan(),
                Dialect::Postgres => true,
                Dialect::Mysql => false,
            };
            let same = |read: f64| read == number || (read.is_nan() && number.is_nan());
            if keeps {
                let mut made = Measure::create(site, row(number, Some(number))).await.unwrap();
                made.refresh(site).await.unwrap();
                assert!(same(made.ratio) && same(made.maybe.unwrap()), "{number} on {dialect:?}");
                continue;
            }
            let refused = |error: hulse::Error, field: &str| {
                let words = error.to_string();
                let expected = format!("exact.Measure.{field} is {number}, which ");
                assert!(error.is_field() && words.contains(&expected), "{words}");
            };
            refused(Measure::create(site, row(number, None)).await.unwrap_err(), "ratio");
            refused(Measure::create(site, row(1.0, Some(number))).await.unwrap_err(), "maybe");
            let many =
                Measure::objects().bulk_create(site, vec![row(number, None)], Bulk::default());
            refused(many.await.unwrap_err(), "ratio");
            let mut made = Measure::create(site, row(1.0, None)).await.unwrap();
            made.ratio = number;
            refused(made.save(site).await.unwrap_err(), "ratio");
            let all = Measure::objects();
            refused(
                all.clone().update(site, |m| m.ratio().set(number)).await.unwrap_err(),
                "ratio",
            );
            refused(all.bulk_update(site, &[made], |m| m.ratio()).await.unwrap_err(), "ratio");
            let asked = Measure::objects().filter(|m| m.ratio().lt(number)).count(site).await;
            assert!(asked.unwrap_err().is_field(), "{number} is bound as nothing else");
            let zeros = Measure::objects().filter(|m| m.ratio().eq(0.0)).count(site).await.unwrap();
            assert_eq!(zeros, 0, "and stored as nothing else");
        }
    }
}

#[tokio::test]
async fn keys_of_every_kind_can_be_a_default_to_point_to() {
    for Migrated { site, .. } in &migrated(project).await {
        let other = Uuid::from_u128(2);
        for key in [FIRST, other] {
            Owner::create(site, Owner { key }).await.unwrap();
        }
        for number in [7, 8] {
            Shelf::create(site, Shelf { number }).await.unwrap();
        }
        let thing = Thing {
            owner: ForeignKey::to(other),
            shelf: ForeignKey::to(8_u32),
            ..Default::default()
        };
        let mut thing = Thing::create(site, thing).await.unwrap();
        Owner::objects().filter(|o| o.key().eq(other)).delete(site).await.unwrap();
        Shelf::objects().filter(|s| s.number().eq(8)).delete(site).await.unwrap();
        thing.refresh(site).await.unwrap();
        assert_eq!((thing.owner.id(), thing.shelf.id()), (Some(FIRST), Some(7)));
    }
}

#[tokio::test]
async fn what_a_condition_says_of_texts_the_database_demands_as_queries_do() {
    let all = ["A_b", "A_bc", "a_b", "AXb", "A_B", "xA_b", "", "x%Y", "ax%Yb", "X%y", "x1Y", "ü"];
    for Migrated { site, .. } in &migrated(texts).await {
        for text in all {
            let code = async |begins: &str, has: &str| {
                let row = Code { begins: begins.into(), has: has.into(), ..Default::default() };
                match Code::create(site, row).await {
                    Ok(_) => true,
                    Err(error) => {
                        assert!(error.is_integrity(), "{error}");
                        false
                    }
                }
            };
            assert_eq!(code(text, "x%Y").await, text.starts_with("A_b"), "start of {text:?}");
            assert_eq!(code("A_b", text).await, text.contains("x%Y"), "part of {text:?}");
        }
        let all = Code::objects().count(site).await.unwrap();
        let asked =
            Code::objects().filter(|c| c.begins().startswith("A_b") & c.has().contains("x%Y"));
        assert_eq!(asked.count(site).await.unwrap(), all);
    }
}

#[tokio::test]
async fn what_nobody_knows_is_not_closed_for_a_constraint_either() {
    for Migrated { site, .. } in &migrated(project).await {
        let has_partial = site.db().dialect() != Dialect::Mysql;
        let seat = async |number: i32, state: Option<&str>| {
            let row = Seat { number, state: state.map(Into::into), ..Default::default() };
            Seat::create(site, row).await.is_ok()
        };
        assert!(seat(1, Some("closed")).await && seat(1, Some("closed")).await);
        assert!(seat(1, None).await, "the first that is not closed");
        let open = Seat::objects().filter(|s| !s.state().eq("closed"));
        assert_eq!(open.count(site).await.unwrap(), 1);
        assert_eq!(seat(1, None).await, !has_partial, "another one");
        assert_eq!(seat(1, Some("open")).await, !has_partial, "and one known to be open");
    }
}
