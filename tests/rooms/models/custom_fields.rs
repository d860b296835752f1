//! A site's own types of fields: one trait, few lines, at home everywhere.

use hulse::db::Value;
use hulse::fixtures::{Dump, Load, Source, dump, load};
use hulse::migrations::{FieldState, Kind};
use hulse::models::{Expression, FieldKind, FieldType, Id, Model, Plain};
use serde::Serialize;

use super::fields::shops;

/// Stored as `#rrggbb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Color(u8, u8, u8);

impl Color {
    const RED: Self = Self(255, 0, 0);

    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        let part = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        Some(Self(part(0)?, part(2)?, part(4)?))
    }
}

impl FieldType for Color {
    const KIND: FieldKind = FieldKind::Char;
    const MAX_LENGTH: Option<u32> = Some(7);
    type Column = Expression<Self>;

    fn unset() -> Self {
        Self(0, 0, 0)
    }

    fn value(&self) -> Option<Value> {
        Some(format!("#{:02x}{:02x}{:02x}", self.0, self.1, self.2).into())
    }

    fn from_stored(value: Value) -> Option<Self> {
        Self::parse(&String::from_stored(value)?)
    }
}

impl Plain for Color {}

/// Cents, stored as a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Money(i64);

impl FieldType for Money {
    const KIND: FieldKind = FieldKind::BigInteger;
    type Column = Expression<Self>;

    fn unset() -> Self {
        Self(0)
    }

    fn value(&self) -> Option<Value> {
        self.0.value()
    }

    fn from_stored(value: Value) -> Option<Self> {
        i64::from_stored(value).map(Self)
    }
}

impl Plain for Money {}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "a validator is given a reference")]
fn not_black(color: &Color) -> Result<(), &'static str> {
    if *color == Color(0, 0, 0) { Err("Black is taken.") } else { Ok(()) }
}

#[derive(Model, Debug, Clone, PartialEq)]
#[model(app = "shop")]
pub(crate) struct Paint {
    pub id: Id,
    #[field(default = Color::RED, unique, validators = [not_black])]
    pub color: Color,
    #[field(default = "#0000ff")]
    pub edge: Color,
    pub glow: Option<Color>,
    #[field(default = 250)]
    pub price: Money,
    pub before: Option<Money>,
}

#[tokio::test]
async fn a_type_of_the_sites_own_is_stored_found_and_ordered() {
    for shop in shops(&[Paint::meta()]).await {
        let site = &shop.site;
        let red = Paint::create(site, Paint::default()).await.unwrap();
        assert_eq!((red.color, red.edge, red.price), (Color::RED, Color(0, 0, 255), Money(250)));
        let color = Color(1, 2, 254);
        let dear = Paint {
            color,
            glow: Some(color),
            price: Money(9_000_000_000),
            before: Some(Money(-1)),
            ..Paint::default()
        };
        let dear = Paint::create(site, dear).await.unwrap();
        let found = Paint::objects()
            .filter(|p| p.color().eq(color) & p.glow().in_([color]) & p.price().gt(Money(250)))
            .exclude(|p| p.before().eq(None::<Money>));
        assert_eq!(found.get(site).await.unwrap(), dear);
        let all = Paint::objects().order_by(|p| p.price().desc()).all(site).await.unwrap();
        assert_eq!(all, [dear, red]);
        let all = Paint::objects();
        all.update(site, |p| p.edge().set(Color(9, 9, 9))).await.unwrap();
        let nines = Paint::objects().filter(|p| p.edge().eq(Color(9, 9, 9)));
        assert_eq!(nines.count(site).await.unwrap(), 2);
        let again = Paint::create(site, Paint::default()).await.unwrap_err();
        assert!(again.is_unique_violation());
    }
}

#[tokio::test]
async fn a_type_of_the_sites_own_goes_through_fixtures_and_names() {
    for shop in shops(&[Paint::meta()]).await {
        let site = &shop.site;
        let made = Paint { glow: Some(Color(1, 2, 3)), ..Paint::default() };
        let made = Paint::create(site, made).await.unwrap();
        let mut text = Vec::new();
        let all = Dump { models: vec![Paint::meta()], ..Dump::default() };
        dump(site, &all, &mut text, &mut |_| {}).await.unwrap();
        Paint::objects().delete(site).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("paints.json");
        std::fs::write(&path, &text).unwrap();
        load(site, &[Source::File(path)], Load::default(), &mut |_| {}).await.unwrap();
        assert_eq!(Paint::objects().get(site).await.unwrap(), made);
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.contains("\"glow\": \"#010203\"") && text.contains("\"price\": 250"),
            "{text}"
        );
        let named = Paint::objects().filter_by("glow", "#010203").order_by_names(["-price"]);
        assert_eq!(named.count(site).await.unwrap(), 1);
        let values = Paint::objects().values(|p| (p.glow(), p.price().max()));
        assert_eq!(values.get(site).await.unwrap(), (made.glow, Some(Money(250))));
        let black = Paint { color: Color(0, 0, 0), ..Paint::default() };
        assert!(black.full_clean(site).await.unwrap_err().is_validation());
    }
}

#[tokio::test]
async fn what_is_none_is_told_with_the_field() {
    for shop in shops(&[Paint::meta()]).await {
        let site = &shop.site;
        Paint::create(site, Paint::default()).await.unwrap();
        site.db().script("UPDATE shop_paint SET edge = 'blue'").await.unwrap();
        let error = Paint::objects().first(site).await.unwrap_err();
        assert!(error.is_field());
        assert!(error.to_string().contains("shop.Paint.edge"), "{error}");
    }
}

#[test]
fn migrations_see_the_column_it_is_stored_in() {
    let state = |name: &str| FieldState::of(Paint::meta().field(name).unwrap());
    assert_eq!((state("color").kind, state("color").max_length), (Kind::Char, Some(7)));
    assert_eq!(state("before").kind, Kind::BigInteger);
    assert!(state("before").null && state("color").unique);
}
