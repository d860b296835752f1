//! The script for browsers: where it is, how large, and whether its types say what it does.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::site;

/// Largest script as it travels, bytes.
const GZIPPED_BYTES_MAX: usize = 6 * 1024;

fn gzipped(bytes: &[u8]) -> usize {
    let mut gzip = Command::new("gzip");
    let gzip = gzip.args(["-9", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut gzip = gzip.spawn().expect("gzip is part of every system these tests run on");
    gzip.stdin.take().unwrap().write_all(bytes).unwrap();
    gzip.wait_with_output().unwrap().stdout.len()
}

#[tokio::test]
async fn every_site_with_static_files_serves_the_script() {
    let site = site().await;
    let client = site.client();
    let script = client.get("/static/hulse/hulse.js").await;
    script.assert_status(200);
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    let bytes = gzipped(script.bytes());
    assert!((100..=GZIPPED_BYTES_MAX).contains(&bytes), "{bytes} bytes");
    client.get("/static/hulse/hulse.d.ts").await.assert_contains("export function connect");
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
}

/// The words that stand behind `before`, wherever it stands.
fn words_behind<'a>(text: &'a str, before: &str) -> BTreeSet<&'a str> {
    let rest = text.match_indices(before).map(|(at, _)| &text[at + before.len()..]);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    rest.map(|rest| &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())])
        .filter(|word| !word.is_empty())
        .collect()
}

/// The members of an interface of the types.
fn members<'a>(types: &'a str, interface: &str) -> BTreeSet<&'a str> {
    let begins = |end| types.find(&format!("export interface {interface}{end}"));
    let begin = begins(' ').or(begins('<')).expect("it is exported");
    let body = &types[begin..begin + types[begin..].find("\n}").expect("it ends")];
    let lines = body.lines().skip(1).filter(|line| {
        let is_member =
            line.strip_prefix("  ").is_some_and(|line| !line.starts_with([' ', '/', '*', ')']));
        is_member && !line.trim_start().starts_with("/**")
    });
    let name = |line: &'a str| {
        let line = line.trim_start().trim_start_matches("readonly ");
        &line[..line.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(line.len())]
    };
    lines.map(name).collect()
}

fn both<'a>(one: &BTreeSet<&'a str>, other: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    one.union(other).copied().collect()
}

#[test]
fn every_name_of_the_script_is_typed_and_every_typed_name_is_there() {
    let (script, types) = (read("static/hulse/hulse.js"), read("static/hulse/hulse.d.ts"));
    let exported = words_behind(&script, "export const ");
    assert_eq!(exported, words_behind(&types, "export function "));
    assert_eq!(exported, BTreeSet::from(["connect", "socket"]));

    // Options are read by their names, and taken out by their names.
    let read_here = words_behind(&script, "options.");
    let taken: BTreeSet<&str> = script
        .match_indices("} = this.options")
        .flat_map(|(end, _)| {
            let begin = script[..end].rfind('{').expect("it begins");
            script[begin + 1..end].split(',')
        })
        .map(|one| one.split('=').next().unwrap_or_default().trim())
        .collect();
    let (options, plain) = (members(&types, "Options"), members(&types, "PlainOptions"));
    assert_eq!(both(&read_here, &taken), both(&options, &plain));
    assert_eq!(
        both(&words_behind(&script, "handlers."), &BTreeSet::new()),
        members(&types, "Handlers")
    );

    // What is promised of each object stands in its class.
    let class = |name: &str| {
        let begin = script.find(&format!("class {name}")).expect("there is one");
        &script[begin..begin + script[begin..].find("\n}").expect("it ends")]
    };
    let (hulse, link) = (class("Hulse"), class("Link"));
    let (stream, plain) = (class("Stream"), class("Plain"));
    for (interface, code) in
        [("Hulse", [hulse, link]), ("Stream", [stream, stream]), ("PlainSocket", [plain, link])]
    {
        for member in members(&types, interface) {
            let is_there = code.iter().any(|code| {
                [
                    format!("  {member}("),
                    format!("  {member} = "),
                    format!("get {member}("),
                    format!("{member}, "),
                ]
                .iter()
                .any(|form| code.contains(form))
            });
            assert!(is_there, "{interface}.{member} is in no class");
        }
    }
    // The states and words a page is told.
    for word in [
        "connecting",
        "open",
        "waiting",
        "closed",
        "websocket",
        "events",
        "poll",
        "joining",
        "joined",
        "failed",
        "refused",
        "left",
        "queue_full",
        "too_large",
        "denied",
        "bad",
    ] {
        assert!(types.contains(word), "{word} is in no type");
        assert!(script.contains(&format!("\"{word}\"")), "{word} is not said");
    }
    for word in
        words_behind(&script, "state = \"").into_iter().chain(words_behind(&script, "#say(\""))
    {
        assert!(types.contains(&format!("\"{word}\"")), "{word} is in no type");
    }
}

/// `HULSE_TEST_TSC` names a TypeScript compiler, where there is one.
#[test]
fn the_types_hold_for_a_page_that_uses_all_of_them() {
    let Some(compiler) = std::env::var_os("HULSE_TEST_TSC").filter(|path| !path.is_empty()) else {
        return;
    };
    let mut compile = Command::new(compiler);
    compile.args(["--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom"]);
    compile.args(["--module", "es2022", "--moduleResolution", "node", "typescript/used.ts"]);
    let said = compile.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}
