//! Text → migration → text.

use super::migration;
use crate::migrations::{Migration, MigrationKey};

fn complaint(text: &str) -> String {
    let key = MigrationKey::new("blog", "0001_initial");
    Migration::parse(key, "blog/0001_initial.toml", text).unwrap_err().to_string()
}

const ALL: &str = r##"# Written by makemigrations

dependencies = [
    ["blog", "0001_initial"],
    ["auth", "0001_initial"],
]
run_before = [["shop", "0002_orders"]]
replaces = [
    ["blog", "0001_first"],
    ["blog", "0002_second"],
]
atomic = false

[[operation]]
create_model = "Post"
table = "posts"
ordering = ["-created", "id"]
get_latest_by = ["created"]
verbose_name = "article"
managed = false
indexes = [
    { name = "posts_idx", fields = ["author", "-created"], condition = '"is_live" = true' },
]
constraints = [
    { name = "one", unique = ["slug"], condition = '"is_live"', nulls_distinct = false },
    { name = "posts_check", check = '"score" > 0' },
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
alter_model_table = "Post"
table = "articles"

[[operation]]
rename_model = "Post"
to = "Article"

[[operation]]
alter_model_options = "Article"
verbose_name_plural = "articles of all kinds"

[[operation]]
rename_index = "Article"
name = "one"
to = "only"

[[operation]]
add_constraint = "Article"
name = "articles_check"
check = """"slug" <> 'it''s'"""

[[operation]]
remove_constraint = "Article"
name = "posts_check"

[[operation]]
remove_index = "Post"
name = "posts_idx"
concurrently = true

[[operation]]
run = "blog.fill_slugs"
run_back = "noop"
elidable = true

[[operation]]
add_index = "Post"
name = "posts_two"
fields = ["author"]
concurrently = true

[[operation]]
run_sql = "SELECT 1"
backwards = "SELECT 2"

[[operation]]
run_sql = { mysql = ["SELECT 1", "SELECT 2"], postgres = "SELECT 3" }
backwards = ["SELECT 4", "SELECT 5"]
elidable = true

[[operation]]

[[operation.database_operations]]
run_sql = "SELECT 6"

[[operation.state_operations]]
create_model = "Note"

[operation.state_operations.fields]
id = { type = "big_auto", primary_key = true }

[[operation]]
state_operations = []

[[operation.database_operations]]
delete_model = "Note"

[[operation]]
delete_model = "Post"
"##;

#[test]
fn a_file_reads_as_it_was_written() {
    let migration = migration("blog.0002_all", ALL);
    assert_eq!(migration.text("Written by makemigrations"), ALL);
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
