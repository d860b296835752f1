//! Views for people who are signed in.

use axum::extract::Request as AxumRequest;
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::Result;
use crate::http::{Request, redirect};
use crate::site::Site;

/// What may stand in the value of `next` as it is.
const NEXT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// `view`, for visitors who are signed in; others are sent to the login page and come back after
/// it.
///
/// ```
/// use hulse::contrib::auth::login_required;
/// use hulse::http::Request;
/// use hulse::urls::{Urls, path};
///
/// async fn diary(request: Request) -> hulse::Result<String> {
///     Ok(format!("Dear {}", request.user().await?.username))
/// }
///
/// let urls = Urls::new([path("diary/", login_required(diary))]);
/// ```
pub fn login_required<H, T>(view: H) -> LoginRequired<H>
where
    H: Handler<T, Site>,
    T: 'static,
{
    LoginRequired(view)
}

/// See [`login_required`].
#[derive(Clone, Copy, Debug)]
pub struct LoginRequired<H>(H);

impl<H, T> Handler<T, Site> for LoginRequired<H>
where
    H: Handler<T, Site>,
    T: 'static,
{
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: AxumRequest, site: Site) -> Self::Future {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let seen = Request::new(site.clone(), &parts);
            match refusal(&seen).await {
                Ok(None) => self.0.call(AxumRequest::from_parts(parts, body), site).await,
                Ok(Some(response)) => response,
                Err(error) => error.into_response(),
            }
        })
    }
}

/// The way to the login page, for a visitor who is not signed in.
async fn refusal(request: &Request) -> Result<Option<Response>> {
    if request.user().await?.is_authenticated() {
        return Ok(None);
    }
    redirect_to_login(request).map(Some)
}

/// A redirect to the login page that leads back here.
///
/// # Errors
/// `auth.login_url` is no URL, nor the name of one (`is_no_reverse_match`).
pub fn redirect_to_login(request: &Request) -> Result<Response> {
    let login_url = login_url(request)?;
    let next = utf8_percent_encode(request.full_path(), NEXT);
    let joint = if login_url.contains('?') { '&' } else { '?' };
    redirect(request, &format!("{login_url}{joint}next={next}"))
}

/// Where the login page is: the setting, which may be a name.
///
/// # Errors
/// As [`redirect_to_login`].
pub(super) fn login_url(site: &Site) -> Result<String> {
    let login_url = &site.settings().auth.login_url;
    match is_name(login_url) {
        true => site.reverse(login_url, &[]),
        false => Ok(login_url.clone()),
    }
}

/// Whether the setting can only be a name.
pub(super) fn is_name(login_url: &str) -> bool {
    !login_url.contains(['/', '.', '?', '#'])
}
