//! JSON-RPC 2.0: from a message to its answer. Pure.

use serde::Deserialize;
use serde_json::{Value, json};

/// Calls in one message; each answer is larger than its call.
const CALLS_MAX: usize = 100;

/// Code and words of an error. Those of the protocol are from its section 5.1.
type Refusal = (i32, &'static str);

const PARSE_ERROR: Refusal = (-32700, "Parse error");
const INVALID_REQUEST: Refusal = (-32600, "Invalid Request");
const METHOD_NOT_FOUND: Refusal = (-32601, "Method not found");
const INVALID_PARAMS: Refusal = (-32602, "Invalid params");
const DIVISION_BY_ZERO: Refusal = (-32000, "Division by zero");

/// The answer to a message, one call or a list of them; `None` if all of them are notifications.
pub(crate) fn answer(text: &str) -> Option<Value> {
    match serde_json::from_str(text) {
        Err(_) => Some(response(&Value::Null, Err(PARSE_ERROR))),
        Ok(Value::Array(calls)) if calls.is_empty() || calls.len() > CALLS_MAX => {
            Some(response(&Value::Null, Err(INVALID_REQUEST)))
        }
        Ok(Value::Array(calls)) => {
            let answers: Vec<Value> = calls.iter().filter_map(one).collect();
            (!answers.is_empty()).then(|| answers.into())
        }
        Ok(call) => one(&call),
    }
}

fn one(call: &Value) -> Option<Value> {
    let Some(method) = method(call) else {
        return Some(response(&Value::Null, Err(INVALID_REQUEST)));
    };
    let result = calculate(method, call.get("params").unwrap_or(&Value::Null));
    call.get("id").map(|id| response(id, result))
}

/// The method of a well-formed call.
fn method(call: &Value) -> Option<&str> {
    let is_id = |id: &Value| id.is_null() || id.is_string() || id.is_number();
    let is_call = call.get("jsonrpc")? == "2.0"
        && call.get("id").is_none_or(is_id)
        && call.get("params").is_none_or(|params| params.is_array() || params.is_object());
    call.get("method")?.as_str().filter(|_| is_call)
}

/// Two numbers, by place or by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    a: f64,
    b: f64,
}

fn calculate(method: &str, params: &Value) -> Result<f64, Refusal> {
    let of = |work: fn(f64, f64) -> f64| {
        let Numbers { a, b } = Numbers::deserialize(params).map_err(|_| INVALID_PARAMS)?;
        Ok((work(a, b), b))
    };
    let (result, b) = match method {
        "add" => of(|a, b| a + b)?,
        "subtract" => of(|a, b| a - b)?,
        "multiply" => of(|a, b| a * b)?,
        "divide" => of(|a, b| a / b)?,
        _ => return Err(METHOD_NOT_FOUND),
    };
    if method == "divide" && b == 0.0 { Err(DIVISION_BY_ZERO) } else { Ok(result) }
}

fn response(id: &Value, result: Result<f64, Refusal>) -> Value {
    match result {
        Ok(result) => json!({ "jsonrpc": "2.0", "result": result, "id": id }),
        Err((code, message)) => {
            json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message }, "id": id })
        }
    }
}
