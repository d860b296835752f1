//! Streams as server-sent events: for who cannot open a WebSocket, and for programs that only
//! listen.
//!
//! Flow: the streams of the URL are joined, each from where `Last-Event-ID` or `at=` says → their
//! answers, then their messages, each an event whose `id` is where all streams are → until the
//! client goes, lags too far, or the server drains.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use rand::RngExt;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::frames::{self, Refusal, Why, place};
use super::socket::return_window;
use super::transport::Wanted;
use super::visit::{Visit, Welcome};
use crate::channels::{Connection, frame_texts};

/// What is handed to the connection at once, bytes.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// One client that listens.
struct Listener {
    visit: Visit,
    connection: Connection,
    wake: Arc<Notify>,
    places: Places,
    /// Events of the joins so far.
    first: Option<String>,
    /// What is to be joined still: one after the other, each when the last has been taken.
    coming: VecDeque<(String, Option<String>)>,
    is_over: bool,
}

/// Where each stream of the URL is, in its order.
struct Places(Vec<(String, String)>);

/// Joins what is wanted and answers with events.
pub(super) async fn answer(mut visit: Visit, wanted: &Wanted) -> Response {
    let wake = Arc::new(Notify::new());
    let connection = visit.request().layer().connect(Arc::clone(&wake));
    if let Err(refusal) = visit.admit(&connection).await {
        return (refusal.why.status(), format!("data: {}\n\n", refusal.text())).into_response();
    }
    let mut places = Places::new(wanted);
    let mut first = String::new();
    let mut refused = None;
    let mut has_joined = false;
    let mut coming = VecDeque::from(wanted.streams.clone());
    while !has_joined && let Some((name, at)) = coming.pop_front() {
        let joined = visit.join(&connection, &name, at.as_deref()).await;
        has_joined = joined.is_ok();
        if let Some(why) = places.put_join(joined, &mut first) {
            refused.get_or_insert(why.status());
        }
    }
    let status = refused.filter(|_| !has_joined).unwrap_or(StatusCode::OK);
    let body = if has_joined {
        let listener = Listener {
            visit,
            connection,
            wake,
            places,
            first: Some(first),
            coming,
            is_over: false,
        };
        Body::from_stream(stream::unfold(listener, |mut listener| async move {
            let events = listener.next().await?;
            Some((Ok::<_, std::convert::Infallible>(Bytes::from(events)), listener))
        }))
    } else {
        Body::from(first)
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        // nginx would wait for more.
        (header::HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (status, headers, body).into_response()
}

impl Listener {
    /// What is to be written next; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        if let Some((name, at)) = self.coming.pop_front() {
            let joined = self.visit.join(&self.connection, &name, at.as_deref()).await;
            let mut events = String::new();
            self.places.put_join(joined, &mut events);
            return Some(events);
        }
        let lifecycle = self.visit.request().lifecycle().clone();
        let patience = self.visit.request().settings().server.ping_interval;
        while !self.is_over {
            let mut frames = BytesMut::new();
            let drained = self.connection.drain(&mut frames, PIECE_BYTES_MAX);
            let mut events = String::new();
            frame_texts(&frames.freeze(), |text| self.places.put(text, &mut events));
            if let Some(doubt) = drained.doubt {
                let told = self.visit.ask_again(&self.connection).await;
                told.iter().for_each(|text| self.places.put(text, &mut events));
                self.connection.settle(doubt);
            }
            if self.connection.is_closed() {
                // What it was opened for has ended: it comes back as who it is now.
                self.is_over = true;
                self.places.put(&Refusal::new(Why::Denied).text(), &mut events);
            }
            if drained.is_overrun {
                // It comes back and is told what it is told at a gap.
                self.is_over = true;
                self.places.put(&Refusal::new(Why::Unavailable).text(), &mut events);
            }
            if !events.is_empty() {
                return Some(events);
            }
            tokio::select! {
                biased;
                () = lifecycle.draining() => return Some(self.farewell()),
                () = self.wake.notified() => {}
                () = sleep(Duration::from_secs(patience.max(1))) => return Some(":\n\n".to_owned()),
            }
        }
        None
    }

    /// The last words: also for a browser that comes back by itself.
    fn farewell(&mut self) -> String {
        self.is_over = true;
        let (min, max) = return_window(self.visit.request());
        let mut events = format!("retry: {}\n", rand::rng().random_range(min..=max));
        self.places.put(&frames::drain((min, max)), &mut events);
        events
    }
}

impl Places {
    fn new(wanted: &Wanted) -> Self {
        let places = wanted.streams.iter().map(|(name, at)| {
            let at = at.as_deref().filter(|at| at.parse::<super::Position>().is_ok());
            (Value::from(name.as_str()).to_string(), at.unwrap_or_default().to_owned())
        });
        Self(places.collect())
    }

    /// Adds the events of a join; why it was refused, if it was.
    fn put_join(&mut self, joined: Result<Welcome, Refusal>, events: &mut String) -> Option<Why> {
        match joined {
            Ok(welcome) => {
                self.put(&welcome.joined, events);
                welcome.history.iter().for_each(|text| self.put(text, events));
                None
            }
            Err(refusal) => {
                self.put(&refusal.text(), events);
                Some(refusal.why)
            }
        }
    }

    /// Adds the event of a frame, which is one line.
    fn put(&mut self, text: &str, events: &mut String) {
        if let Some((stream, at)) = place(text) {
            if let Some((_, known)) = self.0.iter_mut().find(|(name, _)| name == stream) {
                at.clone_into(known);
            }
            let all: Vec<&str> = self.0.iter().map(|(_, at)| at.as_str()).collect();
            events.push_str(&format!("id: {}\n", all.join(",")));
        }
        events.push_str(&format!("data: {text}\n\n"));
    }
}
