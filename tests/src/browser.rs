//! Headless Chromium, as far as the tests need it.
//!
//! Flow: [`Browser::start`] runs Chromium with a profile of its own → it says on stderr where its
//! DevTools listen → a [`Window`] is a WebSocket to one page, over which commands go out and
//! answers come back, one at a time.
//!
//! Invariants:
//! - Windows share nothing (cookies, storage) unless one is opened beside another.
//! - Input is what a person's hands make: mouse and key events, never a call of the page's script.
//! - Waiting is done inside the page and has an end; no test polls from outside.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

/// Names the Chromium to run.
const CHROMIUM: &str = "HULSE_TEST_CHROMIUM";

/// Names the folder for pictures, for people who want to look at them.
const PICTURES: &str = "HULSE_TEST_PICTURES";

/// Longest wait for Chromium to start and for a command's answer.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Longest wait for something to become true in a page.
const TRUTH_WAIT: Duration = Duration::from_secs(20);

/// Without these Chromium wants a network, a GPU, a sandbox, or slows windows nobody looks at.
const FLAGS: &[&str] = &[
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-breakpad",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--hide-scrollbars",
    "--password-store=basic",
    "--remote-debugging-port=0",
];

/// A running Chromium. Dropping it kills it and removes its profile.
#[derive(Debug)]
pub struct Browser {
    /// Leads a process group of its own, so that all of Chromium's processes end with it.
    child: Child,
    /// Reads what Chromium says until it ends; ends with it.
    stderr: Option<JoinHandle<()>>,
    devtools: DevTools,
    /// `127.0.0.1:PORT` of its DevTools.
    address: String,
    /// Removed after the processes that write to it have ended.
    _profile: TempDir,
}

/// The size and kind of a window.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// CSS pixels.
    pub width: u32,
    /// CSS pixels.
    pub height: u32,
    /// A touch screen with a page that fits its width.
    pub is_phone: bool,
    /// `prefers-color-scheme: dark`.
    pub is_dark: bool,
}

impl Screen {
    /// A laptop.
    pub const DESKTOP: Self = Self { width: 1280, height: 800, is_phone: false, is_dark: false };
    /// A phone held upright.
    pub const PHONE: Self = Self { width: 390, height: 844, is_phone: true, is_dark: false };

    /// The same in the dark.
    #[must_use]
    pub fn dark(self) -> Self {
        Self { is_dark: true, ..self }
    }
}

impl Browser {
    /// Starts Chromium; without one to start it says `skipped: needs Chromium` and gives `None`.
    ///
    /// # Panics
    /// It does not start.
    pub async fn start() -> Option<Self> {
        let Ok(program) = std::env::var(CHROMIUM) else {
            println!("skipped: needs Chromium ({CHROMIUM})");
            return None;
        };
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut child = Command::new(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("Chromium starts");
        let (said, url) = oneshot::channel();
        let stderr = child.stderr.take().expect("its stderr is piped");
        let stderr = std::thread::spawn(move || listen(BufReader::new(stderr), said));
        let url = timeout(ANSWER_WAIT, url).await.expect("Chromium is in time").expect("a URL");
        let address = url.split('/').nth(2).expect("ws://ADDRESS/..").to_owned();
        let devtools = DevTools::connect(&url).await;
        Some(Self { child, stderr: Some(stderr), devtools, address, _profile: profile })
    }

    /// A new window with its own cookies and storage, as on another person's computer.
    pub async fn window(&mut self, screen: Screen) -> Window {
        let made = self.devtools.call("Target.createBrowserContext", json!({})).await;
        let context = made["browserContextId"].as_str().expect("a context").to_owned();
        self.page(context, screen).await
    }

    /// Another tab of the same person.
    pub async fn tab_beside(&mut self, window: &Window) -> Window {
        self.page(window.context.clone(), window.screen).await
    }

    /// Closes the window and every tab beside it.
    pub async fn close(&mut self, window: Window) {
        let context = json!({ "browserContextId": window.context });
        self.devtools.call("Target.disposeBrowserContext", context).await;
    }

    async fn page(&mut self, context: String, screen: Screen) -> Window {
        let made = self
            .devtools
            .call(
                "Target.createTarget",
                json!({ "url": "about:blank", "browserContextId": context }),
            )
            .await;
        let target = made["targetId"].as_str().expect("a target");
        let url = format!("ws://{}/devtools/page/{target}", self.address);
        let mut window = Window { devtools: DevTools::connect(&url).await, context, screen };
        window.devtools.call("Runtime.enable", json!({})).await;
        window.devtools.call("Log.enable", json!({})).await;
        window.show_on(screen).await;
        window
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(group) =
            i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw)
        {
            // Fails only if all of them have ended.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        drop(self.child.wait());
        if let Some(stderr) = self.stderr.take() {
            drop(stderr.join());
        }
    }
}

/// Passes on where the DevTools listen, then swallows the rest so that the pipe never fills.
fn listen(stderr: impl BufRead, said: oneshot::Sender<String>) {
    let mut said = Some(said);
    for line in stderr.lines().map_while(Result::ok) {
        if let Some(url) = line.strip_prefix("DevTools listening on ")
            && let Some(said) = said.take()
        {
            drop(said.send(url.to_owned()));
        }
    }
}

/// One page. Its tab stays open when this is dropped; [`Browser::close`] closes it.
#[derive(Debug)]
pub struct Window {
    devtools: DevTools,
    context: String,
    screen: Screen,
}

impl Window {
    /// Runs `script` at the beginning of every page this window opens from now on.
    pub async fn before_each_page(&mut self, script: &str) {
        let script = json!({ "source": script });
        self.devtools.call("Page.enable", json!({})).await;
        self.devtools.call("Page.addScriptToEvaluateOnNewDocument", script).await;
    }

