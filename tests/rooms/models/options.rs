//! What `#[model(..)]` and `#[field(..)]` say, as the description has it.

use chrono::{NaiveDate, TimeDelta};
use hulse::db::Value;
use hulse::models::{
    Choices, ConstraintKind, Decimal, Default as FieldDefault, FieldKind, FieldType, Id, Meta,
    Model, Uuid,
};

use super::fields::shops;

#[derive(Choices, Debug, Clone, Copy, PartialEq, Eq)]
#[choices(i16)]
pub(crate) enum Priority {
    #[choice(label = "Can wait")]
    Low = -1,
    Normal = 0,
    VeryHigh = 10,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "a validator is given a reference")]
fn even(number: &i32) -> Result<(), String> {
    if number % 2 == 0 { Ok(()) } else { Err(format!("{number} is not even.")) }
}

fn no_spam(text: &str) -> hulse::Result<()> {
    if text.contains("spam") { Err(hulse::Error::new("No spam.")) } else { Ok(()) }
}

fn fourteen_days() -> TimeDelta {
    TimeDelta::days(14)
}

#[derive(Model, Debug, Clone)]
#[model(
    app = "shop",
    verbose_name = "thing for sale",
    verbose_name_plural = "things for sale",
    get_latest_by = "-added",
    index(name = "item_open", name_text, -added, condition = |i| i.open().eq(true)),
    unique(name_text, added),
    unique(name = "item_code", code, condition = |i| !i.code().eq(""), nulls_distinct = false),
    check(name = "item_price_positive", |i| i.price().gte(Decimal::ZERO) & i.count().lt(100)),
)]
pub(crate) struct Item {
    pub id: Id,
    #[field(max_length = 30, column = "name", verbose_name = "title", help_text = "As printed.")]
    pub name_text: String,
    #[field(max_length = 20, blank, editable = false, regex = "^[a-z]*$", min_length = 2)]
    pub code: Option<String>,
    #[field(email, unique)]
    pub contact: String,
    #[field(slug)]
    pub slug: String,
    #[field(url, max_length = 500)]
    pub site: String,
    #[field(text, validators = [no_spam])]
    pub body: String,
    #[field(max_digits = 8, decimal_places = 2, min_value = 0, max_value = "99.99")]
    pub price: Decimal,
    #[field(validators = [even], min_value = -4)]
    pub count: Option<i32>,
    #[field(default = Priority::Normal)]
    pub priority: Priority,
    #[field(default = TimeDelta::hours(36))]
    pub lasts: TimeDelta,
    #[field(default_fn = fourteen_days)]
    pub keeps: Option<TimeDelta>,
    #[field(default_fn = Uuid::new_v4)]
    pub token: Uuid,
    #[field(default = true)]
    pub open: bool,
    #[field(auto_now_add)]
    pub added: NaiveDate,
    #[field(default = 2.5)]
    pub weight: f64,
}

#[derive(Model, Debug, Clone)]
#[model(app = "shop", managed = false, table = "old_things")]
pub(crate) struct Legacy {
    pub id: Id,
}

#[expect(clippy::needless_pass_by_value, reason = "the cases read better without `&`")]
fn ask(meta: &Meta, field: &str, value: Value) -> Result<(), String> {
    let field = meta.field(field).unwrap();
    field.validators.iter().try_for_each(|validator| (validator.check)(&value))
}

#[test]
fn a_description_has_what_the_attributes_say() {
    let meta = Item::meta();
    assert_eq!(
        (meta.verbose_name, meta.verbose_name_plural),
        ("thing for sale", "things for sale")
    );
    assert_eq!((meta.get_latest_by, meta.managed), (["-added"].as_slice(), true));
    assert!(!Legacy::meta().managed);
    assert_eq!(Legacy::meta().verbose_name_plural, "legacys");
    let name = meta.field("name_text").unwrap();
    assert_eq!((name.column, name.verbose_name, name.help_text), ("name", "title", "As printed."));
    let code = meta.field("code").unwrap();
    assert!(code.blank && !code.editable);
    assert!(!name.blank && name.editable);
    let added = meta.field("added").unwrap();
    assert!(added.blank && !added.editable);
    let length = |field: &str| meta.field(field).unwrap().max_length;
    assert_eq!(
        (length("contact"), length("slug"), length("site")),
        (Some(254), Some(50), Some(500))
    );
    assert!(meta.field("slug").unwrap().index && !meta.field("contact").unwrap().index);
    assert_eq!(meta.field("price").unwrap().digits, Some((8, 2)));
    let words = meta.field("lasts").unwrap().default.clone();
    assert_eq!(words, Some(FieldDefault::Text("1 12:00:00")));
}

