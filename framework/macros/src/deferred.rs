//! `Deferred<..>`: a field whose value is read only when it is asked for.
//!
//! What the derive writes of it differs where a row is read, made, stored and looked into; all else
//! sees the type that it holds.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{GenericArgument, PathArguments, Result, Type};

use crate::parts::FieldParts;

/// What a field of this type holds, and whether it is deferred. Only the name can tell.
pub(crate) fn held(kind: Type) -> (Type, bool) {
    let Type::Path(path) = &kind else { return (kind, false) };
    let Some(last) = path.path.segments.last().filter(|last| last.ident == "Deferred") else {
        return (kind, false);
    };
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return (kind, false) };
    match arguments.args.first() {
        Some(GenericArgument::Type(held)) => (held.clone(), true),
        _ => (kind, false),
    }
}

/// A row is found by its key, so that is read with it.
pub(crate) fn refuse_key(field: &FieldParts<'_>) -> Result<()> {
    if !field.deferred {
        return Ok(());
    }
    let words = format!("`{}` is the primary key: it cannot be deferred", field.name);
    Err(syn::Error::new(field.ident.span(), words))
}

/// A save sets such a field, whether it was read or not.
pub(crate) fn refuse_times(field: &FieldParts<'_>) -> Result<()> {
    let attributes = &field.attributes;
    if !(field.deferred && (attributes.auto_now || attributes.auto_now_add)) {
        return Ok(());
    }
    let words = format!("`{}` is set when the row is saved: it cannot be deferred", field.name);
    Err(syn::Error::new(field.kind.span(), words))
}

impl FieldParts<'_> {
    /// The expression that reads it from `row`, a `Result`.
    pub(crate) fn read(&self, at: &TokenStream) -> TokenStream {
        let (kind, derive) = (&self.kind, quote! { ::hulse::models::derive });
        if self.deferred {
            return quote! { #derive::read_deferred::<#kind>(row, index, meta, #at) };
        }
        quote! { #derive::read::<#kind>(row, index, meta, #at) }
    }

    /// The expression of what a new row has, from `fields`.
    pub(crate) fn initial(&self, at: &TokenStream) -> TokenStream {
        let kind = &self.kind;
        let value = quote! { ::hulse::models::derive::initial::<#kind>(fields, #at) };
        if self.deferred {
            quote! { ::hulse::models::Deferred::new(#value) }
        } else {
            value
        }
    }

    /// The expression of what to store.
    pub(crate) fn value(&self) -> TokenStream {
        let ident = self.ident;
        if self.deferred {
            return quote! { ::hulse::models::derive::deferred_value(&self.#ident) };
        }
        quote! { ::hulse::models::FieldType::value(&self.#ident) }
    }

    /// The arm that finds its slot.
    pub(crate) fn slot(&self) -> TokenStream {
        let Self { name, ident, .. } = self;
        if self.deferred {
            return quote! { #name => ::core::option::Option::Some(&mut self.#ident), };
        }
        quote! { #name => ::hulse::models::FieldType::slot(&mut self.#ident), }
    }
}
