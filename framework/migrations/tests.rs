//! Pure parts: files, diff, names, graph, DDL. States are written as migration files.

use std::fmt::Write;

use super::schema::{Dialect, Step};
use super::{
    Applied, Change, Graph, Migration, MigrationKey, Operation, ProjectState, Target, Value,
    arrange, diff, possible_renames, schema,
};

const USER: &str = r#"
[[operation]]
create_model = "User"

[operation.fields]
id = { type = "big_auto", primary_key = true }
name = { type = "char", unique = true, max_length = 30 }
"#;

const POST: &str = r#"
[[operation]]
create_model = "Post"

[operation.fields]
id = { type = "big_auto", primary_key = true }
title = { type = "char", max_length = 200 }
author = { type = "foreign_key", to = "auth.User", on_delete = "cascade" }
"#;

fn migration(key: &str, text: &str) -> Migration {
    let (app, name) = key.split_once('.').unwrap();
    Migration::parse(MigrationKey::new(app, name), &format!("{key}.toml"), text).unwrap()
}

fn graph(files: &[(&str, &str)]) -> Graph {
    Graph::new(files.iter().map(|(key, text)| migration(key, text))).unwrap()
}

fn state(models: &[(&str, &str)]) -> ProjectState {
    let mut state = ProjectState::default();
    for (app, text) in models {
        migration(&format!("{app}.x"), text).apply(&mut state).unwrap();
    }
    state
}

fn complaint(text: &str) -> String {
    let key = MigrationKey::new("blog", "0001_initial");
    Migration::parse(key, "blog/0001_initial.toml", text).unwrap_err().to_string()
}

/// What `makemigrations` would write: names, dependencies and operations, a line each.
fn written(changes: Vec<Change>, new: &ProjectState, graph: &Graph) -> String {
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

fn ddl(dialect: Dialect, before: &ProjectState, app: &str, operation: &str) -> String {
    let migration = migration(&format!("{app}.x"), operation);
    let operation = &migration.operations[0];
    let mut after = before.clone();
    operation.apply(app, &mut after).unwrap();
    let steps = schema::steps(operation, app, (before, &after), dialect).unwrap();
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Sql(sql) | Step::Script(sql) => writeln!(text, "{sql};").unwrap(),
            Step::Rebuild(rebuild) => {
                for sql in rebuild.statements {
                    writeln!(text, "{sql};").unwrap();
                }
            }
        }
    }
    text
}

#[test]
fn a_file_reads_as_it_was_written() {
    let text = r#"# Written by makemigrations

dependencies = [
    ["blog", "0001_initial"],
    ["auth", "0001_initial"],
]

[[operation]]
create_model = "Post"
table = "posts"
indexes = [
    { name = "posts_idx", fields = ["author", "-created"], unique = true },
]

[operation.fields]
id = { type = "big_auto", primary_key = true }
slug = { type = "char", unique = true, max_length = 60 }
author = { type = "foreign_key", to = "auth.User", on_delete = "protect", index = false }
created = { type = "date_time", auto_now_add = true }
live = { type = "boolean", default = true, column = "is_live" }
score = { type = "float", null = true, default = 1.5 }

[[operation]]
add_field = "Post.lead"
type = "text"
fill = "it's new"

[[operation]]
alter_field = "Post.slug"
type = "char"
index = true
max_length = 80

[[operation]]
rename_field = "Post.live"
to = "public"

[[operation]]
remove_field = "Post.lead"

[[operation]]
remove_index = "Post"
name = "posts_idx"

[[operation]]
add_index = "Post"
name = "posts_two"
fields = ["author"]

[[operation]]
run_sql = "SELECT 1"
backwards = "SELECT 2"

[[operation]]
delete_model = "Post"
"#;
    let migration = migration("blog.0002_all", text);
    assert_eq!(migration.text("Written by makemigrations"), text);
}

