use hulse::models::Choices;

#[derive(Choices, Debug, Clone, Copy, PartialEq)]
#[choices(i16)]
enum Priority {
    Low = 1,
    High,
}

fn main() {}
