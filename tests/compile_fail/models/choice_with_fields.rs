use hulse::models::Choices;

#[derive(Choices, Debug, Clone, Copy, PartialEq)]
enum Status {
    Draft,
    Published(bool),
}

fn main() {}
