//! What readers are told of a post.

use chrono::TimeDelta;
use hulse::prelude::*;
use serde_json::Value;

use super::models::Post;

/// A post changed later than this after it was made is called edited.
const EDITED_AFTER: TimeDelta = TimeDelta::seconds(1);

/// It is there, or has changed. `html` is made here, so that what somebody typed is escaped in one
/// place. By `updated` a page knows the later of two changes of one post.
pub(crate) fn saved(site: &Site, post: &Post) -> Result<Value> {
    let edited = post.updated - post.created > EDITED_AFTER;
    let html = site.templates().render("liveblog/post.html", &context! { post, edited })?;
    Ok(json!({
        "id": post.id,
        "html": html,
        "created": post.created,
        "updated": post.updated,
    }))
}

/// It is gone. A client that knows only the first three fields shows it empty.
pub(crate) fn deleted(post: &Post) -> Value {
    json!({ "id": post.id, "html": "", "created": post.created, "deleted": true })
}
