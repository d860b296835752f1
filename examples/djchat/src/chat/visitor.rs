//! Who a request comes from: a user, or a visitor whose name is kept in the session.

use hulse::Result;
use hulse::http::Request;
use hulse::signing;

use super::events::Person;

/// The session's key for a visitor's name.
const NAME: &str = "chat_name";

/// Random characters of a visitor's name, after `an_`.
const NAME_CHARACTERS: usize = 6;

/// The person in front of the browser. A visitor without a name gets one; the session, and with it
/// the cookie, is kept from then on.
pub(crate) async fn person(request: &Request) -> Result<Person> {
    if let Some(user) = request.user().await?.user() {
        return Ok(Person { name: user.username.clone(), authenticated: true });
    }
    let session = request.session();
    if let Some(name) = session.get::<String>(NAME).await? {
        return Ok(Person { name, authenticated: false });
    }
    let name = format!("an_{}", signing::random_string(NAME_CHARACTERS));
    session.set(NAME, &name).await?;
    Ok(Person { name, authenticated: false })
}
