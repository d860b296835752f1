//! Random models that change at random, each part known by a number that no rename changes.

use hulse::migrations::{
    ConstraintState, FieldState, IndexState, Kind, ModelKey, ModelOptions, ModelState,
    ProjectState, Rule, Value,
};
use hulse::models::OnDelete;

/// A repeatable source of chance (`SplitMix64`).
pub(super) struct Chance(pub(super) u64);

impl Chance {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ (word >> 31)) % limit as u64).unwrap()
    }

    /// Yes once in `times`.
    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

type Number = usize;

#[derive(Clone, Debug)]
pub(super) struct Sketch {
    pub(super) models: Vec<Model>,
    next: Number,
    /// Whether tables have rows, so that not every change can be made.
    has_rows: bool,
}

/// Its name, its columns with whether they descend, and the column its condition asks for.
type Index = (String, Vec<(Number, bool)>, Option<Number>);

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) number: Number,
    app: &'static str,
    pub(super) name: String,
    table: Option<String>,
    /// The first is the primary key.
    pub(super) fields: Vec<Field>,
    many: Vec<(Number, String, Number)>,
    unique: Vec<(String, Vec<Number>)>,
    indexes: Vec<Index>,
    checks: Vec<(String, Number)>,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) number: Number,
    pub(super) name: String,
    kind: Kind,
    /// The model it points to.
    to: Option<Number>,
    null: bool,
    unique: bool,
    index: bool,
    default: Option<Value>,
    max_length: Option<u32>,
    column: Option<String>,
}

const NAMES: [&str; 8] = ["Ant", "Bee", "Cat", "Dog", "Elk", "Fox", "Gnu", "Hen"];

const PLAIN: [Kind; 18] = [
    Kind::Boolean,
    Kind::SmallInteger,
    Kind::Integer,
    Kind::BigInteger,
    Kind::Float,
    Kind::Char,
    Kind::Text,
    Kind::DateTime,
    Kind::Date,
    Kind::PositiveSmallInteger,
    Kind::PositiveInteger,
    Kind::PositiveBigInteger,
    Kind::Decimal,
    Kind::Time,
    Kind::Duration,
    Kind::Uuid,
    Kind::Json,
    Kind::Binary,
];

/// Into which kinds a column with rows can be made, there and back.
fn kin(kind: &Kind, has_rows: bool) -> &'static [Kind] {
    match kind {
        Kind::SmallInteger => &[Kind::Integer, Kind::BigInteger, Kind::Decimal, Kind::Text],
        Kind::PositiveSmallInteger => &[Kind::PositiveInteger, Kind::Integer, Kind::Char],
        Kind::Integer => &[Kind::BigInteger, Kind::PositiveInteger, Kind::Float],
        Kind::Char => &[Kind::Text],
        Kind::Text if !has_rows => &[Kind::Integer, Kind::Date, Kind::Uuid, Kind::Char],
        Kind::Uuid | Kind::Date | Kind::Float => &[Kind::Text],
        _ => &[],
    }
}

/// A value of this kind for rows that exist, as a file has it.
pub(super) fn value(kind: &Kind) -> Option<Value> {
    let text = |text: &str| Some(Value::Text(text.to_owned()));
    match kind {
        Kind::Boolean => Some(Value::Bool(true)),
        Kind::Float => Some(Value::Float(1.5)),
        Kind::Char | Kind::Text => text("it's \"v1\""),
        Kind::DateTime => text("2026-01-31T12:00:00Z"),
        Kind::Date => text("2026-01-31"),
        Kind::Time => text("12:30:00"),
        Kind::Duration => text("00:00:01"),
        Kind::Uuid => text("00000000-0000-0000-0000-000000000001"),
        Kind::Json => text("{\"n\": 1}"),
        Kind::Binary => None,
        _ => Some(Value::Int(1)),
    }
}

