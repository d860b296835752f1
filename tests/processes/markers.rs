//! The map in a real browser, against a real `pulse` of two workers.

use std::time::{Duration, Instant};

use hulse_tests::{Browser, Program, Pulse, Screen, Visitor, VisitorSocket, Window, promised};
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

/// How soon a visitor who leaves has to be gone from every map.
fn gone_within() -> Duration {
    promised(Duration::from_secs(2), Duration::from_secs(10))
}

async fn start() -> Pulse {
    Pulse::start_program(Program::Markers, &["-w", "2"]).await
}

/// Opens the map and waits for its own marker, whose key it says.
async fn open(window: &mut Window, pulse: &Pulse) -> String {
    window.goto(&pulse.url("/")).await;
    window.wait_for("document.querySelector('.mine')").await;
    let key = window.evaluate("document.getElementById('page').dataset.me").await;
    key.as_str().unwrap().to_owned()
}

/// Waits until the marker is drawn at a place, to a hundredth of the map.
async fn shows(window: &mut Window, key: &str, (x, y): (f64, f64)) {
    let place = format!(
        "(() => {{ const {{ x, y }} = document.querySelector('[data-key={key:?}]').dataset; \
         return Math.abs(x - {x}) < 0.01 && Math.abs(y - {y}) < 0.01; }})()"
    );
    window.wait_for(&place).await;
}

/// The window's place of a place on its map, CSS pixels.
async fn on_screen(window: &mut Window, x: f64, y: f64) -> (f64, f64) {
    let place = format!(
        "(() => {{ const r = document.getElementById('map').getBoundingClientRect(); \
         return [r.x + r.width * {x}, r.y + r.height * {y}]; }})()"
    );
    let place = window.evaluate(&place).await;
    (place[0].as_f64().unwrap(), place[1].as_f64().unwrap())
}

/// Somebody who is no browser: on the map with a marker, and never back once the connection is
/// lost.
async fn guest(pulse: &Pulse) -> (VisitorSocket, String) {
    let mut visitor = Visitor::new(pulse.address());
    let page = visitor.get("/").await.body;
    let key = page.split("data-me=\"").nth(1).and_then(|rest| rest.split('"').next());
    let key = key.expect("the page knows whose it is").to_owned();
    let mut socket = visitor.socket("/stream/").await;
    socket.send(&json!({ "join": "map" }).to_string()).await;
    let place = json!({ "send": "map", "key": "1", "data": { "x": 0.5, "y": 0.5 } });
    socket.send(&place.to_string()).await;
    socket.event_where(|event| event["sent"] == "1").await;
    (socket, key)
}

#[tokio::test]
async fn markers_follow_hand_and_keys_on_every_map_and_newcomers_see_all_at_once() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = start().await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::PHONE).await;
    let ann_key = open(&mut ann, &pulse).await;
    let bob_key = open(&mut bob, &pulse).await;
    for window in [&mut ann, &mut bob] {
        window.wait_for("document.querySelectorAll('.marker').length === 2").await;
        window.wait_for("document.querySelectorAll('#people li').length === 2").await;
    }

    let way = [(0.2, 0.2), (0.3, 0.4), (0.5, 0.5), (0.7, 0.6)];
    let mut places = Vec::new();
    for (x, y) in way {
        places.push(on_screen(&mut ann, x, y).await);
    }
    ann.drag(&places).await;
    shows(&mut ann, &ann_key, (0.7, 0.6)).await;
    shows(&mut bob, &ann_key, (0.7, 0.6)).await;

    let corner = on_screen(&mut bob, 0.3, 0.7).await;
    bob.drag(&[corner]).await;
    shows(&mut ann, &bob_key, (0.3, 0.7)).await;
    bob.evaluate("document.getElementById('map').focus()").await;
    for _ in 0..10 {
        bob.press("ArrowRight").await;
    }
    for _ in 0..5 {
        bob.press("ArrowUp").await;
    }
    shows(&mut bob, &bob_key, (0.4, 0.65)).await;
    shows(&mut ann, &bob_key, (0.4, 0.65)).await;

    // Nobody moves, and a newcomer sees them where they are; another tab is the same marker.
    let mut cat = browser.window(Screen::DESKTOP).await;
    open(&mut cat, &pulse).await;
    shows(&mut cat, &ann_key, (0.7, 0.6)).await;
    shows(&mut cat, &bob_key, (0.4, 0.65)).await;
    let mut tab = browser.tab_beside(&ann).await;
    assert_eq!(open(&mut tab, &pulse).await, ann_key);
    shows(&mut tab, &ann_key, (0.7, 0.6)).await;
    assert_eq!(cat.evaluate("document.querySelectorAll('.marker').length").await, 3);
    ann.fits_everywhere("markers").await;
    for window in [&mut ann, &mut bob, &mut cat] {
        assert_eq!(window.complaints(), [""; 0]);
    }
}

