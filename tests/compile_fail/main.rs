//! What must not compile, and what the compiler says first then; and what must.
//!
//! Each case lies beside the words expected of it. After a wanted change of them run
//! `COMPILE_FAIL=overwrite cargo test -p hulse-tests --test compile_fail` and read the difference.
//!
//! The compiler is called on the library that this test is linked with. A harness that makes a
//! package of the cases would build every dependency again, for minutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

#[test]
fn mistakes_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compile_fail/models");
    let library = library();
    let overwrite = std::env::var_os("COMPILE_FAIL").is_some_and(|word| word == "overwrite");
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in files(&folder, "rs") {
        count += 1;
        let expected = case.with_extension("stderr");
        let said = first_error(&case, &library);
        if overwrite {
            fs::write(&expected, &said).expect("the words can be written");
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{}: the compiler says\n{said}", case.display()));
        }
    }
    assert!(count > 0, "no cases in {}", folder.display());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Sixty models, each with the relations of a long chain: whether a row may go to another
/// thread must not depend on all the rows it leads to.
#[test]
fn a_long_chain_of_relations_compiles() {
    let mut text = String::from("use hulse::prelude::*;\n");
    for number in 0..60 {
        let before = number.max(1) - 1;
        text += &format!(
            "#[derive(Model, Clone, Debug)]\n#[model(app = \"chain\")]\npub struct M{number} {{\n    \
             pub id: Id,\n    #[field(on_delete = set_null)]\n    \
             pub before: Option<ForeignKey<M{before}>>,\n    \
             pub many: ManyToMany<M{before}>,\n}}\n"
        );
    }
    text += "fn is_sent<T: Send + Sync>() {}\nfn main() { is_sent::<M59>() }\n";
    let folder = tempfile::tempdir().expect("a temporary folder");
    let case = folder.path().join("chain.rs");
    fs::write(&case, text).expect("the case can be written");
    let told = compile(&case, &library());
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
}

/// What the compiler says first about a case: up to the first empty line, or to where it begins to
/// show the framework's own lines, which move.
fn first_error(case: &Path, library: &Path) -> String {
    let told = compile(case, library);
    assert!(!told.status.success(), "{} compiles", case.display());
    let words = String::from_utf8_lossy(&told.stderr).into_owned();
    let first = words.split("\n\n").next().unwrap_or_default();
    let mut lines: Vec<_> =
        first.lines().take_while(|line| !line.contains(" framework/")).collect();
    if lines.len() < first.lines().count() {
        // The heading of what was cut off.
        lines.pop();
    }
    lines.join("\n") + "\n"
}

fn compile(case: &Path, library: &Path) -> Output {
    let output = tempfile::tempdir().expect("a temporary folder");
    let (folder, name) = (case.parent().expect("a folder"), case.file_name().expect("a name"));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Command::new(rustc)
        .current_dir(folder)
        .args(["--edition", "2024", "--crate-type", "bin", "--emit", "metadata"])
        .args(["--color", "never", "-A", "warnings", "--out-dir"])
        .arg(output.path())
        .arg("-L")
        .arg(format!("dependency={}", library.parent().expect("a folder").display()))
        .arg("--extern")
        .arg(format!("hulse={}", library.display()))
        .arg(name)
        .output()
        .expect("rustc runs")
}

/// The newest library in the folder this test was built into.
fn library() -> PathBuf {
    let test = std::env::current_exe().expect("this test's program");
    let folder = test.parent().expect("a folder");
    let is_it = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("libhulse-"))
    };
    let age = |path: &PathBuf| {
        path.metadata().and_then(|is| is.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let found = files(folder, "rlib").into_iter().filter(is_it).max_by_key(age);
    found.expect("the library this test is linked with")
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|is| is == ending));
    files.sort();
    files
}
