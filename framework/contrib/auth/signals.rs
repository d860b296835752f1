//! What the app tells the project's receivers (`Project::on`).

use std::collections::BTreeMap;

use super::models::User;
use crate::http::Request;

/// Somebody has signed in.
#[derive(Clone, Debug)]
pub struct UserLoggedIn {
    /// The request that did it.
    pub request: Request,
    /// Who.
    pub user: User,
}

/// Somebody has signed out.
#[derive(Clone, Debug)]
pub struct UserLoggedOut {
    /// The request that did it.
    pub request: Request,
    /// Who it was; `None` for a visitor who was not signed in.
    pub user: Option<User>,
}

/// Somebody could not prove who they are.
#[derive(Clone, Debug)]
pub struct UserLoginFailed {
    /// What was said, secrets as stars.
    pub credentials: BTreeMap<String, String>,
    /// The request, if it was one.
    pub request: Option<Request>,
}