#[tokio::test]
async fn a_visitor_who_leaves_is_gone_in_two_seconds_also_with_the_worker() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = start().await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    open(&mut ann, &pulse).await;
    for is_killed in [false, true] {
        let (socket, key) = guest(&pulse).await;
        let marker = format!("document.querySelector('[data-key={key:?}]')");
        ann.wait_for(&marker).await;
        let left = Instant::now();
        if is_killed {
            let worker = pulse.worker_of(socket.port).expect("some worker holds it");
            kill_process(worker, Signal::KILL).unwrap();
        } else {
            drop(socket);
        }
        ann.wait_for(&format!("!{marker}")).await;
        let gone = left.elapsed();
        assert!(gone < gone_within(), "it took {gone:?}, killed: {is_killed}");
    }
    // Whoever comes now finds no ghost, and the map goes on.
    let (_guest, key) = guest(&pulse).await;
    ann.wait_for(&format!("document.querySelector('[data-key={key:?}]')")).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open(&mut bob, &pulse).await;
    for window in [&mut ann, &mut bob] {
        window.wait_for("document.querySelectorAll('.marker').length === 3").await;
        assert_eq!(window.evaluate("document.querySelector('#map text b')").await, Value::Null);
    }
}

/// Lets a test take the page's ways to the server away and give them back.
const BLOCKABLE: &str = "
    window.isBlocked = false;
    window.WebSocket = class extends WebSocket {
      constructor(...all) {
        if (isBlocked) throw new Error('blocked');
        super(...all);
      }
    };
    const request = window.fetch;
    window.fetch = async (...all) => {
      if (isBlocked) throw new TypeError('blocked');
      return request(...all);
    };";

#[tokio::test]
async fn who_comes_back_after_it_was_taken_for_gone_has_its_marker_where_it_was() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = start().await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    ann.before_each_page(BLOCKABLE).await;
    let ann_key = open(&mut ann, &pulse).await;
    let bob_key = open(&mut bob, &pulse).await;
    let place = on_screen(&mut ann, 0.7, 0.6).await;
    ann.drag(&[place]).await;
    shows(&mut bob, &ann_key, (0.7, 0.6)).await;

    ann.evaluate("isBlocked = true, dispatchEvent(new Event('offline'))").await;
    bob.wait_for("document.querySelectorAll('.marker').length === 1").await;
    ann.evaluate("isBlocked = false, dispatchEvent(new Event('online'))").await;
    for window in [&mut ann, &mut bob] {
        shows(window, &ann_key, (0.7, 0.6)).await;
        window.wait_for("document.querySelectorAll('#people li').length === 2").await;
        window.wait_for("document.querySelectorAll('.marker').length === 2").await;
    }
    // What the page hears after that changes nothing of it.
    let place = on_screen(&mut bob, 0.4, 0.4).await;
    bob.drag(&[place]).await;
    shows(&mut ann, &bob_key, (0.4, 0.4)).await;
    shows(&mut ann, &ann_key, (0.7, 0.6)).await;
}
