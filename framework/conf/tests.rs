use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::load::load_from;
use super::{Override, Section, Sections, Settings, Sources, nearest};
use crate::error::Result;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ChatSettings {
    message_bytes_max: usize,
    rooms: Vec<String>,
    greeting: Option<String>,
    tone: Tone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Tone {
    Quiet,
    Loud,
}

impl Default for ChatSettings {
    fn default() -> Self {
        Self { message_bytes_max: 4096, rooms: Vec::new(), greeting: None, tone: Tone::Quiet }
    }
}

impl Section for ChatSettings {
    const NAME: &'static str = "chat";
}

/// A current folder and a project's folder, with files and variables to come.
struct World {
    folder: tempfile::TempDir,
    variables: Vec<(OsString, OsString)>,
    sources: Sources,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("here")).unwrap();
        fs::create_dir(folder.path().join("project")).unwrap();
        let sources = Sources {
            folder: folder.path().join("project"),
            sections: Sections::default().with::<ChatSettings>(),
            ..Sources::default()
        };
        Self { folder, variables: Vec::new(), sources }
    }

    /// With this `settings.toml` in the current folder.
    fn with(text: &str) -> Self {
        Self::new().file("here/settings.toml", text)
    }

    fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.folder.path().join(name), text).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, flag: Override) -> Self {
        self.sources.flags.push(flag);
        self
    }

    fn named(mut self, file: &str) -> Self {
        self.sources.file = Some(file.into());
        self
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn load(&self) -> Result<Settings> {
        let environment = Environment::of(self.variables.clone());
        load_from(self.sources.clone(), &environment, &self.path("here"))
    }

    /// The error's words, with the folder taken out of paths.
    fn error(&self) -> String {
        let error = self.load().unwrap_err();
        assert!(error.is_settings());
        error.to_string().replace(&format!("{}/", self.folder.path().display()), "")
    }
}

/// Loading `text` must fail with exactly these words.
fn check_error(text: &str, expected: &str) {
    assert_eq!(World::with(text).error(), expected);
}

#[test]
fn each_source_wins_over_the_ones_before_it() {
    let world = World::with("debug = true\n[server]\nworkers = 1\ntimeout = 11");
    assert_eq!(world.load().unwrap().server.workers, 1);
    let world = world
        .file("here/settings.test.toml", "[server]\nworkers = 2")
        .variable("HULSE_ENV", "test");
    let settings = world.load().unwrap();
    assert_eq!((settings.server.workers, settings.server.timeout), (2, 11));
    let world = world.variable("HULSE_SERVER__WORKERS", "3");
    assert_eq!(world.load().unwrap().server.workers, 3);
    let world = world.flag(Override::new("server.workers", "--workers", "4"));
    assert_eq!(world.load().unwrap().server.workers, 4);
}

#[test]
fn the_file_is_looked_for_by_flag_variable_folder_and_project() {
    let world = World::new().file("project/settings.toml", "debug = true\n[log]\nlevel = \"d\"");
    let level = |world: &World| world.load().unwrap().log.level;
    assert_eq!(level(&world), "d");
    let world = world.file("here/settings.toml", "debug = true\n[log]\nlevel = \"c\"");
    assert_eq!(level(&world), "c");
    let world = world.file("b.toml", "debug = true\n[log]\nlevel = \"b\"");
    let world = world.variable("HULSE_SETTINGS", "../b.toml");
    assert_eq!(level(&world), "b");
    let world = world.file("a.toml", "debug = true\n[log]\nlevel = \"a\"").named("../a.toml");
    assert_eq!(level(&world), "a");
}

#[test]
fn no_file_at_all_is_fine_but_a_named_one_must_be_there() {
    let world = World::new().variable("SECRET_KEY", "x");
    let settings = world.load().unwrap();
    assert_eq!(settings.base, world.path("here"));
    assert_eq!(settings.file, None);
    assert_eq!(world.named("none.toml").error(), "there is no settings file here/none.toml");
}

#[test]
fn relative_paths_start_at_the_file() {
    let world = World::new().file("project/settings.toml", "debug = true");
    let settings = world.load().unwrap();
    assert_eq!(settings.base, world.path("project"));
    assert_eq!(settings.resolve(Path::new("static")), world.path("project/static"));
    assert_eq!(settings.resolve(Path::new("/srv")), Path::new("/srv"));
}

