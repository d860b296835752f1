//! Sends without a socket: one frame in a POST, or a list of them.

use axum::body::{Body, to_bytes};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::Value;

use super::frames::{self, FRAME_BYTES_MAX, Refusal, Said, Why};
use super::visit::Visit;

/// Frames in one POST.
const FRAMES_MAX: usize = 100;

/// Answers a POST: with one frame for one, with a list for a list.
pub(super) async fn answer(visit: &mut Visit, headers: &HeaderMap, body: Body) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    // A form of a foreign page cannot say so, whatever it does with its Origin.
    if !kind.eq_ignore_ascii_case("application/json") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, "a send is JSON\n").into_response();
    }
    let Ok(body) = to_bytes(body, FRAME_BYTES_MAX).await else {
        return one(Err(Refusal::new(Why::TooLarge)));
    };
    match serde_json::from_slice(&body) {
        Err(_) => one(Err(Refusal::bad("this is no JSON"))),
        Ok(Value::Array(list)) if list.len() > FRAMES_MAX => one(Err(Refusal::new(Why::TooMany))),
        Ok(Value::Array(list)) => {
            let mut answers = Vec::with_capacity(list.len());
            for frame in list {
                answers.push(send(visit, frame).await.unwrap_or_else(|refusal| refusal.text()));
            }
            json(StatusCode::OK, format!("[{}]\n", answers.join(",")))
        }
        Ok(frame) => one(send(visit, frame).await),
    }
}

async fn send(visit: &mut Visit, frame: Value) -> Result<String, Refusal> {
    match frames::said(frame)? {
        Said::Send(sent) => visit.send_alone(&sent).await,
        Said::Hello(_) | Said::Join { .. } | Said::Leave(_) | Said::Ping => {
            Err(Refusal::bad("a POST sends; streams are joined with a GET"))
        }
    }
}

fn one(answer: Result<String, Refusal>) -> Response {
    match answer {
        Ok(text) => json(StatusCode::OK, text),
        Err(refusal) => json(refusal.why.status(), refusal.text()),
    }
}

fn json(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}
