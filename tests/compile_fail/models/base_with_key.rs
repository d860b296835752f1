use hulse::models::{AbstractModel, Id};

#[derive(AbstractModel, Debug, Clone)]
struct Base {
    #[field(primary_key)]
    id: Id,
}

fn main() {}
