//! markers: every visitor has a marker on one map, and everybody sees all of them move.
//!
//! Walk through it: `map/streams.rs` says who takes part and how, `map/places.rs` where markers are
//! and how others learn of it, `map/visitor.rs` whose marker it is. There is no table: a place is
//! worth something while somebody is there.

mod map;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use hulse::Project;
use hulse::contrib::{sessions, staticfiles};

fn main() -> ExitCode {
    hulse_manage::run(project())
}

fn project() -> Project {
    Project::new("markers", env!("CARGO_MANIFEST_DIR"))
        .install(sessions::App)
        .install(staticfiles::App)
        .install(map::App)
        .assets(hulse::assets!())
        .urls(map::urls())
}
