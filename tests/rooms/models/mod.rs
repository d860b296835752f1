//! Models on both databases: the blog that the tests of this folder share.

mod aggregates;
mod bases;
mod budgets;
mod bulk;
mod clean;
mod custom_fields;
mod deferred;
mod deletes;
mod derive;
mod dynamic_names;
mod exact;
mod expressions;
mod fetch_modes;
mod fields;
mod groups;
mod instances;
mod joins;
mod many_to_many;
mod names_over_relations;
mod odd_names;
mod on_delete;
mod options;
mod prefetch;
mod properties;
mod queries;
mod relations;
mod saves;
mod sets;
mod signals;
pub(crate) mod tables;
mod times;
mod to_many;
mod unsaved;
mod windows;

use std::fmt::Write;

use chrono::{DateTime, NaiveDate, Utc};
use hulse::channels::Layer;
use hulse::conf::{Secret, Settings};
use hulse::db::Dialect;
use hulse::models::{Choices, Field, FieldKind, ForeignKey, Id, Meta, Model};
use hulse::{App, Project, Site};
use hulse_tests::{TestDatabase, databases};

#[derive(Model, Debug, Clone)]
#[model(app = "blog")]
pub(crate) struct Author {
    pub id: Id,
    #[field(max_length = 60, unique)]
    pub name: String,
    #[field(max_length = 30)]
    pub nick: Option<String>,
    #[field(max_length = 128, secret)]
    pub password: String,
}

#[derive(Choices, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Draft,
    InReview,
    #[choice(value = "live", label = "On the site")]
    Published,
}

#[derive(Model, Debug, Clone)]
#[model(app = "blog", ordering = ["-created", "id"], index(author, -created))]
pub(crate) struct Post {
    pub id: Id,
    #[field(max_length = 20)]
    pub title: String,
    #[field(text)]
    pub body: String,
    #[field(on_delete = cascade)]
    pub author: ForeignKey<Author>,
    #[field(on_delete = set_null)]
    pub editor: Option<ForeignKey<Author>>,
    #[field(default = true)]
    pub live: bool,
    #[field(default = Status::InReview)]
    pub status: Status,
    #[field(default = -1)]
    pub rank: i16,
    pub stars: Option<i32>,
    pub weight: f64,
    pub day: NaiveDate,
    #[field(auto_now_add)]
    pub created: DateTime<Utc>,
    #[field(auto_now)]
    pub changed: DateTime<Utc>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "blog")]
pub(crate) struct Comment {
    pub id: Id,
    #[field(on_delete = cascade)]
    pub post: ForeignKey<Post>,
    #[field(text)]
    pub text: String,
}

/// A key of its own, text.
#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "blog")]
pub(crate) struct Ticket {
    #[field(primary_key, max_length = 40)]
    pub code: String,
    pub seats: i64,
}

#[derive(Model, Debug, Clone)]
#[model(app = "blog")]
pub(crate) struct Seat {
    pub id: Id,
    #[field(on_delete = protect)]
    pub ticket: ForeignKey<Ticket>,
}

struct Blog;

impl App for Blog {
    fn label(&self) -> &'static str {
        "blog"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![
            Author::meta(),
            Post::meta(),
            Comment::meta(),
            Ticket::meta(),
            Seat::meta(),
            deletes::Watched::meta(),
            saves::Hooked::meta(),
            expressions::Item::meta(),
            properties::Parent::meta(),
            properties::Child::meta(),
        ]
    }
}

/// A site with empty tables on a database.
pub(crate) struct Fixture {
    pub site: Site,
    pub settings: Settings,
    /// Dropped last: it drops the database.
    _database: TestDatabase,
}

pub(crate) async fn fixtures() -> Vec<Fixture> {
    let mut fixtures = Vec::new();
    for database in databases().await {
        let mut settings = Settings::default();
        settings.debug = true;
        settings.database.url = Secret::new(&database.url);
        let site = open(&settings).await;
        for meta in Blog.models() {
            site.db().script(&create_table(meta, site.db().dialect())).await.unwrap();
        }
        fixtures.push(Fixture { site, settings, _database: database });
    }
    fixtures
}

pub(crate) async fn open(settings: &Settings) -> Site {
    let project = Project::new("blog", env!("CARGO_MANIFEST_DIR")).install(Blog);
    project.open(settings.clone(), Layer::memory(&settings.channels)).await.unwrap()
}

/// A table as a migration would make it, more or less.
fn create_table(meta: &Meta, dialect: Dialect) -> String {
    let mut sql = format!("CREATE TABLE \"{}\" (", meta.table);
    for (at, field) in meta.fields.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        // A key has the very type of what it points to; MariaDB insists.
        let target = field.relation.map(|relation| (relation.to)().primary_key());
        let kind = match target {
            Some(target) if target.kind == FieldKind::BigAuto => "BIGINT".into(),
            target => column_type(target.unwrap_or(field), dialect),
        };
        write!(sql, "{comma}\"{}\" {kind}", field.column).unwrap();
        if !field.null && field.kind != FieldKind::BigAuto {
            sql.push_str(" NOT NULL");
        }
        if field.unique {
            sql.push_str(" UNIQUE");
        }
        if field.primary_key && field.kind != FieldKind::BigAuto {
            sql.push_str(" PRIMARY KEY");
        }
        if let Some(relation) = field.relation {
            let to = (relation.to)();
            write!(sql, " REFERENCES \"{}\" (\"{}\")", to.table, to.primary_key().column).unwrap();
        }
    }
    sql + ");"
}

fn column_type(field: &Field, dialect: Dialect) -> String {
    match field.kind {
        FieldKind::BigAuto if dialect == Dialect::Sqlite => {
            "INTEGER PRIMARY KEY AUTOINCREMENT".into()
        }
        FieldKind::BigAuto if dialect == Dialect::Mysql => {
            "BIGINT AUTO_INCREMENT PRIMARY KEY".into()
        }
        FieldKind::BigAuto => "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY".into(),
        FieldKind::Boolean => "BOOLEAN".into(),
        FieldKind::SmallInteger => "SMALLINT".into(),
        FieldKind::Integer => "INTEGER".into(),
        FieldKind::BigInteger => "BIGINT".into(),
        FieldKind::Float => "DOUBLE PRECISION".into(),
        FieldKind::Char => format!("VARCHAR({})", field.max_length.unwrap()),
        FieldKind::Text => "TEXT".into(),
        FieldKind::DateTime if dialect == Dialect::Mysql => "DATETIME(6)".into(),
        FieldKind::DateTime => "TIMESTAMP WITH TIME ZONE".into(),
        FieldKind::Date => "DATE".into(),
        FieldKind::Time if dialect == Dialect::Mysql => "TIME(6)".into(),
        FieldKind::Time => "TIME".into(),
        FieldKind::Decimal => "DECIMAL(12, 2)".into(),
        FieldKind::Json if dialect == Dialect::Postgres => "JSONB".into(),
        FieldKind::Json => "TEXT".into(),
        other => unreachable!("no model of this folder has a {other:?}"),
    }
}

pub(crate) async fn author(site: &Site, name: &str) -> Author {
    Author::create(site, Author { name: name.into(), ..Default::default() }).await.unwrap()
}

pub(crate) async fn post(site: &Site, author: &Author, title: &str) -> Post {
    let post = Post { title: title.into(), author: author.into(), ..Default::default() };
    Post::create(site, post).await.unwrap()
}
