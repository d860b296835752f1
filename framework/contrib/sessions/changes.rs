//! What one request has changed in a session, on top of what others have changed meanwhile.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

/// What a session remembers.
pub(super) type Data = HashMap<String, Value>;

/// `now` with what `own` changed since `seen`: of two requests that change different keys both have
/// their way, of the same key the later one has.
pub(super) fn merge(seen: &Data, own: &Data, mut now: Data) -> Data {
    for (key, value) in own.iter().filter(|(key, value)| seen.get(*key) != Some(value)) {
        now.insert(key.clone(), value.clone());
    }
    for key in seen.keys().filter(|key| !own.contains_key(*key)) {
        now.remove(key);
    }
    now
}

/// As JSON, in the order of the keys.
pub(super) fn encode<'d>(data: impl IntoIterator<Item = (&'d String, &'d Value)>) -> String {
    let sorted: BTreeMap<&String, &Value> = data.into_iter().collect();
    serde_json::to_string(&sorted).expect("JSON can be written")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Data, encode, merge};

    fn data(text: &str) -> Data {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn changes_are_put_on_top_of_those_of_others() {
        let check = |seen: &str, own: &str, now: &str, merged: &str| {
            assert_eq!(merge(&data(seen), &data(own), data(now)), data(merged));
        };
        check("{}", r#"{"a":1}"#, r#"{"b":2}"#, r#"{"a":1,"b":2}"#);
        check(r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":2}"#);
        check(r#"{"a":1}"#, r#"{"a":3}"#, r#"{"a":2}"#, r#"{"a":3}"#);
        check(r#"{"a":1,"c":1}"#, r#"{"c":1}"#, r#"{"a":2,"c":1}"#, r#"{"c":1}"#);
        check(r#"{"a":1}"#, r#"{"a":1}"#, "{}", "{}");
        check(r#"{"a":1}"#, "{}", r#"{"a":1,"b":1}"#, r#"{"b":1}"#);
    }

    #[test]
    fn what_is_written_has_an_order() {
        let data: Data = [("b", json!([1])), ("a", json!("x"))].map(|(k, v)| (k.into(), v)).into();
        assert_eq!(encode(&data), r#"{"a":"x","b":[1]}"#);
    }
}
