use hulse::models::{ForeignKey, Id, Model};

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    parent: Option<ForeignKey<Post>>,
}

#[derive(Model, Debug, Clone)]
struct Comment {
    id: Id,
    #[field(on_delete = set_null)]
    post: ForeignKey<Post>,
}

fn main() {}
