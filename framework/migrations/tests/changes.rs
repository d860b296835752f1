//! What `makemigrations` would write when models change.

use std::fmt::Write;

use super::{POST, USER, graph, state};
use crate::migrations::{Change, Graph, Kind, ProjectState, Value, arrange, diff, renames};

/// What `makemigrations` would write: names, dependencies and operations, a line each.
pub(super) fn written(changes: Vec<Change>, new: &ProjectState, graph: &Graph) -> String {
    let mut text = String::new();
    for migration in arrange(changes, new, graph, None) {
        let after: Vec<String> = migration.dependencies.iter().map(ToString::to_string).collect();
        writeln!(text, "{} after [{}]", migration.key, after.join(", ")).unwrap();
        for operation in &migration.operations {
            writeln!(text, "  {} {}", operation.sign(), operation.describe()).unwrap();
        }
    }
    text
}

/// Checks what is written when `old` (already in files) becomes `new`.
fn check(old: &[(&str, &str)], new: &[(&str, &str)], expected: &str) {
    let files: Vec<(String, &str)> =
        old.iter().map(|(app, text)| (format!("{app}.0001_initial"), *text)).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(key, text)| (&**key, *text)).collect();
    let graph = graph(&files);
    let (old, new) = (state(old), state(new));
    let changes = diff(&old, &new, &[]);
    let mut followed = old;
    for change in &changes {
        change.operation.apply(&change.app, &mut followed).unwrap();
    }
    let rest = diff(&followed, &new, &[]);
    assert_eq!(rest, [], "the operations do not lead to the new state");
    assert_eq!(written(changes, &new, &graph), expected.trim_start());
}

#[test]
fn new_models_come_in_the_order_of_their_foreign_keys() {
    let comment = r#"
[[operation]]
create_model = "Comment"
[operation.fields]
id = { type = "big_auto", primary_key = true }
post = { type = "foreign_key", to = "blog.Post", on_delete = "cascade" }
parent = { type = "foreign_key", to = "blog.Comment", on_delete = "cascade", null = true }
"#;
    check(
        &[],
        &[("blog", comment), ("blog", POST), ("auth", USER)],
        "
auth.0001_initial after []
  + Create model User
blog.0001_initial after [auth.0001_initial]
  + Create model Post
  + Create model Comment
",
    );
}

#[test]
fn apps_that_point_at_each_other_get_a_second_migration() {
    let user = r#"
[[operation]]
create_model = "User"
[operation.fields]
id = { type = "big_auto", primary_key = true }
best = { type = "foreign_key", to = "blog.Post", on_delete = "set_null", null = true }
"#;
    check(
        &[],
        &[("auth", user), ("blog", POST)],
        "
auth.0001_initial after []
  + Create model User
blog.0001_initial after [auth.0001_initial]
  + Create model Post
auth.0002_initial after [auth.0001_initial, blog.0001_initial]
  + Add field best to user
",
    );
}

#[test]
fn models_of_one_app_may_point_at_each_other() {
    let pair = r#"
[[operation]]
create_model = "A"
[operation.fields]
id = { type = "big_auto", primary_key = true }
b = { type = "foreign_key", to = "x.B", on_delete = "cascade" }
[[operation]]
create_model = "B"
[operation.fields]
id = { type = "big_auto", primary_key = true }
a = { type = "foreign_key", to = "x.A", on_delete = "cascade" }
"#;
    let made = "
x.0001_initial after []
  + Create model A
  + Create model B
  + Add field b to a
";
    check(&[], &[("x", pair)], made);
    let gone = "
x.0002_remove_b_a_delete_a_delete_b after [x.0001_initial]
  - Remove field a from b
  - Delete model A
  - Delete model B
";
    check(&[("x", pair)], &[], gone);
}

#[test]
fn names_follow_the_operations() {
    let with = |fields: &str| format!("{POST}{fields}");
    let (slug, many) = (
        with("slug = { type = \"text\", null = true }\n"),
        with(
            "a_rather_long_name = { type = \"text\" }\nanother_long_name = { type = \"text\" }\n\
             live = { type = \"boolean\" }\n",
        ),
    );
    let users = [("auth", USER), ("blog", POST)];
    check(
        &users,
        &[("auth", USER), ("blog", &slug)],
        "blog.0002_post_slug after [blog.0001_initial]\n  + Add field slug to post\n",
    );
    check(
        &[("auth", USER), ("blog", &slug)],
        &users,
        "blog.0002_remove_post_slug after [blog.0001_initial]\n  - Remove field slug from post\n",
    );
    check(
        &users,
        &[("auth", USER), ("blog", &many)],
        "
blog.0002_post_a_rather_long_name_post_another_long_name_and_more after [blog.0001_initial]
  + Add field a_rather_long_name to post
  + Add field another_long_name to post
  + Add field live to post
",
    );
}

