use hulse::models::{Id, Model};

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    size: usize,
}

fn main() {}
