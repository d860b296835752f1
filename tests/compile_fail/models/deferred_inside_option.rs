use hulse::models::{Deferred, Id, Model};

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    #[field(text)]
    body: Option<Deferred<String>>,
}

fn main() {}