#[test]
fn the_file_of_an_environment_must_be_there_and_lies_beside_the_other() {
    let world = World::with("debug = true").variable("HULSE_ENV", "prod");
    let words = "HULSE_ENV is \"prod\", but there is no here/settings.prod.toml";
    assert_eq!(world.error(), words);
    let world = World::with("debug = true").variable("HULSE_ENV", "../prod");
    assert!(world.error().contains("only ASCII letters"));
}

#[test]
fn plain_variables_are_known_and_the_precise_ones_win() {
    let world = World::new()
        .variable("SECRET_KEY", "plain")
        .variable("DATABASE_URL", "sqlite://plain")
        .variable("HULSE_DATABASE__URL", "sqlite://precise")
        .variable("HULSE_TEST_POSTGRES", "no setting")
        .variable("HULSE_LOG__LEVEL", "");
    let settings = world.load().unwrap();
    assert_eq!(settings.secret_key.expose(), "plain");
    assert_eq!(settings.database.url.expose(), "sqlite://precise");
    assert_eq!(settings.log.level, "info", "an empty variable counts as unset");
}

#[test]
fn text_of_variables_becomes_what_the_setting_wants() {
    let world = World::new()
        .variable("HULSE_DEBUG", "yes")
        .variable("HULSE_ALLOWED_HOSTS", "a.example, b.example")
        .variable("HULSE_SERVER__BIND", "[\":1\", \":2\"]")
        .variable("HULSE_SERVER__TIMEOUT", "7")
        .variable("HULSE_CHAT__TONE", "loud")
        .variable("HULSE_CHAT__GREETING", "hi");
    let settings = world.load().unwrap();
    assert!(settings.debug);
    assert_eq!(settings.allowed_hosts, ["a.example", "b.example"]);
    assert_eq!(settings.server.bind, [":1", ":2"]);
    assert_eq!(settings.server.timeout, 7);
    let chat = settings.section::<ChatSettings>();
    assert_eq!((chat.tone, chat.greeting.as_deref()), (Tone::Loud, Some("hi")));
}

#[test]
fn an_apps_section_can_be_replaced() {
    let mut settings = World::with("debug = true").load().unwrap();
    settings.set_section(ChatSettings { message_bytes_max: 7, ..ChatSettings::default() }).unwrap();
    assert_eq!(settings.section::<ChatSettings>().message_bytes_max, 7);
}

#[test]
fn an_apps_section_is_typed_and_has_defaults() {
    let settings = World::with("debug = true").load().unwrap();
    assert_eq!(settings.section::<ChatSettings>().message_bytes_max, 4096);
    let text = "debug = true\n[chat]\nmessage_bytes_max = 10\nrooms = [\"a\"]";
    let chat = World::with(text).load().unwrap().section::<ChatSettings>();
    assert_eq!((chat.message_bytes_max, chat.rooms.as_slice()), (10, &["a".to_owned()][..]));
}

#[test]
fn an_unknown_key_names_its_place_and_the_nearest_known_one() {
    check_error(
        "debug = true\n[server]\nwokers = 4",
        "here/settings.toml:3: server.wokers: unknown key, did you mean server.workers?",
    );
    check_error("\ndebgu = true", "here/settings.toml:2: debgu: unknown key, did you mean debug?");
    check_error("[caht]", "here/settings.toml:1: caht: unknown key, did you mean chat?");
    check_error(
        "[chat]\nmessage_byte_max = 1",
        "here/settings.toml:2: chat.message_byte_max: unknown key, did you mean \
         chat.message_bytes_max?",
    );
    check_error(
        "[log]\nxyzzy = 1",
        "here/settings.toml:2: log.xyzzy: unknown key, known here are level, format, access, \
         access_query, file",
    );
}

#[test]
fn an_unknown_variable_is_named() {
    let world = World::with("debug = true").variable("HULSE_SERVER__WOKERS", "4");
    let words = "HULSE_SERVER__WOKERS: server.wokers: unknown key, did you mean server.workers?";
    assert_eq!(world.error(), words);
}

