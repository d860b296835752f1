//! What the autodetector makes of renames, constraints, options and many-to-many fields.

use super::changes::written;
use super::{POST, USER, graph, state};
use crate::migrations::{ProjectState, Rename, check_changes, diff, renames};

const TAGS: &str = r#"
[[operation]]
create_model = "Tag"
[operation.fields]
id = { type = "big_auto", primary_key = true }
word = { type = "text" }

[[operation]]
create_model = "Post_tags"
constraints = [
    { name = "blog_post_tags_post_id_tag_id_894077a4_uniq", unique = ["post", "tag"] },
]
[operation.fields]
id = { type = "big_auto", primary_key = true }
post = { type = "foreign_key", to = "blog.Post", on_delete = "cascade" }
tag = { type = "foreign_key", to = "blog.Tag", on_delete = "cascade" }
"#;

/// What is asked, and what is written if the answer is yes to all. A file's models are those after
/// its operations.
fn detected(old: &[(&str, &str)], new: &[(&str, &str)], yes: bool) -> (Vec<String>, String) {
    let files: Vec<(String, &str)> =
        old.iter().map(|(app, text)| (format!("{app}.0001_initial"), *text)).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(key, text)| (&**key, *text)).collect();
    let graph = graph(&files);
    let (old, new) = (state(old), state(new));
    let mut asked = Vec::new();
    let meant = renames(&old, &new, &mut |rename: &Rename| {
        asked.push(rename.question());
        yes
    });
    let changes = diff(&old, &new, &meant);
    check_changes(&changes, &old).unwrap();
    let mut followed: ProjectState = old;
    for change in &changes {
        change.operation.apply(&change.app, &mut followed).unwrap();
    }
    assert_eq!(diff(&followed, &new, &[]), [], "the operations do not lead to the new state");
    (asked, written(changes, &new, &graph))
}

/// Models with their fields, as text.
type Models<'a> = &'a [(&'a str, &'a str)];

fn check((old, new): (Models<'_>, Models<'_>), expected_questions: &[&str], expected: &str) {
    let (asked, text) = detected(old, new, true);
    assert_eq!(asked, expected_questions);
    assert_eq!(text, expected.trim_start());
}

/// `text` and then `operations`, as one file.
fn then(text: &str, operations: &str) -> String {
    format!("{text}\n[[operation]]\n{operations}\n")
}

#[test]
fn a_renamed_model_takes_its_many_to_many_tables_along() {
    let before = format!("{POST}{TAGS}");
    let after = then(&before, "rename_model = \"Post\"\nto = \"Article\"");
    let files = |blog| [("auth", USER), ("blog", blog)];
    check(
        (&files(&before), &files(&after)),
        &["Was the model blog.Post renamed to Article? [y/N] "],
        "
blog.0002_rename_post_article after [blog.0001_initial]
  ~ Rename model Post to Article
",
    );
    let after = then(&before, "rename_model = \"Tag\"\nto = \"Label\"");
    check(
        (&files(&before), &files(&after)),
        &["Was the model blog.Tag renamed to Label? [y/N] "],
        "
blog.0002_rename_tag_label after [blog.0001_initial]
  ~ Rename model Tag to Label
",
    );
    let after = then(&before, "rename_model = \"Post_tags\"\nto = \"Post_labels\"");
    check(
        (&files(&before), &files(&after)),
        &["Was post.tags renamed to post.labels (a ManyToManyField)? [y/N] "],
        "
blog.0002_rename_post_tags_post_labels after [blog.0001_initial]
  ~ Rename model Post_tags to Post_labels
",
    );
    let (_, text) = detected(&files(&before), &files(&after), false);
    assert_eq!(
        text,
        "blog.0002_post_labels_delete_post_tags after [blog.0001_initial]\n  \
         + Create model Post_labels\n  - Delete model Post_tags\n"
    );
}

#[test]
fn who_points_to_a_renamed_model_comes_before_it() {
    let old = [("auth", USER), ("blog", POST)];
    let person = then(USER, "rename_model = \"User\"\nto = \"Person\"");
    let post = POST.replace("auth.User", "auth.Person");
    let new = [("auth", &*person), ("blog", &*post)];
    check(
        (&old, &new),
        &["Was the model auth.User renamed to Person? [y/N] "],
        "
auth.0002_rename_user_person after [auth.0001_initial, blog.0001_initial]
  ~ Rename model User to Person
",
    );
}

