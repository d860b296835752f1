//! What only MariaDB does: DDL that no rollback undoes, and constraints it does not have.

use super::*;

async fn mariadb() -> Option<(TestDatabase, Database)> {
    for test in databases().await {
        let database = open(&test).await;
        if database.dialect() == Dialect::Mysql {
            return Some((test, database));
        }
    }
    None
}

async fn two_posts(database: &Database) {
    migrate_all(database, &with("")).await.unwrap();
    run(database, "INSERT INTO auth_user (id, name) VALUES (1, 'ann')").await;
    run(database, "INSERT INTO blog_post (title, author_id) VALUES ('a', 1), ('b', 1)").await;
}

fn third(text: &str) -> Graph {
    let second = "dependencies = [[\"blog\", \"0001_initial\"]]";
    let text = format!("dependencies = [[\"blog\", \"0002_more\"]]\n{text}");
    graph(&[
        ("auth.0001_initial", USER),
        ("blog.0001_initial", POST),
        ("blog.0002_more", second),
        ("blog.0003_third", &text),
    ])
}

#[tokio::test]
async fn an_operation_that_stopped_between_its_statements_is_finished_later() {
    let Some((_test, database)) = mariadb().await else { return };
    two_posts(&database).await;
    let unique = third(
        "[[operation]]\nadd_field = \"Post.live\"\ntype = \"boolean\"\ndefault = true\n\
         [[operation]]\nadd_field = \"Post.slug\"\ntype = \"char\"\nmax_length = 9\n\
         unique = true\nfill = \"x\"\n",
    );
    let error = migrate_all(&database, &unique).await.unwrap_err();
    assert!(error.is_unique_violation(), "the column is there, its index is not: {error}");
    assert_eq!(column(&database, "SELECT slug FROM blog_post").await, ["x", "x"]);
    assert_eq!(names(&database).await.len(), 3, "not recorded");
    run(&database, "UPDATE blog_post SET slug = title").await;
    assert_eq!(migrate_all(&database, &unique).await.unwrap(), 1);
    assert_eq!(column(&database, "SELECT slug FROM blog_post ORDER BY id").await, ["a", "b"]);
    let twice = "INSERT INTO blog_post (title, slug, author_id) VALUES ('c', 'a', 1)";
    assert!(database.connection().script(twice).await.unwrap_err().is_unique_violation());
    assert_eq!(to(&database, &unique, &["blog", "0002"]).await.unwrap(), 1);
    let left = "SELECT app FROM hulse_migrations_unfinished";
    assert_eq!(column(&database, left).await, [""; 0]);
    database.close().await;
}

#[tokio::test]
async fn what_was_begun_and_given_up_is_taken_back() {
    let Some((_test, database)) = mariadb().await else { return };
    two_posts(&database).await;
    let unique = third(
        "[[operation]]\nadd_field = \"Post.slug\"\ntype = \"char\"\nmax_length = 9\n\
         unique = true\nfill = \"x\"\n",
    );
    let error = migrate_all(&database, &unique).await.unwrap_err();
    assert!(error.is_unique_violation(), "the column is there, its index is not: {error}");
    let there = "SELECT column_name FROM information_schema.columns \
                 WHERE table_schema = DATABASE() AND column_name = 'slug'";
    assert_eq!(column(&database, there).await, ["slug"]);
    assert_eq!(to(&database, &unique, &["blog", "0002"]).await.unwrap(), 0, "there it was");
    assert_eq!(column(&database, there).await, [""; 0]);
    run(&database, "DELETE FROM blog_post WHERE title = 'b'").await;
    assert_eq!(migrate_all(&database, &unique).await.unwrap(), 1);
    assert_eq!(column(&database, "SELECT slug FROM blog_post").await, ["x"]);
    database.close().await;
}

#[tokio::test]
async fn a_foreign_key_goes_where_a_long_text_is_unique() {
    let Some((_test, database)) = mariadb().await else { return };
    let first = "[[operation]]\ncreate_model = \"Leaf\"\n[operation.fields]\n\
                 id = { type = \"big_auto\", primary_key = true }\n\
                 text = { type = \"text\", unique = true }\n\
                 up = { type = \"foreign_key\", to = \"x.Leaf\", on_delete = \"cascade\" }\n";
    let moved = "dependencies = [[\"x\", \"0001_initial\"]]\n\
                 [[operation]]\nalter_model_table = \"Leaf\"\ntable = \"leaves\"\n";
    let graph = graph(&[("x.0001_initial", first), ("x.0002_moved", moved)]);
    migrate_all(&database, &graph).await.unwrap();
    let keys = "SELECT constraint_name FROM information_schema.referential_constraints \
                WHERE constraint_schema = DATABASE()";
    let names = column(&database, keys).await;
    assert!(names.len() == 1 && names[0].starts_with("leaves_up_id_"), "{names:?}");
    to(&database, &graph, &["x", "zero"]).await.unwrap();
    database.close().await;
}

#[tokio::test]
async fn what_stopped_on_the_way_back_goes_on_backwards_only() {
    let Some((_test, database)) = mariadb().await else { return };
    two_posts(&database).await;
    let third = third(
        "[[operation]]\nrun_sql = \"UPDATE blog_post SET title = 'x'\"\n\
         backwards = \"UPDATE blog_post SET title = nowhere\"\n\
         [[operation]]\nadd_field = \"Post.live\"\ntype = \"boolean\"\ndefault = true\n",
    );
    migrate_all(&database, &third).await.unwrap();
    let error = to(&database, &third, &["blog", "0002"]).await.unwrap_err().to_string();
    assert!(error.contains("so 1 of the 2 operations of blog.0003_third are done"), "{error}");
    assert_eq!(names(&database).await.len(), 4, "still recorded");
    let forwards = migrate_all(&database, &third).await.unwrap_err().to_string();
    let words = "undoing blog.0003_third was interrupted after 1 of 2 operations";
    assert!(forwards.starts_with(words), "{forwards}");
    run(&database, "ALTER TABLE blog_post ADD COLUMN nowhere text DEFAULT 'y'").await;
    assert_eq!(to(&database, &third, &["blog", "0002"]).await.unwrap(), 1);
    assert_eq!(column(&database, "SELECT title FROM blog_post").await, ["y", "y"]);
    database.close().await;
}

#[tokio::test]
async fn what_is_unique_among_some_rows_only_is_not_made() {
    let Some((_test, database)) = mariadb().await else { return };
    let parts = third(
        "[[operation]]\nadd_constraint = \"Post\"\nname = \"one_long\"\n\
         unique = [\"title\"]\ncondition = \"\\\"id\\\" > 5\"\n\
         [[operation]]\nadd_index = \"Post\"\nname = \"some\"\nfields = [\"title\"]\n\
         condition = \"\\\"id\\\" > 5\"\n",
    );
    migrate_all(&database, &parts).await.unwrap();
    let indexes = "SELECT index_name FROM information_schema.statistics \
                   WHERE table_schema = DATABASE() AND index_name IN ('one_long', 'some')";
    assert_eq!(column(&database, indexes).await, ["some"], "that one over all rows");
    to(&database, &parts, &["blog", "zero"]).await.unwrap();
    database.close().await;
}
