//! What answers where.

use hulse::streams::{Streams, stream};
use hulse::urls::{Urls, path};

use super::{streams, views};

pub(crate) fn urls() -> Urls {
    Urls::new([
        path("", views::index).name("index"),
        Streams::new([stream("map", streams::map)]).at("stream/").name("stream"),
    ])
}
