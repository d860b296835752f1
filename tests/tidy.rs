//! Rules of this repository that neither rustfmt nor clippy knows: layers, sizes, words, names.
//!
//! Flow: every source file is read once → comments and strings are blanked, so that words in prose
//! do not count → each rule returns its problems → the test fails with `file:line` and the remedy.
//!
//! Invariant: a rule is a pure function from text to problems, and is itself tested on bad input.

mod dependencies;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

/// The rooms, lowest row first. A room uses only rooms of rows above its own in this list.
const ROWS: &[&[&str]] = &[
    &["error", "conf", "signing"],
    &["signals"],
    &["db", "channels", "template"],
    &["site"],
    &["models", "mail"],
    &["migrations", "fixtures", "http"],
    &["blocking", "urls", "forms", "middleware", "sockets", "services"],
    &["apps"],
    &["contrib"],
    &["streams"],
    &["server"],
    &["test"],
];

/// Uses inside one row: who, whom, and why it is no knot.
const SAME_ROW: &[(&str, &str, &str)] = &[
    ("conf", "error", "everything fails with the one error type"),
    ("signing", "conf", "keys are settings"),
    ("signing", "error", "a forged text is an error"),
    ("middleware", "urls", "csrf, slash and the debug page ask for the line that matched"),
    ("sockets", "urls", "`socket(..)` is a line of the URL table"),
    ("sockets", "middleware", "the Origin check shares the allowed hosts"),
];

/// Macros are exported at the root, whatever room they are written in.
const ROOT_MACROS: &[&str] = &["assets", "context"];

/// Longest source file, lines.
const FILE_LINES_MAX: usize = 600;

/// Longest line, columns. rustfmt leaves long strings and comments alone; this does not.
const LINE_COLUMNS_MAX: usize = 100;

/// Largest room, lines without its tests. A larger one wants a door of its own for a part.
const ROOM_LINES_MAX: usize = 6000;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "helpers", "helper", "common", "misc"];

/// A word that may not stand in the code of some files.
struct Word {
    word: &'static str,
    /// Path prefixes where it is forbidden.
    below: &'static [&'static str],
    /// Path prefixes where it may stand all the same.
    except: &'static [&'static str],
    /// Whether tests are bound by it.
    tests: bool,
    remedy: &'static str,
}

const LIBRARY: &[&str] = &["framework/", "manage/"];
const EVERYWHERE: &[&str] = &[""];

const WORDS: &[Word] = &[
    Word {
        word: "env::var",
        below: LIBRARY,
        except: &["framework/conf/"],
        tests: false,
        remedy: "only `conf` reads the environment: make it a setting",
    },
    Word {
        word: "println!",
        below: &["framework/"],
        except: &[],
        tests: false,
        remedy: "only `manage` prints: use `tracing`, or return what is to be said",
    },
    Word {
        word: "eprintln!",
        below: &["framework/"],
        except: &[],
        tests: false,
        remedy: "only `manage` prints: use `tracing`, or return what is to be said",
    },
    Word {
        word: "Command::new",
        below: LIBRARY,
        except: &["framework/server/", "manage/"],
        tests: false,
        remedy: "only `server` makes processes (and `manage`, cargo's)",
    },
    Word {
        word: "unbounded_channel",
        below: EVERYWHERE,
        except: &[],
        tests: true,
        remedy: "every queue has a bound: `mpsc::channel(LIMIT)`",
    },
    Word {
        word: ".unwrap()",
        below: LIBRARY,
        except: &[],
        tests: false,
        remedy: "return an error, or `expect(\"why it cannot fail\")`",
    },
    Word {
        word: "sleep(",
        below: &["tests/", "examples/"],
        except: &["tests/src/bin/", "examples/httpbin/src/main.rs"],
        tests: true,
        remedy: "wait for the event itself, with a timeout",
    },
    Word {
        word: "User",
        below: &["framework/channels/"],
        except: &[],
        tests: true,
        remedy: "channels know no user: take an opaque owner or key",
    },
    Word {
        word: "Session",
        below: &["framework/channels/"],
        except: &[],
        tests: true,
        remedy: "channels know no session: take an opaque owner or key",
    },
    Word {
        word: "sea_query",
        below: &["framework/channels/", "framework/sockets/", "framework/urls/"],
        except: &[],
        tests: true,
        remedy: "no tables here: rows are the business of `models`",
    },
    Word {
        word: "http::",
        below: &["framework/models/", "framework/db/", "framework/channels/"],
        except: &[],
        tests: true,
        remedy: "this room knows no HTTP: return an error with a question of its own",
    },
    Word {
        word: "axum::",
        below: &["framework/models/", "framework/migrations/", "framework/channels/"],
        except: &[],
        tests: true,
        remedy: "this room knows no HTTP: return an error with a question of its own",
    },
];

