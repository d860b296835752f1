//! In one process: one file per room.
mod db;
