//! Where the markers are.
//!
//! Flow: a visitor's browser says a place → it is kept as the last one of its marker → everybody on
//! the map is told. A newcomer is told all of them at once, and then what moves.
//!
//! Invariants:
//! - Places are in the data store's memory only, each with an end. Who is present says its place
//!   again from time to time, so none that is shown comes to it.
//! - A place is on the map, whatever a client says.

use std::time::Duration;

use hulse::channels::GroupName;
use hulse::http::bad_request;
use hulse::{Result, Site};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The group of everybody who looks at the map.
pub(crate) const MAP: &str = "map";

/// How long a place is kept after a marker was moved there; pages say theirs every minute.
const KEPT: Duration = Duration::from_secs(600);

/// Markers a newcomer is shown.
const MARKERS_MAX: usize = 500;

/// A place: parts of the map's width and height, 0 to 1.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    x: f64,
    y: f64,
}

impl Place {
    /// The nearest place on the map, to four digits: less than a pixel of any screen.
    fn on_the_map(self) -> Self {
        let part = |value: f64| (value.clamp(0.0, 1.0) * 10_000.0).round() / 10_000.0;
        Self { x: part(self.x), y: part(self.y) }
    }
}

/// The marker `key` was moved.
pub(crate) async fn moved(site: &Site, key: &str, place: Value) -> Result<()> {
    let place: Place = serde_json::from_value(place)
        .map_err(|_| bad_request("a place has `x` and `y`, numbers from 0 to 1"))?;
    let Place { x, y } = place.on_the_map();
    let event = json!({ "key": key, "x": x, "y": y });
    site.values().set(&kept_as(key), event.to_string(), Some(KEPT)).await?;
    site.group(MAP).send_latest(key, event).await
}

/// The last place of everybody who is present.
pub(crate) async fn all(site: &Site) -> Result<Value> {
    let present = site.layer().present(&GroupName::new(MAP)?).await?;
    let mut places: Vec<Value> = Vec::new();
    for person in present.iter().take(MARKERS_MAX) {
        if let Some(last) = site.values().get(&kept_as(&person.key)).await? {
            places.push(serde_json::from_slice(&last.bytes)?);
        }
    }
    Ok(places.into())
}

/// The name under which the last place of a marker is kept.
fn kept_as(key: &str) -> String {
    format!("map-place-{key}")
}
