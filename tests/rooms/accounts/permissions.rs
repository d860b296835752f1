//! Permissions: where their rows come from, who has them.

use std::any::Any;

use hulse::contrib::auth::{self, AuthBackend, Group, ModelBackend, Permission, Permissions, User};
use hulse::contrib::sessions;
use hulse::http::{Path, Request, Response, permission_denied, render};
use hulse::migrations::{self, Graph, MigrationKey, Options, Target, migrate_all};
use hulse::models::{Id, Meta, Model};
use hulse::test::{TestSite, assert_queries};
use hulse::urls::{Urls, path};
use hulse::{App, Project, Result, Site, context};
use hulse_tests::databases;

use super::{Blog, Post, grant, permission, user};

async fn may(request: Request, Path(names): Path<String>) -> Result<String> {
    let mut told = Vec::new();
    for name in names.split(',') {
        // Each time anew, as different pieces of a site do.
        told.push(request.user().await?.has_perm(&request, name).await?.to_string());
    }
    Ok(told.join(" "))
}

async fn page(request: Request) -> Result<Response> {
    render(&request, "perms.html", context! {}).await
}

fn urls() -> Urls {
    Urls::new([path("may/<str:names>/", may), path("page/", page)])
}

fn project() -> Project {
    Project::new("accounts", concat!(env!("CARGO_MANIFEST_DIR"), "/sites/accounts"))
        .install(sessions::App)
        .install(auth::App)
        .install(Blog)
        .urls(urls())
}

async fn labels(site: &TestSite, app: &str) -> Vec<(String, String)> {
    let rows = Permission::objects().filter(|p| p.app_label().eq(app)).all(site).await.unwrap();
    rows.into_iter().map(|row| (row.label(), row.name)).collect()
}

#[tokio::test]
async fn migrate_makes_four_permissions_a_model_and_its_own_ones() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let expected = [
            ("blog.add_post", "Can add post"),
            ("blog.change_post", "Can change post"),
            ("blog.delete_post", "Can delete post"),
            ("blog.publish_post", "Can publish posts"),
            ("blog.view_post", "Can view post"),
            ("blog.view_visit", "Can view page visit"),
        ];
        let expected = expected.map(|(label, name)| (label.to_owned(), name.to_owned()));
        assert_eq!(labels(&site, "blog").await, expected);
        // Users, groups and permissions, but not what lies between them.
        assert_eq!(labels(&site, "auth").await.len(), 12);

        let before = Permission::objects().all(&site).await.unwrap();
        let by_hand = Permission {
            name: "Can dance".into(),
            app_label: "blog".into(),
            model: "post".into(),
            codename: "dance".into(),
            ..Permission::default()
        };
        Permission::create(&site, by_hand).await.unwrap();
        permission(&site, "auth.view_user").await.delete(&site).await.unwrap();
        migrate_all(site.site(), &project().migrations().unwrap()).await.unwrap();
        migrate_all(site.site(), &project().migrations().unwrap()).await.unwrap();
        let after = labels(&site, "blog").await;
        assert_eq!(after.len(), 7, "what was there stays: {after:?}");
        assert_eq!(labels(&site, "auth").await.len(), 12, "what was missing is back");
        assert_eq!(Permission::objects().count(&site).await.unwrap(), before.len() as u64 + 1);
    }
}

