use hulse::models::{Id, Model};

fn even(_: &i32) -> Result<(), String> {
    Ok(())
}

#[derive(Model, Debug, Clone)]
struct Post {
    id: Id,
    #[field(max_length = 9, validators = [even])]
    title: String,
}

fn main() {}
