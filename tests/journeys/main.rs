//! The real tools against real servers: one file per subject.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod addresses;
mod campaign;
mod disk;
mod fidelity;
mod globals;
mod killed;
mod locks;
mod logrotate;
mod logrotate_bad_days;
mod logrotate_killed;
mod logrotate_threats;
mod logs;
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
