//! Random changes of random models: the operations lead there, whatever order files are replayed
//! in, and a file says all of it.

use crate::migrations::constraint::{ConstraintState, IndexState, Rule};
use crate::migrations::state::{FieldState, Kind, ModelKey, ModelState, ProjectState};
use crate::migrations::{
    Graph, Migration, ModelOptions, Operation, arrange, check_changes, diff, names, renames,
};
use crate::models::OnDelete;

/// Sequences, and changes of each.
const SEQUENCES: u64 = 150;
const CHANGES: usize = 12;

/// Numbers that look random (Knuth's linear congruence).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        (!list.is_empty()).then(|| &list[self.below(list.len())])
    }
}

fn field(name: &str, kind: Kind) -> FieldState {
    FieldState {
        name: name.to_owned(),
        column: FieldState::default_column(name, &kind),
        index: matches!(kind, Kind::ForeignKey { .. }),
        kind,
        null: true,
        primary_key: false,
        unique: false,
        max_length: None,
        digits: None,
        default: None,
        auto_now: false,
        auto_now_add: false,
    }
}

fn key_to(name: &str, to: &ModelKey) -> FieldState {
    field(name, Kind::ForeignKey { to: to.clone(), on_delete: OnDelete::Cascade })
}

fn new_field(chance: &mut Chance, name: &str, models: &[ModelKey]) -> FieldState {
    let kinds = [Kind::Integer, Kind::Text, Kind::Boolean, Kind::PositiveInteger];
    match chance.below(6) {
        at @ 0..=3 => field(name, kinds[at].clone()),
        _ => models
            .get(chance.below(models.len()))
            .map_or_else(|| field(name, Kind::Text), |to| key_to(name, to)),
    }
}

fn new_model(chance: &mut Chance, key: ModelKey, others: &[ModelKey]) -> ModelState {
    let id = FieldState { null: false, primary_key: true, ..field("id", Kind::BigAuto) };
    let mut fields = vec![id];
    let mut models = others.to_vec();
    models.push(key.clone());
    for name in ["a", "b", "c"].iter().take(chance.below(4)) {
        fields.push(new_field(chance, name, &models));
    }
    ModelState {
        table: ModelState::default_table(&key),
        key,
        fields,
        indexes: Vec::new(),
        constraints: Vec::new(),
        options: ModelOptions::default(),
    }
}

/// Changes something; how it was meant, if it was a rename.
fn change(chance: &mut Chance, state: &mut ProjectState) -> Option<Operation> {
    let keys: Vec<ModelKey> = state.models().iter().map(|model| model.key.clone()).collect();
    let own: Vec<ModelKey> = keys.iter().filter(|key| !key.model.contains('_')).cloned().collect();
    let action = chance.below(12);
    let Some(key) = chance.pick(&own).cloned().filter(|_| action > 1) else {
        let app = ["x", "y"][chance.below(2)];
        let free = ["A", "B", "C", "D"].map(|name| ModelKey::new(app, name));
        if let Some(key) = free.iter().find(|key| !keys.contains(key)) {
            // Declared models come in any order: some point to what comes later.
            let model = new_model(chance, key.clone(), &own);
            state.push(model);
        }
        return None;
    };
    let name = format!("n{}", chance.below(4));
    match action {
        2 => delete(state, &key),
        3 => {
            let to = format!("R{}", chance.below(4));
            let rename = Operation::RenameModel { from: key.model.clone(), to };
            return rename.apply(&key.app, state).is_ok().then_some(rename);
        }
        4 => {
            let model = state.existing(&key).unwrap();
            let from = chance.pick(&model.fields).filter(|field| !field.primary_key)?.name.clone();
            let rename = Operation::RenameField { model: key.model.clone(), from, to: name };
            return rename.apply(&key.app, state).is_ok().then_some(rename);
        }
        5 => between(chance, state, &key, &own),
        _ => change_model(chance, state.existing_mut(&key).unwrap(), (action, &name), &own),
    }
    None
}

fn change_model(
    chance: &mut Chance,
    model: &mut ModelState,
    (action, name): (usize, &str),
    own: &[ModelKey],
) {
    let picked = chance.pick(&model.fields).unwrap().name.clone();
    match action {
        6 | 7 if model.field(name).is_none() => {
            let field = new_field(chance, name, own);
            model.fields.push(field);
        }
        8 => drop_field(model, &picked),
        9 if picked != "id" && !model.field(&picked).unwrap().primary_key => {
            let before = model.clone();
            let altered = new_field(chance, &picked, own);
            let field = model.fields.iter_mut().find(|field| field.name == picked).unwrap();
            *field = FieldState { unique: chance.below(2) == 0, ..altered };
            field.index = field.index && !field.unique;
            model.follow(&before);
        }
        10 => {
            let column = model.field(&picked).unwrap().column.clone();
            let (is_automatic, is_unique) = (chance.below(2) == 0, chance.below(2) == 0);
            let ending = if is_unique { "uniq" } else { "idx" };
            let automatic = names::index(&model.table, &[column], None, ending);
            let given = format!("{}_{name}_{ending}", model.table);
            let name = if is_automatic { automatic } else { given };
            let is_known = model.constraints.iter().any(|one| one.name == name)
                || model.indexes.iter().any(|one| one.name == name);
            let fields = vec![picked];
            if is_known {
                model.constraints.retain(|one| one.name != name);
            } else if is_unique {
                let rule = Rule::Unique { fields, condition: None, nulls_distinct: true };
                model.constraints.push(ConstraintState { name, rule });
            } else {
                model.indexes.push(IndexState { name, fields, condition: None });
            }
        }
        11 => model.options.managed = chance.below(8) > 0 || model.options.managed,
        _ => {}
    }
}