/// A broken rule: where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    file: String,
    line: usize,
    remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.remedy)
    }
}

/// A Rust file: its path below the repository, its text, and the text without prose.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned(), code: without_prose(text) }
    }

    fn problem(&self, line: usize, remedy: impl Into<String>) -> Problem {
        Problem { file: self.path.clone(), line, remedy: remedy.into() }
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || ["tests.rs", "_tests.rs", "/simulation.rs"]
                .iter()
                .any(|end| self.path.ends_with(end))
    }

    /// The room a file of the library lies in; `None` for `lib.rs` and other packages.
    fn room(&self) -> Option<&str> {
        let (room, _) = self.path.strip_prefix("framework/")?.split_once('/')?;
        (!["macros", "greenlet"].contains(&room)).then_some(room)
    }
}

#[test]
fn the_repository_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository");
    let mut paths = Vec::new();
    walk(root, &mut paths);
    let sources: Vec<Source> = paths.iter().filter_map(|path| read(root, path)).collect();
    assert!(sources.len() > 30, "only {} files found below {}", sources.len(), root.display());
    let mut problems: Vec<Problem> = sources.iter().flat_map(check_file).collect();
    problems.extend(check_room_sizes(&sources));
    problems.extend(check_doors(root, &sources));
    problems.extend(check_same_row(&sources));
    problems.sort();
    let list: String = problems.iter().map(|problem| format!("\n{problem}")).collect();
    assert!(problems.is_empty(), "{} problems:{list}\n", problems.len());
}

fn check_file(source: &Source) -> Vec<Problem> {
    let mut problems = check_layers(source);
    problems.extend(check_words(source, WORDS));
    problems.extend(check_shape(source));
    problems
}

/// A room uses only lower rooms, and names the room it takes a thing from.
fn check_layers(source: &Source) -> Vec<Problem> {
    let Some(room) = source.room() else { return Vec::new() };
    let Some(row) = row_of(room) else {
        return vec![source.problem(1, format!("give the room `{room}` a row in tests/tidy.rs"))];
    };
    let mut problems = Vec::new();
    for (line, used) in crate_paths(&source.code) {
        let remedy = match row_of(&used) {
            _ if used == room => continue,
            None => format!("`crate::{used}` is no room: write the room it lives in"),
            Some(lower) if lower < row => continue,
            Some(same) if same == row => {
                if SAME_ROW.iter().any(|&(who, whom, _)| who == room && whom == used) {
                    continue;
                }
                format!(
                    "`{used}` is in the same row as `{room}`: pass it in, or list it with a why"
                )
            }
            Some(_) => format!("`{used}` lies above `{room}`: move the type down, or pass it in"),
        };
        problems.push(source.problem(line, remedy));
    }
    problems
}

/// What is listed as used inside a row is used.
fn check_same_row(sources: &[Source]) -> Vec<Problem> {
    let uses = |who: &str, whom: &str| {
        let mut of = sources.iter().filter(|source| source.room() == Some(who));
        of.any(|source| crate_paths(&source.code).iter().any(|(_, used)| used == whom))
    };
    let stale = SAME_ROW.iter().filter(|(who, whom, _)| !uses(who, whom));
    stale
        .map(|(who, whom, _)| Problem {
            file: "tests/tidy.rs".to_owned(),
            line: 1,
            remedy: format!("`{who}` does not use `{whom}`: take it off the list"),
        })
        .collect()
}

