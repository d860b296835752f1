//! Filters and orders by names that come as text, from the admin or a URL: `author__name__iexact`.
//!
//! Invariants:
//! - A name is looked up in the description; it never gets into SQL itself.

use crate::error::{Error, Kind, Result};
use crate::models::condition::{Lookup, Q, TextAt};
use crate::models::expression::{Comparison, Function, Node, Order, Part};
use crate::models::meta::{Field, FieldKind, Many, Meta};
use crate::models::model::Model;
use crate::models::query::{QuerySet, parse};
use crate::models::trail::{FieldPath, Step, Trail};

/// Divides the names of relations, fields and lookups.
const BETWEEN: &str = "__";

/// Most parts of a name: one that goes in circles ends somewhere.
const PARTS_MAX: usize = 16;

/// How deep orders by related models' own orders go.
const ORDER_DEPTH_MAX: usize = 4;

const LOOKUPS: [&str; 16] = [
    "exact",
    "iexact",
    "contains",
    "icontains",
    "in",
    "gt",
    "gte",
    "lt",
    "lte",
    "startswith",
    "istartswith",
    "endswith",
    "iendswith",
    "range",
    "isnull",
    "regex",
];

impl<M: Model, R> QuerySet<M, R> {
    /// Filters by a name as Django writes it, `author__name__iexact`, and a value as text; for
    /// names that come from a URL. `in` and `range` divide their text at commas. The other side of
    /// a relation has a name if the model has a field for it (`HasMany`), and none otherwise: what
    /// comes from outside reaches only what the model names, and never a `secret` field.
    ///
    /// An unknown name or a value that is no such thing is an error (`is_field`) that lists the
    /// choices, told when the query is asked.
    #[must_use]
    pub fn filter_by(mut self, name: &str, value: &str) -> Self {
        self.refuse_if_sliced("filter");
        match Q::named(M::meta(), name, value) {
            Ok(condition) => self.plan.filter(condition),
            Err(error) => self.mistaken(error.to_string()),
        }
        self
    }

    /// Orders by names as Django writes them, `-created` and `author__name`; `?` is a random order.
    /// Unknown names are an error, as in [`filter_by`](Self::filter_by).
    #[must_use]
    pub fn order_by_names<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.refuse_if_sliced("order_by");
        match orders(M::meta(), names) {
            Ok(orders) => {
                self.plan.order = Some(orders);
                self.plan.is_reversed = false;
            }
            Err(error) => self.mistaken(error.to_string()),
        }
        self
    }
}

impl Q {
    /// The condition that a name as Django writes it and a value as text stand for.
    ///
    /// # Errors
    /// There is no such name, or the text is no such value (`is_field`).
    pub fn named(meta: &'static Meta, name: &str, value: &str) -> Result<Self> {
        let mut resolved = resolve(meta, name)?;
        let lookup = resolved.rest.pop().unwrap_or("exact");
        for part in std::mem::take(&mut resolved.rest) {
            resolved.transform(part, meta, name)?;
        }
        // `created__year` is a lookup of what it gives.
        let lookup = if LOOKUPS.contains(&lookup) || lookup == "iregex" {
            lookup
        } else {
            resolved.transform(lookup, meta, name)?;
            "exact"
        };
        resolved.condition(lookup, value)
    }
}

/// What a name leads to.
struct Resolved<'a> {
    node: Node,
    field: &'static Field,
    kind: FieldKind,
    /// Transformations, then the lookup.
    rest: Vec<&'a str>,
}

fn resolve<'a>(meta: &'static Meta, name: &'a str) -> Result<Resolved<'a>> {
    let mut parts = name.split(BETWEEN).take(PARTS_MAX + 1).collect::<Vec<_>>().into_iter();
    if parts.len() > PARTS_MAX {
        return Err(Error::of(Kind::Field, "a name has too many parts"));
    }
    let (mut here, mut trail) = (meta, Trail::of(meta));
    let mut found: Option<&'static Field> = None;
    let mut rest = Vec::new();
    for part in parts.by_ref() {
        if let Some(field) = found {
            let Some(relation) = field.relation else {
                rest.push(part);
                break;
            };
            let next = (relation.to)();
            if field_of(next, part).is_none() && many_of(next, part).is_none() {
                if LOOKUPS.contains(&part) {
                    rest.push(part);
                    break;
                }
                return Err(unknown(next, part));
            }
            (here, trail) = (next, trail.then(Step::Forward(field)));
        }
        if let Some(field) = field_of(here, part) {
            found = Some(field);
            continue;
        }
        let Some(many) = many_of(here, part) else {
            if found.is_none() && !trail.steps.is_empty() && LOOKUPS.contains(&part) {
                rest.push(part);
                break;
            }
            return Err(unknown(here, part));
        };
        (here, trail) = (many.to(), many.route(here)?.along(trail, many));
        found = None;
    }
    rest.extend(parts);
    let field = found.unwrap_or_else(|| here.primary_key());
    if is_secret(field) {
        let name: String = name.chars().take(NAME_SHOWN_MAX).collect();
        let words = format!("cannot resolve {name:?} for {}: it is a secret key", meta.label());
        return Err(Error::of(Kind::Field, words));
    }
    let kind = field.kind;
    Ok(Resolved { node: Node::Column(FieldPath { trail, field }), field, kind, rest })
}

