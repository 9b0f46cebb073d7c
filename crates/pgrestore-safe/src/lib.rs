//! Restores a database without ever losing the old one.
//!
//! ```text
//! select -> verify -> preflight -> confirm -> safety backup -> side database -> load -> prove
//!        -> stop -> swap -> start -> check -> keep the old one, or swap back -> Item
//! ```
//!
//! Nothing is done to the live database before the copy beside it is proven.

mod app;
pub mod cli;
mod confirm;
mod database;
mod drop_old;
mod exchange;
mod gate;
mod into;
mod load;
mod names;
mod pool;
mod preflight;
mod prove;
mod records;
mod recover;
mod restore;
mod safety;
mod select;
mod side;
mod state;
mod stdout;
mod swap;
mod table;
mod target;
mod undo;

pub use cli::Cli;

use anyhow::Result;
use common::cli::Tool as _;
use common::report::{Report, Style};
use common::units::Stamp;
use std::time::SystemTime;

/// Restores what the options name, or does one of the other things it can do.
///
/// # Errors
///
/// What stops the whole run before anything is touched.
pub fn run(cli: &Cli) -> Result<Report> {
    let now = Stamp::from(SystemTime::now());
    let style = if cli.dry_run { Style::Check } else { Cli::STYLE };
    let mut report = Report::new(Cli::NAME, style, now);
    if cli.into.is_some() {
        report.push(into::run(cli, now)?);
    } else if cli.stdout {
        report.push(stdout::run(cli)?);
        report.streamed = true;
    } else if !cli.table.is_empty() {
        report.items = table::run(cli, now)?;
    } else if cli.undo {
        report.push(records::undo(cli, now)?);
    } else if cli.recover {
        report.items = records::recover(cli)?;
    } else if cli.drop_old {
        report.items = records::drop_old(cli, now)?;
    } else {
        report.items = restore::run(cli, now)?;
    }
    Ok(report)
}
