//! What `makemigrations` asks, and how it does without an answer.

use std::io::{BufRead, stdin};
use std::process::ExitCode;

use hulse::migrations::{Change, FieldState, ProjectState, Rename, Value};

use crate::output::{complain, tell};

/// The exit code when a question had to be asked and was not answered, Django's.
const UNANSWERED: u8 = 3;

/// Tries before a question is given up.
const TRIES_MAX: usize = 5;

/// Who answers.
pub(crate) struct Answers {
    lines: Option<Box<dyn BufRead>>,
    /// Whether who answered has gone (Ctrl-D).
    is_gone: bool,
}

impl Answers {
    /// The person at the terminal.
    pub(crate) fn of_a_person() -> Self {
        Self { lines: Some(Box::new(stdin().lock())), is_gone: false }
    }

    /// Nobody.
    pub(crate) fn none() -> Self {
        Self { lines: None, is_gone: false }
    }

    fn ask(&mut self, question: &str) -> Option<String> {
        let lines = self.lines.as_mut()?;
        tell(question);
        let mut line = String::new();
        let read = lines.read_line(&mut line).unwrap_or(0);
        self.is_gone = read == 0;
        (read > 0).then(|| line.trim().to_owned())
    }

    /// An exit code if who was asked went away without an answer, which is neither yes nor no.
    pub(crate) fn given_up(&self) -> Option<ExitCode> {
        self.is_gone.then(|| {
            complain("\nNobody answers any more, so nothing is written.");
            ExitCode::from(UNANSWERED)
        })
    }

    fn is_yes(&mut self, question: &str) -> bool {
        let answer = self.ask(question).unwrap_or_default().to_lowercase();
        matches!(answer.as_str(), "y" | "yes")
    }

    /// Whether it got another name; nobody says no.
    pub(crate) fn is_rename(&mut self, rename: &Rename) -> bool {
        self.is_yes(&rename.question())
    }

    /// Whether the branches may be joined.
    pub(crate) fn is_merge(&mut self) -> bool {
        self.is_yes(
            "\nMerging will only work if the operations printed above do not conflict\n\
             with each other (working on different fields or models)\n\
             Should these migration branches be merged? [y/N] ",
        )
    }

    /// Whether the migrations listed may be squashed.
    pub(crate) fn is_squash(&mut self) -> bool {
        self.is_yes("Do you wish to proceed? [y/N] ")
    }

    fn choice(&mut self, question: &str, choices: usize) -> Option<usize> {
        let mut answer = self.ask(question)?;
        for _ in 0..TRIES_MAX {
            let chosen = answer.parse().ok().filter(|n| (1..=choices).contains(n));
            if chosen.is_some() {
                return chosen;
            }
            answer = self.ask("Please select a valid option: ")?;
        }
        None
    }

    fn value(&mut self, field: &FieldState) -> Option<Value> {
        tell(format!(
            "Please enter the value for rows that exist, for a {}{}.\n",
            field.kind.field_name(),
            hint(field)
        ));
        for _ in 0..TRIES_MAX {
            let typed = self.ask("[exit to quit] >>> ")?;
            if typed == "exit" {
                return None;
            }
            match field.parse(&typed) {
                Ok(value) => return Some(value),
                Err(words) => tell(format!("{words}\n")),
            }
        }
        None
    }
}

/// Gives `change` the value that rows need; an exit code if there is none.
pub(crate) fn fill(
    change: &mut Change,
    old: &ProjectState,
    answers: &mut Answers,
) -> Option<ExitCode> {
    let value = if let Some((model, field)) = change.lacks_fill() {
        let Some(value) = added(&model.to_lowercase(), field, answers) else {
            return Some(ExitCode::from(UNANSWERED));
        };
        Some(value)
    } else if let Some((model, field)) = change.may_meet_null(old) {
        match tightened(&model.to_lowercase(), field, answers) {
            Ok(value) => value,
            Err(code) => return Some(code),
        }
    } else {
        None
    };
    if let Some(value) = value {
        change.set_fill(value);
    }
    None
}

fn added(model: &str, field: &FieldState, answers: &mut Answers) -> Option<Value> {
    let name = &field.name;
    if answers.lines.is_none() {
        complain(&format!(
            "Field '{name}' on model '{model}' not migrated: it is impossible to add a \
             non-nullable field without specifying a default."
        ));
        return None;
    }
    let choice = answers.choice(
        &format!(
            "It is impossible to add a non-nullable field '{name}' to {model} without specifying \
             a default. This is because the database needs something to populate existing rows.\n\
             Please select a fix:\n \
             1) Provide a one-off default now (will be set on all existing rows)\n \
             2) Quit and manually define a default value in the model.\n\
             Select an option: "
        ),
        2,
    );
    if choice == Some(1) { answers.value(field) } else { None }
}

fn tightened(
    model: &str,
    field: &FieldState,
    answers: &mut Answers,
) -> Result<Option<Value>, ExitCode> {
    if answers.lines.is_none() {
        complain(&format!(
            "Field '{}' on model '{model}' given a default of NOT PROVIDED and must be corrected.",
            field.name
        ));
        return Ok(None);
    }
    let choice = answers.choice(
        &format!(
            "It is impossible to change a nullable field '{}' on {model} to non-nullable without \
             providing a default. This is because the database needs something to populate \
             existing rows.\nPlease select a fix:\n \
             1) Provide a one-off default now (will be set on all existing rows with a null value \
             for this column)\n \
             2) Ignore for now. Existing rows that contain NULL values will have to be handled \
             manually, for example with a `run_sql` before this operation.\n \
             3) Quit and manually define a default value in the model.\n\
             Select an option: ",
            field.name
        ),
        3,
    );
    let quit = || ExitCode::from(UNANSWERED);
    match choice {
        Some(1) => answers.value(field).map(Some).ok_or_else(quit),
        Some(2) => Ok(None),
        _ => Err(quit()),
    }
}

