//! Data migrations: functions of an app that a migration names, `run = "blog.fill_slugs"`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::conf::nearest;
use crate::error::{Error, Kind as ErrorKind, Result};
use crate::site::Site;

use super::History;
use super::operation::NOOP;

/// The data migrations of an app, by name. An app gives them in `App::data_migrations`:
///
/// ```
/// use hulse::migrations::{DataMigrations, History};
/// use hulse::{Result, Site};
///
/// async fn fill_slugs(_: &Site, history: &History) -> Result<()> {
///     let posts = history.model("blog", "Post")?;
///     let mut batches = posts.filter("slug", "")?.batches(500);
///     while let Some(rows) = batches.next().await? {
///         for mut row in rows {
///             let title: String = row.get("title")?;
///             row.set("slug", title.to_lowercase().replace(' ', "-"))?;
///             row.save().await?;
///         }
///     }
///     Ok(())
/// }
///
/// let all = DataMigrations::default().with("fill_slugs", fill_slugs);
/// ```
#[derive(Clone, Default)]
pub struct DataMigrations {
    functions: BTreeMap<String, Function>,
}

type Function = Arc<dyn DataMigration>;

/// An `async fn(&Site, &History) -> Result<()>`.
///
/// The site is inside the migration's transaction: what it changes lasts only if all of the
/// migration does.
pub trait DataMigration: Send + Sync + 'static {
    /// Runs it.
    fn run<'a>(&'a self, site: &'a Site, history: &'a History) -> BoxFuture<'a, Result<()>>;
}

impl<F> DataMigration for F
where
    F: for<'a> Call<'a> + Send + Sync + 'static,
{
    fn run<'a>(&'a self, site: &'a Site, history: &'a History) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.call(site, history))
    }
}

/// A function for one lifetime of its arguments, with the future that lives as long.
pub trait Call<'a> {
    /// What it returns.
    type Future: Future<Output = Result<()>> + Send + 'a;

    /// Calls it.
    fn call(&self, site: &'a Site, history: &'a History) -> Self::Future;
}

impl<'a, F, Fut> Call<'a> for F
where
    F: Fn(&'a Site, &'a History) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'a,
{
    type Future = Fut;

    fn call(&self, site: &'a Site, history: &'a History) -> Fut {
        self(site, history)
    }
}

impl DataMigrations {
    /// With `function` under `name`, the part after the dot in `run = "blog.fill_slugs"`.
    #[must_use]
    pub fn with(mut self, name: &str, function: impl DataMigration) -> Self {
        self.functions.insert(name.to_owned(), Arc::new(function));
        self
    }

    /// Those of all apps, by label and name.
    pub(crate) fn all<'a>(apps: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let apps = apps.into_iter();
        let functions = apps.flat_map(|(label, own)| {
            let named = own.functions.into_iter();
            named.map(move |(name, function)| (format!("{label}.{name}"), function))
        });
        Self { functions: functions.collect() }
    }

    /// The function a migration names; `None` for `noop`.
    pub(super) fn named(&self, name: &str) -> Result<Option<&dyn DataMigration>> {
        if name == NOOP {
            return Ok(None);
        }
        if let Some(function) = self.functions.get(name) {
            return Ok(Some(&**function));
        }
        let known = || self.functions.keys().map(String::as_str);
        let near = nearest(name, known());
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        let words = match known().count() {
            0 => "no app has any".to_owned(),
            _ => format!("there are {}", known().collect::<Vec<_>>().join(", ")),
        };
        Err(Error::of(
            ErrorKind::Migration,
            format!(
                "there is no data migration `{name}` in any app's `data_migrations`{near} ({words})"
            ),
        ))
    }
}

impl fmt::Debug for DataMigrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.functions.keys()).finish()
    }
}
