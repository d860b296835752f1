//! Accounts and mail from the command line: flags, environment, exit codes.

use std::path::Path;

use futures_util::future::join_all;
use hulse_tests::{Surroundings, site_command, site_folder};

/// Runs the site with `arguments`: exit code, stdout, stderr. Nobody is at its terminal.
async fn run(
    folder: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> (i32, String, String) {
    let mut command = site_command(folder, &Surroundings::default());
    command.args(arguments).stdin(std::process::Stdio::null());
    command.envs(environment.iter().copied());
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn createsuperuser_says_what_it_lacks_and_exits_with_one() {
    let folder = site_folder();
    let folder = folder.path();
    run(folder, &["migrate"], &[]).await;
    let make = async |arguments: &[&str], environment: &[(&str, &str)]| {
        let all: Vec<&str> = ["createsuperuser"].iter().chain(arguments).copied().collect();
        run(folder, &all, environment).await
    };
    let name = "Enter a valid username. This value may contain only letters, numbers, and \
                @/./+/-/_ characters.";
    for (arguments, expected) in [
        (&["--noinput"][..], "You must use --username with --noinput."),
        (&["--noinput", "--username", "ann"], "You must use --email with --noinput."),
        (&["--noinput", "--username", "a b", "--email", ""], name),
        (&["--noinput", "--username", "ann", "--email", "x"], "Enter a valid email address."),
        (&["--username", "ann"], "not running in a TTY"),
    ] {
        let (code, told, said) = make(arguments, &[]).await;
        assert_eq!((code, told.as_str()), (1, ""), "{arguments:?}");
        assert!(said.contains(expected), "{said}");
    }
    let ann = ["--noinput", "--username", "ann", "--email", "ann@example.org"];
    let (code, told, said) = make(&ann, &[]).await;
    assert_eq!((code, told.as_str()), (0, "Superuser created successfully.\n"), "{said}");
    let (code, _, said) = make(&ann, &[]).await;
    assert_eq!((code, said.as_str()), (1, "Error: That username is already taken.\n"));

    for prefix in ["HULSE", "DJANGO"] {
        let names = ["USERNAME", "EMAIL", "PASSWORD"].map(|n| format!("{prefix}_SUPERUSER_{n}"));
        let values = [prefix, "root@example.org", "1"];
        let known: Vec<_> = names.iter().map(String::as_str).zip(values).collect();
        let (code, told, said) = make(&["--noinput"], &known).await;
        assert_eq!((code, told.as_str()), (0, "Superuser created successfully.\n"), "{said}");
    }
    let (code, _, said) = run(folder, &["changepassword", "nobody"], &[]).await;
    assert_eq!((code, said.as_str()), (1, "error: user 'nobody' does not exist\n"));
}

#[tokio::test]
async fn a_test_mail_shows_what_leaves_the_site() {
    let folder = site_folder();
    let folder = folder.path();
    let (code, _, said) = run(folder, &["sendtestemail"], &[]).await;
    assert_eq!(code, 1);
    assert!(said.contains("You must specify some email recipients"), "{said}");
    let console = ("HULSE_MAIL__BACKEND", "console");
    let send = ["sendtestemail", "ann@example.org", "bob@example.org"];
    let (code, told, said) = run(folder, &send, &[console]).await;
    assert_eq!(code, 0, "{said}");
    for line in [
        "To: ann@example.org, bob@example.org\r\n",
        "Subject: Test email on ",
        "If you're reading this, it was successful.",
        "\n----------",
    ] {
        assert!(told.contains(line), "{line:?} in {told}");
    }
    let nowhere = [("HULSE_MAIL__BACKEND", "smtp"), ("HULSE_MAIL__PORT", "1")];
    let (code, _, said) = run(folder, &send, &nowhere).await;
    assert_eq!(code, 1);
    assert!(said.contains("sending a mail to localhost:1"), "{said}");
    let (code, _, said) = run(folder, &["sendtestemail", "nonsense"], &[console]).await;
    assert_eq!(code, 1);
    assert!(said.contains("\"nonsense\" is no address of mail"), "{said}");
}

#[tokio::test]
async fn of_eight_who_take_one_name_at_once_one_gets_it_and_the_others_are_told() {
    let folder = site_folder();
    let folder = folder.path();
    run(folder, &["migrate"], &[]).await;
    let arguments = ["createsuperuser", "--noinput", "--username", "ann", "--email", "a@b.org"];
    // A password, so that there is time between the look and the row.
    let secret = [("DJANGO_SUPERUSER_PASSWORD", "correct horse battery")];
    let all = join_all((0..8).map(|_| run(folder, &arguments, &secret))).await;
    let (made, refused): (Vec<_>, Vec<_>) = all.into_iter().partition(|(code, ..)| *code == 0);
    assert_eq!(made.len(), 1, "{refused:?}");
    for (code, told, said) in refused {
        let words = "Error: That username is already taken.";
        assert_eq!((code, told.as_str(), said.trim()), (1, "", words));
    }
}

#[tokio::test]
async fn clearsessions_deletes_those_that_have_ended_and_no_others() {
    let folder = site_folder();
    let folder = folder.path();
    let (code, _, said) = run(folder, &["clearsessions"], &[]).await;
    assert_eq!(code, 1, "there is no table: {said}");
    run(folder, &["migrate"], &[]).await;
    let row = |key: &str, year: u32| {
        let end = format!("{year}-01-01T00:00:00Z");
        let fields = format!(r#""session_data": "{{}}", "expire_date": "{end}", "owner": null"#);
        format!(r#"{{"model": "sessions.session", "pk": "{key}", "fields": {{{fields}}}}}"#)
    };
    let rows = format!("[{}, {}]", row("ended", 2020), row("lasting", 2999));
    std::fs::write(folder.join("rows.json"), rows).unwrap();
    let (code, _, said) = run(folder, &["loaddata", "rows.json"], &[]).await;
    assert_eq!(code, 0, "{said}");
    for flags in [&["--nonsense"][..], &["now"]] {
        let all = [&["clearsessions"], flags].concat();
        assert_eq!(run(folder, &all, &[]).await.0, 2, "{flags:?}");
    }
    for _ in 0..2 {
        let (code, told, said) = run(folder, &["clearsessions"], &[]).await;
        assert_eq!((code, told.as_str()), (0, ""), "{said}");
        let (_, left, _) = run(folder, &["dumpdata", "sessions"], &[]).await;
        assert!(left.contains("lasting") && !left.contains("ended"), "{left}");
    }
}
