//! What can happen to random models between two migrations.

use hulse::migrations::Kind;

use super::sketch::{Chance, Field, Model, NAMES, Number, PLAIN, Sketch, value};

/// Into which kinds a column with rows can be made, there and back.
fn kin(kind: &Kind, has_rows: bool) -> &'static [Kind] {
    match kind {
        Kind::SmallInteger => &[Kind::Integer, Kind::BigInteger, Kind::Decimal, Kind::Text],
        Kind::PositiveSmallInteger => &[Kind::PositiveInteger, Kind::Integer, Kind::Char],
        Kind::PositiveInteger => &[Kind::Integer, Kind::PositiveBigInteger, Kind::BigInteger],
        Kind::Integer => &[Kind::BigInteger, Kind::PositiveInteger, Kind::Float, Kind::Uuid],
        Kind::BigInteger => &[Kind::Text, Kind::Decimal, Kind::PositiveBigInteger],
        Kind::Boolean => &[Kind::Integer, Kind::SmallInteger],
        Kind::Char => &[Kind::Text],
        Kind::Text if !has_rows => {
            &[Kind::Integer, Kind::Date, Kind::Uuid, Kind::Char, Kind::Json, Kind::Boolean]
        }
        Kind::Text => &[Kind::Char],
        Kind::DateTime => &[Kind::Date],
        Kind::Date => &[Kind::Text, Kind::DateTime],
        Kind::Uuid | Kind::Float | Kind::Time | Kind::Json | Kind::Duration => &[Kind::Text],
        _ => &[],
    }
}

/// Whether not every database has an index over it, and over others too: MariaDB's of a long text
/// has no key that it counts up.
fn is_bulky(kind: &Kind) -> bool {
    matches!(kind, Kind::Json | Kind::Binary | Kind::Text)
}

/// Into which kinds a primary key can be made.
fn key_kin(kind: &Kind) -> &'static [Kind] {
    match kind {
        Kind::BigAuto => &[Kind::Char, Kind::Uuid, Kind::BigInteger, Kind::Integer],
        Kind::Integer => &[Kind::BigInteger, Kind::Char, Kind::Uuid, Kind::BigAuto],
        Kind::BigInteger => &[Kind::BigAuto, Kind::Char],
        Kind::SmallInteger | Kind::PositiveInteger => &[Kind::BigInteger],
        Kind::Uuid => &[Kind::Char],
        _ => &[],
    }
}

/// A plain column's kind that a primary key can have, too.
fn is_key(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::SmallInteger
            | Kind::Integer
            | Kind::BigInteger
            | Kind::PositiveInteger
            | Kind::Char
            | Kind::Uuid
    )
}

impl Sketch {
    /// One to four changes, or a new name alone: what is renamed and changed at once is not known
    /// again, by nobody.
    pub(super) fn change(&mut self, chance: &mut Chance) {
        self.gone.clear();
        match chance.below(10) {
            0 => return self.rename_model(chance),
            1 => return self.rename_field(chance),
            2 => return self.rename_many(chance),
            // A key that changes in more than one way is not known again either.
            3 => return self.alter_key(chance),
            4 => return self.move_key(chance),
            _ => {}
        }
        for _ in 0..1 + chance.below(4) {
            match chance.below(15) {
                0 => self.add_model(chance),
                1 if self.models.len() > 1 => self.remove_model(chance),
                2 | 3 => self.move_table(chance),
                4 | 5 => self.add_field(chance),
                6 => self.remove_field(chance),
                7 | 8 => self.alter_field(chance),
                9 => self.change_indexes(chance),
                10 => self.change_constraints(chance),
                11 => self.change_many(chance),
                12 | 13 => self.change_column(chance),
                _ => self.add_link(chance),
            }
        }
    }

    fn any(&self, chance: &mut Chance) -> usize {
        chance.below(self.models.len())
    }

    fn free_name(&self, chance: &mut Chance) -> Option<String> {
        // Fields of a model between are called otherwise where its ends have one name.
        let is_taken = |name: &str| self.models.iter().any(|model| model.name == name);
        // One of the same name would be the same model, with its rows.
        let was = |name: &str| self.has_rows && self.gone.iter().any(|(gone, _)| gone == name);
        let is_free = |name: &&&str| !is_taken(name) && !was(name);
        let free: Vec<_> = NAMES.iter().filter(is_free).collect();
        (!free.is_empty()).then(|| (*free[chance.below(free.len())]).to_owned())
    }

