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
