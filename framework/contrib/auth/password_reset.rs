//! The pages on which somebody who has forgotten their password gets a new one, by mail.
//!
//! Flow: address → a mail with a link to every active user who has it → the link's token goes into
//! the session, and the browser on to a page without it → new password → the session forgets it.
//!
//! Invariants:
//! - The answer is the same whether there is such a user or not, in words and in time: a letter is
//!   written in any case, and nobody waits for the server that takes it.
//! - The letter goes to the address in the database, not to the one that was typed.
//! - The page with the form has no token in its URL, so no `Referer` and no log shows one.
//! - Nobody's letter box is filled by strangers: so many letters an hour, and the same answer.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Utc;
use futures_util::future::join_all;

use super::models::{User, fold_email};
use super::new_password::{judge, rules, set, take};
use super::required::login_url;
use super::tokens;
use super::views::{not_cached, sibling};
use crate::context;
use crate::error::Result;
use crate::forms::{Form, TextForm};
use crate::http::{Path, Request, Response, redirect, render, render_to_string};
use crate::mail::Message;
use crate::middleware::{bounded_address_of, count, counter};
use crate::models::validators;

/// What stands in the place of the token once that is in the session. Django's word.
const SET_PASSWORD: &str = "set-password";

/// The session's key for the token. Django's name.
const SESSION_TOKEN: &str = "_password_reset_token";

/// How long letters are counted together.
const WINDOW: Duration = Duration::from_secs(3600);
/// One network address may ask for so many times as many as one letter box gets.
const FACTOR: i64 = 10;

/// Asks for the address.
pub(super) async fn show(request: Request) -> Result<Response> {
    page(&request, &Form::new()).await
}

/// Sends the letters.
pub(super) async fn submit(request: Request, TextForm(data): TextForm) -> Result<Response> {
    let mut form = Form::of(data);
    let email = form.required("email");
    if let Some(fault) = validators::email(&email).err().filter(|_| !email.is_empty()) {
        form.errors.add("email", fault);
    }
    if !form.is_valid() {
        return page(&request, &form).await;
    }
    let is_admitted = is_admitted(&request, &email).await;
    let found = User::with_email(&request, &email).await?.into_iter();
    let found = found.filter(|u| is_admitted && u.is_active && u.has_usable_password());
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        // As much work as for one, for nobody.
        let nobody = User { username: "nobody".into(), email, ..User::default() };
        let _unsent = letter(&request, &nobody).await?;
    }
    for user in &found {
        let letter = letter(&request, user).await?;
        if let Err(error) = request.send_mail_soon(letter).await {
            tracing::error!(%error, user.id = %user.id, "the mail of a password reset");
        }
    }
    redirect(&request, &sibling(&request, "password_reset_done", &[])?)
}

/// Whether there were not too many letters yet, to that address and from the visitor's. Those to
/// nobody count as well: the answer takes as long.
async fn is_admitted(request: &Request, email: &str) -> bool {
    let most = i64::from(request.settings().auth.password_reset_mails);
    if most == 0 {
        return true;
    }
    let to = Some((counter("password reset to", &fold_email(email)), most));
    let from = bounded_address_of(request).map(|from| counter("password reset from", &from));
    let limits = to.into_iter().chain(from.map(|from| (from, most * FACTOR)));
    let counted = limits.map(|(counter, most)| async move {
        // While the data store is away letters go out: nobody knows of how many.
        let counted = count(request, &counter, 1, WINDOW).await.map_or(0, |counted| counted.value);
        if counted == most + 1 {
            tracing::warn!(
                most,
                "letters to reset a password are held back for an hour: there were too many to \
                 one address, or asked for from one (auth.password_reset_mails)"
            );
        }
        counted <= most
    });
    join_all(counted).await.into_iter().all(|is_below| is_below)
}

/// A letter is on its way, or not.
pub(super) async fn done(request: Request) -> Result<Response> {
    render(&request, "registration/password_reset_done.html", context! {}).await.map(not_cached)
}

