//! Looks at a whole server at once, and says what is wrong.
//!
//! ```text
//! operands, lists -> target (options, kind) -> schedule: look at all at once -> blame -> item -> Report
//! ```
//!
//! Whatever is wrong with what was looked at is an `Item`. A target that cannot be understood stops the run before anything
//! is looked at, with all mistakes of all lines: a typing error must never look like a failed check, nor like a good one.
//!
//! What remembers earlier runs (alerts on change, history, a status page) attaches in [`run`], where all items are known and
//! before they are reported. Nothing of it is here yet.

mod blame;
mod child;
pub mod cli;
mod database;
mod found;
mod item;
mod judge;
mod kernel_clock;
mod kind;
mod list;
mod mounts;
mod net;
mod options;
mod perfdata;
mod schedule;
mod sibling;
mod target;

pub use cli::Cli;

use anyhow::Result;
use common::cli::Tool as _;
use common::interrupt;
use common::report::Report;
use common::units::Stamp;
use std::time::{Instant, SystemTime};

/// Looks at what the options name.
///
/// # Errors
///
/// A list that cannot be read or names nothing; targets that cannot be understood; a signal.
pub fn run(cli: &Cli) -> Result<Report> {
    let now = Stamp::from(SystemTime::now());
    let began = Instant::now();
    let targets = list::targets(cli)?;
    let mut report = Report::new(Cli::NAME, Cli::STYLE, now);
    if cli.check_targets {
        report.items = targets.iter().map(|target| item::understood(target)).collect();
        return Ok(report);
    }
    let pace = schedule::Pace {
        now,
        end: began + cli.timeout,
        each: cli.target_timeout,
        concurrency: usize::from(cli.concurrency),
    };
    let mut looks = schedule::look_at_all(&targets, &pace);
    interrupt::check()?;
    blame::block(&targets, &mut looks);
    report.items = item::sorted(targets.iter().zip(looks).map(|(target, look)| item::of(target, look)).collect());
    report.closing = Some(item::closing(&report.items, began.elapsed()));
    Ok(report)
}