impl Sketch {
    pub(super) fn new(chance: &mut Chance, has_rows: bool) -> Self {
        let mut sketch = Self { models: Vec::new(), next: 0, has_rows };
        for _ in 0..1 + chance.below(3) {
            sketch.add_model(chance);
        }
        sketch
    }

    fn number(&mut self) -> Number {
        self.next += 1;
        self.next
    }

    /// One to four changes, or a new name alone: what is renamed and changed at once is not known
    /// again, by nobody.
    pub(super) fn change(&mut self, chance: &mut Chance) {
        match chance.below(8) {
            0 => return self.rename_model(chance),
            1 => return self.rename_field(chance),
            2 => return self.rename_many(chance),
            _ => {}
        }
        for _ in 0..1 + chance.below(4) {
            match chance.below(13) {
                0 => self.add_model(chance),
                1 if self.models.len() > 1 => self.remove_model(chance),
                2 | 3 => self.move_table(chance),
                4 | 5 => self.add_field(chance),
                6 => self.remove_field(chance),
                7 | 8 => self.alter_field(chance),
                9 => self.change_indexes(chance),
                10 => self.change_constraints(chance),
                11 => self.change_many(chance),
                _ => self.add_link(chance),
            }
        }
    }

    fn any(&self, chance: &mut Chance) -> usize {
        chance.below(self.models.len())
    }

    fn free_name(&self, chance: &mut Chance) -> Option<String> {
        // Fields of a model between are called otherwise where its ends have one name.
        let is_free = |name: &&&str| !self.models.iter().any(|m| m.name == **name);
        let free: Vec<_> = NAMES.iter().filter(is_free).collect();
        (!free.is_empty()).then(|| (*free[chance.below(free.len())]).to_owned())
    }

    fn add_model(&mut self, chance: &mut Chance) {
        let app = if chance.one_in(3) { "zoo" } else { "wild" };
        let Some(name) = self.free_name(chance) else { return };
        let number = self.number();
        let mut key = Field {
            number: self.number(),
            name: "id".to_owned(),
            kind: Kind::BigAuto,
            to: None,
            null: false,
            unique: false,
            index: false,
            default: None,
            max_length: None,
            column: None,
        };
        if chance.one_in(4) {
            key.kind = [Kind::Char, Kind::Integer, Kind::Uuid][chance.below(3)].clone();
            key.max_length = (key.kind == Kind::Char).then_some(20);
        }
        let (fields, many) = (vec![key], Vec::new());
        let (unique, indexes, checks) = (Vec::new(), Vec::new(), Vec::new());
        let table = chance.one_in(5).then(|| format!("t_{number}"));
        self.models.push(Model { number, app, name, table, fields, many, unique, indexes, checks });
        let at = self.models.len() - 1;
        for _ in 0..chance.below(4) {
            let field = self.field(chance, false);
            self.models[at].fields.push(field);
        }
        if chance.one_in(2) {
            self.link(at, chance, false);
        }
    }

    /// A plain field; `late` if rows may exist.
    fn field(&mut self, chance: &mut Chance, late: bool) -> Field {
        let number = self.number();
        let kind = PLAIN[chance.below(PLAIN.len())].clone();
        let has_rows = late && self.has_rows;
        let unique = chance.one_in(4) && !matches!(kind, Kind::Json | Kind::Boolean);
        let default = if chance.one_in(3) { value(&kind) } else { None };
        Field {
            number,
            name: format!("f{number}"),
            to: None,
            null: chance.one_in(2) || (has_rows && (unique || value(&kind).is_none())),
            unique,
            index: !unique && chance.one_in(4) && kind != Kind::Json,
            default: default.filter(|_| !(has_rows && unique)),
            max_length: (kind == Kind::Char).then_some(20),
            column: chance.one_in(6).then(|| format!("Col {number}")),
            kind,
        }
    }

    fn add_field(&mut self, chance: &mut Chance) {
        let at = self.any(chance);
        let field = self.field(chance, true);
        self.models[at].fields.push(field);
    }

    fn add_link(&mut self, chance: &mut Chance) {
        let at = self.any(chance);
        self.link(at, chance, true);
    }

