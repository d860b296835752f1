//! Who may call a view, said by its arguments: `async fn write(user: Only<May<Add, Post>>)`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use super::current::CurrentUser;
use super::gates::refuse;
use crate::error::Result;
use crate::http::Request;
use crate::models::Model;
use crate::site::Site;

/// What is demanded of who calls a view. A site writes its own:
///
/// ```
/// use hulse::contrib::auth::{CurrentUser, Demand, Only};
/// use hulse::prelude::*;
///
/// struct Publisher;
///
/// impl Demand for Publisher {
///     async fn is_met(user: &CurrentUser, request: &Request) -> Result<bool> {
///         user.has_perm(request, "blog.publish_post").await
///     }
/// }
///
/// async fn publish(user: Only<Publisher>) -> String {
///     format!("published by {}", user.username)
/// }
/// # let _ = Urls::new([path("publish/", publish)]);
/// ```
pub trait Demand: Send + Sync + 'static {
    /// Whether this visitor fulfils it; implementors write `async fn`.
    ///
    /// # Errors
    /// It cannot be told.
    fn is_met(user: &CurrentUser, request: &Request) -> impl Future<Output = Result<bool>> + Send;
}

/// An extractor: the visitor, who fulfils `D`; it derefs to the [`CurrentUser`]. Who is not signed
/// in is sent to the login page and comes back, everybody else is answered with 403.
pub struct Only<D: Demand> {
    user: CurrentUser,
    demand: PhantomData<fn() -> D>,
}

/// Whoever is signed in.
#[derive(Clone, Copy, Debug)]
pub struct SignedIn;

/// Who may enter the admin (`is_staff`).
#[derive(Clone, Copy, Debug)]
pub struct Staff;

/// Who may do everything.
#[derive(Clone, Copy, Debug)]
pub struct Superuser;

/// Who may do `A` with the rows of `M`: `Only<May<Change, Post>>` is `blog.change_post`.
#[derive(Clone, Copy, Debug)]
pub struct May<A: Action, M: Model>(PhantomData<fn() -> (A, M)>);

/// What may be done with the rows of every model: [`Add`], [`Change`], [`Delete`], [`View`].
pub trait Action: Send + Sync + 'static {
    /// What codenames begin with.
    const WORD: &'static str;
}

/// Making rows.
#[derive(Clone, Copy, Debug)]
pub struct Add;

/// Changing rows.
#[derive(Clone, Copy, Debug)]
pub struct Change;

/// Deleting rows.
#[derive(Clone, Copy, Debug)]
pub struct Delete;

/// Looking at rows.
#[derive(Clone, Copy, Debug)]
pub struct View;

impl Action for Add {
    const WORD: &'static str = "add";
}

impl Action for Change {
    const WORD: &'static str = "change";
}

impl Action for Delete {
    const WORD: &'static str = "delete";
}

impl Action for View {
    const WORD: &'static str = "view";
}

impl Demand for SignedIn {
    async fn is_met(user: &CurrentUser, _: &Request) -> Result<bool> {
        Ok(user.is_authenticated())
    }
}

impl Demand for Staff {
    async fn is_met(user: &CurrentUser, _: &Request) -> Result<bool> {
        Ok(user.is_active && user.is_staff)
    }
}

impl Demand for Superuser {
    async fn is_met(user: &CurrentUser, _: &Request) -> Result<bool> {
        Ok(user.is_active && user.is_superuser)
    }
}

impl<A: Action, M: Model> Demand for May<A, M> {
    async fn is_met(user: &CurrentUser, request: &Request) -> Result<bool> {
        let (meta, action) = (M::meta(), A::WORD);
        let permission = format!("{}.{action}_{}", meta.app, meta.model.to_lowercase());
        user.has_perm(request, &permission).await
    }
}

impl<D: Demand> Only<D> {
    /// The visitor.
    #[must_use]
    pub fn into_user(self) -> CurrentUser {
        self.user
    }
}

impl<D: Demand> Deref for Only<D> {
    type Target = CurrentUser;

    fn deref(&self) -> &CurrentUser {
        &self.user
    }
}

impl<D: Demand> fmt::Debug for Only<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Only").field(&self.user.user()).finish()
    }
}

impl<D: Demand> FromRequestParts<Site> for Only<D> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Response> {
        let Ok(request) = Request::from_request_parts(parts, site).await;
        let user = request.user().await.map_err(IntoResponse::into_response)?;
        match D::is_met(&user, &request).await {
            Ok(true) => Ok(Self { user, demand: PhantomData }),
            Ok(false) => Err(refuse(&request, &user, "the view's demand")),
            Err(error) => Err(error.into_response()),
        }
    }
}
