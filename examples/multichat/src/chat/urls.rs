//! What answers where.

use hulse::contrib::auth::login_required;
use hulse::sockets::socket;
use hulse::urls::{Urls, path};

use super::{consumers, views};

pub(crate) fn urls() -> Urls {
    Urls::new([
        path("", login_required(views::index)).name("index"),
        socket("chat/stream/", consumers::Chat::default).name("stream"),
    ])
}
