//! `#[derive(AbstractModel)]`, and what `#[field(flatten)]` makes of one in a model.

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{DeriveInput, Ident, Result, Type};

use crate::describe::describe;
use crate::model::{check, shown, slots, times};
use crate::parts::{FieldParts, Parts};

/// A base of a model.
pub(crate) struct BaseParts<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) kind: Type,
}

/// Where the fields of each base begin: behind the model's own.
pub(crate) fn places(parts: &Parts<'_>) -> Vec<TokenStream> {
    let own = Literal::usize_unsuffixed(parts.fields.len());
    let mut place = quote! { #own };
    let places = parts.bases.iter().map(|BaseParts { kind, .. }| {
        let next = quote! { #place + <#kind as ::hulse::models::AbstractModel>::COUNT };
        std::mem::replace(&mut place, next)
    });
    places.collect()
}

/// The struct of a model's columns, and how it is made along a trail. That of a model with one base
/// holds the base's, so that its columns are reached as the model's own.
pub(crate) fn columns(parts: &Parts<'_>, words: &str) -> TokenStream {
    let (name, visibility) = (parts.name, parts.visibility);
    let columns = format_ident!("{name}Columns");
    let trail = quote! { ::hulse::models::Trail };
    let [base] = parts.bases.as_slice() else {
        return quote! {
            #[doc = #words]
            #[derive(Clone, Debug)]
            #visibility struct #columns(#trail);

            #[automatically_derived]
            impl ::hulse::models::Columns for #columns {
                fn along(trail: #trail) -> Self {
                    Self(trail)
                }

                fn trail(&self) -> &#trail {
                    &self.0
                }
            }
        };
    };
    let kind = &base.kind;
    let held = quote! { <#kind as ::hulse::models::AbstractModel>::Columns };
    let made = within(parts, base, &places(parts)[0], &quote! { trail.clone() });
    quote! {
        #[doc = #words]
        #[derive(Clone, Debug)]
        #visibility struct #columns(#trail, #held);

        #[automatically_derived]
        impl ::hulse::models::Columns for #columns {
            fn along(trail: #trail) -> Self {
                let base = #made;
                Self(trail, base)
            }

            fn trail(&self) -> &#trail {
                &self.0
            }
        }

        #[automatically_derived]
        impl ::core::ops::Deref for #columns {
            type Target = #held;

            fn deref(&self) -> &#held {
                &self.1
            }
        }
    }
}

fn within(
    parts: &Parts<'_>,
    base: &BaseParts<'_>,
    place: &TokenStream,
    trail: &TokenStream,
) -> TokenStream {
    let (name, kind) = (parts.name, &base.kind);
    let columns = quote! { <#kind as ::hulse::models::AbstractModel>::Columns };
    quote! {
        <#columns as ::hulse::models::BaseColumns>::within(
            #trail,
            <#name as ::hulse::models::Model>::meta(),
            #place,
        )
    }
}

/// The methods of a model's columns that give those of its bases.
pub(crate) fn methods(parts: &Parts<'_>) -> TokenStream {
    let visibility = parts.visibility;
    let methods = parts.bases.iter().zip(places(parts)).map(|(base, place)| {
        let (ident, kind) = (base.ident, &base.kind);
        let words = format!("The columns of `{ident}`.");
        let made = within(parts, base, &place, &quote! { self.0.clone() });
        quote_spanned! { ident.span() =>
            #[doc = #words]
            #[must_use]
            #visibility fn #ident(&self) -> <#kind as ::hulse::models::AbstractModel>::Columns {
                #made
            }
        }
    });
    methods.collect()
}

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let parts = Parts::parse_abstract(input)?;
    let checks = parts
        .fields
        .iter()
        .enumerate()
        .map(|(at, field)| check(&parts, at, field))
        .collect::<Result<TokenStream>>()?;
    let fields =
        parts.fields.iter().map(|field| describe(field, false)).collect::<Result<Vec<_>>>()?;
    let implementation = implementation(&parts, &fields);
    let columns = abstract_columns(&parts);
    let name = parts.name;
    Ok(quote! {
        #checks
        #implementation
        #columns

        #[automatically_derived]
        impl ::core::default::Default for #name {
            fn default() -> Self {
                let fields = <Self as ::hulse::models::AbstractModel>::fields();
                <Self as ::hulse::models::AbstractModel>::initial(&fields, 0)
            }
        }
    })
}

