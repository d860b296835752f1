//! Streams as answers to questions: for who gets nothing through but plain requests.

use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::BytesMut;
use http::{StatusCode, header};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::frames::{self, Refusal, Why};
use super::socket::return_window;
use super::transport::Wanted;
use super::visit::Visit;
use crate::channels::{Connection, frame_texts};

/// How long a question waits for something to be said.
const WAIT: Duration = Duration::from_secs(25);
/// How long who asks again counts as present between two questions.
const PRESENCE: Duration = WAIT.saturating_add(Duration::from_secs(5));
/// What one answer holds at most, bytes: the next question gets the rest.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Joins what is wanted, waits for something to say and says it.
pub(super) async fn answer(visit: Visit, wanted: &Wanted) -> Response {
    let mut visit = visit.present_for(PRESENCE);
    let wake = Arc::new(Notify::new());
    let connection = visit.request().layer().connect(Arc::clone(&wake));
    if let Err(refusal) = visit.admit(&connection).await {
        let list = format!("[{}]\n", refusal.text());
        let json = [(header::CONTENT_TYPE, "application/json")];
        return (refusal.why.status(), json, list).into_response();
    }
    let mut said = Vec::new();
    let mut refused = None;
    let mut has_joined = false;
    for (name, at) in &wanted.streams {
        if bytes(&said) >= ANSWER_BYTES_MAX {
            // The others are joined by the next question.
            break;
        }
        match visit.join(&connection, name, at.as_deref()).await {
            Ok(welcome) => {
                has_joined = true;
                if !welcome.recovered {
                    said.push(welcome.joined);
                    said.extend(welcome.history);
                }
            }
            Err(refusal) => {
                said.push(refusal.text());
                refused.get_or_insert(refusal.why.status());
            }
        }
    }
    if said.is_empty() {
        let wait = patience(wanted.wait);
        crate::http::give_up_place();
        // Who hears nothing is answered with nothing.
        let _in_time = timeout(wait, heard(&mut visit, &connection, &wake, &mut said)).await;
    } else if bytes(&said) < ANSWER_BYTES_MAX {
        take(&mut visit, &connection, &mut said).await;
    }
    let status = refused.filter(|_| !has_joined).unwrap_or(StatusCode::OK);
    let list = format!("[{}]\n", said.join(","));
    (status, [(header::CONTENT_TYPE, "application/json")], list).into_response()
}

fn bytes(said: &[String]) -> usize {
    said.iter().map(String::len).sum()
}

/// Ends when there is something to say: more than that the one who asks has come.
async fn heard(visit: &mut Visit, connection: &Connection, wake: &Notify, said: &mut Vec<String>) {
    let lifecycle = visit.request().lifecycle().clone();
    loop {
        take(visit, connection, said).await;
        if said.iter().any(|text| !visit.is_own_arrival(text)) {
            return;
        }
        tokio::select! {
            biased;
            () = lifecycle.draining() => {
                said.push(frames::drain(return_window(visit.request())));
                return;
            }
            () = wake.notified() => {}
        }
    }
}

/// Adds what the groups have.
async fn take(visit: &mut Visit, connection: &Connection, said: &mut Vec<String>) {
    let mut frames = BytesMut::new();
    let drained = connection.drain(&mut frames, ANSWER_BYTES_MAX);
    frame_texts(&frames.freeze(), |text| said.push(text.to_owned()));
    if let Some(doubt) = drained.doubt {
        said.extend(visit.ask_again(connection).await);
        connection.settle(doubt);
    }
    if connection.is_closed() {
        // What it was opened for has ended: the next question is who it is now.
        said.push(Refusal::new(Why::Denied).text());
    }
    if drained.is_overrun {
        said.push(Refusal::new(Why::Unavailable).text());
    }
}

/// How long to wait if `seconds` are asked for.
fn patience(seconds: Option<u64>) -> Duration {
    seconds.map_or(WAIT, Duration::from_secs).min(WAIT)
}

#[cfg(test)]
mod tests {
    use super::patience;

    #[test]
    fn a_question_waits_for_25_seconds_at_most() {
        let check = |asked, expected| assert_eq!(patience(asked).as_secs(), expected);
        check(None, 25);
        check(Some(0), 0);
        check(Some(24), 24);
        check(Some(u64::MAX), 25);
    }
}