fn row_of(room: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&room))
}

/// The first segments after `crate::`, with their lines; groups (`crate::{a, b::c}`) are opened.
/// Macros (`crate::context!`) and `$crate` are left out: they live at the root.
fn crate_paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c == '$' || is_word(c)) {
            continue;
        }
        let line = line_of(code, at);
        let rest = &code[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(group) => group_heads(group),
            None => vec![head(rest)],
        };
        found.extend(names.into_iter().flatten().map(|name| (line, name)));
    }
    found
}

/// The first segment of each path at the top of a group, up to its closing brace.
fn group_heads(group: &str) -> Vec<Option<String>> {
    let mut heads = vec![head(group.trim_start())];
    let mut depth = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(head(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    heads
}

fn head(path: &str) -> Option<String> {
    let name: String = path.chars().take_while(|&c| is_word(c)).collect();
    let is_macro = path[name.len()..].starts_with('!') || ROOT_MACROS.contains(&name.as_str());
    (!name.is_empty() && !is_macro).then_some(name)
}

fn check_words(source: &Source, words: &[Word]) -> Vec<Problem> {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|p| source.path.starts_with(p));
    let mut problems = Vec::new();
    for word in words {
        if !begins(word.below) || begins(word.except) || (source.is_test() && !word.tests) {
            continue;
        }
        let code = if word.tests { &source.code[..] } else { before_tests(&source.code) };
        for at in whole_words(code, word.word) {
            problems.push(source.problem(
                line_of(code, at),
                format!("`{}` may not stand here: {}", word.word, word.remedy),
            ));
        }
    }
    problems
}

/// The code in front of an inline `#[cfg(test)] mod tests {`.
fn before_tests(code: &str) -> &str {
    code.find("#[cfg(test)]\nmod tests {").map_or(code, |at| &code[..at])
}

/// Where `word` stands, not as a part of a longer name or path segment.
fn whole_words(code: &str, word: &str) -> Vec<usize> {
    let edge = |c: Option<char>, inner: Option<char>| {
        !(c.is_some_and(is_word) && inner.is_some_and(is_word))
    };
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| {
            edge(code[..at].chars().next_back(), word.chars().next())
                && edge(code[at + word.len()..].chars().next(), word.chars().next_back())
        })
        .collect()
}

/// Sizes, the opening words, and the name of one file.
fn check_shape(source: &Source) -> Vec<Problem> {
    let mut problems = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        let remedy = format!("{lines} lines, at most {FILE_LINES_MAX}: give a part its own file");
        problems.push(source.problem(FILE_LINES_MAX, remedy));
    }
    for (number, line) in source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX {
            let remedy = format!("{columns} columns, at most {LINE_COLUMNS_MAX}: break the line");
            problems.push(source.problem(number + 1, remedy));
        }
        if line.trim_start().starts_with("/// ```ignore") {
            problems
                .push(source.problem(number + 1, "an example that nobody compiles is no truth"));
        }
    }
    let is_headed = ["//!", "#!["].iter().any(|with| source.text.starts_with(with));
    if !is_headed && !source.path.ends_with("tests.rs") {
        problems.push(source.problem(1, "open with `//!`: purpose, flow, invariants"));
    }
    let stem = Path::new(&source.path).file_stem().and_then(|stem| stem.to_str());
    if stem.is_some_and(|stem| EMPTY_NAMES.contains(&stem)) {
        problems.push(source.problem(1, "name the file for the noun inside"));
    }
    problems
}

fn check_room_sizes(sources: &[Source]) -> Vec<Problem> {
    // A part with a door of its own counts for itself.
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    for source in sources.iter().filter(|source| !source.is_test() && source.room().is_some()) {
        let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        *lines.entry(folder).or_default() += source.text.lines().count();
    }
    let over = lines.into_iter().filter(|&(_, lines)| lines > ROOM_LINES_MAX);
    over.map(|(room, lines)| Problem {
        file: format!("{room}/mod.rs"),
        line: 1,
        remedy: format!("the room has {lines} lines, at most {ROOM_LINES_MAX}: split it"),
    })
    .collect()
}

