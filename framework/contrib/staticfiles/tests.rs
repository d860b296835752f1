use super::{content_type, path};

fn check(raw: &str, expected: Option<&str>) {
    assert_eq!(path::clean(raw).as_deref(), expected, "{raw:?}");
}

#[test]
fn a_path_that_could_leave_its_folder_is_none() {
    check("chat/style.css", Some("chat/style.css"));
    check("caf%C3%A9.css", Some("café.css"));
    check("a%20b.css", Some("a b.css"));
    check("100%25.css", Some("100%.css"));
    check("", None);
    check("/", None);
    check("/etc/passwd", None);
    check("chat/", None);
    check("chat//style.css", None);
    check("../Cargo.toml", None);
    check("chat/../../Cargo.toml", None);
    check("%2e%2e/Cargo.toml", None);
    check("..%2fCargo.toml", None);
    check("%2fetc%2fpasswd", None);
    check("..\\Cargo.toml", None);
    check("..%5cCargo.toml", None);
    check("c:/windows", None);
    check("style.css%00.png", None);
    check("%ff.css", None);
    check(".env", None);
    check("chat/.git/config", None);
    // Decoded once, so this is a file of that odd name.
    check("%252e%252e/x", Some("%2e%2e/x"));
}

#[test]
fn an_ending_decides_the_content_type() {
    for (path, expected) in [
        ("a.css", "text/css; charset=utf-8"),
        ("a.min.JS", "text/javascript; charset=utf-8"),
        ("a.svg", "image/svg+xml"),
        ("css", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
    ] {
        assert_eq!(content_type::of(path), expected, "{path}");
    }
}
