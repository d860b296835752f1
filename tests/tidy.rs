//! Rules of this repository that neither rustfmt nor clippy knows.
