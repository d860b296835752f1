//! The row both sides read and write, and the site it belongs to.

use chrono::{DateTime, NaiveDate, Utc};
use hulse::models::{Id, Meta, Model};
use hulse::{App, Project};

/// One row.
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
        vec![Post::meta()]
    }
}
