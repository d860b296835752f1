//! The page of many rooms in a real browser: what the list of multichat says of pages.

use hulse_tests::{Browser, Program, Pulse, Screen, Window};
use rustix::process::{Signal, kill_process};

/// The test's password for everybody.
const PASSWORD: &str = "correct horse battery";

/// Keeps the page's sockets where a test can see them.
const KEEP_SOCKETS: &str = "window.sockets = []; window.WebSocket = class extends WebSocket { \
                            constructor(...all) { super(...all); window.sockets.push(this); } };";

const IS_OPEN: &str = "document.getElementById('state')?.dataset.state === 'open'";

/// A site with the rooms of its fixture.
async fn start() -> Pulse {
    let pulse = Pulse::start_program(Program::Multichat, &["-w", "2"]).await;
    pulse.manage(&["loaddata", "rooms"], &[]).await;
    for name in ["ann", "bob"] {
        let create = ["createsuperuser", "--noinput", "--username", name, "--email", "a@b.org"];
        pulse.manage(&create, &[("DJANGO_SUPERUSER_PASSWORD", PASSWORD)]).await;
    }
    pulse
}

/// Goes to the rooms, which leads to the login page, and signs in.
async fn sign_in(window: &mut Window, pulse: &Pulse, username: &str) {
    window.before_each_page(KEEP_SOCKETS).await;
    window.goto(&pulse.url("/")).await;
    window.wait_for("location.pathname === '/accounts/login/'").await;
    window.type_into("[name=username]", username).await;
    window.type_into("[name=password]", PASSWORD).await;
    window.press_enter().await;
    window.wait_for(&format!("location.pathname === '/' && {IS_OPEN}")).await;
}

/// The panel of the open room with this title.
fn panel(title: &str) -> String {
    format!(".panel[aria-label={title:?}]")
}

/// Enters the room, or shows it if it is open.
async fn enter(window: &mut Window, title: &str) {
    let button = format!(
        "[...document.querySelectorAll('.room')].find((b) => b.innerText.includes({title:?}))"
    );
    let id = window.evaluate(&format!("{button}.dataset.room")).await;
    window.click(&format!("[data-room={id}]")).await;
    window.wait_for(&format!("document.querySelector({:?})", panel(title) + ".current")).await;
}

async fn say(window: &mut Window, title: &str, text: &str) {
    // A phone shows one room at a time.
    enter(window, title).await;
    window.type_into(&format!("{} [name=message]", panel(title)), text).await;
    window.press_enter().await;
}

/// Waits until the latest message in the room is this one.
async fn hear(window: &mut Window, title: &str, text: &str) {
    let said =
        format!("[...document.querySelectorAll({:?})].at(-1)", panel(title) + " .said .text");
    window.wait_for(&format!("{said}.textContent === {text:?}")).await;
}

/// Waits until the latest line in the room is this one.
async fn notes(window: &mut Window, title: &str, line: &str) {
    let last = format!("document.querySelector({:?})", panel(title) + " li:last-child");
    window.wait_for(&format!("{last}.textContent === {line:?}")).await;
}

#[tokio::test]
async fn two_members_talk_in_two_rooms_over_one_socket_each() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = start().await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::PHONE).await;
    sign_in(&mut ann, &pulse, "ann").await;
    sign_in(&mut bob, &pulse, "bob").await;
    let titles = "[...document.querySelectorAll('.room .title')].map((e) => e.textContent).join()";
    assert_eq!(ann.evaluate(titles).await, "Backstage,Cooking,Lobby,Night sky");

    enter(&mut ann, "Lobby").await;
    enter(&mut ann, "Cooking").await;
    enter(&mut bob, "Lobby").await;
    notes(&mut ann, "Lobby", "bob entered").await;
    enter(&mut bob, "Cooking").await;
    notes(&mut ann, "Cooking", "bob entered").await;
    say(&mut bob, "Lobby", "Hello everybody").await;
    say(&mut bob, "Cooking", "What is for dinner?").await;
    for window in [&mut ann, &mut bob] {
        hear(window, "Lobby", "Hello everybody").await;
        hear(window, "Cooking", "What is for dinner?").await;
        assert_eq!(window.evaluate("sockets.length").await, 1);
    }

    // Text never becomes markup.
    let script = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>";
    say(&mut ann, "Lobby", script).await;
    hear(&mut bob, "Lobby", script).await;
    assert_eq!(bob.evaluate("document.querySelectorAll('.panel img').length").await, 0);
    assert_eq!(bob.evaluate("typeof window.hacked").await, "undefined");
    say(&mut ann, "Cooking", "Soup, and then a very long walk with the dog").await;
    hear(&mut bob, "Cooking", "Soup, and then a very long walk with the dog").await;
    ann.fits_everywhere("multichat").await;

    enter(&mut bob, "Lobby").await;
    bob.fits_everywhere("multichat-bob").await;
    bob.click(&format!("{} .leave", panel("Lobby"))).await;
    notes(&mut ann, "Lobby", "bob left").await;
    bob.wait_for("document.querySelectorAll('.panel').length === 1").await;
    browser.close(bob).await;
    notes(&mut ann, "Cooking", "bob left").await;
    assert_eq!(ann.complaints(), [""; 0]);
}

#[tokio::test]
async fn the_rooms_are_entered_again_when_a_worker_was_killed_and_after_a_reload() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = start().await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    sign_in(&mut ann, &pulse, "ann").await;
    enter(&mut ann, "Lobby").await;
    enter(&mut ann, "Night sky").await;
    for worker in pulse.workers() {
        kill_process(worker, Signal::KILL).unwrap();
    }
    let back = "You are back. What was said meanwhile is not shown.";
    notes(&mut ann, "Lobby", back).await;
    notes(&mut ann, "Night sky", back).await;
    say(&mut ann, "Lobby", "here again").await;
    hear(&mut ann, "Lobby", "here again").await;

    ann.evaluate("location.reload()").await;
    ann.wait_for("!document.querySelector('.said')").await;
    ann.wait_for("document.querySelectorAll('.panel').length === 2").await;
    say(&mut ann, "Night sky", "and again").await;
    hear(&mut ann, "Night sky", "and again").await;
    assert_eq!(ann.evaluate("document.querySelectorAll('[aria-pressed=true]').length").await, 2);
}
