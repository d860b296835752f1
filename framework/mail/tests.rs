use super::compose::compose;
use super::message::Message;
use crate::conf;

fn written(message: &Message) -> String {
    let composed = compose(&conf::Mail::default(), message).unwrap();
    String::from_utf8(composed.formatted()).unwrap()
}

fn refused(message: &Message, words: &str) {
    let error = compose(&conf::Mail::default(), message).unwrap_err();
    assert!(error.is_mail() && error.to_string().contains(words), "{error}");
}

fn mail() -> Message {
    Message::new("Grüße", "Hallo,\nAnn").to("Ann <ann@example.com>")
}

#[test]
fn a_mail_has_the_headers_it_should() {
    let text = written(&mail());
    for line in [
        "From: webmaster@localhost\r\n",
        "To: Ann <ann@example.com>\r\n",
        "Content-Type: text/plain; charset=utf-8\r\n",
        "MIME-Version: 1.0\r\n",
        "\r\nDate: ",
        "\r\nMessage-ID: <",
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert!(!text.contains("Grüße"), "encoded: {text}");
    let secret = Message { bcc: vec!["eve@example.com".into()], ..mail() };
    assert!(!written(&secret).contains("eve"), "the others must not know");
}

#[test]
fn text_html_and_files_are_parts() {
    let text = written(&mail().html("<p>Hallo</p>").attach("a.csv", "text/csv", "1;2"));
    let parts = ["multipart/mixed", "multipart/alternative", "text/plain", "text/html", "text/csv"];
    let places: Vec<_> = parts.iter().map(|part| text.find(part).expect(part)).collect();
    assert!(places.is_sorted(), "{text}");
    assert!(text.contains("attachment; filename=\"a.csv\""), "{text}");
    assert!(!written(&mail().html("<p>")).contains("multipart/mixed"));
}

#[test]
fn a_line_end_in_a_header_is_refused() {
    let words = "has a line end in it";
    for bad in ["a\nBcc: eve@example.com", "a\r\nx", "a\rb", "a\0b"] {
        refused(&Message { subject: bad.into(), ..mail() }, words);
        refused(&mail().to(bad), words);
        refused(&mail().from(bad), words);
        refused(&Message { cc: vec![bad.into()], ..mail() }, words);
        refused(&Message { bcc: vec![bad.into()], ..mail() }, words);
        refused(&Message { reply_to: vec![bad.into()], ..mail() }, words);
        refused(&Message { headers: vec![("X-A".into(), bad.into())], ..mail() }, words);
        refused(&Message { headers: vec![(bad.into(), "a".into())], ..mail() }, words);
        refused(&mail().attach(bad, "text/csv", ""), words);
    }
    assert!(written(&Message { text: "a\nBcc: b".into(), ..mail() }).contains("a\r\nBcc: b"));
}

#[test]
fn what_is_no_mail_is_told() {
    refused(&Message::new("a", "b"), "it goes to nobody");
    refused(&mail().to("nobody"), "To: \"nobody\" is no address");
    refused(&mail().from("no body"), "From: \"no body\" is no address");
    refused(&mail().attach("a", "nothing", ""), "is no type");
    refused(&Message { headers: vec![("a b".into(), "c".into())], ..mail() }, "is no name");
    let crowd = Message { to: vec!["a@example.com".into(); 101], ..mail() };
    refused(&crowd, "more than 100 addresses");
    refused(&mail().attach("a", "text/csv", vec![0; 18 * 1024 * 1024]), "larger than");
}
