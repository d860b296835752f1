//! A fresh database of each kind for one test, gone when it ends.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use hulse::conf::{self, Secret};
use hulse::db::{Database, Sql};
use tempfile::TempDir;

/// Names the server on which tests make PostgreSQL databases.
const POSTGRES: &str = "HULSE_TEST_POSTGRES";

/// Names the server on which tests make MariaDB databases.
const MYSQL: &str = "HULSE_TEST_MYSQL";

/// A database of one test. Dropping it drops the database.
#[derive(Debug)]
pub struct TestDatabase {
    /// What `DATABASE_URL` would say.
    pub url: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// The folder that holds the file.
    Sqlite(#[expect(dead_code, reason = "removed when it is dropped")] TempDir),
    /// The server's own URL and the database made on it.
    Postgres { server: String, name: String },
    /// The same.
    Mysql { server: String, name: String },
}

/// A fresh SQLite database, where `HULSE_TEST_POSTGRES` names a server a PostgreSQL one, and where
/// `HULSE_TEST_MYSQL` does a MariaDB one.
///
/// # Panics
/// One cannot be made.
pub async fn databases() -> Vec<TestDatabase> {
    let mut made = vec![sqlite()];
    match std::env::var(POSTGRES) {
        Ok(server) => made.push(postgres(server).await),
        Err(_) => println!("skipped: needs PostgreSQL ({POSTGRES})"),
    }
    match std::env::var(MYSQL) {
        Ok(server) => made.push(mysql(server).await),
        Err(_) => println!("skipped: needs MariaDB ({MYSQL})"),
    }
    made
}

impl TestDatabase {
    /// Another of the same kind, as fresh.
    ///
    /// # Panics
    /// It cannot be made.
    pub async fn another(&self) -> Self {
        match &self.kind {
            Kind::Sqlite(_) => sqlite(),
            Kind::Postgres { server, .. } => postgres(server.clone()).await,
            Kind::Mysql { server, .. } => mysql(server.clone()).await,
        }
    }
}

fn sqlite() -> TestDatabase {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}", folder.path().join("db.sqlite3").display());
    TestDatabase { url, kind: Kind::Sqlite(folder) }
}

async fn postgres(server: String) -> TestDatabase {
    let name = name();
    on_server(&server, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await;
    on_server(&server, format!("CREATE DATABASE {name}")).await;
    let base = server.rsplit_once('/').map_or(server.as_str(), |(base, _)| base);
    TestDatabase { url: format!("{base}/{name}"), kind: Kind::Postgres { server, name } }
}

/// Its server's own character set is not trusted to hold more than Latin letters.
async fn mysql(server: String) -> TestDatabase {
    let name = name();
    on_server(&server, format!("DROP DATABASE IF EXISTS {name}")).await;
    on_server(
        &server,
        format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin"),
    )
    .await;
    let base = server.rsplit_once('/').map_or(server.as_str(), |(base, _)| base);
    TestDatabase { url: format!("{base}/{name}"), kind: Kind::Mysql { server, name } }
}

fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("hulse_test_{}_{number}", std::process::id())
}

async fn on_server(server: &str, text: String) {
    let settings = conf::Databases { url: Secret::new(server), ..Default::default() };
    let database = Database::connect(&settings, Path::new("/")).await.expect("the test server");
    database.connection().execute(Sql::raw(text)).await.expect("a statement about databases");
    database.close().await;
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, drop_database) = match &self.kind {
            Kind::Sqlite(_) => return,
            Kind::Postgres { server, name } => {
                (server.clone(), format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            }
            Kind::Mysql { server, name } => {
                (server.clone(), format!("DROP DATABASE IF EXISTS {name}"))
            }
        };
        // A runtime of its own: the test's may be the very one that is being torn down.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(on_server(&server, drop_database));
        });
        drop(dropped.join());
    }
}
