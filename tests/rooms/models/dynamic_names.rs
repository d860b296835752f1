//! Names and values that come as text, from the admin or a URL: found in the description or
//! refused.

use hulse::Site;
use hulse::models::{Condition, Model, Q};

use super::expressions::{Item, ItemColumns, item};
use super::{Author, Post, author, fixtures, post};

/// Texts that would be SQL if they were not bound.
const HOSTILE: [&str; 12] = [
    "'",
    "\"",
    "''; DROP TABLE blog_post; --",
    "x' OR '1'='1",
    "\\",
    "%",
    "_",
    "?",
    "$1",
    "{}",
    "\u{1}",
    "\u{202e}é漢🦀",
];

async fn check(site: &Site, name: &str, value: &str, expected: &[&str]) {
    let rows = Post::objects().filter_by(name, value).order_by_names(["title"]);
    let rows = rows.values(|p| p.title()).all(site).await;
    assert_eq!(rows.unwrap(), expected, "{name} = {value}");
}

async fn refused(site: &Site, name: &str, value: &str, words: &str) {
    let error = Post::objects().filter_by(name, value).all(site).await.unwrap_err();
    assert!(error.is_field() && error.to_string().contains(words), "{name}: {error}");
}

#[tokio::test]
async fn names_lead_to_fields_and_lookups() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let (ann, bob) = (author(site, "Ann").await, author(site, "Bob").await);
        post(site, &ann, "one").await;
        let mut two = post(site, &bob, "two").await;
        two.stars = Some(2);
        two.editor = Some((&ann).into());
        two.save(site).await.unwrap();
        let ann_id = ann.id.to_string();
        check(site, "title", "one", &["one"]).await;
        check(site, "title__exact", "one", &["one"]).await;
        check(site, "title__icontains", "O", &["one", "two"]).await;
        check(site, "title__istartswith", "T", &["two"]).await;
        check(site, "title__iexact", "ONE", &["one"]).await;
        check(site, "title__endswith", "e", &["one"]).await;
        check(site, "title__in", "one,x", &["one"]).await;
        check(site, "title__in", "", &[]).await;
        check(site, "title__regex", "^t.o$", &["two"]).await;
        check(site, "title__iregex", "^T.O$", &["two"]).await;
        check(site, "author__name__iexact", "ann", &["one"]).await;
        check(site, "author", &ann_id, &["one"]).await;
        check(site, "author_id", &ann_id, &["one"]).await;
        check(site, "author__id", &ann_id, &["one"]).await;
        check(site, "author__pk__in", &ann_id, &["one"]).await;
        check(site, "editor__isnull", "true", &["one"]).await;
        check(site, "editor__name", "Ann", &["two"]).await;
        check(site, "stars__gte", "2", &["two"]).await;
        check(site, "stars__range", "1,5", &["two"]).await;
        check(site, "live", "true", &["one", "two"]).await;
        check(site, "created__year__gte", "2020", &["one", "two"]).await;
        check(site, "created__date__gt", "2020-01-31", &["one", "two"]).await;
        check(site, "created__lt", "2020-01-31T00:00:00Z", &[]).await;
        check(site, "id__contains", &ann_id, &["one"]).await;
        let by = |names: &[&'static str]| {
            Post::objects().order_by_names(names.iter().copied()).values(|p| p.title())
        };
        assert_eq!(by(&["-title"]).all(site).await.unwrap(), ["two", "one"]);
        assert_eq!(by(&["-author__name", "id"]).all(site).await.unwrap(), ["two", "one"]);
        assert_eq!(by(&["?"]).all(site).await.unwrap().len(), 2);
    }
}

#[tokio::test]
async fn unknown_names_and_values_are_refused_with_the_choices() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        refused(site, "titel", "x", "choices are author, body, changed, created").await;
        refused(site, "author__nam", "x", "of blog.Author; choices are id, name, nick").await;
        refused(site, "title__near", "x", "has no lookup \"near\"").await;
        refused(site, "title__year", "1", "has no lookup \"year\"").await;
        refused(site, "stars", "many", "is \"many\", which is no whole number").await;
        refused(site, "created", "soon", "which is no moment").await;
        refused(site, "live", "maybe", "which is no true or false").await;
        refused(site, "title", "a\0b", "NUL").await;
        refused(site, "stars__range", "1", "two values").await;
        refused(site, "", "x", "choices are").await;
        refused(site, &"author__".repeat(40), "x", "too many parts").await;
        for name in HOSTILE {
            refused(site, name, "x", "choices are").await;
            let order = Post::objects().order_by_names([name]).all(site).await;
            if name != "?" {
                assert!(order.unwrap_err().is_field(), "{name}");
            }
        }
    }
}

