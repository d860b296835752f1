use hulse::models::{Deferred, ForeignKey, Id, Model};

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    #[field(on_delete = cascade)]
    after: Deferred<ForeignKey<Post>>,
}

fn main() {}
