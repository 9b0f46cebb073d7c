//! The real tools against real servers: one file per subject.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod addresses;
mod campaign;
mod certcheck;
mod certcheck_defects;
mod certcheck_files;
mod certcheck_hostile;
mod crontab;
mod damage;
mod disk;
mod drop_old;
mod fidelity;
mod globals;
mod healthprobe;
mod healthprobe_systemd;
mod killed;
mod locks;
mod logrotate;
mod logrotate_bad_days;
mod logrotate_killed;
mod logrotate_threats;
mod logs;
mod matrix;
mod names;
mod place;
mod restore_killed;
mod restore_load;
mod restore_place;
mod restore_swap;
mod retention;
mod round_trip;
mod secrets;
mod server_dies;
mod signals;
mod swap;
mod swap_clients;
mod swap_killed;
mod swap_place;
mod threats;
mod verify;
mod verify_against;
mod verify_damage;
mod verify_foreign;
mod verify_restored;
mod versions;
