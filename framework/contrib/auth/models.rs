//! The tables: users, groups, permissions.

use std::fmt;

use chrono::{DateTime, Utc};

use super::{hashing, passwords};
use crate::conf::Settings;
use crate::error::{Error, Kind, Result};
use crate::models::{Id, ManyToMany, Model};
use crate::signing::{is_same, salted_hmac};
use crate::site::Site;

/// Names the use of the key: another use's hash is worth nothing in a session.
const SESSION_SALT: &str = "hulse.contrib.auth.session";

/// Who may sign in. A site that knows more of its people keeps it in a model with a foreign key to
/// this one.
#[derive(Clone, Model)]
#[model(natural_key(username), hooks)]
pub struct User {
    /// Its key.
    pub id: Id,
    /// The hash, as [`set_password`](Self::set_password) makes it; never in answers.
    #[field(max_length = 128, secret)]
    pub password: String,
    /// When a session was last begun.
    pub last_login: Option<DateTime<Utc>>,
    /// May do everything.
    #[field(default = false, verbose_name = "superuser status")]
    pub is_superuser: bool,
    /// Letters, digits and `@.+-_`; in normal form (NFKC), so that look-alikes are one name.
    #[field(
        unique,
        max_length = 150,
        validators = [username],
        help_text = "Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only."
    )]
    pub username: String,
    /// First name.
    #[field(max_length = 150, default = "", blank)]
    pub first_name: String,
    /// Last name.
    #[field(max_length = 150, default = "", blank)]
    pub last_name: String,
    /// Address for mail; may be empty.
    #[field(email, default = "", blank, verbose_name = "email address")]
    pub email: String,
    /// May enter the admin.
    #[field(default = false, verbose_name = "staff status")]
    pub is_staff: bool,
    /// Otherwise it is as if it did not exist: set to false instead of deleting.
    #[field(default = true, verbose_name = "active")]
    pub is_active: bool,
    /// When the account was made.
    #[field(auto_now_add)]
    pub date_joined: DateTime<Utc>,
    /// The groups it is in; it may do what they may.
    pub groups: ManyToMany<Group>,
    /// What it may do besides.
    pub user_permissions: ManyToMany<Permission>,
}

/// Users who may do the same.
#[derive(Clone, Debug, Model)]
#[model(natural_key(name))]
pub struct Group {
    /// Its key.
    pub id: Id,
    /// What people call it.
    #[field(unique, max_length = 150)]
    pub name: String,
    /// What its members may do.
    pub permissions: ManyToMany<Permission>,
}

/// The right to do something with the rows of a model: four for each, and those it says itself with
/// `#[model(permissions(publish_post = "Can publish posts"))]`. Its rows are made by `migrate`.
#[derive(Clone, Debug, Model)]
#[model(
    natural_key(app_label, model, codename),
    ordering = ["app_label", "model", "codename"],
    unique(app_label, model, codename)
)]
pub struct Permission {
    /// Its key.
    pub id: Id,
    /// What people read: `Can add post`.
    #[field(max_length = 255)]
    pub name: String,
    /// The app of its model: `blog`.
    #[field(max_length = 100)]
    pub app_label: String,
    /// Its model, in lower case: `post`.
    #[field(max_length = 100)]
    pub model: String,
    /// What programs say, behind the app: `add_post`.
    #[field(max_length = 100)]
    pub codename: String,
}

impl Permission {
    /// As questions name it: `blog.add_post`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}.{}", self.app_label, self.codename)
    }
}

impl User {
    /// Makes an ordinary user; without a password nobody can sign in with one.
    ///
    /// # Errors
    /// The name is malformed (`is_field`) or taken (`is_integrity`).
    pub async fn create_user(
        site: &Site,
        username: &str,
        email: &str,
        password: Option<&str>,
    ) -> Result<Self> {
        let user = Self::build(site, username, email, password).await?;
        Self::create(site, user).await
    }

    /// Makes a user who may do everything.
    ///
    /// # Errors
    /// As [`create_user`](Self::create_user).
    pub async fn create_superuser(
        site: &Site,
        username: &str,
        email: &str,
        password: Option<&str>,
    ) -> Result<Self> {
        let user = Self::build(site, username, email, password).await?;
        Self::create(site, Self { is_staff: true, is_superuser: true, ..user }).await
    }

