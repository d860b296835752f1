//! `#[derive(Choices)]`

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Fields, LitStr, Result, Variant};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(syn::Error::new(input.ident.span(), "choices are an enum's variants"));
    };
    if data.variants.is_empty() {
        return Err(syn::Error::new(input.ident.span(), "an enum of choices has a variant"));
    }
    let choices = data.variants.iter().map(Named::parse).collect::<Result<Vec<_>>>()?;
    let mut seen = std::collections::HashSet::new();
    for choice in &choices {
        if !seen.insert(choice.value.clone()) {
            let words = format!("two variants are stored as {:?}", choice.value);
            return Err(syn::Error::new(choice.variant.span(), words));
        }
    }
    let name = &input.ident;
    let variants: Vec<_> = choices.iter().map(|choice| &choice.variant.ident).collect();
    let values: Vec<_> = choices.iter().map(|choice| &choice.value).collect();
    let labels: Vec<_> = choices.iter().map(|choice| &choice.label).collect();
    let first = variants[0];
    let field = field(input);
    Ok(quote! {
        #[automatically_derived]
        impl ::hulse::models::Choices for #name {
            const CHOICES: &'static [::hulse::models::Choice] = &[
                #(::hulse::models::Choice { value: #values, label: #labels }),*
            ];

            fn from_value(value: &str) -> ::core::option::Option<Self> {
                match value {
                    #(#values => ::core::option::Option::Some(Self::#variants),)*
                    _ => ::core::option::Option::None,
                }
            }

            fn value(self) -> &'static str {
                match self {
                    #(Self::#variants => #values),*
                }
            }

            fn label(self) -> &'static str {
                match self {
                    #(Self::#variants => #labels),*
                }
            }
        }

        #[automatically_derived]
        impl ::core::default::Default for #name {
            fn default() -> Self {
                Self::#first
            }
        }

        #field
    })
}

/// What makes it a field, the same for all.
fn field(input: &DeriveInput) -> TokenStream {
    let name = &input.ident;
    quote! {
        #[automatically_derived]
        impl ::hulse::models::derive::serde::Serialize for #name {
            fn serialize<S: ::hulse::models::derive::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(::hulse::models::Choices::value(*self))
            }
        }

        #[automatically_derived]
        #[diagnostic::do_not_recommend]
        impl ::hulse::models::FieldType for #name {
            const KIND: ::hulse::models::FieldKind = ::hulse::models::FieldKind::Char;
            const MAX_LENGTH: ::core::option::Option<u32> = ::hulse::models::derive::length(
                <Self as ::hulse::models::Choices>::CHOICES,
            );
            const CHOICES: &'static [::hulse::models::Choice] =
                <Self as ::hulse::models::Choices>::CHOICES;
            type Column = ::hulse::models::Expression<Self>;

            fn unset() -> Self {
                <Self as ::core::default::Default>::default()
            }

            fn from_default(default: &::hulse::models::Default) -> ::core::option::Option<Self> {
                ::hulse::models::derive::from_default(default)
            }

            fn value(&self) -> ::core::option::Option<::hulse::models::derive::Value> {
                ::hulse::models::derive::choice_value(*self)
            }

            fn null() -> ::hulse::models::derive::Value {
                ::hulse::models::derive::Value::String(::core::option::Option::None)
            }

            fn read(
                row: &::hulse::models::derive::Row,
                index: usize,
            ) -> ::hulse::models::derive::Result<Self> {
                ::hulse::models::derive::read_choice(row, index)
            }
        }

        #[automatically_derived]
        impl ::hulse::models::Plain for #name {}
    }
}

struct Named<'a> {
    variant: &'a Variant,
    value: String,
    label: String,
}

impl<'a> Named<'a> {
    fn parse(variant: &'a Variant) -> Result<Self> {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(syn::Error::new(variant.span(), "a choice is a variant without fields"));
        }
        let value = snake(&variant.ident.to_string());
        let mut named = Self { variant, label: sentence(&value), value };
        for attribute in variant.attrs.iter().filter(|one| one.path().is_ident("choice")) {
            attribute.parse_nested_meta(|meta| {
                let text: LitStr;
                if meta.path.is_ident("value") {
                    text = meta.value()?.parse()?;
                    named.value = text.value();
                } else if meta.path.is_ident("label") {
                    text = meta.value()?.parse()?;
                    named.label = text.value();
                } else {
                    return Err(meta.error("`#[choice(..)]` knows `value` and `label`"));
                }
                Ok(())
            })?;
        }
        Ok(named)
    }
}

/// `in_review` for `InReview`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// `In review` for `in_review`.
fn sentence(snake: &str) -> String {
    let words = snake.replace('_', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
