//! What must not compile, and with which words (trybuild).
