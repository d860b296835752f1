//! Moments on the clocks of the site's time zone.
//!
//! Flow: moment → [`wall`](Compiler::wall), what the clocks show → a part or beginning of it →
//! [`back`](Compiler::back) to the moment.
//!
//! Invariants:
//! - Needs nothing of the database: PostgreSQL knows all zones, to the others a statement tells the
//!   changes of the one it needs. So MariaDB's tables of zones may be empty.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::models::expression::Node;
use crate::models::sql::Compiler;
use crate::models::sql::Flavour::{Mysql, Postgres, Sqlite};
use crate::models::sql::writer::Writer;

/// Between which moments a zone's changes are told, seconds: 1900 to 2100, where the tables of
/// zones end.
const KNOWN: std::ops::Range<i64> = -2_208_988_800..4_102_444_800;

/// How far apart changes are looked for, seconds: no zone has changed twice in a week.
const STEP: i64 = 7 * 24 * 60 * 60;

/// What a database is told of a zone.
struct Changes {
    /// The offset before all changes, seconds.
    first: i32,
    /// Each moment of a change, and the offset from then on, seconds.
    moments: Vec<(i64, i32)>,
    /// The same by what the clocks show: up to when the offset before is meant. An hour that comes
    /// twice is the first of the two.
    walls: Vec<(i64, i32)>,
}

impl Changes {
    /// Looked for once for each zone.
    fn of(zone: Tz) -> Arc<Self> {
        static FOUND: LazyLock<Mutex<HashMap<Tz, Arc<Changes>>>> = LazyLock::new(Mutex::default);
        let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(found.entry(zone).or_insert_with(|| Arc::new(Self::find(zone))))
    }

    fn find(zone: Tz) -> Self {
        let (first, mut offset) = (offset(zone, KNOWN.start), offset(zone, KNOWN.start));
        let (mut moments, mut walls, mut from) = (Vec::new(), Vec::new(), KNOWN.start);
        while from < KNOWN.end {
            let to = from + STEP;
            if self::offset(zone, to) == offset {
                from = to;
                continue;
            }
            let (mut same, mut other) = (from, to);
            while other - same > 1 {
                let middle = i64::midpoint(same, other);
                let is_same = self::offset(zone, middle) == offset;
                *if is_same { &mut same } else { &mut other } = middle;
            }
            let before = std::mem::replace(&mut offset, self::offset(zone, other));
            moments.push((other, offset));
            walls.push((other + i64::from(before.max(offset)), offset));
            from = other;
        }
        Self { first, moments, walls }
    }
}

/// How far a zone's clocks are ahead at a moment, seconds.
fn offset(zone: Tz, moment: i64) -> i32 {
    let moment = DateTime::from_timestamp(moment, 0).unwrap_or_default();
    zone.offset_from_utc_datetime(&moment.naive_utc()).fix().local_minus_utc()
}

/// The moment at which a zone's clocks show this: the first if there are two; if they skip it, what
/// it would have been.
pub(in crate::models) fn moment(zone: Tz, wall: NaiveDateTime) -> DateTime<Utc> {
    let day = TimeDelta::days(1);
    let at = |wall: NaiveDateTime| zone.from_local_datetime(&wall).earliest();
    let found = at(wall).or_else(|| at(wall - day).map(|before| before + day));
    found.map_or_else(|| wall.and_utc(), |found| found.to_utc())
}

impl Compiler {
    /// Writes what the clocks show at a moment, without what is below a second where that is text.
    pub(super) fn wall(&mut self, moment: &Node) {
        let is_utc = self.zone == Tz::UTC;
        match self.flavour() {
            Postgres => {
                let behind = format!(" AT TIME ZONE '{}')", self.zone.name());
                self.around("(", moment, &behind);
            }
            // Its functions round up what is near the next second.
            Sqlite if is_utc => self.around("SUBSTR(", moment, ", 1, 19)"),
            Sqlite => {
                let changes = Changes::of(self.zone);
                let offset = choice(changes.first, &changes.moments);
                self.out.push("(SELECT STRFTIME('%Y-%m-%dT%H:%M:%S', \"m\", ");
                self.out.push(&format!("({offset}) || ' seconds')"));
                self.around(" FROM (SELECT SUBSTR(", moment, ", 1, 19) AS \"m\"))");
            }
            Mysql if is_utc => self.node(moment),
            Mysql => {
                let changes = Changes::of(self.zone);
                let moment = self.piece(|compiler| compiler.node(moment));
                self.out.push("DATE_ADD(");
                self.out.append(moment.clone());
                self.interval(moment, changes.first, &changes.moments);
            }
        }
    }

    /// Writes the moment at which the clocks show `wall`; with `same` by the offset of that one.
    /// PostgreSQL needs none of it.
    pub(super) fn back(&mut self, wall: Writer, same: Option<&Node>) {
        let is_sqlite = self.flavour() == Sqlite;
        if self.zone == Tz::UTC {
            self.out.push(if is_sqlite { "(" } else { "" });
            self.out.append(wall);
            self.out.push(if is_sqlite { " || '+00:00')" } else { "" });
            return;
        }
        let changes = Changes::of(self.zone);
        let (of, changed) = match same {
            Some(moment) if is_sqlite => {
                let moment = self.piece(|compiler| compiler.around("SUBSTR(", moment, ", 1, 19)"));
                (moment, &changes.moments)
            }
            Some(moment) => (self.piece(|compiler| compiler.node(moment)), &changes.moments),
            None => (wall.clone(), &changes.walls),
        };
        if !is_sqlite {
            self.out.push("DATE_SUB(");
            self.out.append(wall);
            return self.interval(of, changes.first, changed);
        }
        let offset = choice(changes.first, changed);
        self.out.push("(SELECT STRFTIME('%Y-%m-%dT%H:%M:%S', \"w\", ");
        self.out.push(&format!("(-({offset})) || ' seconds') || '+00:00' FROM (SELECT "));
        self.out.append(wall);
        self.out.push(" AS \"w\", ");
        self.out.append(of);
        self.out.push(" AS \"m\"))");
    }

    /// Writes the offset at `of` as the second argument of MariaDB's `DATE_ADD`.
    fn interval(&mut self, of: Writer, first: i32, then: &[(i64, i32)]) {
        self.out.push(", INTERVAL ELT(INTERVAL(TIMESTAMPDIFF(SECOND, '1970-01-01', ");
        self.out.append(of);
        // Before all changes, for it takes two numbers at least.
        self.out.push(&format!("), {}", i64::from(i32::MIN) * 1000));
        for (at, _) in then {
            self.out.push(&format!(", {at}"));
        }
        self.out.push(&format!("), {first}"));
        for (_, offset) in then {
            self.out.push(&format!(", {offset}"));
        }
        self.out.push(") SECOND)");
    }
}

/// The offset at the text `m` for SQLite, halving the changes.
fn choice(first: i32, then: &[(i64, i32)]) -> String {
    let (before, from) = then.split_at(then.len() / 2);
    let Some(((at, offset), after)) = from.split_first() else { return first.to_string() };
    let at = DateTime::from_timestamp(*at, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%S");
    let (before, after) = (choice(first, before), choice(*offset, after));
    format!("CASE WHEN \"m\" < '{at}' THEN {before} ELSE {after} END")
}
