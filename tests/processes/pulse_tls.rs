//! The site over TLS: HTTP/1.1, HTTP/2, WebSockets, and what is wrong with a certificate.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hulse_tests::{Program, Pulse, Surroundings, Wire, site_command, site_folder_of};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, version};
use tokio_tungstenite::tungstenite::Message;

/// A certificate for localhost in a folder of its own, and who trusts it.
pub(crate) struct Authority {
    folder: TempDir,
    certificate: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { folder, certificate: made.cert.der().clone() }
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    pub(crate) async fn start(&self, arguments: &[&str]) -> Pulse {
        let (cert, key) = (self.file("cert.pem"), self.file("key.pem"));
        let tls = ["--tls-cert", &cert, "--tls-key", &key, "-w", "1"];
        Pulse::start_testsite(&[&tls, arguments].concat()).await
    }

    pub(crate) async fn connect(
        &self,
        pulse: &Pulse,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_protocol_versions(&[&version::TLS13, &version::TLS12]).unwrap();
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tcp = TcpStream::connect(pulse.address()).await?;
        let name = "localhost".try_into().unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }
}

#[tokio::test]
async fn pages_and_sockets_come_encrypted() {
    let authority = Authority::new();
    let mut pulse = authority.start(&[]).await;
    pulse.said("listening on https://").await;
    for protocols in [&[][..], &["http/1.1"]] {
        let mut stream = authority.connect(&pulse, protocols).await.unwrap();
        let request = "GET /who/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"https\""), "{answer}");
    }
    let stream = authority.connect(&pulse, &["http/1.1"]).await.unwrap();
    let request = "wss://localhost/echo/";
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let long = "x".repeat(200_000);
    for text in ["hello", &long] {
        socket.send(Message::text(text)).await.unwrap();
        let echoed = socket.next().await.unwrap().unwrap();
        assert_eq!(echoed.into_text().unwrap().as_str(), text);
    }
    socket.close(None).await.unwrap();
    drop(socket);
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn http_2_is_spoken_when_it_is_offered() {
    let authority = Authority::new();
    let pulse = authority.start(&["--max-concurrent-requests", "8"]).await;
    let stream = authority.connect(&pulse, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let driving = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let get = |path: &str| {
        let uri = format!("https://localhost{path}");
        http::Request::get(uri).body(()).unwrap()
    };
    // Two at once on one connection: the slow one does not hold the other up.
    let (slow, _) = client.send_request(get("/slow/1000/"), true).unwrap();
    let (who, _) = client.send_request(get("/who/"), true).unwrap();
    tokio::pin!(slow);
    let who = tokio::select! {
        biased;
        who = who => who.unwrap(),
        _ = &mut slow => panic!("the slow one came first"),
    };
    assert_eq!(who.status(), 200);
    let mut body = who.into_body();
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        text.extend_from_slice(&data.unwrap());
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("\"https\"") && text.contains("\"localhost\""), "{text}");
    assert_eq!(slow.await.unwrap().status(), 200);
    drop((client, body));
    // Draining says goodbye instead of cutting it off.
    assert_eq!(pulse.stop().await, 0);
    driving.await.unwrap().unwrap();
}

#[tokio::test]
async fn who_begins_no_handshake_is_hung_up_on() {
    let authority = Authority::new();
    let pulse = authority.start(&["--header-timeout", "2"]).await;
    let begun = Instant::now();
    let mut silent = Wire::connect(pulse.address()).await;
    let mut half = Wire::connect(pulse.address()).await;
    half.send([22, 3, 1, 2, 0, 1, 0]).await;
    let mut plain = Wire::connect(pulse.address()).await;
    plain.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    tokio::join!(silent.closed(), half.closed(), plain.closed());
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(1900) && took < Duration::from_secs(5), "{took:?}");
}