#[tokio::test]
async fn a_user_may_do_what_it_and_its_groups_may() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let mut ann = user(&site, "ann").await;
        assert!(!ann.has_perm(&site, "blog.add_post").await.unwrap());
        assert!(!ann.has_module_perms(&site, "blog").await.unwrap());

        grant(&site, &ann, &["blog.add_post"]).await;
        let editors = Group { name: "editors".into(), ..Group::default() };
        let mut editors = Group::create(&site, editors).await.unwrap();
        let publish = permission(&site, "blog.publish_post").await;
        editors.permissions().add(&site, [&publish]).await.unwrap();
        ann.groups().add(&site, [&editors]).await.unwrap();

        let all = assert_queries(&site, 1, async || ann.permissions(&site).await.unwrap()).await;
        assert_eq!(all.names().collect::<Vec<_>>(), ["blog.add_post", "blog.publish_post"]);
        assert!(ann.has_perms(&site, &["blog.add_post", "blog.publish_post"]).await.unwrap());
        assert!(!ann.has_perms(&site, &["blog.add_post", "blog.view_post"]).await.unwrap());
        assert!(ann.has_module_perms(&site, "blog").await.unwrap());
        assert!(!ann.has_module_perms(&site, "auth").await.unwrap());
        assert!(!ann.has_module_perms(&site, "blo").await.unwrap());

        ann.is_active = false;
        assert!(!ann.has_perm(&site, "blog.add_post").await.unwrap(), "closed");
        ann.is_superuser = true;
        assert!(!ann.has_perm(&site, "blog.add_post").await.unwrap(), "closed");
        ann.is_active = true;
        let root = ann.clone();
        let has = async || root.has_perm(&site, "anything.there_may_be").await.unwrap();
        assert!(assert_queries(&site, 0, has).await);

        editors.delete(&site).await.unwrap();
        ann.is_superuser = false;
        assert!(!ann.has_perm(&site, "blog.publish_post").await.unwrap());
        for slip in ["add_post", "blog.", ".add_post", ""] {
            assert!(ann.has_perm(&site, slip).await.unwrap_err().is_field(), "{slip:?}");
        }
    }
}

#[tokio::test]
async fn a_request_asks_once_for_all_permissions_of_its_user() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let ann = user(&site, "ann").await;
        grant(&site, &ann, &["blog.add_post"]).await;
        let client = site.client();
        client.force_login(&ann).await;
        let path = "/may/blog.add_post,blog.view_post,auth.add_user/";
        let answer = assert_queries(&site, 3, async || client.get(path).await).await;
        assert_eq!(answer.text(), "true false false");
        let nobody = assert_queries(&site, 0, async || site.client().get(path).await).await;
        assert_eq!(nobody.text(), "false false false");

        // The next request hears of what has changed.
        grant(&site, &ann, &["blog.view_post"]).await;
        assert_eq!(client.get(path).await.text(), "true true false");
    }
}

#[tokio::test]
async fn a_template_sees_what_its_visitor_may() {
    let site = TestSite::new(project()).await;
    let ann = user(&site, "ann").await;
    grant(&site, &ann, &["blog.publish_post"]).await;
    let client = site.client();
    client.get("/page/").await.assert_contains("false false false");
    client.force_login(&ann).await;
    client.get("/page/").await.assert_contains("false true false");
    let root = User::create_superuser(&site, "root", "", None).await.unwrap();
    client.force_login(&root).await;
    client.get("/page/").await.assert_contains("true true true");
}

/// Owns the posts whose title is its name; ends all questions about drafts.
struct Owners;

impl AuthBackend for Owners {
    fn name(&self) -> &'static str {
        "owners"
    }

    async fn permissions(&self, _: &Site, user: &User) -> Result<Permissions> {
        Ok([format!("blog.of_{}", user.username)].into_iter().collect())
    }

    async fn has_perm_for(
        &self,
        _: &Site,
        user: &User,
        permission: &str,
        object: &(dyn Any + Send + Sync),
    ) -> Result<bool> {
        let Some(post) = object.downcast_ref::<Post>() else { return Ok(false) };
        if post.title == "draft" {
            return Err(permission_denied("nobody may"));
        }
        Ok(permission == "blog.change_post" && post.title == user.username)
    }
}

/// Says yes to everything.
struct Anybody;

impl AuthBackend for Anybody {
    fn name(&self) -> &'static str {
        "anybody"
    }

    async fn has_perm_for(
        &self,
        _: &Site,
        _: &User,
        permission: &str,
        _: &(dyn Any + Send + Sync),
    ) -> Result<bool> {
        Ok(permission == "blog.view_post")
    }
}

#[tokio::test]
async fn a_backend_decides_about_single_rows() {
    let app = auth::App.backend(ModelBackend).backend(Owners).backend(Anybody);
    let project = Project::new("accounts", "/nowhere").install(sessions::App).install(app);
    let site = TestSite::new(project.install(Blog)).await;
    let mut ann = user(&site, "ann").await;
    let post = |title: &str| Post { title: title.into(), ..Post::default() };
    let may = async |user: &User, what: &str, title: &str| {
        user.has_perm_for(&site, what, &post(title)).await.unwrap()
    };
    assert!(may(&ann, "blog.change_post", "ann").await);
    assert!(!may(&ann, "blog.change_post", "bob").await);
    assert!(may(&ann, "blog.view_post", "bob").await);
    assert!(!may(&ann, "blog.view_post", "draft").await, "the one before it has ended it");
    assert!(ann.has_perm(&site, "blog.of_ann").await.unwrap(), "rights of all backends add up");
    ann.is_superuser = true;
    assert!(may(&ann, "blog.delete_post", "draft").await);
    ann.is_active = false;
    assert!(!may(&ann, "blog.view_post", "bob").await);
}

