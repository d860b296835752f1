//! Tables and columns whose names have all that SQL gives a meaning, and texts in every place that
//! a text can take.

use hulse::Site;
use hulse::db::Value;
use hulse::fixtures::{Dump, Load, Source, dump, load};
use hulse::models::{Bulk, Conflicts, ForeignKey, Id, ManyToMany, Meta, Model, QuerySet};
use serde_json::json;

use super::fields::shops;

#[derive(Model, Debug, Clone)]
#[model(
    app = "shop",
    table = "od\"d 'ta?ble' $1 `%s` {}; --",
    ordering = ["name"],
    index(name, parent),
    unique(name = "odd \"pair\"", name, parent),
    check(name = "odd 'check'", |o| o.name().ne("''; --") & o.count().gte(0)),
)]
struct Odd {
    id: Id,
    #[field(column = "co\"l?umn $1 '%s' `{}`", max_length = 60)]
    name: String,
    #[field(column = "co'unt", default = 1)]
    count: i32,
    #[field(column = "par\"ent?", on_delete = cascade)]
    parent: Option<ForeignKey<Self>>,
    labels: ManyToMany<OddLabel>,
}

#[derive(Model, Debug, Clone)]
#[model(app = "shop", table = "la\"bels?")]
struct OddLabel {
    #[field(primary_key, column = "k\"ey ?", max_length = 60)]
    word: String,
    data: serde_json::Value,
}

fn models() -> [&'static Meta; 2] {
    [Odd::meta(), OddLabel::meta()]
}

/// Texts that would be SQL, patterns or paths if they were not bound.
const TEXTS: [&str; 18] = [
    "'",
    "\"",
    "''; DROP TABLE x; --",
    "x' OR '1'='1",
    "\\",
    "\\'",
    "\\\"",
    "%",
    "_",
    "?",
    "??",
    "$1",
    "$.a[0]",
    ":name",
    "{}",
    "\u{1}",
    "[*]",
    "\u{202e}é漢🦀",
];

async fn odd(site: &Site, name: &str) -> Odd {
    Odd::create(site, Odd { name: name.into(), count: 2, ..Default::default() }).await.unwrap()
}

#[tokio::test]
async fn names_with_quotes_are_names() {
    for shop in shops(&models()).await {
        let site = &shop.site;
        let root = odd(site, "root").await;
        let mut leaf =
            Odd { name: "leaf".into(), parent: Some((&root).into()), ..Default::default() };
        leaf.save(site).await.unwrap();
        leaf.count = 7;
        leaf.save(site).await.unwrap();
        let label = OddLabel { word: "it's \"so\"?".into(), data: json!({}) };
        let label = OddLabel::create(site, label).await.unwrap();
        leaf.labels().add(site, [&label]).await.unwrap();
        let found = Odd::objects()
            .filter(|o| o.parent().name().eq("root") & o.labels().word().contains("\"so\""))
            .exclude(|o| o.labels().word().eq("x"))
            .select_related(|o| o.parent())
            .prefetch_related(|o| o.labels())
            .order_by(|o| o.parent().name().desc());
        let found = found.get(site).await.unwrap();
        assert_eq!(found.parent.unwrap().loaded().unwrap().name, "root");
        assert_eq!(found.labels.loaded().unwrap()[0].word, "it's \"so\"?");
        let select = "SELECT * FROM \"od\"\"d 'ta?ble' $1 `%s` {}; --\"";
        // Braces stand for values wherever they are.
        let refused = QuerySet::<Odd>::raw(site, select, Vec::new()).await.unwrap_err();
        assert!(refused.is_field());
        let select = "SELECT * FROM \"la\"\"bels?\" WHERE \"k\"\"ey ?\" = {}";
        let values: Vec<Value> = vec![label.word.as_str().into()];
        assert_eq!(QuerySet::<OddLabel>::raw(site, select, values).await.unwrap().len(), 1);
        let sums = Odd::objects().values(|o| (o.parent().name().nullable(), o.count().sum()));
        let sums = sums.order_by(|o| o.parent().name().asc().nulls_first()).all(site).await;
        assert_eq!(sums.unwrap(), [(None, Some(2)), (Some("root".into()), Some(7))]);
        assert_eq!(Odd::objects().update(site, |o| o.count().set(o.count() + 1)).await.unwrap(), 2);
        let negative = Odd { name: "n".into(), count: -1, ..Default::default() };
        assert!(
            Odd::create(site, negative).await.unwrap_err().is_integrity(),
            "the check is there"
        );

        let mut text = Vec::new();
        let all = Dump { models: models().to_vec(), ..Dump::default() };
        dump(site, &all, &mut text, &mut |_| {}).await.unwrap();
        let deleted = Odd::objects().filter(|o| o.name().contains("root")).delete(site).await;
        assert!(deleted.unwrap().total >= 2);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd.json");
        std::fs::write(&path, text).unwrap();
        load(site, &[Source::File(path)], Load::default(), &mut |_| {}).await.unwrap();
        let again = Odd::objects().filter(|o| o.labels().eq(&label)).get(site).await.unwrap();
        assert_eq!((again.name.as_str(), again.count), ("leaf", 8));
        let conflicts = Conflicts::<OddLabel>::update(|l| l.word(), |l| l.data());
        let other = vec![OddLabel { word: label.word.clone(), data: json!(1) }];
        let bulk = Bulk { conflicts, ..Bulk::default() };
        OddLabel::objects().bulk_create(site, other, bulk).await.unwrap();
        assert_eq!(OddLabel::objects().get(site).await.unwrap().data, json!(1));
    }
}

