//! What only the text of a SQLite CREATE statement tells.
//!
//! Flow: text → [`tokens`] → pieces between the commas of the outermost parentheses → words.
//!
//! Invariants:
//! - SQLite has accepted the text, so it is well formed; what is not understood is passed over.

use super::Checked;

/// What a CREATE TABLE says beyond what the catalogue does.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Checks: name and condition.
    pub(super) checks: Vec<(Option<String>, String)>,
    /// Foreign keys: columns, name, when they are checked.
    pub(super) foreign_keys: Vec<(Vec<String>, Option<String>, Checked)>,
    /// Unique constraints with a name: columns and name.
    pub(super) uniques: Vec<(Vec<String>, String)>,
    /// Whether the key is `AUTOINCREMENT`.
    pub(super) autoincrement: bool,
}

/// Reads a CREATE TABLE.
pub(super) fn table(sql: &str) -> Told {
    let mut told = Told::default();
    for piece in pieces(&tokens(sql)) {
        Piece { tokens: &piece, at: 0 }.read(&mut told);
    }
    told
}

/// The parts of a CREATE INDEX as written, without `ASC` and `DESC`, and its condition.
pub(super) fn index(sql: &str) -> (Vec<String>, Option<String>) {
    let tokens = tokens(sql);
    let parts = pieces(&tokens).into_iter().map(|mut piece| {
        piece.truncate(piece.len() - usize::from(piece.last().is_some_and(is_direction)));
        written(&piece)
    });
    let mut depth = 0;
    let condition = tokens.iter().position(|token| {
        depth += i32::from(token.text == "(") - i32::from(token.text == ")");
        depth == 0 && token.is("WHERE")
    });
    (parts.collect(), condition.map(|at| written(&tokens[at + 1..])))
}

fn is_direction(token: &Token<'_>) -> bool {
    token.is("ASC") || token.is("DESC")
}

/// A word, a sign, a literal or a quoted name.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Token<'a> {
    text: &'a str,
    quote: Option<char>,
}

impl Token<'_> {
    /// Whether it is this keyword.
    fn is(&self, word: &str) -> bool {
        self.quote.is_none() && self.text.eq_ignore_ascii_case(word)
    }

    /// The name it stands for.
    fn name(&self) -> String {
        let Some(quote) = self.quote else { return self.text.to_owned() };
        let inner = &self.text[1..self.text.len() - 1];
        if quote == '[' {
            return inner.to_owned();
        }
        inner.replace(&format!("{quote}{quote}"), &quote.to_string())
    }
}

