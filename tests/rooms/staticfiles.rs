//! Static files: what is served, what is not, what a browser need not load again.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use hulse::Project;
use hulse::contrib::staticfiles;
use hulse::http::Method;
use hulse::test::TestSite;
use tempfile::TempDir;

/// A project whose folder has `static/style.css`, a large file, and things nobody may read.
async fn site() -> (TempDir, TestSite) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(&path.join("static/style.css"), b"body { color: red }");
    write(&path.join("static/large.bin"), &large());
    write(&path.join("static/.env"), b"SECRET=1");
    write(&path.join("static/a folder/b c.txt"), b"spaces");
    write(&path.join("secret.txt"), b"secret");
    symlink(path.join("secret.txt"), path.join("static/leak.txt")).unwrap();
    symlink(path.join("static/style.css"), path.join("static/same.css")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path.join("static/pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    let project = Project::new("statics", path).install(staticfiles::App);
    (folder, TestSite::new(project).await)
}

fn write(path: &Path, content: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Longer than one piece, and not a multiple of it.
fn large() -> Vec<u8> {
    (0..200_001_u32).map(|n| u8::try_from(n % 251).unwrap()).collect()
}

#[tokio::test]
async fn a_file_is_served_with_its_type_and_tag() {
    let (_folder, site) = site().await;
    let client = site.client();
    let answer = client.get("/static/style.css").await;
    answer.assert_contains("color: red");
    assert_eq!(answer.header("content-type"), "text/css; charset=utf-8");
    assert_eq!(answer.header("content-length"), "19");
    assert!(answer.header("etag").starts_with('"'), "{answer:?}");
    assert!(answer.header("last-modified").ends_with(" GMT"), "{answer:?}");
    client.get("/static/a%20folder/b%20c.txt").await.assert_contains("spaces");
    client.get("/static/same.css").await.assert_contains("color: red");
}

#[tokio::test]
async fn a_large_file_comes_whole() {
    let (_folder, site) = site().await;
    let answer = site.client().get("/static/large.bin").await;
    answer.assert_status(200);
    assert_eq!(answer.header("content-length"), "200001");
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    assert!(*answer.bytes() == large());
}

#[tokio::test]
async fn a_file_the_browser_has_is_not_sent_again() {
    let (folder, site) = site().await;
    let client = site.client();
    let first = client.get("/static/style.css").await;
    let (etag, modified) = (first.header("etag"), first.header("last-modified"));

    for tags in [etag.to_owned(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let answer = client.get("/static/style.css").header("if-none-match", &tags).await;
        answer.assert_status(304);
        assert!(answer.bytes().is_empty(), "{answer:?}");
        assert_eq!(answer.header("etag"), etag);
    }
    client.get("/static/style.css").header("if-modified-since", modified).await.assert_status(304);
    let other = client.get("/static/style.css").header("if-none-match", "\"other\"");
    other.header("if-modified-since", modified).await.assert_status(200);

    write(&folder.path().join("static/style.css"), b"body { color: blue }");
    let answer = client.get("/static/style.css").header("if-none-match", etag).await;
    answer.assert_contains("blue");
}

#[tokio::test]
async fn head_sends_no_body_and_post_is_refused() {
    let (_folder, site) = site().await;
    let answer = site.client().head("/static/style.css").await;
    answer.assert_status(200);
    assert_eq!(answer.header("content-length"), "19");
    assert!(answer.bytes().is_empty());
    let answer = site.client().call(Method::POST, "/static/style.css").await;
    answer.assert_status(405);
    assert_eq!(answer.header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn nothing_outside_the_folder_is_served() {
    let (_folder, site) = site().await;
    for path in [
        "/static/",
        "/static/a%20folder",
        "/static/a%20folder/",
        "/static/missing.css",
        "/static/style.css/",
        "/static/style.css/x",
        "/static//style.css",
        "/static/../secret.txt",
        "/static/%2e%2e/secret.txt",
        "/static/..%2fsecret.txt",
        "/static/%2e%2e%2fsecret.txt",
        "/static/%252e%252e/secret.txt",
        "/static/..%5csecret.txt",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/style.css%00",
        "/static/%ff",
        "/static/.env",
        "/static/leak.txt",
        "/static/pipe",
    ] {
        site.client().get(path).await.assert_status(404);
    }
    let long = format!("/static/{}", "x".repeat(5000));
    site.client().get(&long).await.assert_status(404);
}

#[tokio::test]
async fn without_the_app_nothing_is_served() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("static/style.css"), b"x");
    let site = TestSite::new(Project::new("statics", folder.path())).await;
    site.client().get("/static/style.css").await.assert_status(404);
}
