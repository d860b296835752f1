use hulse::models::{Id, Model};

#[derive(Model, Debug, Clone)]
#[model(check(|i| i.count().gt(0)))]
struct Item {
    id: Id,
    count: i32,
}

fn main() {}
