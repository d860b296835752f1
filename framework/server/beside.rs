//! The layer of a site that runs, for processes beside its server: commands and `runworker`.

use crate::channels::{Layer, has_store};
use crate::conf::Settings;
use crate::error::{Error, Kind, Result};
use crate::server::prepare::is_redis;

/// The layer of the running site with these settings.
///
/// # Errors
/// It does not run (`is_layer_unavailable`), or its data store is inside its worker.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn running_layer(settings: &Settings) -> Result<Layer> {
    let url = &settings.server.data_store;
    match url.expose() {
        "pulse://" => {}
        redis if is_redis(redis) => {
            let layer = Layer::redis(redis, &settings.channels)?;
            layer.ready().await?;
            return Ok(layer);
        }
        "memory://" => {
            let words = "the data store is memory://, inside the server's only worker: nobody else \
                         can reach it; use pulse://";
            return Err(Error::usage(words));
        }
        _ => return Err(Error::usage(format!("unknown data store {url:?}"))),
    }
    let folder = settings.resolve(&settings.server.runtime_dir);
    if !has_store(&folder) {
        let words =
            format!("the site is not running: no data store listens in {}", folder.display());
        return Err(Error::of(Kind::LayerUnavailable, words));
    }
    let layer = Layer::pulse_in(&folder, &settings.channels);
    layer.ready().await?;
    Ok(layer)
}

/// The same, or without a running site a layer of this process only: what a command sends reaches
/// whoever is there.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn layer_beside(settings: &Settings) -> Layer {
    match running_layer(settings).await {
        Ok(layer) => layer,
        Err(error) => {
            tracing::debug!(%error, "nobody hears what this command sends");
            Layer::memory(&settings.channels)
        }
    }
}
