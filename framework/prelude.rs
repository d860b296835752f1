//! What most files of a site use: `use hulse::prelude::*;`.
//!
//! It brings types, functions and the traits a site implements, none that adds methods to others.

pub use chrono::{DateTime, NaiveDate, Utc};
pub use serde_json::json;

pub use crate::apps::{App, Project};
pub use crate::blocking::{blocking, wait};
pub use crate::context;
pub use crate::error::{Error, Result};
pub use crate::http::{
    Form, Json, Path, Query, Request, Response, not_found, permission_denied, redirect, render,
};
pub use crate::models::{
    Change, Choices, Deferred, ForeignKey, HasMany, HasOne, Hooks, Id, ManyToMany, Model, OneToOne,
};
pub use crate::services::{Service, service};
pub use crate::site::Site;
pub use crate::sockets::{
    Consumer, Event, JsonConsumer, Message, Presence, Routing, Socket, route, socket,
};
pub use crate::streams::{Stream, Streams, stream};
pub use crate::urls::{Urls, include, path};
