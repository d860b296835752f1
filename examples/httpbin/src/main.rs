//! httpbin: says back what was asked, answers with any status, waits, streams and redirects; a
//! subset of httpbin.org, to try clients with.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use hulse::http::{IntoResponse, StatusCode, any, bad_request, get, pairs};
use hulse::prelude::*;

/// Longest delay, seconds, as httpbin.org has it.
const DELAY_SECONDS_MAX: u64 = 10;
/// Most redirects in a row.
const REDIRECTS_MAX: u32 = 20;
/// Most bytes that are made up.
const BYTES_MAX: usize = 102_400;

fn main() -> std::process::ExitCode {
    hulse_manage::run(project())
}

fn project() -> Project {
    Project::new("httpbin", env!("CARGO_MANIFEST_DIR")).urls(Urls::new([
        path("anything", any(anything)).csrf_exempt(),
        path("anything/<path:rest>", any(anything)).csrf_exempt(),
        path(
            "headers",
            get(async |request: Request| Json(json!({ "headers": headers(&request) }))),
        ),
        path("status/<int:code>", any(status)).csrf_exempt(),
        path("delay/<int:seconds>", any(delay)).csrf_exempt(),
        path("redirect/<int:count>", get(again)).name("redirect"),
        path("bytes/<int:count>", get(bytes)),
    ]))
}

/// All that the request is.
async fn anything(request: Request, body: String) -> Json<serde_json::Value> {
    let query = request.uri().query().unwrap_or_default();
    let arguments: BTreeMap<_, _> = pairs(query.as_bytes()).collect();
    Json(json!({
        "method": request.method().as_str(),
        "url": format!("{}://{}{}", request.scheme(), request.host(), request.full_path()),
        "args": arguments,
        "headers": headers(&request),
        "data": body,
        "json": serde_json::from_str::<serde_json::Value>(&body).ok(),
    }))
}

fn headers(request: &Request) -> BTreeMap<&str, String> {
    let headers = request.headers().iter();
    headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("?").into())).collect()
}

async fn status(Path(code): Path<u16>) -> Result<Response> {
    let status = StatusCode::from_u16(code).ok().filter(|_| code >= 200);
    let status = status.ok_or_else(|| bad_request("a status is from 200 to 999"))?;
    Ok((status, format!("{status}\n")).into_response())
}

async fn delay(request: Request, Path(seconds): Path<u64>, body: String) -> impl IntoResponse {
    tokio::time::sleep(Duration::from_secs(seconds.min(DELAY_SECONDS_MAX))).await;
    anything(request, body).await
}

/// Redirects so many times, then to where everything is said.
async fn again(request: Request, Path(count): Path<u32>) -> Result<Response> {
    match count.min(REDIRECTS_MAX) {
        0 | 1 => redirect(&request, "/anything"),
        count => redirect(&request, &request.reverse("redirect", &[&(count - 1)])?),
    }
}

/// So many bytes, the same each time.
async fn bytes(Path(count): Path<usize>) -> Vec<u8> {
    (0..=u8::MAX).cycle().take(count.min(BYTES_MAX)).collect()
}
