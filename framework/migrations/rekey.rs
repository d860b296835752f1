//! From one primary key to another field: which operations that takes. Pure.
//!
//! A new field comes as an ordinary column first, becomes the key, and what was the key goes or
//! stays as an ordinary column. It may be NULL then, so that the way back can tell rows that lack
//! a key from those that have one.

use super::Operation;
use super::state::{FieldState, Kind, ModelState};

/// What leads from the primary key of `old` to that of `new`; nothing if it is the same field.
pub(super) fn operations(old: &ModelState, new: &ModelState) -> Vec<Operation> {
    let (Ok(was), Ok(is)) = (old.primary_key(), new.primary_key()) else { return Vec::new() };
    if was.name == is.name {
        return Vec::new();
    }
    let model = new.key.model.clone();
    let mut made = Vec::new();
    let known = old.field(&is.name);
    let field = waiting(is, known);
    match known {
        None => made.push(Operation::AddField { model: model.clone(), field, fill: None }),
        Some(known) if *known != field => {
            made.push(Operation::AlterField { model: model.clone(), field, fill: None });
        }
        Some(_) => {}
    }
    // Its column's name is a change of its own.
    let column = known.map_or(&is.column, |known| &known.column).clone();
    let key = FieldState { column, ..is.clone() };
    made.push(Operation::AlterPrimaryKey { model, fields: [key, former(was)] });
    made
}

/// The future key while it is none.
fn waiting(key: &FieldState, known: Option<&FieldState>) -> FieldState {
    let kind = counted_by_nobody(&key.kind);
    let field = FieldState { kind, primary_key: false, ..key.clone() };
    match known {
        Some(known) => FieldState {
            column: known.column.clone(),
            null: known.null,
            unique: known.unique,
            index: known.index,
            ..field
        },
        None => FieldState { null: is_made_up(&key.kind), ..field },
    }
}

/// The key that was.
fn former(key: &FieldState) -> FieldState {
    let kind = counted_by_nobody(&key.kind);
    FieldState { kind, primary_key: false, null: true, ..key.clone() }
}

fn counted_by_nobody(kind: &Kind) -> Kind {
    if *kind == Kind::BigAuto { Kind::BigInteger } else { kind.clone() }
}

/// Whether rows can be given keys of this kind without asking anybody.
pub(super) fn is_made_up(kind: &Kind) -> bool {
    matches!(kind, Kind::BigAuto | Kind::Uuid)
}
