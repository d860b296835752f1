//! Functions, by each database's name for them.

use crate::models::expression::{Call, Function, Node, Operator};
use crate::models::meta::FieldKind;
use crate::models::sql::Compiler;
use crate::models::sql::Flavour::{Mysql, Postgres, Sqlite};

impl Compiler {
    /// Writes a call of a function.
    pub(super) fn call(&mut self, call: &Call) {
        let Call { function, arguments } = call;
        if self.moment_call(*function, arguments) {
            return;
        }
        match (*function, arguments.as_slice()) {
            (Function::Coalesce, _) => self.coalesce(arguments),
            (Function::Concat, _) => self.concat(arguments),
            (Function::Greatest, [one, two]) => self.extreme("GREATEST", "MAX", one, two),
            (Function::Least, [one, two]) => self.extreme("LEAST", "MIN", one, two),
            (Function::NullIf, _) => {
                self.plain_call("NULLIF(", arguments);
                self.may_be_null = true;
            }
            (Function::Cast(kind), [value]) => self.cast(kind, |compiler| compiler.node(value)),
            (Function::Random, _) => self.out.push(match self.flavour() {
                // Its RANDOM() is a whole number of 64 bits.
                Sqlite => "(RANDOM() / 18446744073709551616.0 + 0.5)",
                Postgres => "RANDOM()",
                Mysql => "RAND()",
            }),
            (function, [number, ..]) if is_of_numbers(function) => {
                self.number_call(function, number, arguments);
            }
            (function, _) => self.text_call(function, arguments),
        }
    }

    fn text_call(&mut self, function: Function, arguments: &[Node]) {
        let name = match (function, self.flavour()) {
            (Function::Lower, _) => "LOWER(",
            (Function::Upper, _) => "UPPER(",
            (Function::Length, Mysql) => "CHAR_LENGTH(",
            (Function::Length, _) => "LENGTH(",
            (Function::Trim, _) => "TRIM(",
            (Function::LeftTrim, _) => "LTRIM(",
            (Function::RightTrim, _) => "RTRIM(",
            (Function::Substr, _) => "SUBSTR(",
            (Function::Replace, _) => "REPLACE(",
            (Function::StrIndex, Postgres) => "STRPOS(",
            (Function::StrIndex, _) => "INSTR(",
            (Function::Left | Function::Right, Sqlite) => return self.end(function, arguments),
            (Function::Left, _) => "LEFT(",
            (Function::Right, _) => "RIGHT(",
            _ => return self.mistake("a function is called with the wrong number of arguments"),
        };
        self.plain_call(name, arguments);
    }

    /// The first or last characters, where there is no LEFT and RIGHT.
    fn end(&mut self, function: Function, arguments: &[Node]) {
        let [text, length] = arguments else { return };
        if function == Function::Left {
            self.around("SUBSTR(", text, ", 1, ");
            self.around("", length, ")");
            return;
        }
        self.around("SUBSTR(", text, ", MAX(LENGTH(");
        self.around("", text, ") - ");
        self.around("", length, ", 0) + 1)");
    }

    fn number_call(&mut self, function: Function, number: &Node, arguments: &[Node]) {
        match (function, self.flavour()) {
            (Function::Abs, _) => self.plain_call("ABS(", arguments),
            (Function::Round(kind), flavour) => self.cast(kind, |compiler| {
                let Some(places) = arguments.get(1) else { return };
                let (before, behind) = match flavour {
                    Postgres => ("ROUND(CAST(", " AS NUMERIC), "),
                    // Doubles it rounds to the even neighbour.
                    Mysql => ("ROUND(CAST(", " AS DECIMAL(65, 30)), "),
                    Sqlite => ("ROUND(", ", "),
                };
                compiler.around(before, number, behind);
                compiler.around("", places, ")");
            }),
            (Function::Ceil(kind), Sqlite) => self.whole(kind, number, " + ", " > "),
            (Function::Floor(kind), Sqlite) => self.whole(kind, number, " - ", " < "),
            (Function::Ceil(kind), _) => {
                self.cast(kind, |compiler| compiler.around("CEIL(", number, ")"));
            }
            (Function::Floor(kind), _) => {
                self.cast(kind, |compiler| compiler.around("FLOOR(", number, ")"));
            }
            (_, Sqlite) => self.mistake("SQLite is built without `power` and `sqrt`"),
            (Function::Sqrt, _) => {
                self.out.push("SQRT(");
                self.cast(FieldKind::Float, |compiler| compiler.node(number));
                self.out.push(")");
            }
            _ => {
                let Some(exponent) = arguments.get(1) else { return };
                self.out.push("POWER(");
                self.cast(FieldKind::Float, |compiler| compiler.node(number));
                self.around(", ", exponent, ")");
            }
        }
    }

    /// The whole number above or below, where there is no CEIL and FLOOR.
    fn whole(&mut self, kind: FieldKind, number: &Node, add: &str, if_so: &str) {
        self.cast(kind, |compiler| {
            compiler.around("(CAST(", number, " AS INTEGER)");
            compiler.out.push(add);
            compiler.out.push("(");
            compiler.around("", number, if_so);
            compiler.around("CAST(", number, " AS INTEGER)))");
        });
    }

