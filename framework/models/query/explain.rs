//! `explain` and `sql`: how a query is asked and run.

use crate::db::{Dialect, Sql};
use crate::error::{Error, Kind, Result};
use crate::models::query::QuerySet;
use crate::models::sql::Target;
use crate::site::Site;

/// What [`QuerySet::explain_with`] asks of the database beside its plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explain {
    analyze: bool,
    json: bool,
}

impl Explain {
    /// The plan, as text.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs the query too, and says how long each step took. Not on SQLite.
    #[must_use]
    pub fn analyze(mut self) -> Self {
        self.analyze = true;
        self
    }

    /// As JSON, which is all that MariaDB has. Not on SQLite.
    #[must_use]
    pub fn json(mut self) -> Self {
        self.json = true;
        self
    }

    /// What stands before the query, and which column of the answer says it.
    fn words(self, dialect: Dialect) -> Result<(&'static str, usize)> {
        Ok(match (dialect, self.analyze, self.json) {
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, false, false) => ("EXPLAIN QUERY PLAN ", 3),
            #[cfg(feature = "sqlite")]
            (Dialect::Sqlite, ..) => {
                let words = "explain: SQLite has no `analyze` and no `json`, only its query plan";
                return Err(Error::of(Kind::Field, words));
            }
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, false, false) => ("EXPLAIN ", 0),
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, true, false) => ("EXPLAIN (ANALYZE) ", 0),
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, false, true) => ("EXPLAIN (FORMAT JSON) ", 0),
            #[cfg(feature = "postgres")]
            (Dialect::Postgres, true, true) => ("EXPLAIN (ANALYZE, FORMAT JSON) ", 0),
            #[cfg(feature = "mysql")]
            (Dialect::Mysql, false, _) => ("EXPLAIN FORMAT=JSON ", 0),
            #[cfg(feature = "mysql")]
            (Dialect::Mysql, true, _) => ("ANALYZE FORMAT=JSON ", 0),
        })
    }
}

impl<M, R> QuerySet<M, R> {
    /// How the database would run the query: its own words, a line a step.
    ///
    /// # Errors
    /// As [`all`](Self::all).
    pub async fn explain(self, site: &Site) -> Result<String> {
        self.explain_with(site, Explain::new()).await
    }

    /// As [`explain`](Self::explain), with more, or in another form.
    ///
    /// # Errors
    /// The database cannot say it so; else as [`all`](Self::all).
    pub async fn explain_with(self, site: &Site, explain: Explain) -> Result<String> {
        let (before, column) = explain.words(site.db().dialect())?;
        let Sql { text, values } = self.sql(site)?;
        let rows = site.db().fetch(Sql { text: format!("{before}{text}"), values }).await?;
        let lines: Result<Vec<String>> = rows
            .iter()
            .map(|row| match row.get(column) {
                // PostgreSQL says JSON as its type of that name.
                Err(_) => row.get::<serde_json::Value>(column).map(|json| json.to_string()),
                text => text,
            })
            .collect();
        Ok(lines?.join("\n"))
    }

    /// The SELECT it would send, and what it binds: for logs and tests.
    ///
    /// # Errors
    /// The query was built wrong, or the database cannot answer it.
    pub fn sql(&self, site: &Site) -> Result<Sql> {
        self.checked()?;
        self.plan.select(Target::of(site))
    }
}
