//! The script for browsers: where it is, and how large.

use std::io::Write;
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