#[test]
fn a_wrong_file_is_told_by_name_line_and_key() {
    let fields = "[[operation]]\nadd_field = \"Post.slug\"\ntype = \"char\"\n";
    let cases = [
        ("[[operation]]\nbogus = 1\n", "2: `bogus` is no operation (operations: create_model, "),
        (
            "[[operation]]\nad_field = \"Post.a\"\n",
            "2: `ad_field` is no operation; did you mean `add_field`?",
        ),
        (&format!("{fields}max_lenght = 2\n"), "3: `type`: a \"char\" needs a `max_length`"),
        (
            &format!("{fields}max_length = 2\nindxe = true"),
            "5: unknown key `indxe`; did you mean `index`?",
        ),
        (
            &format!("{fields}max_length = \"2\""),
            "4: `max_length`: must be a number from 0 to 2^32, not string",
        ),
        (
            "[[operation]]\nadd_field = \"Post\"\ntype = \"text\"",
            "2: `add_field`: must be a model and a field like \"Post.slug\", not \"Post\"",
        ),
        (
            "dependencies = [\"auth\"]\n",
            "1: `dependencies`: must be a list of pairs like [[\"auth\", \"0001_initial\"]]",
        ),
        ("\n\ndependency = []\n", "3: unknown key `dependency`"),
        (
            "[[operation]]\ncreate_model = \"Post\"\n[operation.fields]\nid = 3\n",
            "4: `id`: must be a table like { type = \"integer\" }",
        ),
        ("[[operation]]\nrun_sql = 'a\n", "2: "),
    ];
    for (text, expected) in cases {
        let words = complaint(text);
        assert!(words.starts_with(&format!("blog/0001_initial.toml:{expected}")), "{words}");
    }
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
fn an_index_comes_and_goes_whatever_its_name() {
    let with = |name: &str| {
        POST.replace("[operation.fields]", &format!(
            "indexes = [{{ name = \"{name}\", fields = [\"author\", \"-title\"] }}]\n[operation.fields]"
        ))
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
    check(&[("auth", USER), ("blog", &one)], &[("auth", USER), ("blog", &two)], "");
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
    let renames = possible_renames(&old, &new);
    assert_eq!(renames.len(), 1);
    assert_eq!((&*renames[0].from, &*renames[0].to), ("title", "headline"));
    let changes = diff(&old, &new, &renames);
    let graph = graph(&[("auth.0001_initial", USER), ("blog.0001_initial", POST)]);
    assert_eq!(
        written(changes, &new, &graph),
        "blog.0002_rename_title_post_headline after [blog.0001_initial]\n  \
         ~ Rename field title on post to headline\n"
    );
    let other = renamed.replace("200", "100");
    assert_eq!(possible_renames(&old, &state(&[("auth", USER), ("blog", &other)])), []);
}

#[test]
fn two_ends_are_a_conflict() {
    let after = "dependencies = [[\"blog\", \"0001_initial\"]]";
    let graph = graph(&[("blog.0001_initial", ""), ("blog.0002_a", after), ("blog.0002_b", after)]);
    assert_eq!(
        graph.plan(&Target::All, &Applied::new()).unwrap_err().to_string(),
        "Conflicting migrations detected; multiple leaf nodes in the migration graph: (0002_a, \
         0002_b in blog).\nTo fix them run 'manage makemigrations --merge'"
    );
}

#[test]
fn a_missing_dependency_and_a_circle_are_told() {
    let on = |app: &str| format!("dependencies = [[\"{app}\", \"0001_initial\"]]");
    let broken = |files: &[(&str, &str)]| {
        let migrations = files.iter().map(|(key, text)| migration(key, text));
        Graph::new(migrations).unwrap_err().to_string()
    };
    assert_eq!(
        broken(&[("blog.0001_initial", &on("auth"))]),
        "migration blog.0001_initial depends on auth.0001_initial, which does not exist"
    );
    assert_eq!(
        broken(&[("auth.0001_initial", &on("blog")), ("blog.0001_initial", &on("auth"))]),
        "migrations depend on each other in a circle: auth.0001_initial → blog.0001_initial → \
         auth.0001_initial"
    );
}

fn history() -> Graph {
    graph(&[
        ("auth.0001_initial", USER),
        ("auth.0002_more", "dependencies = [[\"auth\", \"0001_initial\"]]"),
        ("blog.0001_initial", "dependencies = [[\"auth\", \"0001_initial\"]]"),
        ("blog.0002_a", "dependencies = [[\"blog\", \"0001_initial\"]]"),
        ("blog.0003_b", "dependencies = [[\"blog\", \"0002_a\"], [\"auth\", \"0002_more\"]]"),
    ])
}

fn planned(words: &[&str], applied: &[&str]) -> String {
    let graph = history();
    let target = Target::parse(&graph, words.first().copied(), words.get(1).copied());
    let key = |word: &&str| {
        let (app, name) = word.split_once('.').unwrap();
        graph.find(app, name).unwrap().key.clone()
    };
    let applied: Applied = applied.iter().map(key).collect();
    let plan = target.and_then(|target| {
        let plan = graph.plan(&target, &applied)?.into_iter();
        let sign = |backwards: bool| if backwards { "-" } else { "" };
        Ok(plan.map(|step| format!("{}{}", sign(step.backwards), step.migration.key)).collect())
    });
    plan.map_or_else(|error| error.to_string(), |plan: Vec<String>| plan.join(" "))
}

#[test]
fn a_plan_runs_and_undoes_what_depends_on_it() {
    let all = ["auth.0001", "auth.0002", "blog.0001", "blog.0002", "blog.0003"];
    let check = |words: &[&str], applied: &[&str], expected: &str| {
        assert_eq!(planned(words, applied), expected, "{words:?} {applied:?}");
    };
    check(&[], &all, "");
    check(&[], &all[..3], "blog.0002_a blog.0003_b");
    check(&["blog", "0002"], &[], "auth.0001_initial blog.0001_initial blog.0002_a");
    check(&["blog", "0001_initial"], &all, "-blog.0003_b -blog.0002_a");
    check(
        &["auth", "zero"],
        &all,
        "-blog.0003_b -blog.0002_a -blog.0001_initial -auth.0002_more -auth.0001_initial",
    );
    check(&["auth", "0001"], &all, "-blog.0003_b -auth.0002_more");
    check(&["shop"], &[], "App 'shop' does not have migrations.");
    check(&["blog", "9"], &[], "Cannot find a migration matching '9' from app 'blog'.");
    check(
        &["blog", "000"],
        &[],
        "More than one migration matches '000' in app 'blog'. Please be more specific.",
    );
    check(
        &[],
        &["blog.0001"],
        "Migration blog.0001_initial is applied before its dependency auth.0001_initial on database.",
    );
}

#[test]
fn what_was_done_can_be_undone_but_not_sql_without_a_way_back() {
    let before = state(&[("auth", USER), ("blog", POST)]);
    let mut after = before.clone();
    let remove = Operation::RemoveField { model: "Post".into(), field: "title".into() };
    remove.apply("blog", &mut after).unwrap();
    let back = remove.inverse("blog", &before).unwrap();
    back.apply("blog", &mut after).unwrap();
    assert_eq!(diff(&after, &before, &[]), []);
    let sql = Operation::RunSql { forwards: "SELECT 1".into(), backwards: None };
    assert!(sql.inverse("blog", &before).unwrap_err().is_migration());
}

#[test]
fn an_operation_that_does_not_fit_names_its_migration() {
    let graph = graph(&[("blog.0001_initial", "[[operation]]\nremove_field = \"Post.slug\"\n")]);
    assert_eq!(
        graph.state(|_| true).unwrap_err().to_string(),
        "migration blog.0001_initial: remove field slug from post: there is no model blog.Post at \
         this point of history"
    );
}

#[test]
fn a_table_is_created_for_each_dialect() {
    let users = state(&[("auth", USER)]);
    assert_eq!(
        ddl(Dialect::Sqlite, &users, "blog", POST),
        r#"CREATE TABLE "blog_post" (
    "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    "title" varchar(200) NOT NULL,
    "author_id" bigint NOT NULL REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX "blog_post_author_id_9b01223d_idx" ON "blog_post" ("author_id");
"#
    );
    assert_eq!(
        ddl(Dialect::Postgres, &users, "blog", POST),
        r#"CREATE TABLE "blog_post" (
    "id" bigint NOT NULL GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    "title" varchar(200) NOT NULL,
    "author_id" bigint NOT NULL CONSTRAINT "blog_post_author_id_f7b9b4a8_fk" REFERENCES "auth_user" ("id") DEFERRABLE INITIALLY DEFERRED
);
CREATE INDEX "blog_post_author_id_9b01223d_idx" ON "blog_post" ("author_id");
"#
    );
}

#[test]
fn sqlite_adds_simple_columns_in_place_and_makes_the_table_anew_for_others() {
    let before = state(&[("auth", USER)]);
    let add = |options: &str| {
        ddl(
            Dialect::Sqlite,
            &before,
            "auth",
            &format!("[[operation]]\nadd_field = \"User.x\"\n{options}\n"),
        )
    };
    assert_eq!(
        add("type = \"boolean\"\ndefault = true"),
        "ALTER TABLE \"auth_user\" ADD COLUMN \"x\" boolean NOT NULL DEFAULT 1;\n"
    );
    assert_eq!(
        add("type = \"text\"\nnull = true"),
        "ALTER TABLE \"auth_user\" ADD COLUMN \"x\" text NULL;\n"
    );
    assert_eq!(
        add("type = \"text\"\nfill = \"it's\""),
        r#"CREATE TABLE "new__auth_user" (
    "id" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
    "name" varchar(30) NOT NULL,
    "x" text NOT NULL
);
INSERT INTO "new__auth_user" ("id", "name", "x") SELECT "id", "name", 'it''s' FROM "auth_user";
DELETE FROM sqlite_sequence WHERE name = 'new__auth_user';
INSERT INTO sqlite_sequence (name, seq) SELECT 'new__auth_user', seq FROM sqlite_sequence WHERE name = 'auth_user';
DROP TABLE "auth_user";
ALTER TABLE "new__auth_user" RENAME TO "auth_user";
CREATE UNIQUE INDEX "auth_user_name_90befa7b_uniq" ON "auth_user" ("name");
"#
    );
}

