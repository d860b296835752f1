//! Ways in which somebody is no longer let in.

use hulse::contrib::auth::{self, Group, Permission, User};
use hulse::http::{Path, Request, not_found, permission_denied};
use hulse::{Result, Site};

/// Takes from who asks what his sockets were opened for.
pub(crate) async fn revoke(request: Request, Path(cause): Path<String>) -> Result<&'static str> {
    let user = request.user().await?.user().cloned();
    let mut user = user.ok_or_else(|| permission_denied("nobody is signed in"))?;
    match cause.as_str() {
        "logout" => auth::logout(&request).await?,
        "password" => {
            user.password = "!nothing fits".into();
            user.save(&request).await?;
        }
        "account" => {
            user.is_active = false;
            user.save(&request).await?;
        }
        "right" => {
            let right = right(&request, &user).await?;
            user.user_permissions().add(&request, [&right]).await?;
            user.user_permissions().remove(&request, [&right]).await?;
        }
        "group" => {
            let group = Group { name: format!("of {}", user.username), ..Group::default() };
            let group = Group::create(&request, group).await?;
            user.groups().add(&request, [&group]).await?;
            user.groups().remove(&request, [&group]).await?;
        }
        _ => return Err(not_found("no such cause")),
    }
    Ok("revoked")
}

async fn right(site: &Site, user: &User) -> Result<Permission> {
    let right = Permission {
        name: "Can hear".into(),
        app_label: "feed".into(),
        model: "room".into(),
        codename: format!("hear_{}", user.username),
        ..Permission::default()
    };
    Permission::create(site, right).await
}
