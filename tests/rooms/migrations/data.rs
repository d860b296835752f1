//! Data migrations: functions on rows as the models were then.

use std::sync::{Arc, Mutex};

use hulse::db::Value;
use hulse::migrations::{DataMigrations, History, PostMigrate, PreMigrate, migrate};
use hulse::test::TestSite;
use hulse::{App, Error, Project, Result, Site};

use super::*;

struct Blog;

impl App for Blog {
    fn label(&self) -> &'static str {
        "blog"
    }

    fn data_migrations(&self) -> DataMigrations {
        DataMigrations::default()
            .with("shorten", shorten)
            .with("lengthen", lengthen)
            .with("every_way", every_way)
            .with("fail", fail)
    }
}

/// `Hello World` → `hello-world`, three rows at a time.
async fn shorten(site: &Site, history: &History) -> Result<()> {
    assert!(site.in_transaction(), "what it does belongs to the migration");
    let mut batches =
        history.model("blog", "Post")?.filter("slug", Value::String(None))?.batches(3);
    while let Some(rows) = batches.next().await? {
        assert!(rows.len() <= 3);
        for mut row in rows {
            let title: String = row.get("title")?;
            row.set("slug", title.to_lowercase().replace(' ', "-"))?;
            row.save().await?;
        }
    }
    Ok(())
}

async fn lengthen(_: &Site, history: &History) -> Result<()> {
    let none = ("slug", Value::String(None));
    history.model("blog", "Post")?.update([none]).await.map(drop)
}

#[expect(clippy::cognitive_complexity, reason = "one way after the other, without a branch")]
async fn every_way(_: &Site, history: &History) -> Result<()> {
    let (users, posts) = (history.model("auth", "User")?, history.model("blog", "Post")?);
    let ann = users.insert([("name", "ann".into())]).await?;
    let ann_again = users.clone().filter("name", "ann")?.first().await?.unwrap();
    assert_eq!((ann_again.key(), ann_again.value("id")?), (&ann, &ann));
    for title in ["a", "b", "c"] {
        posts.insert([("title", title.into()), ("author", ann.clone())]).await?;
    }
    let some = posts.clone().filter_in("title", ["a", "b", "'; DROP TABLE blog_post --"])?;
    assert_eq!((some.count().await?, posts.count().await?), (2, 3));
    assert_eq!(some.update([("title", "\" OR 1=1".into())]).await?, 2);
    assert_eq!(posts.clone().filter("title", "c")?.filter("author", ann)?.delete().await?, 1);
    let row = posts.first().await?.unwrap();
    assert_eq!(row.get::<Option<String>>("slug")?, None);
    row.delete().await?;
    assert_eq!(posts.count().await?, 1);
    let words = |error: Error| error.to_string();
    assert_eq!(
        words(posts.clone().filter("slugg", "x").unwrap_err()),
        "blog.Post has no field slugg at this point of history"
    );
    assert!(words(posts.clone().filter("author", "x").unwrap_err()).contains("cannot hold"));
    let lacking = posts.insert([("title", "x".into())]).await.unwrap_err();
    assert_eq!(words(lacking), "a row of blog.Post needs a `author`");
    assert!(words(history.model("blog", "Comment").unwrap_err()).contains("no model blog.Comment"));
    Ok(())
}

async fn fail(_: &Site, history: &History) -> Result<()> {
    history.model("auth", "User")?.insert([("name", "ghost".into())]).await?;
    Err(Error::new("it is not to be"))
}

const SLUGS: &str = r#"
[[operation]]
add_field = "Post.slug"
type = "char"
null = true
max_length = 200

[[operation]]
run = "blog.shorten"
run_back = "blog.lengthen"

[[operation]]
alter_field = "Post.slug"
type = "char"
max_length = 200
"#;

async fn site(test: &TestDatabase) -> TestSite {
    TestSite::on(Project::new("data", "/nowhere").install(Blog), &test.url).await
}

async fn up(site: &Site, graph: &Graph) -> Result<usize> {
    migrate_all(site, graph).await
}

async fn down(site: &Site, graph: &Graph, name: &str) -> Result<usize> {
    let target = Target::parse(graph, Some("blog"), Some(name))?;
    migrate(site, graph, &target, Options::default(), &mut |_| {}).await
}