#[test]
fn postgres_alters_in_place() {
    let before = state(&[("auth", USER), ("blog", POST)]);
    let alter = |field: &str, options: &str| {
        let text = format!("[[operation]]\nalter_field = \"Post.{field}\"\n{options}\n");
        ddl(Dialect::Postgres, &before, "blog", &text)
    };
    assert_eq!(
        alter("title", "type = \"text\"\nnull = true\ndefault = \"x\"\nunique = true"),
        r#"ALTER TABLE "blog_post" ALTER COLUMN "title" TYPE text;
ALTER TABLE "blog_post" ALTER COLUMN "title" SET DEFAULT 'x';
ALTER TABLE "blog_post" ALTER COLUMN "title" DROP NOT NULL;
CREATE UNIQUE INDEX "blog_post_title_28b8b54f_uniq" ON "blog_post" ("title");
"#
    );
    assert_eq!(
        alter("title", "type = \"integer\""),
        "ALTER TABLE \"blog_post\" ALTER COLUMN \"title\" TYPE integer USING \"title\"::integer;\n"
    );
    assert_eq!(
        alter("author", "type = \"foreign_key\"\nto = \"auth.User\"\non_delete = \"protect\""),
        "",
        "what deleting does is no matter of the database"
    );
}

#[test]
fn a_value_must_fit_its_column() {
    let before = state(&[("auth", USER)]);
    let text = "[[operation]]\nadd_field = \"User.x\"\ntype = \"boolean\"\ndefault = \"maybe\"\n";
    let migration = migration("auth.x", text);
    let mut after = before.clone();
    migration.apply(&mut after).unwrap();
    let steps = schema::steps(&migration.operations[0], "auth", (&before, &after), Dialect::Sqlite);
    assert!(steps.unwrap_err().to_string().contains("is no value for field x"));
}

#[test]
fn typed_values_are_read_by_the_kind_of_the_column() {
    use super::Kind;
    assert_eq!(Kind::Boolean.parse(" True "), Some(Value::Bool(true)));
    assert_eq!(Kind::Integer.parse("7"), Some(Value::Int(7)));
    assert_eq!(Kind::Integer.parse("seven"), None);
    assert_eq!(Kind::Text.parse("\"\""), Some(Value::Text(String::new())));
    assert_eq!(Kind::DateTime.parse("now"), Some(Value::Text("now".into())));
    assert_eq!(Kind::Date.parse("2026-02-30"), None);
}
