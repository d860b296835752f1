use super::{App, Project};
use crate::conf::{ContentPolicy, MailBackend, Secret, Settings};
use crate::urls::{Urls, include, path};

struct Named(&'static str);

impl App for Named {
    fn label(&self) -> &'static str {
        self.0
    }
}

async fn view() {}

fn found(project: &Project, change: impl FnOnce(&mut Settings)) -> Vec<&'static str> {
    let mut settings = Settings::default();
    settings.secret_key = Secret::new("0123456789".repeat(5));
    settings.allowed_hosts = vec!["example.com".into()];
    change(&mut settings);
    project.check(&settings).iter().map(|check| check.id).collect()
}

fn project() -> Project {
    Project::new("checks", "/nowhere")
}

#[test]
fn a_sound_project_has_no_findings() {
    let urls = Urls::new([
        path("", view).name("list"),
        path("<int:page>/", view).name("list"),
        include("a/", Urls::new([path("", view).name("list")]).app_name("a")),
    ]);
    let sound = project().install(Named("polls")).install(Named("chat_2")).urls(urls);
    assert!(found(&sound, |_| {}).is_empty());
}

#[test]
fn apps_with_one_label_or_a_bad_one_are_found() {
    let twice = project().install(Named("polls")).install(Named("polls"));
    assert_eq!(found(&twice, |_| {}), ["apps.E001"]);
    assert_eq!(found(&project().install(Named("My-App")), |_| {}), ["apps.E002"]);
}

#[test]
fn urls_that_hide_each_other_are_found() {
    let twice = Urls::new([path("a/", view), path("a/", view)]);
    assert_eq!(found(&project().urls(twice), |_| {}), ["urls.W001"]);
    let named = Urls::new([path("a/", view).name("x"), path("b/", view).name("x")]);
    assert_eq!(found(&project().urls(named), |_| {}), ["urls.W005"]);
}

#[test]
fn settings_that_cannot_work_are_found() {
    let project = project();
    assert_eq!(
        found(&project, |s| s.csrf.trusted_origins = vec!["a.example".into()]),
        ["4_0.E001"]
    );
    assert_eq!(
        found(&project, |s| s.security.referrer_policy = "same-origin, never".into()),
        ["security.E023"]
    );
    assert!(
        found(&project, |s| s.security.referrer_policy = "no-referrer, origin".into()).is_empty()
    );
    assert_eq!(
        found(&project, |s| s.security.cross_origin_opener_policy = "same_origin".into()),
        ["security.E024"]
    );
}

/// What `check --deploy` finds in settings that are careful but for what `change` changes.
fn found_deployed(change: impl FnOnce(&mut Settings)) -> Vec<&'static str> {
    let mut settings = Settings::default();
    settings.secret_key = Secret::new("0123456789".repeat(5));
    settings.allowed_hosts = vec!["example.com".into()];
    settings.csrf.cookie_secure = true;
    settings.security.ssl_redirect = true;
    settings.security.hsts_seconds = 31_536_000;
    settings.security.hsts_include_subdomains = true;
    settings.security.hsts_preload = true;
    change(&mut settings);
    project().check_deploy(&settings).iter().map(|check| check.id).collect()
}

#[test]
fn each_carelessness_has_django_s_id() {
    let check = |change: fn(&mut Settings), id: &str| {
        assert_eq!(found_deployed(change), [id]);
    };
    assert!(found_deployed(|_| {}).is_empty());
    check(|s| s.security.x_frame_options.clear(), "security.W002");
    check(|s| s.server.message_rate = 0, "security.W102");
    check(|s| s.server.sockets_per_user = 0, "security.W102");
    check(|s| s.server.groups_per_socket = 0, "security.W102");
    check(|s| s.server.sockets_per_address = 0, "security.W102");
    check(|s| s.security.hsts_seconds = 0, "security.W004");
    check(|s| s.security.hsts_include_subdomains = false, "security.W005");
    check(|s| s.security.content_type_nosniff = false, "security.W006");
    check(|s| s.security.ssl_redirect = false, "security.W008");
    check(|s| s.secret_key = Secret::new("short"), "security.W009");
    check(|s| s.secret_key = Secret::new("ab".repeat(30)), "security.W009");
    let django = |s: &mut Settings| {
        s.secret_key = Secret::new(format!("django-insecure-{}", "0123456789".repeat(5)));
    };
    check(django, "security.W009");
    check(|s| s.csrf.cookie_secure = false, "security.W016");
    check(|s| s.debug = true, "security.W018");
    check(|s| s.security.x_frame_options = "SAMEORIGIN".into(), "security.W019");
    check(|s| s.allowed_hosts.clear(), "security.W020");
    check(|s| s.security.hsts_preload = false, "security.W021");
    check(|s| s.security.referrer_policy.clear(), "security.W022");
    check(|s| s.mail.backend = Some(MailBackend::Console), "mail.E001");
    check(|s| s.security.csp = ContentPolicy::none(), "security.W101");
    check(|s| s.secret_key_fallbacks = vec![Secret::new("old")], "security.W025");
}

#[test]
fn carelessness_is_no_finding_of_a_check_without_deploy() {
    let careless = |settings: &mut Settings| {
        settings.secret_key = Secret::new("short");
        settings.allowed_hosts.clear();
    };
    assert!(found(&project(), careless).is_empty());
}
