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

/// From now on `username` is neither superuser nor staff.
async fn demote(pulse: &Pulse, username: &str) {
    let users = pulse.manage(&["dumpdata", "auth.user"], &[]).await;
    let mut users: Vec<serde_json::Value> = serde_json::from_str(&users).unwrap();
    users.retain(|user| user["fields"]["username"] == username);
    for right in ["is_superuser", "is_staff"] {
        users[0]["fields"][right] = false.into();
    }
    let file = pulse.folder().join("demoted.json");
    std::fs::write(&file, serde_json::to_string(&users).unwrap()).unwrap();
    pulse.manage(&["loaddata", file.to_str().unwrap()], &[]).await;
}

#[tokio::test]
async fn a_page_shows_every_kind_of_message_and_why_a_command_was_refused() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = start().await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    sign_in(&mut bob, &pulse, "bob").await;
    enter(&mut bob, "Backstage").await;
    enter(&mut bob, "Lobby").await;
    for (number, kind) in [(1, "warning"), (2, "alert"), (3, "muted"), (0, "message")] {
        let message = serde_json::json!({
            "room": "1", "username": "the site", "message": kind, "msg_type": number,
        });
        pulse.manage(&["send-group", "room-1", &message.to_string()], &[]).await;
        hear(&mut bob, "Lobby", kind).await;
        let class = format!("document.querySelectorAll({:?})", panel("Lobby") + " .said." + kind);
        assert_eq!(bob.evaluate(&format!("{class}.length")).await, 1);
    }
    // Each looks like what it is.
    let look = "[...document.querySelectorAll('.said')].map((e) => getComputedStyle(e)) \
                .map((of) => [of.color, of.backgroundColor, of.opacity].join())";
    // What comes fades in.
    bob.wait_for(&format!("new Set({look}).size === 4")).await;
    bob.fits_everywhere("multichat-kinds").await;

    demote(&pulse, "bob").await;
    let notice = "document.getElementById('notice').textContent";
    say(&mut bob, "Backstage", "still one of you").await;
    bob.wait_for(&format!("{notice} === 'You may not enter this room.'")).await;
    bob.wait_for("document.querySelectorAll('.panel').length === 1").await;
    bob.click("[data-room='4']").await;
    bob.wait_for(&format!("{notice} === 'You may not enter this room.'")).await;
    assert_eq!(bob.evaluate("document.querySelectorAll('.panel').length").await, 1);
    for (frame, words) in [
        (r#"{"command": "join", "room": 99}"#, "There is no such room any more."),
        ("no JSON", "The server did not understand this page. Reload it."),
    ] {
        // Who may do less now came back over another socket.
        bob.wait_for(&format!("{IS_OPEN} && sockets.at(-1).readyState === 1")).await;
        bob.evaluate(&format!("sockets.at(-1).send({frame:?})")).await;
        bob.wait_for(&format!("{notice} === {words:?}")).await;
    }
    bob.evaluate("location.reload()").await;
    let titles = "[...document.querySelectorAll('.room .title')].map((e) => e.textContent).join()";
    bob.wait_for(&format!("{titles} === 'Cooking,Lobby,Night sky'")).await;
    assert_eq!(bob.complaints(), [""; 0]);
}