#[tokio::test]
async fn names_do_not_reach_secret_fields() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let mut ann = author(site, "Ann").await;
        ann.password = "hash".into();
        ann.save(site).await.unwrap();
        post(site, &ann, "one").await;
        let words = "cannot resolve \"password\" into a field of blog.Author; \
                     choices are id, name, nick";
        let is_refused = |error: hulse::Error| {
            let text = error.to_string();
            assert!(error.is_field() && text.ends_with(words), "{text}");
        };
        for lookup in ["", "__startswith", "__isnull", "__regex", "__in"] {
            let name = format!("author__password{lookup}");
            is_refused(Post::objects().filter_by(&name, "h").all(site).await.unwrap_err());
            let name = format!("password{lookup}");
            is_refused(Author::objects().filter_by(&name, "h").count(site).await.unwrap_err());
        }
        for name in ["author__password", "-author__password"] {
            is_refused(Post::objects().order_by_names([name]).all(site).await.unwrap_err());
        }
        is_refused(Author::objects().order_by_names(["password"]).all(site).await.unwrap_err());
        let typed = Post::objects().filter(|p| p.author().password().startswith("h"));
        let typed = typed.order_by(|p| p.author().password().asc());
        assert_eq!(typed.count(site).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn hostile_texts_are_bound_wherever_a_text_stands() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        item(site).await;
        let long = "x".repeat(1_000_000);
        for text in HOSTILE.into_iter().chain([long.as_str()]) {
            let here = |i: &ItemColumns| -> Vec<Q> {
                vec![
                    i.name().eq(text),
                    i.name().iexact(text),
                    i.name().in_([text, "-"]),
                    i.name().gt(text) & i.name().lt(text),
                    i.name().range(text, text),
                    i.name().replace(text, text).concat(text).eq(text),
                    i.label().coalesce(text).nullif(text).isnull(false),
                    i.name().str_index(text).lt(0),
                    i.data().key(text).eq(serde_json::json!(text)),
                    i.data().key(text).text().eq(text),
                    i.data().has_any_keys([text]),
                ]
            };
            let count =
                here(&hulse::models::Columns::along(hulse::models::Trail::of(Item::meta())));
            for at in 0..count.len() {
                let rows = Item::objects().filter(|i| here(i).swap_remove(at));
                assert_eq!(rows.count(site).await.unwrap(), 0, "{at}");
            }
            let named = Item::objects().filter_by("name__icontains", text).count(site).await;
            assert_eq!(named.unwrap(), 0);
        }
        let ann = author(site, "Ann").await;
        for text in HOSTILE {
            let mut one = post(site, &ann, "t").await;
            one.body = text.into();
            one.save(site).await.unwrap();
            let same = Post::objects().filter(|p| p.body().eq(text));
            assert_eq!(same.clone().count(site).await.unwrap(), 1);
            let has = Post::objects().filter(|p| p.body().contains(text));
            assert!(has.count(site).await.unwrap() > 0, "{text:?}");
            let named = Post::objects().filter_by("body", text);
            assert_eq!(named.count(site).await.unwrap(), 1);
            assert_eq!(same.update(site, |p| p.body().set(text)).await.unwrap(), 1);
        }
        assert_eq!(Author::objects().count(site).await.unwrap(), 1);
    }
}

#[test]
fn conditions_of_constraints_are_plain_sql() {
    fn check(condition: fn() -> Q, expected: &str) {
        assert_eq!(Condition(condition).sql(Item::meta()).unwrap(), expected);
    }
    fn columns() -> ItemColumns {
        hulse::models::Columns::along(hulse::models::Trail::default())
    }
    check(|| columns().count().gt(0), "\"count\" > 0");
    check(|| columns().name().eq("it's"), "\"name\" = 'it''s'");
    check(
        || columns().label().isnull(true) | !columns().count().in_([1, 2]),
        "(\"label\" IS NULL OR NOT (\"count\" IN (1, 2)))",
    );
    check(
        || columns().name().startswith("a") & columns().weight().lte(0.5),
        "(SUBSTR(\"name\", 1, 1) = 'a' AND \"weight\" <= 0.5)",
    );
    check(|| columns().count().lt(columns().least() + 1), "\"count\" < (\"least\" + 1)");
    check(|| !columns().label().eq("a"), "(\"label\" = 'a') IS NOT TRUE");
    check(|| columns().name().contains("a_"), "REPLACE(\"name\", 'a_', '') <> \"name\"");
    let error = Condition(|| columns().name().endswith("x")).sql(Item::meta()).unwrap_err();
    assert!(error.is_field() && error.to_string().contains("keep the end in a column"), "{error}");
    let error = Condition(|| columns().name().lower().eq("x")).sql(Item::meta()).unwrap_err();
    assert!(
        error.is_field() && error.to_string().contains("blog.Item calls a function"),
        "{error}"
    );
}
