use std::collections::HashMap;

use http::HeaderMap;

use super::{Captured, SetCookie, is_safe_next, pairs};

#[test]
fn a_path_becomes_the_view_s_types() {
    let captured = |values: &[(&str, &str)]| {
        let values = values.iter().map(|(name, text)| ((*name).into(), (*text).to_owned()));
        Captured::new(values.collect())
    };
    #[derive(serde::Deserialize)]
    struct Archive {
        year: u16,
        slug: Option<String>,
    }
    let one = captured(&[("id", "42")]);
    assert_eq!(one.parse::<i64>().unwrap(), 42);
    assert_eq!(one.parse::<(i64,)>().unwrap(), (42,));
    assert_eq!(one.parse::<String>().unwrap(), "42");
    let two = captured(&[("year", "2024"), ("slug", "a b")]);
    assert_eq!(two.parse::<(u16, String)>().unwrap(), (2024, "a b".into()));
    let archive: Archive = two.parse().unwrap();
    assert_eq!((archive.year, archive.slug.as_deref()), (2024, Some("a b")));
    assert_eq!(two.parse::<HashMap<String, String>>().unwrap()["slug"], "a b");
    assert_eq!(two.parse::<Vec<String>>().unwrap(), ["2024", "a b"]);
    let status = |error: crate::error::Error| error.status_code().as_u16();
    assert_eq!(status(one.parse::<bool>().unwrap_err()), 404);
    assert_eq!(status(captured(&[("id", "300")]).parse::<u8>().unwrap_err()), 404);
    assert_eq!(status(two.parse::<i64>().unwrap_err()), 500);
    assert_eq!(status(two.parse::<(i64, i64, i64)>().unwrap_err()), 500);
    assert_eq!(status(one.parse::<Archive>().err().unwrap()), 500);
}

#[test]
fn forms_are_decoded_like_a_browser_encodes_them() {
    let found: Vec<_> = pairs(b"a=1+2&b=%C3%A4%3D&c&&=x&d=%zz").collect();
    let expected = [("a", "1 2"), ("b", "ä="), ("c", ""), ("", "x"), ("d", "%zz")];
    assert_eq!(found, expected.map(|(name, value)| (name.into(), value.into())));
}

#[test]
fn of_several_cookies_the_last_counts() {
    let mut headers = HeaderMap::new();
    headers.append("cookie", "a=1; b=\"2\"; a=3".parse().unwrap());
    headers.append("cookie", "c=4=5".parse().unwrap());
    let lines = || headers.get_all("cookie").iter().filter_map(|line| line.to_str().ok());
    let read = |name: &str| super::cookies::read(lines(), name);
    assert_eq!(
        (read("a"), read("b"), read("c"), read("d")),
        (Some("3"), Some("2"), Some("4=5"), None)
    );
}

#[test]
fn a_cookie_cannot_carry_another_header() {
    let cookie = |value| {
        let cookie =
            SetCookie { name: "n", value, max_age: Some(5), secure: true, http_only: true };
        cookie.header().map(|header| header.to_str().unwrap().to_owned())
    };
    assert_eq!(cookie("v").unwrap(), "n=v; Path=/; SameSite=Lax; Max-Age=5; Secure; HttpOnly");
    assert!(cookie("v\r\nX: y").is_err());
    assert!(cookie("v; Domain=evil").is_err());
}

#[test]
fn next_leads_back_to_the_site_only() {
    let check = |next: &str, safe: bool| {
        assert_eq!(is_safe_next(next, "example.com", false), safe, "{next:?}");
    };
    check("/polls/?a=1", true);
    check("polls", true);
    check("//example.com/x", true);
    check("https://EXAMPLE.com/x", true);
    check("", false);
    check("///evil.example", false);
    check("//evil.example", false);
    check("/\\evil.example", false);
    check("\\\\evil.example", false);
    check("http:///evil.example", false);
    check("http:evil.example", false);
    check("javascript:alert(1)", false);
    check("https://example.com@evil.example/", false);
    check("https://example.com.evil.example/", false);
    check("/\t/evil.example", false);
    check("\u{8}//evil.example", false);
    check(&"a".repeat(2049), false);
    assert!(!is_safe_next("http://example.com/", "example.com", true));
    assert!(is_safe_next("//example.com/", "example.com", true));
}
