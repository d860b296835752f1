//! `#[derive(Model)]`

use proc_macro2::{Literal, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Result};

use crate::attributes::{FieldDefault, OnDelete, Validator};
use crate::base;
use crate::describe::{default_value, meta};
use crate::many;
use crate::parts::{FieldParts, Parts};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let parts = Parts::parse(input)?;
    let checks = parts
        .fields
        .iter()
        .enumerate()
        .map(|(at, field)| check(&parts, at, field))
        .collect::<Result<TokenStream>>()?;
    let many_checks = parts.many.iter().map(|many| many::check(&parts, many));
    let checks = quote! { #checks #(#many_checks)* };
    let implementations =
        [model(&parts)?, methods(&parts), columns(&parts), default(&parts), serialize(&parts)];
    let hooks = (!parts.attributes.hooks).then(|| {
        let name = parts.name;
        quote! {
            #[automatically_derived]
            impl ::hulse::models::Hooks for #name {}
        }
    });
    Ok(quote! { #checks #(#implementations)* #hooks })
}

/// What depends on a field's type is checked by the compiler, in constants whose failure says why.
pub(crate) fn check(parts: &Parts<'_>, at: usize, field: &FieldParts<'_>) -> Result<TokenStream> {
    let FieldParts { kind, attributes, name, .. } = field;
    let label = format!("`{}.{name}`", parts.name);
    let mut checks = TokenStream::new();
    let mut demand = |condition: TokenStream, why: &str| {
        let words = format!("{label} {why}");
        checks.extend(quote_spanned! { kind.span() => ::core::assert!(#condition, #words); });
    };
    check_size(field, &mut demand)?;
    check_values(field, &mut demand);
    let derive = quote! { ::hulse::models::derive };
    if at == parts.key && attributes.primary_key.is_none() {
        demand(quote! { #derive::is_id::<#kind>() }, "is the primary key: it must be an `Id`");
    }
    if at != parts.key {
        demand(quote! { !#derive::is_id::<#kind>() }, "is an `Id` but not the primary key");
    }
    if field.deferred {
        demand(
            quote! { !#derive::is_relation::<#kind>() },
            "is a relation: it cannot be deferred, its row is loaded on demand anyway",
        );
    }
    match &attributes.on_delete {
        None => demand(
            quote! { !#derive::is_relation::<#kind>() },
            "is a foreign key: say what deleting the other row does, \
             `#[field(on_delete = cascade)]`, `protect`, `restrict`, `set_null`, `set_default`, \
             `set(function)` or `do_nothing`",
        ),
        Some(action) => {
            demand(quote! { #derive::is_relation::<#kind>() }, "is no foreign key");
            let must_be_null = match action {
                OnDelete::SetNull => true,
                OnDelete::SetDefault => attributes.default.is_none(),
                _ => false,
            };
            if must_be_null {
                demand(
                    quote! { <#kind as ::hulse::models::FieldType>::NULL },
                    "cannot become NULL: make it an `Option<ForeignKey<..>>`",
                );
            }
        }
    }
    // One constant: in several the compiler would say once for each that a type is no field.
    Ok(quote_spanned! { kind.span() => const _: () = { #checks }; })
}

/// Length and digits.
fn check_size(field: &FieldParts<'_>, demand: &mut dyn FnMut(TokenStream, &str)) -> Result<()> {
    let FieldParts { kind, attributes, .. } = field;
    let derive = quote! { ::hulse::models::derive };
    let has_length = attributes.length()?.is_some() || attributes.text;
    demand(
        quote! { #derive::has_length::<#kind>(#has_length) },
        "is a text: say `#[field(max_length = 200)]`, or `#[field(text)]` for any length",
    );
    if has_length {
        demand(quote! { #derive::is_text::<#kind>() }, "is no text: it has no length");
    }
    if attributes.max_length.is_some() && attributes.text {
        demand(quote! { false }, "has `max_length` or `text`, not both");
    }
    let has_digits = attributes.max_digits.is_some();
    demand(
        quote! { #derive::has_digits::<#kind>(#has_digits) },
        "is a decimal: say `#[field(max_digits = 10, decimal_places = 2)]`",
    );
    if has_digits {
        demand(quote! { #derive::is_decimal::<#kind>() }, "is no decimal: it has no digits");
    }
    Ok(())
}

/// Defaults, and what validators ask.
fn check_values(field: &FieldParts<'_>, demand: &mut dyn FnMut(TokenStream, &str)) {
    let FieldParts { kind, attributes, .. } = field;
    let derive = quote! { ::hulse::models::derive };
    let limits = attributes.validators.iter().filter_map(|validator| match validator {
        Validator::Limit(word, limit) => Some((word.to_string(), limit)),
        _ => None,
    });
    let default = attributes.default.iter().map(|default| ("default".to_owned(), default));
    for (word, value) in default.chain(limits) {
        if !matches!(value, FieldDefault::Expression(_)) {
            let value = default_value(field, value);
            let words = format!("cannot have this {word}");
            demand(quote! { #derive::takes::<#kind>(&#value) }, &words);
        }
    }
    if attributes.default.is_some() && attributes.default_fn.is_some() {
        demand(quote! { false }, "has `default` or `default_fn`, not both");
    }
    let asks_text =
        |validator: &Validator| matches!(validator, Validator::MinLength(_) | Validator::Regex(_));
    if attributes.validators.iter().any(asks_text) {
        demand(quote! { #derive::is_text::<#kind>() }, "is no text: it has no length or pattern");
    }
}

/// `impl Model`
fn model(parts: &Parts<'_>) -> Result<TokenStream> {
    let name = parts.name;
    let columns = format_ident!("{name}Columns");
    let hooks = parts.attributes.hooks;
    let meta = meta(parts)?;
    let derive = quote! { ::hulse::models::derive };
    let key_kind = &parts.fields[parts.key].kind;
    let (rows, keys, relations) = (rows(parts), keys(parts), relations(parts));
    let set_times = set_times(parts);
    Ok(quote! {
        #[automatically_derived]
        #[diagnostic::do_not_recommend]
        impl ::hulse::models::Model for #name {
            type Key = <#key_kind as #derive::Key>::Plain;
            type Columns = #columns;
            const HOOKS: bool = #hooks;

            fn meta() -> &'static ::hulse::models::Meta {
                static META: #derive::LazyLock<::hulse::models::Meta> =
                    #derive::LazyLock::new(|| #meta);
                &META
            }

            #rows
            #keys
            #set_times
            #relations
        }
    })
}

/// The functions between a row of the database and the struct.
fn rows(parts: &Parts<'_>) -> TokenStream {
    let derive = quote! { ::hulse::models::derive };
    let base = quote! { ::hulse::models::AbstractModel };
    let idents = parts.fields.iter().map(|field| field.ident);
    let places = (0..parts.fields.len()).map(Literal::usize_unsuffixed);
    let reads = parts.fields.iter().zip(places).map(|(field, at)| field.read(&quote! { #at }));
    let values = parts.fields.iter().map(FieldParts::value);
    let many = parts.many.iter().map(|many| many.ident);
    let bases: Vec<_> = parts.bases.iter().map(|base| base.ident).collect();
    let base_places = base::places(parts);
    quote! {
        fn from_row(row: &#derive::Row, index: usize) -> #derive::Result<Self> {
            let meta = <Self as ::hulse::models::Model>::meta();
            ::core::result::Result::Ok(Self {
                #(#idents: #reads?,)*
                #(#bases: #base::read(row, index, meta, #base_places)?,)*
                #(#many: ::core::default::Default::default(),)*
            })
        }

        fn values(&self) -> ::std::vec::Vec<::core::option::Option<#derive::Value>> {
            #[allow(unused_mut)]
            let mut values = ::std::vec![#(#values),*];
            #(#base::values(&self.#bases, &mut values);)*
            values
        }
    }
}

fn set_times(parts: &Parts<'_>) -> TokenStream {
    let derive = quote! { ::hulse::models::derive };
    let base = quote! { ::hulse::models::AbstractModel };
    let bases = parts.bases.iter().map(|base| base.ident);
    let times = times(parts);
    quote! {
        fn set_times(&mut self, now: #derive::DateTime<#derive::Utc>, adding: bool) {
            let _ = (now, adding);
            #times
            #(#base::set_times(&mut self.#bases, now, adding);)*
        }
    }
}

/// The functions of the primary key.
fn keys(parts: &Parts<'_>) -> TokenStream {
    let derive = quote! { ::hulse::models::derive };
    let field_type = quote! { ::hulse::models::FieldType };
    let key = parts.fields[parts.key].ident;
    quote! {
        fn own_key(&self) -> ::core::option::Option<Self::Key> {
            #derive::Key::plain(&self.#key)
        }

        fn key(&self) -> ::core::option::Option<#derive::Value> {
            #field_type::value(&self.#key)
        }

        fn read_key(&mut self, row: &#derive::Row, index: usize) -> #derive::Result<()> {
            self.#key = #field_type::read(row, index)?;
            ::core::result::Result::Ok(())
        }

        fn unset_key(&mut self) {
            self.#key = #field_type::unset();
        }
    }
}

/// The functions that find a relation by its name.
fn relations(parts: &Parts<'_>) -> TokenStream {
    let derive = quote! { ::hulse::models::derive };
    let base = quote! { ::hulse::models::AbstractModel };
    let (slots, points) = slots(&parts.fields);
    let many = parts.many.iter().map(|many| many.ident);
    let many_names = parts.many.iter().map(|many| &many.name);
    let bases: Vec<_> = parts.bases.iter().map(|base| base.ident).collect();
    quote! {
        fn slot(&mut self, field: &str) -> ::core::option::Option<&mut dyn #derive::Slot> {
            match field {
                #slots
                #(#many_names => ::core::option::Option::Some(&mut self.#many),)*
                _ => {
                    #(
                        let slot = #base::slot(&mut self.#bases, field);
                        if slot.is_some() {
                            return slot;
                        }
                    )*
                    ::core::option::Option::None
                }
            }
        }

        fn point(&mut self, field: &str, key: &dyn ::core::any::Any) {
            match field {
                #points
                _ => {
                    #(#base::point(&mut self.#bases, field, key);)*
                }
            }
        }
    }
}

/// The arms that find what holds a relation or a deferred value, and those that point a foreign
/// key.
pub(crate) fn slots(fields: &[FieldParts<'_>]) -> (TokenStream, TokenStream) {
    let slots = fields.iter().map(FieldParts::slot);
    let points = fields.iter().filter(|field| !field.deferred).map(|field| {
        let FieldParts { name, ident, .. } = field;
        quote! { #name => ::hulse::models::FieldType::point(&mut self.#ident, key), }
    });
    (slots.collect(), points.collect())
}

/// Setting the `auto_now` and `auto_now_add` fields.
pub(crate) fn times(parts: &Parts<'_>) -> TokenStream {
    let times = parts.fields.iter().filter_map(|field| {
        let (ident, attributes) = (field.ident, &field.attributes);
        let set = quote! { ::hulse::models::Timed::set_now(&mut self.#ident, now); };
        match (attributes.auto_now, attributes.auto_now_add) {
            (true, _) => Some(set),
            (false, true) => Some(quote! { if adding { #set } }),
            (false, false) => None,
        }
    });
    times.collect()
}

/// The methods one calls.
fn methods(parts: &Parts<'_>) -> TokenStream {
    let (name, visibility) = (parts.name, parts.visibility);
    let derive = quote! { ::hulse::models::derive };
    let columns = format_ident!("{name}Columns");
    let many = parts.many.iter().enumerate().map(|(at, many)| many::method(parts, at, many));
    quote! {
        #[automatically_derived]
        #[allow(dead_code)]
        impl #name {
            #(#many)*

            /// All rows, to be narrowed.
            #[must_use]
            #visibility fn objects() -> ::hulse::models::QuerySet<Self> {
                ::hulse::models::QuerySet::new()
            }

            /// The rows that point to `row`.
            #[must_use]
            #visibility fn of<T: ::hulse::models::Model>(
                row: &T,
            ) -> ::hulse::models::QuerySet<Self> {
                ::hulse::models::QuerySet::of(row)
            }

            /// Writes `row` as a new one and returns it with its key.
            ///
            /// # Errors
            /// A field does not fit, a constraint or hook refuses it, the database is away.
            #visibility async fn create(site: &#derive::Site, row: Self) -> #derive::Result<Self> {
                ::hulse::models::create(site, row).await
            }

            /// Asks the row all that is demanded of it, other rows too. Saving does not.
            ///
            /// # Errors
            /// It is not valid: `error.fields()` says why. Or the database is away.
            #visibility async fn full_clean(&self, site: &#derive::Site) -> #derive::Result<()> {
                ::hulse::models::full_clean(self, site, &[]).await
            }

            /// Writes the row: a new one is inserted and gets its key, another is updated.
            ///
            /// # Errors
            /// A field does not fit, a constraint or hook refuses it, the database is away.
            #visibility async fn save(&mut self, site: &#derive::Site) -> #derive::Result<()> {
                ::hulse::models::save(self, site).await
            }

            /// Writes only the named fields of the row, which is there:
            /// `row.save_only(&site, |row| (row.one(), row.other()))`.
            ///
            /// # Errors
            /// As `save`, or the row is gone.
            #visibility async fn save_only<L: ::hulse::models::FieldList>(
                &mut self,
                site: &#derive::Site,
                fields: impl ::core::ops::FnOnce(&#columns) -> L,
            ) -> #derive::Result<()> {
                ::hulse::models::save_only(self, site, fields).await
            }

            /// Deletes the row and what hangs on it; its key is unset then.
            ///
            /// # Errors
            /// It is not saved, protected or restricted, a hook refuses it, the database is away.
            #visibility async fn delete(
                &mut self,
                site: &#derive::Site,
            ) -> #derive::Result<::hulse::models::Deleted> {
                ::hulse::models::delete(self, site).await
            }

            /// Reads the row again.
            ///
            /// # Errors
            /// It is gone, or the database is away.
            #visibility async fn refresh(&mut self, site: &#derive::Site) -> #derive::Result<()> {
                ::hulse::models::refresh(self, site).await
            }

            /// Reads only the named fields of the row again.
            ///
            /// # Errors
            /// It is gone, or the database is away.
            #visibility async fn refresh_only<L: ::hulse::models::FieldList>(
                &mut self,
                site: &#derive::Site,
                fields: impl ::core::ops::FnOnce(&#columns) -> L,
            ) -> #derive::Result<()> {
                ::hulse::models::refresh_only(self, site, fields).await
            }
        }
    }
}

/// `struct PostColumns`
fn columns(parts: &Parts<'_>) -> TokenStream {
    let (name, visibility) = (parts.name, parts.visibility);
    let columns = format_ident!("{name}Columns");
    let words = format!("The columns of [`{name}`], for the closures of its queries.");
    let methods = parts.fields.iter().enumerate().map(|(at, field)| {
        let FieldParts { ident, kind, name: field_name, .. } = field;
        let words = format!("The column of `{field_name}`.");
        let at = Literal::usize_unsuffixed(at);
        quote_spanned! { ident.span() =>
            #[doc = #words]
            #[must_use]
            #visibility fn #ident(&self) -> <#kind as ::hulse::models::FieldType>::Column {
                self.0.column(&<#name as ::hulse::models::Model>::meta().fields[#at])
            }
        }
    });
    let many = parts.many.iter().enumerate().map(|(at, many)| many::column(parts, at, many));
    let structure = base::columns(parts, &words);
    let bases = base::methods(parts);
    quote! {
        #structure

        #[automatically_derived]
        #[allow(dead_code)]
        impl #columns {
            #(#methods)*
            #(#many)*
            #bases

            /// The rows of `R` whose foreign key `by` points here, to look at or count.
            #[must_use]
            #visibility fn reverse<R: ::hulse::models::Model>(
                &self,
                by: impl ::core::ops::FnOnce(&R::Columns) -> ::hulse::models::Related<#name>,
            ) -> ::hulse::models::RelatedMany<R> {
                self.0.reverse::<R, #name>(by)
            }
        }
    }
}

/// `impl Default`: what a new row has.
fn default(parts: &Parts<'_>) -> TokenStream {
    let name = parts.name;
    let idents = parts.fields.iter().map(|field| field.ident);
    let places = (0..parts.fields.len()).map(Literal::usize_unsuffixed);
    let values = parts.fields.iter().zip(places).map(|(field, at)| field.initial(&quote! { #at }));
    let many = parts.many.iter().map(|many| many.ident);
    let bases = parts.bases.iter().map(|base| base.ident);
    let base_places = base::places(parts);
    let base = quote! { ::hulse::models::AbstractModel };
    quote! {
        #[automatically_derived]
        impl ::core::default::Default for #name {
            fn default() -> Self {
                let fields = &<Self as ::hulse::models::Model>::meta().fields;
                Self {
                    #(#idents: #values,)*
                    #(#bases: #base::initial(fields, #base_places),)*
                    #(#many: ::core::default::Default::default(),)*
                }
            }
        }
    }
}

/// `impl Serialize`, without secrets.
fn serialize(parts: &Parts<'_>) -> TokenStream {
    let name = parts.name;
    let label = name.to_string();
    let (count, fields) = shown(&parts.fields);
    let many: Vec<_> = parts.many.iter().map(|many| many.ident).collect();
    let many_names = parts.many.iter().map(|many| &many.name);
    let bases = parts.bases.iter().map(|base| base.ident);
    let base_shown = parts.bases.iter().map(|base| base.ident);
    let base = quote! { ::hulse::models::AbstractModel };
    quote! {
        #[automatically_derived]
        impl ::hulse::models::derive::serde::Serialize for #name {
            fn serialize<S: ::hulse::models::derive::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                use ::hulse::models::derive::serde::ser::SerializeStruct as _;
                let count = #count #(+ usize::from(self.#many.is_loaded()))*
                    #(+ #base::shown(&self.#base_shown))*;
                let mut shown = serializer.serialize_struct(#label, count)?;
                let row = &mut shown;
                #fields
                #(#base::serialize_fields(&self.#bases, row)?;)*
                #(if self.#many.is_loaded() {
                    row.serialize_field(#many_names, &self.#many)?;
                })*
                shown.end()
            }
        }
    }
}

/// How many fields are serialized, and the statements that do it into `row`. What is deferred and
/// was not read is left out, as a relation is that is not loaded.
pub(crate) fn shown(fields: &[FieldParts<'_>]) -> (TokenStream, TokenStream) {
    let shown = || fields.iter().filter(|field| !field.attributes.secret);
    let always = shown().filter(|field| !field.deferred).count();
    let deferred = shown().filter(|field| field.deferred).map(|field| field.ident);
    let count = quote! { #always #(+ usize::from(self.#deferred.loaded().is_some()))* };
    let statements = shown().map(|FieldParts { ident, name, deferred, .. }| {
        let statement = quote! { row.serialize_field(#name, &self.#ident)?; };
        if *deferred {
            quote! { if self.#ident.loaded().is_some() { #statement } }
        } else {
            statement
        }
    });
    (count, statements.collect())
}
