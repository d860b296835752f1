//! Statements that leave something behind on their connection.

/// First words of such statements. `SET LOCAL` and its like end with their transaction.
const LASTING: [&str; 10] =
    ["SET", "RESET", "PRAGMA", "ATTACH", "DETACH", "LISTEN", "LOAD", "PREPARE", "DISCARD", "USE"];

/// What may follow `SET` without lasting.
const PASSING: [&str; 4] = ["LOCAL", "TRANSACTION", "CONSTRAINTS", "STATEMENT"];

/// Whether a connection that ran `script` may differ from a new one, so that it must not be used by
/// others: a setting, a temporary table, another schema. Functions that do the same
/// (`set_config`, `pg_advisory_lock`) are not seen.
pub(super) fn is_changed_by(script: &str) -> bool {
    script.split(';').any(lasts)
}

fn lasts(statement: &str) -> bool {
    let mut words = statement.split_ascii_whitespace();
    let (Some(first), second) = (words.next(), words.next().unwrap_or_default()) else {
        return false;
    };
    let is_among = |word: &str, list: &[&str]| list.iter().any(|w| word.eq_ignore_ascii_case(w));
    if first.eq_ignore_ascii_case("CREATE") {
        return is_among(second, &["TEMP", "TEMPORARY"]);
    }
    if first.eq_ignore_ascii_case("PRAGMA") {
        // One that only asks has neither.
        return statement.contains(['=', '(']);
    }
    is_among(first, &LASTING) && !is_among(second, &PASSING)
}

#[cfg(test)]
mod tests {
    use super::is_changed_by;

    fn check(script: &str, expected: bool) {
        assert_eq!(is_changed_by(script), expected, "{script}");
    }

    #[test]
    fn lasting_statements_are_known() {
        check("SELECT * FROM settings", false);
        check("UPDATE a SET b = 1", false);
        check("", false);
        check("SET search_path = x", true);
        check("  set\n timezone to 'x'", true);
        check("SET LOCAL timezone = 'x'", false);
        check("SET TRANSACTION READ ONLY", false);
        check("SET CONSTRAINTS ALL IMMEDIATE", false);
        check("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", true);
        check("RESET ALL", true);
        check("PRAGMA foreign_keys", false);
        check("PRAGMA foreign_keys = OFF", true);
        check("pragma foreign_keys(0)", true);
        check("CREATE TEMP TABLE x (a int)", true);
        check("CREATE TABLE temporary (a int)", false);
        check("SELECT 1; SET timezone = 'x'", true);
        check("SETTLE", false);
    }
}
