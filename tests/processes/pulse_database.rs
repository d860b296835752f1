//! The database's troubles while the site serves: its disk is full, it is away.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hulse::conf::Secret;
use hulse::db::Sql;
use hulse_tests::{Network, Program, Pulse, Surroundings, Visitor, Wire, databases};
use tempfile::TempDir;
use tokio::time::interval;

/// A file system of a few megabytes.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where nobody may make one.
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(folder.path());
        mount.output().is_ok_and(|output| output.status.success()).then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves no room.
    fn fill(&self) {
        let piece = vec![b'x'; 64 * 1024];
        let file = self.path().join("filler");
        let mut bytes = Vec::new();
        while std::fs::write(&file, &bytes).is_ok() && bytes.len() < 8 << 20 {
            bytes.extend_from_slice(&piece);
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _still_used = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_nothing_else() {
    let Some(disk) = SmallDisk::new() else {
        println!("skipped: needs the right to mount");
        return;
    };
    let url = format!("sqlite://{}", disk.path().join("db.sqlite3").display());
    let database = Some(url.clone());
    let surroundings = Surroundings { program: Program::Testsite, database, ..Default::default() };
    let pulse = Pulse::start_in(surroundings, &["-w", "2"]).await;
    let workers = pulse.workers();
    let mut visitor = Visitor::new(pulse.address());
    let mut socket = visitor.socket("/room/r/nobody/now/").await;
    socket.frame().await.unwrap();
    for row in 0..10 {
        assert_eq!(visitor.get(&format!("/rows/{row}/")).await.status, 200);
    }
    disk.fill();
    // What is there already may take a few more.
    let (mut written, mut status) = (10, 200);
    while status == 200 {
        status = visitor.get(&format!("/rows/{written}/")).await.status;
        written += usize::from(status == 200);
    }
    assert!(status >= 500, "{status}");
    for _ in 0..20 {
        let refused = visitor.get("/rows/0/").await;
        assert!([500, 503].contains(&refused.status), "{}", refused.status);
        assert!(refused.body.contains("<title>"), "a page: {}", refused.body);
        let rows = visitor.get("/rows/").await;
        assert_eq!((rows.status, rows.body), (200, written.to_string()));
        assert_eq!(visitor.get("/").await.status, 200);
    }
    socket.send("still here").await;
    while socket.frame().await.unwrap() != "still here" {}
    std::fs::remove_file(disk.path().join("filler")).unwrap();
    let begun = Instant::now();
    assert_eq!(visitor.get("/rows/0/").await.status, 200, "it writes again");
    println!("disk full: it writes {:?} after there is room", begun.elapsed());
    assert_eq!(visitor.get("/rows/").await.body, (written + 1).to_string());
    assert_eq!(pulse.workers(), workers, "no worker has ended");
    assert_eq!(pulse.stop().await, 0);
    let settings = hulse::conf::Databases { url: Secret::new(url), ..Default::default() };
    let database = hulse::db::Database::connect(&settings, disk.path()).await.unwrap();
    let found = database.connection().fetch(Sql::raw("PRAGMA integrity_check")).await.unwrap();
    assert_eq!(found[0].get::<String>(0).unwrap(), "ok");
    database.close().await;
}

/// The status of `path` at the metrics' address.
async fn status(address: &str, path: &str) -> u16 {
    let mut wire = Wire::connect(address).await;
    wire.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    wire.reply().await.unwrap().status
}

#[tokio::test]
async fn while_the_database_is_away_other_pages_answer_and_the_site_is_not_ready() {
    let made = databases().await;
    let Some(database) = made.iter().find(|made| made.url.starts_with("postgres")) else { return };
    let (before, host) = database.url.split_once('@').unwrap();
    let (host, name) = host.split_once('/').unwrap();
    let network = Network::before(host).await;
    let url = format!("{before}@{}/{name}", network.host());
    let environment = vec![("HULSE_DATABASE__WAIT_SECONDS".to_owned(), "2".to_owned())];
    let surroundings =
        Surroundings { program: Program::Testsite, database: Some(url), environment };
    let arguments = ["-w", "2", "--metrics-bind", "127.0.0.1:0"];
    let mut pulse = Pulse::start_in(surroundings, &arguments).await;
    let workers = pulse.workers();
    let line = pulse.said("metrics are at http://").await;
    let metrics = line.rsplit("http://").next().unwrap().trim().to_owned();
    let mut visitor = Visitor::new(pulse.address());
    assert_eq!(visitor.get("/rows/1/").await.status, 200);
    assert_eq!(status(&metrics, "/readyz").await, 200);
    network.freeze();
    let mut beat = interval(Duration::from_millis(100));
    while status(&metrics, "/readyz").await == 200 {
        beat.tick().await;
        assert_eq!(visitor.get("/").await.status, 200);
    }
    assert_eq!(status(&metrics, "/healthz").await, 200);
    network.thaw();
    let begun = Instant::now();
    while status(&metrics, "/readyz").await != 200 {
        beat.tick().await;
        assert!(begun.elapsed() < Duration::from_secs(8));
    }
    assert_eq!(visitor.get("/rows/2/").await.status, 200);
    println!("database away: ready and writing {:?} after it is back", begun.elapsed());
    // As when it is started anew: all connections are gone, new ones are taken.
    network.cut();
    let begun = Instant::now();
    while visitor.get("/rows/3/").await.status != 200 {
        beat.tick().await;
        assert!(begun.elapsed() < Duration::from_secs(8));
    }
    println!("database restarted: writing {:?} after", begun.elapsed());
    assert_eq!(pulse.workers(), workers, "no worker has ended");
}

#[tokio::test]
async fn a_long_write_delays_writers_and_none_is_lost() {
    let mut pulse = Pulse::start_testsite(&["-w", "4"]).await;
    let mut visitor = Visitor::new(pulse.address());
    assert_eq!(visitor.get("/rows/0/").await.status, 200);
    let address = pulse.address().to_owned();
    let holding = tokio::spawn(async move { Visitor::new(&address).get("/lock/3000/").await });
    pulse.said("lock begins").await;
    let begun = Instant::now();
    let writers = (1..=20).map(|number| {
        let mut writer = visitor.at(pulse.address());
        async move { writer.get(&format!("/rows/{number}/")).await.status }
    });
    let reader = async {
        assert_eq!(visitor.at(pulse.address()).get("/count/").await.body, "1");
        assert!(!holding.is_finished(), "readers wait for no writer");
    };
    let (statuses, ()) = tokio::join!(join_all(writers), reader);
    assert!(begun.elapsed() > Duration::from_secs(1), "they have waited: {:?}", begun.elapsed());
    assert_eq!(statuses, [200; 20]);
    assert_eq!(holding.await.unwrap().status, 200);
    assert_eq!(visitor.get("/count/").await.body, "22");
}

#[tokio::test]
async fn writers_who_wait_too_long_are_told_so_and_nobody_else_notices() {
    let environment = vec![("HULSE_DATABASE__WAIT_SECONDS".to_owned(), "1".to_owned())];
    let surroundings = Surroundings { program: Program::Testsite, environment, database: None };
    let mut pulse = Pulse::start_in(surroundings, &["-w", "2"]).await;
    let mut visitor = Visitor::new(pulse.address());
    assert_eq!(visitor.get("/rows/0/").await.status, 200);
    let mut socket = visitor.socket("/room/r/ann/now/").await;
    socket.frame().await.unwrap();
    let address = pulse.address().to_owned();
    let holding = tokio::spawn(async move { Visitor::new(&address).get("/lock/6000/").await });
    pulse.said("lock begins").await;
    let begun = Instant::now();
    // Each on a connection of its own: both workers are asked.
    let writers = (1..=8).map(|number| {
        let mut writer = visitor.at(pulse.address());
        async move { writer.get(&format!("/rows/{number}/")).await.status }
    });
    let statuses = join_all(writers).await;
    assert_eq!(statuses, [503; 8], "{}", pulse.log());
    let told = begun.elapsed();
    assert!(told < Duration::from_secs(5), "{told:?}");
    assert_eq!(visitor.get("/count/").await.body, "1");
    socket.send("still here").await;
    while socket.frame().await.unwrap() != "still here" {}
    assert!(!holding.is_finished(), "all that was while it held the lock");
    assert_eq!(holding.await.unwrap().status, 200);
    assert_eq!(visitor.get("/rows/9/").await.status, 200);
    println!("a write lock of 6 s: writers told after {told:?}");
    assert_eq!(visitor.get("/count/").await.body, "3");
}
