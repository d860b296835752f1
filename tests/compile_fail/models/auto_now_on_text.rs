use hulse::models::{Id, Model};

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    #[field(auto_now, text)]
    changed: String,
}

fn main() {}