fn field_of(meta: &'static Meta, name: &str) -> Option<&'static Field> {
    let column = |field: &&Field| field.relation.is_some() && field.column == name;
    let field = match name {
        "pk" => Some(meta.primary_key()),
        name => meta.field(name).or_else(|| meta.fields.iter().find(column)),
    };
    field.filter(|field| !field.secret)
}

/// Whether what it holds is not for those who send names: a foreign key holds the key of the other
/// row.
fn is_secret(field: &'static Field) -> bool {
    let next = |field: &&'static Field| Some((field.relation?.to)().primary_key());
    std::iter::successors(Some(field), next).take(PARTS_MAX).any(|field| field.secret)
}

fn many_of(meta: &'static Meta, name: &str) -> Option<&'static Many> {
    meta.many.iter().find(|many| many.name == name)
}

fn unknown(meta: &Meta, name: &str) -> Error {
    let fields = meta.fields.iter().filter(|field| !field.secret).map(|field| field.name);
    let mut known: Vec<_> = fields.chain(meta.many.iter().map(|many| many.name)).collect();
    known.sort_unstable();
    let name: String = name.chars().take(NAME_SHOWN_MAX).collect();
    let words = format!(
        "cannot resolve {name:?} into a field of {}; choices are {}",
        meta.label(),
        known.join(", ")
    );
    Error::of(Kind::Field, words)
}

/// Most characters of an unknown name in a message.
const NAME_SHOWN_MAX: usize = 60;

impl Resolved<'_> {
    fn transform(&mut self, name: &str, meta: &Meta, whole: &str) -> Result<()> {
        let part = match name {
            "year" => Part::Year,
            "iso_year" => Part::IsoYear,
            "quarter" => Part::Quarter,
            "month" => Part::Month,
            "week" => Part::Week,
            "day" => Part::Day,
            "week_day" => Part::WeekDay,
            "iso_week_day" => Part::IsoWeekDay,
            "hour" => Part::Hour,
            "minute" => Part::Minute,
            "second" => Part::Second,
            "date" | "time" if self.kind == FieldKind::DateTime => {
                let is_date = name == "date";
                let function = if is_date { Function::Date } else { Function::Time };
                self.kind = if is_date { FieldKind::Date } else { FieldKind::Time };
                let node = std::mem::replace(&mut self.node, Node::Mistake(String::new()));
                self.node = Node::call(function, vec![node]);
                return Ok(());
            }
            _ => return Err(self.unsupported(name, meta, whole)),
        };
        let is_of_clock = matches!(part, Part::Hour | Part::Minute | Part::Second);
        let fits = match self.kind {
            FieldKind::DateTime => true,
            FieldKind::Date => !is_of_clock,
            FieldKind::Time => is_of_clock,
            _ => false,
        };
        if !fits {
            return Err(self.unsupported(name, meta, whole));
        }
        let node = std::mem::replace(&mut self.node, Node::Mistake(String::new()));
        self.node = Node::call(Function::Extract(part, self.kind), vec![node]);
        self.kind = FieldKind::Integer;
        Ok(())
    }

    fn unsupported(&self, name: &str, meta: &Meta, whole: &str) -> Error {
        let short = |text: &str| text.chars().take(NAME_SHOWN_MAX).collect::<String>();
        let words = format!(
            "{}: {:?} has no lookup {:?}; choices are {}",
            meta.label(),
            short(whole),
            short(name),
            LOOKUPS.join(", ")
        );
        Error::of(Kind::Field, words)
    }

    fn value(&self, text: &str) -> Result<Node> {
        if self.kind == FieldKind::DateTime
            && let Some(wall) = parse::wall(text)
        {
            return Ok(Node::Wall(wall));
        }
        parse::value(self.kind, text).map(Node::Value).map_err(|why| {
            Error::of(Kind::Field, format!("the value of {} {why}", self.field.name))
        })
    }

    fn condition(self, lookup: &str, text: &str) -> Result<Q> {
        let pieces = || text.split(',').map(|text| self.value(text)).collect::<Result<Vec<_>>>();
        let compare = |comparison| Ok(Lookup::Compare(comparison, self.value(text)?));
        let part =
            |at, ignore_case| Lookup::Text { text: Node::Value(text.into()), at, ignore_case };
        let lookup = match lookup {
            "exact" => compare(Comparison::Equal),
            "gt" => compare(Comparison::Greater),
            "gte" => compare(Comparison::GreaterOrEqual),
            "lt" => compare(Comparison::Less),
            "lte" => compare(Comparison::LessOrEqual),
            "in" if text.is_empty() => return Ok(Q::NEVER),
            "in" => Ok(Lookup::In(pieces()?)),
            "range" => match <[Node; 2]>::try_from(pieces()?) {
                Ok([first, last]) => Ok(Lookup::Range(first, last)),
                Err(_) => Err(Error::of(Kind::Field, "a range is two values, divided by a comma")),
            },
            "isnull" => match parse::boolean(text) {
                Some(null) => Ok(Lookup::IsNull(null)),
                None => Err(Error::of(Kind::Field, "isnull is true or false")),
            },
            "iexact" => Ok(part(TextAt::Whole, true)),
            "contains" => Ok(part(TextAt::Anywhere, false)),
            "icontains" => Ok(part(TextAt::Anywhere, true)),
            "startswith" => Ok(part(TextAt::Start, false)),
            "istartswith" => Ok(part(TextAt::Start, true)),
            "endswith" => Ok(part(TextAt::End, false)),
            "iendswith" => Ok(part(TextAt::End, true)),
            _ => {
                let ignore_case = lookup == "iregex";
                Ok(Lookup::Regex { pattern: text.to_owned(), ignore_case })
            }
        }?;
        let of_text = matches!(lookup, Lookup::Text { .. } | Lookup::Regex { .. });
        let is_text = matches!(self.kind, FieldKind::Char | FieldKind::Text);
        let node = if of_text && !is_text {
            Node::call(Function::Cast(FieldKind::Text), vec![self.node])
        } else {
            self.node
        };
        Ok(Q::test(node, lookup))
    }
}

/// Names as orders.
fn orders<'a>(meta: &'static Meta, names: impl IntoIterator<Item = &'a str>) -> Result<Vec<Order>> {
    let mut orders = Vec::new();
    for name in names {
        if name == "?" {
            let node = Node::call(Function::Random, Vec::new());
            orders.push(Order { node, descending: false, nulls: None });
            continue;
        }
        let (name, descending) = match name.strip_prefix('-') {
            Some(name) => (name, true),
            None => (name, false),
        };
        let resolved = resolve(meta, name)?;
        if let Some(rest) = resolved.rest.first() {
            return Err(unknown(meta, rest));
        }
        let Node::Column(path) = resolved.node else { continue };
        push_order(&mut orders, path, name.ends_with("_id"), descending, 0);
    }
    Ok(orders)
}

