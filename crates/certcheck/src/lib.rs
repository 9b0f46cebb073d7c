//! Says how long certificates last.
//!
//! ```text
//! operands, lists -> target -> fetch | store (pem, pkcs12, acme) -> inspect -> verify -> judge -> item
//! ```
//!
//! Whatever is wrong with a target is an `Item`, and the others are still checked. Only what stops the whole run (a list
//! that cannot be read, no roots) is an `Err`.

mod acme;
#[cfg(test)]
mod campaign_tests;
mod check;
pub mod cli;
mod dial;
mod fetch;
mod inspect;
mod item;
mod judge;
mod keys;
mod legacy;
mod limit;
mod name;
mod ocsp;
mod pair;
mod pem;
mod pkcs12;
mod policy;
mod pool;
mod starttls;
mod store;
mod target;
mod verify;

pub use cli::Cli;

use crate::check::{Check, Job};
use crate::limit::Limit;
use crate::target::{Author, Settings, Target};
use crate::verify::Roots;
use anyhow::{Context as _, Result, bail, ensure};
use common::cli::Tool as _;
use common::report::{Item, Report};
use common::status::Status;
use common::units::Stamp;
use common::{dirfd, interrupt, lines, text, tls};
use rustls::pki_types::CertificateDer;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::SystemTime;

/// The largest list of targets.
const LIST: u64 = 8 * 1024 * 1024;

/// Checks what the options name.
///
/// # Errors
///
/// A list that cannot be read or names nothing; roots that cannot be read.
pub fn run(cli: &Cli) -> Result<Report> {
    let now = cli.at.unwrap_or_else(|| Stamp::from(SystemTime::now()));
    let mut report = Report::new(Cli::NAME, Cli::STYLE, Stamp::from(SystemTime::now()));
    if cli.verify {
        report.push(verify_one(cli, now)?);
        return Ok(report);
    }
    let wanted = wanted(cli)?;
    let roots = roots(cli, &wanted)?;
    let check = Check { roots, now: now.seconds() };
    let jobs = check.jobs(wanted);
    let done = pool::each(&jobs, usize::from(cli.concurrency), |job| check.job(job));
    interrupt::check()?;
    let mut told = Vec::with_capacity(jobs.len());
    for (number, (job, items)) in jobs.iter().zip(done).enumerate() {
        let panicked =
            || vec![Item::new(job.subject(), Status::Critical, "its certificates cannot be read: internal error")];
        let mut items = items.unwrap_or_else(panicked);
        if let Job::Else(nothing, before) = job
            && told[number - before..].iter().all(|count| *count == 0)
        {
            items.push(nothing.clone());
        }
        told.push(items.len());
        report.items.extend(items);
    }
    Ok(report)
}

/// A target, or what is wrong with it.
type Wanted = Result<Target, Box<Item>>;

/// All targets in their order: operands, with `-` for standard input, then the list.
fn wanted(cli: &Cli) -> Result<Vec<Wanted>> {
    let settings = settings(cli);
    let mut wanted = Vec::new();
    let mut stdin = Some(std::io::stdin());
    for operand in &cli.operands {
        if operand != "-" {
            wanted.push(operand_target(operand, &settings));
            continue;
        }
        let Some(stdin) = stdin.take() else { bail!("- can be given only once") };
        let lines = lines::read(stdin.lock(), "standard input")?;
        ensure!(!lines.is_empty(), "standard input names no target");
        wanted.extend(lines.iter().map(|line| line_target(line, &settings, Author::Pipe)));
    }
    if let Some(path) = &cli.targets {
        let list = dirfd::read_orders(path, LIST)?;
        let lines = lines::read(list.as_bytes(), &format!("{path:?}"))?;
        ensure!(!lines.is_empty(), "{path:?} names no target");
        wanted.extend(lines.iter().map(|line| line_target(line, &settings, Author::Operator)));
    }
    Ok(wanted)
}

fn settings(cli: &Cli) -> Settings {
    Settings {
        warning: cli.warning.unwrap_or(Limit::WARNING),
        critical: cli.critical.unwrap_or(Limit::CRITICAL),
        host: cli.host.clone(),
        connect: cli.connect.clone(),
        served_by: cli.served_by.clone(),
        key: cli.key.clone(),
        password_file: cli.password_file.clone(),
        trust: cli.trust,
        timeout: cli.timeout,
    }
}

fn operand_target(operand: &OsStr, settings: &Settings) -> Wanted {
    match operand.to_str() {
        Some(typed) => Target::parse(typed, settings.clone()).map_err(|error| no_target(typed, &error)),
        // What is no text can only be a path.
        None => Ok(Target {
            shown: text::bytes(operand.as_bytes()),
            what: target::What::Path(operand.into()),
            settings: settings.clone(),
        }),
    }
}

fn line_target(line: &lines::Line, settings: &Settings, author: Author) -> Wanted {
    let mut settings = settings.clone();
    let set = line.options.iter().try_for_each(|(key, value)| settings.set(key, value, author));
    let target = set.and_then(|()| Target::parse(&line.target, settings));
    target.with_context(|| format!("line {}", line.number)).map_err(|error| no_target(&line.target, &error))
}

fn no_target(typed: &str, error: &anyhow::Error) -> Box<Item> {
    let mut item = Item::failed(typed, Status::Unknown, error);
    item.hints.push("write HOST:PORT, starttls:PROTOCOL:HOST:PORT, unix:PATH, or a path with a slash".to_owned());
    Box::new(item)
}

/// The roots that are needed; those of the system are read only where a target asks for them.
fn roots(cli: &Cli, wanted: &[Wanted]) -> Result<Option<Roots>> {
    if let Some(path) = &cli.trust_roots {
        return named_roots(path).map(Some);
    }
    if !wanted.iter().flatten().any(check::needs_roots) {
        return Ok(None);
    }
    Roots::new(tls::system_roots()?).context("cannot use the roots of the system").map(Some)
}

fn named_roots(path: &Path) -> Result<Roots> {
    let ders = pem::certificates(path)?.into_iter().map(CertificateDer::from).collect();
    Roots::new(ders).with_context(|| format!("cannot use the roots of {path:?}"))
}

/// `--verify`: one leaf, trusted or not.
fn verify_one(cli: &Cli, now: Stamp) -> Result<Item> {
    let [operand] = cli.operands.as_slice() else { bail!("--verify takes one file") };
    let path = Path::new(operand);
    let roots = match &cli.trust_roots {
        Some(path) => named_roots(path),
        None => Roots::new(tls::system_roots()?),
    };
    let mut certs = pem::certificates(path)?;
    if let Some(untrusted) = &cli.untrusted {
        certs.extend(pem::certificates(untrusted)?);
    }
    Ok(check::verdict(dirfd::shown(path), roots, &certs, cli.host.as_ref(), now.seconds()))
}
