//! What an attacker sends to a running site.

use hulse_tests::{Pulse, Visitor, Wire};

#[tokio::test]
async fn what_a_visitor_sends_forges_no_line_of_the_log() {
    let mut pulse = Pulse::start(&["-w", "1", "--access-log"]).await;
    let mut visitor = Visitor::new(pulse.address());
    visitor.get("/accounts/login/").await;
    let username = "ann\r\nERROR forged\u{1b}[31m\u{85}";
    let form = [("username", username), ("password", "x"), ("next", "/\nERROR forged")];
    assert_eq!(visitor.post("/accounts/login/", &form).await.status, 200);
    let mut wire = Wire::connect(pulse.address()).await;
    let agent = "User-Agent: \u{85}ERROR forged\t\u{9b}31m\r\n";
    let address = pulse.address();
    for path in ["/x%0AERROR%20forged", "/x%0D%0AERROR%20forged/", "/%1b[31m/"] {
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{agent}\r\n")).await;
        assert!(wire.reply().await.is_none_or(|reply| reply.status >= 400), "{path}");
    }
    let mut wire = Wire::connect(pulse.address()).await;
    wire.send("GET / HTTP/1.1\r\nHost: a\u{85}ERROR forged\r\n\r\n").await;
    assert!(wire.reply().await.is_none_or(|reply| reply.status == 400));
    pulse.said("/%1b[31m/").await;
    let log = pulse.log();
    assert!(log.contains("/accounts/login/") && log.contains("ERROR forged"), "{log}");
    let forged = log.lines().find(|line| line.trim_start().starts_with("ERROR forged"));
    assert_eq!(forged, None, "{log}");
    let control = log.chars().find(|letter| letter.is_control() && *letter != '\n');
    assert_eq!(control, None, "{log}");
    pulse.stop().await;
}
