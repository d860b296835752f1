//! The map: one page, one stream, everybody on it.

mod places;
mod streams;
mod urls;
mod views;
mod visitor;

pub(crate) use urls::urls;

/// The installable part.
pub(crate) struct App;

impl hulse::App for App {
    fn label(&self) -> &'static str {
        "map"
    }
}
