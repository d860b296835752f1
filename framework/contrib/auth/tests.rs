use super::commonest;
use super::passwords::{self, Cost, Scratch, Verdict, is_unusable, unusable};
use super::validate_password;
use crate::conf;
use crate::error::Result;

fn hash(password: &str, cost: Cost) -> Result<String> {
    passwords::hash(password, cost, &mut Scratch::default())
}

fn verify(password: &str, stored: Option<&str>, cost: Cost) -> Result<Verdict> {
    passwords::verify(password, stored, cost, &mut Scratch::default())
}

fn cheap() -> Cost {
    Cost::of(&conf::Auth { argon2_memory_kib: 64, argon2_passes: 1, ..Default::default() })
}

fn check(password: &str, stored: &str, expected: Verdict) {
    assert_eq!(verify(password, Some(stored), cheap()).unwrap(), expected, "{stored}");
}

#[test]
fn a_hash_fits_its_password_only() {
    let stored = hash("correct horse", cheap()).unwrap();
    assert!(stored.starts_with("argon2$argon2id$v=19$m=64,t=1,p=1$"), "{stored}");
    assert!(stored.len() <= 128, "it fits Django's column");
    check("correct horse", &stored, Verdict::Right);
    check("correct hors", &stored, Verdict::Wrong);
    check("", &stored, Verdict::Wrong);
    assert_ne!(stored, hash("correct horse", cheap()).unwrap(), "salted");
}

#[test]
fn a_hash_of_another_cost_fits_but_is_outdated() {
    let dearer = conf::Auth { argon2_memory_kib: 128, argon2_passes: 1, ..Default::default() };
    let stored = hash("correct horse", Cost::of(&dearer)).unwrap();
    check("correct horse", &stored, Verdict::RightButOutdated);
    check("wrong", &stored, Verdict::Wrong);
}

#[test]
fn memory_that_goes_from_hash_to_hash_changes_none() {
    let dearer = conf::Auth { argon2_memory_kib: 128, argon2_passes: 1, ..Default::default() };
    let stored = [cheap(), Cost::of(&dearer)].map(|cost| hash("correct horse", cost).unwrap());
    let mut scratch = Scratch::default();
    for (stored, right) in [
        (&stored[0], Verdict::Right),
        (&stored[1], Verdict::RightButOutdated),
        (&stored[0], Verdict::Right),
        (&stored[0], Verdict::Right),
    ] {
        let mut verify =
            |password| passwords::verify(password, Some(stored), cheap(), &mut scratch).unwrap();
        assert_eq!(verify("wrong"), Verdict::Wrong);
        assert_eq!(verify("correct horse"), right);
    }
    let made = passwords::hash("correct horse", cheap(), &mut scratch).unwrap();
    check("correct horse", &made, Verdict::Right);
}

#[test]
fn a_hash_django_made_is_understood() {
    // Django's parameters; made with OpenSSL's argon2, so by other code than ours.
    let stored = "argon2$argon2id$v=19$m=102400,t=2,p=8$cjRuZDBtUzRsdE9mMjJDaGFyczAweA\
        $yUgabV3l7/FxOoIhXnCnOfUEiXyOQGwQ1AFAdex3Sws";
    check("lètmein", stored, Verdict::RightButOutdated);
    check("letmein", stored, Verdict::Wrong);
}

#[test]
fn nothing_fits_an_unusable_or_unknown_hash() {
    let none = unusable();
    assert!(is_unusable(&none) && is_unusable(""));
    assert_eq!(none.len(), 41);
    assert_ne!(none, unusable());
    check(&none, &none, Verdict::Wrong);
    check("", "", Verdict::Wrong);
    check("secret", "md5$salt$hash", Verdict::Wrong);
    check("secret", "argon2$broken", Verdict::Wrong);
    check("secret", "pbkdf2_sha256$0$salt$aaaa", Verdict::Wrong);
    check("secret", "pbkdf2_sha256$99999999$salt$aaaa", Verdict::Wrong);
    check("secret", "pbkdf2_sha256$1$salt", Verdict::Wrong);
    check("secret", "scrypt$1048576$salt$8$1$aaaa", Verdict::Wrong);
    check("secret", "scrypt$1000$salt$8$1$aaaa", Verdict::Wrong);
    check(
        "secret",
        "bcrypt$$2b$31$CCCCCCCCCCCCCCCCCCCCC./mc37Kdhrv0B3/.B13E.XXGgHg1yCoy",
        Verdict::Wrong,
    );
    check(
        "secret",
        "argon2$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$aaaaaaaaaaaaaaaa",
        Verdict::Wrong,
    );
    assert_eq!(verify("secret", None, cheap()).unwrap(), Verdict::Wrong);
}

