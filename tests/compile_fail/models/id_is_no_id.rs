use hulse::models::Model;

#[derive(Model, Debug, Clone)]
struct Post {
    id: i64,
}

fn main() {}
