//! What the six tools share: the contract, files, processes, the backup format.
//!
//! A module lives here when at least two tools use it, or when its header names the second one that will.
//! Nothing here knows a tool by name, and nothing here imports another crate of the workspace.
//!
//! ```text
//! the contract   program cli status report hint log text units journal progress
//! files          dirfd publish lock envfile lines
//! processes      process interrupt words secret
//! [pg]           pg       where a database is, versions, client programs
//! [tls]          tls      the provider of cryptography, the roots of the system
//! [backup]       backup   the format on disk: archive, scan, index, manifest, catalog
//! ```
#![warn(missing_docs)]

#[cfg(feature = "backup")]
pub mod backup;
pub mod cli;
pub mod dirfd;
pub mod envfile;
pub mod failpoint;
pub mod hint;
pub mod interrupt;
pub mod journal;
pub mod lines;
pub mod lock;
pub mod log;
pub mod pg;
pub mod process;
pub mod program;
pub mod progress;
pub mod publish;
pub mod report;
pub mod secret;
pub mod status;
pub mod text;
pub mod threshold;
#[cfg(feature = "tls")]
pub mod tls;
pub mod units;
pub mod words;
