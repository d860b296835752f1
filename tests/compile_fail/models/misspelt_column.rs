use hulse::models::{Id, Model};

#[derive(Model, Debug, Clone)]
#[model(ordering = ["title"], index(title))]
struct Post {
    id: Id,
    #[field(max_length = 200)]
    title: String,
}

fn main() {
    let _ = Post::objects().filter(|p| p.titel().eq("x"));
}