    /// Opens `url` and waits until it is loaded.
    ///
    /// # Panics
    /// It cannot be opened.
    pub async fn goto(&mut self, url: &str) {
        let answer = self.devtools.call("Page.navigate", json!({ "url": url })).await;
        assert!(answer["errorText"].is_null(), "opening {url}: {answer}");
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")
            .await;
    }

    /// The value of a JavaScript expression (a promise is waited for).
    ///
    /// # Panics
    /// It throws.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        self.try_evaluate(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"))
    }

    /// Waits until the expression is true, also across a change of page; throwing is not yet true.
    ///
    /// # Panics
    /// It does not become true in time.
    pub async fn wait_for(&mut self, expression: &str) {
        let promise = format!(
            "new Promise((done) => {{ const look = () => {{ let truth = false; \
             try {{ truth = ({expression}); }} catch {{}} \
             truth ? done(true) : setTimeout(look, 10); }}; look(); }})"
        );
        let truth = async {
            // A page that goes away takes its promise with it: the next page is asked again.
            while self.try_evaluate(&promise).await.is_err() {}
        };
        if timeout(TRUTH_WAIT, truth).await.is_err() {
            let text = timeout(ANSWER_WAIT, self.evaluate("document.body.innerText")).await;
            panic!("never true: {expression}; the page shows: {text:?}");
        }
    }

