//! What answers a request: the one ordered list of layers around the URL table.

use axum::middleware::from_fn_with_state;
use axum::{Extension, Router};

use crate::apps::Project;
use crate::contrib::{sessions, staticfiles};
use crate::site::Site;
use crate::urls;

/// The service for all requests to `site`. Built once a process; the test client uses it too.
///
/// The list reads from the inside out: the last one sees the request first.
pub fn handler(project: &Project, site: &Site) -> Router {
    let router = Router::new().fallback(urls::dispatch).with_state(site.clone());
    project
        .layers()
        .iter()
        .rev()
        .fold(router, |router, layer| layer(router))
        .layer(Extension(project.processors()))
        .layer(from_fn_with_state(site.clone(), sessions::sessions))
        .layer(from_fn_with_state(staticfiles::StaticFiles::of(project, site), staticfiles::serve))
        .layer(from_fn_with_state(project.resolver().clone(), urls::resolve))
}
