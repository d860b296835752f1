//! `#[model(..)]` and `#[field(..)]`, parsed.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, Ident, Lit, LitBool, LitInt, LitStr, Path, Result, Token, UnOp, token};

use crate::constraints::{Constraint, Kind, columns};
use crate::words::unknown;

/// What `#[model(..)]` says.
#[derive(Default)]
pub(crate) struct ModelAttributes {
    pub(crate) app: Option<LitStr>,
    pub(crate) table: Option<LitStr>,
    pub(crate) ordering: Vec<LitStr>,
    pub(crate) constraints: Vec<Constraint>,
    pub(crate) hooks: bool,
    pub(crate) natural_key: Vec<LitStr>,
    pub(crate) verbose_name: Option<LitStr>,
    pub(crate) verbose_name_plural: Option<LitStr>,
    pub(crate) get_latest_by: Vec<LitStr>,
    pub(crate) managed: Option<LitBool>,
    /// Codename and what people read.
    pub(crate) permissions: Vec<(LitStr, LitStr)>,
    pub(crate) default_permissions: Option<Vec<LitStr>>,
}

const MODEL: [&str; 14] = [
    "app",
    "table",
    "ordering",
    "index",
    "unique",
    "check",
    "hooks",
    "natural_key",
    "verbose_name",
    "verbose_name_plural",
    "get_latest_by",
    "managed",
    "permissions",
    "default_permissions",
];

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
            "ordering" => self.ordering = texts(meta)?,
            "natural_key" => self.natural_key = columns(meta)?,
            "index" => self.constraints.push(Constraint::parse(Kind::Index, meta)?),
            "unique" => self.constraints.push(Constraint::parse(Kind::Unique, meta)?),
            "check" => self.constraints.push(Constraint::parse(Kind::Check, meta)?),
            "verbose_name" => self.verbose_name = Some(meta.value()?.parse()?),
            "verbose_name_plural" => self.verbose_name_plural = Some(meta.value()?.parse()?),
            "get_latest_by" => self.get_latest_by = texts(meta)?,
            "managed" => self.managed = Some(meta.value()?.parse()?),
            "permissions" => self.permissions = permissions(meta)?,
            "default_permissions" => self.default_permissions = Some(default_permissions(meta)?),
            other => return Err(unknown(meta.path.span(), "model", other, &MODEL)),
        }
        Ok(())
    }
}

/// `= "created"` or `= ["-created", "id"]`
fn texts(meta: &ParseNestedMeta<'_>) -> Result<Vec<LitStr>> {
    let value = meta.value()?;
    if !value.peek(token::Bracket) {
        return Ok(vec![value.parse()?]);
    }
    let content;
    syn::bracketed!(content in value);
    let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&content)?;
    Ok(names.into_iter().collect())
}

/// What every model has permissions for.
const DEFAULT_PERMISSIONS: [&str; 4] = ["add", "change", "delete", "view"];

/// Longest codename and longest name of a permission, characters; the columns' lengths.
const CODENAME_MAX: usize = 100;
const PERMISSION_NAME_MAX: usize = 255;

/// `permissions(publish_post = "Can publish posts")`
fn permissions(meta: &ParseNestedMeta<'_>) -> Result<Vec<(LitStr, LitStr)>> {
    let mut all: Vec<(LitStr, LitStr)> = Vec::new();
    meta.parse_nested_meta(|one| {
        let codename = LitStr::new(&one.path.require_ident()?.to_string(), one.path.span());
        let name: LitStr = one.value()?.parse()?;
        let words = if all.iter().any(|(known, _)| known.value() == codename.value()) {
            "this permission is there twice"
        } else if codename.value().len() > CODENAME_MAX {
            "a codename has at most 100 characters"
        } else if name.value().chars().count() > PERMISSION_NAME_MAX {
            "a permission's name has at most 255 characters"
        } else {
            all.push((codename, name));
            return Ok(());
        };
        Err(syn::Error::new(codename.span(), words))
    })?;
    Ok(all)
}