fn implementation(parts: &Parts<'_>, fields: &[TokenStream]) -> TokenStream {
    let name = parts.name;
    let columns = format_ident!("{name}Columns");
    let count = parts.fields.len();
    let (rows, relations, serialize) = (rows(parts), relations(parts), serialize(parts));
    quote! {
        #[automatically_derived]
        impl ::hulse::models::AbstractModel for #name {
            type Columns = #columns;
            const COUNT: usize = #count;

            fn fields() -> ::std::vec::Vec<::hulse::models::Field> {
                ::std::vec![#(#fields),*]
            }

            #rows
            #relations
            #serialize
        }
    }
}

fn rows(parts: &Parts<'_>) -> TokenStream {
    let derive = quote! { ::hulse::models::derive };
    let idents: Vec<_> = parts.fields.iter().map(|field| field.ident).collect();
    let places = (0..idents.len()).map(Literal::usize_unsuffixed);
    let places: Vec<_> = places.map(|at| quote! { at + #at }).collect();
    let placed = || parts.fields.iter().zip(&places);
    let initial = placed().map(|(field, at)| field.initial(at));
    let reads = placed().map(|(field, at)| field.read(at));
    let values = parts.fields.iter().map(FieldParts::value);
    let times = times(parts);
    quote! {
        fn initial(fields: &[::hulse::models::Field], at: usize) -> Self {
            Self { #(#idents: #initial,)* }
        }

        fn read(
            row: &#derive::Row,
            index: usize,
            meta: &'static ::hulse::models::Meta,
            at: usize,
        ) -> #derive::Result<Self> {
            ::core::result::Result::Ok(Self {
                #(#idents: #reads?,)*
            })
        }

        fn values(&self, values: &mut ::std::vec::Vec<::core::option::Option<#derive::Value>>) {
            values.extend([#(#values),*]);
        }

        fn set_times(&mut self, now: #derive::DateTime<#derive::Utc>, adding: bool) {
            let _ = (now, adding);
            #times
        }
    }
}

fn relations(parts: &Parts<'_>) -> TokenStream {
    let derive = quote! { ::hulse::models::derive };
    let (slots, points) = slots(&parts.fields);
    quote! {
        fn slot(&mut self, field: &str) -> ::core::option::Option<&mut dyn #derive::Slot> {
            match field {
                #slots
                _ => ::core::option::Option::None,
            }
        }

        fn point(&mut self, field: &str, key: &dyn ::core::any::Any) {
            match field {
                #points
                _ => {}
            }
        }
    }
}

fn serialize(parts: &Parts<'_>) -> TokenStream {
    let (count, fields) = shown(&parts.fields);
    quote! {
        fn shown(&self) -> usize {
            #count
        }

        fn serialize_fields<S: ::hulse::models::derive::serde::ser::SerializeStruct>(
            &self,
            row: &mut S,
        ) -> ::core::result::Result<(), S::Error> {
            #fields
            ::core::result::Result::Ok(())
        }
    }
}

/// `struct TimeStampedColumns`
fn abstract_columns(parts: &Parts<'_>) -> TokenStream {
    let (name, visibility) = (parts.name, parts.visibility);
    let columns = format_ident!("{name}Columns");
    let words = format!("The columns of [`{name}`] within those of a model.");
    let methods = parts.fields.iter().enumerate().map(|(at, field)| {
        let FieldParts { ident, kind, name: field_name, .. } = field;
        let words = format!("The column of `{field_name}`.");
        let at = Literal::usize_unsuffixed(at);
        quote_spanned! { ident.span() =>
            #[doc = #words]
            #[must_use]
            #visibility fn #ident(&self) -> <#kind as ::hulse::models::FieldType>::Column {
                self.trail.column(&self.meta.fields[self.at + #at])
            }
        }
    });
    quote! {
        #[doc = #words]
        #[derive(Clone, Debug)]
        #visibility struct #columns {
            trail: ::hulse::models::Trail,
            meta: &'static ::hulse::models::Meta,
            at: usize,
        }

        #[automatically_derived]
        impl ::hulse::models::BaseColumns for #columns {
            fn within(
                trail: ::hulse::models::Trail,
                meta: &'static ::hulse::models::Meta,
                at: usize,
            ) -> Self {
                Self { trail, meta, at }
            }
        }

        #[automatically_derived]
        #[allow(dead_code)]
        impl #columns {
            #(#methods)*
        }
    }
}
