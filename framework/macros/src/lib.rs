//! The derives of the Hulse web framework. They expand to impls of public traits and calls of
//! public functions that one could write by hand; use them through `hulse::models`.

mod attributes;
mod base;
mod choices;
mod constraints;
mod deferred;
mod describe;
mod many;
mod model;
mod parts;
mod projection;
mod words;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct a table: `#[derive(Model)]`, `#[model(..)]` on the struct, `#[field(..)]` on
/// fields.
///
/// On the struct: `ordering = ["-created"]`, `get_latest_by = "created"`, `app = "blog"`,
/// `table = "posts"`, `managed = false` (migrations leave its table alone), `verbose_name = ".."`,
/// `verbose_name_plural = ".."`, `hooks`, `natural_key(slug)`,
/// `index(author, -created, name = "..", condition = |p| p.live().eq(true))`,
/// `unique(author, slug, name = "..", condition = |p| .., nulls_distinct = false)`,
/// `check(name = "..", |p| p.price().gte(0))`, `permissions(publish_post = "Can publish posts")`,
/// `default_permissions = ["view"]` (of add, change, delete, view; all unless said).
///
/// On a field, what is stored: `max_length = 200`, `text` (any length), `max_digits = 10,
/// decimal_places = 2`, `unique`, `index`, `primary_key`, `column = ".."`, `upload_to = ".."`,
/// `on_delete = cascade` (`protect`, `restrict`, `set_null`, `set_default`, `set(function)`,
/// `do_nothing`). What a new row has: `default = 7`, `"0.00"`, `Status::Draft` or any expression,
/// which the database is told too; `default_fn = Uuid::new_v4`, called for each row; `auto_now`,
/// `auto_now_add`. What `full_clean` and forms ask: `blank` (may be left empty), `email` (254
/// characters unless said), `slug` (50, indexed), `url` (200), `min_value = 0`,
/// `max_value = "9.99"`, `min_length = 3`, `regex = "^[a-z]+$"`, `validators = [even]`. What people
/// see: `verbose_name = ".."`, `help_text = ".."`, `editable = false` (not in forms), `secret`
/// (left out when serialized). On a struct with `#[derive(AbstractModel)]`: `flatten`.
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

/// Makes a struct the base of models: its fields become columns of each model that has it as a
/// field, `#[field(flatten)] times: TimeStamped`. It knows the same `#[field(..)]`.
#[proc_macro_derive(AbstractModel, attributes(field))]
pub fn derive_abstract_model(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    base::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes an enum the values of a field, stored as text: `Draft` as `draft`, `InReview` as
/// `in_review`, with the label `In review`; `#[choice(value = "d", label = "Not yet")]` says
/// others. With `#[choices(i16)]` (or `i32`, `i64`) on the enum it is stored as the variants'
/// numbers, `Low = 1`.
#[proc_macro_derive(Choices, attributes(choice, choices))]
pub fn derive_choices(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    choices::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Makes a struct what rows of a model are read as, with only the columns it needs:
/// `#[projection(of = Post)]` on the struct. A field is the column of its name, or what
/// `#[projection(|p| p.author().name())]` on it says.
#[proc_macro_derive(Projection, attributes(projection))]
pub fn derive_projection(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    projection::expand(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