#[test]
fn a_password_longer_than_the_limit_is_not_hashed() {
    let long = "x".repeat(super::PASSWORD_BYTES_MAX + 1);
    assert!(hash(&long, cheap()).is_err());
    assert_eq!(verify(&long, None, cheap()).unwrap(), Verdict::Wrong);
}

/// Made by Python's hashlib and by the C library's crypt, so by other code than ours.
#[test]
fn what_other_hashers_of_django_made_is_understood_and_outdated() {
    for stored in [
        "pbkdf2_sha256$1000$seasalt$JgZryXe2Ga8ysg6XbzkLpTdyPQrHqsinbL9BnnhgX4A=",
        "pbkdf2_sha1$1000$seasalt$ljleU4wBmTtz/MoG5YTwxpM0d7I=",
        "scrypt$1024$seasalt$8$5$ozpUt/qDR/QLBzi9csaWJofO252yHC+Oxl5cycNUQkna\
         /BBjumDq5KMXPAq1Xi3sxxGWxqtAlQmEE+DSWNl+FQ==",
        "bcrypt$$2b$05$CCCCCCCCCCCCCCCCCCCCC./mc37Kdhrv0B3/.B13E.XXGgHg1yCoy",
        "bcrypt_sha256$$2b$05$CCCCCCCCCCCCCCCCCCCCC.bdNwF18LmuBgx.3vdUAHc5aN/.UHaVC",
    ] {
        check("l\u{e8}tmein", stored, Verdict::RightButOutdated);
        check("letmein", stored, Verdict::Wrong);
        check("", stored, Verdict::Wrong);
    }
}

fn judge(password: &str, expected: &[&str]) {
    let about = [("username", "annabella"), ("email address", "ann@example.org")];
    let found = validate_password(&conf::Auth::default(), password, &about);
    assert_eq!(found, expected, "{password}");
}

#[test]
fn twenty_thousand_passwords_are_common() {
    assert!(commonest::count() > 20_000);
    for common in ["123456", "password", "letmein", "fortnite", "jennifer", "zxcvbnm"] {
        assert!(commonest::is_common(common), "{common}");
    }
    for rare in ["", "correct horse battery", "gneisses", "\n", "tumbling gneiss"] {
        assert!(!commonest::is_common(rare), "{rare:?}");
    }
}

#[test]
fn a_site_says_how_long_and_how_good() {
    let strict =
        conf::Auth { password_min_length: 12, password_score_min: 3, ..Default::default() };
    let judged = |password| validate_password(&strict, password, &[("username", "ann")]);
    let short = "This password is too short. It must contain at least 12 characters.";
    assert_eq!(judged("elevenchars"), [short]);
    assert!(judged("tumbling gneiss over 9 weirs").is_empty());
    let easy = judged("abcdefabcdefabcdef");
    assert_eq!(easy.is_empty(), !cfg!(feature = "zxcvbn"), "{easy:?}");
    let known = super::validators::checks(&strict).is_empty();
    assert_eq!(known, cfg!(feature = "zxcvbn"), "a rule that is not asked is told");
    assert!(super::validators::checks(&conf::Auth::default()).is_empty());
}

const SHORT: &str = "This password is too short. It must contain at least 8 characters.";
const COMMON: &str = "This password is too common.";
const NUMERIC: &str = "This password is entirely numeric.";

#[test]
fn a_password_is_judged_by_four_rules() {
    judge("correct horse battery", &[]);
    judge("grünkohl", &[]);
    judge("short", &[SHORT]);
    judge("", &[SHORT]);
    judge("987654321987", &[NUMERIC]);
    judge("1234", &[SHORT, COMMON, NUMERIC]);
    judge("73190", &[SHORT, NUMERIC]);
    judge("password123", &[COMMON]);
    judge(" PassWord123 ", &[COMMON]);
    judge("annabella1", &["The password is too similar to the username."]);
    judge("example-org", &["The password is too similar to the email address."]);
}
