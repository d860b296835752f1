//! calculator: `add`, `subtract`, `multiply` and `divide` over JSON-RPC 2.0. One function answers a
//! message, whether a POST to `/` or a WebSocket at `/ws/` brought it.

mod rpc;
#[cfg(test)]
mod tests;

use hulse::http::{IntoResponse, StatusCode, post};
use hulse::prelude::*;

fn main() -> std::process::ExitCode {
    hulse_manage::run(project())
}

fn project() -> Project {
    Project::new("calculator", env!("CARGO_MANIFEST_DIR")).urls(Urls::new([
        // Programs call it; there is no cookie that a foreign page could misuse.
        path("", post(over_http)).csrf_exempt(),
        socket("ws/", || Calculator),
    ]))
}

async fn over_http(text: String) -> Response {
    match rpc::answer(&text) {
        Some(answer) => Json(answer).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

struct Calculator;

impl Consumer for Calculator {
    async fn receive(&mut self, socket: &mut Socket, text: &str) -> Result<()> {
        match rpc::answer(text) {
            Some(answer) => socket.send_json(&answer).await,
            None => Ok(()),
        }
    }
}
