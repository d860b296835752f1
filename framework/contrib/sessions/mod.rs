//! Sessions: a cookie and a row.
