//! Rows that browsers follow: who hears of what, and in how many messages.

use hulse::contrib::auth::{self, User};
use hulse::contrib::sessions;
use hulse::http::Request;
use hulse::streams::{Audience, LiveModel, Streams};
use hulse::test::{Client, SocketClient, TestSite};
use hulse::urls::Urls;
use hulse::{Error, Project};
use hulse_tests::databases;
use serde_json::{Value, json};

use super::{SILENCE, URL, join, join_at};

/// Users by their last name, for staff with their address and for all others without; who is not
/// active is for staff only.
fn people() -> LiveModel<User> {
    let staff = Audience::<User>::new("staff", |u| (u.id(), u.username(), u.email()));
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
        let whole = json!({ "id": id, "username": "ann", "email": "ann@example.com" });
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

#[test]
#[should_panic(expected = "password is secret")]
fn a_secret_field_is_for_no_audience() {
    let _never = Audience::<User>::new("all", |u| (u.id(), u.password()));
}
