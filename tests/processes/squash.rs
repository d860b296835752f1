//! Squashing, optimising, faking, pruning and data migrations through the command line.

use crate::migrations::Site;

/// A site with two migrations of the blog.
async fn grown() -> Site {
    let site = Site::new("first");
    site.ok("makemigrations").await;
    site.grow("second");
    site.ok("makemigrations").await;
    site
}

#[tokio::test]
async fn squashed_migrations_take_the_place_of_the_old_ones_step_by_step() {
    let site = grown().await;
    site.ok("migrate").await;
    assert_eq!(
        site.ok("squashmigrations blog 0002 --noinput").await,
        "Will squash the following migrations:\n - 0001_initial\n - 0002_post_slug_post_live\n\
         Optimizing...\n  Optimized from 3 operations to 1 operations.\n\
         Created new squashed migration \
         migrations/blog/0001_squashed_0002_post_slug_post_live.toml\n  \
         You should commit this migration but leave the old ones in place;\n  \
         the new migration will be used for new installs. Once you are sure\n  \
         all instances of the codebase have applied the migrations you squashed,\n  \
         you can delete them.\n"
    );
    let file = "migrations/blog/0001_squashed_0002_post_slug_post_live.toml";
    let text = site.read(file);
    assert!(text.contains("replaces = [\n    [\"blog\", \"0001_initial\"],\n"), "{text}");
    let line = "0001_squashed_0002_post_slug_post_live (2 squashed migrations)\n";
    assert_eq!(site.ok("showmigrations blog").await, format!("blog\n [-] {line}"));
    assert!(site.ok("migrate").await.contains("No migrations to apply."));
    assert_eq!(site.ok("showmigrations blog").await, format!("blog\n [X] {line}"));
    assert_eq!(site.ok("makemigrations --check").await, "No changes detected\n");
    assert!(site.ok("sqlmigrate blog 0002").await.contains("ADD COLUMN \"slug\""));
    let answer = site.run("squashmigrations blog 0002 --noinput").await;
    assert_eq!(answer.code, Some(1), "{answer:?}");

    for old in ["0001_initial", "0002_post_slug_post_live"] {
        std::fs::remove_file(site.path(&format!("migrations/blog/{old}.toml"))).unwrap();
    }
    assert!(site.ok("migrate").await.contains("No migrations to apply."));
    let answer = site.run("migrate blog --prune").await;
    assert_eq!(answer.code, Some(1));
    assert!(answer.complained.contains("Cannot use --prune because"), "{answer:?}");
    let start = text.find("replaces = [").unwrap();
    let end = start + text[start..].find("\n]\n").unwrap() + 3;
    std::fs::write(site.path(file), format!("{}{}", &text[..start], &text[end..])).unwrap();
    assert_eq!(
        site.ok("migrate blog --prune").await,
        "  Pruning migrations:\n    Pruning blog.0001_initial... OK\n    \
         Pruning blog.0002_post_slug_post_live... OK\n"
    );
    let none = "  Pruning migrations:\n    No migrations to prune.\n";
    assert_eq!(site.ok("migrate blog --prune").await, none);
    let answer = site.run("migrate --prune").await;
    let words = "error: Migrations can be pruned only when an app is specified.\n";
    assert_eq!((answer.code, answer.complained.as_str()), (Some(1), words));
}

#[tokio::test]
async fn a_new_database_runs_the_squashed_migration_only() {
    let site = grown().await;
    site.ok("squashmigrations blog 0001 0002 --noinput --squashed-name start").await;
    let said = site.ok("migrate").await;
    assert!(said.ends_with("Applying blog.0001_start... OK\n"), "{said}");
    assert!(!said.contains("0002"), "{said}");
    let said = site.ok("migrate blog zero").await;
    assert!(said.ends_with("Unapplying blog.0001_start... OK\n"), "{said}");
}

#[tokio::test]
async fn a_migration_that_could_be_shorter_is_made_so() {
    let site = grown().await;
    assert_eq!(site.ok("optimizemigration blog 0002").await, "No optimizations possible.\n");
    let path = "migrations/blog/0003_long.toml";
    let text = "dependencies = [[\"blog\", \"0002_post_slug_post_live\"]]\n\
                [[operation]]\nadd_field = \"Post.note\"\ntype = \"text\"\nnull = true\n\
                [[operation]]\nrename_field = \"Post.note\"\nto = \"remark\"\n";
    std::fs::write(site.path(path), text).unwrap();
    let answer = site.run("optimizemigration blog 0003 --check").await;
    let words = "Optimizing from 2 operations to 1 operations.\n";
    assert_eq!((answer.code, answer.said.as_str()), (Some(1), words));
    assert_eq!(site.read(path), text);
    let said = site.ok("optimizemigration blog 0003").await;
    assert_eq!(said, format!("{words}Optimized migration {path}\n"));
    assert!(site.read(path).contains("add_field = \"Post.remark\""));
}

