use super::passwords::{Cost, Verdict, hash, is_unusable, unusable, verify};
use super::validate_password;
use crate::conf;

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
    assert_eq!(verify("secret", None, cheap()).unwrap(), Verdict::Wrong);
}

#[test]
fn a_password_longer_than_the_limit_is_not_hashed() {
    let long = "x".repeat(super::PASSWORD_BYTES_MAX + 1);
    assert!(hash(&long, cheap()).is_err());
    assert_eq!(verify(&long, None, cheap()).unwrap(), Verdict::Wrong);
}

fn judge(password: &str, expected: &[&str]) {
    let about = [("username", "annabella"), ("email address", "ann@example.org")];
    assert_eq!(validate_password(password, &about), expected, "{password}");
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
    judge("1234", &[SHORT, NUMERIC]);
    judge("password123", &[COMMON]);
    judge(" PassWord123 ", &[COMMON]);
    judge("annabella1", &["The password is too similar to the username."]);
    judge("example-org", &["The password is too similar to the email address."]);
}
