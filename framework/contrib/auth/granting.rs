//! The rows of permissions: made and renamed after `migrate`, and listed for templates.
//!
//! Invariants:
//! - Running again changes nothing; what is missing is one INSERT.
//! - A row is never deleted: neither those of a model that is gone (undoing a migration would take
//!   away rights for good) nor those a person has made.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::models::Permission;
use super::permissions::Permissions;
use crate::apps::Check;
use crate::error::Result;
use crate::migrations::{ModelKey, PostMigrate, ProjectState};
use crate::models::{Bulk, Conflicts, DEFAULT_PERMISSIONS, Meta, Model, Registry};
use crate::site::Site;

/// Most characters of a permission's name and codename: what the columns hold.
const NAME_CHARS_MAX: usize = 255;
const CODENAME_CHARS_MAX: usize = 100;

/// What a row of a permission is known by: app, model, codename.
type Key = (String, String, String);

/// After `migrate`: the permissions of all models that have a table now.
pub(super) async fn after_migrate(site: Site, event: Arc<PostMigrate>) -> Result<()> {
    if !is_there(&event.state, Permission::meta()) {
        return Ok(());
    }
    site.atomic(async |site| {
        for (from, to) in &event.renamed {
            rename(&site, from, to).await?;
        }
        create(&site, &event.state).await
    })
    .await
}

async fn create(site: &Site, state: &ProjectState) -> Result<()> {
    let known = Permission::objects().values(|p| (p.app_label(), p.model(), p.codename()));
    let known: HashSet<Key> = known.all(site).await?.into_iter().collect();
    let models = Registry::of(site);
    let models = models.models().iter().filter(|meta| is_ours(meta) && is_there(state, meta));
    let wanted = models.flat_map(|meta| {
        let (app_label, model) = (meta.app.to_owned(), meta.model.to_lowercase());
        meta.all_permissions().map(move |(codename, name)| {
            let (app_label, model) = (app_label.clone(), model.clone());
            Permission { name, app_label, model, codename, ..Permission::default() }
        })
    });
    let missing: Vec<_> = wanted
        .filter(|p| !known.contains(&(p.app_label.clone(), p.model.clone(), p.codename.clone())))
        .collect();
    if !missing.is_empty() {
        let bulk = Bulk { conflicts: Conflicts::Ignore, ..Bulk::default() };
        Permission::objects().bulk_create(site, missing, bulk).await?;
    }
    Ok(())
}

/// Who had rights to the rows under the former name has them under the new one.
async fn rename(site: &Site, from: &ModelKey, to: &ModelKey) -> Result<()> {
    let (old, new) = (from.model.to_lowercase(), to.model.to_lowercase());
    let of = |model: String| {
        Permission::objects().filter(move |p| p.app_label().eq(&to.app) & p.model().eq(model))
    };
    if of(new.clone()).exists(site).await? {
        if of(old.clone()).exists(site).await? {
            tracing::warn!(
                "{from} is {to} now, and there are permissions of both: who had rights under the \
                 former name has lost them, who had some under the new one, long ago, has them \
                 again"
            );
        }
        return Ok(());
    }
    let models = Registry::of(site);
    let named = models.model(&to.to_string()).map_or(new.as_str(), |meta| meta.verbose_name);
    for mut row in of(old.clone()).all(site).await? {
        row.model.clone_from(&new);
        let action = row.codename.strip_suffix(&old).and_then(|rest| rest.strip_suffix('_'));
        // The names of others are what the model says, whatever they end in.
        let usual = action.filter(|action| DEFAULT_PERMISSIONS.contains(action));
        if let Some(action) = usual.map(str::to_owned) {
            row.codename = format!("{action}_{new}");
            row.name = format!("Can {action} {named}");
        }
        row.save(site).await?;
    }
    Ok(())
}

/// Whether people may do something with its rows as such; not those between two others.
fn is_ours(meta: &Meta) -> bool {
    meta.rows.is_some()
}

fn is_there(state: &ProjectState, meta: &Meta) -> bool {
    state.model(&ModelKey::new(meta.app, meta.model)).is_some()
}

/// The names of all permissions that models of the site say: `blog.add_post`.
pub(super) fn names(models: &[&'static Meta]) -> impl Iterator<Item = (&'static str, String)> {
    models
        .iter()
        .filter(|meta| is_ours(meta))
        .flat_map(|meta| meta.all_permissions().map(|(codename, _)| (meta.app, codename)))
}

/// Permissions of models that clash, or that their table does not hold (Django's ids and words).
pub(super) fn checks(models: &[&'static Meta]) -> Vec<Check> {
    models.iter().filter(|meta| is_ours(meta)).flat_map(|meta| checks_of(meta)).collect()
}

fn checks_of(meta: &Meta) -> Vec<Check> {
    let (label, mut found) = (meta.label(), Vec::new());
    let mut fail = |id, words: String| found.push(Check::error(id, words));
    // `Can change ` and `change_`, say, stand before what the model is called.
    let action_chars = meta.default_permissions.iter().map(|action| action.len()).max();
    if let Some(action_chars) = action_chars {
        let most = NAME_CHARS_MAX - action_chars - "Can  ".len();
        if meta.verbose_name.chars().count() > most {
            let words = format!(
                "the verbose_name of {label} must be at most {most} characters for its built-in \
                 permission names to be at most {NAME_CHARS_MAX} characters"
            );
            fail("auth.E007", words);
        }
        let most = CODENAME_CHARS_MAX - action_chars - "_".len();
        if meta.model.chars().count() > most {
            let words = format!(
                "the name of {label} must be at most {most} characters for its built-in \
                 permission codenames to be at most {CODENAME_CHARS_MAX} characters"
            );
            fail("auth.E011", words);
        }
    }
    let all: Vec<String> = meta.all_permissions().map(|(codename, _)| codename).collect();
    for (codename, name) in meta.permissions {
        if all.iter().filter(|one| one == codename).count() > 1 {
            let words = format!(
                "the permission {codename:?} of {label} clashes with a built-in permission"
            );
            fail("auth.E005", words);
        }
        if name.chars().count() > NAME_CHARS_MAX {
            let words = format!(
                "the name of the permission {codename:?} of {label} is longer than \
                 {NAME_CHARS_MAX} characters"
            );
            fail("auth.E008", words);
        }
        if codename.chars().count() > CODENAME_CHARS_MAX {
            let words = format!(
                "the permission {codename:?} of {label} is longer than {CODENAME_CHARS_MAX} \
                 characters"
            );
            fail("auth.E012", words);
        }
    }
    found
}

/// As templates see it: `perms.blog.add_post`, true or false for all there are. `perms.blog` by
/// itself is a map, and so counts as true for everybody.
pub(super) fn table(site: &Site, own: &Permissions) -> BTreeMap<String, BTreeMap<String, bool>> {
    let mut table = BTreeMap::<String, BTreeMap<String, bool>>::new();
    for (app, codename) in names(Registry::of(site).models()) {
        let has = own.has(&format!("{app}.{codename}"));
        table.entry(app.to_owned()).or_default().insert(codename, has);
    }
    for (app, codename) in own.names().filter_map(|name| name.split_once('.')) {
        table.entry(app.to_owned()).or_default().insert(codename.to_owned(), true);
    }
    table
}
