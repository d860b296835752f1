//! What every template may use of the request: `request`, `csrf_token`, `csrf_input`,
//! `csp_nonce`.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::http::{Processor, Request, pairs};
use crate::template::Value;

/// The framework's own values for templates; the apps' come behind them.
pub fn request_values() -> impl Iterator<Item = Processor> {
    let request = Processor::new("request", async |request: Request| Ok(describe(&request)));
    let token = Processor::new("csrf_token", async |request: Request| {
        Ok(Value::from(request.csrf_token().ok_or_else(no_csrf)?))
    });
    let input = Processor::new("csrf_input", async |request: Request| {
        let token = request.csrf_token().ok_or_else(no_csrf)?;
        Ok(Value::safe_string(&format!(
            r#"<input type="hidden" name="csrfmiddlewaretoken" value="{token}">"#
        )))
    });
    let nonce = Processor::new("csp_nonce", async |request: Request| {
        let nonce = request.csp_nonce();
        Ok(Value::from(nonce.ok_or_else(|| Error::new("making a CSP nonce: outside the stack"))?))
    });
    [request, token, input, nonce].into_iter()
}

fn no_csrf() -> Error {
    Error::new("making a CSRF token: the csrf middleware has not seen this request")
}

fn describe(request: &Request) -> Value {
    let query = request.uri().query().unwrap_or("");
    let query: BTreeMap<String, String> = pairs(query.as_bytes())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    Value::from_serializable(&serde_json::json!({
        "method": request.method().as_str(),
        "path": request.path(),
        "full_path": request.full_path(),
        "host": request.host(),
        "scheme": request.scheme(),
        "query": query,
    }))
}
