//! One connection: its requests to the handler, its answers back, until it ends or becomes a
//! WebSocket.
//!
//! Flow: [`serve`] hands the stream to hyper → each request is looked at (`syntax`, its length) →
//! its body becomes one that keeps time (`bodies`) → the handler → the answer. `watch` cuts the
//! connection when its client makes it wait.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::header::{ALLOW, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::conf::{Forwarding, Peer, Settings};
use crate::error::Result;
use crate::http::{Proxied, Secure, holding};
use crate::server::balance::Share;
use crate::server::figures::Figures;
use crate::server::handler::Handler;
use crate::server::staying::Staying;
use crate::server::stream::{Stream, take_over};
use crate::server::tls;
use crate::server::visitors::bodies::{Answer, Done, Failed, Fate, Question, Running, Terms};
use crate::server::visitors::crowd::{Addresses, Full, Gate, Of};
use crate::server::visitors::proxies::{self, is_one_of};
use crate::server::visitors::proxy_protocol;
use crate::server::visitors::syntax::{self, Refused};
use crate::server::visitors::watch::{Cut, Watch, Watched};
use crate::sockets::TakeOver;

/// Longest request head, bytes, and the size a connection's read buffer grows to.
const HEAD_BYTES_MAX: usize = 32_768;

/// What an address is told that has all the connections it may have.
const CROWDED: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\
    Retry-After: 5\r\nConnection: close\r\n\r\n";

/// How long that may take.
const CROWDED_WAIT: Duration = Duration::from_secs(1);

/// Requests of an HTTP/2 connection at once.
const STREAMS_MAX: u32 = 100;

/// As long as forever, and a time can still be added to it: a year, seconds.
const PING_SECONDS_MAX: u64 = 31_536_000;

/// How often an HTTP/2 client is asked whether it is there, and how long it may take to say so.
#[derive(Clone, Copy, Debug)]
struct Pings {
    interval: Duration,
    wait: Duration,
}

/// What may be asked for with some page.
const METHODS: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// What all connections of a worker share.
#[derive(Debug)]
pub(super) struct Serving {
    handler: Handler,
    terms: Terms,
    gate: Arc<Gate>,
    addresses: Arc<Addresses>,
    tls: Option<Arc<ServerConfig>>,
    /// Proxies whose headers are believed, and which headers.
    proxies: Vec<Peer>,
    forwarding: Forwarding,
    /// Proxies that begin with the PROXY protocol.
    announcing: Vec<Peer>,
    pings: Pings,
    watch: Arc<Watch>,
    figures: Arc<Figures>,
    /// Whether anybody is told how long answers take: else no clock is read for it.
    is_timed: bool,
    /// Ends with this.
    _looking: AbortOnDropHandle<()>,
}

impl Serving {
    /// Answers with `handler`. Must be called on the runtime.
    ///
    /// # Errors
    /// The certificate cannot be used.
    pub(super) fn new(handler: Handler, settings: &Settings) -> Result<Self> {
        let figures = Arc::<Figures>::default();
        let watch = Watch::new(&settings.server, Arc::clone(&figures));
        let looking = Arc::clone(&watch);
        let looking = tokio::spawn(async move { looking.look().await });
        let looking = AbortOnDropHandle::new(looking);
        let server = &settings.server;
        Ok(Self {
            handler,
            terms: Terms::new(settings),
            gate: Arc::new(Gate::new(server)),
            addresses: Addresses::new(server.connections_per_address),
            proxies: server.proxy_headers.clone(),
            forwarding: server.forwarding,
            announcing: server.proxy_protocol.clone(),
            pings: Pings {
                interval: Duration::from_secs(server.ping_interval.clamp(1, PING_SECONDS_MAX)),
                wait: Duration::from_secs(server.ping_timeout.clamp(1, PING_SECONDS_MAX)),
            },
            tls: tls::config(settings)?,
            watch,
            figures,
            is_timed: !server.metrics_bind.is_empty(),
            _looking: looking,
        })
    }

