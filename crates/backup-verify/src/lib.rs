//! Says whether a backup is really good.
//!
//! ```text
//! path -> manifest -> stored -> content -> Item
//! ```
//!
//! A backup that is bad, or is not there, is an `Item`, and the others are still checked.

pub mod cli;
mod content;
mod found;
mod stored;

pub use cli::Cli;

use anyhow::Result;
use cli::Depth;
use common::cli::Tool as _;
use common::dirfd;
use common::report::{Item, Key, Report, Value};
use common::status::Status;
use common::units::{self, Stamp};
use found::Found;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

const STORED: Key = Key::new("stored_bytes", "Size of the archive on disk");
const PLAIN: Key = Key::new("plain_bytes", "Size of the dump before compression");
const TABLES: Key = Key::new("tables", "Tables in the backup");
const ROWS: Key = Key::new("rows", "Rows in the backup");
const STARTED: Key = Key::new("started_at", "When the dump began");
const DURATION: Key = Key::new("duration_seconds", "How long the check took");
const DEPTH: Key = Key::new("depth", "How deep it went");
const LABEL: Key = Key::new("label", "The backup's name");

/// Checks what the options name.
///
/// # Errors
///
/// None at present: what is wrong with a path is an item.
pub fn run(cli: &Cli) -> Result<Report> {
    let mut report = Report::new(Cli::NAME, Cli::STYLE, Stamp::from(SystemTime::now()));
    for path in &cli.paths {
        common::interrupt::check()?;
        report.push(one(cli, path));
    }
    Ok(report)
}

fn one(cli: &Cli, path: &Path) -> Item {
    let began = Instant::now();
    let subject = dirfd::shown(path);
    let checked = Found::open(path).and_then(|found| {
        match cli.depth {
            Depth::Stored => stored::check(&found)?,
            Depth::Content => content::check(&found, threads(cli))?,
        }
        Ok(found)
    });
    match checked {
        Ok(found) => good(cli, subject, &found, began.elapsed()),
        Err(error) => Item::failed(subject, Status::Critical, &error),
    }
}

fn threads(cli: &Cli) -> usize {
    cli.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
}

fn good(cli: &Cli, subject: String, found: &Found, took: Duration) -> Item {
    let manifest = &found.manifest;
    let archive = &manifest.archive;
    let content = manifest.content.as_ref();
    let what = match (cli.depth, content) {
        (Depth::Stored, _) => format!("{} as recorded", units::size(archive.stored_bytes)),
        (Depth::Content, Some(content)) => {
            format!("{} of {} as recorded", units::things(content.rows, "row"), units::things(content.tables, "table"))
        }
        (Depth::Content, None) => format!("{} of plain bytes as recorded", units::size(archive.plain_bytes)),
    };
    let depth = if cli.depth == Depth::Stored { "stored" } else { "content" };
    let mut item = Item::new(subject, Status::Ok, format!("{what}, {depth} checked in {}", units::duration(took)))
        .with(LABEL, Value::Text(manifest.label.clone()))
        .with(DEPTH, Value::Text(depth.to_owned()))
        .with(STORED, Value::Bytes(archive.stored_bytes))
        .with(PLAIN, Value::Bytes(archive.plain_bytes));
    if let Some(content) = content {
        item = item.with(TABLES, Value::Count(content.tables)).with(ROWS, Value::Count(content.rows));
    }
    item.with(STARTED, Value::At(manifest.started_at)).with(DURATION, Value::Seconds(took))
}
