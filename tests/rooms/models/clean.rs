//! `full_clean`: everything that is wrong with a row, told at once, and never by `save`.

use hulse::db::Value;
use hulse::models::{
    ALL, Choices, Decimal, ForeignKey, Hooks, Id, Invalid, Model, full_clean, validators,
};
use hulse::{Error, Result, Site};

use super::fields::shops;

#[derive(Choices, Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Large,
}

#[derive(Model, Debug, Clone)]
#[model(app = "shop")]
pub(crate) struct Brand {
    pub id: Id,
    #[field(max_length = 20, unique)]
    pub name: String,
}

#[derive(Model, Debug, Clone)]
#[model(app = "shop", hooks, verbose_name = "tea pot", unique(brand, shelf))]
pub(crate) struct Pot {
    pub id: Id,
    #[field(max_length = 5)]
    pub name: String,
    #[field(max_length = 5, blank)]
    pub note: String,
    #[field(max_digits = 4, decimal_places = 2, max_value = 50)]
    pub price: Decimal,
    pub size: Size,
    #[field(on_delete = cascade)]
    pub brand: ForeignKey<Brand>,
    #[field(blank)]
    pub shelf: Option<i32>,
    #[field(email, blank, unique, verbose_name = "contact address")]
    pub contact: Option<String>,
    pub stock: Option<i32>,
    #[field(blank)]
    pub extra: serde_json::Value,
    #[field(auto_now_add)]
    pub added: chrono::NaiveDate,
}

impl Hooks for Pot {
    async fn clean(&self, site: &Site) -> Result<()> {
        if self.name == "away" {
            site.db().script("SELECT nothing FROM nowhere").await?;
        }
        let mut invalid = Invalid::new();
        if self.name == "lid" {
            invalid.add("name", "A lid is no pot.", "lid");
            invalid.add(ALL, "Look again.", "invalid");
        }
        if self.note == "one" {
            return Err(Error::invalid("note", "Not one."));
        }
        invalid.into_result()
    }
}

#[derive(Model, Debug, Clone)]
#[model(
    app = "shop",
    managed = false,
    check(name = "offer_order", |o| o.first().lte(o.last()), message = "Ends before it begins."),
    unique(name = "offer_one_open", code, condition = |o| o.open().eq(true)),
    unique(code, first, message = "That offer is made already."),
    unique(name = "", last, nulls_distinct = false),
)]
pub(crate) struct Offer {
    pub id: Id,
    #[field(max_length = 9)]
    pub code: String,
    pub open: bool,
    pub first: i32,
    #[field(blank)]
    pub last: Option<i32>,
}

fn wrong(answer: Result<()>) -> Vec<String> {
    let Err(error) = answer else { return Vec::new() };
    assert!(error.is_validation(), "{error}");
    let told = error.fields().iter();
    told.map(|one| format!("{} [{}] {}", one.field, one.code, one.message)).collect()
}

async fn brand(site: &Site) -> Brand {
    Brand::create(site, Brand { name: "Acme".into(), ..Default::default() }).await.unwrap()
}

fn pot(brand: &Brand) -> Pot {
    let stock = Some(1);
    Pot { name: "a".into(), brand: brand.into(), stock, ..Default::default() }
}

#[tokio::test]
async fn everything_wrong_is_told_at_once_field_by_field() {
    for shop in shops(&[Brand::meta(), Pot::meta()]).await {
        let site = &shop.site;
        let acme = brand(site).await;
        assert_eq!(wrong(pot(&acme).full_clean(site).await), [""; 0]);
        let row = Pot {
            note: "too long".into(),
            price: "500.125".parse().unwrap(),
            contact: Some("nobody".into()),
            ..Default::default()
        };
        let expected = [
            "name [blank] This field cannot be blank.",
            "note [max_length] Ensure this value has at most 5 characters (it has 8).",
            "price [max_digits] Ensure that there are no more than 4 digits in total.",
            "price [max_value] Ensure this value is less than or equal to 50.",
            "brand [null] This field cannot be null.",
            "contact [invalid] Enter a valid email address.",
            "stock [blank] This field cannot be blank.",
        ];
        assert_eq!(wrong(row.full_clean(site).await), expected);
        let answer = full_clean(&row, site, &["name", "note", "price", "brand", "stock"]).await;
        assert_eq!(wrong(answer), ["contact [invalid] Enter a valid email address."]);
        let error = full_clean(&row, site, &["nmae"]).await.unwrap_err();
        assert!(error.is_field() && error.to_string().contains("nmae"), "{error}");
    }
}