    /// What is counted.
    pub(super) fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Counts a connection of `address`, if it may have another one.
    pub(super) fn enter(&self, address: Option<IpAddr>) -> std::result::Result<Option<Of>, Full> {
        self.addresses.enter(address)
    }

    /// Watches a new connection.
    pub(super) fn watch(&self) -> Arc<Watched> {
        self.watch.begin()
    }
}

/// How far its worker's life has come, as a connection sees it.
#[derive(Debug)]
pub(super) struct Course {
    /// Counts what it serves.
    pub(super) share: Share,
    /// Cancelled: nobody new is let in, and an answer says that it is its connection's last.
    pub(super) closing: CancellationToken,
    /// Cancelled: no request after the one that runs.
    pub(super) finishing: CancellationToken,
}

/// A connection, as its requests see it.
#[derive(Debug)]
struct Caller {
    serving: Arc<Serving>,
    watched: Arc<Watched>,
    peer: Option<SocketAddr>,
    is_secure: bool,
    /// Whether it is a proxy that may be believed.
    is_proxy: bool,
    /// The host of who names none.
    host: HeaderValue,
    course: Arc<Course>,
}

/// Serves one connection to its end, or to its upgrade.
pub(super) async fn serve(
    serving: Arc<Serving>,
    mut stream: Stream,
    host: HeaderValue,
    course: Arc<Course>,
) {
    let (watched, finishing) = (Arc::clone(stream.watched()), course.finishing.clone());
    // Nobody is let in any more who has not said yet who he is.
    let admitted = tokio::select! {
        admitted = admit(&serving, &mut stream) => admitted,
        () = finishing.cancelled() => None,
    };
    let Some(peer) = admitted else { return };
    let is_proxy = is_one_of(&serving.proxies, peer.map(|peer| peer.ip()));
    let secured = tokio::select! {
        secured = secured(&serving, stream) => secured,
        () = finishing.cancelled() => None,
    };
    let Some(stream) = secured else { return };
    let (is_secure, is_h2) = (stream.is_secure(), stream.is_h2());
    let (of, pings) = (Arc::clone(&watched), serving.pings);
    let caller = Caller { serving, watched: of, peer, is_secure, is_proxy, host, course };
    let caller = Arc::new(caller);
    let service = hyper::service::service_fn(move |request| Arc::clone(&caller).answer(request));
    let stream = TokioIo::new(stream);
    if is_h2 {
        watched.multiplexed();
        let connection = http_2(pings).serve_connection(stream, service);
        talk(connection, |it| it.graceful_shutdown(), &watched, &finishing).await;
    } else {
        let connection = http_1().serve_connection(stream, service).with_upgrades();
        talk(connection, |it| it.graceful_shutdown(), &watched, &finishing).await;
    }
}

/// hyper-util's `auto` builder (0.1.21) would wait for the first byte without a timeout, and
/// hyper's own timeout for heads is one for idle connections too.
fn http_1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX).max_header_size(HEAD_BYTES_MAX);
    builder
}

/// hyper bounds what resets may cost (CVE-2023-44487) by itself.
fn http_2(pings: Pings) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let head = u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(head)
        .keep_alive_interval(pings.interval)
        .keep_alive_timeout(pings.wait);
    builder
}

/// The stream, encrypted if the settings say so; `None` if that fails or takes too long.
async fn secured(serving: &Serving, stream: Stream) -> Option<Stream> {
    let Some(config) = &serving.tls else { return Some(stream) };
    let tls = TlsAcceptor::from(Arc::clone(config));
    let watched = Arc::clone(stream.watched());
    let secured = tokio::select! {
        secured = stream.secured(&tls) => secured,
        _why = poll_fn(|cx| watched.poll_cut(cx)) => return None,
    };
    let tell = |error| tracing::debug!(%error, "no TLS handshake");
    secured.map_err(tell).ok()
}

