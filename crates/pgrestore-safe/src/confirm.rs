//! The operator says that this is the database that is meant: by its name on a terminal, elsewhere by `--yes`.

use crate::cli::Cli;
use anyhow::{Context as _, Result, anyhow, ensure};
use common::hint::Hint as _;
use common::log;
use std::io::IsTerminal as _;

/// Asks, unless `--yes` was given; `what` says what would be done.
///
/// # Errors
///
/// Where nobody can be asked, or the answer is another one.
pub fn ask(cli: &Cli, name: &str, what: &str) -> Result<()> {
    if cli.yes {
        return Ok(());
    }
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(anyhow!("nobody can be asked: standard input is no terminal"))
            .hint("--yes says in advance that this database is meant; --dry-run shows what would be done");
    }
    let answer = log::ask(&format!("{what}. To go on, type the name of the database, {name}:"))
        .context("cannot read standard input")?;
    ensure!(answer == name, "not confirmed, so nothing was done");
    Ok(())
}
