//! Parts and beginnings of moments, days and times, and what lies between two moments.

use crate::models::expression::{Function, Node, Part};
use crate::models::meta::FieldKind;
use crate::models::sql::Compiler;
use crate::models::sql::Flavour::{Mysql, Postgres, Sqlite};

/// SQLite's moment `u`, microseconds since 1970, as the text that moments are kept as: with as many
/// groups of three digits as it needs.
const TEXT_OF_MICROSECONDS: &str = "STRFTIME('%Y-%m-%dT%H:%M:%S', (\"u\" - \"f\") / 1000000, \
     'unixepoch') || CASE WHEN \"f\" = 0 THEN '' WHEN \"f\" % 1000 = 0 \
     THEN PRINTF('.%03d', \"f\" / 1000) ELSE PRINTF('.%06d', \"f\") END || '+00:00'";

impl Compiler {
    /// Writes a call of a function of moments; `false` if it is another one.
    pub(super) fn moment_call(&mut self, function: Function, arguments: &[Node]) -> bool {
        match (function, arguments) {
            (Function::Now, _) => self.out.push(match self.flavour() {
                Sqlite => "STRFTIME('%Y-%m-%dT%H:%M:%f+00:00', 'now')",
                Postgres => "CURRENT_TIMESTAMP",
                Mysql => "CURRENT_TIMESTAMP(6)",
            }),
            (Function::Extract(part, kind), [moment]) => self.extract(part, kind, moment),
            (Function::Trunc(part, kind), [moment]) => self.trunc(part, kind, moment),
            (Function::Date, [moment]) => {
                let postgres = self.flavour() == Postgres;
                self.out.push(if postgres { "CAST(" } else { "DATE(" });
                self.wall(moment);
                self.out.push(if postgres { " AS DATE)" } else { ")" });
            }
            (Function::Time, [moment]) => self.time(moment),
            (Function::Later, [moment, duration]) => self.later(moment, " + ", duration),
            (Function::Earlier, [moment, duration]) => self.later(moment, " - ", duration),
            (Function::Apart, [one, other]) => self.apart(one, other),
            _ => return false,
        }
        true
    }

    fn time(&mut self, moment: &Node) {
        match self.flavour() {
            // `2024-01-31T23:59:59.5+00:00`
            Sqlite => {
                self.out.push("(SUBSTR(");
                self.wall(moment);
                self.around(", 12) || SUBSTR(", moment, ", 20, LENGTH(");
                self.around("", moment, ") - 25))");
            }
            Postgres => {
                self.out.push("CAST(");
                self.wall(moment);
                self.out.push(" AS TIME)");
            }
            Mysql => {
                self.out.push("TIME(");
                self.wall(moment);
                self.out.push(")");
            }
        }
    }

    /// What the clocks show of a moment; a day or time itself.
    fn shown(&mut self, kind: FieldKind, moment: &Node) {
        match kind {
            FieldKind::DateTime => self.wall(moment),
            // Its functions round up what is near the next second.
            FieldKind::Time if self.flavour() == Sqlite => {
                self.around("SUBSTR(", moment, ", 1, 8)");
            }
            _ => self.node(moment),
        }
    }

    fn extract(&mut self, part: Part, kind: FieldKind, moment: &Node) {
        let (before, behind) = match self.flavour() {
            Sqlite => extract_sqlite(part),
            Postgres => extract_postgres(part),
            Mysql => extract_mysql(part),
        };
        self.out.push(before);
        self.shown(kind, moment);
        self.out.push(behind);
    }

    fn trunc(&mut self, part: Part, kind: FieldKind, moment: &Node) {
        let is_moment = kind == FieldKind::DateTime;
        let same = matches!(part, Part::Hour | Part::Minute | Part::Second).then_some(moment);
        let begin = match self.flavour() {
            Postgres => return self.trunc_postgres(part, kind, moment),
            Sqlite => self.piece(|compiler| compiler.trunc_sqlite(part, kind, moment)),
            Mysql => self.piece(|compiler| compiler.trunc_mysql(part, kind, moment)),
        };
        if is_moment { self.back(begin, same) } else { self.out.append(begin) }
    }

