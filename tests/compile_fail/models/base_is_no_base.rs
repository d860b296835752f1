use hulse::models::{Id, Model};

#[derive(Debug, Clone)]
struct Times {
    day: i32,
}

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    #[field(flatten)]
    times: Times,
}

fn main() {}
