//! Rows that browsers follow: who hears of what, and in how many messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use hulse::contrib::auth::{self, User};
use hulse::contrib::sessions;
use hulse::http::Request;
use hulse::models::{Bulk, Deferred, ForeignKey, Id, Meta, Model};
use hulse::streams::{Audience, LiveModel, Streams};
use hulse::test::{Client, SocketClient, TestSite};
use hulse::urls::Urls;
use hulse::{App, Error, Project};
use hulse_tests::databases;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{SILENCE, URL, join, join_at};

/// Users by their last name, for staff with their address and for all others without; who is not
/// active is for staff only.
fn people() -> LiveModel<User> {
    let staff =
        Audience::<User>::new("staff", |u| (u.id(), u.username(), u.email(), u.first_name()));
    let staff = staff.only(async |request: Request, _| Ok(request.user().await?.is_staff));
    let members = Audience::<User>::new("members", |u| (u.id(), u.username()));
    let members = members.rows(|user: &User| user.is_active);
    let members = members.only(async |request: Request, _| {
        Ok(request.user().await?.username.as_str() != "stranger")
    });
    LiveModel::new("people", |user: &User| user.last_name.clone())
        .audience(staff)
        .audience(members)
        .snapshot(|family| {
            let family = family.to_owned();
            User::objects().filter(|u| u.last_name().eq(family)).order_by(|u| u.username().asc())
        })
}

fn project() -> Project {
    let streams = Streams::new([people().stream("people/<slug:family>")]);
    Project::new("live", std::env::temp_dir())
        .install(sessions::App)
        .install(auth::App)
        .urls(Urls::new([streams.at("stream/")]))
        .live(people())
}

/// The same on every database.
async fn sites() -> Vec<(TestSite, hulse_tests::TestDatabase)> {
    let mut sites = Vec::new();
    for database in databases().await {
        sites.push((TestSite::on(project(), &database.url).await, database));
    }
    sites
}

fn person(name: &str, family: &str) -> User {
    User {
        username: name.into(),
        last_name: family.into(),
        email: format!("{name}@example.com"),
        ..User::default()
    }
}

async fn client(site: &TestSite, name: &str, is_staff: bool) -> Client {
    let mut user = person(name, "nobody");
    user.is_staff = is_staff;
    user.save(site.site()).await.unwrap();
    let client = site.client();
    client.force_login(&user).await;
    client
}

/// A socket of `client` in the stream of `family`, and what joining was answered.
async fn follow(client: &Client, family: &str) -> (SocketClient, Value) {
    let mut socket = client.socket(URL).await;
    let joined = join(&mut socket, &format!("people/{family}")).await;
    (socket, joined)
}

/// The changes of the next message.
async fn changes(socket: &mut SocketClient) -> Value {
    let mut frame: Value = socket.receive_json().await;
    assert_eq!(frame["data"]["model"], "auth.User", "{frame}");
    frame["data"]["changes"].take()
}

#[tokio::test]
async fn every_audience_hears_of_its_rows_and_fields_only() {
    for (site, _database) in sites().await {
        let staff = client(&site, "boss", true).await;
        let (mut staff, _) = follow(&staff, "ash").await;
        let (mut member, _) = follow(&client(&site, "member", false).await, "ash").await;
        let (mut other, _) = follow(&client(&site, "other", false).await, "birch").await;

        let mut ann = person("ann", "ash");
        ann.save(site.site()).await.unwrap();
        let id = &json!(ann.id);
        let whole = json!({
            "id": id, "username": "ann", "email": "ann@example.com", "first_name": "",
        });
        let part = json!({ "id": id, "username": "ann" });
        let created = |row| json!([{ "change": "create", "key": id, "row": row }]);
        assert_eq!(changes(&mut staff).await, created(whole));
        assert_eq!(changes(&mut member).await, created(part));

        ann.email = "new@example.com".into();
        ann.save(site.site()).await.unwrap();
        let told = changes(&mut staff).await;
        assert_eq!(told[0]["change"], "update");
        assert_eq!(told[0]["row"]["email"], "new@example.com");

        // What follows shows that members heard nothing of the address.
        ann.username = "anna".into();
        ann.save(site.site()).await.unwrap();
        changes(&mut staff).await;
        let told = changes(&mut member).await;
        assert_eq!(
            told,
            json!([{ "change": "update", "key": id, "row": { "id": id, "username": "anna" } }])
        );

        ann.is_active = false;
        ann.save(site.site()).await.unwrap();
        let gone = json!([{ "change": "delete", "key": id }]);
        assert_eq!(changes(&mut member).await, gone, "nothing members may see any more");
        ann.is_active = true;
        ann.save(site.site()).await.unwrap();
        assert_eq!(changes(&mut member).await[0]["change"], "create");
        ann.delete(site.site()).await.unwrap();
        assert_eq!(changes(&mut member).await, gone);
        assert_eq!(changes(&mut staff).await, gone, "and nothing of what staff see has changed");
        other.receive_nothing(SILENCE).await;
    }
}