/// Names of its own fields, which the model says itself.
pub(super) fn own_orders(meta: &'static Meta, names: &[&str]) -> Vec<Order> {
    let mut orders = Vec::new();
    push_own(&mut orders, &Trail::of(meta), (meta, names), false, 0);
    orders
}

/// A foreign key is ordered by as its model orders itself.
fn push_order(
    orders: &mut Vec<Order>,
    path: FieldPath,
    by_key: bool,
    descending: bool,
    depth: usize,
) {
    let field = path.field;
    let ordering = field.relation.map_or(&[] as &[&str], |relation| (relation.to)().ordering);
    if by_key || ordering.is_empty() || depth == ORDER_DEPTH_MAX {
        orders.push(Order { node: Node::Column(path), descending, nulls: None });
        return;
    }
    let step = Step::Forward(field);
    push_own(orders, &path.trail.then(step), (step.target(), ordering), descending, depth + 1);
}

/// Fields of a model at the end of `trail`.
fn push_own(
    orders: &mut Vec<Order>,
    trail: &Trail,
    (meta, names): (&'static Meta, &[&str]),
    descending: bool,
    depth: usize,
) {
    for name in names {
        let (name, turned) = match name.strip_prefix('-') {
            Some(name) => (name, true),
            None => (*name, false),
        };
        let Some(field) = meta.field(name) else { continue };
        let path = FieldPath { trail: trail.clone(), field };
        push_order(orders, path, false, descending != turned, depth);
    }
}
