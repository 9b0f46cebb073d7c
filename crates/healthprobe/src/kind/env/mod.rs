//! `env:FILE`: whether an application's `.env` file is fit for production.
//!
//! ```text
//! EnvFile -> rules, secrets, production, addresses, readers -> Finding (line, name, words) -> one part a line
//! ```
//!
//! The file is often somebody else's, and full of secrets. So it is opened without following links or waiting (THREATS G2), and
//! what is told of it is lines, names and judgements: no value, no length, no digest (THREATS H9). A name is told only where it
//! is made like one: the second line of a key that lost its quotes looks like `NAME=`, too.

mod address;
mod finding;
mod format;
mod options;
mod placeholder;
mod production;
mod rules;
mod secret;

use super::Context;
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Result, ensure};
use common::envfile::EnvFile;
use common::hint;
use common::report::{Measure, Part, Unit};
use common::status::Status;
use common::units;
use finding::{Finding, Weight};
use options::Wanted;
use std::io;
#[cfg(test)]
use std::path::Path;
use std::path::PathBuf;

/// How many lines are told one by one.
const TOLD: usize = 100;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    path: PathBuf,
    wanted: Wanted,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, origin: Origin) -> Result<Self> {
        origin.may("env:")?;
        ensure!(!address.is_empty(), "env: needs a file: env:/srv/app/.env");
        Ok(Self { path: address.into(), wanted: Wanted::parse(options) })
    }

    pub(crate) fn subject(&self) -> String {
        format!("env:{}", common::text::line(&self.path.to_string_lossy()))
    }

    pub(crate) fn look(&self, _context: &Context) -> Found {
        let file = match EnvFile::read(&self.path) {
            Ok(file) => file,
            Err(error) => return unreadable(&error),
        };
        let example = match self.wanted.example.as_deref().map(EnvFile::read).transpose() {
            Ok(example) => example,
            Err(error) => return unreadable(&error.context("example=")),
        };
        told(&file, &findings(&file, example.as_ref(), &self.wanted), &self.wanted)
    }
}

/// A file that is not there is what the application meets, too; another that cannot be read says nothing.
fn unreadable(error: &anyhow::Error) -> Found {
    let is_missing = hint::find::<io::Error>(error).is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound);
    Found::failed(if is_missing { Status::Critical } else { Status::Unknown }, error)
}

/// All that is to be said of a file, by line.
fn findings(file: &EnvFile, example: Option<&EnvFile>, wanted: &Wanted) -> Vec<Finding> {
    let mut found = rules::all(file, example, wanted);
    found.extend(mode(file, wanted));
    found.extend(readers(file, wanted));
    for var in rules::in_force(file).filter(|var| !wanted.ignores(&var.name)) {
        let judged = [
            placeholder::judge(var),
            secret::judge(var, file, example),
            wanted.production.then(|| production::judge(var)).flatten(),
        ];
        // A placeholder is hardly a good secret as well: the first that fits is told.
        found.extend(judged.into_iter().flatten().take(1));
        found.extend(address::judge(var, file, wanted.production));
    }
    found.sort_by_key(|finding| finding.line);
    found
}

/// Who may read and write it.
fn mode(file: &EnvFile, wanted: &Wanted) -> Option<Finding> {
    let (path, mode) = (&file.path, file.mode);
    if mode & 0o022 & !wanted.mode != 0 {
        let words = format!("others than its owner may write it (mode {mode:04o}); run: chmod go-w {path:?}");
        return Some(Finding::of_file("mode", Weight::Fault, words));
    }
    (mode & 0o777 & !wanted.mode != 0).then(|| {
        let words = format!(
            "it is open to more users than it should be (mode {mode:04o}); run: chmod {:04o} {path:?}",
            mode & wanted.mode
        );
        Finding::of_file("mode", Weight::Doubt, words)
    })
}

/// Where the programs that read such files disagree.
fn readers(file: &EnvFile, wanted: &Wanted) -> Vec<Finding> {
    let is_unreadable = |line: usize| file.unreadable.iter().any(|unreadable| unreadable.line == line);
    let differ = file.warnings.iter().filter(|warning| warning.line > 0 && !is_unreadable(warning.line));
    let differ = differ.filter(|warning| warning.readers.is_empty() || warning.readers.meets(wanted.readers));
    differ.map(|warning| Finding::at(warning.line, None, Weight::Doubt, warning.text.clone())).collect()
}

fn told(file: &EnvFile, findings: &[Finding], wanted: &Wanted) -> Found {
    let status = |weight: Weight| match weight {
        Weight::Fault => Status::Critical,
        Weight::Doubt if wanted.is_strict => Status::Critical,
        Weight::Doubt => Status::Warning,
    };
    let count = rules::in_force(file).count();
    let message = match findings.len() {
        0 => format!("{}, nothing to object to", units::things(count as u64, "variable")),
        objections => {
            format!("{} in {}", units::things(objections as u64, "objection"), units::things(count as u64, "variable"))
        }
    };
    let mut found = Found::ok(message);
    let mut parts: Vec<Part> = Vec::new();
    for finding in findings {
        let (name, status) = (finding.place(), status(finding.weight));
        match parts.last_mut().filter(|part| part.name == name) {
            Some(part) => {
                part.message = format!("{}; {}", part.message, finding.words());
                part.status = part.status.max(status);
            }
            None => parts.push(Part { name, status, message: finding.words(), measures: Vec::new() }),
        }
    }
    parts.truncate(TOLD);
    if findings.iter().any(|finding| finding.weight == Weight::Doubt && !wanted.is_strict) {
        found = found.hint("ignore=NAME leaves a variable alone, readers=… names the programs that read the file");
    }
    found.parts = parts;
    let number = |weight| findings.iter().filter(|finding| finding.weight == weight).count() as f64;
    found.measure(Measure::new("faults", number(Weight::Fault), Unit::Count)).measure(Measure::new(
        "doubts",
        number(Weight::Doubt),
        Unit::Count,
    ))
}

/// A file of this text, as tests give it.
#[cfg(test)]
fn file(text: &str) -> EnvFile {
    let common::envfile::Parsed { vars, warnings, unreadable } = common::envfile::parse(text.as_bytes());
    EnvFile { path: Path::new(".env").to_owned(), vars, warnings, unreadable, foreign: false, mode: 0o600 }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
