//! `#[derive(Choices)]`

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Expr, ExprLit, Fields, Ident, Lit, LitStr, Result, UnOp, Variant};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(syn::Error::new(input.ident.span(), "choices are an enum's variants"));
    };
    if data.variants.is_empty() {
        return Err(syn::Error::new(input.ident.span(), "an enum of choices has a variant"));
    }
    let number = number(input)?;
    let parse = |variant| Named::parse(variant, number.is_some());
    let choices = data.variants.iter().map(parse).collect::<Result<Vec<_>>>()?;
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
    let field = field(input, number.as_ref());
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

/// What makes it a field.
fn field(input: &DeriveInput, number: Option<&Ident>) -> TokenStream {
    let name = &input.ident;
    let derive = quote! { ::hulse::models::derive };
    let stored = match number {
        None => quote! { ::hulse::models::Choices::value(*self) },
        Some(number) => quote! { (*self as #number) },
    };
    let (kind, length) = match number {
        None => (
            quote! { ::hulse::models::FieldKind::Char },
            quote! { #derive::length(<Self as ::hulse::models::Choices>::CHOICES) },
        ),
        Some(number) => (
            quote! { <#number as ::hulse::models::FieldType>::KIND },
            quote! { ::core::option::Option::None },
        ),
    };
    quote! {
        #[automatically_derived]
        impl #derive::serde::Serialize for #name {
            fn serialize<S: #derive::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                #derive::serde::Serialize::serialize(&#stored, serializer)
            }
        }

        #[automatically_derived]
        #[diagnostic::do_not_recommend]
        impl ::hulse::models::FieldType for #name {
            const KIND: ::hulse::models::FieldKind = #kind;
            const MAX_LENGTH: ::core::option::Option<u32> = #length;
            const CHOICES: &'static [::hulse::models::Choice] =
                <Self as ::hulse::models::Choices>::CHOICES;
            type Column = ::hulse::models::Expression<Self>;

            fn unset() -> Self {
                <Self as ::core::default::Default>::default()
            }

            fn value(&self) -> ::core::option::Option<#derive::Value> {
                ::core::option::Option::Some(#derive::Value::from(#stored))
            }

            fn from_stored(value: #derive::Value) -> ::core::option::Option<Self> {
                #derive::choice_from_stored(&value)
            }

            fn read(row: &#derive::Row, index: usize) -> #derive::Result<Self> {
                #derive::read_choice(Self::KIND, row, index)
            }
        }

        #[automatically_derived]
        impl ::hulse::models::Plain for #name {}
    }
}

/// The type of `#[choices(i16)]`, if the variants are numbers.
fn number(input: &DeriveInput) -> Result<Option<Ident>> {
    let mut number = None;
    for attribute in input.attrs.iter().filter(|one| one.path().is_ident("choices")) {
        let named: Ident = attribute.parse_args()?;
        if !["i16", "i32", "i64"].iter().any(|known| named == known) {
            let words = "choices are stored as `i16`, `i32` or `i64`, or as text without that";
            return Err(syn::Error::new(named.span(), words));
        }
        number = Some(named);
    }
    Ok(number)
}

/// The number of `Low = -1`.
fn discriminant(variant: &Variant) -> Result<i64> {
    let missing = || {
        let name = &variant.ident;
        let words = format!("a choice stored as a number says which: `{name} = 1`");
        syn::Error::new(variant.span(), words)
    };
    let (_, value) = variant.discriminant.as_ref().ok_or_else(missing)?;
    let (sign, literal) = match value {
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => (-1, &*unary.expr),
        literal => (1, literal),
    };
    match literal {
        Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => {
            Ok(sign * number.base10_parse::<i64>()?)
        }
        _ => Err(missing()),
    }
}

struct Named<'a> {
    variant: &'a Variant,
    value: String,
    label: String,
}

impl<'a> Named<'a> {
    fn parse(variant: &'a Variant, is_number: bool) -> Result<Self> {
        if !matches!(variant.fields, Fields::Unit) {
            return Err(syn::Error::new(variant.span(), "a choice is a variant without fields"));
        }
        let value = snake(&variant.ident.to_string());
        let mut named = Self { variant, label: sentence(&value), value };
        if is_number {
            named.value = discriminant(variant)?.to_string();
        }
        for attribute in variant.attrs.iter().filter(|one| one.path().is_ident("choice")) {
            attribute.parse_nested_meta(|meta| {
                let text: LitStr;
                if meta.path.is_ident("value") && is_number {
                    return Err(meta.error("the value is the variant's number: `Low = 1`"));
                } else if meta.path.is_ident("value") {
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