/// `default_permissions = ["view"]`
fn default_permissions(meta: &ParseNestedMeta<'_>) -> Result<Vec<LitStr>> {
    let actions = texts(meta)?;
    match actions.iter().find(|one| !DEFAULT_PERMISSIONS.contains(&one.value().as_str())) {
        Some(other) => {
            let words = "`default_permissions` are some of \"add\", \"change\", \"delete\", \
                         \"view\"; others go into `permissions(..)`";
            Err(syn::Error::new(other.span(), words))
        }
        None => Ok(actions),
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
    pub(crate) column: Option<LitStr>,
    pub(crate) default: Option<FieldDefault>,
    pub(crate) default_fn: Option<Expr>,
    pub(crate) auto_now: bool,
    pub(crate) auto_now_add: bool,
    pub(crate) on_delete: Option<OnDelete>,
    pub(crate) max_digits: Option<LitInt>,
    pub(crate) decimal_places: Option<LitInt>,
    pub(crate) upload_to: Option<LitStr>,
    pub(crate) blank: bool,
    pub(crate) editable: Option<LitBool>,
    pub(crate) verbose_name: Option<LitStr>,
    pub(crate) help_text: Option<LitStr>,
    pub(crate) secret: bool,
    /// Whether it is a base, whose fields are the model's.
    pub(crate) flatten: bool,
    /// What is asked of a value, in the order written.
    pub(crate) validators: Vec<Validator>,
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

/// A value known where the model is written, or an expression for one.
pub(crate) enum FieldDefault {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Expression(Expr),
}

/// A question to a value.
pub(crate) enum Validator {
    /// `email`, `slug`, `url`: the function of this name in `hulse::models::validators`.
    Named(Ident),
    /// `min_value = 1`, `max_value = "9.99"`
    Limit(Ident, FieldDefault),
    /// `min_length = 3`
    MinLength(LitInt),
    /// `regex = "^[a-z]+$"`
    Regex(LitStr),
    /// One of `validators = [..]`.
    Own(Path),
}

const FIELD: [&str; 28] = [
    "max_length",
    "text",
    "unique",
    "index",
    "primary_key",
    "column",
    "default",
    "default_fn",
    "auto_now",
    "auto_now_add",
    "on_delete",
    "max_digits",
    "decimal_places",
    "upload_to",
    "blank",
    "editable",
    "verbose_name",
    "help_text",
    "secret",
    "email",
    "slug",
    "url",
    "min_value",
    "max_value",
    "min_length",
    "regex",
    "validators",
    "flatten",
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
            "column" => self.column = Some(meta.value()?.parse()?),
            "default" => self.default = Some(default(&meta.value()?.parse()?)?),
            "default_fn" => self.default_fn = Some(meta.value()?.parse()?),
            "auto_now" => self.auto_now = true,
            "auto_now_add" => self.auto_now_add = true,
            "on_delete" => self.on_delete = Some(meta.value()?.parse()?),
            "max_digits" => self.max_digits = Some(meta.value()?.parse()?),
            "decimal_places" => self.decimal_places = Some(meta.value()?.parse()?),
            "upload_to" => self.upload_to = Some(meta.value()?.parse()?),
            "blank" => self.blank = true,
            "editable" => self.editable = Some(meta.value()?.parse()?),
            "verbose_name" => self.verbose_name = Some(meta.value()?.parse()?),
            "help_text" => self.help_text = Some(meta.value()?.parse()?),
            "secret" => self.secret = true,
            "flatten" => self.flatten = true,
            other => return self.take_validator(other, meta),
        }
        Ok(())
    }

    fn take_validator(&mut self, word: &str, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let ident = || meta.path.require_ident().cloned();
        let one = match word {
            "email" | "slug" | "url" => Validator::Named(ident()?),
            "min_value" | "max_value" => {
                let value: Expr = meta.value()?.parse()?;
                match default(&value)? {
                    FieldDefault::Expression(_) => return Err(not_a_default(value.span())),
                    limit => Validator::Limit(ident()?, limit),
                }
            }
            "min_length" => Validator::MinLength(meta.value()?.parse()?),
            "regex" => Validator::Regex(meta.value()?.parse()?),
            "validators" => {
                let content;
                let value = meta.value()?;
                syn::bracketed!(content in value);
                let paths = Punctuated::<Path, Token![,]>::parse_terminated(&content)?;
                self.validators.extend(paths.into_iter().map(Validator::Own));
                return Ok(());
            }
            other => return Err(unknown(meta.path.span(), "field", other, &FIELD)),
        };
        self.validators.push(one);
        Ok(())
    }

    /// The length it says, or the one that `email`, `slug` and `url` have in Django.
    pub(crate) fn length(&self) -> Result<Option<u32>> {
        if let Some(length) = &self.max_length {
            return length.base10_parse().map(Some);
        }
        if self.text {
            return Ok(None);
        }
        Ok(self.validators.iter().find_map(|one| match one {
            Validator::Named(word) if word == "email" => Some(254),
            Validator::Named(word) if word == "slug" => Some(50),
            Validator::Named(word) if word == "url" => Some(200),
            _ => None,
        }))
    }

    /// Whether it says `slug`: looked up by, so indexed.
    pub(crate) fn is_slug(&self) -> bool {
        let is_slug = |one: &Validator| matches!(one, Validator::Named(word) if word == "slug");
        self.validators.iter().any(is_slug)
    }

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
        other => Ok(FieldDefault::Expression(other.clone())),
    }
}

fn not_a_default(span: Span) -> syn::Error {
    let words = "a value here is `true`, `7`, `0.5`, `\"text\"`, or an expression of the field's \
                 type such as `Status::Draft`";
    syn::Error::new(span, words)
}

pub(crate) fn name(meta: &ParseNestedMeta<'_>) -> String {
    meta.path.get_ident().map(Ident::to_string).unwrap_or_default()
}
