//! Whose marker it is: a key and a name, kept in the session.

use hulse::Result;
use hulse::http::Request;
use hulse::signing;
use serde::{Deserialize, Serialize};

/// The session's key for the visitor.
const VISITOR: &str = "map_visitor";

/// Random characters of a key: enough that two visitors never meet.
const KEY_CHARACTERS: usize = 12;

/// What visitors are called.
const ANIMALS: [&str; 24] = [
    "Badger", "Beaver", "Crane", "Dolphin", "Falcon", "Fox", "Gecko", "Hare", "Heron", "Ibex",
    "Jackdaw", "Lynx", "Marten", "Newt", "Otter", "Owl", "Panda", "Puffin", "Raven", "Seal",
    "Stork", "Tapir", "Toad", "Wren",
];

/// Somebody who looks at the map. The key is public: what counts is whose session it is in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Visitor {
    pub(crate) key: String,
    pub(crate) name: String,
}

/// The visitor in front of the browser; a new one gets a name.
pub(crate) async fn welcome(request: &Request) -> Result<Visitor> {
    if let Some(visitor) = known(request).await? {
        return Ok(visitor);
    }
    let key = signing::random_string(KEY_CHARACTERS);
    let number = key.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31) + usize::from(byte));
    let visitor = Visitor { key, name: ANIMALS[number % ANIMALS.len()].to_owned() };
    request.session().set(VISITOR, &visitor).await?;
    Ok(visitor)
}

/// The visitor, if they have opened the page.
pub(crate) async fn known(request: &Request) -> Result<Option<Visitor>> {
    request.session().get(VISITOR).await
}