#[tokio::test]
async fn a_row_that_moves_is_deleted_where_it_was_and_created_where_it_is() {
    for (site, _database) in sites().await {
        let member = client(&site, "member", false).await;
        let (mut ash, _) = follow(&member, "ash").await;
        let (mut birch, _) = follow(&member, "birch").await;
        let (mut cedar, _) = follow(&member, "cedar").await;
        let mut ann = person("ann", "ash");
        ann.save(site.site()).await.unwrap();
        changes(&mut ash).await;
        let mut stale = ann.clone();
        ann.last_name = "birch".into();
        ann.save(site.site()).await.unwrap();
        assert_eq!(changes(&mut ash).await[0]["change"], "delete");
        assert_eq!(changes(&mut birch).await[0]["change"], "create");

        // Its saver believes that it is where it was.
        stale.last_name = "cedar".into();
        stale.save_only(site.site(), |u| u.last_name()).await.unwrap();
        assert_eq!(changes(&mut birch).await[0]["change"], "delete");
        assert_eq!(changes(&mut cedar).await[0]["change"], "create");
        User::objects().filter(|u| u.username().eq("ann")).delete(site.site()).await.unwrap();
        assert_eq!(changes(&mut cedar).await[0]["change"], "delete");
        ash.receive_nothing(SILENCE).await;
    }
}

#[tokio::test]
async fn a_commit_is_one_message_of_what_it_has_changed() {
    for (site, _database) in sites().await {
        let (mut socket, _) = follow(&client(&site, "member", false).await, "ash").await;
        let mut old = person("old", "ash");
        old.save(site.site()).await.unwrap();
        changes(&mut socket).await;
        let id = old.id;
        site.site()
            .atomic(async |site| {
                let mut new = person("new", "ash");
                new.save(&site).await?;
                new.username = "newer".into();
                new.save(&site).await?;
                let mut brief = person("brief", "ash");
                brief.save(&site).await?;
                brief.delete(&site).await?;
                let undone = site.atomic(async |site| {
                    person("undone", "ash").save(&site).await?;
                    Err::<(), _>(Error::new("no"))
                });
                undone.await.unwrap_err();
                old.username = "older".into();
                old.save(&site).await?;
                old.delete(&site).await
            })
            .await
            .unwrap();
        let told = changes(&mut socket).await;
        assert_eq!(told.as_array().unwrap().len(), 2, "{told}");
        assert_eq!(told[0]["change"], "create");
        assert_eq!(told[0]["row"]["username"], "newer");
        assert_eq!(told[1], json!({ "change": "delete", "key": id }));

        let undone = site.site().atomic(async |site| {
            person("never", "ash").save(&site).await?;
            Err::<(), _>(Error::new("no"))
        });
        undone.await.unwrap_err();
        socket.receive_nothing(SILENCE).await;
    }
}

