//! What answers where.

use hulse::http::{get, post};
use hulse::sockets::socket;
use hulse::streams::{Streams, stream};
use hulse::urls::{Urls, path};

use super::{consumers, streams, views};

pub(crate) fn urls() -> Urls {
    Urls::new([
        path("", views::index).name("index"),
        path("liveblog/<slug:slug>/", get(views::blog).post(views::write)).name("blog"),
        path("liveblog/<slug:slug>/posts/<int:id>/", post(views::edit)).name("post"),
        socket("liveblog/<str:slug>/stream/", consumers::Reader::default).name("reader"),
        Streams::new([stream("liveblog/<slug:slug>", streams::posts)]).at("stream/").name("stream"),
    ])
}