    /// Clicks the middle of the first element that `selector` finds.
    pub async fn click(&mut self, selector: &str) {
        let place = format!(
            "(() => {{ const e = document.querySelector({selector:?}); e.scrollIntoView({{block: \
             'nearest'}}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + \
             r.height / 2]; }})()"
        );
        let place = self.evaluate(&place).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let event = json!({
                "type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1,
            });
            self.devtools.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Clicks the element and types `text` into it.
    pub async fn type_into(&mut self, selector: &str, text: &str) {
        self.click(selector).await;
        self.devtools.call("Input.insertText", json!({ "text": text })).await;
    }

    /// Presses Enter where the cursor is.
    pub async fn press_enter(&mut self) {
        self.enter(0).await;
    }

    /// Presses Shift and Enter where the cursor is.
    pub async fn press_shift_enter(&mut self) {
        const SHIFT: u8 = 8;
        self.enter(SHIFT).await;
    }

    async fn enter(&mut self, modifiers: u8) {
        for kind in ["keyDown", "keyUp"] {
            let event = json!({
                "type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13,
                "text": if kind == "keyDown" { "\r" } else { "" }, "modifiers": modifiers,
            });
            self.devtools.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Presses a key that types nothing (`ArrowLeft`).
    pub async fn press(&mut self, key: &str) {
        for kind in ["rawKeyDown", "keyUp"] {
            let event = json!({ "type": kind, "key": key, "code": key });
            self.devtools.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Drags from the first place to the last, past those between; CSS pixels of the window.
    ///
    /// # Panics
    /// There are no places.
    pub async fn drag(&mut self, places: &[(f64, f64)]) {
        let (first, last) = (places[0], places[places.len() - 1]);
        let steps = std::iter::once(("mousePressed", first))
            .chain(places.iter().map(|place| ("mouseMoved", *place)))
            .chain([("mouseReleased", last)]);
        for (kind, (x, y)) in steps {
            let buttons = u8::from(kind != "mouseReleased");
            let event = json!({
                "type": kind, "x": x, "y": y, "button": "left", "buttons": buttons,
                "clickCount": 1,
            });
            self.devtools.call("Input.dispatchMouseEvent", event).await;
        }
    }

    /// Shows the page on another screen.
    pub async fn show_on(&mut self, screen: Screen) {
        self.screen = screen;
        let metrics = json!({
            "width": screen.width, "height": screen.height, "mobile": screen.is_phone,
            "deviceScaleFactor": if screen.is_phone { 2 } else { 1 },
        });
        self.devtools.call("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if screen.is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools.call("Emulation.setEmulatedMedia", media).await;
    }

    /// Writes what the window shows as a PNG.
    ///
    /// # Panics
    /// The file cannot be written.
    pub async fn screenshot(&mut self, path: &Path) {
        let shot = self.devtools.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        let bytes = base64(shot["data"].as_str().expect("a picture"));
        std::fs::write(path, bytes).expect("a writable path");
    }

    /// Shows the page on a desk and on a phone, by day and by night, and fails if it scrolls
    /// sideways. Pictures of all go to the folder `HULSE_TEST_PICTURES` names, if it does.
    ///
    /// # Panics
    /// It scrolls sideways.
    pub async fn fits_everywhere(&mut self, name: &str) {
        let shown = self.screen;
        for (screen, kind) in [
            (Screen::DESKTOP, "desktop"),
            (Screen::DESKTOP.dark(), "desktop-dark"),
            (Screen::PHONE, "phone"),
            (Screen::PHONE.dark(), "phone-dark"),
        ] {
            self.show_on(screen).await;
            let overflow = self.evaluate("document.documentElement.scrollWidth > innerWidth").await;
            assert_eq!(overflow, false, "{name}: {kind} scrolls sideways");
            self.picture(&format!("{name}-{kind}")).await;
        }
        self.show_on(shown).await;
    }

    /// Puts a picture into the folder `HULSE_TEST_PICTURES` names, if it does.
    pub async fn picture(&mut self, name: &str) {
        if let Some(folder) = std::env::var_os(PICTURES) {
            self.screenshot(&Path::new(&folder).join(format!("{name}.png"))).await;
        }
    }

    /// What the page has complained of so far: uncaught exceptions, blocked and missing resources.
    #[must_use]
    pub fn complaints(&self) -> &[String] {
        &self.devtools.complaints
    }

    async fn try_evaluate(&mut self, expression: &str) -> Result<Value, String> {
        let ask = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
            "userGesture": true,
        });
        let answer = self.devtools.try_call("Runtime.evaluate", ask).await?;
        match answer.get("exceptionDetails") {
            Some(exception) => Err(exception.to_string()),
            None => Ok(answer["result"]["value"].clone()),
        }
    }
}

/// A connection to Chromium or to one of its pages. Commands go one at a time.
#[derive(Debug)]
struct DevTools {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    last_id: u64,
    complaints: Vec<String>,
}

impl DevTools {
    async fn connect(url: &str) -> Self {
        let (socket, _) = tokio_tungstenite::connect_async(url).await.expect("DevTools answer");
        Self { socket, last_id: 0, complaints: Vec::new() }
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Value {
        let answer = timeout(ANSWER_WAIT, self.try_call(method, parameters)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{method}: no answer"));
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    async fn try_call(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.last_id += 1;
        let command = json!({ "id": self.last_id, "method": method, "params": parameters });
        let command = Message::text(command.to_string());
        self.socket.send(command).await.expect("Chromium is there");
        loop {
            let frame = self.socket.next().await.expect("Chromium is there").expect("a frame");
            let Message::Text(text) = frame else { continue };
            let mut message: Value = serde_json::from_str(&text).expect("DevTools speak JSON");
            if message["id"] == self.last_id {
                return match message.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(message["result"].take()),
                };
            }
            self.note(&message);
        }
    }

    /// Keeps an event that says something is wrong with the page.
    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(parameters["exceptionDetails"].to_string());
            }
            Some("Log.entryAdded") if parameters["entry"]["level"] == "error" => {
                self.complaints.push(parameters["entry"].to_string());
            }
            _ => {}
        }
    }
}

/// Decodes standard base64, as DevTools send pictures.
fn base64(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}
