//! Blocking views under a real `pulse`: on threads, and as greenlets, from one source.

use hulse_tests::{Program, Pulse, Surroundings, Visitor};

/// Requests at once.
const REQUESTS: usize = 200;

/// Starts the testsite with room for all requests to wait in.
async fn start(arguments: &[&str]) -> Pulse {
    let queue = ("HULSE_SERVER__BLOCKING_QUEUE".to_owned(), REQUESTS.to_string());
    let program = Program::Testsite;
    let surroundings = Surroundings { program, environment: vec![queue], ..Default::default() };
    Pulse::start_in(surroundings, &[&["-w", "1"], arguments].concat()).await
}

/// Has a plain function called that asks the database five times, for each of the requests at once;
/// the name of the thread it ran on.
async fn ask_all(pulse: &Pulse) -> String {
    let call = |number| {
        let mut visitor = Visitor::new(pulse.address());
        tokio::spawn(async move { visitor.get(&format!("/plain/{number}/")).await })
    };
    let mut threads = Vec::new();
    for call in (0..REQUESTS).map(call).collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        threads.push(answer.body);
    }
    let rows = Visitor::new(pulse.address()).get("/rows/").await.body;
    assert_eq!(rows, REQUESTS.to_string(), "each row is there once");
    threads.dedup();
    assert_eq!(threads.len(), 1, "{threads:?}");
    threads.remove(0)
}

#[tokio::test]
async fn one_source_runs_on_threads_and_as_greenlets() {
    let pulse = start(&["--thread-workers", "3"]).await;
    assert_ne!(ask_all(&pulse).await, "greenlets");
    assert_eq!(pulse.stop().await, 0);
    let pulse = start(&["--greenlet"]).await;
    assert_eq!(ask_all(&pulse).await, "greenlets");
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn a_stack_that_overflows_costs_its_worker_and_no_more() {
    let mut pulse = start(&["--greenlet", "2"]).await;
    let address = pulse.address().to_owned();
    let lost = tokio::spawn(async move { Visitor::new(&address).get("/overflow/").await });
    pulse.said("worker 1 died (signal").await;
    assert!(lost.await.is_err(), "there is no answer");
    assert_eq!(Visitor::new(pulse.address()).get("/").await.status, 200);
    assert_eq!(pulse.stop().await, 0);
}