#[tokio::test]
async fn a_text_is_the_same_text_wherever_it_is_asked_for() {
    for shop in shops(&models()).await {
        let site = &shop.site;
        for text in TEXTS {
            odd(site, text).await;
            let data = json!({ text: { "in": text } });
            OddLabel::create(site, OddLabel { word: text.into(), data }).await.unwrap();
        }
        let others = i64::try_from(TEXTS.len()).unwrap() - 1;
        for text in TEXTS {
            let one = async |rows: QuerySet<Odd>| {
                let sql = rows.sql(site).unwrap().text;
                let found = rows.all(site).await.unwrap();
                assert_eq!(found.iter().map(|o| &o.name).collect::<Vec<_>>(), [text], "{sql}");
            };
            one(Odd::objects().filter(|o| o.name().eq(text) & o.count().eq(2))).await;
            one(Odd::objects().filter(|o| o.name().iexact(text))).await;
            one(Odd::objects().filter(|o| o.name().in_([text]))).await;
            one(Odd::objects().filter(|o| o.name().range(text, text))).await;
            one(Odd::objects().filter(|o| o.name().concat("!").eq(format!("{text}!")))).await;
            one(Odd::objects().filter(|o| o.name().replace(text, "@").eq("@"))).await;
            one(Odd::objects().filter_by("name", text)).await;
            let begins = Odd::objects().filter(|o| o.name().startswith(text));
            let begins = begins.filter(|o| o.name().endswith(text) & o.name().contains(text));
            one(begins
                .filter(|o| o.name().length().eq(i32::try_from(text.chars().count()).unwrap())))
            .await;

            let labels = OddLabel::objects().filter(|l| l.data().has_key(text));
            assert_eq!(labels.get(site).await.unwrap().word, text, "has_key");
            let labels = OddLabel::objects().filter(|l| l.data().has_any_keys([text, "no"]));
            assert_eq!(labels.get(site).await.unwrap().word, text, "has_any_keys");
            let inside = OddLabel::objects()
                .filter(|l| l.data().key(text).key("in").eq(json!(text)))
                .values(|l| l.data().key(text).key("in").text());
            assert_eq!(inside.get(site).await.unwrap().as_deref(), Some(text));
            let without = OddLabel::objects().filter(|l| l.data().key(text).isnull(true));
            assert_eq!(i64::try_from(without.count(site).await.unwrap()).unwrap(), others);
        }
        // Statements that are put together in another way than a SELECT.
        for text in TEXTS {
            let this = || {
                let has = OddLabel::objects().filter(|l| l.data().has_key(text));
                has.filter(|l| l.word().contains(text) & l.word().eq(text))
            };
            assert_eq!(this().update(site, |l| l.data().set(json!({ text: 1 }))).await.unwrap(), 1);
            let both = this().filter(|l| l.word().iexact(text));
            assert_eq!(both.delete(site).await.unwrap().total, 1);
        }
    }
}

#[tokio::test]
async fn a_nul_in_a_text_is_refused_before_anything_is_sent() {
    for shop in shops(&models()).await {
        let site = &shop.site;
        odd(site, "a").await;
        site.atomic(async |site| {
            let site = &site;
            let asked = [
                Odd::objects().filter(|o| o.name().eq("a\0")),
                Odd::objects().filter(|o| o.name().contains("\0")),
                Odd::objects().filter(|o| o.name().startswith("a\0b")),
                Odd::objects().filter(|o| o.name().in_(["a", "\0"])),
                Odd::objects().filter(|o| o.name().regex("\0")),
                Odd::objects().filter(|o| o.labels().data().eq(json!({"a": ["\0"]}))),
                Odd::objects().filter(|o| o.name().concat("\0").eq("a")),
                Odd::objects().filter_by("name__icontains", "\0"),
                Odd::objects().filter_by("name__in", "a,\0"),
            ];
            for rows in asked {
                let error = rows.count(site).await.unwrap_err();
                assert!(error.is_field() && error.to_string().contains("NUL"), "{error}");
            }
            let set = Odd::objects().update(site, |o| o.name().set("\0")).await.unwrap_err();
            assert!(set.is_field(), "{set}");
            let name = odd(site, "b").await;
            assert_eq!(name.name, "b", "the transaction goes on");
            Ok(())
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_pattern_that_is_none_is_an_error_and_nothing_worse() {
    for shop in shops(&models()).await {
        let site = &shop.site;
        odd(site, "a").await;
        for pattern in ["(", "[", "a{2,1}", "*"] {
            let rows = || Odd::objects().filter(|o| o.name().regex(pattern));
            assert!(rows().all(site).await.is_err(), "{pattern}");
            assert!(Odd::objects().filter_by("name__iregex", pattern).all(site).await.is_err());
            assert_eq!(Odd::objects().count(site).await.unwrap(), 1);
        }
    }
}
