use hulse::prelude::*;

#[derive(Model, Clone)]
struct Tag {
    id: Id,
}

#[derive(Model, Clone)]
struct Post {
    id: Id,
    tags: ManyToMany<Tag>,
}

async fn add(site: &Site, post: &Post) -> Result<()> {
    post.tags().add(site, [post]).await
}

fn main() {}
