//! The rows both sides read and write, and the site they belong to.

use chrono::{DateTime, NaiveDate, Utc};
use hulse::models::{ForeignKey, Id, Meta, Model};
use hulse::{App, Project};

/// A row of usual size.
#[derive(Clone, Debug, Model)]
#[model(app = "benches")]
pub(crate) struct Post {
    pub(crate) id: Id,
    #[field(max_length = 100)]
    pub(crate) title: String,
    #[field(text)]
    pub(crate) body: String,
    pub(crate) author: i64,
    pub(crate) live: bool,
    pub(crate) stars: Option<i32>,
    pub(crate) weight: f64,
    pub(crate) day: NaiveDate,
    pub(crate) created: DateTime<Utc>,
}

/// Who wrote comments.
#[derive(Clone, Debug, Model)]
#[model(app = "benches")]
pub(crate) struct Author {
    pub(crate) id: Id,
    #[field(max_length = 100)]
    pub(crate) name: String,
    pub(crate) joined: NaiveDate,
}

/// A row that points to another.
#[derive(Clone, Debug, Model)]
#[model(app = "benches")]
pub(crate) struct Comment {
    pub(crate) id: Id,
    #[field(on_delete = cascade)]
    pub(crate) author: ForeignKey<Author>,
    #[field(max_length = 200)]
    pub(crate) words: String,
    pub(crate) created: DateTime<Utc>,
}

/// A row that is not saved yet.
pub(crate) fn post(number: i64) -> Post {
    Post {
        id: Id::default(),
        title: format!("The title of number {number}"),
        body: "Some words of a body that is neither short nor long. ".repeat(4),
        author: number % 50,
        live: number % 2 == 0,
        stars: (number % 3 > 0).then_some(3),
        weight: 0.5,
        day: NaiveDate::from_ymd_opt(2026, 11, 21).unwrap_or_default(),
        created: Utc::now(),
    }
}

pub(crate) fn author(number: i64) -> Author {
    Author { id: number.into(), name: format!("Author {number}"), joined: NaiveDate::default() }
}

pub(crate) fn comment(number: i64) -> Comment {
    Comment {
        id: number.into(),
        author: ForeignKey::to(1 + number % 50),
        words: format!("What number {number} has to say about it"),
        created: Utc::now(),
    }
}

/// The site.
pub(crate) fn project() -> Project {
    Project::new("benches", env!("CARGO_MANIFEST_DIR")).install(Benches)
}

struct Benches;

impl App for Benches {
    fn label(&self) -> &'static str {
        "benches"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Post::meta(), Author::meta(), Comment::meta()]
    }
}
