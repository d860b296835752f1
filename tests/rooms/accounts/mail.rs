//! Mail: the outbox, transactions, files, and what is said to a mail server.

use std::sync::Arc;

use hulse::conf::{MailBackend, MailSecurity, Settings};
use hulse::mail::Message;
use hulse::test::TestSite;
use hulse::{Error, Project};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

fn project() -> Project {
    Project::new("mail", "/nowhere")
}

fn mail() -> Message {
    Message::new("Hello", "Dear Ann,\n.\nyours").to("Ann <ann@example.com>")
}

#[tokio::test]
async fn a_mail_waits_for_the_commit_and_goes_with_a_rollback() {
    let site = TestSite::new(project()).await;
    site.send_mail(mail()).await.unwrap();
    assert_eq!(site.outbox(), [mail()]);
    site.atomic(async |inside| {
        inside.send_mail(mail()).await?;
        inside.send_mail_soon(mail()).await?;
        assert_eq!(inside.outbox().len(), 1, "not before the commit");
        // What cannot be written is told while there is something to roll back.
        let wrong = inside.send_mail(Message { subject: "a\nBcc: b".into(), ..mail() }).await;
        assert!(wrong.unwrap_err().is_mail());
        Ok(())
    })
    .await
    .unwrap();
    assert_eq!(site.outbox().len(), 3);
    let failed = site.atomic(async |inside| {
        inside.send_mail(mail()).await?;
        inside.send_mail_soon(mail()).await?;
        Err::<(), _>(Error::new("no"))
    });
    assert!(failed.await.is_err());
    assert_eq!(site.outbox().len(), 3);
}

#[tokio::test]
async fn admins_and_managers_hear_what_is_theirs() {
    let site = TestSite::new(project()).await;
    site.mail_admins("nobody", "to hear").await.unwrap();
    assert_eq!(site.outbox().len(), 0);
    let site = TestSite::with(project(), |settings| {
        settings.mail.admins = vec!["Ann <ann@example.com>".into(), "bob@example.com".into()];
        settings.mail.managers = vec!["cleo@example.com".into()];
    })
    .await;
    site.mail_admins("Disk", "full").await.unwrap();
    site.mail_managers("Cake", "in the kitchen").await.unwrap();
    let [admins, managers] = &site.outbox()[..] else { panic!("two mails") };
    assert_eq!(admins.to, ["Ann <ann@example.com>", "bob@example.com"]);
    assert_eq!(admins.subject, "[Hulse] Disk");
    assert_eq!(admins.from.as_deref(), Some("root@localhost"));
    assert_eq!(managers.to, ["cleo@example.com"]);
}

#[tokio::test]
async fn mails_become_files_that_nobody_else_may_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let site = TestSite::with(project(), |settings| {
        settings.mail.backend = Some(MailBackend::File);
        settings.mail.folder = folder.path().join("sent");
    })
    .await;
    site.send_mail(mail()).await.unwrap();
    site.send_mail(mail()).await.unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path().join("sent")).unwrap().collect();
    assert_eq!(files.len(), 2);
    let file = files[0].as_ref().unwrap();
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert!(text.contains("Subject: Hello\r\n") && text.contains("Dear Ann,"), "{text}");
}

/// What a server of these tests does.
#[derive(Clone)]
struct Server {
    /// What it says it can do.
    offers: &'static str,
    /// What it answers to STARTTLS.
    starttls: &'static str,
    acceptor: Option<TlsAcceptor>,
}

/// One conversation; gives what the client said, and whether it was encrypted by then.
async fn converse(server: Server, stream: TcpStream) -> Vec<String> {
    let mut said = Vec::new();
    let stream = talk(&server, stream, &mut said, "").await;
    if let (Some(stream), Some(acceptor)) = (stream, &server.acceptor)
        && let Ok(stream) = acceptor.accept(stream).await
    {
        talk(&server, stream, &mut said, "TLS ").await;
    }
    said
}

/// Up to the end, or to where encryption begins; then it gives the stream back.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    server: &Server,
    stream: S,
    said: &mut Vec<String>,
    mark: &str,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    if mark.is_empty() {
        stream.get_mut().write_all(b"220 test\r\n").await.ok()?;
    }
    let mut in_data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        said.push(format!("{mark}{line}"));
        let answer = match line.split(' ').next().unwrap_or_default() {
            "." if in_data => {
                in_data = false;
                "250 taken"
            }
            _ if in_data => continue,
            "EHLO" if mark.is_empty() => server.offers,
            "EHLO" => "250-test\r\n250 AUTH PLAIN",
            "STARTTLS" => {
                let line = format!("{}\r\n", server.starttls);
                stream.get_mut().write_all(line.as_bytes()).await.ok()?;
                if server.starttls.starts_with("220") {
                    return Some(stream.into_inner());
                }
                continue;
            }
            "AUTH" => "235 welcome",
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        stream.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

/// A server for one conversation: its port, and what it will have heard.
async fn listen(server: Server) -> (u16, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        converse(server, stream).await
    });
    (port, heard)
}