/// Starts with these files; what it says when it does not.
async fn refused(cert: &Path, key: Option<&Path>) -> String {
    let folder = site_folder_of(Program::Testsite);
    let surroundings = Surroundings { program: Program::Testsite, ..Default::default() };
    let mut command = site_command(folder.path(), &surroundings);
    command.args(["pulse", "-b", "127.0.0.1:0", "--migrate", "-w", "1", "--tls-cert"]).arg(cert);
    if let Some(key) = key {
        command.arg("--tls-key").arg(key);
    }
    let output = command.output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1, "{said}");
    lines[0].to_owned()
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_is_one_clear_line() {
    let authority = Authority::new();
    let (cert, key) = (authority.file("cert.pem"), authority.file("key.pem"));
    let (cert, key) = (Path::new(&cert), Path::new(&key));
    let missing = refused(Path::new("/nowhere/cert.pem"), Some(key)).await;
    assert!(missing.contains("/nowhere/cert.pem"), "{missing}");
    let no_key = refused(cert, None).await;
    assert!(no_key.contains("server.tls_key"), "{no_key}");
    let swapped = refused(key, Some(cert)).await;
    assert!(swapped.contains("key.pem"), "{swapped}");
    let other = Authority::new().folder;
    let foreign = refused(cert, Some(&other.path().join("key.pem"))).await;
    assert!(foreign.contains("certificate"), "{foreign}");
}

#[tokio::test]
async fn a_reload_brings_the_new_certificate_and_cuts_nobody_off() {
    let (before, after) = (Authority::new(), Authority::new());
    let pulse = before.start(&[]).await;
    let mut slow = before.connect(&pulse, &["http/1.1"]).await.unwrap();
    let request = "GET /slow/1500/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    slow.write_all(request.as_bytes()).await.unwrap();
    let stream = before.connect(&pulse, &["http/1.1"]).await.unwrap();
    let request = "wss://localhost/echo/";
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    assert!(after.connect(&pulse, &[]).await.is_err());
    for name in ["cert.pem", "key.pem"] {
        std::fs::copy(after.file(name), before.file(name)).unwrap();
    }
    pulse.manage(&["ctl", "reload"], &[]).await;
    after.connect(&pulse, &[]).await.unwrap();
    assert!(before.connect(&pulse, &[]).await.is_err());
    // Who was there is answered as ever, and a WebSocket told to come back.
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let closed = socket.next().await.unwrap().unwrap();
    assert!(matches!(closed, Message::Close(Some(frame)) if u16::from(frame.code) == 1012));

    // What cannot be used changes nothing.
    std::fs::write(before.file("cert.pem"), "no certificate").unwrap();
    let refused = pulse.try_manage(&["ctl", "reload"], &[]).await;
    assert!(!refused.status.success());
    after.connect(&pulse, &[]).await.unwrap();
    assert_eq!(pulse.stop().await, 0);
}

#[tokio::test]
async fn http_2_has_bounds_and_patience_too() {
    let authority = Authority::new();
    let patience = ["--body-timeout", "1", "--keep-alive", "2", "--header-timeout", "2"];
    let pulse = authority.start(&patience).await;
    let client = async || {
        let stream = authority.connect(&pulse, &["h2"]).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        client.ready().await.unwrap()
    };
    let request = |method: &str, path: &str| {
        let uri = format!("https://localhost{path}");
        http::Request::builder().method(method).uri(uri).body(()).unwrap()
    };
    // A body that stops in the middle is told so; the connection goes on.
    let mut slow = client().await;
    let (answer, mut body) = slow.send_request(request("POST", "/upload/"), false).unwrap();
    body.send_data("he".into(), false).unwrap();
    let begun = Instant::now();
    assert_eq!(answer.await.unwrap().status(), 408);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let (answer, _) = slow.send_request(request("GET", "/"), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    // So many at once: the client is told, and keeps to it.
    assert_eq!(slow.current_max_send_streams(), 100);
    // Begun and reset as fast as that can be sent: none goes on, and others are served.
    let mut flood = client().await;
    for _ in 0..20_000 {
        let (answer, _) = flood.send_request(request("GET", "/slow/9000/"), true).unwrap();
        drop(answer);
        match flood.ready().await {
            Ok(ready) => flood = ready,
            // Or the connection is ended, which is as well.
            Err(_) => flood = client().await,
        }
    }
    let begun = Instant::now();
    let (answer, _) = client().await.send_request(request("GET", "/"), true).unwrap();
    assert_eq!(answer.await.unwrap().status(), 200);
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    // Who takes nothing of an answer, and asks for nothing else, though it answers pings.
    let mut unread = client().await;
    let (answer, _) = unread.send_request(request("GET", "/large/50000000/"), true).unwrap();
    let mut body = answer.await.unwrap().into_body();
    let begun = Instant::now();
    // What is taken is not said to have been, so no more than a window of it comes.
    let cut = async { while let Some(Ok(_)) = body.data().await {} };
    tokio::time::timeout(Duration::from_secs(20), cut).await.expect("it is cut");
    println!("an answer over HTTP/2 that nobody takes is cut after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    assert_eq!(pulse.stop().await, 0);
}
