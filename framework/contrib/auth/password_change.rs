//! The pages on which somebody who is signed in changes their password.

use super::attempts::Attempt;
use super::models::User;
use super::new_password::{judge, rules, take};
use super::revocation::change_password;
use super::views::{not_cached, sibling};
use crate::context;
use crate::error::Result;
use crate::forms::{Form, TextForm};
use crate::http::{Request, Response, permission_denied, redirect, render};

/// The form.
pub(super) async fn show(request: Request) -> Result<Response> {
    page(&request, &Form::new()).await
}

/// The form, filled in. Whoever it was stays signed in here, and nowhere else.
pub(super) async fn submit(request: Request, TextForm(mut data): TextForm) -> Result<Response> {
    // The line demands it, but a site may have its own line for the view.
    let Some(mut user) = request.user().await?.user().cloned() else {
        return Err(permission_denied("nobody is signed in"));
    };
    let [old, first, second] =
        ["old_password", "new_password1", "new_password2"].map(|field| take(&mut data, field));
    let mut form = Form::of(data);
    judge(&request, &mut form, &user, [&first, &second]);
    if old.is_empty() {
        form.errors.add("old_password", "This field is required.");
    } else if !check_old(&request, &user, &old).await? {
        let words = "Your old password was entered incorrectly. Please enter it again.";
        form.errors.add("old_password", words);
    }
    if !form.is_valid() {
        return page(&request, &form).await;
    }
    change_password(&request, &mut user, &first).await?;
    redirect(&request, &sibling(&request, "password_change_done", &[])?)
}

/// It is done.
pub(super) async fn done(request: Request) -> Result<Response> {
    render(&request, "registration/password_change_done.html", context! {}).await.map(not_cached)
}

/// Whether it is the old password; tried as often as one may sign in.
async fn check_old(request: &Request, user: &User, old: &str) -> Result<bool> {
    let attempt = Attempt::begin(request, &user.username).await?;
    match user.check_password(request, old).await {
        Ok(false) => Ok(false),
        known => {
            attempt.undo(request).await;
            known
        }
    }
}

async fn page(request: &Request, form: &Form) -> Result<Response> {
    let rules = rules(&request.settings().auth);
    let context = context! { form, rules };
    render(request, "registration/password_change_form.html", context).await.map(not_cached)
}
