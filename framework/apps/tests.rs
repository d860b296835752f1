use super::{App, Project};
use crate::conf::{Secret, Settings};
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
fn careless_settings_are_found_outside_debug() {
    let project = project();
    assert_eq!(found(&project, |s| s.secret_key = Secret::new("short")), ["security.W009"]);
    assert_eq!(found(&project, |s| s.secret_key = Secret::new("ab".repeat(30))), ["security.W009"]);
    assert_eq!(
        found(&project, |s| s.secret_key_fallbacks = vec![Secret::new("old")]),
        ["security.W025"]
    );
    assert_eq!(found(&project, |s| s.allowed_hosts.clear()), ["security.W020"]);
    assert_eq!(
        found(&project, |s| s.csrf.trusted_origins = vec!["a.example".into()]),
        ["csrf.E001"]
    );
    let careless = |settings: &mut Settings| {
        settings.debug = true;
        settings.secret_key = Secret::default();
        settings.allowed_hosts.clear();
    };
    assert!(found(&project, careless).is_empty());
}