#[derive(Clone, Debug, Model)]
#[model(app = "press")]
struct Article {
    id: Id,
}

struct Press;

impl App for Press {
    fn label(&self) -> &'static str {
        "press"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Article::meta()]
    }
}

#[tokio::test]
async fn a_renamed_model_keeps_its_grants() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("migrations/press");
    std::fs::create_dir_all(&below).unwrap();
    let first = "[[operation]]\ncreate_model = \"Story\"\n\n[operation.fields]\n\
                 id = { type = \"big_auto\", primary_key = true }\n";
    std::fs::write(below.join("0001_initial.toml"), first).unwrap();
    let second = "dependencies = [[\"press\", \"0001_initial\"]]\n\n\
                  [[operation]]\nrename_model = \"Story\"\nto = \"Article\"\n";
    std::fs::write(below.join("0002_rename.toml"), second).unwrap();
    for database in databases().await {
        let project = Project::new("press", folder.path())
            .install(sessions::App)
            .install(auth::App)
            .install(Press);
        let graph = project.migrations().unwrap();
        let site = TestSite::on(project, &database.url).await;
        let ann = user(&site, "ann").await;
        grant(&site, &ann, &["press.change_article"]).await;
        let to = async |name: &str| {
            let target = Target::Migration(MigrationKey::new("press", name));
            let options = Options::default();
            migrations::migrate(site.site(), &graph, &target, options, &mut |_| {}).await.unwrap();
        };
        to("0001_initial").await;
        assert!(ann.has_perm(&site, "press.change_story").await.unwrap());
        assert!(!ann.has_perm(&site, "press.change_article").await.unwrap());
        // One that only ends like the model.
        let mut own = Permission {
            name: "Can recall a story".to_owned(),
            app_label: "press".to_owned(),
            model: "story".to_owned(),
            codename: "recall_story".to_owned(),
            ..Permission::default()
        };
        own.save(site.site()).await.unwrap();
        to("0002_rename").await;
        let own = permission(&site, "press.recall_story").await;
        assert_eq!((own.model.as_str(), own.name.as_str()), ("article", "Can recall a story"));
        assert!(ann.has_perm(&site, "press.change_article").await.unwrap());
        let change = permission(&site, "press.change_article").await;
        assert_eq!(change.to_string(), "press | article | Can change article");
        assert_eq!(labels(&site, "press").await.len(), 5);
    }
}

#[tokio::test]
async fn a_renamed_model_keeps_its_grants_though_the_run_fails_later() {
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("migrations/press");
    std::fs::create_dir_all(&below).unwrap();
    let write = |name: &str, text: &str| std::fs::write(below.join(name), text).unwrap();
    let first = "[[operation]]\ncreate_model = \"Story\"\n\n[operation.fields]\n\
                 id = { type = \"big_auto\", primary_key = true }\n";
    let second = "dependencies = [[\"press\", \"0001_initial\"]]\n\n\
                  [[operation]]\nrename_model = \"Story\"\nto = \"Article\"\n";
    let third = "dependencies = [[\"press\", \"0002_rename\"]]\n\n\
                 [[operation]]\nrun_sql = \"SELECT nonsense FROM nowhere\"\n";
    write("0001_initial.toml", first);
    write("0002_rename.toml", second);
    let project = || {
        let apps = Project::new("press", folder.path()).install(sessions::App).install(auth::App);
        apps.install(Press)
    };
    for database in databases().await {
        let good = project().migrations().unwrap();
        let site = TestSite::on(project(), &database.url).await;
        let to = async |graph: &Graph, target: Target| {
            let options = Options::default();
            migrations::migrate(site.site(), graph, &target, options, &mut |_| {}).await
        };
        to(&good, Target::Migration(MigrationKey::new("press", "0001_initial"))).await.unwrap();
        let ann = user(&site, "ann").await;
        grant(&site, &ann, &["press.change_story"]).await;

        write("0003_fails.toml", third);
        let broken = project().migrations().unwrap();
        to(&broken, Target::All).await.unwrap_err();
        std::fs::remove_file(below.join("0003_fails.toml")).unwrap();
        // Nothing is to be run any more, but something to be told.
        assert_eq!(to(&good, Target::All).await.unwrap(), 0);
        assert!(ann.has_perm(&site, "press.change_article").await.unwrap());
        assert!(!ann.has_perm(&site, "press.change_story").await.unwrap());
        assert_eq!(labels(&site, "press").await.len(), 4);
    }
}

