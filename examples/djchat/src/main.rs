//! A chat room.
fn main() {}
