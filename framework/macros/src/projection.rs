//! `#[derive(Projection)]`

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Attribute, Data, DeriveInput, ExprClosure, Field, Fields, Path, Result};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(syn::Error::new(input.ident.span(), "a projection is a struct"));
    };
    let Fields::Named(named) = &data.fields else {
        return Err(syn::Error::new(input.ident.span(), "a projection's fields have names"));
    };
    let model = model(input)?;
    let name = &input.ident;
    let derive = quote! { ::hulse::models::derive };
    let selects = named.named.iter().map(select).collect::<Result<Vec<_>>>()?;
    let idents = named.named.iter().map(|field| &field.ident);
    let kinds = named.named.iter().map(|field| &field.ty);
    Ok(quote! {
        #[automatically_derived]
        impl ::hulse::models::Projection for #name {
            type Model = #model;

            fn nodes(
                columns: &<#model as ::hulse::models::Model>::Columns,
                nodes: &mut ::std::vec::Vec<#derive::Node>,
            ) {
                #(#selects)*
            }

            fn read(row: &#derive::Row, mut index: usize) -> #derive::Result<Self> {
                let mut next = || {
                    index += 1;
                    index - 1
                };
                ::core::result::Result::Ok(Self {
                    #(#idents: <#kinds as ::hulse::models::FieldType>::read(row, next())?),*
                })
            }
        }
    })
}

/// Adds the expression of one field.
fn select(field: &Field) -> Result<TokenStream> {
    let (ident, kind) = (&field.ident, &field.ty);
    let derive = quote! { ::hulse::models::derive };
    let mut attributes = field.attrs.iter().filter(|one| one.path().is_ident("projection"));
    let expression = match attributes.next() {
        None => quote_spanned! { ident.span() => columns.#ident() },
        Some(attribute) => {
            let closure: ExprClosure = attribute.parse_args()?;
            let (inputs, body) = (&closure.inputs, &closure.body);
            let Some(input) = inputs.first().filter(|_| inputs.len() == 1) else {
                return Err(syn::Error::new(closure.span(), "say `|p| p.author().name()`"));
            };
            quote! {{
                let #input = columns;
                #body
            }}
        }
    };
    Ok(quote_spanned! { kind.span() => #derive::select::<#kind>(#expression, nodes); })
}

fn model(input: &DeriveInput) -> Result<Path> {
    let mut model = None;
    let ours = |attribute: &&Attribute| attribute.path().is_ident("projection");
    for attribute in input.attrs.iter().filter(ours) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("of") {
                return Err(meta.error("`#[projection(..)]` knows `of = Model`"));
            }
            model = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    let words = "say whose rows it is made of: `#[projection(of = Post)]`";
    model.ok_or_else(|| syn::Error::new(input.ident.span(), words))
}
