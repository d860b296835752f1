//! Relations that are no column: `ManyToMany<..>`, `HasMany<..>` and `HasOne<..>`.

use proc_macro2::{Literal, TokenStream};
use quote::{quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Field, GenericArgument, Ident, LitBool, Path, PathArguments, Result, Token, Type,
};

use crate::attributes::name;
use crate::parts::Parts;
use crate::words::unknown;

/// A field without a column.
pub(crate) struct ManyParts<'a> {
    pub(crate) ident: &'a Ident,
    /// Without `r#`.
    pub(crate) name: String,
    /// The other model.
    target: Type,
    word: Word,
    attributes: ManyAttributes,
}

#[derive(Clone, Copy, PartialEq)]
enum Word {
    ManyToMany,
    HasMany,
    HasOne,
}

/// What `#[field(..)]` says of such a field.
#[derive(Default)]
struct ManyAttributes {
    through: Option<Path>,
    through_fields: Vec<Ident>,
    symmetrical: Option<LitBool>,
    by: Option<Ident>,
}

const MANY_TO_MANY: [&str; 3] = ["through", "through_fields", "symmetrical"];
const REVERSE: [&str; 1] = ["by"];

impl<'a> ManyParts<'a> {
    /// The parts of `field` if its type, `kind`, is such a relation. Only its name can tell: what
    /// the derive writes depends on how many columns there are.
    pub(crate) fn parse(field: &'a Field, ident: &'a Ident, kind: &Type) -> Result<Option<Self>> {
        let Type::Path(path) = kind else { return Ok(None) };
        let Some(last) = path.path.segments.last() else { return Ok(None) };
        let word = match last.ident.to_string().as_str() {
            "ManyToMany" => Word::ManyToMany,
            "HasMany" => Word::HasMany,
            "HasOne" => Word::HasOne,
            _ => return Ok(None),
        };
        let PathArguments::AngleBracketed(arguments) = &last.arguments else { return Ok(None) };
        let Some(GenericArgument::Type(target)) = arguments.args.first() else { return Ok(None) };
        let attributes = ManyAttributes::parse(&field.attrs, word)?;
        let name = ident.to_string().trim_start_matches("r#").to_owned();
        Ok(Some(Self { ident, name, target: target.clone(), word, attributes }))
    }
}

impl ManyAttributes {
    fn parse(attributes: &[Attribute], word: Word) -> Result<Self> {
        let mut all = Self::default();
        for attribute in attributes.iter().filter(|one| one.path().is_ident("field")) {
            attribute.parse_nested_meta(|meta| all.take(&meta, word))?;
        }
        Ok(all)
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>, word: Word) -> Result<()> {
        match (name(meta).as_str(), word) {
            ("through", Word::ManyToMany) => self.through = Some(meta.value()?.parse()?),
            ("through_fields", Word::ManyToMany) => {
                let content;
                syn::parenthesized!(content in meta.input);
                let names = Punctuated::<Ident, Token![,]>::parse_terminated(&content)?;
                self.through_fields = names.into_iter().collect();
                if self.through_fields.len() != 2 {
                    let words = "name two fields of the model between: the one that points here, \
                                 then the one that points there";
                    return Err(meta.error(words));
                }
            }
            ("symmetrical", Word::ManyToMany) => self.symmetrical = Some(meta.value()?.parse()?),
            ("by", Word::HasMany | Word::HasOne) => self.by = Some(meta.value()?.parse()?),
            (other, Word::ManyToMany) => {
                return Err(unknown(meta.path.span(), "field", other, &MANY_TO_MANY));
            }
            (other, _) => return Err(unknown(meta.path.span(), "field", other, &REVERSE)),
        }
        Ok(())
    }
}

