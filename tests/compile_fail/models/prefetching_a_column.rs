use hulse::prelude::*;

#[derive(Model, Clone)]
struct Post {
    id: Id,
    live: bool,
}

async fn posts(site: &Site) -> Result<Vec<Post>> {
    Post::objects().prefetch_related(|p| p.live()).all(site).await
}

fn main() {}
