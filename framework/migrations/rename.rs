//! What may have got another name: models, many-to-many fields, fields. A person is asked.

use super::Operation;
use super::operation::{field_of, is_between};
use super::state::{FieldState, Kind, ModelKey, ModelState, ProjectState};

/// Something that may have got another name: its definition is otherwise the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rename {
    /// A model.
    Model {
        /// Its key before.
        model: ModelKey,
        /// Its name now.
        to: String,
    },
    /// A many-to-many field, whose rows are in a model between.
    ManyToMany {
        /// The model.
        model: ModelKey,
        /// Name of the field before.
        from: String,
        /// Its name now.
        to: String,
    },
    /// A field.
    Field {
        /// The model.
        model: ModelKey,
        /// Name before.
        from: String,
        /// Name now.
        to: String,
        /// What it holds, as Django names such a field.
        kind: &'static str,
    },
}

impl Rename {
    /// Django's question.
    #[must_use]
    pub fn question(&self) -> String {
        let field = |model: &ModelKey, from: &str, to: &str, kind: &str| {
            let model = model.model.to_lowercase();
            format!("Was {model}.{from} renamed to {model}.{to} (a {kind})? [y/N] ")
        };
        match self {
            Self::Model { model, to } => {
                format!("Was the model {model} renamed to {to}? [y/N] ")
            }
            Self::ManyToMany { model, from, to } => field(model, from, to, "ManyToManyField"),
            Self::Field { model, from, to, kind } => field(model, from, to, kind),
        }
    }

    /// The app whose migration it goes into.
    pub(super) fn app(&self) -> &str {
        match self {
            Self::Model { model, .. }
            | Self::ManyToMany { model, .. }
            | Self::Field { model, .. } => &model.app,
        }
    }

    pub(super) fn operation(&self) -> Operation {
        match self {
            Self::Model { model, to } => {
                Operation::RenameModel { from: model.model.clone(), to: to.clone() }
            }
            Self::ManyToMany { model, from, to } => {
                let between = |field: &str| format!("{}_{field}", model.model);
                Operation::RenameModel { from: between(from), to: between(to) }
            }
            Self::Field { model, from, to, .. } => Operation::RenameField {
                model: model.model.clone(),
                from: from.clone(),
                to: to.clone(),
            },
        }
    }
}

/// What was renamed between `old` and `new`, models first; `ask` says which of the possible renames
/// are meant as such.
#[must_use]
pub fn renames(
    old: &ProjectState,
    new: &ProjectState,
    ask: &mut dyn FnMut(&Rename) -> bool,
) -> Vec<Rename> {
    let mut state = old.clone();
    let mut meant = Vec::new();
    for find in [possible_models, possible_many, possible_fields] {
        // A yes takes both names away from the other possibilities.
        let mut asked: Vec<Rename> = Vec::new();
        while let Some(rename) = find(&state, new).into_iter().find(|one| !asked.contains(one)) {
            asked.push(rename.clone());
            if ask(&rename) && rename.operation().apply(rename.app(), &mut state).is_ok() {
                meant.push(rename);
            }
        }
    }
    meant
}

fn possible_models(old: &ProjectState, new: &ProjectState) -> Vec<Rename> {
    let mut found = Vec::new();
    let is_added = |model: &&ModelState| old.model(&model.key).is_none() && !is_between(new, model);
    for to in new.models().iter().filter(is_added) {
        let gone = old.models().iter().filter(|from| {
            from.key.app == to.key.app && new.model(&from.key).is_none() && !is_between(old, from)
        });
        let alike = gone.filter(|from| has_same_fields(from, to));
        found.extend(
            alike.map(|from| Rename::Model { model: from.key.clone(), to: to.key.model.clone() }),
        );
    }
    found
}

fn possible_many(old: &ProjectState, new: &ProjectState) -> Vec<Rename> {
    let mut found = Vec::new();
    for owner in new.models().iter().filter(|model| old.model(&model.key).is_some()) {
        let added = new.models().iter().filter(|model| old.model(&model.key).is_none());
        for (to, name) in added.filter_map(|to| Some((to, field_of(to, &owner.key)?))) {
            let gone = old.models().iter().filter(|from| new.model(&from.key).is_none());
            let gone = gone.filter_map(|from| Some((from, field_of(from, &owner.key)?)));
            let alike = gone.filter(|(from, _)| from.fields == to.fields);
            found.extend(alike.map(|(_, from)| Rename::ManyToMany {
                model: owner.key.clone(),
                from: from.to_owned(),
                to: name.to_owned(),
            }));
        }
    }
    found
}

fn possible_fields(old: &ProjectState, new: &ProjectState) -> Vec<Rename> {
    let mut found = Vec::new();
    for new in new.models() {
        let Some(old) = old.model(&new.key) else { continue };
        for to in new.fields.iter().filter(|field| old.field(&field.name).is_none()) {
            let gone = old.fields.iter().filter(|field| new.field(&field.name).is_none());
            found.extend(gone.filter(|from| is_renamed(from, to)).map(|from| Rename::Field {
                model: new.key.clone(),
                from: from.name.clone(),
                to: to.name.clone(),
                kind: to.kind.field_name(),
            }));
        }
    }
    found
}

/// Whether the two differ in nothing but their names; the column may have stayed.
fn is_renamed(from: &FieldState, to: &FieldState) -> bool {
    let is_default = from.column == FieldState::default_column(&from.name, &from.kind);
    let follows = is_default && to.column == FieldState::default_column(&to.name, &to.kind);
    let (name, column) = (to.name.clone(), to.column.clone());
    (follows || from.column == to.column) && *to == FieldState { name, column, ..from.clone() }
}

/// Whether the fields are the same, wherever they point and in whatever order.
fn has_same_fields(from: &ModelState, to: &ModelState) -> bool {
    let bare = |model: &ModelState| {
        let mut fields = model.fields.clone();
        for field in &mut fields {
            if let Kind::ForeignKey { to, .. } = &mut field.kind {
                *to = ModelKey::new("", "");
            }
        }
        fields.sort_by(|one, other| one.name.cmp(&other.name));
        fields
    };
    bare(from) == bare(to)
}
