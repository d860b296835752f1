use super::multipart::{Head, Parser, Piece};
use super::uploads::{file_name, plain_name};
use super::{Form, FormData};

fn check(body: &str, expected: &[(&str, &[&str])]) {
    let data = FormData::parse(body.as_bytes());
    for (field, values) in expected {
        assert_eq!(data.all(field), *values, "{field} of {body}");
    }
}

#[test]
fn a_form_is_read_as_browsers_write_it() {
    check("", &[("a", &[])]);
    check("a=1", &[("a", &["1"])]);
    check("a=1&a=2&b=", &[("a", &["1", "2"]), ("b", &[""])]);
    check("a=x+y%20z", &[("a", &["x y z"])]);
    check("a=1%2B1%3D2%26", &[("a", &["1+1=2&"])]);
    check("n%C3%A4me=caf%C3%A9", &[("näme", &["café"])]);
    check("a=%ff", &[("a", &["\u{fffd}"])]);
    check("a=100%", &[("a", &["100%"])]);
    check("a&&b=1", &[("a", &[""]), ("b", &["1"])]);
    check("a=b=c", &[("a", &["b=c"])]);
}

#[test]
fn a_required_field_left_blank_is_an_error() {
    let mut form = Form::of(FormData::parse(b"name=+ann+&age=+"));
    assert_eq!(form.required("name"), "ann");
    assert!(form.is_valid());
    assert_eq!(form.required("age"), "");
    assert_eq!(form.errors.of("age"), ["This field is required."]);
    assert!(!form.is_valid());
}

#[test]
fn a_template_sees_last_values_and_errors() {
    let mut form = Form::of(FormData::parse(b"a=1&a=2"));
    form.fail("No.");
    let json = serde_json::to_value(&form).unwrap();
    let expected = serde_json::json!({
        "values": { "a": "2" }, "errors": {}, "non_field_errors": ["No."]
    });
    assert_eq!(json, expected);
}

/// The parts of a body, and whether it is whole.
type Parts = (Vec<(Head, Vec<u8>)>, bool);

/// What a body is read as, pushed in pieces of so many bytes.
fn parts(body: &[u8], at_once: usize) -> Result<Parts, String> {
    let (mut parser, mut parts) = (Parser::new("b-1"), Vec::new());
    for data in body.chunks(at_once) {
        parser.push(data);
        while let Some(piece) = parser.next_piece().map_err(|error| error.to_string())? {
            match (piece, parts.last_mut()) {
                (Piece::Head(head), _) => parts.push((head, Vec::new())),
                (Piece::Data(data), Some((_, read))) => read.extend_from_slice(&data),
                (Piece::Data(data), None) => return Err(format!("data without a head: {data:?}")),
                (Piece::End, _) => {}
            }
        }
    }
    Ok((parts, parser.is_over()))
}

fn part(head: &str, data: &str) -> String {
    format!("--b-1\r\nContent-Disposition: form-data; {head}\r\n\r\n{data}\r\n")
}

#[test]
fn a_multipart_form_reads_the_same_in_pieces_of_any_size() {
    let data = ["", "x", "\r\n", "\r\n--b-", "--b-1", "\r\r\n--b\r\n-", "\n--b-1\n", "\r\n--b-2"];
    let mut body: String = data.iter().map(|data| part("name=\"a\"", data)).collect();
    body += "--b-1--\r\nbehind it\r\n--b-1\r\n";
    for start in ["", "\r\n"] {
        let body = format!("{start}{body}");
        for at_once in (1..80).chain([body.len()]) {
            let (parts, is_over) = parts(body.as_bytes(), at_once).unwrap();
            let read: Vec<_> = parts.iter().map(|(_, read)| read.as_slice()).collect();
            assert_eq!(read, data.map(str::as_bytes), "{at_once}");
            assert!(is_over);
        }
    }
}

#[test]
fn a_part_says_its_names() {
    let check = |head: &str, name: &str, file_name: Option<&str>| {
        let body = part(head, "");
        let (parts, is_over) = parts(body.as_bytes(), 1000).unwrap();
        assert_eq!((parts[0].0.name.as_str(), parts[0].0.file_name.as_deref()), (name, file_name));
        assert!(!is_over);
    };
    check("name=a", "a", None);
    check("Name=\"a b\" ; FILENAME=x.txt", "a b", Some("x.txt"));
    check("name=\"a;b=\\\"c\\\"\"; filename=\"\"", "a;b=\"c\"", Some(""));
    check("name=\"%22%0D%0A%41\"; filename=\"C:\\x\\y\"", "\"\r\n%41", Some("C:\\x\\y"));
    check("name=\"é\"; filename*=UTF-8''x", "é", None);
}

#[test]
fn what_is_no_multipart_form_is_refused() {
    let long = part(&format!("name={}", "x".repeat(8200)), "");
    for body in [
        "a=b",
        "--b-2\r\n",
        "--b-1x\r\n",
        "--b-1\r\n\r\n\r\n",
        "--b-1\r\nContent-Disposition: attachment; name=a\r\n\r\n",
        "--b-1\r\nContent-Disposition: form-data\r\n\r\n",
        "--b-1\r\nno header\r\n\r\n",
        &part("name=\"a", ""),
        &part("name=a; name=b", ""),
        &part("name=a; filename=b; filename=c", ""),
        &part("name=a; filename", ""),
        &part("name=a\r\nContent-Disposition: form-data; name=b", ""),
        &format!("{}--b-1-\r\n", part("name=a", "")),
        &long,
    ] {
        for at_once in [1, 3, 10_000] {
            parts(body.as_bytes(), at_once).unwrap_err();
        }
    }
}

#[test]
fn a_name_of_a_visitor_is_no_path() {
    let check = |sent: &str, expected: Option<&str>| {
        assert_eq!(file_name(sent).as_deref(), expected, "{sent:?}");
    };
    check("photo.jpg", Some("photo.jpg"));
    check("été & co.pdf", Some("été & co.pdf"));
    check("../../etc/passwd", Some("passwd"));
    check("..\\..\\boot.ini", Some("boot.ini"));
    check("C:\\fake/path\\y.exe", Some("y.exe"));
    check("&#46;&#x2E;&#x2f;x.txt", Some("x.txt"));
    check("..&sol;..&bsol;x.txt", Some("x.txt"));
    check("a\0b\r\n\u{202e}c.txt", Some("abc.txt"));
    check("&#0;&#xfffffff;&#;&x", Some("&#xfffffff;&#;&x"));
    for nothing in ["", ".", "..", " .. ", "x/", "x/..", "\u{200b}", "&period;&period;", "\0"] {
        check(nothing, None);
    }
    let long = file_name(&format!("{}é.jpeg", "é".repeat(300))).unwrap();
    assert!(long.len() <= 255 && long.ends_with("é.jpeg"), "{long}");
    assert_eq!(file_name(&"x".repeat(300)).unwrap().len(), 255);
    assert_eq!(file_name(&format!(".{}", "x".repeat(300))).unwrap().len(), 255);

    assert_eq!(plain_name("my photo (1).jpg"), "my_photo_1.jpg");
    assert_eq!(plain_name("-rf $(x);`y`|été.sh"), "rf_xyété.sh");
    for bad in ["", "..", "-", "$"] {
        assert_eq!(plain_name(bad), "file", "{bad:?}");
    }
}
