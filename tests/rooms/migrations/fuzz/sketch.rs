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

pub(super) type Number = usize;

#[derive(Clone, Debug)]
pub(super) struct Sketch {
    pub(super) models: Vec<Model>,
    next: Number,
    /// Whether tables have rows, so that not every change can be made.
    pub(super) has_rows: bool,
    /// Names and tables of models that have gone since the last migration.
    pub(super) gone: Vec<(String, String)>,
}

/// Its name, its columns with whether they descend, and the column its condition asks for.
type Index = (String, Vec<(Number, bool)>, Option<Number>);

/// Its name, its columns, the column its condition asks for, and whether NULLs differ.
type Unique = (String, Vec<Number>, Option<Number>, bool);

#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) number: Number,
    pub(super) app: &'static str,
    pub(super) name: String,
    pub(super) table: Option<String>,
    /// The first is the primary key.
    pub(super) fields: Vec<Field>,
    pub(super) many: Vec<(Number, String, Number)>,
    pub(super) unique: Vec<Unique>,
    pub(super) indexes: Vec<Index>,
    pub(super) checks: Vec<(String, Number)>,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) number: Number,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The model it points to.
    pub(super) to: Option<Number>,
    pub(super) null: bool,
    pub(super) unique: bool,
    pub(super) index: bool,
    pub(super) default: Option<Value>,
    pub(super) max_length: Option<u32>,
    pub(super) column: Option<String>,
}

pub(super) const NAMES: [&str; 8] = ["Ant", "Bee", "Cat", "Dog", "Elk", "Fox", "Gnu", "Hen"];

pub(super) const PLAIN: [Kind; 18] = [
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
        let mut sketch = Self { models: Vec::new(), next: 0, has_rows, gone: Vec::new() };
        for _ in 0..1 + chance.below(3) {
            sketch.add_model(chance);
        }
        sketch
    }

    pub(super) fn number(&mut self) -> Number {
        self.next += 1;
        self.next
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
        let unique = model.unique.iter().map(|(name, fields, over, differ)| ConstraintState {
            name: name.clone(),
            rule: Rule::Unique {
                fields: fields.iter().map(|number| find(number).name.clone()).collect(),
                condition: over.as_ref().map(|number| condition(number, ">")),
                nulls_distinct: *differ,
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
        FieldState {
            name: field.name.clone(),
            column: field.column(),
            null: field.null,
            primary_key,
            unique: field.unique && !primary_key,
            index: field.index && !primary_key,
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

    /// Whether a condition asks for it.
    pub(super) fn asks_for(&self, number: Number) -> bool {
        self.checks.iter().any(|(_, field)| *field == number)
            || self.unique.iter().any(|(_, _, over, _)| *over == Some(number))
            || self.indexes.iter().any(|(_, _, over)| *over == Some(number))
    }

    /// Whether an index or constraint is over it.
    pub(super) fn spans(&self, number: Number) -> bool {
        self.unique.iter().any(|(_, fields, ..)| fields.contains(&number))
            || self.indexes.iter().any(|(_, parts, _)| parts.iter().any(|(n, _)| *n == number))
    }

    /// The field goes, with what speaks of it.
    pub(super) fn drop_field(&mut self, number: Number) {
        self.unique
            .retain(|(_, fields, over, _)| !fields.contains(&number) && *over != Some(number));
        self.checks.retain(|(_, field)| *field != number);
        self.indexes.retain(|(_, parts, over)| {
            *over != Some(number) && !parts.iter().any(|(field, _)| *field == number)
        });
        self.fields.retain(|field| field.number != number);
    }
}

impl Field {
    /// The name of its column.
    pub(super) fn column(&self) -> String {
        let usual = if self.to.is_some() { format!("{}_id", self.name) } else { self.name.clone() };
        self.column.clone().unwrap_or(usual)
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self.kind, Kind::Integer | Kind::SmallInteger) && self.to.is_none()
    }
}
