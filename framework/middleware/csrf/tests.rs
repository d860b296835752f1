use super::form::find;
use super::token::{check, cookie_secret, mask, new_secret};
use crate::http::boundary;

#[test]
fn a_mask_hides_the_secret_and_gives_it_back() {
    let secret = new_secret();
    assert_eq!(secret.len(), 32);
    let (one, two) = (mask(&secret), mask(&secret));
    assert_ne!(one, two);
    assert_eq!(cookie_secret(&one).as_deref(), Some(secret.as_str()));
    assert_eq!(check(&one, &secret), Ok(()));
    assert_eq!(check(&two, &secret), Ok(()));
    assert_eq!(check(&secret, &secret), Ok(()));
    assert_eq!(check(&one, &new_secret()), Err("incorrect"));
}

#[test]
fn the_cipher_is_django_s() {
    // Mask "b.." (1), letter "Z" (51) -> 52, which is "0"; "9" (61) + 1 wraps to "a".
    let token = format!("{}{}", "b".repeat(32), "0a".repeat(16));
    assert_eq!(cookie_secret(&token), Some("Z9".repeat(16)));
}

#[test]
fn what_is_no_token_is_none() {
    for text in ["", "a", &"a".repeat(33), &"-".repeat(32), &"ä".repeat(16), &"a".repeat(65)] {
        assert_eq!(cookie_secret(text), None, "{text}");
    }
}

#[test]
fn a_boundary_is_read_with_or_without_quotes() {
    assert_eq!(boundary(" boundary=abc").as_deref(), Some("abc"));
    assert_eq!(boundary(" charset=utf-8; Boundary=\"a b\"").as_deref(), Some("a b"));
    assert_eq!(boundary(" charset=utf-8"), None);
    assert_eq!(boundary(" boundary="), None);
    assert_eq!(boundary(&format!("boundary={}", "x".repeat(71))), None);
}

#[test]
fn a_token_is_found_in_a_whole_part_only() {
    let head = "Content-Disposition: form-data; name=\"csrfmiddlewaretoken\"";
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n\
         --b\r\n{head}\r\n\r\nT\r\n--b--\r\n"
    );
    assert_eq!(find(body.as_bytes(), "b").as_deref(), Some("T"));
    assert_eq!(find(&body.as_bytes()[..body.len() - 8], "b"), None);
    assert_eq!(find(body.as_bytes(), "c"), None);
    assert_eq!(find(b"", "b"), None);
    assert_eq!(find(b"--b", "b"), None);
    assert_eq!(find(b"--b\r\n--b--", "b"), None);
}