    /// A foreign key to any model, itself too.
    fn link(&mut self, at: usize, chance: &mut Chance, late: bool) {
        let number = self.number();
        let to = self.models[self.any(chance)].number;
        let unique = chance.one_in(5);
        let field = Field {
            number,
            name: format!("link{number}"),
            kind: Kind::BigInteger,
            to: Some(to),
            null: late || chance.one_in(2),
            unique,
            index: !unique && !chance.one_in(4),
            default: None,
            max_length: None,
            column: chance.one_in(6).then(|| format!("to {number}")),
        };
        self.models[at].fields.push(field);
    }

    fn remove_model(&mut self, chance: &mut Chance) {
        let gone = self.models.remove(chance.below(self.models.len())).number;
        for model in &mut self.models {
            let links: Vec<_> = model.fields.iter().filter(|f| f.to == Some(gone)).collect();
            let links: Vec<Number> = links.into_iter().map(|field| field.number).collect();
            links.into_iter().for_each(|number| model.drop_field(number));
            model.many.retain(|(_, _, to)| *to != gone);
        }
    }

    fn rename_model(&mut self, chance: &mut Chance) {
        let at = self.any(chance);
        if let Some(name) = self.free_name(chance) {
            self.models[at].name = name;
        }
    }

    fn move_table(&mut self, chance: &mut Chance) {
        let (at, number) = (self.any(chance), self.number());
        let model = &mut self.models[at];
        model.table = model.table.is_none().then(|| format!("Moved \"to\" {number}"));
    }

    fn remove_field(&mut self, chance: &mut Chance) {
        let at = self.any(chance);
        let model = &mut self.models[at];
        if model.fields.len() > 1 {
            let number = model.fields[1 + chance.below(model.fields.len() - 1)].number;
            model.drop_field(number);
        }
    }

    fn rename_field(&mut self, chance: &mut Chance) {
        let (at, number) = (self.any(chance), self.number());
        let model = &mut self.models[at];
        if model.fields.len() > 1 {
            let place = 1 + chance.below(model.fields.len() - 1);
            model.fields[place].name = format!("r{number}");
        }
    }

    fn alter_field(&mut self, chance: &mut Chance) {
        let (at, has_rows) = (self.any(chance), self.has_rows);
        let model = &mut self.models[at];
        if model.fields.len() == 1 {
            return;
        }
        let place = 1 + chance.below(model.fields.len() - 1);
        let is_used = model.uses(model.fields[place].number);
        let field = &mut model.fields[place];
        match chance.below(5) {
            // One value for all rows cannot take the place of NULL where each has its own.
            0 => {
                let is_stuck = field.to.is_some() || field.unique || value(&field.kind).is_none();
                field.null = !field.null || (has_rows && is_stuck);
            }
            1 if !has_rows && field.kind != Kind::Json => {
                field.unique = !field.unique;
                field.index = field.index && !field.unique;
            }
            2 if !field.unique && field.kind != Kind::Json => field.index = !field.index,
            3 if field.to.is_none() => {
                field.default = if field.default.is_none() { value(&field.kind) } else { None };
            }
            _ if field.to.is_none() && !is_used => {
                let kin = kin(&field.kind, has_rows);
                if field.kind == Kind::Char && chance.one_in(2) {
                    field.max_length = Some(30);
                } else if !kin.is_empty() {
                    field.kind = kin[chance.below(kin.len())].clone();
                    field.max_length = (field.kind == Kind::Char).then_some(25);
                    field.default = field.default.take().and_then(|_| value(&field.kind));
                }
            }
            _ => {}
        }
    }