#[test]
fn a_model_may_be_renamed_with_its_fields_and_table() {
    let old = [("auth", USER), ("blog", POST)];
    let after = then(POST, "rename_model = \"Post\"\nto = \"Article\"");
    let after = then(&after, "rename_field = \"Article.title\"\nto = \"headline\"");
    let (asked, text) = detected(&old, &[("auth", USER), ("blog", &after)], true);
    assert_eq!(asked, [""; 0], "with another field it is another model, as for Django");
    assert!(text.contains("+ Create model Article") && text.contains("- Delete model Post"));
    let after = then(POST, "rename_model = \"Post\"\nto = \"Article\"");
    let after = then(&after, "alter_model_table = \"Article\"\ntable = \"articles\"");
    check(
        (&old, &[("auth", USER), ("blog", &after)]),
        &["Was the model blog.Post renamed to Article? [y/N] "],
        "
blog.0002_rename_post_article_alter_article_table after [blog.0001_initial]
  ~ Rename model Post to Article
  ~ Rename table for article to articles
",
    );
}

#[test]
fn constraints_come_go_and_change() {
    let with = |constraints: &str| {
        let line = format!("constraints = [{constraints}]\n[operation.fields]");
        POST.replace("[operation.fields]", &line)
    };
    let one = "{ name = \"one\", unique = [\"author\", \"title\"] }";
    let check_it = |old: &str, new: &str, expected: &str| {
        let (old, new) = (with(old), with(new));
        check(
            (&[("auth", USER), ("blog", &old)], &[("auth", USER), ("blog", &new)]),
            &[],
            expected,
        );
    };
    check_it(
        "",
        one,
        "
blog.0002_post_one after [blog.0001_initial]
  + Create constraint one on model post
",
    );
    check_it(
        one,
        "",
        "
blog.0002_remove_post_one after [blog.0001_initial]
  - Remove constraint one from model post
",
    );
    check_it(
        one,
        &one.replace("\"one\"", "\"two\""),
        "
blog.0002_rename_one_two after [blog.0001_initial]
  ~ Rename index one on post to two
",
    );
    check_it(
        one,
        "{ name = \"one\", check = '\"title\" <> 3' }",
        "
blog.0002_remove_post_one_post_one after [blog.0001_initial]
  - Remove constraint one from model post
  + Create constraint one on model post
",
    );
    let pair = |one: &str, two: &str| {
        format!(
            "{{ name = \"{one}\", unique = [\"title\"] }}, {{ name = \"{two}\", check = '1=1' }}"
        )
    };
    check_it(
        &pair("one", "two"),
        &pair("two", "one"),
        "
blog.0002_rename_one_two_3fc4ccfe_tmp_and_more after [blog.0001_initial]
  ~ Rename index one on post to two_3fc4ccfe_tmp
  ~ Rename index two on post to one_7692c3ad_tmp
  ~ Rename index two_3fc4ccfe_tmp on post to two
  ~ Rename index one_7692c3ad_tmp on post to one
",
    );
}

#[test]
fn names_nobody_gave_follow_without_an_operation() {
    let index = "indexes = [{ name = \"blog_post_author_id_title_d37d45e8_idx\", \
                 fields = [\"author\", \"-title\"] }]\n[operation.fields]";
    let before = POST.replace("[operation.fields]", index);
    let after = then(&before, "rename_field = \"Post.title\"\nto = \"headline\"");
    check(
        (&[("auth", USER), ("blog", &before)], &[("auth", USER), ("blog", &after)]),
        &["Was post.title renamed to post.headline (a CharField)? [y/N] "],
        "
blog.0002_rename_title_post_headline after [blog.0001_initial]
  ~ Rename field title on post to headline
",
    );
}

#[test]
fn options_and_unmanaged_models_change_no_table() {
    let with = |options: &str| {
        POST.replace("[operation.fields]", &format!("{options}\n[operation.fields]"))
    };
    let (plain, ordered) = (with(""), with("ordering = [\"-title\"]"));
    let options = "
blog.0002_alter_post_options after [blog.0001_initial]
  ~ Change Meta options on post
";
    let files = |blog| [("auth", USER), ("blog", blog)];
    check((&files(&plain), &files(&ordered)), &[], options);
    let unmanaged = with("managed = false");
    let more = format!("{unmanaged}\nslug = {{ type = \"text\" }}\n");
    check((&files(&plain), &files(&unmanaged)), &[], options);
    check((&files(&unmanaged), &files(&more)), &[], "");
}

