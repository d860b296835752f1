//! Typed, ordered, awaited receivers.
