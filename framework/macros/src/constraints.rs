//! `index(..)`, `unique(..)` and `check(..)` of `#[model(..)]`, parsed and expanded.

use proc_macro2::TokenStream;
use quote::quote;
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Expr, ExprAssign, ExprClosure, Ident, Lit, LitStr, Result, Token, UnOp};

use crate::describe::optional;

/// What stands between the parentheses: fields, `-` in front for descending, and options.
pub(crate) struct Constraint {
    pub(crate) kind: Kind,
    pub(crate) fields: Vec<LitStr>,
    name: Option<LitStr>,
    condition: Option<ExprClosure>,
    nulls_distinct: bool,
    message: Option<LitStr>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Index,
    Unique,
    Check,
}

impl Kind {
    fn example(self) -> &'static str {
        match self {
            Self::Index => "name a field: `index(author, -created)`",
            Self::Unique => "name a field: `unique(author, slug)`",
            Self::Check => "a check is `check(name = \"price_positive\", |p| p.price().gt(0))`",
        }
    }

    fn knows(self, option: &Ident) -> bool {
        match self {
            Self::Index => option == "name" || option == "condition",
            Self::Unique => {
                ["name", "condition", "nulls_distinct", "message"].iter().any(|it| option == it)
            }
            Self::Check => option == "name" || option == "message",
        }
    }
}

impl Constraint {
    pub(crate) fn parse(kind: Kind, meta: &ParseNestedMeta<'_>) -> Result<Self> {
        let mut all = Self {
            kind,
            fields: Vec::new(),
            name: None,
            condition: None,
            nulls_distinct: true,
            message: None,
        };
        for item in parts(meta)? {
            match item {
                Expr::Assign(option) => all.option(&option)?,
                Expr::Closure(closure) if kind == Kind::Check => all.condition = Some(closure),
                field if kind != Kind::Check => all.fields.push(column(&field, kind)?),
                other => return Err(syn::Error::new(other.span(), kind.example())),
            }
        }
        let span = meta.path.span();
        match kind {
            Kind::Check if all.condition.is_none() || all.name.is_none() => {
                Err(syn::Error::new(span, kind.example()))
            }
            Kind::Index | Kind::Unique if all.fields.is_empty() => {
                Err(syn::Error::new(span, kind.example()))
            }
            _ => Ok(all),
        }
    }

    fn option(&mut self, option: &ExprAssign) -> Result<()> {
        let unfit = |words: &str| Err(syn::Error::new(option.span(), words));
        let Expr::Path(word) = &*option.left else { return unfit(self.kind.example()) };
        let word = word.path.require_ident()?;
        if !self.kind.knows(word) {
            return unfit(&format!("there is no option `{word}` here"));
        }
        match &*option.right {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) if word == "name" => self.name = Some(text.clone()),
                Lit::Str(text) if word == "message" => self.message = Some(text.clone()),
                Lit::Bool(flag) if word == "nulls_distinct" => self.nulls_distinct = flag.value,
                _ => {
                    return unfit(
                        "`name = \"..\"`, `message = \"..\"` or `nulls_distinct = false`",
                    );
                }
            },
            Expr::Closure(closure) if word == "condition" => self.condition = Some(closure.clone()),
            _ => return unfit("a condition is a closure: `condition = |p| p.live().eq(true)`"),
        }
        Ok(())
    }

    /// The expression of it in the description of `model`.
    pub(crate) fn describe(&self, model: &Ident) -> TokenStream {
        let Self { fields, nulls_distinct, .. } = self;
        let name = self.name.as_ref().map_or(String::new(), LitStr::value);
        let models = quote! { ::hulse::models };
        let message = optional(self.message.as_ref().map(|words| quote! { #words }));
        let condition = self.condition.as_ref().map(|closure| {
            quote! { #models::Condition(|| #models::derive::condition::<#model>(#closure)) }
        });
        match self.kind {
            Kind::Index => {
                let condition = optional(condition);
                quote! {
                    #models::Index { name: #name, fields: &[#(#fields),*], condition: #condition }
                }
            }
            Kind::Unique => {
                let condition = optional(condition);
                quote! {
                    #models::Constraint {
                        name: #name,
                        kind: #models::ConstraintKind::Unique {
                            fields: &[#(#fields),*],
                            condition: #condition,
                            nulls_distinct: #nulls_distinct,
                        },
                        message: #message,
                    }
                }
            }
            Kind::Check => quote! {
                #models::Constraint {
                    name: #name,
                    kind: #models::ConstraintKind::Check(#condition),
                    message: #message,
                }
            },
        }
    }
}

/// `(author, -created)`
pub(crate) fn columns(meta: &ParseNestedMeta<'_>) -> Result<Vec<LitStr>> {
    parts(meta)?.iter().map(|name| column(name, Kind::Index)).collect()
}

fn parts(meta: &ParseNestedMeta<'_>) -> Result<Punctuated<Expr, Token![,]>> {
    let content;
    syn::parenthesized!(content in meta.input);
    Punctuated::parse_terminated(&content)
}

fn column(name: &Expr, kind: Kind) -> Result<LitStr> {
    match name {
        Expr::Path(path) if path.path.get_ident().is_some() => {
            Ok(LitStr::new(&path.path.require_ident()?.to_string(), name.span()))
        }
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) && kind == Kind::Index => {
            let inner = column(&unary.expr, kind)?;
            Ok(LitStr::new(&format!("-{}", inner.value()), name.span()))
        }
        other => Err(syn::Error::new(other.span(), kind.example())),
    }
}