/// What the columns of permissions do not hold.
#[derive(Clone, Debug, Model)]
#[model(
    app = "clash",
    verbose_name = "thing that has so long a name that nobody who reads it knows what it began \
                    with, and that goes on and on and on and on and on and on and on and on and on \
                    and on and on and on and on and on and on and on and on and on and on and on \
                    and on and on and on"
)]
struct Wordy {
    id: Id,
}

#[derive(Clone, Debug, Model)]
#[model(app = "clash", permissions(add_thing = "Can add things"))]
struct Thing {
    id: Id,
}

struct Clash;

impl App for Clash {
    fn label(&self) -> &'static str {
        "clash"
    }

    fn models(&self) -> Vec<&'static Meta> {
        vec![Thing::meta(), Wordy::meta()]
    }
}

#[tokio::test]
async fn check_names_permissions_that_nobody_can_have() {
    let site = TestSite::new(project()).await;
    let line = || path("may/<str:names>/", may);
    let project = project().install(Clash).urls(Urls::new([
        line().permission_required("blog.publish_pots"),
        path("page/", page).permission_required("blog.publish_post"),
        path("again/<str:names>/", may).permission_required("blog.publish_pots"),
    ]));
    let found = project.check(site.settings());
    let told = |id: &str| found.iter().find(|check| check.id == id).map(ToString::to_string);
    let expected = "warning auth.W101: \"/may/<str:names>/\" requires \"blog.publish_pots\", \
                    which no model has\n    did you mean \"blog.publish_post\"?";
    assert_eq!(told("auth.W101").unwrap(), expected);
    assert!(told("auth.E005").unwrap().contains("\"add_thing\" of clash.Thing"));
    let long = told("auth.E007").unwrap();
    assert!(long.contains("verbose_name of clash.Wordy must be at most 244 characters"), "{long}");
    assert_eq!(found.iter().filter(|check| check.id.starts_with("auth.")).count(), 3, "{found:?}");
}

#[tokio::test]
async fn who_may_do_something_is_one_query() {
    for database in databases().await {
        let site = TestSite::on(project(), &database.url).await;
        let mut names = Vec::new();
        for name in ["ann", "bob", "cleo", "dora", "emil"] {
            names.push(user(&site, name).await);
        }
        let [ann, bob, cleo, dora, _] = &mut names[..] else { panic!("five") };
        grant(&site, ann, &["blog.add_post", "blog.view_post"]).await;
        let group = Group { name: "editors".into(), ..Group::default() };
        let group = Group::create(&site, group).await.unwrap();
        group.permissions().add(&site, [&permission(&site, "blog.add_post").await]).await.unwrap();
        for member in [&*ann, &*bob, &*dora] {
            member.groups().add(&site, [&group]).await.unwrap();
        }
        cleo.is_superuser = true;
        cleo.save(&site).await.unwrap();
        dora.is_active = false;
        dora.save(&site).await.unwrap();
        let with = async |permission: &str| {
            let with = User::with_perm(permission).unwrap().order_by(|u| u.username().asc());
            let all = assert_queries(&site, 1, async || with.all(&site).await.unwrap()).await;
            all.into_iter().map(|user| user.username).collect::<Vec<_>>()
        };
        assert_eq!(with("blog.add_post").await, ["ann", "bob", "cleo"]);
        assert_eq!(with("blog.view_post").await, ["ann", "cleo"]);
        assert_eq!(with("blog.dance").await, ["cleo"]);
        assert!(User::with_perm("dance").unwrap_err().is_field());
    }
}
