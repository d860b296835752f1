use hulse::models::{Id, Model};

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    #[field(default = "yes")]
    live: bool,
}

fn main() {}
