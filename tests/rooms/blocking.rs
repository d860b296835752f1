//! Blocking views: plain functions, on threads and as greenlets, from one source.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use hulse::blocking::{atomic, blocking, wait};
use hulse::conf::Settings;
use hulse::contrib::auth::{self, User};
use hulse::contrib::sessions;
use hulse::http::{Path, Request, Response, not_found, post};
use hulse::test::TestSite;
use hulse::urls::{Urls, path};
use hulse::{Error, Project, Result};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

/// A door that opens for one view at a time, and who stands in front of it.
#[derive(Clone)]
struct Door {
    came: Arc<Semaphore>,
    opened: Arc<Semaphore>,
    passed: Arc<AtomicUsize>,
}

impl Door {
    fn new() -> Self {
        let closed = || Arc::new(Semaphore::new(0));
        Self { came: closed(), opened: closed(), passed: Arc::default() }
    }

    /// The view.
    fn pass(&self) -> &'static str {
        self.came.add_permits(1);
        wait(self.opened.acquire()).unwrap().forget();
        self.passed.fetch_add(1, Ordering::Relaxed);
        "passed"
    }

    /// Waits until so many have come.
    async fn has_seen(&self, count: u32) {
        self.came.acquire_many(count).await.unwrap().forget();
    }
}

fn project(door: &Door) -> Project {
    let door = door.clone();
    let urls = Urls::new([
        path("door/", blocking(move || door.pass())),
        path("count/<int:more>/", blocking(count)),
        path("rename/<slug:name>/", blocking(rename)),
        path("echo/", post(blocking(|text: String| text))).csrf_exempt(),
        path("missing/", blocking(|| -> Result<Response> { Err(not_found("nothing here")) })),
        path("panic/", blocking(fall)),
        path("async/", async || wait(async { "never" })),
    ]);
    Project::new("blocking", "/nowhere").install(sessions::App).install(auth::App).urls(urls)
}

#[expect(clippy::panic, reason = "that is what is looked at")]
fn fall() -> &'static str {
    panic!("over the edge")
}

#[expect(clippy::needless_pass_by_value, reason = "a view is given what it takes")]
fn count(request: Request, Path(more): Path<i64>) -> Result<String> {
    drop(request.session().id());
    let users = wait(User::objects().count(&request))? as i64;
    let visits: i64 = wait(request.session().get("visits"))?.unwrap_or_default();
    wait(request.session().set("visits", visits + 1))?;
    Ok(format!("{} {visits}", users + more))
}

/// Renames everybody, or, to `nobody`, nobody.
#[expect(clippy::needless_pass_by_value, reason = "a view is given what it takes")]
fn rename(request: Request, Path(name): Path<String>) -> Result<String> {
    let changed = atomic(&request, |site| {
        let everybody = User::objects();
        wait(everybody.update(&site, |u| [u.first_name().set(&name)]))?;
        match name.as_str() {
            "nobody" => Err(Error::new("rolled back")),
            _ => wait(User::objects().filter(|u| u.first_name().eq(&name)).count(&site)),
        }
    });
    Ok(changed.map_or_else(|error| error.to_string(), |count| count.to_string()))
}

/// The same site with threads and with greenlets.
async fn both(door: &Door, set: impl Fn(&mut Settings)) -> [TestSite; 2] {
    let with = async |greenlets| {
        TestSite::with(project(door), |settings| {
            set(settings);
            settings.server.greenlets = greenlets;
        })
        .await
    };
    [with(0).await, with(2).await]
}

#[tokio::test]
async fn a_plain_function_takes_what_any_view_takes() {
    for site in both(&Door::new(), |_| ()).await {
        User::create_user(site.site(), "ann", "", None).await.unwrap();
        let client = site.client();
        assert_eq!(client.get("/count/4/").await.text(), "5 0");
        assert_eq!(client.get("/count/4/").await.text(), "5 1", "the session is kept");
        assert_eq!(
            client.call(http::Method::POST, "/echo/").body("text/plain", "hi").await.text(),
            "hi"
        );
        assert_eq!(client.get("/missing/").await.status(), 404);
        assert_eq!(client.get("/count/99999999999999999999/").await.status(), 404);
    }
}

