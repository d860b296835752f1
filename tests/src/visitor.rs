//! A browser without a window: pages, forms and WebSockets with one jar of cookies.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Longest wait for an answer or a frame.
const WAIT: Duration = Duration::from_secs(30);

/// Somebody who visits one site and keeps its cookies.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// `127.0.0.1:PORT`.
    address: String,
    cookies: BTreeMap<String, String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers by lower-case name; of several with one name the last.
    pub headers: BTreeMap<String, String>,
    /// The body as text.
    pub body: String,
}

impl Visitor {
    /// A new visitor of the site at `address` (`127.0.0.1:PORT`).
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self { address: address.to_owned(), cookies: BTreeMap::new() }
    }

    /// The same visitor, with the same cookies, at another address of the site.
    #[must_use]
    pub fn at(&self, address: &str) -> Self {
        Self { address: address.to_owned(), cookies: self.cookies.clone() }
    }

    /// The cookie called `name`.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies.get(name).map(String::as_str)
    }

    /// Gets a page.
    pub async fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, "", "").await
    }

    /// Sends a form, with the CSRF token of the cookie and the site's own Origin.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let token = self.cookie("csrftoken").unwrap_or_default().to_owned();
        let fields = [&[("csrfmiddlewaretoken", token.as_str())], fields].concat();
        let form: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
        self.request("POST", path, "", &form.join("&")).await
    }

    /// Asks for a page with more headers.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: String =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        self.request(method, path, &headers, "").await
    }

    async fn request(&mut self, method: &str, path: &str, headers: &str, form: &str) -> Answer {
        let address = &self.address;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nCookie: \
             {}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: \
             {}\r\nConnection: close\r\n{headers}\r\n{form}",
            self.cookie_header(),
            form.len(),
        );
        let answer = timeout(WAIT, exchange(&self.address, &request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{method} {path}: no answer"));
        let (head, body) = answer.split_once("\r\n\r\n").expect("an empty line ends the head");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).expect("a status line");
        let status = status.parse().expect("a status code");
        let mut headers = BTreeMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
            if name == "set-cookie" {
                self.keep_cookie(&value);
            }
            headers.insert(name, value);
        }
        let body = if headers.get("transfer-encoding").is_some_and(|kind| kind == "chunked") {
            unchunked(body)
        } else {
            body.to_owned()
        };
        Answer { status, headers, body }
    }

    /// Opens a WebSocket; the session of the cookie, if there is one, goes with it.
    ///
    /// # Panics
    /// It is refused.
    pub async fn socket(&mut self, path: &str) -> VisitorSocket {
        self.try_socket(path).await.unwrap_or_else(|status| panic!("{path}: refused with {status}"))
    }

    /// Opens a WebSocket.
    ///
    /// # Errors
    /// The status it is refused with.
    pub async fn try_socket(&mut self, path: &str) -> Result<VisitorSocket, u16> {
        let url = format!("ws://{}{path}", self.address);
        let mut request = url.into_client_request().expect("a good URL");
        let header = |text: String| HeaderValue::from_str(&text).expect("visible ASCII");
        request.headers_mut().insert("origin", header(format!("http://{}", self.address)));
        request.headers_mut().insert("cookie", header(self.cookie_header()));
        let tcp = TcpStream::connect(&self.address).await.expect("the site listens");
        let port = tcp.local_addr().expect("it is connected").port();
        let shaken = timeout(WAIT, tokio_tungstenite::client_async(request, tcp)).await;
        match shaken.expect("the handshake is answered") {
            Ok((stream, response)) => {
                for cookie in response.headers().get_all("set-cookie") {
                    self.keep_cookie(cookie.to_str().expect("visible ASCII"));
                }
                Ok(VisitorSocket { stream, response, port })
            }
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{path}: {error}"),
        }
    }

    fn cookie_header(&self) -> String {
        let pairs: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    fn keep_cookie(&mut self, header: &str) {
        let pair = header.split(';').next().unwrap_or_default();
        if let Some((name, value)) = pair.split_once('=') {
            self.cookies.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub struct VisitorSocket {
    stream: WebSocketStream<TcpStream>,
    /// The 101.
    pub response: Response,
    /// The local port: what the server's side of the connection is known by.
    pub port: u16,
}

impl VisitorSocket {
    /// Sends a text frame.
    ///
    /// # Panics
    /// The socket is closed.
    pub async fn send(&mut self, text: &str) {
        self.stream.send(Message::text(text)).await.expect("the socket is open");
    }

    /// The same, to a socket that may be closed by now.
    pub async fn try_send(&mut self, text: &str) {
        let _closed = self.stream.send(Message::text(text)).await;
    }

    /// The next text frame, or the code the server closes with (1006 if it just goes away).
    ///
    /// # Errors
    /// The close code.
    ///
    /// # Panics
    /// Nothing comes.
    pub async fn frame(&mut self) -> Result<String, u16> {
        let next = async {
            loop {
                match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                    Some(Ok(Message::Close(close))) => {
                        // The server waits for the answer and for our end, if it is there yet.
                        let _ = self.stream.flush().await;
                        let _ = self.stream.get_mut().shutdown().await;
                        return Err(close.map_or(1005, |close| u16::from(close.code)));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Err(1006),
                }
            }
        };
        timeout(WAIT, next).await.expect("a frame in time")
    }

    /// The next event.
    ///
    /// # Panics
    /// None comes, or it is no JSON.
    pub async fn event(&mut self) -> Value {
        let frame = self.frame().await.expect("the socket stays open");
        serde_json::from_str(&frame).unwrap_or_else(|_| panic!("no JSON: {frame}"))
    }

    /// Passes over events until one is `wanted`.
    pub async fn event_where(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.event().await;
            if wanted(&event) {
                return event;
            }
        }
    }

    /// Reads on until the server closes; the code.
    pub async fn close_code(&mut self) -> u16 {
        loop {
            if let Err(code) = self.frame().await {
                return code;
            }
        }
    }

    /// Closes with 1000, as a page does, and waits for the server's answer; its code.
    ///
    /// # Panics
    /// The socket is closed already.
    pub async fn close(mut self) -> u16 {
        let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        self.stream.close(Some(normal)).await.expect("the socket is open");
        self.close_code().await
    }
}

async fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the site listens");
    stream.write_all(request.as_bytes()).await.expect("it reads the request");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers and closes");
    String::from_utf8_lossy(&answer).into_owned()
}

fn unchunked(mut body: &str) -> String {
    let mut text = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).expect("a chunk's size");
        if size == 0 {
            break;
        }
        text.push_str(&rest[..size]);
        body = rest[size..].trim_start_matches("\r\n");
    }
    text
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