#[tokio::test]
async fn records_are_made_without_tables_only_when_asked_and_gaps_are_told() {
    let site = grown().await;
    let said = site.ok("migrate --fake blog 0001").await;
    assert!(said.contains("  Applying people.0001_initial... FAKED\n"), "{said}");
    assert!(said.ends_with("  Applying blog.0001_initial... FAKED\n"), "{said}");
    site.ok("migrate --fake people zero").await;
    site.ok("migrate").await;
    site.ok("migrate --fake blog zero").await;
    let said = site.ok("migrate --fake-initial blog 0001").await;
    assert!(said.ends_with("  Applying blog.0001_initial... FAKED\n"), "{said}");
    site.ok("migrate --fake").await;

    let database = site.database().await;
    let forget = "DELETE FROM hulse_migrations WHERE app = 'people'";
    database.connection().script(forget).await.unwrap();
    database.close().await;
    let answer = site.run("migrate").await;
    let words = "error: Migration blog.0001_initial is applied before its dependency \
                 people.0001_initial on database.\n";
    assert_eq!((answer.code, answer.complained.as_str()), (Some(1), words));
    assert_eq!(site.run("migrate --plan").await.code, Some(1));
}

#[tokio::test]
async fn a_function_runs_forwards_and_back_and_a_misspelt_one_is_told() {
    let site = grown().await;
    let path = "migrations/blog/0003_fill.toml";
    let write = |function: &str| {
        let after = "dependencies = [[\"blog\", \"0002_post_slug_post_live\"]]";
        let text = format!(
            "{after}\n[[operation]]\nrun_sql = \"INSERT INTO blog_post (title, live, author_id) \
             SELECT 'Hello World', true, id FROM people_author\"\nbackwards = \"\"\n\
             [[operation]]\nrun = \"{function}\"\nrun_back = \"noop\"\n"
        );
        std::fs::write(site.path(path), text).unwrap();
    };
    write("blog.fill_slug");
    let answer = site.run("migrate").await;
    assert_eq!(answer.code, Some(1));
    assert!(answer.complained.contains("did you mean `blog.fill_slugs`?"), "{answer:?}");
    assert!(!answer.said.contains("Applying"), "{answer:?}");
    write("blog.fill_slugs");
    site.ok("migrate blog 0002").await;
    let database = site.database().await;
    let author = "INSERT INTO people_author (name) VALUES ('ann')";
    database.connection().script(author).await.unwrap();
    site.ok("migrate").await;
    let slugs = hulse::db::Sql::raw("SELECT slug FROM blog_post");
    let rows = database.connection().fetch(slugs).await.unwrap();
    assert_eq!(rows[0].get::<String>(0).unwrap(), "hello-world");
    database.close().await;
    assert!(site.ok("sqlmigrate blog 0003").await.contains("-- Run blog.fill_slugs\n"));
    site.ok("migrate blog 0002").await;
    let said = site.ok("migrate --plan").await;
    assert!(said.contains("    Run blog.fill_slugs\n"), "{said}");
}

#[tokio::test]
async fn branches_are_shown_from_where_they_part_and_merged() {
    let site = grown().await;
    let write = |name: &str, after: &str, field: &str| {
        let text = format!(
            "dependencies = [[\"blog\", \"{after}\"]]\n[[operation]]\n\
             add_field = \"Post.{field}\"\ntype = \"text\"\nnull = true\n"
        );
        std::fs::write(site.path(&format!("migrations/blog/{name}.toml")), text).unwrap();
    };
    write("0003_a", "0002_post_slug_post_live", "a");
    write("0004_aa", "0003_a", "aa");
    write("0003_b", "0002_post_slug_post_live", "b");
    let said = site.ok("makemigrations --merge --noinput").await;
    assert!(
        said.starts_with(
            "Merging blog\n  Branch 0003_b\n    + Add field b to post\n  Branch 0004_aa\n    \
             + Add field a to post\n    + Add field aa to post\n"
        ),
        "{said}"
    );
    assert!(said.contains("migrations/blog/0005_merge_"), "{said}");
    site.ok("migrate").await;
    assert_eq!(site.ok("makemigrations --merge").await, "No conflicts detected to merge.\n");
}
