//! The page with the map.

use hulse::http::{Request, Response, render};
use hulse::{Result, context};

use super::visitor;

/// The map. Whoever opens it is somebody from then on, in all tabs of the browser.
pub(crate) async fn index(request: Request) -> Result<Response> {
    let visitor = visitor::welcome(&request).await?;
    render(&request, "map/index.html", context! { visitor }).await
}
