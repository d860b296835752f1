//! What a user may do, and who gets where, seen from outside.

mod backends;
mod gates;
mod mail;
mod open_sessions;
mod passwords;
mod permissions;
mod profile;

use hulse::App;
use hulse::contrib::auth::{Permission, User};
use hulse::models::{Id, Meta, Model};
use hulse::test::TestSite;

pub(crate) const PASSWORD: &str = "correct horse battery";

#[derive(Clone, Debug, Model)]
#[model(app = "blog", permissions(publish_post = "Can publish posts"))]
pub(crate) struct Post {
    pub(crate) id: Id,
    #[field(max_length = 50)]
    pub(crate) title: String,
}

/// Only to be looked at.
#[derive(Clone, Debug, Model)]
#[model(app = "blog", default_permissions = ["view"], verbose_name = "page visit")]
pub(crate) struct Visit {
    pub(crate) id: Id,
}

pub(crate) struct Blog;

impl App for Blog {
    fn label(&self) -> &'static str {
        "blog"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Post::meta(), Visit::meta()]
    }
}

async fn user(site: &TestSite, name: &str) -> User {
    User::create_user(site, name, &format!("{name}@example.org"), Some(PASSWORD)).await.unwrap()
}

async fn permission(site: &TestSite, label: &str) -> Permission {
    let (app, codename) = label.split_once('.').unwrap();
    Permission::objects()
        .filter(|p| p.app_label().eq(app) & p.codename().eq(codename))
        .get(site)
        .await
        .unwrap()
}

/// Gives `user` these permissions.
async fn grant(site: &TestSite, user: &User, labels: &[&str]) {
    for label in labels {
        user.user_permissions().add(site, [&permission(site, label).await]).await.unwrap();
    }
}