#[tokio::test]
async fn the_models_own_clean_adds_to_it() {
    for shop in shops(&[Brand::meta(), Pot::meta()]).await {
        let site = &shop.site;
        let acme = brand(site).await;
        let lid = Pot { name: "lid".into(), stock: None, ..pot(&acme) };
        let expected = [
            "stock [blank] This field cannot be blank.",
            "name [lid] A lid is no pot.",
            "__all__ [invalid] Look again.",
        ];
        assert_eq!(wrong(lid.full_clean(site).await), expected);
        let one = Pot { note: "one".into(), ..pot(&acme) };
        assert_eq!(wrong(one.full_clean(site).await), ["note [invalid] Not one."]);
        let away = Pot { name: "away".into(), ..pot(&acme) };
        let error = away.full_clean(site).await.unwrap_err();
        assert!(!error.is_validation() && error.fields().is_empty(), "{error}");
        let mut lid = lid;
        lid.save(site).await.expect("saving asks nothing of this");
    }
}

#[tokio::test]
async fn other_rows_are_looked_at_but_not_the_row_itself() {
    for shop in shops(&[Brand::meta(), Pot::meta()]).await {
        let site = &shop.site;
        let acme = brand(site).await;
        let contact = Some("a@example.com".to_owned());
        let first = Pot { shelf: Some(1), contact: contact.clone(), ..pot(&acme) };
        let first = Pot::create(site, first).await.unwrap();
        assert_eq!(wrong(first.full_clean(site).await), [""; 0]);
        let second = Pot { shelf: Some(1), contact, ..pot(&acme) };
        let expected = [
            "contact [unique] Tea pot with this Contact address already exists.",
            "__all__ [unique_together] Tea pot with this Brand and Shelf already exists.",
        ];
        assert_eq!(wrong(second.full_clean(site).await), expected);
        let nowhere = Pot { shelf: None, contact: None, ..second.clone() };
        Pot::create(site, nowhere.clone()).await.unwrap();
        assert_eq!(wrong(nowhere.full_clean(site).await), [""; 0], "NULLs differ");
        let gone = Pot { brand: ForeignKey::to(77), shelf: None, contact: None, ..second };
        let expected = ["brand [invalid] brand instance with id 77 does not exist."];
        assert_eq!(wrong(gone.full_clean(site).await), expected);
    }
}

#[tokio::test]
async fn conditions_of_constraints_are_answered_by_the_database() {
    let table = "CREATE TABLE shop_offer (id integer PRIMARY KEY, code varchar(9), \
                 open boolean, first integer, last integer);";
    for shop in shops(&[Brand::meta()]).await {
        let site = &shop.site;
        site.db().script(table).await.unwrap();
        let row = "INSERT INTO shop_offer VALUES (1, 'a', true, 1, 2), (2, 'b', false, 1, NULL)";
        site.db().script(row).await.unwrap();
        let check = async |code: &str, open: bool, range: (i32, Option<i32>), expected: &[&str]| {
            let (first, last) = range;
            let row = Offer { code: code.into(), open, first, last, ..Default::default() };
            assert_eq!(wrong(row.full_clean(site).await), expected, "{row:?}");
        };
        let open = "__all__ [constraint] Constraint “offer_one_open” is violated.";
        let order = "__all__ [constraint] Ends before it begins.";
        let last = "last [unique] Offer with this Last already exists.";
        check("a", false, (0, Some(3)), &[]).await;
        check("a", true, (0, Some(3)), &[open]).await;
        check("b", true, (0, Some(3)), &[]).await;
        check("a", true, (5, Some(4)), &[order, open]).await;
        check("c", true, (5, Some(2)), &[order, last]).await;
        check("c", true, (5, None), &[last]).await;
        let made = "__all__ [constraint] That offer is made already.";
        check("b", false, (1, Some(4)), &[made]).await;
        let own = Offer::objects().filter(|o| o.code().eq("a")).get(site).await.unwrap();
        assert_eq!(wrong(own.full_clean(site).await), [""; 0]);
    }
}

