//! The liveblog's pages in a real browser, against a real `pulse` of two workers.

use std::path::PathBuf;

use std::time::{Duration, Instant};

use hulse_tests::{Browser, Program, Pulse, Screen, Visitor, VisitorSocket, Window};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::time::timeout;

/// Longest wait for what comes sooner or later.
const WAIT: Duration = Duration::from_secs(30);

/// The test's password for everybody.
const PASSWORD: &str = "correct horse battery";

/// Lets a test take the page's ways to the server away and give them back, and notes when each
/// post appears.
const WATCHED: &str = "
    window.isBlocked = false;
    window.WebSocket = class extends WebSocket {
      constructor(...all) { if (isBlocked) throw new Error('blocked'); super(...all); }
    };
    const plain = window.fetch;
    window.fetch = (...all) => isBlocked ? Promise.reject(new TypeError('blocked')) : plain(...all);
    window.appeared = {};
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) for (const node of addedNodes) {
        if (node.dataset?.postId) appeared[node.dataset.postId] ??= Date.now();
      }
    }).observe(document, { childList: true, subtree: true });";

const IS_OPEN: &str = "document.getElementById('state')?.dataset.state === 'open'";

/// The page's posts, from top to bottom.
const TEXTS: &str = "[...document.querySelectorAll('.post .body')].map((e) => e.textContent)";

/// A site with the blogs of its fixture and somebody of staff.
async fn start() -> Pulse {
    let pulse = Pulse::start_program(Program::Liveblog, &["-w", "2"]).await;
    pulse.manage(&["loaddata", "liveblogs"], &[]).await;
    let create = ["createsuperuser", "--noinput", "--username", "ann", "--email", "a@example.org"];
    pulse.manage(&create, &[("DJANGO_SUPERUSER_PASSWORD", PASSWORD)]).await;
    pulse
}

async fn open(window: &mut Window, pulse: &Pulse) {
    window.before_each_page(WATCHED).await;
    window.goto(&pulse.url("/liveblog/launch/")).await;
    window.wait_for(IS_OPEN).await;
}

async fn open_as_staff(window: &mut Window, pulse: &Pulse) {
    open(window, pulse).await;
    window.goto(&pulse.url("/accounts/login/?next=/liveblog/launch/")).await;
    window.type_into("[name=username]", "ann").await;
    window.type_into("[name=password]", PASSWORD).await;
    window.press_enter().await;
    window.wait_for(&format!("document.getElementById('composer') && {IS_OPEN}")).await;
}

async fn write(window: &mut Window, text: &str) {
    window.type_into("#body", text).await;
    window.click("#composer button").await;
}

/// Saves a post with a management command: a process of its own, beside the server's.
async fn save_by_command(pulse: &Pulse, id: u32, text: &str) {
    let now = "2026-01-01T12:00:00Z";
    let fields = json!({ "liveblog": 2, "body": text, "created": now, "updated": now });
    let rows = json!([{ "model": "liveblog.post", "pk": id, "fields": fields }]);
    let file: PathBuf = pulse.folder().join(format!("post-{id}.json"));
    std::fs::write(&file, rows.to_string()).unwrap();
    pulse.manage(&["loaddata", file.to_str().unwrap()], &[]).await;
}

async fn shows(window: &mut Window, texts: &[&str]) {
    window.wait_for(&format!("JSON.stringify({TEXTS}) === {:?}", json!(texts).to_string())).await;
}