#[test]
fn a_table_is_free_before_another_model_takes_its_name() {
    let old = format!(
        "{POST}{}",
        TAGS.split("[[operation]]\ncreate_model = \"Post_tags\"").next().unwrap()
    );
    let new = POST.to_owned()
        + "\n[[operation]]\ncreate_model = \"Word\"\ntable = \"blog_tag\"\n\
              [operation.fields]\nid = { type = \"big_auto\", primary_key = true }\n";
    check(
        (&[("auth", USER), ("blog", &old)], &[("auth", USER), ("blog", &new)]),
        &[],
        "
blog.0002_delete_tag_word after [blog.0001_initial]
  - Delete model Tag
  + Create model Word
",
    );
}

#[test]
fn another_field_becomes_the_key_before_the_former_one_goes() {
    let code = USER
        .replace("id = { type = \"big_auto\", primary_key = true }\n", "")
        .replace("unique = true", "primary_key = true");
    check(
        (&[("auth", USER)], &[("auth", &code)]),
        &[],
        "
auth.0002_user_key_name_remove_user_id after [auth.0001_initial]
  ~ Make field name the primary key of user
  - Remove field id from user
",
    );
    // Nobody is asked: rows are counted.
    check(
        (&[("auth", &code)], &[("auth", USER)]),
        &[],
        "
auth.0002_user_id_user_key_id_alter_user_name after [auth.0001_initial]
  + Add field id to user
  ~ Make field id the primary key of user
  ~ Alter field name on user
",
    );
}

#[test]
fn a_new_key_that_nobody_can_make_up_is_asked_for() {
    let old = state(&[("auth", USER)]);
    let code = USER.replace(
        "id = { type = \"big_auto\", primary_key = true }",
        "code = { type = \"char\", max_length = 9, primary_key = true }",
    );
    let changes = diff(&old, &state(&[("auth", &code)]), &[]);
    check_changes(&changes, &old).unwrap();
    assert_eq!(changes[0].lacks_fill().map(|(_, field)| field.name.as_str()), Some("code"));
}

#[test]
fn columns_and_tables_that_change_places_meet_in_between() {
    let pair = |one: &str, other: &str, tables: [&str; 2]| {
        let model = |name: &str, table: &str, field: &str| {
            format!(
                "[[operation]]\ncreate_model = \"{name}\"\ntable = \"{table}\"\n\
                 [operation.fields]\nid = {{ type = \"big_auto\", primary_key = true }}\n{field}"
            )
        };
        let field = |name: &str, column: &str| {
            format!("{name} = {{ type = \"integer\", column = \"{column}\" }}\n")
        };
        let fields = field("left", one) + &field("right", other);
        model("Pair", tables[0], &fields) + &model("Other", tables[1], "")
    };
    let old = pair("x", "y", ["a", "b"]);
    let new = pair("y", "x", ["b", "a"]);
    check(
        (&[("m", &old)], &[("m", &new)]),
        &[],
        "
m.0002_alter_pair_table_alter_other_table_alter_pair_left_and_more after [m.0001_initial]
  ~ Rename table for pair to a_ca978112_tmp
  ~ Rename table for other to b_3e23e816_tmp
  ~ Alter field left on pair
  ~ Alter field right on pair
  ~ Alter field left on pair
  ~ Alter field right on pair
  ~ Rename table for pair to b
  ~ Rename table for other to a
",
    );
}

#[test]
fn who_points_to_a_model_by_a_state_of_its_own_comes_before_it_goes() {
    let other = r#"
dependencies = [["auth", "0001_initial"]]
[[operation]]
create_model = "Note"
[operation.fields]
id = { type = "big_auto", primary_key = true }

[[operation]]
[[operation.database_operations]]
run_sql = "ALTER TABLE notes_note ADD COLUMN user_id bigint NULL"
[[operation.state_operations]]
add_field = "Note.user"
type = "foreign_key"
to = "auth.User"
on_delete = "cascade"
null = true

[[operation]]
[[operation.database_operations]]
run_sql = "ALTER TABLE notes_note DROP COLUMN user_id"
[[operation.state_operations]]
remove_field = "Note.user"
"#;
    let graph = graph(&[("auth.0001_initial", USER), ("notes.0001_initial", other)]);
    let (old, new) = (graph.state(|_| true).unwrap(), graph.state(|key| key.app == "x").unwrap());
    let notes = old.models().iter().filter(|model| model.key.app == "notes").cloned();
    let new: ProjectState = new.models().iter().cloned().chain(notes).collect();
    let text = written(diff(&old, &new, &[]), &new, &graph);
    assert_eq!(
        text,
        "auth.0002_delete_user after [auth.0001_initial, notes.0001_initial]\n  \
         - Delete model User\n"
    );
}