    fn change_indexes(&mut self, chance: &mut Chance) {
        let (at, number) = (self.any(chance), self.number());
        let model = &mut self.models[at];
        if chance.one_in(3) && !model.indexes.is_empty() {
            let gone = chance.below(model.indexes.len());
            model.indexes.remove(gone);
            return;
        }
        let fields = model.fields.iter().filter(|field| field.kind != Kind::Json);
        let fields: Vec<_> = fields.map(|field| (field.number, chance.one_in(2))).collect();
        let fields: Vec<_> = fields.into_iter().filter(|_| chance.one_in(2)).take(3).collect();
        let numbers = model.fields.iter().filter(|field| field.is_number());
        let condition = numbers.map(|field| field.number).next().filter(|_| chance.one_in(2));
        let name = if chance.one_in(2) { String::new() } else { format!("index_{number}") };
        let is_new =
            model.indexes.iter().all(|(_, known, over)| *known != fields || *over != condition);
        // Without a name it would be called as the field's own index.
        let is_own = name.is_empty() && fields.len() == 1 && condition.is_none();
        if !fields.is_empty() && is_new && !is_own {
            model.indexes.push((name, fields, condition));
        }
    }

    fn change_constraints(&mut self, chance: &mut Chance) {
        let (at, number) = (self.any(chance), self.number());
        let model = &mut self.models[at];
        let name = if chance.one_in(2) { String::new() } else { format!("rule_{number}") };
        match chance.below(4) {
            0 if !model.unique.is_empty() => drop(model.unique.pop()),
            1 if !model.checks.is_empty() => drop(model.checks.pop()),
            2 => {
                let numbers = model.fields.iter().filter(|field| field.is_number());
                let is_new = |number: &Number| !model.checks.iter().any(|(_, n)| n == number);
                let number = numbers.map(|field| field.number).find(is_new);
                model.checks.extend(number.map(|number| (name, number)));
            }
            _ => {
                // With the key among them they are unique whatever the rows hold.
                let fields = model.fields.iter().filter(|field| field.kind != Kind::Json);
                let fields: Vec<_> = fields.map(|field| field.number).take(3).collect();
                if fields.len() > 1 && !model.unique.iter().any(|(_, known)| *known == fields) {
                    model.unique.push((name, fields));
                }
            }
        }
    }

    fn change_many(&mut self, chance: &mut Chance) {
        let (at, number) = (self.any(chance), self.number());
        let to = self.models[self.any(chance)].number;
        let model = &mut self.models[at];
        match chance.below(3) {
            0 if !model.many.is_empty() => drop(model.many.pop()),
            _ => model.many.push((number, format!("m{number}"), to)),
        }
    }

    fn rename_many(&mut self, chance: &mut Chance) {
        let (at, number) = (self.any(chance), self.number());
        if let Some(many) = self.models[at].many.first_mut() {
            many.1 = format!("n{number}");
        }
    }

    pub(super) fn model(&self, number: Number) -> Option<&Model> {
        self.models.iter().find(|model| model.number == number)
    }

    pub(super) fn state(&self) -> ProjectState {
        let own = self.models.iter().map(|model| self.model_state(model));
        let between = self.models.iter().flat_map(|model| {
            model.many.iter().map(|(_, name, to)| self.between(model, name, *to))
        });
        own.chain(between).map(ModelState::named).collect()
    }

    fn model_state(&self, model: &Model) -> ModelState {
        let fields: Vec<FieldState> =
            model.fields.iter().enumerate().map(|(at, f)| self.field_state(f, at == 0)).collect();
        let find = |number: &Number| {
            let place = model.fields.iter().position(|field| field.number == *number).unwrap();
            &fields[place]
        };
        let condition = |number: &Number, sign: &str| {
            format!("\"{}\" {sign} 0", find(number).column.replace('"', "\"\""))
        };
        let indexes = model.indexes.iter().map(|(name, parts, over)| IndexState {
            name: name.clone(),
            fields: parts
                .iter()
                .map(|(n, down)| format!("{}{}", if *down { "-" } else { "" }, find(n).name))
                .collect(),
            condition: over.as_ref().map(|number| condition(number, ">")),
        });
        let unique = model.unique.iter().map(|(name, fields)| ConstraintState {
            name: name.clone(),
            rule: Rule::Unique {
                fields: fields.iter().map(|number| find(number).name.clone()).collect(),
                condition: None,
                nulls_distinct: true,
            },
        });
        let checks = model.checks.iter().map(|(name, number)| ConstraintState {
            name: name.clone(),
            rule: Rule::Check(condition(number, ">=")),
        });
        ModelState {
            key: ModelKey::new(model.app, &model.name),
            table: model.table(),
            indexes: indexes.collect(),
            constraints: unique.chain(checks).collect(),
            options: ModelOptions::default(),
            fields: fields.clone(),
        }
    }

