//! Who a request comes from.

use hulse::Result;
use hulse::http::Request;
use hulse::signing;

use super::events::Person;

/// Random characters of a visitor's name, after `an_`.
const NAME_CHARACTERS: usize = 6;

/// The person in front of the browser.
pub(crate) async fn person(_request: &Request) -> Result<Person> {
    let name = format!("an_{}", signing::random_string(NAME_CHARACTERS));
    Ok(Person { name, authenticated: false })
}
