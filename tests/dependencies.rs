//! Every crate that ours name is in the review.

use std::fs;
use std::path::Path;

#[test]
fn every_dependency_has_been_reviewed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let reviewed = fs::read_to_string(root.join("DEPENDENCIES.md")).expect("the review");
    let is_letter = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words: Vec<&str> = reviewed.split(|c| !is_letter(c)).collect();
    let mut named = 0;
    for package in ["", "manage/", "framework/macros/", "framework/greenlet/"] {
        let text = fs::read_to_string(root.join(format!("{package}Cargo.toml"))).expect("a file");
        let manifest: toml::Table = text.parse().expect("a manifest");
        let dependencies = manifest["dependencies"].as_table().expect("it has some");
        for name in dependencies.keys().filter(|name| !name.starts_with("hulse")) {
            let is_there = words.contains(&name.as_str());
            assert!(is_there, "{package}Cargo.toml: {name} is not in DEPENDENCIES.md");
            named += 1;
        }
    }
    assert!(named > 40, "only {named} dependencies were found");
}
