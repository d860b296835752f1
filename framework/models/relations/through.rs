//! The model between the two sides of a many-to-many field, made at run time from its description.
//!
//! Flow: `tags: ManyToMany<Tag>` of `blog.Post` → [`through`] → `blog.Post_tags`, a description
//! like any other → [`Meta::with_throughs`] puts it into the lists that migrations, deletes and
//! fixtures work on.
//!
//! Invariants:
//! - One description for each field, made once, so descriptions are compared by address.
//! - It asks for those of both sides only when it is itself asked for: models may refer to each
//!   other, and making a description must not need another.

use std::any::TypeId;

use crate::models::derive;
use crate::models::field::FieldType;
use crate::models::foreign_key::ForeignKey;
use crate::models::meta::{
    Constraint, ConstraintKind, Field, FieldKind, ManyKind, Meta, OnDelete, Relation,
};
use crate::models::model::Model;

impl Meta {
    /// `models`, followed by the models between that their many-to-many fields have made for them.
    /// Whoever takes a list of models to do something with every table calls it; doing so twice
    /// changes nothing.
    #[must_use]
    pub fn with_throughs(models: impl IntoIterator<Item = &'static Self>) -> Vec<&'static Self> {
        let mut all: Vec<_> = models.into_iter().collect();
        for at in 0..all.len() {
            for many in &all[at].many {
                let ManyKind::ManyToMany { through, auto: true, .. } = many.kind else { continue };
                let through = through();
                if !all.iter().any(|meta| std::ptr::eq(*meta, through)) {
                    all.push(through);
                }
            }
        }
        all
    }
}

/// The description of the model between for the field called `field` of `From`.
#[must_use]
pub fn through<From: Model, To: Model>(field: &str) -> Meta {
    let (from, to) = (From::meta(), To::meta());
    // Of another app a model may have the same name.
    let (one, other) = if lower(from) == lower(to) {
        (format!("from_{}", lower(from)), format!("to_{}", lower(to)))
    } else {
        (lower(from), lower(to))
    };
    let (one, other): (&'static str, &'static str) = (one.leak(), other.leak());
    let unique = ConstraintKind::Unique {
        fields: Vec::from([one, other]).leak(),
        condition: None,
        nulls_distinct: true,
    };
    let words: &'static str =
        format!("{}-{} relationship", from.verbose_name, to.verbose_name).leak();
    let plural: &'static str = format!("{words}s").leak();
    Meta {
        app: from.app,
        model: format!("{}_{field}", from.model).leak(),
        table: format!("{}_{field}", from.table).leak(),
        fields: vec![id(), key::<From>(one), key::<To>(other)],
        ordering: &[],
        many: Vec::new(),
        indexes: Vec::new(),
        constraints: vec![Constraint { name: "", kind: unique, message: None }],
        verbose_name: words,
        verbose_name_plural: plural,
        get_latest_by: &[],
        managed: from.managed,
        natural_key: &[],
        permissions: &[],
        default_permissions: &[],
        rows: None,
    }
}

fn lower(meta: &Meta) -> String {
    meta.model.to_lowercase()
}

/// Whether a relation from `From` to `To` stays within one model.
#[must_use]
pub fn is_same<From: 'static, To: 'static>() -> bool {
    TypeId::of::<From>() == TypeId::of::<To>()
}

fn id() -> Field {
    let id = Field::new("id", "id", FieldKind::BigAuto);
    Field { primary_key: true, ..id }
}

/// A foreign key to `T`; deleting a `T` deletes the row.
fn key<T: Model>(name: &'static str) -> Field {
    let max_length = derive::max_length::<ForeignKey<T>>(None);
    let kind = derive::kind::<ForeignKey<T>>(max_length);
    let field = Field::new(name, format!("{name}_id").leak(), kind);
    Field {
        index: true,
        max_length,
        relation: ForeignKey::<T>::RELATION.map(|to| Relation { to, on_delete: OnDelete::Cascade }),
        ..field
    }
}
