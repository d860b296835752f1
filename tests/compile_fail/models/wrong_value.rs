use hulse::models::{ForeignKey, Id, Model};

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    #[field(max_length = 200)]
    title: String,
    #[field(on_delete = cascade)]
    parent: Option<ForeignKey<Post>>,
}

fn main() {
    let _ = Post::objects().filter(|p| p.title().eq(5));
    let _ = Post::objects().filter(|p| p.parent().eq("five"));
    let _ = Post::objects().filter(|p| p.id().contains("5"));
}
