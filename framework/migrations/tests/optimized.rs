//! Fewer operations that do the same.

use super::migration;
use crate::migrations::{Migration, MigrationKey, ProjectState, optimize};

const NEW: &str = "create_model = \"A\"\n[operation.fields]\n\
                   id = { type = \"big_auto\", primary_key = true }\n";

const OTHER: &str = "create_model = \"B\"\n[operation.fields]\n\
                     id = { type = \"big_auto\", primary_key = true }\n";

const TO_A: &str = "create_model = \"B\"\n[operation.fields]\n\
                    id = { type = \"big_auto\", primary_key = true }\n\
                    a = { type = \"foreign_key\", to = \"x.A\", on_delete = \"cascade\" }\n";

const TITLE: &str = "add_field = \"A.title\"\ntype = \"text\"\nfill = \"\"\n";

const TO_B: &str = "add_field = \"A.b\"\ntype = \"foreign_key\"\nto = \"x.B\"\n\
                    on_delete = \"cascade\"\nnull = true\n";

fn read(operations: &[&str]) -> Migration {
    let text: String = operations.iter().map(|one| format!("[[operation]]\n{one}\n")).collect();
    migration("x.0001_all", &text)
}

fn applied(migration: &Migration, before: &ProjectState) -> ProjectState {
    let mut after = before.clone();
    migration.apply(&mut after).unwrap();
    after
}

/// What is left of `operations`, one a line; that it does the same is checked, too. Those before
/// `///` have been done earlier.
fn left(operations: &[&str]) -> Vec<String> {
    let split = operations.iter().position(|one| *one == "///");
    let (earlier, operations) = match split {
        Some(at) => (&operations[..at], &operations[at + 1..]),
        None => (&operations[..0], operations),
    };
    let before = applied(&read(earlier), &ProjectState::default());
    let all = read(operations);
    let made = optimize(all.operations.clone(), "x");
    let words = made.iter().map(crate::migrations::Operation::describe).collect();
    let shorter = Migration::new(MigrationKey::new("x", "0001_all"), vec![], made);
    let (long, short) = (applied(&all, &before), applied(&shorter, &before));
    for model in long.models() {
        let same = short.model(&model.key).expect("the same models");
        let mut fields = same.fields.clone();
        fields.sort_by_key(|field| model.fields.iter().position(|f| f.name == field.name));
        assert_eq!(fields, model.fields);
        assert_eq!((&same.indexes, &same.constraints), (&model.indexes, &model.constraints));
        assert_eq!((&same.options, &same.table), (&model.options, &model.table));
    }
    assert_eq!(long.models().len(), short.models().len());
    words
}

#[test]
fn what_follows_goes_into_the_new_model() {
    let title = "alter_field = \"A.title\"\ntype = \"char\"\nmax_length = 9\n";
    let index = "add_index = \"A\"\nname = \"by_title\"\nfields = [\"title\"]\n";
    let check = "add_constraint = \"A\"\nname = \"some\"\ncheck = '\"title\" <> 3'\n";
    let options = "alter_model_options = \"A\"\nordering = [\"title\"]\n";
    let renamed = "rename_field = \"A.title\"\nto = \"headline\"\n";
    let rename = "rename_model = \"A\"\nto = \"C\"\n";
    let all = [NEW, TITLE, title, index, check, options, renamed, OTHER, TO_B, rename];
    assert_eq!(left(&all), ["Create model B", "Create model C"]);
    assert_eq!(left(&[NEW, TITLE, "remove_field = \"A.title\"\n"]), ["Create model A"]);
    assert_eq!(left(&[NEW, OTHER, TITLE, "delete_model = \"A\"\n"]), ["Create model B"]);
}

#[test]
fn models_that_point_at_each_other_keep_their_order() {
    assert_eq!(left(&[NEW, TO_A, TO_B]), ["Create model A", "Create model B", "Add field b to a"]);
    assert_eq!(left(&[NEW, TO_A, TITLE]), ["Create model A", "Create model B"]);
}

#[test]
fn operations_on_one_field_become_one() {
    let char = "alter_field = \"A.title\"\ntype = \"char\"\nmax_length = 9\n";
    let rename = |from: &str, to: &str| format!("rename_field = \"A.{from}\"\nto = \"{to}\"\n");
    let (there, on, back) = (rename("title", "b"), rename("b", "c"), rename("b", "title"));
    let remove = "remove_field = \"A.title\"\n";
    let check = |operations: &[&str], expected: &[&str]| {
        let all = [&[NEW, TITLE, "///"], operations].concat();
        assert_eq!(left(&all), expected, "{operations:?}");
    };
    check(&[char, char], &["Alter field title on a"]);
    check(&[char, remove], &["Remove field title from a"]);
    check(&[&there, &on], &["Rename field title on a to c"]);
    check(&[&there, &back], &[]);
    check(&[&there, "remove_field = \"A.b\"\n"], &["Remove field title from a"]);
    check(&[char, &there], &["Rename field title on a to b", "Alter field b on a"]);
    let added = "add_field = \"A.x\"\ntype = \"integer\"\nnull = true\n";
    check(&[added, "alter_field = \"A.x\"\ntype = \"integer\"\nfill = 3\n"], &["Add field x to a"]);
    check(&[added, char, "remove_field = \"A.x\"\n"], &["Alter field title on a"]);
    check(&[added, "rename_field = \"A.x\"\nto = \"y\"\n"], &["Add field y to a"]);
    let table = |name: &str| format!("alter_model_table = \"A\"\ntable = \"{name}\"\n");
    check(&[&table("one"), &table("two")], &["Rename table for a to two"]);
    let index = "add_index = \"A\"\nname = \"one\"\nfields = [\"title\"]\n";
    let renamed = "rename_index = \"A\"\nname = \"one\"\nto = \"two\"\n";
    check(&[index, renamed], &["Create index two on field(s) title of model a"]);
    check(&[index, renamed, "remove_index = \"A\"\nname = \"two\"\n"], &[]);
}

#[test]
fn nothing_crosses_what_is_written_by_hand() {
    let sql = "run_sql = \"SELECT 1\"\nbackwards = \"\"\n";
    assert_eq!(
        left(&[NEW, sql, TITLE]),
        ["Create model A", "Raw SQL operation", "Add field title to a"]
    );
}

#[test]
fn what_rows_were_given_stays() {
    let one = "add_field = \"A.n\"\ntype = \"integer\"\ndefault = 1\n";
    let two = "alter_field = \"A.n\"\ntype = \"integer\"\ndefault = 2\n";
    let made = optimize(read(&[one, two]).operations, "x");
    let written = Migration::new(MigrationKey::new("x", "1"), vec![], made).text("-");
    assert!(written.contains("default = 2\nfill = 1\n"), "{written}");
    let text = "alter_field = \"A.n\"\ntype = \"text\"\n";
    assert_eq!(optimize(read(&[one, text]).operations, "x").len(), 2, "1 is no text");
}
