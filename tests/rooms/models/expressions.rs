//! Expressions: values, functions, JSON, CASE, and what rows become.

use std::fmt::Debug;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use hulse::Site;
use hulse::models::functions::{case, condition, now, random, value};
use hulse::models::{Decimal, Every, Id, Model, Projection, Q, Selection};
use serde_json::json;

use super::{Author, Post, PostColumns, author, fixtures, post};

/// One of each type that functions work on.
#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "blog")]
pub(crate) struct Item {
    pub id: Id,
    #[field(max_length = 60)]
    pub name: String,
    #[field(max_length = 60)]
    pub label: Option<String>,
    pub count: i32,
    pub least: Option<i32>,
    pub weight: f64,
    #[field(max_digits = 12, decimal_places = 2)]
    pub price: Decimal,
    pub moment: DateTime<Utc>,
    pub day: NaiveDate,
    pub time: NaiveTime,
    pub data: serde_json::Value,
}

pub(crate) async fn item(site: &Site) -> Item {
    let item = Item {
        name: " Straw Hat ".into(),
        count: -7,
        weight: 2.5,
        price: Decimal::new(1250, 2),
        moment: "2021-01-03T23:58:59.123456Z".parse().unwrap(),
        day: NaiveDate::from_ymd_opt(2024, 12, 30).unwrap(),
        time: NaiveTime::from_hms_opt(5, 6, 7).unwrap(),
        data: json!({
            "a": {"b": [1, "two", null], "yes": true},
            "o\"dd": 1.5,
            "text": "50% _off_",
        }),
        ..Default::default()
    };
    Item::create(site, item).await.unwrap()
}

async fn check<A: Selection>(
    site: &Site,
    select: impl FnOnce(&ItemColumns) -> A,
    expected: impl Into<A::Row>,
) where
    A::Row: PartialEq + Debug,
{
    let found = Item::objects().values(select).get(site).await.unwrap();
    assert_eq!(found, expected.into(), "{}", site.db().dialect().name());
}

/// Whether the item is found.
async fn found(site: &Site, condition: impl FnOnce(&ItemColumns) -> Q, expected: bool) {
    let rows = Item::objects().filter(condition);
    let sql = format!("{:?}", rows.sql(site));
    assert_eq!(rows.exists(site).await.unwrap(), expected, "{sql}");
}

trait Named {
    fn name(self) -> String;
}

impl Named for hulse::db::Dialect {
    fn name(self) -> String {
        format!("{self:?}")
    }
}

fn is_sqlite(site: &Site) -> bool {
    site.db().dialect() == hulse::db::Dialect::Sqlite
}

#[tokio::test]
async fn texts_are_computed() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        item(site).await;
        check(site, |i| i.name().lower(), " straw hat ").await;
        check(site, |i| i.name().upper(), " STRAW HAT ").await;
        check(site, |i| i.name().length(), 11).await;
        check(site, |i| i.name().trim(), "Straw Hat").await;
        check(site, |i| i.name().ltrim(), "Straw Hat ").await;
        check(site, |i| i.name().rtrim(), " Straw Hat").await;
        check(site, |i| i.name().trim().substr(2, 3), "tra").await;
        check(site, |i| i.name().trim().left(3), "Str").await;
        check(site, |i| i.name().trim().right(3), "Hat").await;
        check(site, |i| i.name().trim().right(99), "Straw Hat").await;
        check(site, |i| i.name().trim().right(0), "").await;
        check(site, |i| i.name().replace("a", "o"), " Strow Hot ").await;
        check(site, |i| i.name().concat("!").concat(i.label()), " Straw Hat !").await;
        check(site, |i| i.name().str_index("Hat"), 8).await;
        check(site, |i| i.name().str_index("x"), 0).await;
        check(site, |i| i.label().lower(), None).await;
        check(site, |i| i.label().coalesce(i.name().trim()), "Straw Hat").await;
        check(site, |i| i.label().coalesce(None::<String>), None).await;
        check(site, |i| i.name().nullif(" Straw Hat "), None).await;
        check(site, |i| value("x".to_owned()).concat(i.count().cast::<String>()), "x-7").await;
        found(site, |i| i.name().lower().contains("straw"), true).await;
        found(site, |i| i.label().coalesce("none").eq("none"), true).await;
        found(site, |i| !i.label().lower().eq("x"), true).await;
        found(site, |i| i.name().length().gt(i.count()), true).await;
    }
}

