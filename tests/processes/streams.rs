//! `hulse.js` in a real browser, against a real `pulse` whose processes are killed.

use hulse_tests::{Browser, Program, Pulse, Screen, Surroundings, Window};
use rustix::process::{Signal, kill_process};

/// Lets a test take the page's ways to the server away and give them back.
const BLOCKABLE: &str = "
    window.blocked = new Set();
    window.WebSocket = class extends WebSocket {
      constructor(...all) {
        if (blocked.has('websocket')) throw new Error('blocked');
        super(...all);
      }
    };
    const request = window.fetch;
    window.fetch = (url, options) => {
      const accept = options?.headers?.accept;
      const kind = accept === 'text/event-stream' ? 'events' : accept ? 'poll' : 'post';
      if (blocked.has(kind)) return Promise.reject(new TypeError('blocked'));
      return request(url, options);
    };";

/// Makes what takes the page minutes take moments.
const HASTY: &str = "
    const wait = window.setTimeout;
    window.setTimeout = (task, time, ...rest) => wait(task, time >= 300000 ? 200 : time, ...rest);
    const limit = AbortSignal.timeout;
    AbortSignal.timeout = (time) => limit.call(AbortSignal, time >= 60000 ? 200 : time);";

/// Lets the first POST through and loses its answer.
const LOSSY: &str = "
    const ask = window.fetch;
    window.posts = 0;
    window.fetch = async (url, options) => {
      const isFirst = options?.method === 'POST' && posts++ === 0;
      const response = await ask(url, options);
      if (!isFirst) return response;
      return new Promise((_, reject) => {
        options.signal.addEventListener('abort', () => reject(options.signal.reason));
      });
    };";

const IS_OPEN: &str = "window.joined?.length > 0 && live.state === 'open'";

/// Opens the page and joins as `name`.
async fn open(window: &mut Window, pulse: &Pulse, name: &str, options: &str) {
    window.before_each_page(BLOCKABLE).await;
    window.goto(&pulse.url("/live/")).await;
    window.wait_for("window.ready").await;
    window.evaluate(&format!("start({name:?}, {options})")).await;
    window.wait_for(IS_OPEN).await;
}

async fn transport(window: &mut Window) -> String {
    let transport = window.evaluate("live.transport").await;
    transport.as_str().unwrap_or_default().to_owned()
}

/// Waits until the page has heard so many numbers, and says whether they are the right ones.
async fn hears_all(window: &mut Window, count: usize) {
    window.wait_for(&format!("heard.length >= {count}")).await;
    let wrong = "heard.filter((number, index) => number !== index)";
    assert_eq!(window.evaluate(wrong).await, serde_json::json!([]), "not each once and in order");
    assert_eq!(window.evaluate("heard.length").await, count);
}

#[tokio::test]
async fn every_message_comes_once_in_order_whoever_is_killed() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "3"]).await;
    let mut sender = browser.window(Screen::DESKTOP).await;
    let mut reader = browser.window(Screen::DESKTOP).await;
    let mut listener = browser.window(Screen::DESKTOP).await;
    open(&mut sender, &pulse, "", "{}").await;
    open(&mut reader, &pulse, "", "{}").await;
    open(&mut listener, &pulse, "", "{ transports: ['events'] }").await;

    sender.evaluate("void (window.said = say(0, 600))").await;
    for (round, count) in [60, 120, 180, 240, 300].into_iter().enumerate() {
        reader.wait_for(&format!("heard.length > {count}")).await;
        let victim = match round {
            2 => pulse.store().expect("there is a store"),
            _ => pulse.workers()[round % 3],
        };
        kill_process(victim, Signal::KILL).unwrap();
    }
    sender.evaluate("said").await;
    for window in [&mut sender, &mut reader, &mut listener] {
        hears_all(window, 600).await;
    }
    assert_eq!(transport(&mut reader).await, "websocket");
    assert_eq!(transport(&mut listener).await, "events");
}

