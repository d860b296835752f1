//! What a worker counts, and how it is told: for the metrics.
//!
//! Flow: `serve` and `watch` count → every few heartbeats [`Figures::snapshot`] goes to the arbiter
//! → `monitor` adds all workers up.
//!
//! Invariant: counting takes no lock; a name is made when it is told, not when it is counted.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use crate::server::visitors::watch::Cut;

/// Upper ends of the histogram's buckets, milliseconds.
const BUCKETS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000];

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"];

/// What is told: series by their Prometheus name (`hulse_requests_total{method="GET",..}`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Snapshot {
    /// They only grow, as long as the process lives.
    pub(super) counters: BTreeMap<String, u64>,
    /// They are as they are now.
    pub(super) gauges: BTreeMap<String, u64>,
}

/// A worker's counters.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// By method and class of status, 1xx to 5xx.
    requests: [[AtomicU64; 5]; METHODS.len()],
    durations: [AtomicU64; BUCKETS.len() + 1],
    duration_micros: AtomicU64,
    in_flight: AtomicI64,
    connections: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    cut: [AtomicU64; 3],
    slow_bodies: AtomicU64,
    refused: AtomicU64,
    shed: AtomicU64,
    crowded: AtomicU64,
}

fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Figures {
    pub(super) fn connected(&self) {
        one(&self.connections);
    }

    pub(super) fn read(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn wrote(&self, bytes: usize) {
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn cut(&self, why: Cut) {
        one(match why {
            Cut::Header => &self.cut[0],
            Cut::KeepAlive => &self.cut[1],
            Cut::Write => &self.cut[2],
        });
    }

    pub(super) fn slow_body(&self) {
        one(&self.slow_bodies);
    }

    pub(super) fn refused(&self) {
        one(&self.refused);
    }

    pub(super) fn shed(&self) {
        one(&self.shed);
    }

    pub(super) fn crowded(&self) {
        one(&self.crowded);
    }

    pub(super) fn begun(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// The head of an answer is there.
    pub(super) fn answered(&self, method: &Method, status: StatusCode, took: Duration) {
        let known = METHODS.iter().position(|name| *name == method.as_str());
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        one(&self.requests[known.unwrap_or(METHODS.len() - 1)][class]);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let bucket = BUCKETS.iter().position(|end| millis < *end).unwrap_or(BUCKETS.len());
        one(&self.durations[bucket]);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.duration_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// And its end.
    pub(super) fn ended(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let mut told = Snapshot::default();
        for (method, classes) in METHODS.iter().zip(&self.requests) {
            for (class, count) in (1..).zip(classes) {
                let name =
                    format!("hulse_requests_total{{method=\"{method}\",status=\"{class}xx\"}}");
                told.count(&name, count);
            }
        }
        let mut below = 0;
        for (end, count) in BUCKETS.iter().zip(&self.durations) {
            below += count.load(Ordering::Relaxed);
            let mut seconds = String::new();
            // Writing into text does not fail.
            let _never = write!(seconds, "{}.{:03}", end / 1000, end % 1000);
            told.add(&format!("hulse_request_seconds_bucket{{le=\"{seconds}\"}}"), below);
        }
        let all = below + self.durations[BUCKETS.len()].load(Ordering::Relaxed);
        told.add("hulse_request_seconds_bucket{le=\"+Inf\"}", all);
        told.add("hulse_request_seconds_count", all);
        told.count("hulse_request_seconds_sum", &self.duration_micros);
        told.count("hulse_connections_total", &self.connections);
        told.count("hulse_bytes_total{direction=\"in\"}", &self.bytes_in);
        told.count("hulse_bytes_total{direction=\"out\"}", &self.bytes_out);
        told.count("hulse_clients_cut_total{why=\"header\"}", &self.cut[0]);
        told.count("hulse_clients_cut_total{why=\"keep_alive\"}", &self.cut[1]);
        told.count("hulse_clients_cut_total{why=\"write\"}", &self.cut[2]);
        told.count("hulse_clients_cut_total{why=\"body\"}", &self.slow_bodies);
        told.count("hulse_requests_refused_total", &self.refused);
        told.count("hulse_requests_shed_total", &self.shed);
        told.count("hulse_connections_refused_total", &self.crowded);
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        told.gauge("hulse_requests_in_flight", u64::try_from(in_flight).unwrap_or(0));
        told
    }
}

impl Snapshot {
    fn count(&mut self, name: &str, counter: &AtomicU64) {
        self.add(name, counter.load(Ordering::Relaxed));
    }

    /// A counter.
    pub(super) fn add(&mut self, name: &str, value: u64) {
        *self.counters.entry(name.to_owned()).or_default() += value;
    }

    pub(super) fn gauge(&mut self, name: &str, value: u64) {
        *self.gauges.entry(name.to_owned()).or_default() += value;
    }

    /// Adds another's on top.
    pub(super) fn merge(&mut self, other: &Self) {
        for (name, value) in &other.counters {
            self.add(name, *value);
        }
        for (name, value) in &other.gauges {
            self.gauge(name, *value);
        }
    }

    /// What Prometheus reads (text format 0.0.4).
    pub(super) fn text(&self) -> String {
        let counters = self.counters.iter().map(|(name, value)| (name, value, "counter"));
        let gauges = self.gauges.iter().map(|(name, value)| (name, value, "gauge"));
        let mut series: Vec<_> = counters.chain(gauges).collect();
        // A histogram's buckets stand in the order of their ends.
        series.sort_by(|(a, ..), (b, ..)| {
            let family = |name| of_family(name, "").0;
            family(a).cmp(family(b)).then(end(a).total_cmp(&end(b))).then(a.cmp(b))
        });
        let mut text = String::new();
        let mut last = String::new();
        for (name, value, kind) in series {
            let (family, kind) = of_family(name, kind);
            // Writing into text does not fail.
            if family != last {
                family.clone_into(&mut last);
                let _never = writeln!(text, "# TYPE {family} {kind}");
            }
            let _never = match name.strip_suffix("_sum") {
                // Counted in microseconds.
                Some(_) => writeln!(text, "{name} {}.{:06}", value / 1_000_000, value % 1_000_000),
                None => writeln!(text, "{name} {value}"),
            };
        }
        text
    }
}

/// The end of the bucket that a series is; of another series none.
fn end(name: &str) -> f64 {
    let end = name.split_once("le=\"").and_then(|(_, rest)| rest.split('"').next());
    match end {
        Some("+Inf") => f64::INFINITY,
        Some(end) => end.parse().unwrap_or(0.0),
        None if name.contains("_bucket") => 0.0,
        // Sum and count stand behind the buckets.
        None => f64::INFINITY,
    }
}

/// The family a series belongs to, and what kind it is.
fn of_family<'a>(name: &'a str, kind: &'static str) -> (&'a str, &'static str) {
    let bare = name.split('{').next().unwrap_or(name);
    let ends = ["_bucket", "_count", "_sum"];
    match ends.iter().find_map(|end| bare.strip_suffix(end)) {
        Some(histogram) => (histogram, "histogram"),
        None => (bare, kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_workers_tell_is_added_up_and_written_in_order() {
        let figures = Figures::default();
        figures.begun();
        figures.answered(&Method::GET, StatusCode::OK, Duration::from_millis(3));
        figures.answered(
            &Method::from_bytes(b"BREW").unwrap(),
            StatusCode::NOT_FOUND,
            Duration::from_secs(60),
        );
        let mut told = figures.snapshot();
        told.merge(&figures.snapshot());
        let text = told.text();
        let has = |line: &str| assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        has("# TYPE hulse_requests_total counter");
        has("hulse_requests_total{method=\"GET\",status=\"2xx\"} 2");
        has("hulse_requests_total{method=\"other\",status=\"4xx\"} 2");
        has("hulse_requests_in_flight 2");
        has("# TYPE hulse_request_seconds histogram");
        has("hulse_request_seconds_bucket{le=\"0.002\"} 0");
        has("hulse_request_seconds_bucket{le=\"0.005\"} 2");
        has("hulse_request_seconds_bucket{le=\"+Inf\"} 4");
        has("hulse_request_seconds_sum 120.006000");
        let ends: Vec<f64> = text.lines().filter(|l| l.contains("_bucket")).map(end).collect();
        assert!(ends.is_sorted() && ends.len() == BUCKETS.len() + 1, "{ends:?}");
        assert_eq!(text.matches("# TYPE hulse_request_seconds ").count(), 1);
    }
}
