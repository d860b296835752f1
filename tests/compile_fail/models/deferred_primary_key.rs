use hulse::models::{Deferred, Model};

#[derive(Model, Debug, Clone)]
struct Post {
    #[field(primary_key, max_length = 20)]
    slug: Deferred<String>,
}

fn main() {}