/// Every folder of the library has a `mod.rs`, and no `x.rs` lies beside `x/`.
fn check_doors(root: &Path, sources: &[Source]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for source in sources.iter().filter(|source| source.room().is_some()) {
        let folder = Path::new(&source.path).parent().expect("a room's folder");
        if !root.join(folder).join("mod.rs").is_file() {
            problems.push(source.problem(1, "its folder has no door: add a mod.rs"));
        }
        if root.join(&source.path).with_extension("").is_dir() {
            problems
                .push(source.problem(1, "a folder of this name lies beside it: use its mod.rs"));
        }
    }
    problems
}

/// Every Rust file below `folder`; hidden folders and build results are passed over, and so are
/// the cases that must not compile.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in
        fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("an entry"))
    {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') && !["target", "compile_fail"].contains(&name.as_str()) {
                walk(&path, found);
            }
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

fn read(root: &Path, path: &Path) -> Option<Source> {
    let name = path.strip_prefix(root).ok()?.to_str()?;
    Some(Source::new(name, &fs::read_to_string(path).ok()?))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The text with comments and the insides of strings turned into blanks; lines stay where they are.
fn without_prose(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let prose = prose_length(rest, code.chars().next_back());
        if prose == 0 {
            code.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            code.extend(rest[..prose].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[prose..];
        }
    }
    code
}

/// How many bytes of comment, string or character literal `rest` begins with.
fn prose_length(rest: &str, before: Option<char>) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if rest.starts_with('"') {
        return string_length(rest);
    }
    if rest.starts_with('r') && !before.is_some_and(is_word) {
        let hashes = rest[1..].chars().take_while(|&c| c == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            let close = format!("\"{}", "#".repeat(hashes));
            let inner = 2 + hashes;
            let end = rest[inner..].find(&close).map(|end| inner + end + close.len());
            return end.unwrap_or(rest.len());
        }
    }
    // A character literal, not a lifetime: it closes after one character or an escape.
    let mut chars = rest.char_indices().skip(1);
    if rest.starts_with('\'')
        && let (Some((_, first)), Some((at, second))) = (chars.next(), chars.next())
    {
        if first == '\\' {
            return rest[at + second.len_utf8()..].find('\'').map_or(0, |end| at + end + 2);
        }
        if second == '\'' {
            return at + 1;
        }
    }
    0
}

