//! Restores a database without ever losing the old one.
//!
//! ```text
//! select -> verify -> preflight -> confirm -> safety backup -> side database -> load -> prove
//!        -> stop -> swap -> start -> check -> keep the old one, or swap back -> Item
//! ```
//!
//! Nothing is done to the live database before the copy beside it is proven.

pub mod cli;
mod app;
mod database;
mod gate;
mod into;
mod load;
mod names;
mod select;
mod stdout;
mod table;
mod side;
mod state;
mod swap;
mod target;

pub use cli::Cli;

use anyhow::{Result, bail};
use common::cli::Tool as _;
use common::report::Report;
use common::units::Stamp;
use std::time::SystemTime;

/// Restores what the options name.
///
/// # Errors
///
/// What stops the whole run before anything is touched.
pub fn run(cli: &Cli) -> Result<Report> {
    let now = Stamp::from(SystemTime::now());
    let mut report = Report::new(Cli::NAME, Cli::STYLE, now);
    if cli.into.is_some() {
        report.push(into::run(cli, now)?);
        return Ok(report);
    }
    if cli.stdout {
        report.push(stdout::run(cli)?);
        report.streamed = true;
        return Ok(report);
    }
    if !cli.table.is_empty() {
        report.items = table::run(cli, now)?;
        return Ok(report);
    }
    bail!("not built yet")
}
