//! The machine's clock jumps, by an hour and by a month, there and back, while the site serves.

use std::fs;
use std::path::PathBuf;

use hulse_tests::{
    Program, Pulse, Surroundings, Visitor, VisitorSocket, site_command, site_folder_of,
};
use rustix::process::{Signal, kill_process};

/// Names the library that changes what time a process reads (Debian's `libfaketime`).
const LIBRARY: &str = "HULSE_TEST_FAKETIME";
/// What the library reads its difference from.
const FILE: &str = "clock";

/// A site whose clock can be set.
struct Clock {
    file: PathBuf,
    pulse: Pulse,
}

impl Clock {
    /// `None`, said aloud, without the library.
    #[expect(clippy::print_stdout, reason = "what is skipped is said aloud")]
    async fn start() -> Option<Self> {
        let Some(library) = std::env::var_os(LIBRARY).filter(|path| !path.is_empty()) else {
            println!("skipped: needs libfaketime ({LIBRARY})");
            return None;
        };
        let program = Program::Testsite;
        let environment = vec![("TESTSITE_ACCOUNTS".to_owned(), "1".to_owned())];
        let surroundings = Surroundings { program, environment, ..Surroundings::default() };
        let folder = site_folder_of(program);
        let file = folder.path().join(FILE);
        fs::write(&file, "+0").unwrap();
        let mut command = site_command(folder.path(), &surroundings);
        command.args(["pulse", "--migrate", "-b", "127.0.0.1:0", "-w", "2"]);
        command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &file);
        // A clock that jumps is the one of the day; the other one is the kernel's.
        command.env("FAKETIME_NO_CACHE", "1").env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        let pulse = Pulse::launch(command, folder, surroundings, "listening on http").await;
        Some(Self { file, pulse })
    }

    /// Sets the clock to so much after or before the true time (`-1h`).
    fn jump(&self, difference: &str) {
        // The library must never read half of it.
        let new = self.file.with_extension("new");
        fs::write(&new, difference).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    /// The time the site's answers are of.
    async fn day(&self) -> String {
        let mut wire = hulse_tests::Wire::connect(self.pulse.address()).await;
        wire.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        let reply = wire.reply().await.unwrap();
        reply.header("date").unwrap()[..16].to_owned()
    }
}

/// What one says the other hears, once.
async fn talk(from: &mut VisitorSocket, to: &mut VisitorSocket, text: &str) {
    from.send(text).await;
    assert_eq!(to.frame().await.as_deref(), Ok(text));
    while !from.frame().await.unwrap().starts_with("at ") {}
}

#[tokio::test]
async fn a_clock_that_jumps_closes_no_socket_and_loses_no_message() {
    let Some(clock) = Clock::start().await else { return };
    let pulse = &clock.pulse;
    let mut ann = Visitor::new(pulse.address());
    assert_eq!(ann.get("/sign-in/ann/").await.status, 200);
    let mut speaker = ann.socket("/room/r/nobody/now/").await;
    speaker.frame().await.unwrap();
    let mut listener = ann.socket("/feed/r/").await;
    let today = clock.day().await;
    let processes = (pulse.workers(), pulse.store());
    for (number, difference) in ["+1h", "-1h", "+1d", "-1d", "+0"].into_iter().enumerate() {
        clock.jump(difference);
        talk(&mut speaker, &mut listener, &format!("text {number}")).await;
        assert_eq!(ann.get("/accounts/password_change/").await.status, 200, "at {difference}");
        // When it goes back hyper keeps the date it has cached.
        assert!(difference != "+1d" || clock.day().await != today, "the clock does not jump");
    }
    // A month is longer than a session lives; what is open does not end with the day.
    clock.jump("+30d");
    let answer = ann.get("/accounts/password_change/").await;
    assert_eq!(answer.status, 302, "the session has ended");
    talk(&mut speaker, &mut listener, "much later").await;
    assert_eq!(ann.get("/sign-in/bob/").await.status, 200);
    assert_eq!(ann.get("/accounts/password_change/").await.status, 200);
    // And long before it was begun: an epoch that began later must not be taken for an older one.
    clock.jump("-1d");
    talk(&mut speaker, &mut listener, "the day before").await;
    assert_eq!((pulse.workers(), pulse.store()), processes, "no process has ended");
    kill_process(pulse.store().unwrap(), Signal::KILL).unwrap();
    talk(&mut speaker, &mut listener, "with a new store").await;
    let status = pulse.status().await;
    assert_eq!(status["deaths"], 1, "the store, by us");
}