/// The link in the letter, and the page it leads to.
pub(super) async fn confirm(
    request: Request,
    Path((uidb64, token)): Path<(String, String)>,
) -> Result<Response> {
    let Some(user) = owner(&request, &uidb64).await? else { return invalid(&request).await };
    if token == SET_PASSWORD {
        return match holds_token(&request, &user).await? {
            true => form_page(&request, &Form::new()).await,
            false => invalid(&request).await,
        };
    }
    if !tokens::fits(&user, request.settings(), &token, Utc::now()) {
        return invalid(&request).await;
    }
    request.session().set(SESSION_TOKEN, token).await?;
    let page = sibling(&request, "password_reset_confirm", &[&uidb64, SET_PASSWORD])?;
    redirect(&request, &page).map(not_cached)
}

/// The new password.
pub(super) async fn set_password(
    request: Request,
    Path((uidb64, token)): Path<(String, String)>,
    TextForm(mut data): TextForm,
) -> Result<Response> {
    let user = owner(&request, &uidb64).await?.filter(|_| token == SET_PASSWORD);
    let Some(mut user) = user else { return invalid(&request).await };
    if !holds_token(&request, &user).await? {
        return invalid(&request).await;
    }
    let [first, second] = ["new_password1", "new_password2"].map(|field| take(&mut data, field));
    let mut form = Form::of(data);
    judge(&request, &mut form, &user, [&first, &second]);
    if !form.is_valid() {
        return form_page(&request, &form).await;
    }
    set(&request, &mut user, &first).await?;
    request.session().pop::<String>(SESSION_TOKEN).await?;
    redirect(&request, &sibling(&request, "password_reset_complete", &[])?)
}

/// It is done.
pub(super) async fn complete(request: Request) -> Result<Response> {
    let login_url = login_url(&request)?;
    let context = context! { login_url };
    render(&request, "registration/password_reset_complete.html", context).await.map(not_cached)
}

async fn page(request: &Request, form: &Form) -> Result<Response> {
    let context = context! { form };
    render(request, "registration/password_reset_form.html", context).await.map(not_cached)
}

async fn form_page(request: &Request, form: &Form) -> Result<Response> {
    let (validlink, rules) = (true, rules(&request.settings().auth));
    let context = context! { form, validlink, rules };
    render(request, "registration/password_reset_confirm.html", context).await.map(not_cached)
}

/// One page for a token that is forged, used, too old or somebody else's.
async fn invalid(request: &Request) -> Result<Response> {
    let (validlink, reset_url) = (false, sibling(request, "password_reset", &[])?);
    let context = context! { validlink, reset_url };
    render(request, "registration/password_reset_confirm.html", context).await.map(not_cached)
}

/// Whose link it is.
async fn owner(request: &Request, uidb64: &str) -> Result<Option<User>> {
    let id = URL_SAFE_NO_PAD.decode(uidb64).ok().and_then(|id| String::from_utf8(id).ok());
    let Some(id) = id.and_then(|id| id.parse::<i64>().ok()) else { return Ok(None) };
    let found = User::objects().filter(|u| u.id().eq(id)).first(request).await?;
    Ok(found.filter(|user| user.is_active))
}

async fn holds_token(request: &Request, user: &User) -> Result<bool> {
    let token = request.session().get::<String>(SESSION_TOKEN).await?.unwrap_or_default();
    Ok(tokens::fits(user, request.settings(), &token, Utc::now()))
}

/// The letter with the link. The host is the one the visitor asked for, which is one of
/// `allowed_hosts`: else the request would not be here.
async fn letter(request: &Request, user: &User) -> Result<Message> {
    let uidb64 = URL_SAFE_NO_PAD.encode(user.id.to_string());
    let token = tokens::make(user, request.settings(), Utc::now());
    let path = sibling(request, "password_reset_confirm", &[&uidb64, &token])?;
    let site_name = request.host();
    let url = format!("{}://{site_name}{path}", request.scheme());
    let (username, email) = (&user.username, &user.email);
    let known = || context! { site_name, url, username, email };
    let subject = "registration/password_reset_subject.txt";
    let subject = render_to_string(request, subject, known()).await?;
    let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = render_to_string(request, "registration/password_reset_email.txt", known()).await?;
    Ok(Message::new(subject, text).to(email))
}
