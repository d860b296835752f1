//! Names of tables and columns as names in Rust, each used once.

use std::collections::BTreeSet;

/// Words that cannot be a field's name, but as `r#word` (Rust 2024, reserved words too).
const KEYWORDS: [&str; 48] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let",
    "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return",
    "static", "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use",
    "virtual", "where", "while", "yield",
];

/// Words that not even `r#` makes names, and methods that every model's columns have.
const TAKEN: [&str; 5] = ["self", "super", "crate", "_", "reverse"];

/// Types that the written source uses by their name.
const TYPES: [&str; 18] = [
    "Clone",
    "DateTime",
    "Debug",
    "Decimal",
    "Default",
    "ForeignKey",
    "Id",
    "JsonValue",
    "Model",
    "NaiveDate",
    "NaiveTime",
    "OneToOne",
    "Option",
    "Self",
    "String",
    "Utc",
    "Uuid",
    "Vec",
];

/// The names that are given out in one place.
#[derive(Default)]
pub(super) struct Names {
    taken: BTreeSet<String>,
    of_fields: bool,
}

impl Names {
    /// Names of one struct's fields.
    pub(super) fn fields() -> Self {
        Self { of_fields: true, ..Self::default() }
    }

    /// `wanted` as a name, with a number if it is taken.
    pub(super) fn take(&mut self, wanted: &str) -> String {
        let bare = if self.of_fields { field_name(wanted) } else { wanted.to_owned() };
        let name = self.free(&bare, "");
        self.taken.insert(name.clone());
        if KEYWORDS.contains(&name.as_str()) { format!("r#{name}") } else { name }
    }

    /// As [`take`](Self::take), if with `ending` behind it is free too; both are taken.
    pub(super) fn take_both(&mut self, wanted: &str, ending: &str) -> String {
        let name = self.free(wanted, ending);
        self.taken.insert(format!("{name}{ending}"));
        self.taken.insert(name.clone());
        name
    }

    fn free(&self, wanted: &str, ending: &str) -> String {
        let is_free = |name: &String| {
            !self.taken.contains(name) && !self.taken.contains(&format!("{name}{ending}"))
        };
        let numbered = (2_u32..).map(|number| format!("{wanted}_{number}"));
        let mut all = [wanted.to_owned()].into_iter().chain(numbered);
        all.find(is_free).expect("there are more numbers than names")
    }
}

/// `auth_user_groups` becomes `AuthUserGroups`.
pub(super) fn struct_name(table: &str) -> String {
    let mut name = String::new();
    for word in table.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let mut letters = word.chars();
        name.extend(letters.next().into_iter().flat_map(char::to_uppercase));
        name.push_str(letters.as_str());
    }
    if !name.starts_with(char::is_alphabetic) {
        name.insert_str(0, "Table");
    }
    if TYPES.contains(&name.as_str()) { format!("{name}Row") } else { name }
}

/// `Full name` becomes `full_name`; keywords stay, `take` escapes them.
fn field_name(wanted: &str) -> String {
    let letter =
        |c: char| if c.is_alphanumeric() { c.to_lowercase().next().unwrap_or('_') } else { '_' };
    let mut name: String = wanted.chars().map(letter).collect();
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        name.insert_str(0, "field_");
    }
    if TAKEN.contains(&name.as_str()) || name.chars().all(|c| c == '_') {
        name.push_str("_field");
    }
    name
}