    /// Arithmetic.
    pub(super) fn binary(&mut self, left: &Node, operator: Operator, right: &Node) {
        let sign = match (operator, self.flavour()) {
            (Operator::Add, _) => " + ",
            (Operator::Subtract, _) => " - ",
            (Operator::Multiply, _) => " * ",
            // A decimal without fraction is a whole number there, and divided as such.
            (Operator::Divide, Sqlite) => {
                self.around("(CAST(", left, " AS REAL) / ");
                return self.around("", right, ")");
            }
            (Operator::DivideWhole, Mysql) => " DIV ",
            (Operator::Divide | Operator::DivideWhole, _) => " / ",
            (Operator::Remainder, Sqlite) => {
                self.around("(", left, " - ");
                self.around("", right, " * CAST(");
                self.around("", left, " / ");
                return self.around("", right, " AS INTEGER))");
            }
            (Operator::Remainder, Postgres) => {
                self.around("MOD(CAST(", left, " AS NUMERIC), CAST(");
                return self.around("", right, " AS NUMERIC))");
            }
            (Operator::Remainder | Operator::RemainderWhole, _) => " % ",
        };
        self.around("(", left, sign);
        self.around("", right, ")");
    }

    fn coalesce(&mut self, arguments: &[Node]) {
        let before = self.may_be_null;
        let mut all = true;
        self.out.push("COALESCE(");
        for (at, argument) in arguments.iter().enumerate() {
            self.may_be_null = false;
            self.around(if at > 0 { ", " } else { "" }, argument, "");
            all &= self.may_be_null;
        }
        self.out.push(")");
        self.may_be_null = before || all;
    }

    fn concat(&mut self, arguments: &[Node]) {
        let before = self.may_be_null;
        for (at, argument) in arguments.iter().enumerate() {
            self.around(if at > 0 { " || COALESCE(" } else { "(COALESCE(" }, argument, ", '')");
        }
        self.out.push(")");
        self.may_be_null = before;
    }

    /// The greater or lesser of two; PostgreSQL alone would leave NULLs out.
    fn extreme(&mut self, name: &str, sqlite: &str, one: &Node, two: &Node) {
        let flavour = self.flavour();
        if flavour == Postgres {
            self.around("CASE WHEN ", one, " IS NULL OR ");
            self.around("", two, " IS NULL THEN NULL ELSE ");
        }
        self.out.push(if flavour == Sqlite { sqlite } else { name });
        self.around("(", one, ", ");
        self.around("", two, ")");
        if flavour == Postgres {
            self.out.push(" END");
        }
    }

    pub(super) fn plain_call(&mut self, name: &str, arguments: &[Node]) {
        self.out.push(name);
        self.nodes(arguments);
        self.out.push(")");
    }

    pub(super) fn around(&mut self, before: &str, node: &Node, behind: &str) {
        self.out.push(before);
        self.node(node);
        self.out.push(behind);
    }

    /// What `write` writes, as the type of a field of this kind.
    pub(super) fn cast(&mut self, kind: FieldKind, write: impl FnOnce(&mut Self)) {
        self.out.push("CAST(");
        write(self);
        self.out.push(" AS ");
        self.out.push(match self.flavour() {
            Sqlite => sqlite_type(kind),
            Postgres => postgres_type(kind),
            Mysql => mysql_type(kind),
        });
        self.out.push(")");
    }
}

fn is_of_numbers(function: Function) -> bool {
    matches!(
        function,
        Function::Abs
            | Function::Round(_)
            | Function::Ceil(_)
            | Function::Floor(_)
            | Function::Power
            | Function::Sqrt
    )
}

fn sqlite_type(kind: FieldKind) -> &'static str {
    use FieldKind as K;
    match kind {
        K::BigAuto | K::Boolean | K::SmallInteger | K::Integer | K::BigInteger => "INTEGER",
        K::PositiveSmallInteger | K::PositiveInteger | K::PositiveBigInteger => "INTEGER",
        K::Duration => "INTEGER",
        K::Float => "REAL",
        K::Decimal => "NUMERIC",
        K::Binary => "BLOB",
        K::Char | K::Text | K::DateTime | K::Date | K::Time | K::Uuid | K::Json => "TEXT",
    }
}

fn postgres_type(kind: FieldKind) -> &'static str {
    use FieldKind as K;
    match kind {
        K::Boolean => "BOOLEAN",
        K::SmallInteger => "SMALLINT",
        K::Integer | K::PositiveSmallInteger => "INTEGER",
        K::BigAuto | K::BigInteger | K::PositiveInteger | K::PositiveBigInteger | K::Duration => {
            "BIGINT"
        }
        K::Float => "DOUBLE PRECISION",
        K::Decimal => "NUMERIC",
        K::Char | K::Text => "TEXT",
        K::DateTime => "TIMESTAMP WITH TIME ZONE",
        K::Date => "DATE",
        K::Time => "TIME",
        K::Uuid => "UUID",
        K::Json => "JSONB",
        K::Binary => "BYTEA",
    }
}

fn mysql_type(kind: FieldKind) -> &'static str {
    use FieldKind as K;
    match kind {
        K::BigAuto | K::Boolean | K::SmallInteger | K::Integer | K::BigInteger => "SIGNED",
        K::PositiveSmallInteger | K::PositiveInteger | K::PositiveBigInteger => "SIGNED",
        K::Duration => "SIGNED",
        K::Float => "DOUBLE",
        K::Decimal => "DECIMAL(65, 30)",
        K::DateTime => "DATETIME(6)",
        K::Date => "DATE",
        K::Time => "TIME(6)",
        K::Binary => "BINARY",
        K::Char | K::Text | K::Uuid | K::Json => "CHAR",
    }
}