#[tokio::test]
async fn a_transaction_of_plain_functions_commits_or_rolls_back() {
    for site in both(&Door::new(), |_| ()).await {
        User::create_user(site.site(), "ann", "", None).await.unwrap();
        let client = site.client();
        assert_eq!(client.get("/rename/Ann/").await.text(), "1");
        assert_eq!(client.get("/rename/nobody/").await.text(), "rolled back");
        let renamed = User::objects().filter(|u| u.first_name().eq("Ann"));
        assert_eq!(renamed.count(site.site()).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_next_request_is_served() {
    for site in both(&Door::new(), |settings| settings.server.thread_workers = 1).await {
        let client = site.client();
        for _ in 0..3 {
            let answer = client.get("/panic/").await;
            assert_eq!(answer.status(), 500);
            assert!(answer.error().unwrap().to_string().contains("over the edge"));
        }
        assert_eq!(client.get("/count/1/").await.status(), 200);
    }
}

#[tokio::test]
async fn waiting_in_async_code_is_told_what_to_do() {
    for site in both(&Door::new(), |_| ()).await {
        let answer = site.client().get("/async/").await;
        assert_eq!(answer.status(), 500);
        assert!(answer.error().unwrap().to_string().contains("write `.await` there"));
    }
}

#[tokio::test]
async fn who_finds_no_place_to_wait_in_is_sent_away() {
    let door = Door::new();
    let set = |settings: &mut Settings| {
        settings.server.thread_workers = 2;
        settings.server.blocking_queue = 1;
    };
    for site in both(&door, set).await {
        let client = site.client();
        let call = || tokio::spawn(client.get("/door/").into_future());
        let running = [call(), call()];
        door.has_seen(2).await;
        // One of these waits, whichever came first.
        let (answer, waiting) = match select(call(), call()).await {
            Either::Left((answer, waiting)) | Either::Right((answer, waiting)) => (answer, waiting),
        };
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.header("retry-after"), "1");
        door.opened.add_permits(3);
        for call in running.into_iter().chain([waiting]) {
            assert_eq!(call.await.unwrap().text(), "passed");
        }
        door.has_seen(1).await;
    }
}

#[tokio::test]
async fn who_goes_away_in_the_queue_is_never_served() {
    let door = Door::new();
    let set = |settings: &mut Settings| settings.server.thread_workers = 1;
    for (site, at_once) in both(&door, set).await.into_iter().zip([1, 2]) {
        let client = site.client();
        let before = door.passed.load(Ordering::Relaxed);
        let running: Vec<_> =
            (0..at_once).map(|_| tokio::spawn(client.get("/door/").into_future())).collect();
        door.has_seen(at_once).await;
        let gone = tokio::spawn(client.get("/door/").into_future());
        let last = tokio::spawn(client.get("/door/").into_future());
        while !gone.is_finished() {
            tokio::task::yield_now().await;
            gone.abort();
        }
        door.opened.add_permits(10);
        for call in running.into_iter().chain([last]) {
            assert_eq!(call.await.unwrap().text(), "passed");
        }
        let passed = door.passed.load(Ordering::Relaxed) - before;
        assert_eq!(passed, at_once as usize + 1, "not the one that has gone");
        let left = u32::try_from(door.opened.available_permits()).unwrap();
        door.opened.acquire_many(left).await.unwrap().forget();
        door.has_seen(1).await;
    }
}

#[tokio::test]
async fn a_greenlet_whose_client_goes_away_is_unwound() {
    struct Noted(Arc<Semaphore>);
    impl Drop for Noted {
        fn drop(&mut self) {
            self.0.add_permits(1);
        }
    }
    let (began, ended) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (begun, end) = (Arc::clone(&began), Arc::clone(&ended));
    let view = move || {
        let _noted = Noted(Arc::clone(&end));
        begun.add_permits(1);
        wait(std::future::pending::<()>());
        "never"
    };
    let project = Project::new("blocking", "/nowhere").urls(Urls::new([path("", blocking(view))]));
    let site = TestSite::with(project, |settings| settings.server.greenlets = 1).await;
    for _ in 0..3 {
        let call = tokio::spawn(site.client().get("/").into_future());
        began.acquire().await.unwrap().forget();
        call.abort();
        // Its place is free again, or the next one would wait for ever.
        ended.acquire().await.unwrap().forget();
    }
}

#[tokio::test]
async fn two_hundred_greenlets_wait_at_once() {
    let view = || {
        for _ in 0..2 {
            wait(sleep_until(Instant::now() + Duration::from_millis(50)));
        }
        "rested"
    };
    let project = Project::new("blocking", "/nowhere").urls(Urls::new([path("", blocking(view))]));
    let site = TestSite::with(project, |settings| settings.server.greenlets = 200).await;
    let client = site.client();
    client.get("/").await;
    let began = Instant::now();
    let calls: Vec<_> = (0..200).map(|_| tokio::spawn(client.get("/").into_future())).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().text(), "rested");
    }
    // Five threads would take four seconds.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
