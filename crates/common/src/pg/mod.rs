//! Where a database is, which client programs serve it, and how to ask it something.
//!
//! Questions go through `psql`, not through a driver: what it can connect to, pg_dump can (one libpq, so pgpass, service
//! files, certificates and GSS mean the same to both), and it runs where `--client-prefix` says the server is. healthprobe,
//! which has milliseconds, connects by itself, and reads addresses and password files here.

pub mod advice;
pub mod client;
pub mod conninfo;
pub mod options;
pub mod passfile;
pub mod place;
pub mod quote;
pub mod session;
pub mod version;
