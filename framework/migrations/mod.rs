//! State, diff, files, executor.