fn drop_field(model: &mut ModelState, name: &str) {
    if model.field(name).is_some_and(|field| !field.primary_key) {
        while let Some(user) = model.user_of(name).map(str::to_owned) {
            model.indexes.retain(|index| index.name != user);
            model.constraints.retain(|constraint| constraint.name != user);
        }
        model.fields.retain(|field| field.name != name);
    }
}

/// Takes a model away, with all that pointed to it.
fn delete(state: &mut ProjectState, key: &ModelKey) {
    let pointing: Vec<(ModelKey, String)> = state
        .referring(key)
        .map(|(model, field)| (model.key.clone(), field.name.clone()))
        .collect();
    for (model, field) in pointing {
        if model.model.contains('_') {
            state.remove(&model);
        } else {
            state.existing_mut(&model).map(|model| drop_field(model, &field)).unwrap();
        }
    }
    state.remove(key);
}

/// A many-to-many field comes or goes.
fn between(chance: &mut Chance, state: &mut ProjectState, from: &ModelKey, own: &[ModelKey]) {
    let key = ModelKey::new(&from.app, &format!("{}_m{}", from.model, chance.below(2)));
    if state.model(&key).is_some() {
        state.remove(&key);
        return;
    }
    let Some(to) = chance.pick(own) else { return };
    let (one, other) = (from.model.to_lowercase(), to.model.to_lowercase());
    let (one, other) =
        if one == other { (format!("from_{one}"), format!("to_{other}")) } else { (one, other) };
    let mut model = new_model(&mut Chance(0), key, &[]);
    model.fields.truncate(1);
    let end = |name: &str, to: &ModelKey| FieldState { null: false, ..key_to(name, to) };
    model.fields.extend([end(&one, from), end(&other, to)]);
    let columns = [format!("{one}_id"), format!("{other}_id")];
    let rule = Rule::Unique { fields: vec![one, other], condition: None, nulls_distinct: true };
    let name = names::index(&model.table, &columns, None, "uniq");
    model.constraints.push(ConstraintState { name, rule });
    state.push(model);
}

#[test]
fn random_changes_are_followed_in_whatever_order_files_are_replayed() {
    let failed: Vec<String> = (0..SEQUENCES)
        .filter_map(|seed| sequence(seed).err().map(|words| format!("{seed}: {words}")))
        .collect();
    assert!(
        failed.is_empty(),
        "{} failed:\n{}",
        failed.len(),
        failed[..failed.len().min(5)].join("\n")
    );
}

fn sequence(seed: u64) -> Result<(), String> {
    let mut chance = Chance(seed * 7919 + 1);
    let mut files: Vec<Migration> = Vec::new();
    let mut old = ProjectState::default();
    for _ in 0..CHANGES {
        let mut new = old.clone();
        let meant: Vec<Operation> =
            (0..=chance.below(3)).filter_map(|_| change(&mut chance, &mut new)).collect();
        let yes = chance.below(3) > 0;
        let meant = renames(&old, &new, &mut |rename| yes && meant.contains(&rename.operation()));
        let changes = diff(&old, &new, &meant);
        let words: Vec<String> = changes.iter().map(|one| one.operation.describe()).collect();
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            format!("{what}: {error} in {words:?} of {:?}", changes.len())
        };
        check_changes(&changes, &old).map_err(|error| failed("changes", &error))?;
        let graph = Graph::new(files.clone()).map_err(|error| failed("graph", &error))?;
        let made = arrange(changes.clone(), &new, &graph, None);
        for migration in &made {
            let text = migration.text("-");
            let read = Migration::parse(migration.key.clone(), "x", &text);
            if read.map_err(|error| failed("file", &error))? != *migration {
                return Err(failed("file", &text));
            }
        }
        files.extend(made);
        let graph = Graph::new(files.clone()).map_err(|error| failed("graph", &error))?;
        graph.check_conflicts().map_err(|error| failed("graph", &error))?;
        old = graph.state(|_| true).map_err(|error| failed("replay", &error))?;
        let rest: Vec<String> =
            diff(&old, &new, &[]).iter().map(|one| one.operation.describe()).collect();
        if !rest.is_empty() {
            return Err(failed("rest", &format!("{rest:?}")));
        }
    }
    undone(&files).map_err(|error| format!("undoing: {error}"))
}

/// Undoes all files, last first; nothing is left.
fn undone(files: &[Migration]) -> crate::error::Result<()> {
    let graph = Graph::new(files.to_vec())?;
    let mut state = graph.state(|_| true)?;
    let order: Vec<&Migration> = graph.migrations().collect();
    for (at, migration) in order.iter().enumerate().rev() {
        let mut before = ProjectState::default();
        for earlier in &order[..at] {
            earlier.apply(&mut before)?;
        }
        let mut inverses = Vec::new();
        for operation in &migration.operations {
            inverses.push(operation.inverse(&migration.key.app, &before)?);
            operation.apply(&migration.key.app, &mut before)?;
        }
        for inverse in inverses.into_iter().rev() {
            inverse.apply(&migration.key.app, &mut state)?;
        }
    }
    assert_eq!(state.models(), []);
    Ok(())
}