fn hint(field: &FieldState) -> &'static str {
    use hulse::migrations::Kind;
    match field.kind {
        Kind::Boolean => " (true or false)",
        Kind::DateTime => " (like 2026-01-31T12:00:00Z, or now)",
        Kind::Date => " (like 2026-01-31, or now)",
        Kind::Time => " (like 12:30:00, or now)",
        Kind::Duration => " (like 1 12:30:00, or seconds)",
        Kind::Decimal => " (like 9.99)",
        Kind::Uuid => " (like 550e8400-e29b-41d4-a716-446655440000)",
        Kind::Json => " (JSON, like {})",
        Kind::ForeignKey { .. } => " (the key of the row to point to)",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, fill};
    use hulse::migrations::{Change, Migration, MigrationKey, Operation, ProjectState, Value};

    fn added(kind: &str, typed: &'static str) -> Result<Value, &'static str> {
        // A `#` at the end makes the quote after it a comment.
        let text = format!("[[operation]]\nadd_field = \"Post.x\"\ntype = \"{kind}\"\n");
        let mut migration =
            Migration::parse(MigrationKey::new("blog", "x"), "x.toml", &text).unwrap();
        let operation = migration.operations.remove(0);
        let (requires, is_new_table) = (vec![], false);
        let mut change = Change { app: "blog".into(), operation, requires, is_new_table };
        let mut answers = Answers { lines: Some(Box::new(typed.as_bytes())), is_gone: false };
        if fill(&mut change, &ProjectState::default(), &mut answers).is_some() {
            return Err("quit");
        }
        match change.operation {
            Operation::AddField { fill: Some(fill), .. } => Ok(fill),
            _ => Err("no value"),
        }
    }

    #[test]
    fn a_value_is_asked_until_it_fits() {
        let seven = Ok(Value::Int(7));
        assert_eq!(added("integer", "1\n7\n"), seven);
        assert_eq!(added("integer", "9\n1\nseven\n7\n"), seven);
        assert_eq!(added("text", "1\n''\n"), Ok(Value::Text(String::new())));
    }

    #[test]
    fn a_value_that_does_not_fit_its_column_is_asked_again() {
        let short = "char\"\nmax_length = 3 #";
        assert_eq!(added(short, "1\nlong\n'abc'\n"), Ok(Value::Text("abc".into())));
        assert_eq!(added("small_integer", "1\n70000\n7\n"), Ok(Value::Int(7)));
        let price = "decimal\"\nmax_digits = 4\ndecimal_places = 1 #";
        let price = added(price, "1\n1234.5\n1.25\n123.40\n");
        assert_eq!(price, Ok(Value::Text("123.40".into())));
    }

    fn tightened(typed: Option<&'static str>) -> Result<Option<Value>, &'static str> {
        let parse =
            |text: &str| Migration::parse(MigrationKey::new("blog", "x"), "x.toml", text).unwrap();
        let mut old = ProjectState::default();
        let model = "[[operation]]\ncreate_model = \"Post\"\n[operation.fields]\n\
                     id = { type = \"big_auto\", primary_key = true }\n\
                     x = { type = \"integer\", null = true }\n";
        parse(model).apply(&mut old).unwrap();
        let alter = "[[operation]]\nalter_field = \"Post.x\"\ntype = \"integer\"\n";
        let (requires, is_new_table) = (vec![], false);
        let operation = parse(alter).operations.remove(0);
        let mut change = Change { app: "blog".into(), operation, requires, is_new_table };
        let lines = typed.map(|typed| Box::new(typed.as_bytes()) as Box<dyn std::io::BufRead>);
        if fill(&mut change, &old, &mut Answers { lines, is_gone: false }).is_some() {
            return Err("quit");
        }
        match change.operation {
            Operation::AlterField { fill, .. } => Ok(fill),
            _ => Err("another operation"),
        }
    }

    #[test]
    fn a_column_that_stops_allowing_null_gets_a_value_or_is_left_to_its_owner() {
        assert_eq!(tightened(Some("1\n7\n")), Ok(Some(Value::Int(7))));
        assert_eq!(tightened(Some("2\n")), Ok(None));
        assert_eq!(tightened(Some("3\n")), Err("quit"));
        assert_eq!(tightened(Some("")), Err("quit"));
        assert_eq!(tightened(None), Ok(None), "nobody is there to be asked");
    }

    #[test]
    fn only_what_a_person_says_yes_to_is_a_rename() {
        let question = hulse::migrations::Rename::Field {
            model: hulse::migrations::ModelKey::new("blog", "Post"),
            from: "title".into(),
            to: "headline".into(),
            kind: "CharField",
        };
        let mut answers =
            Answers { lines: Some(Box::new("y\nYes\n\nn\nperhaps\n".as_bytes())), is_gone: false };
        let said: Vec<bool> = (0..6).map(|_| answers.is_rename(&question)).collect();
        assert_eq!(said, [true, true, false, false, false, false]);
        assert!(answers.given_up().is_some(), "the sixth was no answer");
        assert!(!Answers::none().is_rename(&question));
    }

    #[test]
    fn who_quits_or_goes_away_gets_nothing_written() {
        assert_eq!(added("integer", "2\n"), Err("quit"));
        assert_eq!(added("integer", "1\nexit\n"), Err("quit"));
        assert_eq!(added("integer", ""), Err("quit"));
    }
}