#[test]
fn indexes_and_constraints_have_names_and_conditions() {
    let meta = Item::meta();
    let [index] = meta.indexes.as_slice() else { panic!("{:?}", meta.indexes) };
    assert_eq!((index.name, index.fields), ("item_open", ["name_text", "-added"].as_slice()));
    assert!(index.condition.is_some());
    let [together, code, price] = meta.constraints.as_slice() else { panic!() };
    let ConstraintKind::Unique { fields, condition: None, nulls_distinct: true } = together.kind
    else {
        panic!("{together:?}")
    };
    assert_eq!((together.name, fields), ("", ["name_text", "added"].as_slice()));
    let ConstraintKind::Unique { fields, condition: Some(_), nulls_distinct: false } = code.kind
    else {
        panic!("{code:?}")
    };
    assert_eq!((code.name, fields), ("item_code", ["code"].as_slice()));
    assert_eq!(price.name, "item_price_positive");
    assert!(matches!(price.kind, ConstraintKind::Check(_)));
}

#[test]
fn validators_are_asked_the_stored_value() {
    let meta = Item::meta();
    let names: Vec<_> =
        meta.fields.iter().flat_map(|field| field.validators).map(|one| one.name).collect();
    let expected = "regex min_length email slug url no_spam min_value max_value even min_value";
    assert_eq!(names.join(" "), expected);
    let check = |field: &str, value: Value, words: &str| {
        let answer = ask(meta, field, value).err().unwrap_or_default();
        assert_eq!(answer, words, "{field}");
    };
    check("code", "ab".into(), "");
    check("code", "a".into(), "Ensure this value has at least 2 characters (it has 1).");
    check("code", "AB".into(), "Enter a valid value.");
    check("contact", "ann@example.com".into(), "");
    check("contact", "ann".into(), "Enter a valid email address.");
    check("body", "no spam".into(), "No spam.");
    check("count", 2.into(), "");
    check("count", 3.into(), "3 is not even.");
    check("count", (-6).into(), "Ensure this value is greater than or equal to -4.");
    let decimal = |text: &str| Value::from(text.parse::<Decimal>().unwrap());
    check("price", decimal("99.99"), "");
    check("price", decimal("100"), "Ensure this value is less than or equal to 99.99.");
    check("price", decimal("-0.01"), "Ensure this value is greater than or equal to 0.");
}

#[test]
fn a_function_gives_each_new_row_its_own_default() {
    let (one, two) = (Item::default(), Item::default());
    assert_ne!(one.token, two.token);
    assert_eq!(one.keeps, Some(TimeDelta::days(14)));
    assert_eq!(one.lasts, TimeDelta::hours(36));
    assert_eq!(one.priority, Priority::Normal);
    assert_eq!(one.price.to_string(), "0");
}

#[test]
fn choices_may_be_numbers() {
    assert_eq!(Priority::KIND, FieldKind::SmallInteger);
    assert_eq!(Priority::VeryHigh.label(), "Very high");
    assert_eq!(Priority::Low.label(), "Can wait");
    assert_eq!(Priority::from_value("10"), Some(Priority::VeryHigh));
    assert_eq!(Priority::from_value("1"), None);
    assert_eq!(<Priority as Choices>::CHOICES[0].value, "-1");
    assert_eq!(Item::meta().field("priority").unwrap().default, Some(FieldDefault::Int(0)));
    assert_eq!(serde_json::to_string(&Priority::Low).unwrap(), "-1");
}

#[derive(Model, Debug, Clone)]
#[model(app = "shop")]
pub(crate) struct Task {
    pub id: Id,
    #[field(default = Priority::Normal)]
    pub priority: Priority,
    pub other: Option<Priority>,
}

#[tokio::test]
async fn numbers_of_choices_are_stored_found_and_told_if_unknown() {
    for shop in shops(&[Task::meta()]).await {
        let site = &shop.site;
        let new = Task { other: Some(Priority::Low), ..Default::default() };
        Task::create(site, new).await.unwrap();
        let new = Task { priority: Priority::VeryHigh, ..Default::default() };
        Task::create(site, new).await.unwrap();
        let low = Task::objects().filter(|t| t.other().eq(Priority::Low)).get(site).await.unwrap();
        assert_eq!(low.priority.label(), "Normal");
        let high = Task::objects().filter(|t| t.priority().gt(Priority::Normal));
        assert_eq!(high.get(site).await.unwrap().other, None);
        site.db().script("UPDATE shop_task SET priority = 3").await.unwrap();
        let error = Task::objects().first(site).await.unwrap_err().to_string();
        assert!(error.contains("\"3\" is none of the choices -1, 0, 10"), "{error}");
    }
}
