//! The expressions that make a model's description.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{LitStr, Result};

use crate::attributes::{FieldDefault, OnDelete, Validator};
use crate::constraints::Kind;
use crate::many;
use crate::parts::{FieldParts, Parts};

pub(crate) fn optional(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote! { ::core::option::Option::Some(#value) },
        None => quote! { ::core::option::Option::None },
    }
}

/// The expression of the description.
pub(crate) fn meta(parts: &Parts<'_>) -> Result<TokenStream> {
    let label = parts.name.to_string();
    let attributes = &parts.attributes;
    let app = match &attributes.app {
        Some(app) => quote! { #app },
        None => quote! { ::hulse::models::derive::app(::core::module_path!()) },
    };
    let table = match &attributes.table {
        Some(table) => quote! { #table },
        None => quote! { ::hulse::models::derive::table(app, #label) },
    };
    let fields = fields(parts)?;
    let many = parts.many.iter().map(|many| many::describe(parts, many));
    let ordering = &attributes.ordering;
    let constraints = constraints(parts);
    let verbose_name =
        attributes.verbose_name.as_ref().map_or_else(|| words(&label), LitStr::value);
    let plural = attributes.verbose_name_plural.as_ref().map(LitStr::value);
    let plural = plural.unwrap_or_else(|| format!("{verbose_name}s"));
    let get_latest_by = &attributes.get_latest_by;
    let managed = attributes.managed.as_ref().is_none_or(|managed| managed.value);
    let named = (!parts.bases.is_empty()).then(|| quote! { ::hulse::models::derive::named });
    let name = parts.name;
    let natural_key = &attributes.natural_key;
    let permissions = permissions(parts);
    Ok(quote! {{
        let app = #app;
        #named(::hulse::models::Meta {
            app,
            model: #label,
            table: #table,
            fields: #fields,
            ordering: &[#(#ordering),*],
            many: ::std::vec![#(#many),*],
            #constraints
            verbose_name: #verbose_name,
            verbose_name_plural: #plural,
            get_latest_by: &[#(#get_latest_by),*],
            managed: #managed,
            natural_key: &[#(#natural_key),*],
            #permissions
            rows: ::core::option::Option::Some(::hulse::models::derive::rows::<#name>()),
        })
    }})
}

/// The members `permissions` and `default_permissions`.
fn permissions(parts: &Parts<'_>) -> TokenStream {
    let (codenames, names): (Vec<_>, Vec<_>) =
        parts.attributes.permissions.iter().map(|(codename, name)| (codename, name)).unzip();
    let actions = match &parts.attributes.default_permissions {
        Some(actions) => quote! { &[#(#actions),*] },
        None => quote! { ::hulse::models::DEFAULT_PERMISSIONS },
    };
    quote! {
        permissions: &[#((#codenames, #names)),*],
        default_permissions: #actions,
    }
}

/// The model's own fields, and those of its bases behind them.
fn fields(parts: &Parts<'_>) -> Result<TokenStream> {
    let fields = parts.fields.iter().enumerate();
    let fields = fields.map(|(at, field)| describe(field, at == parts.key));
    let fields = fields.collect::<Result<Vec<_>>>()?;
    let bases = parts.bases.iter().map(|base| &base.kind);
    if parts.bases.is_empty() {
        return Ok(quote! { ::std::vec![#(#fields),*] });
    }
    let path = quote! { ::hulse::models::AbstractModel };
    Ok(quote! { [::std::vec![#(#fields),*], #(<#bases as #path>::fields()),*].concat() })
}

/// The members `indexes` and `constraints`.
fn constraints(parts: &Parts<'_>) -> TokenStream {
    let (indexes, constraints): (Vec<_>, Vec<_>) =
        parts.attributes.constraints.iter().partition(|one| one.kind == Kind::Index);
    let indexes = indexes.into_iter().map(|one| one.describe(parts.name));
    let constraints = constraints.into_iter().map(|one| one.describe(parts.name));
    quote! {
        indexes: ::std::vec![#(#indexes),*],
        constraints: ::std::vec![#(#constraints),*],
    }
}

/// `blog post` for `BlogPost`.
fn words(name: &str) -> String {
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// The expression of one field's description: what its type says, and what its attributes change.
pub(crate) fn describe(field: &FieldParts<'_>, primary_key: bool) -> Result<TokenStream> {
    let FieldParts { name, kind, attributes, .. } = field;
    let derive = quote! { ::hulse::models::derive };
    let max_length = optional(attributes.length()?.map(|length| quote! { #length }));
    let mut members = Vec::new();
    let mut set = |member: &str, value: TokenStream| {
        let member = syn::Ident::new(member, kind_span(field));
        members.push(quote! { #member: #value });
    };
    for (member, said) in [
        ("primary_key", primary_key),
        ("unique", attributes.unique),
        ("index", attributes.index || attributes.is_slug() && !attributes.unique),
        ("auto_now", attributes.auto_now),
        ("auto_now_add", attributes.auto_now_add),
        // What is set by itself nobody is asked for.
        ("blank", attributes.blank || attributes.auto_now || attributes.auto_now_add),
        ("secret", attributes.secret),
        ("deferred", field.deferred),
    ] {
        if said {
            set(member, quote! { true });
        }
    }
    for (member, said) in [
        ("column", &attributes.column),
        ("help_text", &attributes.help_text),
        ("upload_to", &attributes.upload_to),
    ] {
        if let Some(text) = said {
            set(member, quote! { #text });
        }
    }
    if let Some(name) = verbose_name(field) {
        set("verbose_name", quote! { #name });
    }
    let is_editable = attributes
        .editable
        .as_ref()
        .map_or(!(attributes.auto_now || attributes.auto_now_add), |editable| editable.value);
    if !is_editable {
        set("editable", quote! { false });
    }
    if let Some(default) = &attributes.default {
        let value = default_value(field, default);
        set("default", optional(Some(quote! { #derive::fitting::<#kind>(#value) })));
    }
    if let Some(function) = &attributes.default_fn {
        let called =
            quote_spanned! { kind_span(field) => #derive::called::<#kind, _>(#function()) };
        set("default_fn", optional(Some(quote! { || #called })));
    }
    if let Some((digits, places)) = attributes.digits()? {
        set("digits", optional(Some(quote! { (#digits, #places) })));
    }
    if let Some(action) = &attributes.on_delete {
        let action = on_delete(kind, action);
        set("relation", quote! { #derive::relation::<#kind>(#action) });
    }
    if let Some(validators) = validators(field) {
        set("validators", validators);
    }
    Ok(quote! {
        ::hulse::models::Field {
            #(#members,)*
            ..#derive::field::<#kind>(#name, #max_length)
        }
    })
}

/// What is asked of its values.
fn validators(field: &FieldParts<'_>) -> Option<TokenStream> {
    let derive = quote! { ::hulse::models::derive };
    let asked = &field.attributes.validators;
    let validators = asked.iter().map(|one| validator(field, one));
    let patterns = asked.iter().filter_map(|one| match one {
        Validator::Regex(pattern) => Some(pattern),
        _ => None,
    });
    // A wrong pattern is told when the site starts, not at the first value.
    (!asked.is_empty())
        .then(|| quote! {{ #(let _ = #derive::pattern(#patterns);)* &[#(#validators),*] }})
}

fn kind_span(field: &FieldParts<'_>) -> proc_macro2::Span {
    field.kind.span()
}

/// What people call the field, if that is not its name.
fn verbose_name(field: &FieldParts<'_>) -> Option<String> {
    match &field.attributes.verbose_name {
        Some(name) => Some(name.value()),
        None => field.name.contains('_').then(|| field.name.replace('_', " ")),
    }
}

fn on_delete(kind: &syn::Type, action: &OnDelete) -> TokenStream {
    let action = match action {
        OnDelete::Cascade => quote! { Cascade },
        OnDelete::Protect => quote! { Protect },
        OnDelete::Restrict => quote! { Restrict },
        OnDelete::SetNull => quote! { SetNull },
        OnDelete::SetDefault => quote! { SetDefault },
        OnDelete::Set(path) => quote_spanned! { path.span() =>
            Set(::hulse::models::SetTo(|site| ::std::boxed::Box::pin(async move {
                let row = #path(site).await?;
                ::core::result::Result::Ok(::hulse::models::derive::target::<#kind, _>(&row))
            })))
        },
        OnDelete::DoNothing => quote! { DoNothing },
    };
    quote! { ::hulse::models::OnDelete::#action }
}

/// A default as the description has it.
pub(crate) fn default_value(field: &FieldParts<'_>, default: &FieldDefault) -> TokenStream {
    let path = quote! { ::hulse::models::Default };
    match default {
        FieldDefault::Bool(value) => quote! { #path::Bool(#value) },
        FieldDefault::Int(value) => quote! { #path::Int(#value) },
        FieldDefault::Float(value) => quote! { #path::Float(#value) },
        FieldDefault::Text(value) => quote! { #path::Text(#value) },
        FieldDefault::Expression(value) => {
            let kind = &field.kind;
            quote! { ::hulse::models::derive::spoken::<#kind, _>(&#value) }
        }
    }
}

/// A question to the field's values. None of them captures anything, so each is a function.
fn validator(field: &FieldParts<'_>, validator: &Validator) -> TokenStream {
    let kind = &field.kind;
    let derive = quote! { ::hulse::models::derive };
    let (name, check) = match validator {
        Validator::Named(word) => {
            let path = quote! { ::hulse::models::validators::#word };
            (word.to_string(), quote! { #derive::ask::<#kind, str, _, _>(value, #path) })
        }
        Validator::Limit(word, limit) => {
            let limit = default_value(field, limit);
            (word.to_string(), quote! { #derive::#word(value, &#limit) })
        }
        Validator::MinLength(least) => {
            ("min_length".to_owned(), quote! { #derive::min_length(value, #least) })
        }
        Validator::Regex(pattern) => {
            let check = quote! {{
                static PATTERN: #derive::LazyLock<#derive::Regex> =
                    #derive::LazyLock::new(|| #derive::pattern(#pattern));
                #derive::matches(value, &PATTERN)
            }};
            ("regex".to_owned(), check)
        }
        Validator::Own(path) => {
            let name = path.segments.last().map(|segment| segment.ident.to_string());
            let check = quote! { #derive::ask::<#kind, _, _, _>(value, #path) };
            (name.unwrap_or_default(), check)
        }
    };
    quote! { ::hulse::models::Validator { name: #name, check: |value| #check } }
}