/// That the named fields are there and lead where they should, the compiler finds out.
pub(crate) fn check(parts: &Parts<'_>, many: &ManyParts<'_>) -> TokenStream {
    let (owner, target) = (parts.name, &many.target);
    let check = |model: TokenStream, field: &Ident, to: TokenStream| {
        quote_spanned! { field.span() =>
            const _: () = {
                #[allow(dead_code)]
                fn leads(columns: &<#model as ::hulse::models::Model>::Columns) {
                    ::hulse::models::derive::leads_to::<#to, _>(&columns.#field());
                }
            };
        }
    };
    let mut checks = TokenStream::new();
    if let Some(by) = &many.attributes.by {
        checks.extend(check(quote! { #target }, by, quote! { #owner }));
    }
    if let (Some(through), [one, other]) =
        (&many.attributes.through, many.attributes.through_fields.as_slice())
    {
        checks.extend(check(quote! { #through }, one, quote! { #owner }));
        checks.extend(check(quote! { #through }, other, quote! { #target }));
    }
    checks
}

/// The expression of its description.
pub(crate) fn describe(parts: &Parts<'_>, many: &ManyParts<'_>) -> TokenStream {
    let ManyParts { name, target, attributes, .. } = many;
    let path = quote! { ::hulse::models::ManyKind };
    let model = quote! { ::hulse::models::Model };
    let kind = if many.word == Word::ManyToMany {
        let (through, auto) = through(parts, many);
        let names = attributes.through_fields.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (from_field, to_field) = match names.as_slice() {
            [one, other] => (one.as_str(), other.as_str()),
            _ => ("", ""),
        };
        let owner = parts.name;
        let said = attributes.symmetrical.as_ref().is_none_or(LitBool::value);
        quote! {
            #path::ManyToMany {
                to: <#target as #model>::meta,
                through: #through,
                from_field: #from_field,
                to_field: #to_field,
                auto: #auto,
                symmetrical: #said && ::hulse::models::derive::is_same::<#owner, #target>(),
            }
        }
    } else {
        let field = attributes.by.as_ref().map(ToString::to_string).unwrap_or_default();
        let one = many.word == Word::HasOne;
        quote! { #path::Reverse { from: <#target as #model>::meta, field: #field, one: #one } }
    };
    quote! { ::hulse::models::Many { name: #name, kind: #kind } }
}

/// The function that gives the model between, and whether that is made for the field.
fn through(parts: &Parts<'_>, many: &ManyParts<'_>) -> (TokenStream, bool) {
    if let Some(through) = &many.attributes.through {
        return (quote! { <#through as ::hulse::models::Model>::meta }, false);
    }
    let (owner, target, name) = (parts.name, &many.target, &many.name);
    let derive = quote! { ::hulse::models::derive };
    let made = quote! {{
        fn through() -> &'static ::hulse::models::Meta {
            static META: #derive::LazyLock<::hulse::models::Meta> =
                #derive::LazyLock::new(|| #derive::through::<#owner, #target>(#name));
            &META
        }
        through
    }};
    (made, true)
}

/// The method of a row.
pub(crate) fn method(parts: &Parts<'_>, at: usize, many: &ManyParts<'_>) -> TokenStream {
    let ManyParts { ident, name, target, .. } = many;
    let visibility = parts.visibility;
    let at = Literal::usize_unsuffixed(at);
    let (set, words) = if many.word == Word::HasOne {
        (quote! { RelatedOne }, format!("The row of `{name}`, to read."))
    } else {
        (quote! { RelatedSet }, format!("The rows of `{name}`, to read and to change."))
    };
    quote_spanned! { ident.span() =>
        #[doc = #words]
        #[must_use]
        #visibility fn #ident(&self) -> ::hulse::models::#set<'_, #target> {
            ::hulse::models::#set::new(self, #at, &self.#ident)
        }
    }
}

/// The method of the model's columns.
pub(crate) fn column(parts: &Parts<'_>, at: usize, many: &ManyParts<'_>) -> TokenStream {
    let ManyParts { ident, name, target, .. } = many;
    let (owner, visibility) = (parts.name, parts.visibility);
    let at = Literal::usize_unsuffixed(at);
    let (kind, function, words) = if many.word == Word::HasOne {
        (quote! { Related }, quote! { one }, format!("The row of `{name}`."))
    } else {
        (quote! { RelatedMany }, quote! { many }, format!("The rows of `{name}`."))
    };
    quote_spanned! { ident.span() =>
        #[doc = #words]
        #[must_use]
        #visibility fn #ident(&self) -> ::hulse::models::#kind<#target> {
            ::hulse::models::derive::#function::<#owner, #target>(&self.0, #at)
        }
    }
}
