//! Users, login and logout.
