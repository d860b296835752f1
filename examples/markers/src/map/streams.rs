//! Who takes part in the map: whoever opened the page has a marker; others look.

use hulse::prelude::*;
use hulse::streams::Policy;

use super::{places, visitor};

/// The one map there is. A client that lags gets the latest place of each marker, not the way
/// there.
pub(crate) async fn map(request: Request, (): ()) -> Result<Stream> {
    let site = request.site().clone();
    let stream = Stream::group(places::MAP)
        .slow(Policy::Latest)
        .snapshot(move || async move { places::all(&site).await });
    let Some(visitor) = visitor::known(&request).await? else { return Ok(stream) };
    let key = visitor.key.clone();
    Ok(stream.presence(visitor.key, json!({ "name": visitor.name })).on_send(
        move |sender, place| {
            let key = key.clone();
            async move { places::moved(&sender, &key, place).await }
        },
    ))
}
