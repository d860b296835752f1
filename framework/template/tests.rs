use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

use super::{Context, Sources, Templates};
use crate::context;
use crate::error::Result;

fn load(files: &[(&str, &str)], folders: Vec<PathBuf>, watch: bool) -> Result<Templates> {
    let embedded = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Cow::Owned(text.as_bytes().to_vec())))
        .collect();
    Templates::load(Sources { folders, embedded, watch, functions: Box::new(|_| {}) })
}

fn check(template: &str, context: &Context, expected: &str) {
    let templates = load(&[("x.html", template)], Vec::new(), false).unwrap();
    assert_eq!(templates.render("x.html", context).unwrap(), expected, "{template}");
}

#[test]
fn values_are_escaped_as_in_django() {
    let context = context! { text: "<a href=\"x\">'&'</a>" };
    check("{{ text }}", &context, "&lt;a href=&quot;x&quot;&gt;&#x27;&amp;&#x27;&lt;/a&gt;");
    check("{{ text | safe }}", &context, "<a href=\"x\">'&'</a>");
    let plain = load(&[("x.txt", "{{ text }}")], Vec::new(), false).unwrap();
    assert_eq!(plain.render("x.txt", &context).unwrap(), "<a href=\"x\">'&'</a>");
}

#[test]
fn filters_do_what_django_s_do() {
    let context = context! { text: "a&b\n<c>", day: "2024-05-06", time: "2024-05-06T07:08:09Z" };
    check("{{ text | linebreaksbr }}", &context, "a&amp;b<br>&lt;c&gt;");
    check("{{ text | urlencode }}", &context, "a%26b%0A%3Cc%3E");
    let json = r#"<script id="t" type="application/json">"a\u0026b\n\u003Cc\u003E"</script>"#;
    check("{{ text | json_script(id='t') }}", &context, json);
    check("{{ day | date }} {{ time | date(format='%H:%M') }}", &context, "May. 6, 2024 07:08");
    check("{{ true | yesno }} {{ 0 | yesno(no='off') }}", &context, "yes off");
}

#[test]
fn the_first_source_of_a_name_wins() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    fs::write(folder.path().join("a/x.html"), "disk").unwrap();
    fs::write(folder.path().join("a/.x.html.swp"), b"\xff").unwrap();
    let files = [("a/x.html", "app"), ("y.html", "app"), ("y.html", "framework")];
    let templates = load(&files, vec![folder.path().into(), "/nowhere".into()], false).unwrap();
    assert_eq!(templates.render("a/x.html", &Context::new()).unwrap(), "disk");
    assert_eq!(templates.render("y.html", &Context::new()).unwrap(), "app");
}

#[test]
fn a_changed_file_is_read_again_only_when_watched() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.html");
    fs::write(&file, "one").unwrap();
    let folders = || vec![folder.path().to_owned()];
    let (watched, fixed) =
        (load(&[], folders(), true).unwrap(), load(&[], folders(), false).unwrap());
    let render = |templates: &Templates| templates.render("x.html", &Context::new());
    fs::write(&file, "and two").unwrap();
    assert_eq!(render(&watched).unwrap(), "and two");
    assert_eq!(render(&fixed).unwrap(), "one");
    fs::write(&file, "{% if %}").unwrap();
    assert!(render(&watched).unwrap_err().to_string().contains("\"x.html\", line 1"));
    fs::write(&file, "mended").unwrap();
    assert_eq!(render(&watched).unwrap(), "mended");
}

#[test]
fn an_error_names_template_and_line() {
    let error = |files: &[(&str, &str)]| {
        let rendered = load(files, Vec::new(), false)
            .and_then(|templates| templates.render("x.html", &Context::new()));
        let error = rendered.unwrap_err();
        assert!(error.is_template());
        error.to_string()
    };
    assert_eq!(error(&[]), "there is no template \"x.html\"");
    let undefined = error(&[("x.html", "a\n  {{ post.title }}")]);
    assert!(undefined.starts_with("rendering \"x.html\", line 2, column 6: "), "{undefined}");
    let included = error(&[("x.html", "{% include 'y.html' %}"), ("y.html", "\n\n{{ y }}")]);
    assert!(included.starts_with("rendering \"y.html\", line 3"), "{included}");
    let syntax = error(&[("x.html", "a\n{% for %}")]);
    assert!(syntax.starts_with("reading \"x.html\", line 2"), "{syntax}");
    let parent = error(&[("x.html", "{% extends 'base.html' %}")]);
    assert!(parent.contains("base.html"), "{parent}");
    let function = error(&[("x.html", "{{ nope(a=1) }}")]);
    assert!(function.contains("nope"), "{function}");
}

#[test]
fn a_template_mentions_what_its_tags_and_relatives_use() {
    let files = [
        ("base.html", "{{ user.name }}{% block a %}{% endblock a %}"),
        ("child.html", "{% extends 'base.html' %}{% block a %}{{ request.path }}{% endblock a %}"),
        ("outer.html", "{% include \"inner.html\" %}"),
        ("inner.html", "{{ messages | length }}"),
        ("parts.html", "{% component Nav(@perms) %}{{ perms }}{% endcomponent Nav %}"),
        ("page.html", "{{ <Nav /> }}"),
        ("none.html", "user {# {{ }} #} {{ \"user\" }} {{ a.user }} {{ f(user=1) }}"),
        ("map.html", "{{ {\"a\": {\"b\": 1} } | get(key=user) }}"),
        ("quote.html", "{{ 'it\\'s' ~ user }}"),
        ("compare.html", "{% if 1 < user and perms == 2 %}{% endif %}"),
    ];
    let functions = |tera: &mut tera::Tera| {
        tera.register_function("f", |_: tera::Kwargs, _: &tera::State<'_>| "");
    };
    let embedded = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), Cow::Borrowed(text.as_bytes())))
        .collect();
    let sources =
        Sources { folders: Vec::new(), embedded, watch: false, functions: Box::new(functions) };
    let templates = Templates::load(sources).unwrap();
    assert!(templates.mentions("child.html", "user"));
    assert!(templates.mentions("child.html", "request"));
    assert!(!templates.mentions("base.html", "request"));
    assert!(templates.mentions("outer.html", "messages"));
    assert!(templates.mentions("page.html", "perms"));
    assert!(!templates.mentions("none.html", "user"));
    assert!(templates.mentions("map.html", "user"));
    assert!(templates.mentions("quote.html", "user"));
    assert!(templates.mentions("compare.html", "user"));
    assert!(templates.mentions("compare.html", "perms"));
}
