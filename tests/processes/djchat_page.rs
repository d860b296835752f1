//! The chat page in a real browser.

use hulse_tests::{Browser, Pulse, Screen, Visitor, Window};
use rustix::process::Pid;
use tokio::net::TcpStream;
use tokio::task::yield_now;

/// The test's password for everybody.
const PASSWORD: &str = "correct horse battery";

/// Keeps the page's sockets where a test can see them, and lets it refuse new ones.
const KEEP_SOCKETS: &str = "window.sockets = []; window.WebSocket = class extends WebSocket { \
                            constructor(...all) { if (window.isBlocked) throw new Error(); \
                            super(...all); window.sockets.push(this); } };";

const IS_OPEN: &str = "document.getElementById('state').dataset.state === 'open' && \
                       document.querySelector('#users li') !== null";

async fn open_chat(window: &mut Window, pulse: &Pulse) {
    window.before_each_page(KEEP_SOCKETS).await;
    window.goto(&pulse.url("/")).await;
    window.wait_for(IS_OPEN).await;
}

async fn say(window: &mut Window, text: &str) {
    window.type_into("#message", text).await;
    window.press_enter().await;
}

/// Waits until the newest message of the page is this one.
async fn hear(window: &mut Window, text: &str) {
    let newest = "document.querySelector('#messages .said .text')?.textContent";
    window.wait_for(&format!("{newest} === {text:?}")).await;
}

/// Lets the page's connection drop and come back, and says which worker it has come back to.
///
/// Between the two looks nothing but the page's socket changes, so the new one must be its own.
async fn reconnect(window: &mut Window, pulse: &Pulse) -> Pid {
    let before = pulse.connections();
    // The page waits longer before each try, unless it hears that it is on line again.
    let close = "((socket) => { \
        socket.addEventListener('close', () => dispatchEvent(new Event('online'))); \
        socket.close(); \
        })(sockets.at(-1))";
    window.evaluate(close).await;
    window.wait_for(&format!("sockets.at(-1).readyState === 1 && {IS_OPEN}")).await;
    let after = pulse.connections();
    let new: Vec<_> = after.iter().filter(|connection| !before.contains(connection)).collect();
    assert_eq!(new.len(), 1, "one new connection: {before:?} {after:?}");
    new[0].0
}

/// The same until it is another worker than `first`.
async fn reconnect_beside(window: &mut Window, pulse: &Pulse, first: Pid) -> Pid {
    let mut found = reconnect(window, pulse).await;
    // Who holds fewest takes the next one: with another connection it is another's turn.
    let mut others = Vec::new();
    while found == first && others.len() < 100 {
        let other = TcpStream::connect(pulse.address()).await.unwrap();
        let port = other.local_addr().unwrap().port();
        while pulse.worker_of(port).is_none() {
            yield_now().await;
        }
        others.push(other);
        found = reconnect(window, pulse).await;
    }
    found
}

#[tokio::test]
async fn two_windows_chat_through_different_workers() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start(&["-w", "4"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::PHONE).await;
    open_chat(&mut ann, &pulse).await;
    open_chat(&mut bob, &pulse).await;

    let first = reconnect(&mut ann, &pulse).await;
    let second = reconnect_beside(&mut bob, &pulse, first).await;
    assert_ne!(first, second);

    say(&mut ann, "Hello from the first window").await;
    hear(&mut bob, "Hello from the first window").await;
    say(&mut bob, "And back").await;
    hear(&mut ann, "And back").await;
    for window in [&mut ann, &mut bob] {
        window.wait_for("document.querySelectorAll('#users li').length === 2").await;
        window.wait_for("document.getElementById('count').textContent === '2'").await;
    }
    bob.wait_for("document.querySelectorAll('#messages .mine').length === 1").await;
    assert_eq!(ann.complaints(), [""; 0]);
    assert_eq!(bob.complaints(), [""; 0]);

    browser.close(bob).await;
    ann.wait_for("document.querySelectorAll('#users li').length === 1").await;
    ann.wait_for("document.querySelector('#messages li').innerText.endsWith('left the chat')")
        .await;
}

