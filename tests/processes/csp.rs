//! `Content-Security-Policy` in a real browser.

use hulse_tests::{Browser, Pulse, Screen};

#[tokio::test]
async fn a_script_that_was_written_into_a_page_does_not_run() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut window = browser.window(Screen::DESKTOP).await;
    window.goto(&pulse.url("/nonce/")).await;
    window.wait_for("window.refused?.length === 2").await;
    let refused = window.evaluate("refused.sort().join(' ')").await;
    assert_eq!(refused, "script-src-attr script-src-elem");
    assert_eq!(window.evaluate("window.injected === undefined").await, true);
    pulse.stop().await;
}
