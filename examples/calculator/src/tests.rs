//! What the calculator promises: the protocol, and the same answers over HTTP and WebSocket.

use hulse::test::TestSite;
use serde_json::{Value, json};

use crate::project;
use crate::rpc::answer;

#[track_caller]
fn check(call: &str, expected: Value) {
    assert_eq!(answer(call), Some(expected), "{call}");
}

fn error(code: i32, id: impl Into<Value>) -> Value {
    let id = id.into();
    let message = match code {
        -32700 => "Parse error",
        -32600 => "Invalid Request",
        -32601 => "Method not found",
        -32602 => "Invalid params",
        _ => "Division by zero",
    };
    json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message }, "id": id })
}

fn result(number: f64, id: impl Into<Value>) -> Value {
    let id = id.into();
    json!({ "jsonrpc": "2.0", "result": number, "id": id })
}

#[test]
fn numbers_come_by_place_or_by_name() {
    let call =
        |method, params| format!(r#"{{"jsonrpc":"2.0","method":"{method}",{params},"id":1}}"#);
    check(&call("add", r#""params":[2,3]"#), result(5.0, json!(1)));
    check(&call("subtract", r#""params":{"b":3,"a":2}"#), result(-1.0, json!(1)));
    check(&call("multiply", r#""params":[2.5,4]"#), result(10.0, json!(1)));
    check(&call("divide", r#""params":[1,4]"#), result(0.25, json!(1)));
    check(&call("divide", r#""params":[1,0]"#), error(-32000, json!(1)));
    for params in [r#""params":[2]"#, r#""params":[2,"3"]"#, r#""params":{"a":2}"#, r#""x":1"#] {
        check(&call("add", params), error(-32602, json!(1)));
    }
    check(&call("add", r#""params":{"a":2,"b":3,"c":4}"#), error(-32602, json!(1)));
    check(&call("power", r#""params":[2,3]"#), error(-32601, json!(1)));
}

#[test]
fn what_is_no_call_is_told_so_without_an_id() {
    check("{", error(-32700, Value::Null));
    for call in [
        "1",
        "[]",
        r#"{"method":"add","params":[1,2],"id":1}"#,
        r#"{"jsonrpc":"2.0","method":1,"id":1}"#,
        r#"{"jsonrpc":"2.0","method":"add","params":2,"id":1}"#,
        r#"{"jsonrpc":"2.0","method":"add","id":[1]}"#,
    ] {
        check(call, error(-32600, Value::Null));
    }
    check(&format!("[{}]", vec!["1"; 101].join(",")), error(-32600, Value::Null));
}

#[test]
fn notifications_are_not_answered_and_lists_are_in_order() {
    let notification = r#"{"jsonrpc":"2.0","method":"add","params":[1,2]}"#;
    assert_eq!(answer(notification), None);
    assert_eq!(answer(&format!("[{notification},{notification}]")), None);
    let call = r#"{"jsonrpc":"2.0","method":"add","params":[1,2],"id":"a"}"#;
    let expected = json!([result(3.0, json!("a")), error(-32600, Value::Null)]);
    check(&format!("[{call},{notification},7]"), expected);
}

#[tokio::test]
async fn http_and_websocket_answer_the_same() {
    let client = TestSite::new(project()).await.client().enforce_csrf_checks();
    let call = json!({ "jsonrpc": "2.0", "method": "add", "params": [2, 3], "id": 1 });
    let mut socket = client.socket("/ws/").await;
    for call in [call.clone(), json!([call, 1]), json!({})] {
        let by_http: Value = client.post_json("/", &call).await.json();
        socket.send_json(&call).await;
        let by_socket: Value = socket.receive_json().await;
        assert_eq!(by_http, by_socket, "{call}");
        assert_eq!(Some(by_http), answer(&call.to_string()));
    }
    let notification = json!({ "jsonrpc": "2.0", "method": "add", "params": [2, 3] });
    assert_eq!(client.post_json("/", &notification).await.status(), 204);
    assert_eq!(client.get("/").await.status(), 405);
}
