//! Has the database backed up as it is now, by pgbackup.
//!
//! It gets everything in arguments, reads no configuration and none of its own variables: a backup for safety must never
//! apply somebody's retention.

use crate::cli::Cli;
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::hint::Hint as _;
use common::process::{self, Input, Program};
use serde::Deserialize;
use std::io::Read as _;
use std::path::Path;

/// The longest report that is read; ours are one line.
const REPORT: u64 = 1 << 20;

/// What was made.
#[derive(Debug)]
pub struct Backup {
    /// The archive.
    pub path: String,
}

/// What pgbackup reports of one database.
#[derive(Debug, Default, Deserialize)]
struct Report {
    path: Option<String>,
    message: Option<String>,
}

/// What a manifest says of a backup for safety: `latest` is never one of these, or who restores twice would get back what
/// was wrong.
pub const NOTE: &str = "made by pgrestore-safe, of what was to be replaced";

/// Backs up a database of the server into a directory.
///
/// # Errors
///
/// What pgbackup says.
pub fn back_up(cli: &Cli, target: &Target, database: &str, dir: &Path) -> Result<Backup> {
    let mut running = command(cli, target, database, dir)?.start(Input::None)?;
    let mut report = String::new();
    running.stdout()?.take(REPORT).read_to_string(&mut report).context("cannot read from pgbackup")?;
    let finished = running.finish(None)?;
    let report: Report = serde_json::from_str(report.trim_end()).unwrap_or_default();
    // A warning is a backup: half of the rows gone may be the very reason for the restore.
    let is_made = matches!(finished.status.code(), Some(0 | 1));
    let (true, Some(path)) = (is_made, report.path) else {
        common::interrupt::check()?;
        let why = report.message.unwrap_or_else(|| finished.said());
        return Err(anyhow!("cannot back up database {database:?} as it is now: {why}"))
            .hint("pgbackup beside this program makes that backup; try it by itself");
    };
    if finished.status.code() == Some(1) {
        common::warn!("the backup of {database:?} as it is now: {}", report.message.unwrap_or_default());
    }
    Ok(Backup { path })
}

fn command(cli: &Cli, target: &Target, database: &str, dir: &Path) -> Result<Program> {
    let program = sibling("pgbackup", cli)?.arg("--dir").arg(dir).args(["--note", NOTE]);
    if let Some(file) = &cli.env_file {
        let is_plain = !database.starts_with('-') && !database.contains('=') && !database.contains("://");
        ensure!(is_plain, "cannot name database {database:?} beside --env-file");
        return Ok(program.arg("--env-file").arg(file).arg(database));
    }
    if target.access.foreign.is_some() {
        bail!("the address of {database:?} comes from a file that another user can write");
    }
    // Keywords and never a bare name: a database may be called host=evil.
    Ok(with_password(program, target).arg(target.access.with_database(database).address.to_keywords()))
}

/// A program beside this one, ready for its own arguments: it reads no configuration, and reports in JSON.
///
/// # Errors
///
/// Where there is none.
pub fn sibling(name: &str, cli: &Cli) -> Result<Program> {
    let is_ours =
        |name: &str| name.starts_with("PG") && !name.starts_with("PGBACKUP_") && !name.starts_with("PGRESTORE_");
    let mut program =
        Program::new(&process::sibling(name)?).envs_where(is_ours).args(["--no-config", "--format", "json"]);
    if let Some(bin) = &cli.pg_bin {
        program = program.arg("--pg-bin").arg(bin);
    }
    if let Some(user) = &cli.run_as {
        program = program.arg("--run-as").arg(user);
    }
    Ok(program)
}

/// The password that the address had, by the environment.
pub fn with_password(program: Program, target: &Target) -> Program {
    match &target.access.password {
        Some(password) => program.env("PGPASSWORD", password.expose()),
        None => program,
    }
}
