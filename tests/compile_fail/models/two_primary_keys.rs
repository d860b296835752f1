use hulse::models::{Id, Model};

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    #[field(primary_key, max_length = 200)]
    title: String,
}

fn main() {}