#[test]
fn a_wrong_type_names_its_place() {
    check_error(
        "[server]\n\nworkers = \"four\"",
        "here/settings.toml:3: server.workers: invalid type: string \"four\", expected usize",
    );
    check_error(
        "server = 4",
        "here/settings.toml:1: server: invalid type: integer `4`, expected struct Server",
    );
    check_error(
        "allowed_hosts = [\n  \"a\",\n  5,\n]",
        "here/settings.toml:3: allowed_hosts: invalid type: integer `5`, expected a string",
    );
    check_error(
        "[chat]\ntone = \"shrill\"",
        "here/settings.toml:2: chat.tone: unknown variant `shrill`, expected `quiet` or `loud`",
    );
    let world = World::with("debug = true").variable("HULSE_SERVER__WORKERS", "-1");
    let words = "HULSE_SERVER__WORKERS: server.workers: \"-1\" is not a number that fits";
    assert_eq!(world.error(), words);
    let world = World::with("").variable("HULSE_DEBUG", "maybe");
    assert_eq!(world.error(), "HULSE_DEBUG: debug: \"maybe\" is neither true nor false");
}

#[test]
fn what_is_no_toml_names_its_line() {
    let words = World::with("debug = true\n[server").error();
    assert!(words.starts_with("here/settings.toml:2: "), "{words}");
    let words = World::with("debug = true\ndebug = false").error();
    assert!(words.starts_with("here/settings.toml:2: "), "{words}");
}

#[test]
fn a_secret_never_shows_itself() {
    let text = "secret_key = \"hunter2\"\n[database]\nurl = \"postgres://ann:hunter2@db/x\"";
    let settings = World::with(text).load().unwrap();
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(!settings.report().contains("hunter2"));
    check_error(
        "secret_key = 5551234",
        "here/settings.toml:1: secret_key: expected text in quotes",
    );
}

#[test]
fn a_missing_secret_key_is_an_error_outside_debug_that_says_how_to_make_one() {
    assert!(World::with("debug = true").load().is_ok());
    let words = World::with("").error();
    assert!(words.contains("SECRET_KEY is not set") && words.contains("openssl rand"), "{words}");
}

#[test]
fn values_that_cannot_work_name_their_place() {
    let check = |text: &str, expected: &str| {
        check_error(&format!("debug = true\n{text}"), &format!("here/settings.toml:3: {expected}"));
    };
    check("[server]\ntimeout = 0", "server.timeout must be more than 0");
    for limit in ["form_memory_max", "form_disk_max", "form_timeout"] {
        let refused = format!("http.{limit} must be more than 0");
        check(&format!("[http]\n{limit} = 0"), &refused);
    }
    check("[server]\nworkers = 9999", "server.workers is more than 1024");
    check("[server]\nbind = []", "server.bind names no address");
    check("[static]\nurl = \"static\"", "static.url must begin and end with a slash");
    check("[log]\nformat = \"xml\"", "log.format is neither text nor json");
    check_error(
        "debug = true\ntime_zone = \"Mars/Base\"",
        "here/settings.toml:2: time_zone: \"Mars/Base\" is no time zone; one is called \
         Europe/Berlin or UTC",
    );
}

#[test]
fn the_report_says_where_each_value_comes_from() {
    let world = World::with("debug = true\n[chat]\nmessage_bytes_max = 5")
        .variable("SECRET_KEY", "x")
        .flag(Override::list("server.bind", "--bind", &[":0".into(), ":1".into()]));
    let report = world.load().unwrap().report();
    let has = |line: &str| assert!(report.lines().any(|l| l == line), "{line}\n{report}");
    let file = world.path("here/settings.toml");
    has(&format!("debug = true  # {}:1", file.display()));
    has(&format!("chat.message_bytes_max = 5  # {}:3", file.display()));
    has("secret_key = \"********\"  # SECRET_KEY");
    has("server.bind = [\":0\",\":1\"]  # --bind");
    has("log.level = \"info\"  # default");
}

#[test]
fn the_nearest_word_is_found_if_it_is_near_enough() {
    let known = ["migrate", "makemigrations", "pulse"];
    let check = |word, expected| assert_eq!(nearest(word, known), expected, "{word}");
    check("migrat", Some("migrate"));
    check("mgirate", Some("migrate"));
    check("makemigration", Some("makemigrations"));
    check("pluse", Some("pulse"));
    check("serve", None);
    check("", None);
}

