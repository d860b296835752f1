use std::sync::{Arc, Mutex};

use super::Signals;
use crate::error::Error;

type Heard = Arc<Mutex<Vec<String>>>;

#[derive(Debug)]
struct Saved(u32);
struct Deleted;

#[tokio::test]
async fn receivers_of_an_event_are_called_in_order() {
    let mut signals = Signals::<Heard>::default();
    for name in ["first", "second"] {
        signals.connect(move |heard: Heard, event: Arc<Saved>| async move {
            heard.lock().unwrap().push(format!("{name} {}", event.0));
            Ok(())
        });
    }
    signals.connect(|heard: Heard, _: Arc<Deleted>| async move {
        heard.lock().unwrap().push("deleted".into());
        Ok(())
    });
    let heard = Heard::default();
    signals.send(&heard, Saved(7)).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), ["first 7", "second 7"]);
    signals.send(&heard, Deleted).await.unwrap();
    signals.send(&heard, "nobody listens").await.unwrap();
    assert_eq!(heard.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_receiver_that_fails_stops_those_after_it() {
    let mut signals = Signals::<Heard>::default();
    signals.connect(|_: Heard, _: Arc<Saved>| async { Err(Error::new("no")) });
    signals.connect(|heard: Heard, _: Arc<Saved>| async move {
        heard.lock().unwrap().push("after".into());
        Ok(())
    });
    let heard = Heard::default();
    assert_eq!(signals.send(&heard, Saved(1)).await.unwrap_err().to_string(), "no");
    assert!(heard.lock().unwrap().is_empty());
}