#[tokio::test]
async fn a_function_fills_a_column_that_then_stops_allowing_null_and_back() {
    for test in databases().await {
        let site = site(&test).await;
        up(&site, &with("")).await.unwrap();
        let database = site.database();
        run(database, "INSERT INTO auth_user (id, name) VALUES (1, 'ann')").await;
        for number in 0..7 {
            let row = format!("('Number {number}', 1)");
            run(database, &format!("INSERT INTO blog_post (title, author_id) VALUES {row}")).await;
        }
        let empty = "dependencies = [[\"blog\", \"0001_initial\"]]";
        let slugs = format!("dependencies = [[\"blog\", \"0002_more\"]]\n{SLUGS}");
        let graph = graph(&[
            ("auth.0001_initial", USER),
            ("blog.0001_initial", POST),
            ("blog.0002_more", empty),
            ("blog.0003_slugs", &slugs),
        ]);
        up(&site, &graph).await.unwrap();
        let slugs = column(database, "SELECT slug FROM blog_post ORDER BY id").await;
        assert_eq!(slugs.len(), 7);
        assert_eq!((slugs[0].as_str(), slugs[6].as_str()), ("number-0", "number-6"));
        assert_eq!(down(&site, &graph, "0002").await.unwrap(), 1);
        assert!(database.connection().fetch(Sql::raw("SELECT slug FROM blog_post")).await.is_err());
    }
}

#[tokio::test]
async fn rows_can_be_found_changed_added_and_deleted_without_the_structs() {
    for test in databases().await {
        let site = site(&test).await;
        let more = "[[operation]]\nadd_field = \"Post.slug\"\ntype = \"char\"\nnull = true\n\
                    max_length = 200\n[[operation]]\nrun = \"blog.every_way\"";
        up(&site, &with(more)).await.unwrap();
        let titles = column(site.database(), "SELECT title FROM blog_post").await;
        assert_eq!(titles, ["\" OR 1=1"]);
    }
}

#[tokio::test]
async fn a_function_that_fails_undoes_the_migration_and_is_named() {
    for test in databases().await {
        let site = site(&test).await;
        let more = format!("{SLUGS}\n[[operation]]\nrun = \"blog.fail\"\n");
        let error = up(&site, &with(&more)).await.unwrap_err().to_string();
        let words = "migration blog.0002_more: run blog.fail: it is not to be";
        if site.database().dialect() == Dialect::Mysql {
            let stays = "MariaDB undoes no DDL, so 3 of the 4 operations of blog.0002_more are \
                         done and stay; the next `migrate` goes on behind them: ";
            assert_eq!(error, format!("{stays}{words}"));
            continue;
        }
        assert_eq!(error, words);
        assert_eq!(names(site.database()).await, ["auth.0001_initial", "blog.0001_initial"]);
        assert!(column(site.database(), "SELECT name FROM auth_user").await.is_empty());
        let slugs = Sql::raw("SELECT slug FROM blog_post");
        let slugs = site.database().connection().fetch(slugs).await;
        assert!(slugs.is_err(), "the column is gone too");
    }
}

