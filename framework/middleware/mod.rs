//! The pieces of the ordered stack; `server/handler` puts them in order.