    fn trunc_postgres(&mut self, part: Part, kind: FieldKind, moment: &Node) {
        let field = match part {
            Part::Year | Part::IsoYear => "year",
            Part::Quarter => "quarter",
            Part::Month => "month",
            Part::Week => "week",
            Part::Day | Part::WeekDay | Part::IsoWeekDay => "day",
            Part::Hour => "hour",
            Part::Minute => "minute",
            Part::Second => "second",
        };
        match kind {
            FieldKind::Date => {
                let before = format!("CAST(DATE_TRUNC('{field}', CAST(");
                self.around(&before, moment, " AS TIMESTAMP)) AS DATE)");
            }
            FieldKind::Time => {
                self.around(&format!("CAST(DATE_TRUNC('{field}', "), moment, ") AS TIME)");
            }
            _ => {
                let behind = format!(", '{}')", self.zone.name());
                self.around(&format!("DATE_TRUNC('{field}', "), moment, &behind);
            }
        }
    }

    fn trunc_sqlite(&mut self, part: Part, kind: FieldKind, moment: &Node) {
        let shown = self.piece(|compiler| compiler.shown(kind, moment));
        let (day, clock) = formats(part);
        let format = match kind {
            FieldKind::Date => day.to_owned(),
            FieldKind::Time => clock.to_owned(),
            _ => format!("{day}T{clock}"),
        };
        self.out.push(&format!("STRFTIME('{format}', "));
        self.out.append(shown.clone());
        match part {
            Part::Week => self.out.push(", '-6 days', 'weekday 1'"),
            Part::Quarter => {
                self.out.push(", 'start of month', '-' || ((STRFTIME('%m', ");
                self.out.append(shown);
                self.out.push(") - 1) % 3) || ' months'");
            }
            _ => {}
        }
        self.out.push(")");
    }

    fn trunc_mysql(&mut self, part: Part, kind: FieldKind, moment: &Node) {
        let shown = self.piece(|compiler| compiler.shown(kind, moment));
        let (day, clock) = formats(part);
        let format = match kind {
            FieldKind::Date => day.to_owned(),
            FieldKind::Time => clock.to_owned(),
            _ => format!("{day} {clock}"),
        };
        let format = format.replace("%M", "%i").replace("%S", "%s");
        self.cast(kind, |compiler| {
            compiler.out.push("DATE_FORMAT(");
            let (before, behind) = match part {
                Part::Week => (", INTERVAL WEEKDAY(", ") DAY)"),
                Part::Quarter => (", INTERVAL (MONTH(", ") - 1) % 3 MONTH)"),
                _ => ("", ""),
            };
            if before.is_empty() {
                compiler.out.append(shown);
            } else {
                compiler.out.push("DATE_SUB(");
                compiler.out.append(shown.clone());
                compiler.out.push(before);
                compiler.out.append(shown);
                compiler.out.push(behind);
            }
            compiler.out.push(&format!(", '{format}')"));
        });
    }

    /// A moment and a duration, which is a number of microseconds.
    fn later(&mut self, moment: &Node, sign: &str, duration: &Node) {
        match self.flavour() {
            Sqlite => {
                self.out.push(&format!("(SELECT {TEXT_OF_MICROSECONDS} FROM (SELECT \"u\", "));
                self.out.push("(\"u\" % 1000000 + 1000000) % 1000000 AS \"f\" FROM (SELECT ");
                self.microseconds(moment);
                self.around(sign, duration, " AS \"u\")))");
            }
            Postgres => {
                self.around("(", moment, sign);
                self.around("", duration, " * INTERVAL '1 microsecond')");
            }
            Mysql => {
                self.out.push(if sign == " + " { "DATE_ADD(" } else { "DATE_SUB(" });
                self.around("", moment, ", INTERVAL ");
                self.around("", duration, " MICROSECOND)");
            }
        }
    }

    /// How many microseconds `one` is behind `other`.
    fn apart(&mut self, one: &Node, other: &Node) {
        match self.flavour() {
            Sqlite => {
                self.out.push("(");
                self.microseconds(one);
                self.out.push(" - ");
                self.microseconds(other);
                self.out.push(")");
            }
            Postgres => {
                self.around("CAST(ROUND(EXTRACT(EPOCH FROM (", one, " - ");
                self.around("", other, ")) * 1000000) AS BIGINT)");
            }
            Mysql => {
                self.around("TIMESTAMPDIFF(MICROSECOND, ", other, ", ");
                self.around("", one, ")");
            }
        }
    }

