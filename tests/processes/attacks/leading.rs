//! Where an answer leads, and what gets into its headers.

use hulse_tests::Reply;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Browser, FORM, LOGIN, location, text};

/// Ways to say another site, or something that is no page of this one, as they stand in a form.
const ELSEWHERE: [&str; 24] = [
    "https://evil.example/",
    "HTTPS://evil.example/",
    "//evil.example",
    "///evil.example",
    "////evil.example/",
    "/%5Cevil.example",
    "%5C%5Cevil.example/",
    "%5C/evil.example/",
    "/%09/evil.example/",
    "/%0A/evil.example/",
    "%08//evil.example/",
    "%20//evil.example/",
    "%09//evil.example",
    "http:///evil.example",
    "https:evil.example",
    "http:%5C%5Cevil.example/",
    "http://HOST@evil.example/",
    "http://HOST:pw@evil.example/",
    "http://HOST.evil.example/",
    "http://evil.example%5C@HOST/",
    "http://chat.example/",
    "javascript:alert(1)",
    "data:text/html,x",
    "nowhere",
];

/// A line break in what a visitor says, and a header behind it.
const BREAKS: [&str; 5] = [
    "a%0D%0ASet-Cookie:%20evil=1",
    "a%0ASet-Cookie:%20evil=1",
    "a%0DSet-Cookie:%20evil=1",
    "a%0D%0A%0D%0A%3Cb%3Eevil",
    "/page/%0D%0ASet-Cookie:%20evil=1",
];

pub(super) async fn elsewhere(browser: &Browser<'_>) {
    for next in ELSEWHERE {
        assert_eq!(location(&browser.login(&format!("&next={next}")).await), "/", "{next}");
    }
    assert_eq!(location(&browser.login("&next=/page/").await), "/page/");
    assert_eq!(location(&browser.ask("GET //evil.example/throttled", &[], "").await), "");
    let script = "javascript:alert(document.domain)";
    for (to, status) in [(script, 400), ("data:text/html,x", 400), ("/who/", 302)] {
        let reply = browser.ask(&format!("GET /echoed/redirect/?value={to}"), &[], "").await;
        assert_eq!(reply.status, status, "{to}");
    }
}

/// No line of the head is the visitor's, nor does the head end where he says.
fn assert_whole(reply: &Reply, tried: &str) {
    let mut lines = reply.head.lines().map(str::to_lowercase);
    assert!(!lines.any(|line| line.starts_with("set-cookie: evil")), "{tried}: {}", reply.head);
    assert!(!text(reply).starts_with("<b>evil"), "{tried}");
}

pub(super) async fn line_breaks(browser: &Browser<'_>) {
    for words in BREAKS {
        for place in ["header", "redirect", "cookie", "file"] {
            let reply = browser.ask(&format!("GET /echoed/{place}/?value={words}"), &[], "").await;
            assert_eq!(reply.status, 500, "{place} {words}");
            assert_whole(&reply, words);
        }
        let reply = browser.login(&format!("&next={words}")).await;
        assert_eq!((reply.status, location(&reply)), (302, "/"), "{words}");
        assert_whole(&reply, words);
        let cookies = format!("Cookie: csrftoken={words}; sessionid={words}; language={words}");
        for path in [LOGIN, "/remember/a/"] {
            let reply = browser.ask(&format!("GET {path}"), &[&cookies], "").await;
            assert_eq!(reply.status, 200, "{path} {words}");
            assert_whole(&reply, words);
        }
        // Into the way to the final slash, and to https.
        for path in ["throttled", "process/"] {
            let reply = browser.ask(&format!("GET /{path}{words}?a={words}"), &[], "").await;
            assert!([301, 404].contains(&reply.status), "{path} {words}: {}", reply.status);
            assert_whole(&reply, words);
        }
    }
    for plain in ["header", "cookie", "file"] {
        let reply = browser.ask(&format!("GET /echoed/{plain}/?value=plain"), &[], "").await;
        assert!(reply.status == 200 && reply.head.contains("plain"), "{}", reply.head);
    }
    // As they are, a line break ends the line: what is behind it is a header of the request's own.
    for line in ["Cookie: csrftoken=a\rSet-Cookie: evil=1", "Cookie: csrftoken=a\0b", "X-A: b\n c"]
    {
        let reply = browser.ask("GET /who/", &[line], "").await;
        assert_eq!(reply.status, 400, "{line:?}");
    }
}

/// A request by way of the proxy that is believed: what it says of the visitor stands in `lines`.
async fn proxied(
    browser: &Browser<'_>,
    request: &str,
    lines: &[&str],
    body: &str,
) -> (u16, String) {
    let path = browser.pulse.folder().join("site.sock");
    let mut stream = UnixStream::connect(path).await.expect("it listens there too");
    let request = browser.request(request, lines, body);
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    let head = answer.split("\r\n\r\n").next().unwrap_or_default().to_owned();
    (head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status"), head)
}

pub(super) async fn to_https(browser: &Browser<'_>) {
    const SECURE: &str = "X-Forwarded-Proto: https";
    const HOST: &str = "Host: chat.example";
    for (target, to) in [
        ("/process/?a=b%20c", "https://chat.example/process/?a=b%20c"),
        ("/process//evil.example/", "https://chat.example/process//evil.example/"),
        ("//process/", "https://chat.example//process/"),
    ] {
        for method in ["GET", "POST"] {
            let reply = browser.ask(&format!("{method} {target}"), &[HOST, SECURE], "").await;
            assert_eq!((reply.status, location(&reply)), (301, to), "{method}");
            // Anybody on the way could have added it.
            assert_eq!(reply.header("strict-transport-security"), None);
        }
    }
    let evil = browser.ask("GET /process/", &["Host: evil.example"], "").await;
    assert_eq!((evil.status, location(&evil)), (400, ""));
    let (status, head) = proxied(browser, "GET /process/", &[HOST, SECURE], "").await;
    assert_eq!(status, 200);
    assert!(head.contains("\r\nstrict-transport-security: max-age=3600"), "{head}");
    for (lines, status) in [
        (&[HOST, SECURE, "X-Forwarded-Host: evil.example"][..], 400),
        (&["Host: evil.example", SECURE], 400),
        (&[HOST, "X-Forwarded-Proto: http"], 301),
        (&[HOST, "X_Forwarded_Proto: https"], 301),
    ] {
        let (told, head) = proxied(browser, "GET /process/", lines, "").await;
        assert_eq!(told, status, "{lines:?}");
        assert!(!head.contains("evil"), "{head}");
    }
    // A form over https says which page it is on.
    let form = "csrfmiddlewaretoken=TOKEN&username=ann&password=wrong";
    for (page, status) in [
        ("Referer: https://chat.example/accounts/login/", 200),
        ("Origin: https://chat.example", 200),
        ("X-None: none", 403),
        ("Referer: http://chat.example/", 403),
        ("Referer: https://evil.example/", 403),
        ("Referer: https://chat.example.evil.example/", 403),
        ("Referer: https://evil.example/https://chat.example/", 403),
        ("Origin: http://chat.example", 403),
        ("Origin: https://evil.example", 403),
    ] {
        let lines = [HOST, SECURE, FORM, "COOKIE", page];
        let (told, _) = proxied(browser, &format!("POST {LOGIN}"), &lines, form).await;
        assert_eq!(told, status, "{page}");
    }
}
