//! Every kind of field on every database: what is stored is what is read.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use hulse::channels::Layer;
use hulse::conf::{Secret, Settings};
use hulse::migrations::{self, Graph, Migration, ProjectState};
use hulse::models::{Decimal, File, Id, Image, Json, Meta, Model, Uuid};
use hulse::{App, Project, Site};
use hulse_tests::{TestDatabase, databases};
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "shop")]
pub(crate) struct Sample {
    pub id: Id,
    pub small: u16,
    pub middle: u32,
    pub big: u64,
    #[field(max_digits = 28, decimal_places = 3)]
    pub exact: Decimal,
    #[field(max_digits = 12, decimal_places = 2, default = "1.5")]
    pub price: Decimal,
    pub time: NaiveTime,
    pub lasts: TimeDelta,
    pub token: Uuid,
    pub json: serde_json::Value,
    pub typed: Json<Settings2>,
    pub bytes: Vec<u8>,
    pub address: IpAddr,
    #[field(upload_to = "papers")]
    pub paper: File,
    pub picture: Image,
    #[field(max_length = 10)]
    pub word: String,
    pub moment: DateTime<Utc>,
    pub day: NaiveDate,
    pub i16: i16,
    pub i32: i32,
    pub i64: i64,
    pub f64: f64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings2 {
    pub theme: String,
    pub sizes: BTreeMap<String, f64>,
}

/// The same, each of which may be NULL.
#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "shop")]
pub(crate) struct Gap {
    pub id: Id,
    pub small: Option<u16>,
    pub middle: Option<u32>,
    pub big: Option<u64>,
    #[field(max_digits = 12, decimal_places = 2)]
    pub price: Option<Decimal>,
    pub time: Option<NaiveTime>,
    pub lasts: Option<TimeDelta>,
    pub token: Option<Uuid>,
    pub json: Option<serde_json::Value>,
    pub typed: Option<Json<Settings2>>,
    pub bytes: Option<Vec<u8>>,
    pub address: Option<IpAddr>,
    pub paper: Option<File>,
    pub picture: Option<Image>,
}

/// A key that is no number, and what points to it.
#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "shop")]
pub(crate) struct Parcel {
    #[field(primary_key)]
    pub code: Uuid,
    #[field(max_length = 10)]
    pub to: String,
}

#[derive(Model, Debug, Clone)]
#[model(app = "shop")]
pub(crate) struct Label {
    pub id: Id,
    #[field(on_delete = cascade)]
    pub parcel: hulse::models::ForeignKey<Parcel>,
}

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "shop")]
pub(crate) struct Preset {
    pub id: Id,
    #[field(default = 65_535)]
    pub small: u16,
    #[field(default = 3)]
    pub big: u64,
    #[field(max_digits = 5, decimal_places = 2, default = "0.10")]
    pub price: Decimal,
    #[field(default = "23:59:59.5")]
    pub time: NaiveTime,
    #[field(default = "-1 02:00:00.000001")]
    pub lasts: TimeDelta,
    #[field(default = "550e8400-e29b-41d4-a716-446655440000")]
    pub token: Uuid,
    #[field(default = "{\"it's\": [1, null]}")]
    pub json: serde_json::Value,
    #[field(default = "2001:db8::1")]
    pub address: IpAddr,
    #[field(default = "a/b.txt")]
    pub paper: File,
    #[field(default = "2024-02-29")]
    pub day: NaiveDate,
    #[field(default = "2024-02-29T12:00:00.25Z")]
    pub moment: DateTime<Utc>,
    pub note: Option<i64>,
}

/// A site whose tables its own migrations have made, once on each database.
pub(crate) struct Shop {
    pub site: Site,
    /// Dropped last: it drops the database.
    _database: TestDatabase,
}

struct ShopApp(Vec<&'static Meta>);

impl App for ShopApp {
    fn label(&self) -> &'static str {
        "shop"
    }

    fn models(&self) -> Vec<&'static Meta> {
        self.0.clone()
    }
}

