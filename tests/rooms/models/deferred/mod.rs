//! Fields that are read when they are asked for: `Deferred<..>`.

mod beside;
mod reading;
mod writing;

use std::sync::Mutex;

use hulse::models::{
    AbstractModel, Bulk, Choices, Decimal, Deferred, ForeignKey, HasMany, Hooks, Id, JsonValue,
    Meta, Model,
};
use hulse::test::assert_queries;
use hulse::{App, Project, Result, Site};
use serde_json::json;

use crate::models::tables::{Migrated, migrated};

#[derive(Choices, Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Greek,
}

/// What is deferred stands before, between and behind what is not.
#[derive(Model, Debug, Clone)]
#[model(app = "archive", ordering = ["id"], check(name = "paper_body", |p| p.body().ne("lies")))]
struct Paper {
    #[field(text, min_length = 3)]
    body: Deferred<String>,
    id: Id,
    #[field(max_length = 30)]
    title: String,
    #[field(max_digits = 8, decimal_places = 2, default = 10)]
    price: Deferred<Decimal>,
    #[field(on_delete = cascade)]
    writer: ForeignKey<Writer>,
    table: Deferred<Option<JsonValue>>,
    #[field(default = Script::Greek)]
    script: Deferred<Script>,
    scan: Deferred<Vec<u8>>,
    pages: i32,
    #[field(flatten)]
    remarks: Remarks,
}

#[derive(AbstractModel, Debug, Clone)]
struct Remarks {
    #[field(text, blank)]
    remark: Deferred<String>,
    #[field(default = 1)]
    copies: i16,
}

#[derive(Model, Debug, Clone)]
#[model(app = "archive", natural_key(name))]
struct Writer {
    id: Id,
    #[field(max_length = 20, unique)]
    name: String,
    #[field(text)]
    life: Deferred<Option<String>>,
    #[field(by = writer)]
    papers: HasMany<Paper>,
}

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "archive")]
struct Page {
    #[field(primary_key, max_length = 20)]
    slug: String,
    #[field(max_length = 20, unique)]
    code: Deferred<Option<String>>,
    #[field(text)]
    head: Deferred<String>,
    #[field(text)]
    text: Deferred<String>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "archive", hooks)]
struct Letter {
    id: Id,
    #[field(on_delete = cascade)]
    writer: ForeignKey<Writer>,
    #[field(text)]
    text: Deferred<String>,
    #[field(default = true)]
    opened: bool,
}

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Hooks for Letter {
    async fn before_delete(&mut self, site: &Site) -> Result<()> {
        let was_read = self.text.loaded().is_some();
        if self.opened {
            let text = self.text.get(site).await?;
            SEEN.lock().unwrap().push(format!("{was_read} {text}"));
        }
        Ok(())
    }

    async fn after_delete(&self, site: &Site) -> Result<()> {
        let words = match self.text.get(site).await {
            Ok(text) => text.clone(),
            Err(error) if error.is_does_not_exist() => error.to_string(),
            Err(error) => return Err(error),
        };
        SEEN.lock().unwrap().push(words);
        Ok(())
    }
}

struct Archive;

impl App for Archive {
    fn label(&self) -> &'static str {
        "archive"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Writer::meta(), Paper::meta(), Page::meta(), Letter::meta()]
    }
}

fn project() -> Project {
    Project::new("archive", env!("CARGO_MANIFEST_DIR")).install(Archive)
}

async fn archives() -> Vec<Migrated> {
    migrated(project).await
}

async fn writer(site: &Site, name: &str, life: Option<&str>) -> Writer {
    let life = life.map(str::to_owned).into();
    Writer::create(site, Writer { name: name.into(), life, ..Default::default() }).await.unwrap()
}

fn paper(writer: &Writer, number: usize) -> Paper {
    Paper {
        title: format!("t{number}"),
        body: format!("body {number}").into(),
        writer: writer.into(),
        table: Some(json!({ "rows": number })).into(),
        scan: vec![0, 255].into(),
        ..Default::default()
    }
}

/// Papers t1, t2, .. of Ann.
async fn papers(site: &Site, count: usize) -> Writer {
    let ann = writer(site, "Ann", Some("long")).await;
    let rows = (1..=count).map(|number| paper(&ann, number)).collect();
    Paper::objects().bulk_create(site, rows, Bulk::default()).await.unwrap();
    ann
}

async fn first(site: &Site) -> Paper {
    Paper::objects().filter(|p| p.title().eq("t1")).get(site).await.unwrap()
}

/// The statements of a piece of work.
async fn statements(site: &Site, work: impl AsyncFnOnce()) -> Vec<String> {
    let log = site.database().record();
    work().await;
    log.queries().into_iter().map(|query| query.sql).collect()
}

/// Fails if a column that is deferred was read; it may be looked at otherwise.
fn reads_none(statements: &[String]) {
    for sql in statements {
        let columns = sql.split(" FROM \"archive_").next().unwrap();
        for name in ["body", "price", "table", "script", "scan", "remark", "life"] {
            assert!(!columns.replace("NULL AS", "").contains(&format!(".\"{name}\"")), "{sql}");
        }
    }
}
