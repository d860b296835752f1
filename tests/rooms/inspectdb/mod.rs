//! What `inspectdb` writes compiles, and reads the rows of tables that Django made.
//!
//! Flow: `processes/inspectdb` compares what the command prints with `django_*.rs` here, which are
//! compiled with this test.

#[expect(clippy::use_self, reason = "as inspectdb writes them")]
#[expect(unreachable_pub, reason = "as inspectdb writes them, for an app's models")]
#[rustfmt::skip]
mod django_postgres;
#[expect(clippy::use_self, reason = "as inspectdb writes them")]
#[expect(unreachable_pub, reason = "as inspectdb writes them, for an app's models")]
#[rustfmt::skip]
mod django_sqlite;

use hulse::Project;
use hulse::db::Dialect;
use hulse::models::{Decimal, JsonValue};
use hulse::test::TestSite;
use hulse_tests::databases;

macro_rules! read {
    ($models:ident, $site:expr) => {{
        use $models::{
            AuthGroupPermissions, AuthUser, DjangoAdminLog, DjangoSession, ShopProduct,
            ShopProfile, ShopStock,
        };
        let site = $site;
        let user = AuthUser::objects().filter(|u| u.username().eq("ann")).get(site).await.unwrap();
        assert!(user.is_staff && user.last_login.is_none());
        assert_eq!(user.date_joined.to_rfc3339(), "2026-01-31T12:00:00+00:00");
        let logged = DjangoAdminLog::objects().select_related(|l| l.user());
        let logged = logged.get(site).await.unwrap();
        assert_eq!((logged.action_flag, logged.content_type.is_none()), (3, true));
        assert_eq!(logged.user.get(site).await.unwrap().email, "ann@example.com");
        let codename = AuthGroupPermissions::objects()
            .filter(|p| p.permission().content_type().model().eq("user"))
            .filter(|p| p.group().name().eq("editors"));
        assert_eq!(codename.count(site).await.unwrap(), 1);
        let session = DjangoSession::objects().filter(|s| s.session_key().eq("abc"));
        assert_eq!(session.get(site).await.unwrap().session_data, "e30");
        let product = ShopProduct::objects().get(site).await.unwrap();
        assert_eq!((product.r#type.as_str(), product.self_field), ("book", 7));
        assert_eq!((product.full_name.as_deref(), &*product.full_name_2), (Some("A"), "B"));
        assert_eq!(product.price, Decimal::new(95, 1));
        assert_eq!(product.weight, Some(Decimal::new(125, 2)));
        assert_eq!(product.tags, serde_json::json!({"a": 1}) as JsonValue);
        assert!(product.photo.is_none() && !product.reverse_field);
        let parent = product.parent.clone().unwrap();
        assert_eq!(parent.get(site).await.unwrap().id, product.id);
        let profile = ShopProfile::objects().get(site).await.unwrap();
        assert_eq!(profile.favourite.unwrap().get(site).await.unwrap().id, product.id);
        assert_eq!(ShopStock::objects().get(site).await.unwrap().count, 12);
        let mut user = user;
        user.first_name = "Anna".to_owned();
        user.save(site).await.unwrap();
    }};
}

#[tokio::test]
async fn the_models_read_and_write_the_rows_of_tables_that_django_made() {
    for test in databases().await {
        let site = TestSite::on(Project::new("inspected", "/nowhere"), &test.url).await;
        let tables = match site.database().dialect() {
            Dialect::Sqlite => include_str!("django.sqlite.sql"),
            Dialect::Postgres => include_str!("django.postgres.sql"),
            Dialect::Mysql => continue,
        };
        let connection = site.database().connection();
        connection.script(tables).await.unwrap();
        connection.script(include_str!("rows.sql")).await.unwrap();
        if site.database().dialect() == Dialect::Sqlite {
            read!(django_sqlite, &*site);
        } else {
            read!(django_postgres, &*site);
        }
    }
}
