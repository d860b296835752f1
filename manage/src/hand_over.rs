//! From the `manage` binary to the project's own: find it, build it, become it.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// It could not begin.
const NOT_BEGUN: u8 = 2;

/// Becomes `cargo run -q -p <project> -- <arguments>` of the project around the current folder.
/// Returns only if that could not begin.
#[must_use]
#[expect(clippy::print_stderr, reason = "this crate is the one that prints")]
pub fn hand_over(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words = match std::env::current_dir().map_err(|e| e.to_string()).and_then(|f| find(&f)) {
        Ok(project) => {
            let mut cargo = Command::new("cargo");
            cargo.args(["run", "-q", "--manifest-path"]).arg(&project.manifest);
            cargo.args(["-p", &project.package, "--"]).args(arguments);
            format!("running cargo: {}", cargo.exec())
        }
        Err(words) => words,
    };
    eprintln!("error: {words}");
    ExitCode::from(NOT_BEGUN)
}

/// The package to run, and where it was found.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    manifest: PathBuf,
    package: String,
}

/// The nearest `Cargo.toml` upward from `folder` that says it is a site or names one.
fn find(folder: &Path) -> Result<Found, String> {
    for folder in folder.ancestors() {
        let manifest = folder.join("Cargo.toml");
        let Ok(text) = std::fs::read_to_string(&manifest) else { continue };
        let table: toml::Table =
            text.parse().map_err(|error| format!("reading {}: {error}", manifest.display()))?;
        if let Some(package) = site(&table) {
            return Ok(Found { manifest, package });
        }
    }
    Err(format!(
        "no Hulse project in {} or above it: a site's Cargo.toml has [package.metadata.hulse], \
         a workspace's [workspace.metadata.hulse] with project = \"its name\"",
        folder.display()
    ))
}

/// The site's package, if this manifest is one's or names one.
fn site(manifest: &toml::Table) -> Option<String> {
    let hulse = |of: &str| manifest.get(of)?.get("metadata")?.get("hulse");
    if hulse("package").is_some() {
        return Some(manifest.get("package")?.get("name")?.as_str()?.to_owned());
    }
    Some(hulse("workspace")?.get("project")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(manifest: &str, expected: Option<&str>) {
        assert_eq!(site(&manifest.parse().unwrap()).as_deref(), expected);
    }

    #[test]
    fn a_manifest_is_a_site_names_one_or_is_neither() {
        check("[package]\nname = \"blog\"\n[package.metadata.hulse]", Some("blog"));
        check("[workspace.metadata.hulse]\nproject = \"djchat\"", Some("djchat"));
        check("[package]\nname = \"blog\"", None);
        check("[workspace]\nmembers = []", None);
    }

    #[test]
    fn this_repository_names_its_site() {
        let found = find(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(found.package, "djchat");
        assert!(find(Path::new("/")).unwrap_err().contains("no Hulse project in /"));
    }
}
