//! A new password, typed twice: the fields that changing and resetting share.

use super::models::User;
use super::passwords::PASSWORD_BYTES_MAX;
use super::validators::validate_password;
use crate::conf;
use crate::error::Result;
use crate::forms::{Form, FormData};
use crate::http::Request;

/// The rules, as the page tells them.
pub(super) fn rules(settings: &conf::Auth) -> [String; 4] {
    let least = settings.password_min_length;
    [
        "Your password can’t be too similar to your other personal information.".to_owned(),
        format!("Your password must contain at least {least} characters."),
        "Your password can’t be a commonly used password.".to_owned(),
        "Your password can’t be entirely numeric.".to_owned(),
    ]
}

/// Takes `field` out of the form, so that it never travels back into a page.
pub(super) fn take(data: &mut FormData, field: &str) -> String {
    let text = data.get(field).unwrap_or_default().to_owned();
    data.remove(field);
    text
}

/// Judges a password that was typed twice; what is wrong is noted in the form.
pub(super) fn judge(request: &Request, form: &mut Form, user: &User, typed: [&str; 2]) {
    let [first, second] = typed;
    let fields = ["new_password1", "new_password2"];
    for (field, text) in fields.into_iter().zip(typed) {
        if text.is_empty() {
            form.errors.add(field, "This field is required.");
        }
    }
    if first.is_empty() || second.is_empty() {
        return;
    }
    if first != second {
        form.errors.add("new_password2", "The two password fields didn’t match.");
        return;
    }
    if first.len() > PASSWORD_BYTES_MAX {
        let words = format!("A password has at most {PASSWORD_BYTES_MAX} bytes.");
        form.errors.add("new_password2", words);
        return;
    }
    for fault in validate_password(&request.settings().auth, first, &user.about()) {
        form.errors.add("new_password2", fault);
    }
}

/// Makes it last. Receivers of saved users hear of it.
pub(super) async fn set(request: &Request, user: &mut User, password: &str) -> Result<()> {
    user.set_password(request, password).await?;
    user.save_only(request, |u| u.password()).await
}
