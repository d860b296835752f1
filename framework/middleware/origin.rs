//! Which pages may write here or open a socket: a browser sends their Origin, and nothing else
//! protects a socket from a foreign page that has the visitor's cookies.

use crate::http::Request;

/// Whether a page of `origin` (`https://example.com`) may send this request: it is the site's own,
/// or one of `csrf.trusted_origins`.
#[must_use]
pub fn is_allowed_origin(request: &Request, origin: &str) -> bool {
    let trusted = &request.settings().csrf.trusted_origins;
    is_allowed(origin, request.scheme(), request.host(), trusted)
}

/// Whether a page of `origin` may connect to the site `scheme://host`. `trusted` has exact origins
/// and `https://*.example.com` (any subdomain, same scheme and port).
fn is_allowed(origin: &str, scheme: &str, host: &str, trusted: &[String]) -> bool {
    let origin = origin.to_ascii_lowercase();
    let Some((origin_scheme, origin_host)) = split(&origin) else { return false };
    let is_own = origin_scheme == scheme
        && without_default_port(scheme, origin_host)
            == without_default_port(scheme, &host.to_ascii_lowercase());
    is_own || trusted.iter().any(|entry| is_match(origin_scheme, origin_host, entry))
}

fn is_match(scheme: &str, host: &str, trusted: &str) -> bool {
    let trusted = trusted.to_ascii_lowercase();
    let Some((trusted_scheme, trusted_host)) = split(&trusted) else { return false };
    if scheme != trusted_scheme {
        return false;
    }
    let (host, wanted) =
        (without_default_port(scheme, host), without_default_port(scheme, trusted_host));
    match wanted.strip_prefix("*.") {
        None => host == wanted,
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// Scheme and authority of an origin; nothing may follow.
fn split(origin: &str) -> Option<(&str, &str)> {
    let (scheme, host) = origin.split_once("://")?;
    (!host.is_empty() && !host.contains(['/', '?', '#', '@'])).then_some((scheme, host))
}

fn without_default_port<'a>(scheme: &str, host: &'a str) -> &'a str {
    let port = if scheme == "https" { ":443" } else { ":80" };
    host.strip_suffix(port).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[track_caller]
    fn check(origin: &str, expected: bool) {
        let trusted =
            ["https://partner.example".to_owned(), "https://*.friends.example".to_owned()];
        assert_eq!(is_allowed(origin, "http", "site.example:8060", &trusted), expected, "{origin}");
    }

    #[test]
    fn only_the_own_and_trusted_origins_may_connect() {
        check("http://site.example:8060", true);
        check("HTTP://SITE.example:8060", true);
        check("http://site.example", false);
        check("http://site.example:8061", false);
        check("https://site.example:8060", false);
        check("http://site.example:8060.evil.example", false);
        check("http://site.example:8060/", false);
        check("http://user@site.example:8060", false);
        check("https://partner.example", true);
        check("https://partner.example:443", true);
        check("http://partner.example", false);
        check("https://a.friends.example", true);
        check("https://a.b.friends.example", true);
        check("https://friends.example", false);
        check("https://evilfriends.example", false);
        check("null", false);
        check("", false);
    }

    #[test]
    fn a_default_port_may_be_named_or_not() {
        assert!(is_allowed("http://site.example", "http", "site.example:80", &[]));
        assert!(is_allowed("https://site.example:443", "https", "site.example", &[]));
    }
}
