//! `dumpdata` and `loaddata` of djchat, from the command line.

use std::fmt::Write;
use std::path::Path;

use hulse_tests::{Surroundings, databases, site_command, site_folder};

async fn run(folder: &Path, url: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let surroundings = Surroundings { database: Some(url.to_owned()), ..Surroundings::default() };
    let mut command = site_command(folder, &surroundings);
    let output = command.args(arguments).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// Users as a fixture.
fn users(count: usize) -> String {
    let mut text = String::from("[");
    for number in 1..=count {
        let comma = if number > 1 { ", " } else { "" };
        write!(
            text,
            "{comma}{{\"model\": \"auth.user\", \"pk\": {number}, \"fields\": {{\"password\": \
             \"!\", \"last_login\": null, \"is_superuser\": false, \"username\": \"user{number}\", \
             \"first_name\": \"\", \"last_name\": \"\", \"email\": \"\", \"is_staff\": false, \
             \"is_active\": true, \"date_joined\": \"2024-01-02T03:04:05Z\"}}}}"
        )
        .unwrap();
    }
    text + "]"
}

#[tokio::test]
async fn twenty_thousand_users_go_in_and_come_out_as_they_were() {
    for database in databases().await {
        let folder = site_folder();
        let (folder, url) = (folder.path(), database.url.as_str());
        let (code, _, said) = run(folder, url, &["migrate"]).await;
        assert_eq!(code, Some(0), "{said}");
        let text = users(20_000);
        std::fs::write(folder.join("users.json"), &text).unwrap();
        let (code, told, said) = run(folder, url, &["loaddata", "users"]).await;
        assert_eq!(
            (code, told.as_str()),
            (Some(0), "Installed 20000 object(s) from 1 fixture(s)\n")
        );
        assert_eq!(said, "", "no bar where there is no terminal");
        let (code, told, said) = run(folder, url, &["dumpdata", "auth.User"]).await;
        assert_eq!(code, Some(0), "{said}");
        // Fields that apps get later may be at the end; the numbers are the promise.
        assert_eq!(told.matches("\"model\": \"auth.user\"").count(), 20_000);
        std::fs::write(folder.join("again.json"), &told).unwrap();
        let (code, _, said) = run(folder, url, &["loaddata", "again.json", "users.json"]).await;
        assert_eq!(code, Some(0), "{said}");
        let out = ["dumpdata", "auth.User", "-o", "out.jsonl", "--natural-primary"];
        let (code, told, said) = run(folder, url, &out).await;
        assert_eq!((code, told.as_str()), (Some(0), ""), "{said}");
        let lines = std::fs::read_to_string(folder.join("out.jsonl")).unwrap();
        assert_eq!(lines.lines().count(), 20_000);
        assert!(
            lines.starts_with("{\"model\":\"auth.user\",\"fields\":{\"password\":\"!\""),
            "{lines:.80}"
        );
    }
}

#[tokio::test]
async fn words_that_name_nothing_are_told() {
    let database = &databases().await[0];
    let folder = site_folder();
    let (folder, url) = (folder.path(), database.url.as_str());
    run(folder, url, &["migrate"]).await;
    let cases = [
        (&["dumpdata", "blog"][..], "No installed app with label 'blog'."),
        (&["dumpdata", "auth.Usr"], "Unknown model: auth.Usr"),
        (&["dumpdata", "--pks", "1"], "You can only use --pks option with one model"),
        (&["loaddata", "nowhere"], "No fixture named 'nowhere' found."),
    ];
    for (arguments, expected) in cases {
        let (code, _, said) = run(folder, url, arguments).await;
        assert_eq!((code, said), (Some(1), format!("error: {expected}\n")), "{arguments:?}");
    }
    std::fs::write(
        folder.join("bad.json"),
        "[{\"model\": \"auth.user\", \"fields\": {\"is_staff\": 7}}]",
    )
    .unwrap();
    let (code, _, said) = run(folder, url, &["loaddata", "bad"]).await;
    assert_eq!(code, Some(1));
    assert!(said.contains("bad.json: object 1 (auth.user): auth.User."), "{said}");
    let (code, told, _) = run(folder, url, &["dumpdata", "--exclude", "auth"]).await;
    assert_eq!((code, told.as_str()), (Some(0), "[]"));
}
