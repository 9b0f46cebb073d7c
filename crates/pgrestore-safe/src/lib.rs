//! Restores a database without ever losing the old one.
//!
//! ```text
//! select -> verify -> preflight -> confirm -> safety backup -> side database -> load -> prove
//!        -> stop -> swap -> start -> check -> keep the old one, or swap back -> Item
//! ```
//!
//! Nothing is done to the live database before the copy beside it is proven.

pub mod cli;
mod target;

pub use cli::Cli;

use anyhow::{Result, bail};
use common::report::Report;

/// Restores what the options name.
///
/// # Errors
///
/// What stops the whole run before anything is touched.
pub fn run(cli: &Cli) -> Result<Report> {
    let target = target::Target::of(cli)?;
    bail!("not built yet: {}", target.name)
}
