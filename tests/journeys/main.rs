//! The real tools against real servers: one file per subject.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod addresses;
mod campaign;
mod certcheck;
mod certcheck_defects;
mod certcheck_files;
mod certcheck_hostile;
mod disk;
mod fidelity;
mod globals;
mod killed;
mod locks;
mod names;
mod place;
mod retention;
mod round_trip;
mod secrets;
mod server_dies;
mod signals;
mod threats;
mod verify;
mod verify_damage;
mod verify_foreign;
mod versions;
