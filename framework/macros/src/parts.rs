//! The struct as the derive understands it, checked as far as names and attributes go.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, Ident, LitStr, Result, Type, Visibility};

use crate::attributes::{FieldAttributes, ModelAttributes};
use crate::base::BaseParts;
use crate::deferred;
use crate::many::ManyParts;
use crate::words::nearest;

/// A model.
pub(crate) struct Parts<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) visibility: &'a Visibility,
    pub(crate) attributes: ModelAttributes,
    pub(crate) fields: Vec<FieldParts<'a>>,
    /// Where among `fields` the primary key is.
    pub(crate) key: usize,
    /// Relations that are no column.
    pub(crate) many: Vec<ManyParts<'a>>,
    /// Structs whose fields are the model's, too.
    pub(crate) bases: Vec<BaseParts<'a>>,
}

/// A field of a model.
pub(crate) struct FieldParts<'a> {
    pub(crate) ident: &'a Ident,
    /// Without `r#`.
    pub(crate) name: String,
    /// Its type, with the struct's name for `Self`; of a `Deferred<..>` what it holds.
    pub(crate) kind: Type,
    /// Whether it is a `Deferred<..>`.
    pub(crate) deferred: bool,
    pub(crate) attributes: FieldAttributes,
}

impl<'a> Parts<'a> {
    pub(crate) fn parse(input: &'a DeriveInput) -> Result<Self> {
        let mut parts = Self::parse_struct(input)?;
        parts.key = key(parts.name, &parts.fields)?;
        deferred::refuse_key(&parts.fields[parts.key])?;
        // Names of a base's fields are known only when the description is made.
        if parts.bases.is_empty() {
            parts.check_names()?;
        }
        Ok(parts)
    }

    /// A base: no key, no bases, nothing but columns.
    pub(crate) fn parse_abstract(input: &'a DeriveInput) -> Result<Self> {
        let parts = Self::parse_struct(input)?;
        if let Some(span) = parts.fields.iter().find_map(|field| field.attributes.primary_key) {
            return Err(syn::Error::new(span, "the primary key is the model's own"));
        }
        let others = parts.many.iter().map(|many| many.ident);
        if let Some(ident) = others.chain(parts.bases.iter().map(|base| base.ident)).next() {
            let words = "an abstract model has nothing but columns: put this into the models";
            return Err(syn::Error::new(ident.span(), words));
        }
        Ok(parts)
    }

    fn parse_struct(input: &'a DeriveInput) -> Result<Self> {
        if !input.generics.params.is_empty() {
            return Err(syn::Error::new(input.generics.span(), "a model has no generics"));
        }
        let Data::Struct(data) = &input.data else {
            return Err(syn::Error::new(input.ident.span(), "a model is a struct"));
        };
        let Fields::Named(named) = &data.fields else {
            return Err(syn::Error::new(input.ident.span(), "a model's fields have names"));
        };
        let attributes = ModelAttributes::parse(&input.attrs)?;
        let (mut fields, mut many, mut bases) = (Vec::new(), Vec::new(), Vec::new());
        for field in &named.named {
            let Some(ident) = &field.ident else { continue };
            let name = ident.to_string().trim_start_matches("r#").to_owned();
            let kind = syn::parse2(named_self(field.ty.to_token_stream(), &input.ident))?;
            if let Some(relation) = ManyParts::parse(field, ident, &kind)? {
                many.push(relation);
                continue;
            }
            let attributes = FieldAttributes::parse(&field.attrs)?;
            if attributes.flatten {
                bases.push(BaseParts { ident, kind });
                continue;
            }
            let (kind, deferred) = deferred::held(kind);
            let field = FieldParts { ident, name, kind, deferred, attributes };
            deferred::refuse_times(&field)?;
            fields.push(field);
        }
        let (name, visibility) = (&input.ident, &input.vis);
        Ok(Self { name, visibility, attributes, fields, key: usize::MAX, many, bases })
    }

    /// Names in `ordering`, `index`, `unique` and their like are fields.
    fn check_names(&self) -> Result<()> {
        let known: Vec<_> = self.fields.iter().map(|field| field.name.as_str()).collect();
        let attributes = &self.attributes;
        let constrained = attributes.constraints.iter().flat_map(|one| &one.fields);
        let named = attributes.ordering.iter().chain(&attributes.natural_key);
        for name in named.chain(&attributes.get_latest_by).chain(constrained) {
            let value = name.value();
            let plain = value.strip_prefix('-').unwrap_or(&value);
            if !known.contains(&plain) {
                return Err(no_field(self.name, name, plain, &known));
            }
        }
        Ok(())
    }
}

fn no_field(model: &Ident, at: &LitStr, name: &str, known: &[&str]) -> syn::Error {
    let words = match nearest(name, known) {
        Some(near) => format!("`{model}` has no field `{name}`; did you mean `{near}`?"),
        None => format!("`{model}` has no field `{name}`; it has {}", known.join(", ")),
    };
    syn::Error::new(at.span(), words)
}

/// The primary key: the field that says so, else the one called `id`.
fn key(model: &Ident, fields: &[FieldParts<'_>]) -> Result<usize> {
    let mut said = fields
        .iter()
        .enumerate()
        .filter_map(|(at, field)| field.attributes.primary_key.map(|span: Span| (at, span)));
    let named_id = fields.iter().position(|field| field.name == "id");
    let Some((key, _)) = said.next() else {
        return named_id.ok_or_else(|| {
            let words = format!(
                "`{model}` has no primary key: add the field `id: Id`, or mark one with \
                 `#[field(primary_key)]`"
            );
            syn::Error::new(model.span(), words)
        });
    };
    if let Some((second, span)) = said.next() {
        return Err(two_keys(model, &fields[key], &fields[second], span));
    }
    if let Some(id) = named_id.filter(|id| *id != key && is_id(&fields[*id].kind)) {
        return Err(two_keys(model, &fields[key], &fields[id], fields[id].ident.span()));
    }
    Ok(key)
}

/// The type is repeated where `Self` is another type or none.
fn named_self(kind: TokenStream, name: &Ident) -> TokenStream {
    let named = kind.into_iter().map(|token| match token {
        TokenTree::Ident(word) if word == "Self" => {
            TokenTree::Ident(Ident::new(&name.to_string(), word.span()))
        }
        TokenTree::Group(group) => {
            let inner = named_self(group.stream(), name);
            let mut renewed = Group::new(group.delimiter(), inner);
            renewed.set_span(group.span());
            TokenTree::Group(renewed)
        }
        other => other,
    });
    named.collect()
}

/// Only to say it well: the type itself is checked where it is used.
fn is_id(kind: &Type) -> bool {
    kind.to_token_stream().to_string().ends_with("Id")
}

fn two_keys(model: &Ident, one: &FieldParts<'_>, two: &FieldParts<'_>, at: Span) -> syn::Error {
    let words =
        format!("`{model}` has two primary keys, `{}` and `{}`: keep one", one.name, two.name);
    syn::Error::new(at, words)
}
