//! Stops the application, starts it again, and asks whether it is well.
//!
//! Commands are words, never shell text; they see nothing of our environment but the usual and `NS_…`, which hold no
//! secret. Each has a time limit, and a process group that ends with it. Source: THREATS G7, G8.

use crate::cli::Cli;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::hint::Hint as _;
use common::process::{self, Input, Program};
use common::words;
use serde::{Deserialize, Serialize};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a command of the operator may take; systemd's own limit for a stop is 90 s.
const TIME: Duration = Duration::from_secs(300);

/// How the application is stopped and started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Application {
    /// By two commands.
    Commands {
        /// The words that stop it.
        stop: Vec<String>,
        /// The words that start it.
        start: Vec<String>,
    },
    /// By systemd.
    Units(Vec<String>),
}

/// What commands are told about the run, as `NS_…`.
#[derive(Clone, Debug)]
pub struct Told {
    /// The database.
    pub database: String,
    /// `restore`, `undo` or `recover`.
    pub act: &'static str,
}

/// The words of `--check`, where it is given.
///
/// # Errors
///
/// Words that need a shell, or a program that cannot be found.
pub fn check_words(cli: &Cli) -> Result<Option<Vec<String>>> {
    cli.check.as_deref().map(|text| command(text).context("cannot use --check")).transpose()
}

impl Application {
    /// What the options say, tried as far as that goes without doing anything.
    ///
    /// # Errors
    ///
    /// Words that need a shell, or a program that cannot be found.
    pub fn of(cli: &Cli) -> Result<Option<Self>> {
        if !cli.service.is_empty() {
            program("systemctl").context("cannot use --service")?;
            let is_unit = |unit: &&String| unit.is_empty() || unit.starts_with('-');
            if let Some(unit) = cli.service.iter().find(is_unit) {
                bail!("cannot use --service: {unit:?} is no name of a unit");
            }
            return Ok(Some(Self::Units(cli.service.clone())));
        }
        let (Some(stop), Some(start)) = (&cli.stop, &cli.start) else { return Ok(None) };
        Ok(Some(Self::Commands {
            stop: command(stop).context("cannot use --stop")?,
            start: command(start).context("cannot use --start")?,
        }))
    }

    /// Stops it.
    ///
    /// # Errors
    ///
    /// What the command says; it may be half stopped, so start it.
    pub fn stop(&self, told: &Told) -> Result<()> {
        match self {
            Self::Commands { stop, .. } => run(stop, told),
            Self::Units(units) => systemctl("stop", units, told),
        }
        .context("cannot stop the application")
    }

    /// Starts it; to start what runs is no error for a unit, and should be none for a command.
    ///
    /// # Errors
    ///
    /// What the command says.
    pub fn start(&self, told: &Told) -> Result<()> {
        match self {
            Self::Commands { start, .. } => run(start, told),
            Self::Units(units) => systemctl("start", units, told),
        }
        .context("cannot start the application")
    }
}

/// Runs a command to its end.
///
/// # Errors
///
/// Where it cannot be run, takes too long, or ends with another code than 0.
pub fn run(words: &[String], told: &Told) -> Result<()> {
    let (first, rest) = words.split_first().context("a command is empty")?;
    let mut running = Program::new(&program(first)?)
        .args(rest)
        .env("NS_DATABASE", &told.database)
        .env("NS_ACT", told.act)
        .start(Input::None)?;
    let mut stdout = running.stdout()?;
    // What it prints is nobody's; unread, it would wait for us. What it leaves running may keep the pipe.
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while matches!(stdout.read(&mut buffer), Ok(1..)) {}
    });
    running.finish(Some(TIME))?.success()
}

fn systemctl(verb: &str, units: &[String], told: &Told) -> Result<()> {
    let mut words = vec!["systemctl".to_owned(), verb.to_owned(), "--".to_owned()];
    words.extend(units.iter().cloned());
    run(&words, told)
}

fn command(text: &str) -> Result<Vec<String>> {
    let words = words::split(text)?;
    program(words.first().context("the command is empty")?)?;
    Ok(words)
}

/// An absolute path as it is, a name from the trusted directories of PATH.
fn program(name: &str) -> Result<PathBuf> {
    if name.starts_with('/') {
        ensure!(process::is_executable(Path::new(name)), "cannot run {name:?}: not a program");
        return Ok(name.into());
    }
    ensure!(!name.contains('/'), "cannot run {name:?}: not an absolute path");
    process::find(name)
        .ok_or_else(|| anyhow!("cannot find the program {name:?}"))
        .hint("name a program in PATH, or its absolute path")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told() -> Told {
        Told { database: "app".to_owned(), act: "restore" }
    }

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).into()
    }

    #[test]
    fn a_command_that_fails_says_why() {
        let error = run(&sh("echo no >&2; exit 3"), &told()).unwrap_err();

        assert_eq!(error.to_string(), "sh failed with exit code 3: no");
    }

    #[test]
    fn a_command_knows_what_it_is_run_for_and_may_leave_something_running() {
        let began = std::time::Instant::now();

        run(&sh("sleep 20 & test \"$NS_DATABASE-$NS_ACT\" = app-restore"), &told()).unwrap();

        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn what_is_no_program_is_found_before_anything_is_stopped() {
        for text in ["", "no-such-program-61", "./x", "/etc/passwd", "a | b"] {
            assert!(command(text).is_err(), "{text}");
        }
        assert_eq!(command("sh -c 'exit 0'").unwrap(), sh("exit 0"));
    }
}