#[tokio::test]
async fn l2_an_open_page_shows_a_post_saved_anywhere_in_under_a_second() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = start().await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::PHONE).await;
    open(&mut bob, &pulse).await;
    open_as_staff(&mut ann, &pulse).await;
    bob.evaluate("window.isTheSamePage = true").await;

    save_by_command(&pulse, 1, "From a command").await;
    for window in [&mut ann, &mut bob] {
        shows(window, &["From a command"]).await;
    }
    write(&mut ann, "We have <b>lift-off</b>!\nEverything looks good.").await;
    let text = "We have <b>lift-off</b>!\nEverything looks good.";
    for window in [&mut ann, &mut bob] {
        shows(window, &[text, "From a command"]).await;
        let waited = "appeared[2] - Date.parse(document.querySelector('.post').dataset.created)";
        let waited = window.evaluate(waited).await.as_i64().unwrap();
        assert!(waited < 1000, "it took {waited} ms");
        // Text never becomes markup.
        assert_eq!(window.evaluate("document.querySelector('.post b')").await, Value::Null);
    }
    assert_eq!(bob.evaluate("isTheSamePage").await, true);
    ann.wait_for("document.getElementById('body').value === ''").await;
    ann.fits_everywhere("liveblog-staff").await;
    bob.fits_everywhere("liveblog").await;
    bob.goto(&pulse.url("/")).await;
    bob.fits_everywhere("liveblog-index").await;
    assert_eq!(ann.complaints(), [""; 0]);
    assert_eq!(bob.complaints(), [""; 0]);
}

/// Readers of a blog until both workers have one.
async fn readers(pulse: &Pulse, slug: &str) -> Vec<VisitorSocket> {
    let (mut readers, mut workers) = (Vec::new(), Vec::new());
    let coming = async {
        while !workers.iter().any(|worker| *worker != workers[0]) {
            let path = format!("/liveblog/{slug}/stream/");
            let reader = Visitor::new(pulse.address()).socket(&path).await;
            workers.push(pulse.worker_of(reader.port).expect("some worker holds it"));
            readers.push(reader);
        }
    };
    timeout(WAIT, coming).await.expect("both workers have one");
    readers
}

/// The next that each of them hears is this post.
async fn hear(readers: &mut [VisitorSocket], text: &str) {
    for reader in readers {
        let html = reader.event().await["html"].as_str().unwrap_or_default().to_owned();
        assert!(html.contains(text), "{text} is not in {html}");
    }
}