#[tokio::test]
async fn who_joins_gets_the_rows_of_its_audience_and_who_may_not_is_refused() {
    let site = TestSite::new(project()).await;
    for (name, is_active) in [("ann", true), ("bob", false), ("cid", true)] {
        let mut user = person(name, "ash");
        user.is_active = is_active;
        user.save(site.site()).await.unwrap();
    }
    let member = client(&site, "member", false).await;
    let (mut socket, joined) = follow(&member, "ash").await;
    let names = |joined: &Value| -> Vec<String> {
        let rows = joined["snapshot"]["rows"].as_array().unwrap();
        rows.iter().map(|row| row["username"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&joined), ["ann", "cid"]);
    assert!(joined["snapshot"]["rows"][0].get("email").is_none(), "{joined}");
    let (_, joined) = follow(&client(&site, "boss", true).await, "ash").await;
    assert_eq!(names(&joined), ["ann", "bob", "cid"]);
    let (_, refused) = follow(&client(&site, "stranger", false).await, "ash").await;
    assert_eq!(refused["error"], "denied");

    // Who comes back is told what it has missed, and no snapshot.
    person("dan", "ash").save(site.site()).await.unwrap();
    let frame: Value = socket.receive_json().await;
    socket.close(1000).await;
    person("eve", "ash").save(site.site()).await.unwrap();
    let mut socket = member.socket(URL).await;
    let joined = join_at(&mut socket, "people/ash", &frame["at"]).await;
    assert_eq!(joined["recovered"], true);
    assert!(joined.get("snapshot").is_none(), "{joined}");
    assert_eq!(changes(&mut socket).await[0]["row"]["username"], "eve");
}

#[tokio::test]
async fn a_commit_larger_than_a_message_says_begin_anew() {
    let site = TestSite::with(project(), |settings| {
        settings.channels.message_bytes_max = 400;
    })
    .await;
    let (mut socket, _) = follow(&client(&site, "member", false).await, "ash").await;
    let many = site.site().atomic(async |site| {
        for number in 0..20 {
            person(&format!("person{number}"), "ash").save(&site).await?;
        }
        Ok(())
    });
    many.await.unwrap();
    let frame: Value = socket.receive_json().await;
    assert_eq!(frame["data"], json!({ "model": "auth.User", "reset": true }));
}

/// What a follower has who does as it is told, up to the row of `last`: first names by username.
async fn kept(socket: &mut SocketClient, last: &str) -> BTreeMap<String, String> {
    let (mut kept, mut names) = (BTreeMap::new(), BTreeMap::new());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    loop {
        let told = changes(socket).await;
        for change in told.as_array().unwrap() {
            let (row, key) = (&change["row"], change["key"].to_string());
            if row["username"] == last {
                return kept;
            }
            match row.is_null() {
                // It may be told of one that it does not have.
                true => drop(names.get(&key).and_then(|name: &String| kept.remove(name))),
                false => {
                    kept.insert(text(&row["username"]), text(&row["first_name"]));
                    names.insert(key, text(&row["username"]));
                }
            }
        }
    }
}

/// What somebody else does to a row between a commit and what is told of it.
#[derive(Clone, Copy, Debug)]
enum Quicker {
    Changes,
    Moves,
    Deletes,
    ChangesUnheard,
}

/// `ann` is saved, and what is told of it waits until somebody else is done with the row.
async fn overtake(site: &TestSite, quicker: Quicker) {
    let (committed, told) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut ann = User::objects().filter(|u| u.username().eq("ann")).get(site).await.unwrap();
    let mut other = ann.clone();
    let gate = (Arc::clone(&committed), Arc::clone(&told));
    let first = site.atomic(async |site| {
        let (committed, told) = gate;
        site.on_commit(move |_| async move {
            committed.notify_one();
            told.notified().await;
            Ok(())
        })
        .await?;
        ann.first_name = "first".into();
        ann.last_name = "birch".into();
        ann.save(&site).await
    });
    let second = async {
        committed.notified().await;
        other.first_name = "second".into();
        other.last_name = "birch".into();
        match quicker {
            Quicker::Changes => other.save(site.site()).await.unwrap(),
            Quicker::Moves => {
                other.last_name = "cedar".into();
                other.save(site.site()).await.unwrap();
            }
            Quicker::Deletes => drop(other.delete(site.site()).await.unwrap()),
            Quicker::ChangesUnheard => {
                let ann = User::objects().filter(|u| u.username().eq("ann"));
                ann.update(site.site(), |u| u.first_name().set("second")).await.unwrap();
            }
        }
        told.notify_one();
    };
    let (first, ()) = tokio::join!(first, second);
    first.unwrap();
}

#[tokio::test]
async fn the_last_that_is_told_of_a_row_is_how_it_is_stored_whoever_tells_it_last() {
    let families = ["ash", "birch", "cedar"];
    for (site, _database) in sites().await {
        let boss = client(&site, "boss", true).await;
        for quicker in [Quicker::Changes, Quicker::Moves, Quicker::Deletes, Quicker::ChangesUnheard]
        {
            let mut sockets = Vec::new();
            for family in families {
                sockets.push(follow(&boss, family).await.0);
            }
            person("ann", "ash").save(site.site()).await.unwrap();
            overtake(&site, quicker).await;
            for (family, socket) in families.into_iter().zip(&mut sockets) {
                let mut last = person("last", family);
                last.save(site.site()).await.unwrap();
                let kept = kept(socket, "last").await;
                last.delete(site.site()).await.unwrap();
                let stored = User::objects().filter(|u| u.last_name().eq(family));
                let stored = stored.all(site.site()).await.unwrap();
                let stored =
                    stored.into_iter().map(|user| (user.username.clone(), user.first_name));
                assert_eq!(kept, stored.collect(), "{family} after {quicker:?}");
            }
            User::objects().filter(|u| u.username().eq("ann")).delete(site.site()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn followers_of_a_row_that_never_stands_still_are_told_to_begin_anew() {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let restless = || {
        let side = |_: &User| ["a", "b"][ASKED.fetch_add(1, Ordering::Relaxed) / 2 % 2].to_owned();
        LiveModel::new("restless", side).audience(Audience::<User>::new("all", |u| u.username()))
    };
    let streams = Streams::new([restless().stream("restless/<slug:side>")]);
    let project = Project::new("live", std::env::temp_dir())
        .install(sessions::App)
        .install(auth::App)
        .urls(Urls::new([streams.at("stream/")]))
        .live(restless());
    let site = TestSite::new(project).await;
    let mut socket = site.socket(URL).await;
    join(&mut socket, "restless/a").await;
    join(&mut socket, "restless/b").await;
    person("ann", "ash").save(site.site()).await.unwrap();
    let mut messages = 0;
    loop {
        let frame: Value = socket.receive_json().await;
        messages += 1;
        if frame["data"]["reset"] == true {
            break;
        }
    }
    assert!(messages <= 21, "{messages} messages, two in each of ten rounds at most");
}

/// In memory there may be more of it than is stored, and less.
#[derive(Model, Debug, Clone)]
#[model(app = "press", ordering = ["id"])]
struct Paper {
    id: Id,
    #[field(max_length = 20)]
    title: String,
    printed: DateTime<Utc>,
    #[field(on_delete = cascade)]
    author: ForeignKey<User>,
    #[field(text)]
    body: Deferred<String>,
}

struct Press;

impl App for Press {
    fn label(&self) -> &'static str {
        "press"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Paper::meta()]
    }
}

fn press() -> Project {
    let papers = || {
        LiveModel::new("papers", |_: &Paper| "all".to_owned())
            .audience(Audience::<Paper>::new("all", |p| {
                (p.id(), p.title(), p.printed(), p.author())
            }))
            .snapshot(|_| Paper::objects().select_related(|p| p.author()))
    };
    let streams = Streams::new([papers().stream("papers/<slug:all>")]);
    Project::new("press", std::env::temp_dir())
        .install(sessions::App)
        .install(auth::App)
        .install(Press)
        .urls(Urls::new([streams.at("stream/")]))
        .live(papers())
}

#[tokio::test]
async fn a_save_is_one_message_of_what_is_stored_whatever_its_saver_has_in_memory() {
    for database in databases().await {
        let site = TestSite::on(press(), &database.url).await;
        let mut socket = site.socket(URL).await;
        join(&mut socket, "papers/all").await;
        let mut ann = person("ann", "ash");
        ann.save(site.site()).await.unwrap();
        let mut next = async || {
            let mut frame: Value = socket.receive_json().await;
            assert_eq!(frame["data"]["changes"].as_array().map(Vec::len), Some(1), "{frame}");
            frame["data"]["changes"][0]["row"].take()
        };

        // Nanoseconds, of which microseconds are stored, and a row that is loaded.
        let printed = DateTime::from_timestamp(1_700_000_000, 123_456_789).unwrap();
        let author = ForeignKey::from(&ann);
        author.get(site.site()).await.unwrap();
        let title = "first".to_owned();
        let mut paper = Paper { title, printed, author, body: "long".into(), ..Paper::default() };
        paper.save(site.site()).await.unwrap();
        let printed = "2023-11-14T22:13:20.123456Z";
        let row =
            |title| json!({ "id": paper.id, "title": title, "printed": printed, "author": ann.id });
        assert_eq!(next().await, row("first"));
        // With all that again: the time, the author and the text.
        let mut again = paper.clone();
        again.title = "second".into();
        again.save(site.site()).await.unwrap();
        assert_eq!(next().await, row("second"));
        // The text was never read.
        let mut unread = Paper::objects().get(site.site()).await.unwrap();
        assert!(unread.body.loaded().is_none());
        unread.title = "third".into();
        unread.save(site.site()).await.unwrap();
        assert_eq!(next().await, row("third"));

        let mut other = site.socket(URL).await;
        let joined = join(&mut other, "papers/all").await;
        assert_eq!(joined["snapshot"]["rows"], json!([row("third")]), "nothing of its author");
        socket.receive_nothing(SILENCE).await;
    }
}

#[tokio::test]
async fn what_saves_no_rows_one_by_one_is_not_heard_of() {
    let site = TestSite::new(project()).await;
    let (mut socket, _) = follow(&client(&site, "member", false).await, "ash").await;
    User::objects()
        .bulk_create(site.site(), vec![person("ann", "ash")], Bulk::default())
        .await
        .unwrap();
    let ann = User::objects().filter(|u| u.username().eq("ann"));
    ann.update(site.site(), |u| u.username().set("anna")).await.unwrap();
    person("bob", "ash").save(site.site()).await.unwrap();
    assert_eq!(changes(&mut socket).await[0]["row"]["username"], "bob");
}

#[test]
#[should_panic(expected = "password is secret")]
fn a_secret_field_is_for_no_audience() {
    let _never = Audience::<User>::new("all", |u| (u.id(), u.password()));
}
