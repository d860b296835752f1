//! Apps that come with the framework, all of one shape.

pub mod auth;
pub mod publish;
pub mod sessions;
pub mod staticfiles;