fn tokens(sql: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let (length, quote) = match first {
            _ if rest.starts_with("--") => (rest.find('\n').unwrap_or(rest.len()), None),
            _ if rest.starts_with("/*") => {
                (rest.find("*/").map_or(rest.len(), |end| end + 2), None)
            }
            '"' | '\'' | '`' => (quoted(rest, first), Some(first)),
            '[' => (rest.find(']').map_or(rest.len(), |end| end + 1), Some('[')),
            c if is_word(c) => (rest.find(|c| !is_word(c) && c != '.').unwrap_or(rest.len()), None),
            '<' | '>' | '=' | '!' | '|' => {
                let is_sign = |c: char| "<>=!|".contains(c);
                (rest.find(|c| !is_sign(c)).unwrap_or(rest.len()), None)
            }
            c => (c.len_utf8(), None),
        };
        let text = &rest[..length];
        let is_told = !first.is_whitespace() && !text.starts_with("--") && !text.starts_with("/*");
        if is_told {
            tokens.push(Token { text, quote });
        }
        rest = &rest[length..];
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Bytes of the quoted text that `rest` begins with; the quote written twice stands for itself.
fn quoted(rest: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(end) = rest[at..].find(quote) {
        at += end + 1;
        if !rest[at..].starts_with(quote) {
            return at;
        }
        at += 1;
    }
    rest.len()
}

/// What stands between the commas of the first parentheses.
fn pieces<'a>(tokens: &[Token<'a>]) -> Vec<Vec<Token<'a>>> {
    let mut pieces = vec![Vec::new()];
    let mut depth = 0;
    for token in tokens {
        let is_sign = |sign: &str| token.quote.is_none() && token.text == sign;
        depth += i32::from(is_sign("("));
        let is_edge = depth == 1 && (is_sign("(") || is_sign(")"));
        if depth == 1 && is_sign(",") {
            pieces.push(Vec::new());
        } else if depth > 0
            && !is_edge
            && let Some(piece) = pieces.last_mut()
        {
            piece.push(*token);
        }
        depth -= i32::from(is_sign(")"));
        if depth == 0 && is_sign(")") {
            break;
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// The tokens as SQL with one space wherever one may stand.
fn written(tokens: &[Token<'_>]) -> String {
    let texts: Vec<&str> = tokens.iter().map(|token| token.text).collect();
    texts.join(" ")
}

/// One column or table constraint.
struct Piece<'a> {
    tokens: &'a [Token<'a>],
    at: usize,
}

impl Piece<'_> {
    fn read(mut self, told: &mut Told) {
        let words = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];
        let is_constraint = words.iter().any(|word| self.sees(word));
        let mut columns = Vec::new();
        if !is_constraint {
            columns = self.tokens.first().map(Token::name).into_iter().collect();
            self.at = 1;
        }
        let mut name = None;
        while self.at < self.tokens.len() {
            if self.take("CONSTRAINT") {
                name = self.name();
            } else if self.take("CHECK") {
                told.checks.push((name.take(), self.parentheses()));
            } else if self.take("FOREIGN") {
                self.take("KEY");
                columns = self.names();
            } else if self.take("UNIQUE") {
                let own = if is_constraint { self.names() } else { columns.clone() };
                told.uniques.extend(name.take().map(|name| (own, name)));
            } else if self.take("PRIMARY") {
                name = None;
            } else if self.take("REFERENCES") {
                let checked = self.reference();
                told.foreign_keys.push((columns.clone(), name.take(), checked));
            } else if self.take("AUTOINCREMENT") {
                told.autoincrement = true;
            } else {
                // A default may be a word that means something elsewhere.
                self.take("DEFAULT");
                self.value();
            }
        }
    }

    fn sees(&self, word: &str) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.is(word))
    }

    fn take(&mut self, word: &str) -> bool {
        let is_there = self.sees(word);
        self.at += usize::from(is_there);
        is_there
    }

    fn name(&mut self) -> Option<String> {
        let name = self.tokens.get(self.at).map(Token::name);
        self.at += 1;
        name
    }

    /// Passes over one token, or over parentheses and what is in them.
    fn value(&mut self) {
        if self.sees("(") {
            self.parentheses();
        } else {
            self.at += 1;
        }
    }

    /// What is in the parentheses that begin here.
    fn parentheses(&mut self) -> String {
        let start = self.at + 1;
        let mut depth = 0;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            depth += i32::from(token.is("(")) - i32::from(token.is(")"));
            if depth == 0 {
                break;
            }
        }
        written(&self.tokens[start.min(self.at)..self.at.saturating_sub(1).max(start)])
    }

    /// The names in the parentheses that begin here, if any do.
    fn names(&mut self) -> Vec<String> {
        if !self.sees("(") {
            return Vec::new();
        }
        let start = self.at;
        self.parentheses();
        let inner = &self.tokens[start + 1..self.at - 1];
        inner
            .split(|token| token.is(","))
            .filter_map(|part| part.first().map(Token::name))
            .collect()
    }

    /// What follows REFERENCES: when it is checked.
    fn reference(&mut self) -> Checked {
        self.name();
        self.names();
        let (mut deferrable, mut deferred) = (false, false);
        loop {
            if self.take("ON") {
                // DELETE or UPDATE, then one or two words.
                self.at += 1;
                if self.sees("SET") || self.sees("NO") {
                    self.at += 1;
                }
                self.at += 1;
            } else if self.take("MATCH") {
                self.at += 1;
            } else if self.sees("NOT") && self.sees_after("DEFERRABLE") {
                self.at += 2;
                deferrable = false;
            } else if self.take("DEFERRABLE") {
                deferrable = true;
            } else if self.take("INITIALLY") {
                deferred = self.sees("DEFERRED");
                self.at += 1;
            } else {
                return Checked::of(deferrable, deferred);
            }
        }
    }

    fn sees_after(&self, word: &str) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|token| token.is(word))
    }
}

#[cfg(test)]
mod tests {
    use super::{Checked, Told, index, table};

    #[test]
    fn a_table_tells_its_checks_keys_and_names() {
        let told = table(
            r#"CREATE TABLE "a(b" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, -- x, y
            "age" smallint unsigned NOT NULL DEFAULT (1 + (2)) CHECK ("age" >= 0),
            [user_id] integer NULL REFERENCES "users" ("id") ON DELETE SET NULL
                DEFERRABLE INITIALLY DEFERRED,
            j text CHECK ((JSON_VALID("j") OR "j" IS NULL)), `k``k` int REFERENCES k,
            CONSTRAINT "both" UNIQUE ("age", j), CONSTRAINT ok CHECK (age<=9 /* , */ OR 'a)' = j),
            CONSTRAINT fk FOREIGN KEY (age, j) REFERENCES other DEFERRABLE ON UPDATE NO ACTION)"#,
        );
        let some = |name: &str| Some(name.to_owned());
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let expected = Told {
            checks: vec![
                (None, "\"age\" >= 0".into()),
                (None, "( JSON_VALID ( \"j\" ) OR \"j\" IS NULL )".into()),
                (some("ok"), "age <= 9 OR 'a)' = j".into()),
            ],
            foreign_keys: vec![
                (names(&["user_id"]), None, Checked::AtCommit),
                (names(&["k`k"]), None, Checked::AtOnce),
                (names(&["age", "j"]), some("fk"), Checked::AtOnceUnlessAsked),
            ],
            uniques: vec![(names(&["age", "j"]), "both".into())],
            autoincrement: true,
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn an_index_tells_its_parts_and_condition() {
        let check = |sql, parts: &[&str], condition: Option<&str>| {
            let told = index(sql);
            assert_eq!(told.0, parts);
            assert_eq!(told.1.as_deref(), condition);
        };
        check("CREATE INDEX i ON t (a, \"b c\" DESC)", &["a", "\"b c\""], None);
        check("CREATE INDEX i ON t (lower(a)) WHERE a>(0)", &["lower ( a )"], Some("a > ( 0 )"));
    }
}
