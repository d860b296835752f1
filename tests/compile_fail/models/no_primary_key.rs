use hulse::models::Model;

#[derive(Model, Debug, Clone)]
struct Post {
    #[field(max_length = 200)]
    title: String,
}

fn main() {}