/// Makes the migrations of `models`, writes and reads them as files, and runs them.
pub(crate) async fn shops(models: &[&'static Meta]) -> Vec<Shop> {
    let mut shops = Vec::new();
    for database in databases().await {
        let mut settings = Settings::default();
        settings.debug = true;
        settings.database.url = Secret::new(&database.url);
        let project = Project::new("shop", env!("CARGO_MANIFEST_DIR"));
        let project = project.install(ShopApp(models.to_vec()));
        let layer = Layer::memory(&settings.channels);
        let site = project.open(settings, layer).await.unwrap();
        let graph = graph(models);
        migrations::migrate_all(site.database(), &graph).await.unwrap();
        shops.push(Shop { site, _database: database });
    }
    shops
}

fn graph(models: &[&'static Meta]) -> Graph {
    let state = ProjectState::of(models.iter().copied());
    let changes = migrations::diff(&ProjectState::default(), &state, &[]);
    let made = migrations::arrange(changes, &state, &Graph::new([]).unwrap(), None);
    let read = made.iter().map(|migration| {
        let text = migration.text("made by a test");
        let read = Migration::parse(migration.key.clone(), "x.toml", &text).unwrap();
        assert_eq!(read, *migration, "{text}");
        read
    });
    let graph = Graph::new(read).unwrap();
    let replayed = graph.state(|_| true).unwrap();
    let changes = migrations::diff(&replayed, &state, &[]);
    assert!(changes.is_empty(), "{changes:?}");
    graph
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn lowest() -> Sample {
    Sample {
        exact: decimal("0.001"),
        price: decimal("-9999999999.99"),
        lasts: TimeDelta::microseconds(i64::MIN + 1),
        moment: "0001-01-01T00:00:00Z".parse().unwrap(),
        day: NaiveDate::from_ymd_opt(1, 1, 1).unwrap(),
        i16: i16::MIN,
        i32: i32::MIN,
        i64: i64::MIN,
        f64: f64::MIN,
        ..Default::default()
    }
}

fn highest() -> Sample {
    let sizes = BTreeMap::from([("größe".to_owned(), 1.5), (String::new(), -0.1)]);
    Sample {
        id: Id::default(),
        small: u16::MAX,
        middle: u32::MAX,
        big: i64::MAX as u64,
        exact: decimal("123456789012.345"),
        price: decimal("9999999999.99"),
        time: NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999).unwrap(),
        lasts: TimeDelta::microseconds(i64::MAX),
        token: Uuid::max(),
        json: json!({"a": [1, -2.5, "ü\n\"", null, true, {"": []}], "n": u64::MAX}),
        typed: Json(Settings2 { theme: "dunkel 🌚".into(), sizes }),
        bytes: (0..=255).collect(),
        address: "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap(),
        paper: File::new("papers/2026/résumé 1.pdf").unwrap(),
        picture: Image::new("me.JPG").unwrap(),
        word: "äöü🌚\u{301}'\"\\%".into(),
        moment: "9999-12-31T23:59:59.999999Z".parse().unwrap(),
        day: NaiveDate::from_ymd_opt(9999, 12, 31).unwrap(),
        i16: i16::MAX,
        i32: i32::MAX,
        i64: i64::MAX,
        f64: f64::MIN_POSITIVE,
    }
}

#[tokio::test]
async fn extremes_come_back_as_they_were_stored() {
    for shop in shops(&[Sample::meta()]).await {
        let site = &shop.site;
        for row in [Sample::default(), lowest(), highest()] {
            let saved = Sample::create(site, row).await.unwrap();
            let key = saved.id.get().unwrap();
            let read = Sample::objects().filter(|s| s.id().eq(key)).get(site).await.unwrap();
            assert_eq!(read, saved);
        }
        let one = Sample::objects().filter(|s| s.big().eq(i64::MAX as u64)).get(site).await;
        assert_eq!(one.unwrap().small, u16::MAX);
    }
}

#[tokio::test]
async fn each_kind_is_found_by_its_value() {
    for shop in shops(&[Sample::meta()]).await {
        let site = &shop.site;
        Sample::create(site, Sample::default()).await.unwrap();
        let row = Sample::create(site, highest()).await.unwrap();
        let found = Sample::objects()
            .filter(|s| s.small().eq(row.small) & s.middle().gt(1) & s.big().gte(row.big))
            .filter(|s| s.exact().eq(row.exact) & s.price().gt(decimal("9999999999.98")))
            .filter(|s| s.time().eq(row.time) & s.lasts().gt(TimeDelta::days(1)))
            .filter(|s| s.token().eq(row.token) & s.bytes().eq(&row.bytes))
            .filter(|s| s.json().eq(&row.json) & s.typed().eq(&row.typed))
            .filter(|s| s.address().in_([row.address]) & s.paper().eq(&row.paper))
            .filter(|s| s.picture().iendswith(".jpg"))
            .get(site)
            .await
            .unwrap();
        assert_eq!(found, row);
        let all = Sample::objects().order_by(|s| s.lasts().desc()).all(site).await.unwrap();
        assert_eq!(all[0].id, row.id);
    }
}

#[tokio::test]
async fn null_is_none_and_json_has_a_null_of_its_own() {
    for shop in shops(&[Gap::meta()]).await {
        let site = &shop.site;
        let empty = Gap::create(site, Gap::default()).await.unwrap();
        let null = Gap { json: Some(serde_json::Value::Null), ..Default::default() };
        let null = Gap::create(site, null).await.unwrap();
        let all = Gap::objects().order_by(|g| g.id().asc()).all(site).await.unwrap();
        assert_eq!(all, [empty, null]);
        let sql_null = Gap::objects().filter(|g| g.json().isnull(true)).get(site).await.unwrap();
        assert_eq!(sql_null.json, None);
        let json_null = Gap::objects().filter(|g| g.json().eq(serde_json::Value::Null));
        assert_eq!(json_null.get(site).await.unwrap().json, Some(serde_json::Value::Null));
    }
}

#[tokio::test]
async fn a_declared_default_is_what_a_new_row_and_the_column_have() {
    for shop in shops(&[Preset::meta()]).await {
        let site = &shop.site;
        let row = Preset::create(site, Preset::default()).await.unwrap();
        site.db().script("INSERT INTO shop_preset (note) VALUES (NULL)").await.unwrap();
        let all = Preset::objects().order_by(|p| p.id().asc()).all(site).await.unwrap();
        assert_eq!(all[0], row);
        assert_eq!(all[1], Preset { id: all[1].id, ..row });
        assert_eq!(all[1].price.to_string(), "0.10");
        assert_eq!(all[1].lasts, -(TimeDelta::hours(26) + TimeDelta::microseconds(1)));
    }
}

#[tokio::test]
async fn what_no_database_keeps_is_refused() {
    for shop in shops(&[Sample::meta()]).await {
        let site = &shop.site;
        let refused = |row: Sample, words: &'static str| async move {
            let error = Sample::create(site, row).await.unwrap_err();
            assert!(error.is_field() && error.to_string().contains(words), "{error}");
        };
        let new = Sample::default;
        let most = i64::MAX as u64;
        refused(Sample { big: most + 1, ..new() }, "shop.Sample.big is greater").await;
        refused(Sample { lasts: TimeDelta::MAX, ..new() }, "shop.Sample.lasts is greater").await;
        let price = decimal("10000000000");
        refused(Sample { price, ..new() }, "shop.Sample.price is 10000000000, with 11").await;
        let json = json!({"a": ["\0"]});
        refused(Sample { json, ..new() }, "shop.Sample.json has a NUL").await;
        let error = Sample::objects().filter(|s| s.big().eq(u64::MAX)).all(site).await;
        assert!(error.unwrap_err().is_field());
        let negative = "INSERT INTO shop_sample SELECT * FROM shop_sample";
        assert!(site.db().script(negative).await.is_ok());
        Sample::create(site, new()).await.unwrap();
        for column in ["small", "middle", "big"] {
            let negative = format!("UPDATE shop_sample SET {column} = -1");
            assert!(site.db().script(&negative).await.unwrap_err().is_integrity());
        }
    }
}

#[tokio::test]
async fn decimals_are_exact_to_28_digits_or_on_sqlite_refused_beyond_15() {
    for shop in shops(&[Sample::meta()]).await {
        let site = &shop.site;
        let long = decimal("1234567890123456789012345.678");
        let saved = Sample::create(site, Sample { exact: long, ..Default::default() }).await;
        if site.db().dialect() != hulse::db::Dialect::Sqlite {
            let read = Sample::objects().filter(|s| s.exact().eq(long)).get(site).await.unwrap();
            assert_eq!(read, saved.unwrap());
        } else {
            let error = saved.unwrap_err();
            let words = "has 28 digits: SQLite keeps 15, PostgreSQL all";
            assert!(error.is_field() && error.to_string().contains(words), "{error}");
        }
        for (stored, read) in [
            ("0.1", "0.10"),
            ("0.3", "0.30"),
            ("2.675", "2.68"),
            ("2.665", "2.66"),
            ("-0.005", "0.00"),
            ("1234567890.12", "1234567890.12"),
            ("100", "100.00"),
        ] {
            let price = decimal(stored);
            let saved = Sample::create(site, Sample { price, ..Default::default() }).await;
            let key = saved.unwrap().id.get().unwrap();
            let found = Sample::objects().filter(|s| s.id().eq(key)).get(site).await.unwrap();
            assert_eq!(found.price.to_string().trim_start_matches('-'), read);
        }
    }
}

#[tokio::test]
async fn times_are_kept_to_the_microsecond() {
    for shop in shops(&[Sample::meta()]).await {
        let site = &shop.site;
        let time = NaiveTime::from_hms_nano_opt(12, 0, 0, 123_456_789).unwrap();
        let leap = NaiveTime::from_hms_nano_opt(23, 59, 59, 1_500_000_000).unwrap();
        let lasts = TimeDelta::nanoseconds(-1_999);
        for (time, read) in [(time, "12:00:00.123456"), (leap, "23:59:59.999999")] {
            let row = Sample { time, lasts, ..Default::default() };
            let key = Sample::create(site, row).await.unwrap().id.get().unwrap();
            let row = Sample::objects().filter(|s| s.id().eq(key)).get(site).await.unwrap();
            assert_eq!(row.time.to_string(), read);
            assert_eq!(row.lasts, TimeDelta::microseconds(-1));
        }
    }
}

#[tokio::test]
async fn a_uuid_is_a_key_that_others_point_to() {
    for shop in shops(&[Parcel::meta(), Label::meta()]).await {
        let site = &shop.site;
        let code = Uuid::new_v4();
        let mut parcel = Parcel { code, to: "Ann".into() };
        parcel.save(site).await.unwrap();
        let label = Label { parcel: (&parcel).into(), ..Default::default() };
        let mut label = Label::create(site, label).await.unwrap();
        label.refresh(site).await.unwrap();
        assert_eq!(label.parcel.get(site).await.unwrap(), &parcel);
        let behind = Label::objects().filter(|l| l.parcel().to().eq("Ann"));
        assert_eq!(behind.select_related(|l| l.parcel()).get(site).await.unwrap().id, label.id);
        if site.db().dialect() == hulse::db::Dialect::Sqlite {
            // As other programs write them.
            let hyphens = format!("UPDATE shop_parcel SET code = '{code}'");
            let keys = format!("UPDATE shop_label SET parcel_id = '{code}'");
            site.db().script(&format!("BEGIN; {hyphens}; {keys}; COMMIT")).await.unwrap();
            assert_eq!(Parcel::objects().get(site).await.unwrap(), parcel);
            let hex = "UPDATE shop_parcel SET code = replace(code, '-', '')";
            let keys = "UPDATE shop_label SET parcel_id = replace(parcel_id, '-', '')";
            site.db().script(&format!("BEGIN; {hex}; {keys}; COMMIT")).await.unwrap();
        }
        parcel.delete(site).await.unwrap();
        assert_eq!(Label::objects().count(site).await.unwrap(), 0);
    }
}

#[test]
fn paths_that_lead_out_of_the_media_folder_are_refused() {
    let check = |path: &str, fits: bool| assert_eq!(File::new(path).is_ok(), fits, "{path:?}");
    check("", true);
    check("a.txt", true);
    check("2026/11/ü 1..txt", true);
    check("..a/b..", true);
    check("/etc/passwd", false);
    check("..", false);
    check("a/../../b", false);
    check("a/..", false);
    check("./a", false);
    check("a//b", false);
    check("a/", false);
    check("a\\..\\b", false);
    check("C:evil", false);
    check("a\0.txt", false);
    check("a\n.txt", false);
    let check = |path: &str, fits: bool| assert_eq!(Image::new(path).is_ok(), fits, "{path:?}");
    check("", true);
    check("a.png", true);
    check("a/b.JPEG", true);
    check("a.svg", false);
    check("a.png.exe", false);
    check("a.png/b", false);
    check("png", false);
    check("../a.png", false);
}