#[test]
fn patterns_keep_the_order_in_which_they_are_written() {
    let patterns = |text: &str| World::with(text).load().unwrap().channels.capacities.0;
    let written = |names: &[(&str, usize)]| -> Vec<(String, usize)> {
        names.iter().map(|(name, capacity)| ((*name).to_owned(), *capacity)).collect()
    };
    let line = "debug = true\n[channels]\ncapacities = { \"z*\" = 1, \"a*\" = 2, \"*\" = 3 }\n";
    assert_eq!(patterns(line), written(&[("z*", 1), ("a*", 2), ("*", 3)]));
    let table = "debug = true\n[channels.capacities]\n\"t.big*\" = 9\n\"t*\" = 1\n\"a\" = 5\n";
    assert_eq!(patterns(table), written(&[("t.big*", 9), ("t*", 1), ("a", 5)]));
    let none = "debug = true\n[channels]\ncapacities = { \"z*\" = 0 }\n";
    let refused = World::with(none).load().unwrap_err().to_string();
    assert!(refused.contains("channels.capacities.z* must be more than 0"), "{refused}");
}

#[test]
fn a_content_policy_is_a_table_or_the_header_s_text() {
    let csp = |world: World| world.load().unwrap().security.csp.text(Some("n0"));
    let table = "debug = true\n[security.csp]\nscript-src = [\"'self'\", \"'nonce'\"]\n\
                 default-src = [\"'none'\"]\nupgrade-insecure-requests = []";
    let expected = "script-src 'self' 'nonce-n0'; default-src 'none'; upgrade-insecure-requests";
    assert_eq!(csp(World::with(table)), expected);
    let text = "default-src 'self';  img-src 'self' data: ;";
    let world = World::with(table).variable("HULSE_SECURITY__CSP", text);
    assert_eq!(csp(world), "default-src 'self'; img-src 'self' data:");
    let off = World::with("debug = true\n[security]\ncsp = \"\"");
    assert!(off.load().unwrap().security.csp.is_empty());
    check_error(
        "debug = true\n[security.csp]\nimg-src = [\"'self'; script-src *\"]",
        "here/settings.toml:2: security.csp: \"'self'; script-src *\" is no source of img-src",
    );
}

#[test]
fn a_path_that_is_no_regular_expression_is_refused() {
    check_error(
        "debug = true\n[security]\nredirect_exempt = [\"(\"]",
        "here/settings.toml:3: security.redirect_exempt has \"(\", which is no regular expression",
    );
}

#[test]
fn the_server_s_defaults_are_those_it_is_known_for() {
    let settings = World::with("").variable("SECRET_KEY", "x").load().unwrap();
    let report = settings.report();
    // `pulse`'s flags in their order, and what they are without them.
    let table = [
        ("server.bind", r#"["127.0.0.1:8060"]"#),
        // As many as there are cores.
        ("server.workers", "0"),
        ("server.thread_workers", "5"),
        ("server.greenlets", "0"),
        ("server.reload", "false"),
        ("server.timeout", "10"),
        ("server.graceful_timeout", "30"),
        ("server.worker_requests_max", "0"),
        ("server.keep_alive", "75"),
        ("server.header_timeout", "10"),
        ("server.body_timeout", "30"),
        ("server.connections_max", "10000"),
        ("server.ping_interval", "20"),
        ("server.ping_timeout", "30"),
        ("server.message_bytes_max", "1048576"),
        ("server.tls_cert", "\"\""),
        ("server.tls_key", "\"\""),
        ("server.user", "\"\""),
        ("server.group", "\"\""),
        ("server.umask", "\"\""),
        ("server.proxy_headers", "[]"),
        ("server.metrics_bind", "\"\""),
        ("server.control", "\".hulse/control.sock\""),
        ("log.access", "false"),
        ("log.format", "\"text\""),
        ("log.level", "\"info\""),
    ];
    for (name, expected) in table {
        let line = format!("{name} = {expected}  # default");
        assert!(report.lines().any(|known| known == line), "{line}\n{report}");
    }
    assert_eq!(settings.server.data_store.expose(), "pulse://");
}