#[tokio::test]
async fn l2_l4_l6_l7_readers_on_both_workers_hear_of_what_lasts_in_their_blog_within_a_second() {
    let pulse = start().await;
    let mut ann = Visitor::new(pulse.address());
    ann.get("/accounts/login/").await;
    let signed_in = ann.post("/accounts/login/", &[("username", "ann"), ("password", PASSWORD)]);
    assert_eq!(signed_in.await.status, 302);
    let mut here = readers(&pulse, "launch").await;
    let mut elsewhere = readers(&pulse, "election").await;

    // L2: a view on some worker, of which one reader at least is at the other; and a command. Other
    // tests share the machine, so the best of three counts.
    let mut took = Vec::new();
    for round in 0..3 {
        let (text, begun) = (format!("post {round}"), Instant::now());
        assert_eq!(ann.post("/liveblog/launch/", &[("body", &text)]).await.status, 302);
        hear(&mut here, &text).await;
        took.push(begun.elapsed());
    }
    assert!(took.iter().any(|took| *took < Duration::from_secs(1)), "it took {took:?}");
    let mut took = Vec::new();
    for id in 50..53 {
        let text = format!("by a command {id}");
        save_by_command(&pulse, id, &text).await;
        let saved = Instant::now();
        hear(&mut here, &text).await;
        took.push(saved.elapsed());
    }
    assert!(took.iter().any(|took| *took < Duration::from_secs(1)), "it took {took:?}");

    // L7: the second row has no blog, so nothing of the command lasts.
    let now = "2026-01-01T12:00:00Z";
    let row = |id: u32, blog: u32| {
        let fields = json!({ "liveblog": blog, "body": "undone", "created": now, "updated": now });
        json!({ "model": "liveblog.post", "pk": id, "fields": fields })
    };
    let file = pulse.folder().join("undone.json");
    std::fs::write(&file, json!([row(60, 2), row(61, 99)]).to_string()).unwrap();
    let undone = pulse.try_manage(&["loaddata", file.to_str().unwrap()], &[]).await;
    assert!(!undone.status.success(), "there is no blog 99");
    assert_eq!(ann.post("/liveblog/launch/", &[("body", "behind it")]).await.status, 302);
    hear(&mut here, "behind it").await;

    // L4: nothing of all that was for readers of another blog.
    assert_eq!(ann.post("/liveblog/election/", &[("body", "elsewhere")]).await.status, 302);
    hear(&mut elsewhere, "elsewhere").await;

    // L6: whoever leaves, in order or not, leaves nothing behind.
    let groups = async || {
        let said = pulse.manage(&["ctl", "groups", "--json"], &[]).await;
        serde_json::from_str::<Value>(&said).unwrap()["groups"].clone()
    };
    assert_eq!(groups().await.as_object().unwrap().len(), 2);
    assert_eq!(here.remove(0).close().await, 1000);
    drop((here, elsewhere));
    let mut look = tokio::time::interval(Duration::from_millis(20));
    let empty = async {
        while groups().await != json!({}) {
            look.tick().await;
        }
    };
    timeout(Duration::from_secs(10), empty).await.expect("nobody is left");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn l3_an_edited_post_is_replaced_in_place_and_a_deleted_one_disappears() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = start().await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open_as_staff(&mut ann, &pulse).await;
    open(&mut bob, &pulse).await;
    for (text, shown) in [("one", &["one"][..]), ("two", &["two", "one"])] {
        write(&mut ann, text).await;
        shows(&mut ann, shown).await;
    }
    ann.click("[data-post-id='1'] .tools button").await;
    ann.wait_for("document.getElementById('editor').open").await;
    ann.type_into("#editor textarea", " and a half").await;
    ann.picture("liveblog-editor").await;
    ann.click("#editor [value=save]").await;
    for window in [&mut ann, &mut bob] {
        let edited = "document.querySelector('[data-post-id=\"1\"] .body').textContent";
        window.wait_for(&format!("{edited}.length === 'one and a half'.length")).await;
        let ids = "[...document.querySelectorAll('.post')].map((e) => e.dataset.postId).join()";
        assert_eq!(window.evaluate(ids).await, "2,1");
    }
    ann.click("[data-post-id='2'] .tools button:last-child").await;
    ann.click("[data-post-id='2'] .sure").await;
    for window in [&mut ann, &mut bob] {
        window.wait_for("document.querySelectorAll('.post').length === 1").await;
        window.wait_for("document.querySelector('.post').dataset.postId === '1'").await;
        assert_eq!(window.complaints(), [""; 0]);
    }
}

#[tokio::test]
async fn l8_a_page_catches_up_what_it_missed_while_its_worker_and_the_store_were_killed() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = start().await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open(&mut bob, &pulse).await;
    save_by_command(&pulse, 1, "before").await;
    save_by_command(&pulse, 2, "short-lived").await;
    shows(&mut bob, &["short-lived", "before"]).await;

    for with_store in [false, true] {
        bob.evaluate("isBlocked = true").await;
        if with_store {
            kill_process(pulse.store().unwrap(), Signal::KILL).unwrap();
        }
        for worker in pulse.workers() {
            kill_process(worker, Signal::KILL).unwrap();
        }
        bob.wait_for("document.getElementById('state').dataset.state === 'waiting'").await;
        save_by_command(&pulse, 2, if with_store { "lived on" } else { "changed" }).await;
        save_by_command(&pulse, 3, if with_store { "missed twice" } else { "missed" }).await;
        bob.evaluate("isBlocked = false, dispatchEvent(new Event('online'))").await;
        match with_store {
            false => shows(&mut bob, &["missed", "changed", "before"]).await,
            true => shows(&mut bob, &["missed twice", "lived on", "before"]).await,
        }
        bob.wait_for(IS_OPEN).await;
    }
    save_by_command(&pulse, 4, "live again").await;
    shows(&mut bob, &["live again", "missed twice", "lived on", "before"]).await;
}
