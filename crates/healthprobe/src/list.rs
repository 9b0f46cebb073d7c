//! All targets of a run: operands, standard input, a file. All mistakes of all lines are told at once.

use crate::cli::Cli;
use crate::options::Origin;
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, bail, ensure};

use common::log;
use common::{dirfd, hint, text, units, words};
use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{BufRead, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

/// The longest line, and the longest operand.
const LINE: u64 = 64 * 1024;
/// The most lines of a list.
const LINES: usize = 100_000;
/// The largest file of targets.
const LIST: u64 = 8 * 1024 * 1024;

/// Targets, and what is wrong with others.
#[derive(Default)]
struct Reading {
    targets: Vec<Target>,
    mistakes: Vec<anyhow::Error>,
}

/// Reads all targets, in their order.
///
/// # Errors
///
/// A list that cannot be read or names nothing; every mistake of every line, told on standard error where there are
/// several.
pub(crate) fn targets(cli: &Cli) -> Result<Vec<Arc<Target>>> {
    let mut reading = Reading::default();
    let mut stdin = Some(std::io::stdin());
    for operand in &cli.operands {
        if operand != "-" {
            reading.operand(operand);
            continue;
        }
        let Some(stdin) = stdin.take() else { bail!("- can be given only once") };
        reading.list(stdin.lock(), "standard input", Origin::Pipe)?;
    }
    if let Some(path) = &cli.targets {
        let list = dirfd::read_orders(path, LIST)?;
        reading.list(list.as_bytes(), &format!("{path:?}"), Origin::Operator)?;
    }
    reading.connect();
    reading.finish()
}

impl Reading {
    fn operand(&mut self, operand: &OsStr) {
        let place = format!("target {:?}", text::line(&text::redact(&text::bytes(operand.as_bytes()))));
        match operand.to_str() {
            Some(line) if line.len() as u64 <= LINE => self.line(line, Origin::Operator, &place),
            Some(_) => self.mistakes.push(anyhow!("{place}: it is longer than {}", units::size(LINE))),
            None => self.mistakes.push(anyhow!("{place}: it is not UTF-8")),
        }
    }

    fn list(&mut self, mut input: impl BufRead, name: &str, origin: Origin) -> Result<()> {
        let before = self.targets.len() + self.mistakes.len();
        for number in 1.. {
            let mut line = Vec::new();
            let place = format!("line {number} of {name}");
            let read = (&mut input).take(LINE + 1).read_until(b'\n', &mut line);
            if read.with_context(|| format!("cannot read {place}"))? == 0 {
                break;
            }
            ensure!(line.len() as u64 <= LINE, "{place} is longer than {}", units::size(LINE));
            ensure!(number <= LINES, "{name} has more than {} lines", units::count(LINES as u64));
            match std::str::from_utf8(&line) {
                Ok(line) => self.line(line, origin, &place),
                Err(_) => self.mistakes.push(anyhow!("{place}: it is not UTF-8")),
            }
        }
        ensure!(self.targets.len() + self.mistakes.len() > before, "{name} names no target");
        Ok(())
    }

    fn line(&mut self, line: &str, origin: Origin, place: &str) {
        match words::list(line) {
            Ok(words) if words.is_empty() && place.starts_with("line ") => {}
            Ok(words) => match Target::parse(words, origin, place) {
                Ok(target) => self.targets.push(target),
                Err(mistakes) => {
                    self.mistakes.extend(mistakes.into_iter().map(|error| error.context(place.to_owned())))
                }
            },
            Err(error) => self.mistakes.push(error.context(place.to_owned())),
        }
    }

    /// Looks at what only all targets together show: names that are taken, and needs that lead nowhere or in a circle.
    fn connect(&mut self) {
        let mut places: HashMap<&str, &str> = HashMap::new();
        let mut mistakes = Vec::new();
        for target in &self.targets {
            if let Some(first) = places.insert(&target.subject, &target.place) {
                let error = anyhow!("{}: {:?} is the name of {first}, too", target.place, target.subject);
                mistakes.push(hint::with(error, "give one of them another name with name="));
            }
        }
        for target in &self.targets {
            for need in target.needs.iter().filter(|need| !places.contains_key(need.as_str())) {
                let error = anyhow!("{}: needs={need}: no target has this name", target.place);
                mistakes.push(hint::with(error, "a target is called as its name= says, else as it is written"));
            }
        }
        if mistakes.is_empty() {
            mistakes.extend(crate::kind::connect(&mut self.targets));
            mistakes.extend(crate::blame::circle(&self.targets));
        }
        self.mistakes.extend(mistakes);
    }

    fn finish(mut self) -> Result<Vec<Arc<Target>>> {
        if self.mistakes.len() > 1 {
            for mistake in &self.mistakes {
                log::failure(mistake);
            }
            let count = units::things(self.mistakes.len() as u64, "mistake");
            bail!("{count} in the targets; nothing was looked at");
        }
        match self.mistakes.pop() {
            Some(mistake) => Err(mistake),
            None => Ok(self.targets.into_iter().map(Arc::new).collect()),
        }
    }
}
