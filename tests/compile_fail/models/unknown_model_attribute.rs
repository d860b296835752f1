use hulse::models::{Id, Model};

#[derive(Model, Debug, Clone)]
#[model(order = ["title"])]
struct Post {
    id: Id,
    #[field(max_length = 200)]
    title: String,
}

fn main() {}
