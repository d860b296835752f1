use hulse::models::{Id, Model};

#[derive(Model, Debug, Clone)]
struct Item {
    id: Id,
    #[field(min_value = "none")]
    count: i32,
}

fn main() {}