    async fn build(
        site: &Site,
        username: &str,
        email: &str,
        password: Option<&str>,
    ) -> Result<Self> {
        let username = normalize_username(username);
        if let Some(fault) = username_fault(&username) {
            return Err(Error::of(Kind::Field, fault));
        }
        let email = normalize_email(email);
        let mut user = Self { username, email, ..Self::default() };
        match password {
            Some(password) => user.set_password(site, password).await?,
            None => user.set_unusable_password(),
        }
        Ok(user)
    }

    /// Sets the hash of `password`; `save` makes it last. All sessions of the user end with that.
    ///
    /// # Errors
    /// It is longer than [`PASSWORD_BYTES_MAX`](super::PASSWORD_BYTES_MAX), or too many passwords
    /// are being hashed at this moment (503).
    pub async fn set_password(&mut self, site: &Site, password: &str) -> Result<()> {
        self.password = hashing::hash(site, password).await?;
        Ok(())
    }

    /// Whether `password` is the right one.
    ///
    /// # Errors
    /// Too many passwords are being hashed at this moment (503).
    pub async fn check_password(&self, site: &Site, password: &str) -> Result<bool> {
        let verdict = hashing::verify(site, password, Some(self.password.clone())).await?;
        Ok(verdict != passwords::Verdict::Wrong)
    }

    /// From now on no password fits.
    pub fn set_unusable_password(&mut self) {
        self.password = passwords::unusable();
    }

    /// Whether some password may fit.
    #[must_use]
    pub fn has_usable_password(&self) -> bool {
        !passwords::is_unusable(&self.password)
    }

    /// First and last name.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{} {}", self.first_name, self.last_name).trim().to_owned()
    }

    /// What a session remembers of the password: when that changes, the session is over.
    pub(super) fn session_hash(&self, settings: &Settings) -> String {
        salted_hmac(SESSION_SALT, &self.password, &settings.secret_key)
    }

    /// How `given`, from a session, compares with this user's password and the site's keys.
    pub(super) fn check_session_hash(&self, given: &str, settings: &Settings) -> HashFit {
        if is_same(given, &self.session_hash(settings)) {
            return HashFit::Current;
        }
        let old = |key| is_same(given, &salted_hmac(SESSION_SALT, &self.password, key));
        // Every key is tried, so the time does not tell which.
        let fits = settings.secret_key_fallbacks.iter().filter(|key| old(key)).count();
        if fits > 0 { HashFit::OldKey } else { HashFit::None }
    }
}

/// See [`User::check_session_hash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HashFit {
    /// Made with the key in force.
    Current,
    /// Made with an earlier key that still counts: make a new one.
    OldKey,
    /// The password has changed since, or the session was forged.
    None,
}

/// The name in normal form NFKC: `ｌｉａ` and `lia` are one.
#[must_use]
pub fn normalize_username(username: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    username.nfkc().collect()
}

/// The address with its domain in lower case; what stands before the `@` is the other side's
/// business.
#[must_use]
pub fn normalize_email(email: &str) -> String {
    let email = email.trim();
    match email.rsplit_once('@') {
        Some((name, domain)) => format!("{name}@{}", domain.to_lowercase()),
        None => email.to_owned(),
    }
}

/// An address as it is compared: in normal form (NFKC) and without case, as Unicode folds it.
#[must_use]
pub fn fold_email(email: &str) -> String {
    use unicode_normalization::UnicodeNormalization;
    caseless::default_case_fold_str(&email.trim().nfkc().collect::<String>())
}

/// Longest name, characters; the column's length.
const USERNAME_CHARS_MAX: usize = 150;

/// What is wrong with a name, in words for its owner.
#[must_use]
pub fn username_fault(username: &str) -> Option<String> {
    let length = username.chars().count();
    let fits = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
    if username.is_empty() {
        return Some("This field cannot be blank.".to_owned());
    }
    if length > USERNAME_CHARS_MAX {
        return Some(format!(
            "Ensure this value has at most {USERNAME_CHARS_MAX} characters (it has {length})."
        ));
    }
    (!username.chars().all(fits)).then(|| {
        "Enter a valid username. This value may contain only letters, numbers, and @/./+/-/_ \
         characters."
            .to_owned()
    })
}

/// The validator of names.
fn username(text: &str) -> std::result::Result<(), String> {
    username_fault(text).map_or(Ok(()), Err)
}

/// `blog | post | Can add post`
impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} | {}", self.app_label, self.model, self.name)
    }
}

/// Its name.
impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Its name.
impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.username)
    }
}

/// Without the hash.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("id", &self.id)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}
