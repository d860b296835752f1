//! What somebody may do is taken back: open connections hear of it, everywhere.
//!
//! Flow: a user is saved or deleted, leaves a group, loses a permission, or a group does → what
//! that takes away is seen against the stored row → after the commit the connections with the
//! user's mark are dismissed, or asked again.
//!
//! Invariants:
//! - A new password ends the connections of all sessions but, with [`change_password`], the own.
//! - An account that is closed, deleted, or loses a flag or a permission has its connections asked
//!   again.

use std::sync::Arc;

use crate::channels::{Dismissal, Mark};
use crate::contrib::sessions;
use crate::db::Value;
use crate::error::Result;
use crate::http::{Marker, Request, permission_denied};
use crate::models::{Hooks, Id, M2mAction, M2mChanged, Meta, Model, PreDelete};
use crate::site::Site;

use super::current::look;
use super::login::stay_signed_in;
use super::models::{Group, Permission, User};
use super::new_password::set;

tokio::task_local! {
    /// The session that goes on in spite of a new password.
    static SPARED: Option<Mark>;
}

/// The mark of a user's connections.
pub(super) fn mark_of(id: Id) -> Mark {
    Mark::new(&format!("user {id}"))
}

/// Finds the mark of a request's user.
pub(super) fn marker() -> Marker {
    Marker::new(sessions::bears, async |request: Request, how| {
        let (now, was_read) = sessions::fresh(&request, how);
        let id = look(&now).await?.user().map(|user| user.id);
        if was_read && look(&request).await?.user().map(|user| user.id) != id {
            return Err(permission_denied("the user has changed"));
        }
        Ok(id.map(mark_of).into_iter().collect())
    })
}

/// Has all open connections of `user` asked again whether they may stay, in all processes: streams
/// ask their handlers, consumers [`Consumer::reauthorize`](crate::sockets::Consumer::reauthorize).
/// Inside a transaction that waits for the commit.
///
/// Saving or deleting a [`User`] sees to it; this is for what the framework does not see, such as
/// `QuerySet::update`, or a role kept in a table of the site's own.
///
/// # Errors
/// The data store cannot be reached; this process's connections were asked all the same.
pub async fn reauthorize(site: &Site, users: &[Id]) -> Result<()> {
    let dismissal = Dismissal::ask_again(users.iter().copied().map(mark_of));
    site.on_commit(move |site| async move { site.layer().dismiss(&dismissal).await }).await
}

/// Gives `user`, who asks, a new password. All other sessions end, with their connections; this one
/// gets a new id and goes on.
///
/// # Errors
/// The password is too long, too many are being hashed (503), or the database cannot be reached.
pub async fn change_password(request: &Request, user: &mut User, password: &str) -> Result<()> {
    let own = sessions::mark_of(request.session()).await?;
    SPARED.scope(own, set(request, user, password)).await?;
    stay_signed_in(request, user.clone()).await
}

impl Hooks for User {
    async fn before_save(&mut self, site: &Site) -> Result<()> {
        if !self.id.is_set() {
            return Ok(());
        }
        let stored = Self::objects().filter(|u| u.id().eq(self.id)).first(site).await?;
        let Some(stored) = stored else { return Ok(()) };
        let loses = |had: bool, has: bool| had && !has;
        if self.password != stored.password {
            let all = Dismissal::close(mark_of(self.id));
            let spared = SPARED.try_with(|own| *own).ok().flatten();
            dismiss_later(site, spared.map_or(all.clone(), |own| all.except(own))).await
        } else if loses(stored.is_active, self.is_active)
            || loses(stored.is_staff, self.is_staff)
            || loses(stored.is_superuser, self.is_superuser)
        {
            dismiss_later(site, Dismissal::ask_again([mark_of(self.id)])).await
        } else {
            Ok(())
        }
    }

    async fn before_delete(&mut self, site: &Site) -> Result<()> {
        dismiss_later(site, Dismissal::ask_again([mark_of(self.id)])).await
    }
}

/// What is stored counts, whether or not the data store can be reached.
async fn dismiss_later(site: &Site, dismissal: Dismissal) -> Result<()> {
    let dismiss = move |site: Site| async move {
        sessions::dismiss(&site, &dismissal).await;
        Ok(())
    };
    site.on_commit(dismiss).await
}

/// Members of a group that are asked again when it loses something.
const MEMBERS_MAX: u64 = 10_000;

/// A user's or a group's relation has lost rows.
pub(super) async fn relation_changed(site: Site, change: Arc<M2mChanged>) -> Result<()> {
    let is = |meta: &Meta, of: &Meta| meta.app == of.app && meta.model == of.model;
    let (user, group) = (User::meta(), Group::meta());
    let is_whole = matches!(change.action, M2mAction::PreClear);
    if !is_whole && change.action != M2mAction::PostRemove {
        return Ok(());
    }
    let others = || change.keys.iter().filter_map(id_of);
    let users = if is(change.owner, user) {
        id_of(&change.key).into_iter().collect()
    } else if is(change.owner, group) && change.field == "permissions" {
        members(&site, id_of(&change.key)).await?
    } else if is(change.owner, group) && change.through.table == user_table("groups") {
        if is_whole { members(&site, id_of(&change.key)).await? } else { others().collect() }
    } else if is(change.owner, Permission::meta()) {
        let from_users = change.through.table == user_table("user_permissions");
        if from_users { others().collect() } else { members(&site, others()).await? }
    } else {
        return Ok(());
    };
    dismiss_later(&site, Dismissal::ask_again(users.into_iter().map(mark_of))).await
}

/// Its members are none any more.
pub(super) async fn group_deleted(site: Site, event: Arc<PreDelete<Group>>) -> Result<()> {
    let users = members(&site, [event.row.id]).await?;
    dismiss_later(&site, Dismissal::ask_again(users.into_iter().map(mark_of))).await
}

fn user_table(field: &str) -> String {
    format!("{}_{field}", User::meta().table)
}

async fn members(site: &Site, groups: impl IntoIterator<Item = Id>) -> Result<Vec<Id>> {
    let mut users = Vec::new();
    for group in groups {
        let members = User::objects().filter(|u| u.groups().id().eq(group)).limit(MEMBERS_MAX);
        users.extend(members.all(site).await?.iter().map(|user| user.id));
    }
    Ok(users)
}

fn id_of(key: &Value) -> Option<Id> {
    match key {
        Value::BigInt(Some(number)) => Some(Id::from(*number)),
        _ => None,
    }
}
