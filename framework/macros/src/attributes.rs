//! `#[model(..)]` and `#[field(..)]`, parsed.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, Ident, Lit, LitInt, LitStr, Result, Token, UnOp};

/// What `#[model(..)]` says.
#[derive(Default)]
pub(crate) struct ModelAttributes {
    pub(crate) app: Option<LitStr>,
    pub(crate) table: Option<LitStr>,
    pub(crate) ordering: Vec<LitStr>,
    pub(crate) indexes: Vec<Index>,
    pub(crate) hooks: bool,
    pub(crate) natural_key: Vec<LitStr>,
}

/// Columns by field names, `-` in front for descending.
pub(crate) struct Index {
    pub(crate) fields: Vec<LitStr>,
    pub(crate) unique: bool,
}

const MODEL: [&str; 7] = ["app", "table", "ordering", "index", "unique", "hooks", "natural_key"];

impl ModelAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut all = Self::default();
        for attribute in attributes.iter().filter(|one| one.path().is_ident("model")) {
            attribute.parse_nested_meta(|meta| all.take(&meta))?;
        }
        Ok(all)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match name(meta).as_str() {
            "app" => self.app = Some(meta.value()?.parse()?),
            "table" => self.table = Some(meta.value()?.parse()?),
            "hooks" => self.hooks = true,
            "ordering" => {
                let content;
                let value = meta.value()?;
                syn::bracketed!(content in value);
                let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?;
                self.ordering = names.into_iter().collect();
            }
            "natural_key" => self.natural_key = columns(meta)?,
            "index" => self.indexes.push(Index { fields: columns(meta)?, unique: false }),
            "unique" => self.indexes.push(Index { fields: columns(meta)?, unique: true }),
            other => return Err(unknown(meta.path.span(), "model", other, &MODEL)),
        }
        Ok(())
    }
}

/// `(author, -created)`
fn columns(meta: &ParseNestedMeta<'_>) -> Result<Vec<LitStr>> {
    let content;
    syn::parenthesized!(content in meta.input);
    let names = Punctuated::<Expr, Token![,]>::parse_terminated(&content)?;
    names.iter().map(column).collect()
}

fn column(name: &Expr) -> Result<LitStr> {
    match name {
        Expr::Path(path) if path.path.get_ident().is_some() => {
            Ok(LitStr::new(&path.path.require_ident()?.to_string(), name.span()))
        }
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            let inner = column(&unary.expr)?;
            Ok(LitStr::new(&format!("-{}", inner.value()), name.span()))
        }
        other => Err(syn::Error::new(other.span(), "name a field: `index(author, -created)`")),
    }
}

/// What `#[field(..)]` says.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one word of the attribute")]
pub(crate) struct FieldAttributes {
    pub(crate) max_length: Option<LitInt>,
    pub(crate) text: bool,
    pub(crate) unique: bool,
    pub(crate) index: bool,
    pub(crate) primary_key: Option<Span>,
    pub(crate) default: Option<FieldDefault>,
    pub(crate) auto_now: bool,
    pub(crate) auto_now_add: bool,
    pub(crate) on_delete: Option<OnDelete>,
    pub(crate) secret: bool,
    pub(crate) max_digits: Option<LitInt>,
    pub(crate) decimal_places: Option<LitInt>,
    pub(crate) upload_to: Option<LitStr>,
}

/// What deleting the row it points to does.
pub(crate) enum OnDelete {
    Cascade,
    Protect,
    Restrict,
    SetNull,
    SetDefault,
    /// An async function from the site to the row to point to instead.
    Set(syn::Path),
    DoNothing,
}

impl Parse for OnDelete {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let action: Ident = input.parse()?;
        Ok(match action.to_string().as_str() {
            "cascade" => Self::Cascade,
            "protect" => Self::Protect,
            "restrict" => Self::Restrict,
            "set_null" => Self::SetNull,
            "set_default" => Self::SetDefault,
            "set" => {
                let path;
                syn::parenthesized!(path in input);
                Self::Set(path.parse()?)
            }
            "do_nothing" => Self::DoNothing,
            _ => {
                let words = "`on_delete` is one of cascade, protect, restrict, set_null, \
                             set_default, set(function), do_nothing";
                return Err(syn::Error::new(action.span(), words));
            }
        })
    }
}

/// A value, or a variant of an enum of choices.
pub(crate) enum FieldDefault {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Choice(Expr),
}

const FIELD: [&str; 13] = [
    "max_length",
    "text",
    "unique",
    "index",
    "primary_key",
    "default",
    "auto_now",
    "auto_now_add",
    "on_delete",
    "secret",
    "max_digits",
    "decimal_places",
    "upload_to",
];