#[tokio::test]
async fn pages_without_a_socket_miss_nothing_whoever_is_killed_or_stopped() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "3", "-t", "1"]).await;
    let ways = ["poll", "events", "poll"];
    let mut pages = Vec::new();
    for way in ways {
        let mut page = browser.window(Screen::DESKTOP).await;
        open(&mut page, &pulse, "", &format!("{{ transports: ['{way}'] }}")).await;
        pages.push(page);
    }
    // What it says goes by POST, each when the one before is answered.
    pages[0].evaluate("void (window.said = say(0, 150))").await;
    for (count, fault) in [(20, "killed"), (60, "store killed"), (90, "stopped")] {
        for page in &mut pages {
            page.wait_for(&format!("heard.length > {count}")).await;
        }
        let (victims, signal) = match fault {
            "killed" => (pulse.workers(), Signal::KILL),
            "stopped" => (pulse.workers(), Signal::STOP),
            _ => (pulse.store().into_iter().collect(), Signal::KILL),
        };
        assert!(!victims.is_empty(), "{fault}");
        // Those that are stopped are replaced.
        victims.into_iter().for_each(|victim| kill_process(victim, signal).unwrap());
    }
    pages[0].evaluate("said").await;
    for (page, way) in pages.iter_mut().zip(ways) {
        hears_all(page, 150).await;
        assert_eq!(transport(page).await, way);
    }
}

#[tokio::test]
async fn what_is_blocked_is_gone_around() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    open(&mut ann, &pulse, "", "{}").await;
    assert_eq!(transport(&mut ann).await, "websocket");
    for (number, (blocked, way)) in
        [("['websocket']", "events"), ("['websocket', 'events']", "poll")].into_iter().enumerate()
    {
        let mut bob = browser.window(Screen::DESKTOP).await;
        let script = format!("{BLOCKABLE} blocked = new Set({blocked});");
        bob.before_each_page(&script).await;
        bob.goto(&pulse.url("/live/")).await;
        bob.wait_for("window.ready").await;
        bob.evaluate("start('', {})").await;
        bob.wait_for(IS_OPEN).await;
        assert_eq!(transport(&mut bob).await, way);
        // Each hears the other, once; an answer says where it stands.
        let sent = bob.evaluate(&format!("chat.send('{way}')")).await;
        bob.wait_for(&format!("chat.at === {}", sent["at"])).await;
        ann.wait_for(&format!("heard.length === {}", 2 * number + 1)).await;
        ann.evaluate("chat.send('answer')").await;
        bob.wait_for("heard.length === 2").await;
        assert_eq!(bob.evaluate("heard.join()").await, format!("{way},answer"));
        assert_eq!(bob.complaints(), [""; 0]);
        browser.close(bob).await;
    }
    ann.wait_for("heard.length === 4").await;
    assert_eq!(ann.complaints(), [""; 0]);
}

#[tokio::test]
async fn a_page_whose_socket_is_blocked_later_falls_back_without_a_hole() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open(&mut ann, &pulse, "", "{}").await;
    open(&mut bob, &pulse, "", "{}").await;
    ann.evaluate("say(0, 10)").await;
    hears_all(&mut bob, 10).await;
    bob.evaluate("blocked.add('websocket'), live.restart()").await;
    ann.evaluate("say(10, 20)").await;
    bob.wait_for("live.transport === 'events' && live.state === 'open'").await;
    hears_all(&mut bob, 20).await;
    bob.evaluate("blocked.add('events'), live.restart()").await;
    ann.evaluate("say(20, 30)").await;
    bob.wait_for("live.transport === 'poll' && live.state === 'open'").await;
    hears_all(&mut bob, 30).await;
    bob.evaluate("blocked.clear(), live.restart()").await;
    bob.evaluate("say(30, 40)").await;
    hears_all(&mut bob, 40).await;
    hears_all(&mut ann, 40).await;
}

#[tokio::test]
async fn a_page_on_a_detour_finds_the_straight_way_by_itself() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open(&mut ann, &pulse, "", "{}").await;
    bob.before_each_page(&format!("{BLOCKABLE} blocked.add('websocket'); {HASTY}")).await;
    bob.goto(&pulse.url("/live/")).await;
    bob.wait_for("window.ready").await;
    bob.evaluate("start('', {})").await;
    bob.wait_for("live.transport === 'events' && live.state === 'open'").await;
    ann.evaluate("say(0, 10)").await;
    hears_all(&mut bob, 10).await;
    bob.evaluate("blocked.clear()").await;
    bob.wait_for("live.transport === 'websocket' && live.state === 'open'").await;
    ann.evaluate("say(10, 20)").await;
    hears_all(&mut bob, 20).await;
    assert_eq!(bob.complaints(), [""; 0]);
}

