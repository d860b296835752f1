//! What answers a request: the one ordered list of layers around the URL table.

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::{Extension, Router};

use crate::apps::Project;
use crate::contrib::{auth, sessions, staticfiles};
use crate::http::Processors;
use crate::middleware::{catch_panic, csrf, errors, hosts, log, request_values, security, slash};
use crate::site::Site;
use crate::urls;

/// The service for all requests to `site`. Built once a process; the test client uses it too.
///
/// The list reads from the inside out: the last line sees a request first and its answer last.
pub fn handler(project: &Project, site: &Site) -> Router {
    let views = Router::new()
        .fallback(urls::dispatch)
        .with_state(site.clone())
        // Here the session and the user are known, so the site's own error pages can show them.
        .layer(from_fn_with_state(site.clone(), errors))
        .layer(DefaultBodyLimit::max(site.settings().http.data_upload_max_memory_size));
    let own = project.layers().iter().rev().fold(views, |router, layer| layer(router));
    let values: Processors =
        request_values().chain(project.apps().iter().flat_map(|app| app.context())).collect();
    own.layer(from_fn(auth::auth))
        .layer(from_fn_with_state(site.clone(), csrf))
        .layer(from_fn_with_state(site.clone(), sessions::sessions))
        .layer(from_fn_with_state(staticfiles::StaticFiles::of(project, site), staticfiles::serve))
        .layer(from_fn_with_state(site.clone(), slash))
        .layer(from_fn_with_state(site.clone(), hosts))
        .layer(from_fn_with_state(site.clone(), security))
        .layer(from_fn_with_state(site.clone(), errors))
        // No piece, but what the pieces ask: the line of the table, the values of templates.
        .layer(Extension(values))
        .layer(from_fn_with_state(project.resolver().clone(), urls::resolve))
        .layer(from_fn_with_state(site.clone(), log))
        .layer(from_fn(catch_panic))
}