#[test]
fn a_model_and_what_pointed_to_it_go_together() {
    let lonely = POST.replace(
        "author = { type = \"foreign_key\", to = \"auth.User\", on_delete = \"cascade\" }\n",
        "",
    );
    check(
        &[("auth", USER), ("blog", POST)],
        &[("blog", &lonely)],
        "
blog.0002_remove_post_author after [blog.0001_initial]
  - Remove field author from post
auth.0002_delete_user after [auth.0001_initial, blog.0002_remove_post_author]
  - Delete model User
",
    );
}

#[test]
fn an_index_comes_and_gets_another_name() {
    let with = |name: &str| {
        let index = format!("{{ name = \"{name}\", fields = [\"author\", \"-title\"] }}");
        POST.replace("[operation.fields]", &format!("indexes = [{index}]\n[operation.fields]"))
    };
    let (one, two) = (with("one"), with("two"));
    check(
        &[("auth", USER), ("blog", POST)],
        &[("auth", USER), ("blog", &one)],
        "
blog.0002_post_one after [blog.0001_initial]
  + Create index one on field(s) author, -title of model post
",
    );
    check(
        &[("auth", USER), ("blog", &one)],
        &[("auth", USER), ("blog", &two)],
        "
blog.0002_rename_one_two after [blog.0001_initial]
  ~ Rename index one on post to two
",
    );
    check(
        &[],
        &[("auth", USER), ("blog", &one)],
        "
auth.0001_initial after []
  + Create model User
blog.0001_initial after [auth.0001_initial]
  + Create model Post
",
    );
}

#[test]
fn rows_that_exist_need_a_value_for_a_new_required_field() {
    let lacks = |field: &str| {
        let new = format!("{POST}{field}\n");
        let (old, new) =
            (state(&[("auth", USER), ("blog", POST)]), state(&[("auth", USER), ("blog", &new)]));
        let changes = diff(&old, &new, &[]);
        changes[0].lacks_fill().is_some()
    };
    assert!(lacks("slug = { type = \"text\" }"));
    assert!(!lacks("slug = { type = \"text\", null = true }"));
    assert!(!lacks("live = { type = \"boolean\", default = true }"));
    assert!(!lacks("created = { type = \"date_time\", auto_now_add = true }"));
    let fresh = diff(&ProjectState::default(), &state(&[("auth", USER), ("blog", POST)]), &[]);
    assert!(fresh.iter().all(|change| change.lacks_fill().is_none()));
}

#[test]
fn a_field_with_the_same_definition_may_have_been_renamed() {
    let renamed = POST.replace("title =", "headline =");
    let (old, new) =
        (state(&[("auth", USER), ("blog", POST)]), state(&[("auth", USER), ("blog", &renamed)]));
    let mut asked = Vec::new();
    let meant = renames(&old, &new, &mut |rename| {
        asked.push(rename.question());
        true
    });
    assert_eq!(asked, ["Was post.title renamed to post.headline (a CharField)? [y/N] "]);
    let changes = diff(&old, &new, &meant);
    let graph = graph(&[("auth.0001_initial", USER), ("blog.0001_initial", POST)]);
    assert_eq!(
        written(changes, &new, &graph),
        "blog.0002_rename_title_post_headline after [blog.0001_initial]\n  \
         ~ Rename field title on post to headline\n"
    );
    let other = renamed.replace("200", "100");
    let other = state(&[("auth", USER), ("blog", &other)]);
    assert_eq!(renames(&old, &other, &mut |_| panic!("nothing to ask")), []);
}

#[test]
fn typed_values_are_read_by_the_kind_of_the_column() {
    assert_eq!(Kind::Boolean.parse(" True "), Some(Value::Bool(true)));
    assert_eq!(Kind::Integer.parse("7"), Some(Value::Int(7)));
    assert_eq!(Kind::Integer.parse("seven"), None);
    assert_eq!(Kind::Text.parse("\"\""), Some(Value::Text(String::new())));
    assert_eq!(Kind::DateTime.parse("now"), Some(Value::Text("now".into())));
    assert_eq!(Kind::Date.parse("2026-02-30"), None);
}