#[tokio::test]
async fn numbers_are_computed() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        item(site).await;
        check(site, |i| i.count() + 1, -6).await;
        check(site, |i| i.count() - 1, -8).await;
        check(site, |i| i.count() * i.count(), 49).await;
        check(site, |i| i.count() / 2, -3).await;
        check(site, |i| i.count() % 4, -3).await;
        check(site, |i| i.weight() / 2.0, 1.25).await;
        check(site, |i| i.weight() % 2.0, 0.5).await;
        check(site, |i| i.price() / Decimal::from(5), Decimal::new(25, 1)).await;
        check(site, |i| (i.count() + i.least(), i.count().abs()), (None, 7)).await;
        check(site, |i| i.weight().round(0), 3.0).await;
        check(site, |i| i.weight().ceil(), 3.0).await;
        check(site, |i| i.weight().floor(), 2.0).await;
        check(site, |i| i.count().ceil(), -7).await;
        check(site, |i| (i.weight() * -1.0).floor(), -3.0).await;
        check(site, |i| (i.weight() * -1.0).ceil(), -2.0).await;
        check(site, |i| i.count().greatest(3), 3).await;
        check(site, |i| i.count().least(3), -7).await;
        check(site, |i| i.count().greatest(i.least()), None).await;
        check(site, |i| i.count().cast::<f64>(), -7.0).await;
        check(site, |i| i.name().trim().length().cast::<i64>(), 9_i64).await;
        if is_sqlite(site) {
            let error = Item::objects().values(|i| i.weight().sqrt()).all(site).await.unwrap_err();
            assert!(error.to_string().contains("SQLite"), "{error}");
        } else {
            check(site, |i| i.weight().power(2.0), 6.25).await;
            check(site, |i| (i.weight() + 1.5).sqrt(), 2.0).await;
        }
    }
}

#[tokio::test]
async fn moments_have_parts() {
    let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap();
    let moment = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    for fixture in fixtures().await {
        let site = &fixture.site;
        item(site).await;
        check(site, |i| (i.moment().year(), i.moment().iso_year()), (2021, 2020)).await;
        check(site, |i| (i.moment().quarter(), i.moment().month()), (1, 1)).await;
        check(site, |i| (i.moment().week(), i.moment().day()), (53, 3)).await;
        check(site, |i| (i.moment().week_day(), i.moment().iso_week_day()), (1, 7)).await;
        check(site, |i| (i.moment().hour(), i.moment().minute()), (23, 58)).await;
        check(site, |i| i.moment().second(), 59).await;
        check(site, |i| (i.day().year(), i.day().iso_year(), i.day().quarter()), (2024, 2025, 4))
            .await;
        check(site, |i| (i.time().hour(), i.time().minute(), i.time().second()), (5, 6, 7)).await;
        check(site, |i| i.moment().date(), day(2021, 1, 3)).await;
        check(
            site,
            |i| i.moment().time(),
            NaiveTime::from_hms_micro_opt(23, 58, 59, 123_456).unwrap(),
        )
        .await;
        for (every, expected) in [
            (Every::Year, "2021-01-01T00:00:00Z"),
            (Every::Quarter, "2021-01-01T00:00:00Z"),
            (Every::Month, "2021-01-01T00:00:00Z"),
            (Every::Week, "2020-12-28T00:00:00Z"),
            (Every::Day, "2021-01-03T00:00:00Z"),
            (Every::Hour, "2021-01-03T23:00:00Z"),
            (Every::Minute, "2021-01-03T23:58:00Z"),
            (Every::Second, "2021-01-03T23:58:59Z"),
        ] {
            let found = Item::objects().datetimes(|i| i.moment(), every).all(site).await.unwrap();
            assert_eq!(found, [moment(expected)], "{every:?}");
        }
        for (every, expected) in [
            (Every::Year, day(2024, 1, 1)),
            (Every::Quarter, day(2024, 10, 1)),
            (Every::Month, day(2024, 12, 1)),
            (Every::Week, day(2024, 12, 30)),
            (Every::Day, day(2024, 12, 30)),
        ] {
            let found = Item::objects().dates(|i| i.day(), every).all(site).await.unwrap();
            assert_eq!(found, [expected], "{every:?}");
        }
        check(site, |i| i.time().trunc_hour(), NaiveTime::from_hms_opt(5, 0, 0).unwrap()).await;
        found(site, |i| i.moment().year().eq(2021), true).await;
        found(site, |i| i.moment().year().gt(2020) & i.moment().year().lte(2021), true).await;
        found(site, |i| i.moment().year().lt(2021) | i.moment().year().gt(2021), false).await;
        found(site, |i| i.moment().iso_year().eq(2020), true).await;
        found(site, |i| i.day().year().gte(2024) & !i.day().year().eq(2023), true).await;
        found(site, |i| i.moment().month().in_([1, 2]), true).await;
        found(site, |i| i.moment().date().lt(i.day()), true).await;
        found(site, |i| i.moment().lt(now()), true).await;
        let sql = Item::objects().filter(|i| i.moment().year().eq(2021));
        let sql = sql.sql(site).unwrap().text;
        assert!(sql.contains("\"moment\" BETWEEN"), "an index helps: {sql}");
    }
}

