use hulse::prelude::*;

#[derive(Model, Clone)]
struct User {
    id: Id,
    #[field(by = post)]
    comments: HasMany<Comment>,
}

#[derive(Model, Clone)]
struct Post {
    id: Id,
}

#[derive(Model, Clone)]
struct Comment {
    id: Id,
    #[field(on_delete = cascade)]
    post: ForeignKey<Post>,
}

fn main() {}
