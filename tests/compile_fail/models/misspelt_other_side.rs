use hulse::prelude::*;

#[derive(Model, Clone)]
struct User {
    id: Id,
    #[field(by = authr)]
    posts: HasMany<Post>,
}

#[derive(Model, Clone)]
struct Post {
    id: Id,
    #[field(on_delete = cascade)]
    author: ForeignKey<User>,
}

fn main() {}