    /// A moment of SQLite's as microseconds since 1970.
    fn microseconds(&mut self, moment: &Node) {
        self.out.push("(SELECT STRFTIME('%s', SUBSTR(\"m\", 1, 19)) * 1000000 + SUBSTR(SUBSTR(");
        self.out.push("\"m\", 21, MAX(LENGTH(\"m\") - 26, 0)) || '000000', 1, 6) FROM (SELECT ");
        self.around("", moment, " AS \"m\"))");
    }
}

fn extract_sqlite(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Year => ("CAST(STRFTIME('%Y', ", ") AS INTEGER)"),
        Part::IsoYear => ("CAST(STRFTIME('%G', ", ") AS INTEGER)"),
        Part::Quarter => ("((CAST(STRFTIME('%m', ", ") AS INTEGER) + 2) / 3)"),
        Part::Month => ("CAST(STRFTIME('%m', ", ") AS INTEGER)"),
        Part::Week => ("CAST(STRFTIME('%V', ", ") AS INTEGER)"),
        Part::Day => ("CAST(STRFTIME('%d', ", ") AS INTEGER)"),
        Part::WeekDay => ("(CAST(STRFTIME('%w', ", ") AS INTEGER) + 1)"),
        Part::IsoWeekDay => ("CAST(STRFTIME('%u', ", ") AS INTEGER)"),
        Part::Hour => ("CAST(STRFTIME('%H', ", ") AS INTEGER)"),
        Part::Minute => ("CAST(STRFTIME('%M', ", ") AS INTEGER)"),
        Part::Second => ("CAST(STRFTIME('%S', ", ") AS INTEGER)"),
    }
}

fn extract_postgres(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Year => ("CAST(EXTRACT(YEAR FROM ", ") AS INTEGER)"),
        Part::IsoYear => ("CAST(EXTRACT(ISOYEAR FROM ", ") AS INTEGER)"),
        Part::Quarter => ("CAST(EXTRACT(QUARTER FROM ", ") AS INTEGER)"),
        Part::Month => ("CAST(EXTRACT(MONTH FROM ", ") AS INTEGER)"),
        Part::Week => ("CAST(EXTRACT(WEEK FROM ", ") AS INTEGER)"),
        Part::Day => ("CAST(EXTRACT(DAY FROM ", ") AS INTEGER)"),
        Part::WeekDay => ("CAST(EXTRACT(DOW FROM ", ") + 1 AS INTEGER)"),
        Part::IsoWeekDay => ("CAST(EXTRACT(ISODOW FROM ", ") AS INTEGER)"),
        Part::Hour => ("CAST(EXTRACT(HOUR FROM ", ") AS INTEGER)"),
        Part::Minute => ("CAST(EXTRACT(MINUTE FROM ", ") AS INTEGER)"),
        Part::Second => ("CAST(FLOOR(EXTRACT(SECOND FROM ", ")) AS INTEGER)"),
    }
}

fn extract_mysql(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Year => ("YEAR(", ")"),
        Part::IsoYear => ("(YEARWEEK(", ", 3) DIV 100)"),
        Part::Quarter => ("QUARTER(", ")"),
        Part::Month => ("MONTH(", ")"),
        Part::Week => ("WEEK(", ", 3)"),
        Part::Day => ("DAYOFMONTH(", ")"),
        Part::WeekDay => ("DAYOFWEEK(", ")"),
        Part::IsoWeekDay => ("(WEEKDAY(", ") + 1)"),
        Part::Hour => ("HOUR(", ")"),
        Part::Minute => ("MINUTE(", ")"),
        Part::Second => ("SECOND(", ")"),
    }
}

/// The formats of the day and of the time where a part begins.
fn formats(part: Part) -> (&'static str, &'static str) {
    match part {
        Part::Year | Part::IsoYear => ("%Y-01-01", "00:00:00"),
        Part::Quarter | Part::Month => ("%Y-%m-01", "00:00:00"),
        Part::Week | Part::Day | Part::WeekDay | Part::IsoWeekDay => ("%Y-%m-%d", "00:00:00"),
        Part::Hour => ("%Y-%m-%d", "%H:00:00"),
        Part::Minute => ("%Y-%m-%d", "%H:%M:00"),
        Part::Second => ("%Y-%m-%d", "%H:%M:%S"),
    }
}
