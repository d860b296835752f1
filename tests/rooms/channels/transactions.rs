//! What is sent inside a transaction: nothing before the commit, nothing without one.

use hulse::conf::{Secret, Settings};
use hulse::{Error, Project, Result, Site};
use hulse_tests::{TestDatabase, databases};

use super::cluster::{Cluster, Member, On, receive, send};

on_every_layer!(
    a_rollback_sends_nothing,
    a_nested_rollback_drops_only_its_own_sends,
    sends_keep_their_order_at_the_commit,
);

/// A site with a database on the first worker, and a member of its group on the second.
struct Fixture {
    site: Site,
    member: Member,
    cluster: Cluster,
    _database: TestDatabase,
}

/// The layers share the databases there are among them.
async fn fixture(on: On) -> Fixture {
    let number = match on {
        On::Memory => 0,
        On::Pulse => 1,
        On::Redis(_) => 2,
    };
    let mut databases = databases().await;
    let database = databases.swap_remove(number % databases.len());
    let cluster = on.workers(2).await;
    let mut settings = Settings::default();
    settings.database.url = Secret::new(&database.url);
    let project = Project::new("sends", env!("CARGO_MANIFEST_DIR"));
    let site = project.open(settings, cluster.workers[0].clone()).await.unwrap();
    let member = Member::of(&cluster.workers[1], "news").await;
    Fixture { site, member, cluster, _database: database }
}

async fn a_rollback_sends_nothing(on: On) {
    let Fixture { site, mut member, cluster, _database } = fixture(on).await;
    let undone: Result<()> = site
        .atomic(async |site| {
            site.group("news").send("never").await?;
            site.channel("jobs").send("never").await?;
            Err(Error::new("no"))
        })
        .await;
    undone.unwrap_err();
    site.group("news").send("after").await.unwrap();
    send(&cluster.workers[0], "jobs", "after").await;
    assert_eq!(member.hear(1).await, ["after"]);
    assert_eq!(receive(&cluster.workers[1], "jobs").await, "after");
}

async fn a_nested_rollback_drops_only_its_own_sends(on: On) {
    let Fixture { site, mut member, cluster: _cluster, _database } = fixture(on).await;
    site.atomic(async |site| {
        site.group("news").send("before").await?;
        let undone: Result<()> = site
            .atomic(async |site| {
                site.group("news").send("never").await?;
                Err(Error::new("no"))
            })
            .await;
        undone.unwrap_err();
        site.atomic(async |site| site.group("news").send("inner").await.map(drop)).await?;
        site.group("news").send("behind").await.map(drop)
    })
    .await
    .unwrap();
    site.group("news").send("end").await.unwrap();
    assert_eq!(member.hear(4).await, ["before", "inner", "behind", "end"]);
}

async fn sends_keep_their_order_at_the_commit(on: On) {
    let Fixture { site, mut member, cluster, _database } = fixture(on).await;
    site.atomic(async |site| {
        for i in 0..30 {
            site.group("news").send(i.to_string()).await?;
        }
        // Another sender does not wait for this commit.
        cluster.workers[1].publish(&super::cluster::name("news"), "first".into()).await?;
        Ok(())
    })
    .await
    .unwrap();
    let heard = member.hear(31).await;
    assert_eq!(heard[0], "first");
    assert_eq!(heard[1..], super::cluster::numbers(0..=29));
}
