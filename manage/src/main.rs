//! `manage`: runs the commands of the project it is called in.
fn main() {}
