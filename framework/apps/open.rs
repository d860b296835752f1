//! From a project to the site that runs.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tera::{Error as TeraError, Kwargs, State, Tera, TeraResult};

use super::{Assets, Project};
use crate::channels::Layer;
use crate::conf::Settings;
use crate::db::Database;
use crate::error::Result;
use crate::migrations::DataMigrations;
use crate::models::Registry;
use crate::services::Declarations;
use crate::signals::Signals;
use crate::site::{Lifecycle, Parts, Reverse, Site};
use crate::template::{Sources, Templates, Value};

/// What the path of a static file keeps as it is.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The templates the framework ships.
#[derive(rust_embed::RustEmbed)]
#[folder = "templates"]
struct Own;

impl Project {
    /// Makes the site: connects the database, loads the templates.
    ///
    /// # Errors
    /// The database cannot be reached or a template is wrong.
    pub async fn open(&self, settings: Settings, layer: Layer) -> Result<Site> {
        let templates = Templates::load(self.template_sources(&settings))?;
        let database = Database::connect(&settings.database, &settings.base).await?;
        let reverse = self.resolver.reverse().clone();
        let lifecycle = Lifecycle::default();
        let site = Site::new(Parts { settings, database, templates, layer, reverse, lifecycle });
        let models = self.apps().iter().flat_map(|app| app.models()).collect();
        site.keep(|_| Registry::new(models));
        let apps = self.apps().iter().map(|app| (app.label(), app.data_migrations()));
        let functions = DataMigrations::all(apps);
        site.keep(|_| functions);
        let services = Declarations::new(&self.services()?);
        site.keep(|_| services);
        let mut signals = Signals::default();
        self.apps().iter().for_each(|app| app.signals(&mut signals));
        signals.extend(self.signals.clone());
        site.keep(|_| signals);
        self.apps().iter().for_each(|app| app.ready(&site));
        Ok(site)
    }

    fn template_sources(&self, settings: &Settings) -> Sources {
        let mut folders = vec![settings.base.join("templates")];
        if self.folder != settings.base {
            folders.push(self.folder.join("templates"));
        }
        let apps = self.apps.iter().map(|app| app.assets());
        let all = [self.assets].into_iter().chain(apps);
        let own = Own::iter().filter_map(|name| Some((name.to_string(), Own::get(&name)?.data)));
        let embedded = all.flat_map(templates_of).chain(own);
        let embedded = embedded.filter(|(name, _)| !name.starts_with('.')).collect();
        let (reverse, prefix) =
            (self.resolver.reverse().clone(), settings.static_files.url.clone());
        let functions = Box::new(move |tera: &mut Tera| register(tera, &reverse, &prefix));
        Sources { folders, embedded, watch: settings.debug, functions }
    }
}

fn templates_of(assets: Assets) -> Vec<(String, Cow<'static, [u8]>)> {
    let named = assets.below("templates/").into_iter().filter_map(|path| {
        let name = path.strip_prefix("templates/")?.to_owned();
        Some((name, assets.read(&path)?))
    });
    named.collect()
}

fn register(tera: &mut Tera, reverse: &Reverse, prefix: &str) {
    let reverse = reverse.clone();
    tera.register_function("url", move |given: Kwargs, _: &State<'_>| url(&reverse, &given));
    let prefix = prefix.to_owned();
    tera.register_function("static", move |given: Kwargs, _: &State<'_>| {
        let path = given.must_get::<&str>("path")?.trim_start_matches('/');
        TeraResult::Ok(format!("{prefix}{}", utf8_percent_encode(path, PATH)))
    });
    // Django's tag as a function, for those who write it so; the variables are the csrf layer's.
    for name in ["csrf_input", "csrf_token"] {
        tera.register_function(name, move |_: Kwargs, state: &State<'_>| {
            state.get::<Value>(name)?.ok_or_else(|| {
                TeraError::message(format!("`{name}` needs a request: render with `http::render`"))
            })
        });
    }
}

/// `url(name="polls:detail", id=3)` or, in the route's order, `url(name="polls:detail", args=[3])`.
fn url(reverse: &Reverse, given: &Kwargs) -> TeraResult<String> {
    let name = given.must_get::<&str>("name")?;
    let url = if let Some(list) = given.get::<Vec<Value>>("args")? {
        let list: Vec<&dyn fmt::Display> = list.iter().map(|value| value as _).collect();
        reverse.url(name, &list)
    } else {
        let named =
            given.iter().filter_map(|(key, value)| Some((key.as_str()?, value.to_string())));
        let named: Vec<_> = named.filter(|(key, _)| *key != "name").collect();
        reverse.url_with(name, &named)
    };
    url.map_err(|error| TeraError::message(error.to_string()))
}
