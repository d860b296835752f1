use hulse::models::{Id, Model};

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    #[field(max_lenght = 200)]
    title: String,
}

fn main() {}