#[tokio::test]
async fn a_post_whose_answer_is_lost_is_repeated_and_counts_once() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open(&mut ann, &pulse, "", "{}").await;
    bob.before_each_page(&format!("{HASTY} {LOSSY}")).await;
    open(&mut bob, &pulse, "", "{ transports: ['events'] }").await;
    bob.evaluate("say(0, 3)").await;
    hears_all(&mut ann, 3).await;
    hears_all(&mut bob, 3).await;
    assert!(bob.evaluate("posts").await.as_u64() > Some(3), "none was said again");
}

#[tokio::test]
async fn what_is_said_offline_is_said_once_there_is_a_way() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open(&mut ann, &pulse, "", "{ queue: 10 }").await;
    open(&mut bob, &pulse, "", "{}").await;
    let block = "['websocket', 'events', 'poll', 'post'].forEach((way) => blocked.add(way)), \
                 live.restart()";
    ann.evaluate(block).await;
    ann.wait_for("live.state === 'waiting'").await;
    let said = "void (window.said = Promise.allSettled(Array.from({ length: 12 }, (_, number) => \
                chat.send(number))))";
    ann.evaluate(said).await;
    ann.evaluate("blocked.clear(), dispatchEvent(new Event('online'))").await;
    let results = ann.evaluate("said.then((all) => all.map((one) => one.status[0]).join(''))");
    assert_eq!(results.await, "ffffffffffrr", "more than ten do not wait");
    let why = ann.evaluate("said.then((all) => all[11].reason.error)").await;
    assert_eq!(why, "queue_full");
    hears_all(&mut bob, 10).await;
    hears_all(&mut ann, 10).await;
}

#[tokio::test]
async fn two_tabs_are_one_person() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    open(&mut ann, &pulse, "ann", "{}").await;
    ann.wait_for("people === 'ann'").await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open(&mut bob, &pulse, "bob", "{}").await;
    let mut tab = browser.tab_beside(&bob).await;
    open(&mut tab, &pulse, "bob", "{ transports: ['events'] }").await;
    ann.wait_for("people === 'ann,bob'").await;
    bob.wait_for("people === 'ann,bob'").await;
    tab.wait_for("people === 'ann,bob'").await;
    bob.evaluate("live.close()").await;
    assert_eq!(bob.evaluate("live.state").await, "closed");
    // What is said behind it comes when it has been heard.
    tab.evaluate("chat.send('still here')").await;
    ann.wait_for("heard.length === 1").await;
    assert_eq!(ann.evaluate("people").await, "ann,bob");
    tab.evaluate("chat.leave()").await;
    ann.wait_for("people === 'ann'").await;
}

#[tokio::test]
async fn a_worker_that_ends_in_order_says_when_to_come_back() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    open(&mut ann, &pulse, "", "{}").await;
    let mut cid = browser.window(Screen::DESKTOP).await;
    open(&mut bob, &pulse, "", "{ transports: ['events'] }").await;
    open(&mut cid, &pulse, "", "{ transports: ['poll'] }").await;
    ann.evaluate("void (window.said = say(0, 300))").await;
    for (round, count) in [50, 150].into_iter().enumerate() {
        bob.wait_for(&format!("heard.length > {count}")).await;
        kill_process(pulse.workers()[round], Signal::TERM).unwrap();
    }
    ann.evaluate("said").await;
    for window in [&mut ann, &mut bob, &mut cid] {
        hears_all(window, 300).await;
        let late = "states.filter((status) => status.state === 'waiting' && status.wait > 500)";
        assert_eq!(window.evaluate(late).await, serde_json::json!([]));
    }
}

#[tokio::test]
async fn a_plain_socket_comes_back_and_says_what_waited() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "2"]).await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    ann.before_each_page(BLOCKABLE).await;
    ann.goto(&pulse.url("/live/")).await;
    ann.wait_for("window.ready").await;
    ann.evaluate("startPlain()").await;
    assert_eq!(ann.evaluate("plain.send('before it is open')").await, true);
    ann.wait_for("heard.join() === 'before it is open'").await;
    ann.evaluate("blocked.add('websocket')").await;
    for worker in pulse.workers() {
        kill_process(worker, Signal::KILL).unwrap();
    }
    ann.wait_for("plain.state === 'waiting'").await;
    ann.evaluate("plain.send('meanwhile')").await;
    ann.evaluate("blocked.clear()").await;
    ann.wait_for("heard.at(-1) === 'meanwhile'").await;
    assert_eq!(ann.evaluate("opened").await, 2);
    ann.evaluate("plain.close()").await;
    assert_eq!(ann.evaluate("plain.send('too late')").await, false);
    assert_eq!(ann.evaluate("heard.length").await, 2);
}

