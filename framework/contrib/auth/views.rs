//! The pages for signing in and out.

use std::fmt::Display;

use axum::response::IntoResponse;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, RETRY_AFTER};

use super::{Credentials, authenticate_with, login, logout};
use crate::context;
use crate::error::{Error, Result};
use crate::forms::{Form, FormData, TextForm};
use crate::http::{Request, Response, is_safe_next, redirect, render};
use crate::urls::Matched;

/// One sentence for an unknown name, a wrong password and a closed account.
const REFUSED: &str = "Please enter a correct username and password. Note that both fields may be \
                       case-sensitive.";

/// One sentence for whoever tries too often, or whose account is tried.
const TOO_MANY: &str = "Too many attempts to sign in. Please try again later.";

/// The form.
pub(super) async fn show(request: Request) -> Result<Response> {
    let next = request.query("next").unwrap_or_default();
    page(&request, &Form::new(), &next).await
}

/// The form, filled in.
pub(super) async fn submit(request: Request, TextForm(mut data): TextForm) -> Result<Response> {
    let next = wanted_next(&request, &data);
    let password = data.get("password").unwrap_or_default().to_owned();
    data.remove("password");
    let mut form = Form::of(data);
    let username = form.required("username");
    if password.is_empty() {
        form.errors.add("password", "This field is required.");
    }
    if form.is_valid() {
        let said = Credentials::new(&username, &password);
        let known = match authenticate_with(&request, Some(&request), &said).await {
            Err(error) if error.retry_after().is_some() => {
                return too_many(&request, form, &next, error).await;
            }
            known => known?,
        };
        if let Some(user) = known {
            login(&request, &user).await?;
            let home = &request.settings().auth.login_redirect_url;
            return redirect(&request, safe(&request, &next).unwrap_or(home));
        }
        form.fail(REFUSED);
    }
    page(&request, &form, &next).await
}

/// The form again, for who has to wait.
async fn too_many(
    request: &Request,
    mut form: Form,
    next: &str,
    refused: Error,
) -> Result<Response> {
    form.fail(TOO_MANY);
    let mut response = page(request, &form, next).await?;
    let refused = refused.into_response();
    *response.status_mut() = refused.status();
    response
        .headers_mut()
        .extend(refused.headers().get(RETRY_AFTER).map(|after| (RETRY_AFTER, after.clone())));
    Ok(response)
}

/// Signs out. Only ever a POST: a link or an image must not be able to do it.
pub(super) async fn leave(request: Request, TextForm(data): TextForm) -> Result<Response> {
    logout(&request).await?;
    let next = wanted_next(&request, &data);
    let home = request.settings().auth.logout_redirect_url.as_str();
    match safe(&request, &next).unwrap_or(home) {
        "" => render(&request, "registration/logged_out.html", context! {}).await.map(not_cached),
        target => redirect(&request, target),
    }
}

async fn page(request: &Request, form: &Form, next: &str) -> Result<Response> {
    let reset_url = sibling(request, "password_reset", &[])?;
    let context = context! { form, next, reset_url };
    render(request, "registration/login.html", context).await.map(not_cached)
}

/// Where the visitor wants to go: the form's word counts more than the URL's.
fn wanted_next(request: &Request, data: &FormData) -> String {
    data.get("next").map(str::to_owned).or_else(|| request.query("next")).unwrap_or_default()
}

fn safe<'n>(request: &Request, next: &'n str) -> Option<&'n str> {
    // Without a slash it would be taken for the name of a URL.
    let is_safe = is_safe_next(next, request.host(), request.is_secure()) && next.contains('/');
    is_safe.then_some(next)
}

/// The URL of the app's line `name`, in the include that the request's own line is in.
pub(super) fn sibling(request: &Request, name: &str, arguments: &[&str]) -> Result<String> {
    let own = request.extension::<Matched>().and_then(|matched| matched.line().name());
    let space = own.and_then(|own| own.rsplit_once(':')).map(|(space, _)| format!("{space}:"));
    let name = format!("{}{name}", space.unwrap_or_default());
    let arguments: Vec<&dyn Display> = arguments.iter().map(|text| text as _).collect();
    request.reverse(&name, &arguments)
}

/// A page with a token of one visitor is nobody else's, and the back button must not show it.
pub(super) fn not_cached(mut response: Response) -> Response {
    let never = "max-age=0, no-cache, no-store, must-revalidate, private";
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(never));
    response
}
