//! Programs that are asked: within a time, with what they print cut at a size, and nothing left behind.

use anyhow::Result;
use common::process::{Excess, Program};
use std::process::ExitStatus;
use std::time::Duration;

/// How long a program may take to end when its time is over.
const GRACE: Duration = Duration::from_millis(300);

/// How a program ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    /// Bytes that are no UTF-8 are shown as `\xNN`.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// It printed more than was kept.
    pub(crate) is_cut: bool,
}

/// Runs a program for at most `time`, and keeps the first `limit` bytes of what it prints; the rest is read and dropped.
///
/// # Errors
///
/// "cannot run …", "… gave no answer within …".
pub(crate) fn run(program: Program, time: Duration, limit: usize) -> Result<Ran> {
    let ran = program.grace(GRACE).leaves_nothing().gather(time, limit, Excess::Dropped)?;
    let stdout = common::text::bytes(&ran.stdout);
    Ok(Ran { status: ran.finished.status, stdout, stderr: ran.finished.stderr, is_cut: ran.is_cut })
}