/// Most digits of a decimal: those that 96 bits always hold.
const DIGITS_MAX: u32 = 28;

impl FieldAttributes {
    pub(crate) fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut all = Self::default();
        for attribute in attributes.iter().filter(|one| one.path().is_ident("field")) {
            attribute.parse_nested_meta(|meta| all.take(&meta))?;
        }
        Ok(all)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        match name(meta).as_str() {
            "max_length" => self.max_length = Some(meta.value()?.parse()?),
            "text" => self.text = true,
            "unique" => self.unique = true,
            "index" => self.index = true,
            "primary_key" => self.primary_key = Some(meta.path.span()),
            "default" => self.default = Some(default(&meta.value()?.parse()?)?),
            "auto_now" => self.auto_now = true,
            "auto_now_add" => self.auto_now_add = true,
            "on_delete" => self.on_delete = Some(meta.value()?.parse()?),
            "secret" => self.secret = true,
            "max_digits" => self.max_digits = Some(meta.value()?.parse()?),
            "decimal_places" => self.decimal_places = Some(meta.value()?.parse()?),
            "upload_to" => self.upload_to = Some(meta.value()?.parse()?),
            other => return Err(unknown(meta.path.span(), "field", other, &FIELD)),
        }
        Ok(())
    }
}

impl FieldAttributes {
    /// `max_digits` and `decimal_places`.
    pub(crate) fn digits(&self) -> Result<Option<(u32, u32)>> {
        let (digits, places) = match (&self.max_digits, &self.decimal_places) {
            (Some(digits), Some(places)) => (digits, places),
            (None, None) => return Ok(None),
            (Some(one), None) | (None, Some(one)) => {
                let words = "`max_digits` and `decimal_places` go together";
                return Err(syn::Error::new(one.span(), words));
            }
        };
        let most: u32 = digits.base10_parse()?;
        let after: u32 = places.base10_parse()?;
        if most == 0 || most > DIGITS_MAX {
            let words = format!("a decimal has 1 to {DIGITS_MAX} digits");
            return Err(syn::Error::new(digits.span(), words));
        }
        if after > most {
            let words = format!("{after} places do not fit into {most} digits");
            return Err(syn::Error::new(places.span(), words));
        }
        Ok(Some((most, after)))
    }
}

fn default(value: &Expr) -> Result<FieldDefault> {
    match value {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Bool(value) => Ok(FieldDefault::Bool(value.value)),
            Lit::Int(value) => Ok(FieldDefault::Int(value.base10_parse()?)),
            Lit::Float(value) => Ok(FieldDefault::Float(value.base10_parse()?)),
            Lit::Str(value) => Ok(FieldDefault::Text(value.value())),
            other => Err(not_a_default(other.span())),
        },
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => match default(&unary.expr)? {
            FieldDefault::Int(value) => Ok(FieldDefault::Int(-value)),
            FieldDefault::Float(value) => Ok(FieldDefault::Float(-value)),
            _ => Err(not_a_default(value.span())),
        },
        Expr::Path(_) => Ok(FieldDefault::Choice(value.clone())),
        other => Err(not_a_default(other.span())),
    }
}

fn not_a_default(span: Span) -> syn::Error {
    let words = "a default is `true`, `7`, `0.5`, `\"text\"` or a variant such as `Status::Draft`";
    syn::Error::new(span, words)
}

pub(crate) fn name(meta: &ParseNestedMeta<'_>) -> String {
    meta.path.get_ident().map(Ident::to_string).unwrap_or_default()
}

pub(crate) fn unknown(span: Span, attribute: &str, name: &str, known: &[&str]) -> syn::Error {
    let near = nearest(name, known).map(|near| format!("; did you mean `{near}`?"));
    let known = known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let near = near.unwrap_or_default();
    syn::Error::new(span, format!("`#[{attribute}(..)]` knows no `{name}`{near}\nknown: {known}"))
}

/// Most edits between a word and one it is mistaken for.
const EDITS_MAX: usize = 3;

/// The known word nearest to `word`, if one is near.
pub(crate) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let nearest = known.iter().min_by_key(|other| distance(word, other))?;
    (distance(word, nearest) <= EDITS_MAX.min(word.len() / 2)).then_some(nearest)
}

/// How many letters must be added, removed or changed.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<_> = other.chars().collect();
    let mut row: Vec<_> = (0..=other.len()).collect();
    for (above, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, against) in other.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *against);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[other.len()]
}