#[tokio::test]
async fn an_unknown_function_and_one_without_a_site_are_errors_before_anything_runs() {
    for test in databases().await {
        let site = site(&test).await;
        let graph = with("[[operation]]\nrun = \"blog.shortn\"");
        let error = up(&site, &graph).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "migration blog.0002_more: run blog.shortn: there is no data migration \
             `blog.shortn` in any app's `data_migrations`; did you mean `blog.shorten`? (there \
             are blog.every_way, blog.fail, blog.lengthen, blog.shorten)"
        );
        let graph = with("[[operation]]\nrun = \"blog.shorten\"");
        let error = migrate_all(site.database(), &graph).await.unwrap_err().to_string();
        assert!(error.ends_with("needs a site, and this run has only a database"), "{error}");
        assert_eq!(names(site.database()).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_function_without_a_way_back_cannot_be_undone_nor_what_lies_before_it() {
    for test in databases().await {
        let site = site(&test).await;
        let run = "dependencies = [[\"blog\", \"0001_initial\"]]\n[[operation]]\n\
                   run = \"blog.every_way\"";
        let last = "dependencies = [[\"blog\", \"0002_run\"]]\n[[operation]]\nrun = \"noop\"\n\
                    run_back = \"noop\"";
        let slug = "[operation.fields]";
        let post = POST.replace(
            slug,
            &format!("{slug}\nslug = {{ type = \"char\", null = true, max_length = 9 }}"),
        );
        let graph = graph(&[
            ("auth.0001_initial", USER),
            ("blog.0001_initial", &post),
            ("blog.0002_run", run),
            ("blog.0003_last", last),
        ]);
        up(&site, &graph).await.unwrap();
        let error = down(&site, &graph, "zero").await.unwrap_err().to_string();
        assert_eq!(
            error,
            "migration blog.0002_run: run blog.every_way: `run = \"blog.every_way\"` without a \
             `run_back` cannot be undone"
        );
        assert_eq!(names(site.database()).await.len(), 4, "0003 stays too");
        assert_eq!(down(&site, &graph, "0002").await.unwrap(), 1);
    }
}

#[tokio::test]
async fn what_is_not_atomic_stays_by_operations_and_goes_on_behind_them() {
    let file = |sql: &str| {
        format!(
            "atomic = false\n[[operation]]\nadd_field = \"Post.live\"\ntype = \"boolean\"\n\
             null = true\n[[operation]]\nadd_index = \"Post\"\nname = \"later\"\n\
             fields = [\"title\"]\nconcurrently = true\n[[operation]]\nrun_sql = \"{sql}\"\n\
             backwards = \"\"\n"
        )
    };
    for test in databases().await {
        let site = site(&test).await;
        let broken = with(&file("SELECT nonsense FROM nowhere"));
        let error = up(&site, &broken).await.unwrap_err().to_string();
        let why = match site.database().dialect() {
            Dialect::Mysql => "MariaDB undoes no DDL",
            Dialect::Sqlite | Dialect::Postgres => "it is not atomic",
        };
        let words = format!(
            "{why}, so 2 of the 3 operations of blog.0002_more are done and stay; the next \
             `migrate` goes on behind them: migration blog.0002_more: raw sql operation: "
        );
        assert!(error.starts_with(&words), "{error}");
        assert_eq!(names(site.database()).await.len(), 2);
        column(site.database(), "SELECT live FROM blog_post").await;

        let error = down(&site, &broken, "zero").await.unwrap_err().to_string();
        assert!(error.starts_with("applying blog.0002_more was interrupted after 2"), "{error}");
        // As if it had been killed while it made the index, which may be there, whole or not.
        let sql = Sql::raw("UPDATE hulse_migrations_unfinished SET done = 1");
        if site.database().dialect() != Dialect::Sqlite {
            site.database().connection().execute(sql).await.unwrap();
        }
        let mended = with(&file("UPDATE blog_post SET live = NULL"));
        up(&site, &mended).await.unwrap();
        assert_eq!(names(site.database()).await.len(), 3);
        down(&site, &mended, "0001").await.unwrap();
        up(&site, &mended).await.unwrap();
    }
}

#[tokio::test]
async fn receivers_hear_of_a_run_before_and_after_it() {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let (before, after) = (Arc::clone(&heard), Arc::clone(&heard));
    let project = Project::new("data", "/nowhere")
        .install(Blog)
        .on::<PreMigrate, _, _>(move |_, event| {
            let keys: Vec<_> = event.plan.iter().map(|step| step.key.to_string()).collect();
            let models = event.state.models().len();
            before.lock().unwrap().push(format!("before {} ({models})", keys.join(" ")));
            async { Ok(()) }
        })
        .on::<PostMigrate, _, _>(move |site, event| {
            let after = Arc::clone(&after);
            async move {
                let users = column(site.database(), "SELECT name FROM auth_user").await.len();
                let models = event.state.models().len();
                let steps = event.plan.len();
                after.lock().unwrap().push(format!("after {steps} ({models}, {users})"));
                Ok(())
            }
        });
    let test = &databases().await[0];
    run(&open(test).await, "CREATE TABLE auth_user (name text)").await;
    let site = TestSite::on(project, &test.url).await;
    assert_eq!(*heard.lock().unwrap(), ["before  (0)", "after 0 (0, 0)"]);
    run(site.database(), "DROP TABLE auth_user").await;
    up(&site, &with("")).await.unwrap();
    assert_eq!(
        heard.lock().unwrap()[2..],
        ["before auth.0001_initial blog.0001_initial blog.0002_more (0)", "after 3 (2, 0)"]
    );
}

#[tokio::test]
async fn tables_that_are_there_already_are_recorded_by_fake_initial_only_if_whole() {
    for test in databases().await {
        let database = open(&test).await;
        let options = Options { fake_initial: true, ..Options::default() };
        let graph = with("");
        run(&database, "CREATE TABLE auth_user (id bigint PRIMARY KEY, name varchar(30))").await;
        let mut told = Vec::new();
        let mut progress = |progress: migrations::Progress<'_>| {
            if let migrations::Progress::Done { step, faked } = progress {
                told.push((step.migration.key.to_string(), faked));
            }
        };
        migrate(&database, &graph, &Target::All, options, &mut progress).await.unwrap();
        let expected =
            [("auth.0001_initial", true), ("blog.0001_initial", false), ("blog.0002_more", false)];
        assert_eq!(told, expected.map(|(key, faked)| (key.to_owned(), faked)));

        run(&database, "DELETE FROM hulse_migrations").await;
        run(&database, "ALTER TABLE auth_user RENAME COLUMN name TO title").await;
        let error = migrate(&database, &graph, &Target::All, options, &mut |_| {}).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "migration auth.0001_initial: its tables are there, but not the columns \
             auth_user.name: make them by hand and try again, or move the tables away"
        );
        database.close().await;
    }
}
