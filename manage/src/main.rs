//! `manage`: builds the project it is called in and hands the command line to it.
//!
//! Flow: look upward for the project → `cargo run -q -p <project> -- <the same arguments>`, in
//! place of this process, so that signals and the exit code are the project's own.

use std::process::ExitCode;

fn main() -> ExitCode {
    hulse_manage::hand_over(std::env::args_os().skip(1))
}
