//! Finding the token in a form, without keeping the form from the view.

use axum::body::{Body, Bytes};
use futures_util::{StreamExt, stream};
use http::Method;

use super::FIELD;
use crate::error::Result;
use crate::http::{
    Held, Request, bad_request, boundary, check_field_count, in_time, next_data, pairs, whole_form,
};

/// How far into a multipart body the token is looked for, bytes. It stands before the files.
const MULTIPART_BYTES_MAX: usize = 65_536;

/// The form's token, and the whole body.
pub(super) async fn token(seen: &Request, body: Body) -> Result<(Option<String>, Body)> {
    if seen.method() != Method::POST {
        return Ok((None, body));
    }
    let kind = seen.header("content-type").unwrap_or("");
    let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/x-www-form-urlencoded" => urlencoded(seen, body).await,
        "multipart/form-data" => match boundary(parameters) {
            Some(boundary) => {
                in_time(&seen.settings().http, multipart(seen, &boundary, body)).await
            }
            None => Err(bad_request("a multipart form without a boundary")),
        },
        _ => Ok((None, body)),
    }
}

async fn urlencoded(seen: &Request, body: Body) -> Result<(Option<String>, Body)> {
    let form = whole_form(seen.site(), seen.remote_address(), body).await?;
    check_field_count(seen.settings(), &form)?;
    let token = pairs(&form).find(|(name, _)| name == FIELD).map(|(_, value)| value.into_owned());
    Ok((token, Body::from(form)))
}

async fn multipart(
    seen: &Request,
    boundary: &str,
    mut body: Body,
) -> Result<(Option<String>, Body)> {
    let (held, mut read) = (Held::new(seen.site(), seen.remote_address()), Vec::new());
    let mut search_at = 1024;
    let mut token = None;
    while let Some(data) = next_data(&mut body).await? {
        held.take(data.len())?;
        read.extend_from_slice(&data);
        // Searched anew only when twice as much has come, so many small pieces cost nothing.
        if read.len() >= search_at {
            token = find(&read, boundary);
            search_at = read.len() * 2;
        }
        if token.is_some() || read.len() > MULTIPART_BYTES_MAX {
            break;
        }
    }
    let token = token.or_else(|| find(&read, boundary));
    let begun = stream::iter([Ok::<Bytes, axum::Error>(read.into())]);
    Ok((token, Body::from_stream(begun.chain(body.into_data_stream()))))
}

/// The token in the parts of a multipart body that are whole.
pub(super) fn find(body: &[u8], boundary: &str) -> Option<String> {
    let delimiter = format!("--{boundary}");
    let mut rest = &body[position(body, delimiter.as_bytes())? + delimiter.len()..];
    let next = format!("\r\n--{boundary}");
    while let Some(end) = position(rest, next.as_bytes()) {
        let part = &rest[..end];
        rest = &rest[end + next.len()..];
        let Some(blank) = position(part, b"\r\n\r\n") else { continue };
        let (head, value) = (&part[..blank], &part[blank + 4..]);
        if is_token(&String::from_utf8_lossy(head)) {
            return String::from_utf8(value.to_vec()).ok();
        }
    }
    None
}

fn is_token(head: &str) -> bool {
    let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let mut disposition =
        lines.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let Some((_, value)) = disposition.next() else { return false };
    let mut parameters = value.split(';').filter_map(|parameter| parameter.split_once('='));
    parameters.any(|(name, value)| {
        name.trim().eq_ignore_ascii_case("name") && value.trim().trim_matches('"') == FIELD
    })
}

fn position(within: &[u8], what: &[u8]) -> Option<usize> {
    within.windows(what.len()).position(|window| window == what)
}
