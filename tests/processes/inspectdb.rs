//! `manage inspectdb` on databases that Django made.
//!
//! What it prints is kept beside `rooms/inspectdb`, where it is compiled and used. After a wanted
//! change run `INSPECTDB=overwrite cargo test --test processes inspectdb` and read the difference.

use std::path::Path;

use hulse::conf::{Databases, Secret};
use hulse::db::{Database, Dialect};
use hulse_tests::databases;

use crate::migrations::Site;

const SQLITE: &str = include_str!("../rooms/inspectdb/django.sqlite.sql");
const POSTGRES: &str = include_str!("../rooms/inspectdb/django.postgres.sql");

#[tokio::test]
async fn the_models_printed_are_those_that_are_known_to_compile() {
    for test in databases().await {
        let settings = Databases { url: Secret::new(test.url.as_str()), ..Default::default() };
        let database = Database::connect(&settings, Path::new("/")).await.unwrap();
        let (sql, name) = match database.dialect() {
            Dialect::Sqlite => (SQLITE, "sqlite"),
            Dialect::Postgres => (POSTGRES, "postgres"),
            Dialect::Mysql => continue,
        };
        database.connection().script(sql).await.unwrap();
        database.close().await;
        let site = Site::on("first", &test.url);
        let said = site.ok("inspectdb").await;
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("rooms/inspectdb");
        let file = file.join(format!("django_{name}.rs"));
        if std::env::var_os("INSPECTDB").is_some_and(|word| word == "overwrite") {
            std::fs::write(&file, &said).unwrap();
        }
        assert_eq!(said, std::fs::read_to_string(&file).unwrap_or_default(), "{name}");

        let some = site.ok("inspectdb auth_group shop_cheap").await;
        assert!(some.contains("pub struct AuthGroup {") && some.contains("shop_cheap"), "{some}");
        assert!(!some.contains("AuthUser"), "{some}");
        assert!(!said.contains("shop_cheap"), "a view only if asked for");
        let views = site.ok("inspectdb --include-views").await;
        assert!(views.contains("pub struct ShopCheap"), "{views}");
        let answer = site.run("inspectdb nowhere").await;
        let line = "error: There is no table or view 'nowhere'.\n";
        assert_eq!((answer.code, answer.complained.as_str()), (Some(1), line));
    }
}
