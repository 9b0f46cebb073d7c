//! Has the loaded database compared with the backup, by backup-verify: it is dumped again, record against record.

use crate::cli::Cli;
use crate::safety;
use crate::select::Source;
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow};
use common::hint::{self, Hint as _};
use common::process::Input;
use serde::Deserialize;
use std::io::Read as _;

/// The longest report that is read: a line with every difference.
const REPORT: u64 = 64 << 20;

#[derive(Deserialize)]
struct Verdict {
    status: String,
    message: String,
    #[serde(default)]
    hints: Vec<String>,
}

/// How the proof went.
#[derive(Debug)]
pub enum Proof {
    /// All is as recorded.
    Equal,
    /// All is as recorded that could be compared.
    Doubtful(String),
}

/// Proves a database against the backup that was loaded into it.
///
/// # Errors
///
/// Where they differ, or the comparison could not be made.
pub fn against(cli: &Cli, target: &Target, source: &Source, database: &str) -> Result<Proof> {
    let mut program = safety::sibling("backup-verify", cli)?.arg("--against");
    program = match &cli.env_file {
        Some(file) => program.arg(database).arg("--env-file").arg(file),
        None => safety::with_password(program, target).arg(target.access.with_database(database).address.to_keywords()),
    };
    let mut running = program.arg("--").arg(source.path()).start(Input::None)?;
    let mut report = String::new();
    running.stdout()?.take(REPORT).read_to_string(&mut report).context("cannot read from backup-verify")?;
    let finished = running.finish(None)?;
    let verdict: Verdict = serde_json::from_str(report.trim_end())
        .map_err(|_| anyhow!("backup-verify reports nothing: {}", finished.said()))
        .hint("is the backup-verify beside this program of the same version?")?;
    match (verdict.status.as_str(), finished.status.code()) {
        ("OK", Some(0)) => Ok(Proof::Equal),
        ("WARNING", Some(1)) => Ok(Proof::Doubtful(verdict.message)),
        (status, _) => {
            let what =
                if status == "CRITICAL" { "what was loaded is not what was backed up" } else { "cannot be proven" };
            let error = anyhow!("{what}: {}", verdict.message);
            Err(verdict.hints.into_iter().fold(error, hint::with))
        }
    }
}
