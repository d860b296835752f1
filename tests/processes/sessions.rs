//! One session on four workers, with each engine; and the page that lists a user's sessions.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use hulse_tests::{Browser, Program, Pulse, Screen, Surroundings, Visitor};
use tokio::time::timeout;

/// Requests of one session at once.
const AT_ONCE: usize = 24;
/// How soon a socket must be closed.
const CLOSED: Duration = Duration::from_secs(1);

async fn pulse(engine: &str) -> Pulse {
    let settings = [("TESTSITE_ACCOUNTS", "yes"), ("HULSE_SESSIONS__ENGINE", engine)];
    let environment = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let surroundings = Surroundings { program: Program::Testsite, database: None, environment };
    Pulse::start_in(surroundings, &["-w", "4"]).await
}

#[tokio::test]
async fn all_workers_have_one_session_and_one_logout_reaches_them() {
    for engine in ["database", "cached", "signed_cookies"] {
        let pulse = pulse(engine).await;
        let mut ann = Visitor::new(pulse.address());
        assert_eq!(ann.get("/sign-in/ann/").await.body, "signed in", "{engine}");
        let keeps_all = engine != "signed_cookies";
        let remember = |number: usize| {
            let mut ann = ann.clone();
            async move {
                let answer = ann.get(&format!("/remember/key{number}/")).await;
                assert_eq!((answer.status, answer.body.as_str()), (200, "remembered"));
                ann
            }
        };
        let visitors = join_all((0..AT_ONCE).map(remember)).await;
        // Of those who keep a cookie each the last one counts.
        let mut ann = visitors.into_iter().next_back().expect("some of them");
        let mut known = BTreeSet::new();
        for number in 0..AT_ONCE {
            let answer = ann.get(&format!("/remembered/key{number}/")).await;
            assert!(answer.body.starts_with("ann "), "{engine}: {}", answer.body);
            known.extend(answer.body.ends_with("true").then_some(number));
        }
        assert_eq!(known.len(), if keeps_all { AT_ONCE } else { 1 }, "{engine}: {known:?}");
        let mut sockets = Vec::new();
        for _ in 0..8 {
            sockets.push(ann.socket("/feed/news/").await);
        }
        let copy = ann.clone();
        assert_eq!(ann.get("/revoke/logout/").await.body, "revoked", "{engine}");
        for mut socket in sockets {
            let code = timeout(CLOSED, socket.close_code()).await.expect("closed in a second");
            assert_eq!(code, 4401, "{engine}");
        }
        assert_eq!(ann.get("/remembered/key0/").await.body, "anonymous false");
        let asked =
            join_all(
                (0..8).map(|_| {
                    let mut copy = copy.clone();
                    async move {
                        (copy.get("/remembered/key0/").await.body, copy.get("/remember/x/").await)
                    }
                }),
            );
        for (seen, saved) in asked.await {
            assert_eq!(seen.starts_with("anonymous"), keeps_all, "{engine}: {seen}");
            // A copy of a cookie that is the session can be read, and never saved again.
            assert_eq!(saved.status, if keeps_all { 200 } else { 400 }, "{engine}");
        }
        assert_eq!(pulse.stop().await, 0);
    }
}

#[tokio::test]
async fn a_page_shows_where_somebody_is_signed_in_and_ends_it_there() {
    let Some(mut browser) = Browser::start().await else { return };
    let pulse = pulse("database").await;
    let arguments =
        ["createsuperuser", "--noinput", "--username", "ann", "--email", "ann@example.org"];
    let password = "correct horse battery";
    pulse.manage(&arguments, &[("HULSE_SUPERUSER_PASSWORD", password)]).await;
    let mut phone = Visitor::new(pulse.address());
    phone.get("/accounts/login/").await;
    let fields = [("username", "ann"), ("password", password)];
    assert_eq!(phone.post("/accounts/login/", &fields).await.status, 302);
    let mut socket = phone.socket("/feed/news/").await;

    let mut window = browser.window(Screen::DESKTOP).await;
    window.goto(&pulse.url("/accounts/login/?next=/accounts/sessions/")).await;
    window.type_into("#id_username", "ann").await;
    window.type_into("#id_password", password).await;
    window.press_enter().await;
    window.wait_for("document.querySelectorAll('.places li').length === 2").await;
    let own = window.evaluate("document.querySelector('.places li').innerText").await;
    let own = own.as_str().unwrap().to_owned();
    assert!(own.contains("Chrome on Linux") && own.contains("This device"), "{own}");
    window.fits_everywhere("sessions").await;
    window.click(".places .quiet").await;
    let code = timeout(CLOSED, socket.close_code()).await.expect("closed in a second");
    assert_eq!(code, 4401);
    window.wait_for("document.querySelectorAll('.places li').length === 1").await;
    window.fits_everywhere("sessions-one").await;
    assert_eq!(phone.get("/remembered/key0/").await.body, "anonymous false");
    assert_eq!(pulse.stop().await, 0);
}
