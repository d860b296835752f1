use hulse::models::{Decimal, Id, Model};

#[derive(Model, Debug, Clone)]
struct Item {
    id: Id,
    price: Decimal,
}

fn main() {}