fn string_length(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

// The rules on bad input: a rule that finds nothing is worth nothing.

#[track_caller]
fn check(path: &str, text: &str, expected: &[(usize, &str)]) {
    let found = check_file(&Source::new(path, text));
    assert_eq!(found.len(), expected.len(), "{path}: {found:?}");
    for (problem, (line, part)) in found.iter().zip(expected) {
        assert_eq!(problem.line, *line, "{problem}");
        assert!(problem.remedy.contains(part), "{problem}");
    }
}

#[test]
fn an_import_from_a_higher_room_is_found() {
    check("framework/models/x.rs", "//! X.\nuse crate::urls::Urls;\n", &[(2, "lies above")]);
    check("framework/models/x.rs", "//! X.\nuse crate::db::Row;\n", &[]);
    check("framework/models/x.rs", "//! X.\nuse crate::models::Row;\n", &[]);
    check("framework/db/x.rs", "//! X.\nuse crate::channels::A;\n", &[(2, "same row")]);
    check("framework/conf/x.rs", "//! X.\nuse crate::error::Error;\n", &[]);
    check("framework/db/x.rs", "//! X.\nuse crate::Site;\n", &[(2, "is no room")]);
    check("framework/attic/x.rs", "//! X.\n", &[(1, "a row")]);
    check("framework/lib.rs", "//! X.\npub use crate::server::A;\n", &[]);
}

#[test]
fn a_listed_use_that_is_gone_is_found() {
    assert_eq!(check_same_row(&[]).len(), SAME_ROW.len());
    let used = Source::new("framework/conf/x.rs", "use crate::error::Error;");
    assert_eq!(check_same_row(&[used]).len(), SAME_ROW.len() - 1);
}

#[test]
fn groups_paths_and_macros_are_told_apart() {
    let group = "//! X.\nuse crate::{conf, http::{self, Request}, server};\n";
    check("framework/http/x.rs", group, &[(2, "`server` lies above")]);
    check("framework/db/x.rs", "//! X.\nfn f() {\n    crate::test::f();\n}\n", &[(3, "`test`")]);
    check("framework/db/x.rs", "//! X.\nuse $crate::server;\ncrate::json!();\n", &[]);
    check("framework/db/x.rs", "//! X.\nuse crate::context;\n", &[]);
    check("framework/db/x.rs", "//! X.\n/// See [`crate::server`].\n", &[]);
}

#[test]
fn a_forbidden_word_is_found_in_code_only() {
    let path = "framework/channels/x.rs";
    check(path, "//! X.\nstruct User;\n", &[(2, "`User`")]);
    check(path, "//! X.\nstruct UserCount;\n", &[]);
    check(path, "//! No User.\nconst A: &str = \"User\"; // User\n", &[]);
    check(path, "//! X.\nconst A: &str = r#\"\"User\"#;\n", &[]);
    check(
        path,
        "//! X.\nfn f<'a>(a: &'a u8) {}\nconst C: char = '\"';\nstruct User;\n",
        &[(4, "`User`")],
    );
    check("framework/models/x.rs", "//! X.\nuse http::StatusCode;\n", &[(2, "no HTTP")]);
}

#[test]
fn the_library_is_bound_by_more_than_its_tests() {
    let text = "//! X.\nfn f() {\n    a.unwrap();\n}\n";
    check("framework/db/x.rs", text, &[(3, ".unwrap()")]);
    check("framework/db/tests.rs", text, &[]);
    check("tests/rooms/db.rs", text, &[]);
    let inline = "//! X.\n#[cfg(test)]\nmod tests {\n    fn f() { a.unwrap() }\n}\n";
    check("framework/db/x.rs", inline, &[]);
    check("tests/rooms/db.rs", "//! X.\nfn f() { sleep(a); }\n", &[(2, "wait for the event")]);
    check(
        "framework/db/x.rs",
        "//! X.\nuse tokio::sync::mpsc::unbounded_channel;\n",
        &[(2, "bound")],
    );
}

#[test]
fn what_only_one_room_may_do_is_found_elsewhere() {
    let text = "//! X.\nfn f() { std::env::var(a); }\n";
    check("framework/server/x.rs", text, &[(2, "only `conf`")]);
    check("framework/conf/x.rs", text, &[]);
    check("framework/server/x.rs", "//! X.\nfn f() { println!(); }\n", &[(2, "only `manage`")]);
    check("framework/conf/x.rs", "//! X.\nfn f() { Command::new(a); }\n", &[(2, "processes")]);
    check("framework/server/x.rs", "//! X.\nfn f() { Command::new(a); }\n", &[]);
}

#[test]
fn sizes_headers_and_empty_names_are_found() {
    let long = format!("//! X.\n{}\n", "x".repeat(LINE_COLUMNS_MAX + 1));
    check("manage/src/x.rs", &long, &[(2, "101 columns")]);
    let tall = format!("//! X.\n{}", "\n".repeat(FILE_LINES_MAX));
    check("manage/src/x.rs", &tall, &[(FILE_LINES_MAX, "601 lines")]);
    check("manage/src/x.rs", "fn f() {}\n", &[(1, "open with")]);
    check("manage/src/utils.rs", "//! X.\n", &[(1, "name the file")]);
    check("manage/src/x.rs", "//! X.\n/// ```ignore\n", &[(2, "nobody compiles")]);
}
