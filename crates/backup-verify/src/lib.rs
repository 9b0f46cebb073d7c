//! Says whether a backup is really good.
//!
//! ```text
//! operand -> place (catalog, newest) | path -> manifest -> list | stored | content -> verdict -> Item
//! ```
//!
//! A backup that is bad, or is not there, is an `Item`, and the others are still checked.

pub mod cli;
mod content;
mod foreign;
mod found;
mod keys;
mod operand;
mod place;
mod shrink;
mod stored;
mod verdict;

pub use cli::Cli;

use anyhow::{Result, anyhow};
use cli::Depth;
use common::backup::catalog::Backup;
use common::cli::Tool as _;
use common::dirfd::{self, Dir};
use common::report::{Item, Report, Value};
use common::status::Status;
use common::units::{self, Stamp};
use found::Found;
use operand::Operand;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Checks what the options name.
///
/// # Errors
///
/// Standard input that names nothing or cannot be read.
pub fn run(cli: &Cli) -> Result<Report> {
    let now = Stamp::from(SystemTime::now());
    let check = Check { cli, now };
    let mut report = Report::new(Cli::NAME, Cli::STYLE, now);
    let mut seen = BTreeSet::new();
    for operand in operand::all(&cli.paths, std::io::stdin().lock())? {
        common::interrupt::check()?;
        match operand {
            Operand::Failed(item) => report.push(item),
            Operand::Backup { path, remark } => report.push(with_remark(check.path(&path), remark)),
            Operand::Place(path) => match place::check(&check, &path, &mut seen) {
                Ok(items) => report.items.extend(items),
                Err(error) => report.push(Item::failed(dirfd::shown(&path), Status::Critical, &error)),
            },
        }
    }
    for name in cli.expect.iter().filter(|name| !seen.contains(*name)) {
        report.push(Item::new(name, Status::Critical, "no backup of this database"));
    }
    Ok(report)
}

/// What the tool that made a backup had to say is not lost because its content is good.
fn with_remark(mut item: Item, remark: Option<Item>) -> Item {
    if let Some(remark) = remark {
        item.status = item.status.max(remark.status);
        item.message = format!("{}; {}", item.message, remark.message);
    }
    item
}

/// How backups are checked in this run.
struct Check<'a> {
    cli: &'a Cli,
    now: Stamp,
}

impl Check<'_> {
    /// A backup by the path of any file of it.
    fn path(&self, path: &Path) -> Item {
        let depth = self.cli.depth.unwrap_or(Depth::Content);
        if !found::is_ours(path) {
            return foreign(path, depth);
        }
        self.item(dirfd::shown(path), depth, || Found::open(path))
    }

    /// A backup of a catalog.
    fn backup(&self, dir: &Dir, backup: &Backup, subject: &str, depth: Depth) -> Item {
        self.item(subject.to_owned(), depth, || match &backup.incomplete {
            Some(why) => Err(anyhow!("{}: {why}", backup.label)),
            None => Found::open(&dir.join(&backup.label.to_string())),
        })
    }

    fn item(&self, subject: String, depth: Depth, open: impl FnOnce() -> Result<Found>) -> Item {
        let began = Instant::now();
        let found = match open() {
            Ok(found) => found,
            Err(error) => return Item::failed(subject, Status::Critical, &error),
        };
        let checked = match depth {
            Depth::List => Ok(()),
            Depth::Stored => stored::check(&found),
            Depth::Content => content::check(&found, self.threads()),
        };
        if common::interrupt::requested().is_none() {
            let status = if checked.is_ok() { Status::Ok } else { Status::Critical };
            verdict::keep(&found, depth, status, self.now);
        }
        match checked {
            Ok(()) => good(subject, depth, &found, began.elapsed()),
            Err(error) => Item::failed(subject, Status::Critical, &error),
        }
    }

    fn threads(&self) -> usize {
        self.cli.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }
}

/// A backup without a manifest, which only a reading to its end can judge.
fn foreign(path: &Path, depth: Depth) -> Item {
    let began = Instant::now();
    let subject = dirfd::shown(path);
    if depth < Depth::Content {
        let mut item = Item::new(subject, Status::Unknown, "it has no manifest, so no digest is recorded");
        item.hints.push("read it to its end with --depth content".to_owned());
        return item;
    }
    match foreign::judge(path) {
        Err(error) => Item::failed(subject, Status::Critical, &error),
        Ok(judged) => {
            let content = &judged.content;
            let message = format!(
                "{}, complete by its end marker: {} rows of {} tables; without a manifest nothing says what it should hold",
                judged.form,
                units::count(content.rows),
                units::count(content.tables)
            );
            Item::new(subject, Status::Ok, message)
                .with(keys::DEPTH, Value::Text("foreign".to_owned()))
                .with(keys::PLAIN, Value::Bytes(judged.plain_bytes))
                .with(keys::TABLES, Value::Count(content.tables))
                .with(keys::ROWS, Value::Count(content.rows))
                .with(keys::DURATION, Value::Seconds(began.elapsed()))
        }
    }
}

fn good(subject: String, depth: Depth, found: &Found, took: Duration) -> Item {
    let manifest = &found.manifest;
    let archive = &manifest.archive;
    let content = manifest.content.as_ref();
    let what = match (depth, content) {
        (Depth::List, _) => format!("{} by its manifest", units::size(archive.stored_bytes)),
        (Depth::Stored, _) => format!("{} as recorded", units::size(archive.stored_bytes)),
        (Depth::Content, Some(content)) => {
            format!("{} of {} as recorded", units::things(content.rows, "row"), units::things(content.tables, "table"))
        }
        (Depth::Content, None) => format!("{} of plain bytes as recorded", units::size(archive.plain_bytes)),
    };
    let message = match depth {
        Depth::List => what,
        Depth::Stored | Depth::Content => format!("{what}, {} checked in {}", depth.word(), units::duration(took)),
    };
    let mut item = Item::new(subject, Status::Ok, message)
        .with(keys::LABEL, Value::Text(manifest.label.clone()))
        .with(keys::DEPTH, Value::Text(depth.word().to_owned()))
        .with(keys::STORED, Value::Bytes(archive.stored_bytes))
        .with(keys::PLAIN, Value::Bytes(archive.plain_bytes));
    if let Some(content) = content {
        item = item.with(keys::TABLES, Value::Count(content.tables)).with(keys::ROWS, Value::Count(content.rows));
    }
    item.with(keys::STARTED, Value::At(manifest.started_at)).with(keys::DURATION, Value::Seconds(took))
}
