//! The layer's contract, one suite on every layer: each case is a test of `memory`, `pulse`, ...
//!
//! A case takes [`On`], the layer it is on, asks it for workers and says what must hold. Cases that
//! kill something only some layers have stand by themselves, in `restart`.

/// Makes a test of each case on each layer: `groups::pulse::twice_is_once`.
macro_rules! on_every_layer {
    ($($case:ident),+ $(,)?) => {
        mod memory {
            use crate::channels::cluster::On;
            $(#[tokio::test]
            async fn $case() {
                super::$case(On::memory()).await;
            })+
        }
        mod pulse {
            use crate::channels::cluster::On;
            $(#[tokio::test]
            async fn $case() {
                super::$case(On::pulse()).await;
            })+
        }
        mod redis {
            use crate::channels::cluster::On;
            $(#[tokio::test]
            async fn $case() {
                if let Some(on) = On::redis(1) {
                    super::$case(on).await;
                }
            })+
        }
        mod redis_in_three_shards {
            use crate::channels::cluster::On;
            $(#[tokio::test]
            async fn $case() {
                if let Some(on) = On::redis(3) {
                    super::$case(on).await;
                }
            })+
        }
    };
}

mod basic;
mod capacity;
mod cluster;
mod groups;
mod inspect;
mod named;
mod names;
mod once;
mod order;
mod presence;
mod redis_faults;
mod redis_keeps;
mod redis_schedules;
mod restart;
mod resume;
mod transactions;
mod values;