    pub(super) fn add_model(&mut self, chance: &mut Chance) {
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
        let left = self.gone.pop().map(|(_, table)| table).filter(|_| chance.one_in(2));
        let table = left.filter(|table| !self.models.iter().any(|m| m.table() == *table)).or(table);
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
    pub(super) fn field(&mut self, chance: &mut Chance, late: bool) -> Field {
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
    pub(super) fn link(&mut self, at: usize, chance: &mut Chance, late: bool) {
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
        let gone = self.models.remove(chance.below(self.models.len()));
        self.gone.push((gone.name.clone(), gone.table()));
        let gone = gone.number;
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
        let place = chance.below(model.fields.len());
        model.fields[place].name = format!("r{number}");
    }

    fn alter_field(&mut self, chance: &mut Chance) {
        let (at, has_rows) = (self.any(chance), self.has_rows);
        let other = self.models[self.any(chance)].number;
        let model = &mut self.models[at];
        if model.fields.len() == 1 {
            return;
        }
        let place = 1 + chance.below(model.fields.len() - 1);
        let number = model.fields[place].number;
        let (is_asked, is_in) = (model.asks_for(number), model.spans(number));
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
            3 if field.to.is_some() && !has_rows => field.to = Some(other),
            // It may be new, and one value is not unique where there are rows.
            3 if field.to.is_none() && !(has_rows && field.unique) => {
                field.default = if field.default.is_none() { value(&field.kind) } else { None };
            }
            _ if field.to.is_none() && !is_asked => {
                let kin = kin(&field.kind, has_rows);
                let fits = |kind: &&Kind| !(is_in || field.unique) || !is_bulky(kind);
                let kin: Vec<_> = kin.iter().filter(fits).collect();
                if field.kind == Kind::Char && chance.one_in(2) {
                    field.max_length = Some(60);
                } else if !kin.is_empty() {
                    field.kind = kin[chance.below(kin.len())].clone();
                    field.max_length = (field.kind == Kind::Char).then_some(40);
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
                let fields = model.fields.iter().filter(|field| !is_bulky(&field.kind));
                let fields: Vec<_> = fields.map(|field| field.number).take(3).collect();
                let numbers = model.fields.iter().find(|field| field.is_number());
                let over = numbers.map(|field| field.number).filter(|_| chance.one_in(3));
                let is_new = !model.unique.iter().any(|(_, known, ..)| *known == fields);
                if fields.len() > 1 && is_new {
                    model.unique.push((name, fields, over, !chance.one_in(4)));
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

    /// The primary key holds something else, and so do the columns that point to it.
    fn alter_key(&mut self, chance: &mut Chance) {
        let at = self.any(chance);
        let model = &mut self.models[at];
        let number = model.fields[0].number;
        let kin = key_kin(&model.fields[0].kind);
        if kin.is_empty() || model.asks_for(number) {
            return;
        }
        let key = &mut model.fields[0];
        key.kind = kin[chance.below(kin.len())].clone();
        key.max_length = (key.kind == Kind::Char).then_some(40);
    }

    /// Another field becomes the primary key, or a new one does.
    fn move_key(&mut self, chance: &mut Chance) {
        let (at, number) = (self.any(chance), self.number());
        let own = self.models[at].number;
        let is_held = self.models.iter().any(|model| {
            let links = model.fields.iter().any(|field| field.to == Some(own));
            let is_between = model.number == own && !model.many.is_empty();
            links || is_between || model.many.iter().any(|(_, _, to)| *to == own)
        });
        let is_free = |field: &&Field| {
            is_key(&field.kind) && field.to.is_none() && field.unique && !field.null
        };
        if is_held && self.has_rows {
            return;
        }
        let is_counted = self.models[at].fields[0].kind == Kind::BigAuto;
        let known = self.models[at].fields[1..].iter().find(is_free).map(|field| field.number);
        let mut new = match known {
            Some(known) => {
                let place = self.models[at].fields.iter().position(|field| field.number == known);
                self.models[at].fields.remove(place.unwrap())
            }
            None if is_counted && self.has_rows => return,
            None => Field {
                kind: if is_counted { Kind::Uuid } else { Kind::BigAuto },
                name: format!("key{number}"),
                max_length: None,
                default: None,
                ..self.field(chance, false)
            },
        };
        (new.null, new.index, new.default) = (false, false, None);
        let model = &mut self.models[at];
        let former = model.fields[0].number;
        model.fields.insert(0, new);
        if chance.one_in(2) || model.asks_for(former) {
            return model.drop_field(former);
        }
        let former = &mut model.fields[1];
        (former.unique, former.null) = (chance.one_in(2), chance.one_in(2));
        if former.kind == Kind::BigAuto {
            former.kind = Kind::BigInteger;
        }
    }

    /// A column gets a name of its own or loses it, or two columns change places.
    fn change_column(&mut self, chance: &mut Chance) {
        let (at, number) = (self.any(chance), self.number());
        let fields = &mut self.models[at].fields;
        let (one, other) = (chance.below(fields.len()), chance.below(fields.len()));
        if one == other {
            let name = chance.one_in(2).then(|| format!("Else \"{number}"));
            let usual = Field { column: name.clone(), ..fields[one].clone() }.column();
            if fields.iter().all(|field| field.column() != usual) {
                fields[one].column = name;
            }
            return;
        }
        let (first, second) = (fields[one].column(), fields[other].column());
        fields[one].column = Some(second);
        fields[other].column = Some(first);
    }
}