#[test]
fn a_description_cleans_values_of_rows_without_a_struct() {
    let meta = Pot::meta();
    let check = |field: &str, value: Value, expected: &str| {
        let mut invalid = Invalid::new();
        meta.field(field).unwrap().clean(&value, &mut invalid);
        assert_eq!(invalid.to_string(), expected, "{field} {value:?}");
    };
    check("size", "large".into(), "");
    check("size", "huge".into(), "size: Value 'huge' is not a valid choice.");
    check("name", Value::String(None), "name: This field cannot be null.");
    check("name", "a\0".into(), "name: Null characters are not allowed.");
    check("note", "".into(), "");
    check("extra", serde_json::json!({}).into(), "");
    let decimal = |text: &str| Value::from(text.parse::<Decimal>().unwrap());
    check("price", decimal("10.00"), "");
    check("price", decimal("0.001"), "price: Ensure that there are no more than 2 decimal places.");
    let words = "price: Ensure that there are no more than 2 digits before the decimal point. \
                 price: Ensure this value is less than or equal to 50.";
    check("price", decimal("100.0"), words);
}

#[test]
fn addresses_of_email_are_told_from_others() {
    let check =
        |text: &str, fits: bool| assert_eq!(validators::email(text).is_ok(), fits, "{text}");
    for text in [
        "email@here.com",
        "weirder-email@here.and.there.com",
        "email@[127.0.0.1]",
        "email@[2001:dB8::1]",
        "email@localhost",
        "test@domain.with.idn.tld.उदाहरण.परीक्षा",
        "\"test@test\"@example.com",
        "\"\\\t\"@here.com",
        "o'hara+x@a-b.museum",
    ] {
        check(text, true);
    }
    let long = format!("{}@example.com", "a".repeat(320));
    for text in [
        "",
        "abc",
        "abc@",
        "abc@bar",
        "a @x.cz",
        "abc@.com",
        "something@@somewhere.com",
        "email@[127.0.0.256]",
        "example@invalid-.com",
        "example@-invalid.com",
        "a@b.com\n",
        "a\n@b.com",
        "\"test@test\"\n@example.com",
        "trailingdot@shouldfail.com.",
        "a..b@x.org",
        long.as_str(),
    ] {
        check(text, false);
    }
}

#[test]
fn urls_and_slugs_are_told_from_others() {
    let check = |text: &str, fits: bool| assert_eq!(validators::url(text).is_ok(), fits, "{text}");
    for text in [
        "http://www.djangoproject.com/",
        "HTTPS://localhost:8000/a?b=%20#c",
        "http://valid-with-hyphens.com/",
        "http://user:pass@example.com:8080",
        "http://[2001:db8::1]:80/x",
        "ftps://foo.bar/baz",
        "http://例子.测试",
        "http://200.8.9.10/",
        "http://a.xn--p1ai",
        "http://exa.com.",
    ] {
        check(text, true);
    }
    let long = format!("http://example.com/{}", "a".repeat(2048));
    for text in [
        "",
        "no_scheme",
        "foo://bar.com",
        "javascript:alert(1)",
        "http://",
        "http://example",
        "http://.com",
        "http://-invalid.com",
        "http://1.1.1.1.1",
        "http://999.9.9.9",
        "http://exa mple.com",
        "http://a.com\n",
        "http://[::1",
        "http://[12:34::3a53]:123456/",
        "http://foo@bar@example.com",
        "http://a.b:80x/",
        long.as_str(),
    ] {
        check(text, false);
    }
    let check = |text: &str, fits: bool| assert_eq!(validators::slug(text).is_ok(), fits, "{text}");
    check("slug-ok_9", true);
    check("longer-slug-still-ok", true);
    check("", false);
    check("some@mail", false);
    check("some space\n", false);
    check("ü", false);
}
