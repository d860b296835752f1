use hulse::models::{Deferred, Id, Model};
use hulse::prelude::{DateTime, Utc};

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    #[field(auto_now)]
    changed: Deferred<DateTime<Utc>>,
}

fn main() {}