#[tokio::test]
async fn cases_choose_the_first_that_holds() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        item(site).await;
        let sign = |i: &ItemColumns| {
            case::<String>()
                .when(i.count().gt(0), "plus")
                .when(i.count().lt(0), "minus")
                .otherwise("zero")
        };
        check(site, sign, "minus").await;
        found(site, |i| sign(i).eq("minus"), true).await;
        check(site, |i| case::<i32>().when(i.count().gt(0), 1).otherwise(None), None).await;
        check(site, |i| condition(i.count().lt(0)), true).await;
        check(site, |i| condition(i.least().lt(0)), false).await;
    }
}

#[tokio::test]
async fn json_documents_are_asked_for_what_is_in_them() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        item(site).await;
        let b = |i: &ItemColumns| i.data().key("a").key("b");
        check(site, |i| b(i).index(0), Some(json!(1))).await;
        check(site, |i| b(i), Some(json!([1, "two", null]))).await;
        check(site, |i| b(i).index(1).text(), Some("two".to_owned())).await;
        check(site, |i| i.data().key("a").key("yes").text(), Some("true".to_owned())).await;
        check(site, |i| i.data().key("none").key("b"), None).await;
        found(site, |i| b(i).index(0).eq(json!(1)), true).await;
        found(site, |i| b(i).index(0).eq(json!("1")), false).await;
        found(site, |i| b(i).index(1).eq(json!("two")), true).await;
        found(site, |i| b(i).index(2).eq(json!(null)), true).await;
        found(site, |i| b(i).index(2).isnull(true), false).await;
        found(site, |i| b(i).index(3).isnull(true), true).await;
        found(site, |i| i.data().key("a").key("yes").eq(json!(true)), true).await;
        found(site, |i| i.data().key("a").key("yes").eq(json!(1)), false).await;
        found(site, |i| i.data().key("o\"dd").gt(json!(1)), true).await;
        found(site, |i| i.data().key("o\"dd").gt(json!(2)), false).await;
        found(site, |i| i.data().key("o\"dd").in_([json!(1), json!(1.5)]), true).await;
        found(site, |i| !i.data().key("none").eq(json!(1)), true).await;
        found(site, |i| i.data().key("text").text().contains("% _off"), true).await;
        found(site, |i| i.data().has_key("a"), true).await;
        found(site, |i| i.data().has_key("b"), false).await;
        found(site, |i| i.data().key("a").has_key("b"), true).await;
        found(site, |i| i.data().has_keys(["a", "text"]), true).await;
        found(site, |i| i.data().has_keys(["a", "x"]), false).await;
        found(site, |i| i.data().has_any_keys(["a", "x"]), true).await;
        found(site, |i| i.data().has_any_keys(["y", "x"]), false).await;
        let contains = |i: &ItemColumns| i.data().contains(json!({"a": {"yes": true}}));
        if is_sqlite(site) {
            let error = Item::objects().filter(contains).all(site).await.unwrap_err();
            assert!(error.is_field() && error.to_string().contains("SQLite"), "{error}");
        } else {
            found(site, contains, true).await;
            found(site, |i| i.data().contains(json!({"a": 1})), false).await;
            found(site, |i| b(i).index(0).contained_by(json!([1, 2])), true).await;
        }
    }
}

#[derive(Projection, Debug, PartialEq)]
#[projection(of = Post)]
struct Card {
    title: String,
    #[projection(|p| p.author().name())]
    author: String,
    #[projection(|p| p.editor().name().nullable())]
    editor: Option<String>,
    stars: Option<i32>,
}

#[tokio::test]
async fn rows_become_tuples_structs_and_pairs() {
    for fixture in fixtures().await {
        let site = &fixture.site;
        let ann = author(site, "Ann").await;
        post(site, &ann, "one").await;
        let card = Post::objects().project::<Card>().get(site).await.unwrap();
        let expected =
            Card { title: "one".into(), author: "Ann".into(), editor: None, stars: None };
        assert_eq!(card, expected);
        let many = |p: &PostColumns| (p.id(), p.title(), p.author(), p.live(), p.stars(), p.rank());
        let row = Post::objects().values(many).first(site).await.unwrap().unwrap();
        assert_eq!(
            (row.1, row.2, row.3, row.4, row.5),
            ("one".into(), ann.own_key(), true, None, -1)
        );
        let (read, (length, name)) = Post::objects()
            .select_related(|p| p.author())
            .annotate(|p| (p.title().length(), p.author().name()))
            .get(site)
            .await
            .unwrap();
        assert_eq!((read.title.as_str(), length, name.as_str()), ("one", 3, "Ann"));
        assert_eq!(read.author.loaded().unwrap().name, "Ann");
        let by_random = Post::objects().order_by(|_| random().asc()).all(site).await.unwrap();
        assert_eq!(by_random.len(), 1);
        let nick = Author::objects().values(|a| a.nick());
        assert_eq!(nick.all(site).await.unwrap(), [None]);
    }
}
