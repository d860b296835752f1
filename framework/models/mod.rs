//! Models: one struct is the table.
//!
//! Flow: `Post::objects()` → `QuerySet` → `sql` → `db` → rows → structs.
//! `post.save(&site)` → `before_save` → INSERT or UPDATE → `after_save` → commit → `after_commit`.
//!
//! Invariants: knows no HTTP; values are bound; everything but the derive's row and value code
//! works on [`Meta`].

mod abstract_model;
mod bulk;
mod choices;
mod clean;
mod condition;
mod condition_sql;
mod decimal;
mod deferred;
mod delete;
pub mod duration;
mod error;
mod expression;
mod field;
mod fields;
mod file;
mod hooks;
mod id;
mod instance;
mod json;
mod kind;
mod live;
mod loader;
mod meta;
mod model;
mod operand;
mod plain;
mod query;
mod question;
mod registry;
mod relations;
mod save;
mod select_related;
mod signals;
mod sql;
mod trail;

#[doc(hidden)]
pub mod derive;
pub mod functions;
pub mod validators;

/// What fixtures write rows with.
pub(crate) mod writing {
    pub(crate) use super::bulk::{BATCH_ROWS, batch_rows, insert};
    pub(crate) use super::instance::{instant, made_between, set_related};
    pub(crate) use super::live::{Act, is_observed};
    pub(crate) use super::save::check;
    pub(crate) use super::sql::Meeting;
}

use relations::{
    between, fetch_mode, foreign_key, has_many, kept, many_to_many, one_to_one, prefetch, related,
    related_set, slot, through,
};

pub use crate::conf::FetchMode;
pub use abstract_model::{AbstractModel, BaseColumns};
pub use between::{M2mAction, M2mChanged};
pub use bulk::{Bulk, Conflicts};
pub use choices::Choices;
pub use chrono::{NaiveTime, TimeDelta};
pub use clean::{ALL, FieldError, Invalid, full_clean};
pub use condition::Q;
pub use deferred::Deferred;
pub use delete::{Deleted, ProtectingRow, delete};
#[doc(hidden)]
pub use expression::Node;
pub use expression::{
    Case, Expression, FromMoment, Nulls, Number, Order, Output, Over, Summed, Windowed,
};
pub use field::{FieldType, Plain, Timed};
pub use fields::{FieldList, Fields, Named};
pub use file::{File, Image};
pub use foreign_key::ForeignKey;
pub use has_many::{HasMany, HasOne};
pub use hooks::{Change, Hooks};
pub use hulse_macros::{AbstractModel, Choices, Model, Projection};
pub use id::Id;
pub use instance::Instance;
pub use json::Json;
pub use live::Rows;
pub use many_to_many::ManyToMany;
pub use meta::{
    Choice, Condition, Constraint, ConstraintKind, DEFAULT_PERMISSIONS, Default, Field, FieldKind,
    Index, Many, ManyKind, Meta, OnDelete, Relation, SetTo, Validator,
};
pub use model::Model;
pub use one_to_one::OneToOne;
pub use operand::Operand;
pub use prefetch::{Prefetchable, With, prefetch};
pub use query::{
    Assignment, Distinction, Every, Explain, Lock, OneOrMore, Page, Paginator, Projection,
    QuerySet, Selection, refresh,
};
pub use registry::Registry;
pub use related::{PointsTo, Related, RelatedMany};
pub use related_set::{KeyOf, RelatedOne, RelatedSet};
pub use rust_decimal::Decimal;
pub use save::{create, force_update, refresh_only, save, save_only};
pub use serde_json::Value as JsonValue;
pub use signals::{PostDelete, PostSave, PreDelete, PreSave};
pub use trail::{AtPath, Columns, FieldPath, Step, Trail};
pub use uuid::Uuid;
