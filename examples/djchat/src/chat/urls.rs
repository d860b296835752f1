//! What answers where.

use hulse::sockets::socket;
use hulse::urls::{Urls, path};

use super::{consumers, views};

pub(crate) fn urls() -> Urls {
    Urls::new([
        path("", views::index).name("index"),
        socket("message", consumers::Chat::default).name("message"),
    ])
}
