//! Static files, served safely.
