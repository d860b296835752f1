use hulse::models::{Id, Model};

#[derive(Model, Debug, Clone)]
#[model(unique(count, condition = |i| i.conut().gt(0)))]
struct Item {
    id: Id,
    count: i32,
}

fn main() {}
