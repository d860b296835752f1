//! From a plain function to an axum handler.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::handler::Handler;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;

use super::pool::Pool;
use crate::site::Site;

/// `view`, a plain function that may block its thread, as a view for the URL table. It takes what
/// any view takes, and waits for futures with [`wait`](super::wait).
///
/// ```
/// use hulse::blocking::{blocking, wait};
/// use hulse::contrib::auth::User;
/// use hulse::http::{Path, Request};
/// use hulse::urls::{Urls, path};
///
/// fn report(request: Request, Path(year): Path<i32>) -> hulse::Result<String> {
///     let users = wait(User::objects().count(&request))?;
///     Ok(format!("{year}: {users} users\n"))
/// }
///
/// let urls = Urls::new([path("reports/<int:year>/", blocking(report))]);
/// ```
pub fn blocking<V, T>(view: V) -> Blocking<V>
where
    V: BlockingView<T>,
    T: 'static,
{
    Blocking(view)
}

/// See [`blocking`].
#[derive(Clone, Copy, Debug)]
pub struct Blocking<V>(V);

/// A plain function that can be a view: up to eight extractors, the one that takes the body last,
/// and anything that is a response. `T` tells functions of different shapes apart.
pub trait BlockingView<T>: Clone + Send + Sync + 'static {
    /// Reads what the function wants of the request, and calls it when it is its turn.
    fn answer(self, request: Request, site: Site) -> BoxFuture<'static, Response>;
}

impl<V, T> Handler<T, Site> for Blocking<V>
where
    V: BlockingView<T>,
    T: 'static,
{
    type Future = BoxFuture<'static, Response>;

    fn call(self, request: Request, site: Site) -> Self::Future {
        self.0.answer(request, site)
    }
}

impl<V, R> BlockingView<((),)> for V
where
    V: Fn() -> R + Clone + Send + Sync + 'static,
    R: IntoResponse,
{
    fn answer(self, _: Request, site: Site) -> BoxFuture<'static, Response> {
        Box::pin(async move { Pool::of(&site).run(move || self().into_response()).await })
    }
}

macro_rules! plain_functions {
    ($($part:ident)*, $last:ident) => {
        #[expect(non_snake_case, reason = "an argument is called as its type is")]
        #[expect(clippy::allow_attributes, reason = "of one argument there are no parts")]
        impl<V, R, M, $($part,)* $last> BlockingView<(M, $($part,)* $last,)> for V
        where
            V: Fn($($part,)* $last) -> R + Clone + Send + Sync + 'static,
            R: IntoResponse,
            $($part: FromRequestParts<Site> + Send + 'static,)*
            $last: FromRequest<Site, M> + Send + 'static,
        {
            fn answer(self, request: Request, site: Site) -> BoxFuture<'static, Response> {
                Box::pin(async move {
                    #[allow(unused_mut, reason = "of one argument there are no parts")]
                    let (mut parts, body) = request.into_parts();
                    $(let $part = match $part::from_request_parts(&mut parts, &site).await {
                        Ok(read) => read,
                        Err(refused) => return refused.into_response(),
                    };)*
                    let request = Request::from_parts(parts, body);
                    let $last = match $last::from_request(request, &site).await {
                        Ok(read) => read,
                        Err(refused) => return refused.into_response(),
                    };
                    let view = move || self($($part,)* $last).into_response();
                    Pool::of(&site).run(view).await
                })
            }
        }
    };
}

plain_functions!(, A);
plain_functions!(A, B);
plain_functions!(A B, C);
plain_functions!(A B C, D);
plain_functions!(A B C D, E);
plain_functions!(A B C D E, F);
plain_functions!(A B C D E F, G);
plain_functions!(A B C D E F G, H);