/// Runs a connection until it ends, its client makes it wait, or it is to `finish`.
async fn talk<C>(
    connection: C,
    finish: impl FnOnce(Pin<&mut C>),
    watched: &Watched,
    finishing: &CancellationToken,
) where
    C: Future<Output = hyper::Result<()>>,
{
    tokio::pin!(connection);
    let cut = || poll_fn(|cx| watched.poll_cut(cx));
    // A request may be in the kernel already: the runtime looks there, and then it goes first.
    let over = async {
        let is_over = tokio::select! {
            why = cut() => why == Cut::KeepAlive,
            () = finishing.cancelled() => true,
        };
        yield_now().await;
        is_over
    };
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        is_over = over => {
            if !is_over {
                return;
            }
            finish(connection.as_mut());
            tokio::select! {
                ended = &mut connection => ended,
                _why = cut() => return,
            }
        }
    };
    if let Err(error) = ended {
        // Clients go away as they like; that is not the site's trouble.
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Who is there (a unix socket's peer has no address), if he may stay.
async fn admit(serving: &Serving, stream: &mut Stream) -> Option<Option<SocketAddr>> {
    let mut peer = stream.peer();
    if is_one_of(&serving.announcing, peer.map(|peer| peer.ip())) {
        peer = announced_by(stream).await?.or(peer);
    }
    let address = peer.map(|peer| peer.ip());
    if is_one_of(&serving.proxies, address) {
        return Some(peer);
    }
    if let Ok(of) = serving.addresses.enter(address) {
        stream.count(of);
        return Some(peer);
    }
    serving.figures.crowded();
    // What he has sent is read, and thrown away: else the kernel would throw the answer away.
    stream.watched().linger();
    let told = async {
        stream.write_all(CROWDED).await?;
        stream.shutdown().await
    };
    // That nobody reads it is no matter.
    let _gone = timeout(CROWDED_WAIT, told).await;
    None
}

/// What a proxy that has to says of its client before anything else; `None` if it does not.
async fn announced_by(stream: &mut Stream) -> Option<Option<SocketAddr>> {
    let (watched, proxy) = (Arc::clone(stream.watched()), stream.peer());
    let said = tokio::select! {
        said = proxy_protocol::read(stream) => said,
        _why = poll_fn(|cx| watched.poll_cut(cx)) => return None,
    };
    let tell = |error: std::io::Error| match error.kind() {
        // Somebody looks whether the port is open.
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset => {
            tracing::debug!(%error, ?proxy, "a proxy has said nothing");
        }
        _ => tracing::warn!(%error, ?proxy, "no PROXY protocol from a listed proxy"),
    };
    said.map_err(tell).ok()
}

impl Caller {
    /// The answer to one request.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> std::result::Result<Response<Answer>, Infallible> {
        let running = Running::begin(&self.watched);
        self.course.share.count_request();
        // HTTP/2 says goodbye in its own way.
        let is_h2 = request.version() == Version::HTTP_2;
        let begin = || (Instant::now(), request.method().clone());
        let begun = self.serving.is_timed.then(begin);
        let mut response = match self.prepare(request) {
            Ok((request, fate)) => self.handle(request, fate).await,
            Err(refused) => {
                tracing::debug!(status = %refused.status, "refused a request: {}", refused.words);
                self.serving.figures.refused();
                self.watched.linger();
                refuse(&refused)
            }
        };
        // A connection that has become a WebSocket has an end of its own.
        let is_last = self.course.closing.is_cancelled();
        let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if is_last && !is_upgrade && !is_h2 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some((began, method)) = begun {
            self.serving.figures.answered(&method, response.status(), began.elapsed());
        }
        Ok(response.map(|body| Answer::new(body, running)))
    }

    /// The request as the handler wants it, and the fate of its body if it has one.
    fn prepare(
        &self,
        request: Request<Incoming>,
    ) -> std::result::Result<(Request<Body>, Option<Fate>), Refused> {
        let (mut head, body) = request.into_parts();
        syntax::check(&head)?;
        if announced(&head.headers).is_some_and(|bytes| bytes > self.serving.terms.bytes_max) {
            return Err(TOO_LONG);
        }
        if head.version == Version::HTTP_10 && !head.headers.contains_key(HOST) {
            head.headers.insert(HOST, self.host.clone());
        }
        self.introduce(&mut head)?;
        if head.headers.contains_key(UPGRADE) {
            head.extensions.insert(TakeOver(take_over));
        }
        if body.is_end_stream() {
            return Ok((Request::from_parts(head, Body::empty()), None));
        }
        let fate = Fate::default();
        let gate = Arc::clone(&self.serving.gate);
        let body = Question::new(body, self.serving.terms, fate.clone(), gate);
        Ok((Request::from_parts(head, Body::new(body)), Some(fate)))
    }

    /// Writes down who asks.
    fn introduce(&self, head: &mut Parts) -> std::result::Result<(), Refused> {
        let (mut peer, mut is_secure) = (self.peer, self.is_secure);
        if self.is_proxy {
            let serving = &self.serving;
            let told = proxies::told(&head.headers, serving.forwarding, &serving.proxies);
            peer = told.address.or(peer);
            if let Some(host) = told.host {
                syntax::check_host(&host)?;
                head.headers.insert(HOST, host);
            }
            is_secure |= told.is_secure;
            head.extensions.insert(Proxied);
        }
        if is_secure {
            head.extensions.insert(Secure);
        }
        if let Some(peer) = peer {
            head.extensions.insert(ConnectInfo(peer));
        }
        Ok(())
    }

    async fn handle(&self, request: Request<Body>, fate: Option<Fate>) -> Response<Body> {
        // `OPTIONS *` asks the server, and no page of it.
        if request.uri().path() == "*" {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response.headers_mut().insert(ALLOW, METHODS);
            return response;
        }
        let place = match self.serving.gate.enter().await {
            Ok(place) => place,
            Err(Full) => {
                self.serving.figures.shed();
                if fate.is_some() {
                    self.watched.linger();
                }
                return busy();
            }
        };
        let mut answer = pin!(Some(self.serving.handler.answer(request)));
        let mut response = holding(place, Staying::new(answer.as_mut())).await;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.watched.upgraded();
        }
        match fate.map(|fate| fate.get()) {
            None | Some(Done::Whole) => {}
            // hyper reads what is there already, and closes if that is not all.
            Some(Done::NotYet) => self.watched.linger(),
            Some(Done::Failed(how)) => {
                self.watched.linger();
                match how {
                    Failed::Slow => self.serving.figures.slow_body(),
                    Failed::Late => self.serving.figures.shed(),
                    Failed::TooLong | Failed::Broken => {}
                }
                let (is_error, refused) = (response.status().as_u16() >= 400, refused(how));
                if is_error && how == Failed::Late {
                    return busy();
                }
                if is_error {
                    return refuse(&refused);
                }
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        response
    }
}

const TOO_LONG: Refused =
    Refused { status: StatusCode::PAYLOAD_TOO_LARGE, words: "the request's body is too long" };

/// What a body that failed is answered with, whatever the view made of it.
fn refused(how: Failed) -> Refused {
    match how {
        Failed::TooLong => TOO_LONG,
        Failed::Slow => Refused {
            status: StatusCode::REQUEST_TIMEOUT,
            words: "the request's body comes too slowly",
        },
        Failed::Broken => {
            Refused { status: StatusCode::BAD_REQUEST, words: "the request's body is malformed" }
        }
        Failed::Late => Refused { status: StatusCode::SERVICE_UNAVAILABLE, words: BUSY },
    }
}

const BUSY: &str = "the server is busy";

/// Nobody is kept waiting who would wait too long.
fn busy() -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{BUSY}\n")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn refuse(refused: &Refused) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{}\n", refused.words)));
    *response.status_mut() = refused.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if refused.status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, METHODS);
    }
    response
}

/// The body's length, if the client says it.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
