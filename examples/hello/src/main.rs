//! hello: `Hello World!` at every path, on the whole server.

use hulse::http::header::CONTENT_TYPE;
use hulse::prelude::*;

fn main() -> std::process::ExitCode {
    hulse_manage::run(project())
}

fn project() -> Project {
    let hello = async || ([(CONTENT_TYPE, "text/plain")], "Hello World!\n");
    Project::new("hello", env!("CARGO_MANIFEST_DIR"))
        .urls(Urls::new([path("", hello), path("<path:any>", hello)]))
}

#[cfg(test)]
mod tests {
    use hulse::test::TestSite;

    #[tokio::test]
    async fn every_path_says_hello() {
        let client = TestSite::new(super::project()).await.client();
        for path in ["/", "/a", "/a/b/", "/%C3%A4?b=1", "/index.html"] {
            let answer = client.get(path).await;
            assert_eq!(answer.status(), 200, "{path}");
            assert_eq!(answer.text(), "Hello World!\n");
            assert_eq!(answer.header("content-type"), "text/plain");
        }
    }
}
