//! `Content-Security-Policy` in a real browser.

use hulse_tests::{Browser, Pulse, Screen, Surroundings, site_command, site_folder};

/// Remembers what a page was refused, and what its sockets have heard.
const WATCH: &str = "window.refused = []; window.heard = 0; \
                     document.addEventListener('securitypolicyviolation', \
                     (event) => refused.push(event.effectiveDirective)); \
                     window.WebSocket = class extends WebSocket { constructor(...all) { \
                     super(...all); this.addEventListener('message', () => { heard += 1; }); } };";

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

#[tokio::test]
async fn account_pages_error_pages_and_the_development_script_are_refused_nothing() {
    let Some(mut browser) = Browser::start().await else { return };
    let (folder, surroundings) = (site_folder(), Surroundings::default());
    let mut command = site_command(folder.path(), &surroundings);
    command.args(["runserver", "0"]);
    let pulse = Pulse::launch(command, folder, surroundings, "development server at http").await;
    let mut window = browser.window(Screen::DESKTOP).await;
    window.before_each_page(WATCH).await;
    // The last is an error of the database, which has no tables.
    let paths =
        ["/accounts/login/", "/accounts/password_reset/", "/missing/", "/accounts/reset/MQ/x/"];
    for path in paths {
        window.goto(&pulse.url(path)).await;
        window.wait_for("document.readyState === 'complete' && window.heard > 0").await;
        assert_eq!(window.evaluate("refused.join(' ')").await, "", "{path}");
        // The sheet of a style that is refused is null.
        let styled = "[...document.querySelectorAll('style')].every((style) => style.sheet)";
        assert_eq!(window.evaluate(styled).await, true, "{path}");
        window.picture(&format!("csp{}", path.replace('/', "-"))).await;
    }
    pulse.stop().await;
}
