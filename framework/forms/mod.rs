//! Forms: what a login page needs.