#[tokio::test]
async fn what_is_typed_stays_text() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start(&["-w", "1"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open_chat(&mut ann, &pulse).await;
    open_chat(&mut bob, &pulse).await;
    let script = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>";
    say(&mut ann, script).await;
    hear(&mut ann, script).await;
    hear(&mut bob, script).await;
    for window in [&mut ann, &mut bob] {
        let markup = "document.querySelectorAll('#messages script, #messages img').length";
        assert_eq!(window.evaluate(markup).await, 0);
        assert_eq!(window.evaluate("typeof window.hacked").await, "undefined");
        assert_eq!(window.complaints(), [""; 0]);
    }

    // Shift and Enter break the line, Enter sends; the room makes one line of it.
    ann.type_into("#message", "one").await;
    ann.press_shift_enter().await;
    ann.type_into("#message", "two").await;
    assert_eq!(ann.evaluate("document.getElementById('message').value").await, "one\ntwo");
    ann.press_enter().await;
    hear(&mut bob, "one two").await;
    assert_eq!(ann.evaluate("document.getElementById('message').value").await, "");

    // Too long is said at once, and nothing is lost.
    ann.type_into("#message", &"x".repeat(4097)).await;
    ann.click("#publish").await;
    ann.wait_for("document.getElementById('notice').textContent.includes('4096')").await;
    assert_eq!(ann.evaluate("document.getElementById('message').value.length").await, 4097);
}

#[tokio::test]
async fn somebody_signed_in_is_shown_with_an_at_sign() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start(&["-w", "2"]).await;
    let create = ["createsuperuser", "--noinput", "--username", "ann", "--email", "a@example.org"];
    pulse.manage(&create, &[("DJANGO_SUPERUSER_PASSWORD", PASSWORD)]).await;
    let mut visitor = browser.window(Screen::DESKTOP).await;
    open_chat(&mut visitor, &pulse).await;

    let mut ann = browser.window(Screen::DESKTOP).await;
    open_chat(&mut ann, &pulse).await;
    ann.click("nav a").await;
    ann.wait_for("location.pathname === '/accounts/login/' && document.readyState === 'complete'")
        .await;
    ann.picture("djchat-login").await;
    ann.type_into("[name=username]", "ann").await;
    ann.type_into("[name=password]", PASSWORD).await;
    ann.press_enter().await;
    ann.wait_for(&format!("location.pathname === '/' && {IS_OPEN}")).await;
    ann.wait_for("document.querySelector('.account').textContent === '@ann'").await;

    say(&mut ann, "It is me").await;
    hear(&mut visitor, "It is me").await;
    let name = "document.querySelector('#messages .said .name').textContent";
    assert_eq!(visitor.evaluate(name).await, "@ann");
    say(&mut visitor, "Welcome!").await;
    hear(&mut ann, "Welcome!").await;
    // Whom ann was before she signed in is gone.
    visitor.wait_for("document.querySelectorAll('#users li').length === 2").await;

    ann.fits_everywhere("djchat-signed-in").await;
    visitor.fits_everywhere("djchat-visitor").await;

    ann.click("nav button").await;
    ann.wait_for(&format!("document.querySelector('.account') === null && {IS_OPEN}")).await;
    assert_eq!(ann.complaints(), [""; 0]);
}

#[tokio::test]
async fn a_page_comes_back_to_a_restarted_worker_without_losing_or_doubling() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open_chat(&mut ann, &pulse).await;
    open_chat(&mut bob, &pulse).await;
    let first = reconnect(&mut ann, &pulse).await;
    let second = reconnect_beside(&mut bob, &pulse, first).await;
    assert_ne!(first, second);

    say(&mut ann, "one").await;
    hear(&mut bob, "one").await;
    rustix::process::kill_process(second, rustix::process::Signal::KILL).unwrap();
    bob.wait_for("sockets.at(-1).readyState === 1").await;
    say(&mut ann, "two").await;
    hear(&mut bob, "two").await;
    bob.wait_for(IS_OPEN).await;
    let texts = "[...document.querySelectorAll('#messages .text')].map((e) => e.textContent)";
    assert_eq!(bob.evaluate(texts).await, serde_json::json!(["two", "one"]));
    bob.wait_for("document.querySelectorAll('#users li').length === 2").await;
}

#[tokio::test]
async fn a_page_that_was_away_is_told_all_it_missed_once_and_in_order() {
    const MISSED: usize = 120;
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    open_chat(&mut ann, &pulse).await;
    say(&mut ann, "before").await;
    hear(&mut ann, "before").await;
    ann.evaluate("window.isBlocked = true, sockets.at(-1).close()").await;
    ann.wait_for("document.getElementById('state').dataset.state !== 'open'").await;

    let mut bob = Visitor::new(pulse.address()).socket("/message").await;
    for number in 0..MISSED {
        let text = format!("message {number}");
        bob.send(&text).await;
        bob.event_where(|event| event["message"] == text.as_str()).await;
    }
    ann.evaluate("window.isBlocked = false, dispatchEvent(new Event('online'))").await;
    hear(&mut ann, &format!("message {}", MISSED - 1)).await;
    let texts = "[...document.querySelectorAll('#messages .text')].map((e) => e.textContent)";
    let mut expected: Vec<String> = (0..MISSED).rev().map(|n| format!("message {n}")).collect();
    expected.push("before".to_owned());
    assert_eq!(ann.evaluate(texts).await, serde_json::json!(expected));
    bob.send("and on").await;
    hear(&mut ann, "and on").await;
    assert_eq!(ann.complaints(), [""; 0]);
}

#[tokio::test]
async fn what_is_said_while_a_worker_is_killed_arrives_once() {
    const SAID: usize = 40;
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    open_chat(&mut ann, &pulse).await;
    // A hand that never waits: into the field whenever the button can be pressed.
    let hand = format!(
        "void (window.typing = setInterval(() => {{ window.said ??= 0; \
         const button = document.getElementById('publish'); \
         if (button.disabled || said === {SAID}) return; \
         document.getElementById('message').value = `number ${{said}}`; button.click(); \
         if (document.getElementById('message').value === '') said += 1; }}, 10))"
    );
    ann.evaluate(&hand).await;
    for count in [5, 15, 25] {
        ann.wait_for(&format!("window.said > {count}")).await;
        for worker in pulse.workers() {
            rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
        }
    }
    let texts = "[...document.querySelectorAll('#messages .text')].map((e) => e.textContent)";
    ann.wait_for(&format!("new Set({texts}).size === {SAID}")).await;
    ann.wait_for(IS_OPEN).await;
    assert_eq!(ann.evaluate(&format!("{texts}.length")).await, SAID, "one of them twice");
}