fn smtp(settings: &mut Settings, port: u16, security: MailSecurity) {
    settings.mail.backend = Some(MailBackend::Smtp);
    settings.mail.host = "localhost".into();
    settings.mail.port = port;
    settings.mail.security = security;
    settings.mail.timeout = 5;
}

const PLAIN: Server =
    Server { offers: "250-test\r\n250 AUTH PLAIN", starttls: "502 what?", acceptor: None };

#[tokio::test]
async fn a_server_is_told_the_mail() {
    let (port, heard) = listen(PLAIN).await;
    let site = TestSite::with(project(), |settings| smtp(settings, port, MailSecurity::None)).await;
    let bcc = vec!["eve@example.com".to_owned()];
    site.send_mail(Message { bcc, ..mail() }).await.unwrap();
    let said = heard.await.unwrap();
    for line in [
        "MAIL FROM:<webmaster@localhost>",
        "RCPT TO:<ann@example.com>",
        "RCPT TO:<eve@example.com>",
        "Subject: Hello",
        "Dear Ann,",
        "..",
        "yours",
    ] {
        assert!(said.iter().any(|known| known.starts_with(line)), "{line:?} in {said:?}");
    }
    assert!(!said.iter().any(|line| line.starts_with("Bcc")), "{said:?}");
}

fn certificate() -> (String, TlsAcceptor) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

#[tokio::test]
async fn name_and_password_are_said_only_once_it_is_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let (pem, acceptor) = certificate();
    std::fs::write(folder.path().join("ca.pem"), pem).unwrap();
    let server = Server {
        offers: "250-test\r\n250-AUTH PLAIN\r\n250 STARTTLS",
        starttls: "220 go",
        acceptor: Some(acceptor),
    };
    let (port, heard) = listen(server).await;
    let site = TestSite::with(project(), |settings| {
        smtp(settings, port, MailSecurity::Starttls);
        settings.mail.username = "site".into();
        settings.mail.password = hulse::conf::Secret::new("secret");
        settings.mail.ca = folder.path().join("ca.pem");
    })
    .await;
    site.send_mail(mail()).await.unwrap();
    let said = heard.await.unwrap();
    let clear: Vec<_> = said.iter().take_while(|line| !line.starts_with("TLS ")).collect();
    assert_eq!(clear.len(), 2, "{said:?}");
    assert_eq!(clear[1], "STARTTLS");
    let sealed = |what: &str| said.iter().any(|line| line.starts_with(&format!("TLS {what}")));
    assert!(sealed("AUTH PLAIN") && sealed("MAIL FROM:") && sealed("Dear Ann,"), "{said:?}");
}

/// Sends to `server` with STARTTLS and a password, and gives what the server heard of it.
async fn refused(server: Server, authority: Option<&str>) -> Vec<String> {
    let (port, heard) = listen(server).await;
    let folder = tempfile::tempdir().unwrap();
    let site = TestSite::with(project(), |settings| {
        smtp(settings, port, MailSecurity::Starttls);
        settings.mail.username = "site".into();
        settings.mail.password = hulse::conf::Secret::new("secret");
        if let Some(pem) = authority {
            settings.mail.ca = folder.path().join("ca.pem");
            std::fs::write(&settings.mail.ca, pem).unwrap();
        }
    })
    .await;
    let error = site.send_mail(mail()).await.unwrap_err();
    assert!(error.is_mail(), "{error}");
    assert!(!error.to_string().contains("secret"), "{error}");
    heard.await.unwrap()
}

#[tokio::test]
async fn a_connection_that_cannot_be_encrypted_is_given_up() {
    let (pem, _) = certificate();
    let (_, other) = certificate();
    let offers = "250-test\r\n250-AUTH PLAIN\r\n250 STARTTLS";
    for (server, authority) in [
        // It does not offer it; it does not do it; it is somebody else.
        (PLAIN, Some(pem.as_str())),
        (Server { offers, starttls: "454 not today", acceptor: None }, Some(&pem)),
        (Server { offers, starttls: "220 go", acceptor: Some(other) }, Some(&pem)),
    ] {
        let said = refused(server, authority).await;
        let sensitive = ["AUTH", "MAIL", "RCPT", "DATA", "Subject", "TLS AUTH", "TLS MAIL"];
        for line in &said {
            assert!(!sensitive.iter().any(|word| line.starts_with(word)), "{said:?}");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_names_it() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let site = TestSite::with(project(), |settings| smtp(settings, port, MailSecurity::None)).await;
    let error = site.send_mail(mail()).await.unwrap_err();
    let words = error.to_string();
    assert!(error.is_mail() && words.contains(&format!("sending a mail to localhost:{port}")));
    // Who does not wait for it hears nothing.
    site.send_mail_soon(mail()).await.unwrap();
}
