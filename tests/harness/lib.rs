//! What the tests stand on: real servers, throw-away places, and tools run as an operator runs them.
//!
//! ```text
//! Postgres   a cluster of its own: a socket, a port, gone when dropped
//! Authority  certificates, good and bad ones; Serving: servers that show them
//! Sandbox    a directory of its own; hands out
//!   Tool       a program about to run, in a known environment
//!     Running    one that runs now: signal it, wait for it
//!     Ran        one that has ended: its three outputs, and what to say about them
//! ```
//!
//! A test that cannot be run panics: nothing here skips. It leans on no crate of the workspace, so that
//! what judges the tools shares no mistake with them.

mod authority;
mod binaries;
pub mod loopfs;
mod pattern;
mod pgbouncer;
mod ports;
mod postgres;
mod ran;
mod running;
mod sampler;
mod sandbox;
mod serving;
pub mod stub;
mod systemd;
pub mod tmpfs;
mod tool;
mod users;

pub use authority::{Authority, Files, Leaf, Signer};
pub use binaries::{tool_path, workspace};
pub use pgbouncer::PgBouncer;
pub use ports::free_port;
pub use postgres::{Builder, Postgres};
pub use ran::Ran;
pub use running::Running;
pub use sampler::{Sampler, sampler};
pub use sandbox::Sandbox;
pub use serving::Serving;
pub use systemd::with_systemd;
pub use tool::Tool;
pub use users::{app_user, is_root, verify_user};