/// Keeps the page's sockets, lets a test block them, and makes waits a hundredth of what they are;
/// how long each really was is kept beside what was asked for.
const TIMED: &str = "
    window.isBlocked = false;
    window.sockets = [];
    window.WebSocket = class extends WebSocket {
      constructor(...all) {
        if (isBlocked) throw new Error('blocked');
        super(...all);
        sockets.push(this);
      }
    };
    window.waits = [];
    const wait = window.setTimeout;
    window.setTimeout = (task, time = 0, ...rest) => wait(task, time / 100, ...rest);
    window.timed = {
      transports: ['websocket'],
      status: (state, { wait } = {}) => {
        const now = performance.now();
        if (state === 'waiting') window.waiting = { wait, now };
        else if (window.waiting) {
          waits.push([waiting.wait, now - waiting.now]);
          window.waiting = null;
        }
      },
    };";

#[tokio::test]
async fn waits_are_random_in_a_window_that_grows_or_that_the_server_gives() {
    /// The longest first wait, and the longest of all, milliseconds.
    const WINDOWS: [f64; 2] = [500.0, 30_000.0];
    /// What a timer may be late by, in both directions.
    const LATE: f64 = 2.0;
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut shares = Vec::new();
    for _ in 0..3 {
        let mut page = browser.window(Screen::DESKTOP).await;
        page.before_each_page(TIMED).await;
        page.goto(&pulse.url("/live/")).await;
        page.wait_for("window.ready").await;
        page.evaluate("void (window.live = connect('/stream/', timed))").await;
        page.wait_for("live.state === 'open'").await;
        // The server's word counts once, whatever was tried before.
        page.evaluate(
            "void (sockets.at(-1).onmessage({ data: '{\"drain\":{\"after\":[4000,5000]}}' }), \
             sockets.at(-1).close())",
        )
        .await;
        page.wait_for("waits.length === 1 && live.state === 'open'").await;
        let shaped = page.evaluate("waits[0][0]").await.as_f64().unwrap();
        assert!((4000.0..=5000.0).contains(&shaped), "{shaped}");
        page.evaluate("void (isBlocked = true, waits.length = 0, live.restart())").await;
        page.wait_for("waits.length >= 9").await;
        let waits = page.evaluate("waits.slice(0, 9)").await;
        for (number, wait) in waits.as_array().unwrap().iter().enumerate() {
            let window = (WINDOWS[0] * f64::from(1 << number)).min(WINDOWS[1]);
            let (asked, real) = (wait[0].as_f64().unwrap(), wait[1].as_f64().unwrap());
            assert!((0.0..=window).contains(&asked), "wait {number}: {asked} of {window}");
            assert!(real + LATE >= asked / 100.0, "wait {number}: {real} ms for {asked}");
            shares.push(asked / window);
        }
        browser.close(page).await;
    }
    // Anywhere in the window: of 27 some are in each third, and no two are equal.
    for third in 0..3 {
        let of_third = |share: &&f64| (**share * 3.0).floor() as i32 == third;
        let count = shares.iter().filter(of_third).count();
        assert!((1..25).contains(&count), "{count} of {} in third {third}", shares.len());
    }
    shares.sort_by(f64::total_cmp);
    assert!(shares.windows(2).all(|two| two[0] < two[1]), "{shares:?}");
}

