//! randomgraph: a page draws a random walk while the server makes it up, ten numbers a second over
//! a WebSocket. Each page has a walk of its own, which ends with it.

use std::time::Duration;

use hulse::contrib::staticfiles;
use hulse::prelude::*;
use tokio::time::interval;

/// Between two numbers.
const PAUSE: Duration = Duration::from_millis(100);
/// The largest number; the smallest is 0.
const TOP: f64 = 100.0;
/// The longest step of the walk.
const STEP: f64 = 6.0;

fn main() -> std::process::ExitCode {
    hulse_manage::run(project())
}

fn project() -> Project {
    Project::new("randomgraph", env!("CARGO_MANIFEST_DIR"))
        .install(staticfiles::App)
        .assets(hulse::assets!())
        .urls(Urls::new([path("", index), socket("numbers/", || Walk).name("numbers")]))
}

async fn index(request: Request) -> Result<Response> {
    render(&request, "graph/index.html", context! { top: TOP }).await
}

struct Walk;

impl Consumer for Walk {
    async fn connect(&mut self, socket: &mut Socket) -> Result<()> {
        socket.accept().await?;
        let page = socket.reply().clone();
        socket.spawn(async move {
            let (mut ticks, mut value) = (interval(PAUSE), TOP / 2.0);
            loop {
                ticks.tick().await;
                value = next(value, rand::random_range(-STEP..=STEP));
                page.send_json(&json!({ "value": value })).await?;
            }
        })
    }
}

/// The number after `value`; a step over the edge leads back as far.
fn next(value: f64, step: f64) -> f64 {
    let to = value + step;
    let inside = if (0.0..=TOP).contains(&to) { to } else { value - step };
    (inside * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use hulse::test::TestSite;
    use serde_json::Value;

    use super::{TOP, next, project};

    #[test]
    fn a_walk_stays_between_its_ends() {
        assert_eq!(next(50.0, 5.0), 55.0);
        assert_eq!(next(98.0, 5.0), 93.0);
        assert_eq!(next(2.0, -5.0), 7.0);
        assert_eq!(next(50.0, 0.04), 50.0);
    }

    #[tokio::test]
    async fn a_page_gets_its_numbers_one_after_the_other() {
        let site = TestSite::new(project()).await;
        let page = site.client().get("/").await;
        page.assert_contains("/static/graph/graph.js")
            .assert_contains("data-numbers=\"/numbers/\"");
        let mut socket = site.socket("/numbers/").await;
        let mut value = TOP / 2.0;
        for _ in 0..5 {
            let sent: Value = socket.receive_json().await;
            let sent = sent["value"].as_f64().expect("a number");
            assert!((sent - value).abs() <= 6.1, "{sent} after {value}");
            value = sent;
        }
        for file in ["graph.js", "graph.css", "icon.svg"] {
            assert_eq!(site.client().get(&format!("/static/graph/{file}")).await.status(), 200);
        }
    }
}
