//! Rows that browsers follow: accounts, by their last name.

use hulse::Result;
use hulse::contrib::auth::User;
use hulse::http::{Path, Request};
use hulse::streams::{Audience, LiveModel, Streams};
use hulse::urls::{Urls, path};
use serde_json::json;

pub(crate) fn people() -> LiveModel<User> {
    let all = Audience::<User>::new("all", |u| (u.username(), u.first_name(), u.last_name()));
    LiveModel::new("people", |user: &User| user.last_name.clone()).audience(all).snapshot(
        |family| {
            let family = family.to_owned();
            User::objects().filter(|u| u.last_name().eq(family)).order_by(|u| u.username().asc())
        },
    )
}

pub(crate) fn urls() -> Urls {
    Urls::new([
        Streams::new([people().stream("people/<slug:family>")]).at("people/stream/"),
        path("people/<slug:name>/", show),
        path("people/<slug:name>/<slug:first>/<slug:family>/", save),
    ])
}

/// As it is stored, as followers see it.
async fn show(request: Request, Path(name): Path<String>) -> Result<String> {
    let user = User::objects().filter(|u| u.username().eq(name)).get(&request).await?;
    let row = json!({
        "username": user.username, "first_name": user.first_name, "last_name": user.last_name,
    });
    Ok(row.to_string())
}

/// Gives somebody another name.
async fn save(
    request: Request,
    Path((name, first, family)): Path<(String, String, String)>,
) -> Result<&'static str> {
    let named = name.clone();
    let known = User::objects().filter(|u| u.username().eq(named)).first(&request).await?;
    let mut user = known.unwrap_or_else(|| User { username: name, ..User::default() });
    user.first_name = first;
    user.last_name = family;
    user.save(&request).await?;
    Ok("saved")
}
