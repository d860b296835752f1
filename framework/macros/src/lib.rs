//! The derives of the Hulse web framework. They expand to impls of public traits and calls of
//! public functions that one could write by hand; use them through `hulse::models`.

mod attributes;
mod choices;
mod many;
mod model;
mod parts;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a table: `#[derive(Model)]`, `#[model(..)]` on the struct, `#[field(..)]` on
/// fields.
///
/// On the struct: `ordering = ["-created"]`, `index(author, created)`, `unique(author, slug)`,
/// `app = "blog"`, `table = "posts"`, `hooks`, `natural_key(slug)`. On a field: `max_length = 200`, `text`, `unique`,
/// `index`, `primary_key`, `default = ..`, `auto_now`, `auto_now_add`, `on_delete = cascade`
/// (`protect`, `restrict`, `set_null`, `set_default`, `set(function)`, `do_nothing`), `secret` (left
/// out when serialized).
///
/// On a `ManyToMany<..>`: `through = Membership` (its own model between),
/// `through_fields(group, person)` (which of its foreign keys, if that is not clear),
/// `symmetrical = false` (of a model to itself). On a `HasMany<..>` or `HasOne<..>`: `by = author`,
/// the field of the other model that points here.
#[proc_macro_derive(Model, attributes(model, field))]
pub fn derive_model(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    model::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes an enum the values of a field, stored as text: `Draft` as `draft`, `InReview` as
/// `in_review`, with the label `In review`; `#[choice(value = "d", label = "Not yet")]` says
/// others.
#[proc_macro_derive(Choices, attributes(choice))]
pub fn derive_choices(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    choices::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