    fn field_state(&self, field: &Field, primary_key: bool) -> FieldState {
        let to = field.to.and_then(|to| self.model(to));
        let kind = to.map_or_else(
            || field.kind.clone(),
            |to| Kind::ForeignKey {
                to: ModelKey::new(to.app, &to.name),
                on_delete: OnDelete::Cascade,
            },
        );
        let usual = if to.is_some() { format!("{}_id", field.name) } else { field.name.clone() };
        FieldState {
            name: field.name.clone(),
            column: field.column.clone().unwrap_or(usual),
            null: field.null,
            primary_key,
            unique: field.unique,
            index: field.index,
            max_length: field.max_length,
            digits: (kind == Kind::Decimal).then_some((9, 2)),
            default: field.default.clone(),
            auto_now: false,
            auto_now_add: false,
            kind,
        }
    }

    /// The model that a many-to-many field makes.
    fn between(&self, from: &Model, name: &str, to: Number) -> ModelState {
        let to = self.model(to).unwrap();
        let (one, other) = (from.name.to_lowercase(), to.name.to_lowercase());
        let is_self = from.number == to.number;
        let (one, other) =
            if is_self { (format!("from_{one}"), format!("to_{other}")) } else { (one, other) };
        let link = |name: &str, to: &Model| Field {
            number: 0,
            name: name.to_owned(),
            kind: Kind::BigInteger,
            to: Some(to.number),
            null: false,
            unique: false,
            index: true,
            default: None,
            max_length: None,
            column: None,
        };
        let key = Field { kind: Kind::BigAuto, to: None, index: false, ..link("id", to) };
        let fields = [(key, true), (link(&one, from), false), (link(&other, to), false)];
        let rule = Rule::Unique { fields: vec![one, other], condition: None, nulls_distinct: true };
        ModelState {
            key: ModelKey::new(from.app, &format!("{}_{name}", from.name)),
            table: format!("{}_{name}", from.table()),
            fields: fields.iter().map(|(field, key)| self.field_state(field, *key)).collect(),
            indexes: Vec::new(),
            constraints: vec![ConstraintState { name: String::new(), rule }],
            options: ModelOptions::default(),
        }
    }
}

impl Model {
    pub(super) fn table(&self) -> String {
        let usual = || format!("{}_{}", self.app, self.name.to_lowercase());
        self.table.clone().unwrap_or_else(usual)
    }

    pub(super) fn key(&self) -> ModelKey {
        ModelKey::new(self.app, &self.name)
    }

    pub(super) fn many(&self) -> &[(Number, String, Number)] {
        &self.many
    }

    fn uses(&self, number: Number) -> bool {
        self.unique.iter().any(|(_, fields)| fields.contains(&number))
            || self.checks.iter().any(|(_, field)| *field == number)
            || self.indexes.iter().any(|(_, parts, over)| {
                *over == Some(number) || parts.iter().any(|(field, _)| *field == number)
            })
    }

    /// The field goes, with what speaks of it.
    fn drop_field(&mut self, number: Number) {
        self.unique.retain(|(_, fields)| !fields.contains(&number));
        self.checks.retain(|(_, field)| *field != number);
        self.indexes.retain(|(_, parts, over)| {
            *over != Some(number) && !parts.iter().any(|(field, _)| *field == number)
        });
        self.fields.retain(|field| field.number != number);
    }
}

impl Field {
    fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Integer | Kind::SmallInteger) && self.to.is_none()
    }
}