#[tokio::test]
async fn a_page_without_cookies_is_known_by_tickets_and_each_is_good_once() {
    let Some(mut browser) = Browser::start().await else { return };
    let environment = vec![("TESTSITE_ACCOUNTS".to_owned(), "yes".to_owned())];
    let program = Program::Testsite;
    let pulse =
        Pulse::start_in(Surroundings { program, environment, database: None }, &["-w", "2"]);
    let pulse = pulse.await;
    let mut page = browser.window(Screen::DESKTOP).await;
    page.goto(&pulse.url("/sign-in/ann/")).await;
    page.goto(&pulse.url("/live/")).await;
    page.wait_for("window.ready").await;
    page.evaluate(
        "void (window.start = (options, isTicketed) => { \
           const own = window.tickets = []; \
           const ticket = async () => { \
             own.push(await (await fetch('/ticket/')).text()); return own.at(-1); }; \
           window.live = connect('/mine/', isTicketed ? { ...options, ticket } : options); \
           window.errors = []; window.heard = []; \
           window.mine = live.join('mine', { data: (data) => heard.push(data), \
             error: ({ error }) => errors.push(error) }); })",
    )
    .await;
    // By its cookie, which goes along unless the page says otherwise.
    page.evaluate("start({ transports: ['events'] })").await;
    page.wait_for("mine.state === 'joined'").await;
    page.evaluate("void (live.close(), start({ transports: ['events'], credentials: 'omit' }))")
        .await;
    page.wait_for("errors.join() === 'denied'").await;
    for transport in ["events", "poll", "websocket"] {
        page.evaluate(&format!(
            "void (live.close(), \
             start({{ transports: ['{transport}'], credentials: 'omit' }}, true))"
        ))
        .await;
        page.wait_for("mine.state === 'joined' && live.state === 'open'").await;
        assert!(page.evaluate("mine.send('it is me')").await["at"].is_string());
        page.wait_for("heard.join() === 'it is me'").await;
        // One for each request and connection: a socket has one, the others send by a POST.
        let used = page.evaluate("tickets.length").await.as_u64().unwrap();
        assert!(
            if transport == "websocket" { used == 1 } else { used >= 2 },
            "{transport}: {used}"
        );
        // Looked at in one go: a poll may ask for the next one meanwhile.
        assert_eq!(page.evaluate("new Set(tickets).size === tickets.length").await, true);
        page.evaluate("live.restart()").await;
        page.wait_for(&format!("tickets.length > {used} && live.state === 'open'")).await;
    }
    // A ticket that was used opens nothing.
    page.evaluate(
        "void (live.close(), window.used = tickets[0], start({ transports: ['events'], \
         credentials: 'omit', ticket: () => used }))",
    )
    .await;
    page.wait_for("live.state === 'waiting' || errors.length").await;
    assert_ne!(page.evaluate("mine.state").await, "joined");
}

#[tokio::test]
async fn a_plain_socket_speaks_the_subprotocol_that_the_consumer_takes() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = Pulse::start_testsite(&["-w", "1"]).await;
    let mut page = browser.window(Screen::DESKTOP).await;
    page.before_each_page(TIMED).await;
    page.goto(&pulse.url("/live/")).await;
    page.wait_for("window.ready").await;
    page.evaluate(
        "void (window.plain = socket('/protocol/', { protocols: ['first', 'second'], \
         message: (text) => heard.push(text) }))",
    )
    .await;
    page.evaluate("plain.send('hello')").await;
    page.wait_for("heard.join() === 'second: hello'").await;
    assert_eq!(page.evaluate("sockets.at(-1).protocol").await, "second");
}

#[tokio::test]
async fn a_browser_reads_and_writes_compressed_messages() {
    let Some(mut browser) = Browser::start().await else { return };
    let environment = vec![("HULSE_SERVER__DEFLATE".to_owned(), "true".to_owned())];
    let program = Program::Testsite;
    let pulse =
        Pulse::start_in(Surroundings { program, environment, database: None }, &["-w", "2"]);
    let pulse = pulse.await;
    let mut ann = browser.window(Screen::DESKTOP).await;
    let mut bob = browser.window(Screen::DESKTOP).await;
    for page in [&mut ann, &mut bob] {
        page.before_each_page(TIMED).await;
        page.goto(&pulse.url("/live/")).await;
        page.wait_for("window.ready").await;
        page.evaluate("start('', {})").await;
        page.wait_for(IS_OPEN).await;
        let extensions = page.evaluate("sockets.at(-1).extensions").await;
        assert!(extensions.as_str().unwrap().starts_with("permessage-deflate"), "{extensions}");
    }
    let long = "void (window.texts = Array.from({ length: 90 }, (_, number) => \
                number % 3 ? `${number}` : `${number} `.repeat(number * 20)))";
    for page in [&mut ann, &mut bob] {
        page.evaluate(long).await;
    }
    ann.evaluate("Promise.all(texts.map((text) => chat.send(text))).then(() => 1)").await;
    // Its worker is killed in the middle: the rest comes as history, compressed too.
    for worker in pulse.workers() {
        kill_process(worker, Signal::KILL).unwrap();
    }
    ann.evaluate("chat.send('end').then(() => 1)").await;
    for page in [&mut ann, &mut bob] {
        page.wait_for("heard.at(-1) === 'end'").await;
        let right = "JSON.stringify(heard.slice(0, -1)) === JSON.stringify(texts)";
        assert_eq!(page.evaluate(right).await, true, "each once and in order");
        assert_eq!(page.complaints(), [""; 0]);
    }
}
