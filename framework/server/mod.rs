//! `pulse`: arbiter, store, workers.
