//! The command line of a Hulse site.
