//! Rows in the tables: put into new ones, and looked for after each migration.

use hulse::migrations::{FieldState, Kind, ModelState, ProjectState};

use super::super::{Database, Dialect, column};
use super::quoted;
use super::sketch::Sketch;

/// Rows of each table, where there are any.
const ROWS: usize = 3;

/// What must be read after a migration as before it: queries on the new tables, with the answers
/// of today's.
pub(super) async fn rows(
    database: &Database,
    old: &Option<Sketch>,
    new: &Sketch,
) -> Vec<(String, Vec<String>)> {
    let mut queries = Vec::new();
    let Some(old) = old else { return queries };
    let dialect = database.dialect();
    let (before, after) = (old.state(), new.state());
    for model in &new.models {
        let Some(known) = old.model(model.number) else { continue };
        let (from, to) = (before.model(&known.key()).unwrap(), after.model(&model.key()).unwrap());
        for field in &model.fields {
            let Some(was) = known.fields.iter().find(|f| f.number == field.number) else {
                continue;
            };
            let (was, is) = (from.field(&was.name).unwrap(), to.field(&field.name).unwrap());
            if reads_the_same(&was.kind, &is.kind)
                && (was.null || !is.null)
                && (is.null || !was.null)
            {
                let answer = column(database, &query(&before, from, was, dialect)).await;
                queries.push((query(&after, to, is, dialect), answer));
            }
        }
    }
    queries
}

/// Whether a value of one kind is told in the same words as the other that becomes of it.
fn reads_the_same(was: &Kind, is: &Kind) -> bool {
    let is_plain = |kind: &Kind| {
        let numbers = [
            Kind::BigAuto,
            Kind::SmallInteger,
            Kind::Integer,
            Kind::BigInteger,
            Kind::PositiveSmallInteger,
            Kind::PositiveInteger,
            Kind::PositiveBigInteger,
            Kind::Decimal,
            Kind::Float,
            Kind::Char,
            Kind::Text,
        ];
        numbers.contains(kind)
    };
    let is_link = |kind: &Kind| matches!(kind, Kind::ForeignKey { .. });
    was == is || (is_plain(was) && is_plain(is)) || (is_link(was) && is_link(is))
}

/// `1` and `1.00` are one value.
pub(super) fn is_same(found: &[String], expected: &[String]) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let same = |(found, expected): (&String, &String)| {
        let numbers = number(found).zip(number(expected));
        found == expected || numbers.is_some_and(|(one, other)| one.total_cmp(&other).is_eq())
    };
    found.len() == expected.len() && found.iter().zip(expected).all(same)
}

/// The values of a column, in the order of the keys; of a foreign key which row it points to.
fn query(state: &ProjectState, model: &ModelState, field: &FieldState, dialect: Dialect) -> String {
    let (key, text) = (quoted(&key(model).column), text_type(dialect));
    let (table, column) = (quoted(&model.table), quoted(&field.column));
    let value = match field.target() {
        None => column,
        Some(target) => {
            let target = state.model(target).unwrap();
            let (table, key) = (quoted(&target.table), quoted(&self::key(target).column));
            format!("(SELECT count(*) FROM {table} t WHERE t.{key} <= m.{column})")
        }
    };
    format!("SELECT CAST({value} AS {text}) FROM {table} m ORDER BY CAST({key} AS {text})")
}

fn key(model: &ModelState) -> &FieldState {
    model.fields.iter().find(|field| field.primary_key).unwrap()
}

fn text_type(dialect: Dialect) -> &'static str {
    if matches!(dialect, Dialect::Sqlite | Dialect::Postgres) { "text" } else { "char" }
}

/// Rows for the tables that are new since `before`.
pub(super) async fn fill(
    database: &Database,
    before: &ProjectState,
    sketch: &Sketch,
    old: &Option<Sketch>,
) {
    let state = sketch.state();
    let dialect = database.dialect();
    let text = text_type(dialect);
    let mut script = String::new();
    for model in state.models() {
        let number = sketch.models.iter().find(|one| one.key() == model.key).map(|one| one.number);
        let known = match (number, old) {
            (Some(number), Some(old)) => old.model(number).is_some(),
            _ => false,
        };
        let is_between = number.is_none();
        let count = format!("SELECT CAST(count(*) AS {text}) FROM {}", quoted(&model.table));
        let is_empty = column(database, &count).await == ["0"];
        assert!(is_between || known != is_empty, "{} has lost its rows", model.key);
        if !is_empty || (is_between && before.model(&model.key).is_some()) {
            continue;
        }
        for row in 1..=ROWS {
            let columns: Vec<_> = model.fields.iter().map(|f| quoted(&f.column)).collect();
            let mut values = Vec::new();
            for field in &model.fields {
                values.push(held(database, &state, field, row).await);
            }
            script.push_str(&format!(
                "INSERT INTO {} ({}) VALUES ({});\n",
                quoted(&model.table),
                columns.join(", "),
                values.join(", ")
            ));
        }
    }
    if script.is_empty() {
        return;
    }
    if !matches!(dialect, Dialect::Sqlite | Dialect::Postgres) {
        // It checks at once what may point to a later row.
        script = format!("SET foreign_key_checks = 0;\n{script}SET foreign_key_checks = 1;\n");
    }
    let transaction = database.connection().begin().await.unwrap();
    transaction.connection().script(&script).await.expect(&script);
    transaction.commit().await.expect(&script);
}

/// What row `row` holds; a foreign key that of a row that is there, or will be.
async fn held(database: &Database, state: &ProjectState, field: &FieldState, row: usize) -> String {
    if let Some(target) = field.target() {
        let (target, text) = (state.model(target).unwrap(), text_type(database.dialect()));
        let (table, key) = (quoted(&target.table), quoted(&key(target).column));
        let keys = format!("SELECT CAST({key} AS {text}) FROM {table} ORDER BY 1");
        if let Some(key) = column(database, &keys).await.get(row - 1) {
            return format!("'{}'", key.replace('\'', "''"));
        }
    }
    literal(state, field, row, database.dialect())
}

/// A value for row `row`, another for each.
fn literal(state: &ProjectState, field: &FieldState, row: usize, dialect: Dialect) -> String {
    let is_sqlite = dialect == Dialect::Sqlite;
    let is_plain = !matches!(dialect, Dialect::Sqlite | Dialect::Postgres);
    match &field.kind {
        Kind::ForeignKey { to, .. } => literal(state, key(state.model(to).unwrap()), row, dialect),
        Kind::Boolean if is_sqlite => (row % 2).to_string(),
        Kind::Boolean => row.is_multiple_of(2).to_string(),
        Kind::Float => format!("{row}.5"),
        Kind::Char | Kind::Text => format!("'it''s {row}'"),
        Kind::DateTime if is_plain => format!("'2026-01-0{row} 00:00:00'"),
        Kind::DateTime => format!("'2026-01-0{row}T00:00:00+00:00'"),
        Kind::Date => format!("'2026-01-0{row}'"),
        Kind::Time => format!("'10:00:0{row}'"),
        Kind::Uuid => format!("'{row:032x}'"),
        Kind::Json => format!("'{{\"n\": {row}}}'"),
        Kind::Binary if is_sqlite || is_plain => format!("x'0{row}'"),
        Kind::Binary => format!("'\\x0{row}'"),
        _ => row.to_string(),
    }
}
