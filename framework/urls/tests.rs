use super::pattern::{Pattern, pieces};
use super::{Urls, include, path};

async fn view() -> &'static str {
    "seen"
}

fn matches(route: &str, path: &str) -> Option<Vec<String>> {
    let pattern = Pattern::default().join(route, &pieces(route).unwrap(), &[]).unwrap();
    let values = pattern.matches(path)?;
    Some(values.into_iter().map(|(_, text)| text).collect())
}

fn check(route: &str, path: &str, expected: &[&str]) {
    let expected = expected.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    assert_eq!(matches(route, path), Some(expected), "{route} {path}");
}

fn check_not(route: &str, path: &str) {
    assert_eq!(matches(route, path), None, "{route} {path}");
}

#[test]
fn converters_take_what_django_s_take() {
    check("", "", &[]);
    check_not("", "a");
    check("polls/<int:id>/", "polls/7/", &["7"]);
    check("polls/<int:id>/", "polls/007/", &["007"]);
    check("polls/<int:id>/", "polls/9223372036854775807/", &["9223372036854775807"]);
    check_not("polls/<int:id>/", "polls/9223372036854775808/");
    check_not("polls/<int:id>/", "polls/-1/");
    check_not("polls/<int:id>/", "polls/+1/");
    check_not("polls/<int:id>/", "polls/1");
    check_not("polls/<int:id>/", "polls/1/2/");
    check("<name>/", "Käse ß/", &["Käse ß"]);
    check_not("<name>/", "a/b/");
    check_not("<name>/", "/");
    check("<slug:s>", "a-B_9", &["a-B_9"]);
    check_not("<slug:s>", "ä");
    check_not("<slug:s>", "a.b");
    let uuid = "0123abcd-0123-4567-89ab-0123456789ab";
    check("<uuid:u>", uuid, &[uuid]);
    check_not("<uuid:u>", &uuid.to_uppercase());
    check_not("<uuid:u>", &uuid.replace('-', "0"));
    check("files/<path:p>", "files/a/b c/d", &["a/b c/d"]);
    check_not("files/<path:p>", "files/");
}

#[test]
fn several_captures_in_a_segment_take_the_longest_first() {
    check("<a>-<b>", "x-y-z", &["x-y", "z"]);
    check("<int:year>-<int:month>/<slug:s>/", "2024-05/a-b/", &["2024", "05", "a-b"]);
    check("<path:p>/edit/", "a/b/edit/edit/", &["a/b/edit"]);
    check("<path:p>.<slug:kind>", "a.b/c.txt", &["a.b/c", "txt"]);
    check("<a><int:b>", "x12", &["x1", "2"]);
    check_not("<a>-<b>/", "x-y");
}

#[test]
fn an_ambiguous_route_is_refused_quickly() {
    let path = "-".repeat(500);
    check_not("<a>-<b>-<c>-<d>/", &path);
    check_not("<a>-<b>-<c>-<int:d>", &path);
}

#[test]
fn malformed_routes_say_what_is_wrong() {
    let refused = |route: &str| pieces(route).unwrap_err();
    assert_eq!(refused("/polls/"), "route \"/polls/\" begins with a slash; leave it out");
    assert!(refused("a/<int:id/").contains("without its partner"));
    assert!(refused("a/int:id>/").contains("without its partner"));
    assert!(refused("a/<int: id>/").contains("not of the form"));
    assert!(refused("a/<>/").contains("not of the form"));
    assert!(refused("a/<int:1a>/").contains("not of the form"));
    let twice = "<a>/<a>/";
    let twice = Pattern::default().join(twice, &pieces(twice).unwrap(), &[]).unwrap_err();
    assert_eq!(twice, "route \"<a>/<a>/\" captures \"a\" twice");
}

#[test]
#[should_panic(expected = "no converter is called \"yyyy\"; there are int, str, slug, uuid, path")]
fn an_unknown_converter_stops_the_program() {
    let _ = Urls::new([path("<yyyy:year>/", view)]).resolver();
}

#[test]
fn a_table_finds_the_first_line_and_decodes_once() {
    let year = |text: &str| text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    let polls = Urls::new([
        path("", view).name("index"),
        path("new/", view).name("new"),
        path("<slug:slug>/", view).name("detail"),
        path("in/<yyyy:year>/", view).name("year"),
        path("<name>/results/", view).name("results"),
    ])
    .app_name("polls");
    let urls = Urls::new([include("polls/", polls).csrf_exempt(), path("<path:all>", view)])
        .converter("yyyy", year);
    let table = urls.resolver();
    let found = |path: &str| {
        let matched = table.resolve(path)?;
        let name = matched.line().name().map(ToOwned::to_owned);
        let texts: Vec<_> = matched.captured().iter().map(|(_, text)| text.to_owned()).collect();
        Some((name, texts.join("|"), matched.line().is_csrf_exempt()))
    };
    let polls = |name: &str, texts: &str| Some((Some(format!("polls:{name}")), texts.into(), true));
    assert_eq!(found("/polls/"), polls("index", ""));
    assert_eq!(found("/polls/new/"), polls("new", ""));
    assert_eq!(found("/p%6Flls/a%2Db/"), polls("detail", "a-b"));
    assert_eq!(found("/polls/in/2024/"), polls("year", "2024"));
    assert_eq!(found("/polls/a%2541/results/"), polls("results", "a%41"));
    assert_eq!(found("/polls/a%2Fb"), Some((None, "polls/a/b".into(), false)));
    assert_eq!(found("/polls/%FF/results/"), None);
    assert_eq!(found("/polls/%00/results/"), None);
    assert_eq!(found(&format!("/{}", "a".repeat(9000))), None);
}

#[test]
fn names_are_built_back_into_urls() {
    let inner = || Urls::new([path("<int:id>/<name>", view).name("show")]).app_name("shop");
    let reverse = Urls::new([
        path("", view).name("home"),
        path("list/", view).name("list"),
        path("list/<int:page>/", view).name("list"),
        include("a/", inner()),
        include("b/<slug:who>/", inner()).name("second"),
        path("<path:rest>", view).name("rest"),
    ])
    .reverse();
    let url = |name: &str, arguments: &[&dyn std::fmt::Display]| {
        reverse.url(name, arguments).map_err(|error| error.to_string())
    };
    assert_eq!(url("home", &[]).unwrap(), "/");
    assert_eq!(url("list", &[]).unwrap(), "/list/");
    assert_eq!(url("list", &[&2]).unwrap(), "/list/2/");
    assert_eq!(url("shop:show", &[&7, &"ä b?#%"]).unwrap(), "/a/7/%C3%A4%20b%3F%23%25");
    assert_eq!(url("second:show", &[&"me", &7, &"x"]).unwrap(), "/b/me/7/x");
    assert_eq!(url("rest", &[&"/evil.example/"]).unwrap(), "/%2Fevil.example/");
    let with = reverse.url_with("shop:show", &[("name", "x".into()), ("id", "1".into())]);
    assert_eq!(with.unwrap(), "/a/1/x");
    assert_eq!(
        url("show", &[]).unwrap_err(),
        "no URL is called \"show\"; did you mean \"second:show\"?"
    );
    assert_eq!(
        url("list", &[&"x"]).unwrap_err(),
        "URL \"list\" does not take (x); its route: list/, list/<page>/"
    );
    assert!(reverse.url("shop:show", &[&1, &"a/b"]).unwrap_err().is_no_reverse_match());
    assert!(reverse.url_with("list", &[("page", "1".into()), ("x", "1".into())]).is_err());
}
