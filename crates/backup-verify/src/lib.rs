//! Says whether a backup is really good.
//!
//! ```text
//! operand -> place (catalog, newest) | path -> manifest -> list | stored | content -> verdict -> Item
//! ```
//!
//! A backup that is bad, or is not there, is an `Item`, and the others are still checked.

mod against;
pub mod cli;
mod compare;
mod content;
mod expect;
mod keys;
mod operand;
mod place;
mod redump;
mod shrink;
mod verdict;
mod wording;

pub use cli::Cli;

use anyhow::{Context as _, Result, anyhow, bail};
use cli::Depth;
use common::backup::catalog::{self, Backup};
use common::backup::foreign;
use common::backup::found::{self, Found};
use common::backup::manifest::Content;
use common::backup::stored;
use common::cli::Tool as _;
use common::dirfd::{self, Dir};
use common::hint::{self, Hint as _};
use common::pg::client::{Clients, unprivileged};
use common::pg::place as address;
use common::report::{Item, Report, Value};
use common::status::Status;
use common::units::{self, Stamp};
use operand::Operand;
use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Checks what the options name.
///
/// # Errors
///
/// Standard input that names nothing or cannot be read; a threshold without a directory that it could judge.
pub fn run(cli: &Cli) -> Result<Report> {
    if cli.depth == Some(Depth::Restored) {
        return Err(anyhow!("--depth restored is not built yet"))
            .hint("--depth content reads every row; restore by hand now and then");
    }
    let now = Stamp::from(SystemTime::now());
    let operands = operand::all(&cli.paths, std::io::stdin().lock())?;
    let places = operands.iter().filter(|operand| matches!(operand, Operand::Place(_))).count();
    if let Some(option) = cli.option_for_places().filter(|_| places == 0) {
        return Err(anyhow!("{option} judges the backups of a DIR, and none is given"))
            .hint("name the directory that pgbackup --dir writes to");
    }
    let check = Check { cli, now, places, clients: OnceCell::new() };
    if let Some(database) = &cli.against {
        return check.against(database, operands);
    }
    let mut report = Report::new(Cli::NAME, Cli::STYLE, now);
    let mut seen = BTreeSet::new();
    for operand in operands {
        common::interrupt::check()?;
        match operand {
            Operand::Failed(item) => report.push(item),
            Operand::Backup { path, remark } => report.push(with_remark(check.path(&path), remark)),
            Operand::Place(path) => match place::check(&check, &path, &mut seen) {
                Ok(items) => report.items.extend(items),
                Err(error) => report.push(failed(dirfd::shown(&path), &error)),
            },
        }
    }
    for expected in cli.expect.iter().filter(|expected| !seen.contains(*expected)) {
        report.push(Item::new(&expected.subject, Status::Critical, expected.missing()));
    }
    Ok(report)
}

/// What the tool that made a backup had to say is not lost because its content is good.
fn with_remark(mut item: Item, remark: Option<Item>) -> Item {
    if let Some(remark) = remark {
        item.status = item.status.max(remark.status);
        item.message = format!("{}; {}", item.message, remark.message);
        item.hints.extend(remark.hints);
    }
    item
}

/// An item for what is bad; what we may not read is no finding about it.
fn failed(subject: String, error: &anyhow::Error) -> Item {
    let status = if is_denied(error) { Status::Unknown } else { Status::Critical };
    Item::failed(subject, status, error)
}

fn is_denied(error: &anyhow::Error) -> bool {
    hint::find::<std::io::Error>(error).is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
}

/// How backups are checked in this run.
struct Check<'a> {
    cli: &'a Cli,
    now: Stamp,
    /// How many directories there are.
    places: usize,
    clients: OnceCell<Clients>,
}

impl Check<'_> {
    /// A backup by the path of any file of it.
    fn path(&self, path: &Path) -> Item {
        let depth = self.cli.depth.unwrap_or(Depth::Content);
        if !found::is_ours(path) {
            return self.foreign(path, depth);
        }
        self.item(dirfd::shown(path), depth, Found::open(path))
    }

    /// A backup of a catalog.
    fn backup(&self, dir: &Dir, backup: &Backup, subject: String, depth: Depth) -> Item {
        let found = dir.try_clone().with_context(|| format!("cannot open directory {:?}", dir.path()));
        let found = found.and_then(|dir| Found::of(dir, &backup.label));
        self.item(subject, depth, found)
    }

    fn item(&self, subject: String, depth: Depth, found: Result<Found>) -> Item {
        let began = Instant::now();
        let found = match found {
            Ok(found) => found,
            Err(error) => return failed(subject, &error),
        };
        if let Some(verdict) = verdict::against(&found, depth) {
            let mut item = Item::new(subject, Status::Critical, verdict.told());
            item.hints.push(format!("read it again with --depth {}", verdict.depth));
            return item;
        }
        let checked = match depth {
            Depth::List => list(&found),
            Depth::Stored => stored::check(&found),
            Depth::Content | Depth::Restored => content::check(&found, self.threads()),
        };
        // Of what was not read to its end there is nothing to keep.
        if common::interrupt::requested().is_none() && !checked.as_ref().is_err_and(is_denied) {
            let status = if checked.is_ok() { Status::Ok } else { Status::Critical };
            verdict::keep(&found, depth, status, self.now);
        }
        match checked {
            Ok(()) => good(subject, depth, &found, began.elapsed()),
            Err(error) => failed(subject, &error),
        }
    }

    fn threads(&self) -> usize {
        self.cli.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }

    /// A name in a directory; which one is said only where there are several.
    fn in_place(&self, dir: &Dir, name: &str) -> String {
        if self.places < 2 { name.to_owned() } else { format!("{name} in {}", dirfd::shown(dir.path())) }
    }

    /// A backup without a manifest, which only a reading to its end can judge.
    fn foreign(&self, path: &Path, depth: Depth) -> Item {
        let began = Instant::now();
        let subject = dirfd::shown(path);
        if depth < Depth::Content {
            let mut item = Item::new(subject, Status::Unknown, "it has no manifest, so no digest is recorded");
            item.hints.push("read it to its end with --depth content".to_owned());
            return item;
        }
        match self.clients().and_then(|clients| foreign::judge(path, clients, &mut |_| {})) {
            Err(error) => Item::failed(subject, Status::Unknown, &error),
            Ok(Err(error)) => failed(subject, &error),
            Ok(Ok(judged)) => good_foreign(subject, &judged, began.elapsed()),
        }
    }

    /// The one backup that is named, against a database.
    fn against(&self, database: &str, operands: Vec<Operand>) -> Result<Report> {
        let mut operands = operands.into_iter();
        let (Some(Operand::Backup { path, .. }), None) = (operands.next(), operands.next()) else {
            return Err(anyhow!("--against compares one backup, and not a directory or a list"))
                .hint("name the archive: app-20261120T020000Z.sql.gz");
        };
        let base = self.cli.env_file.as_deref().map(address::of_env_file).transpose()?;
        let access = address::of_operand(database, base.as_ref())?;
        let mut report = Report::new(Cli::NAME, Cli::STYLE, self.now);
        report.push(against::item(&path, self.clients()?, access));
        Ok(report)
    }

    /// The programs of others; looked for once, and only when they are needed.
    fn clients(&self) -> Result<&Clients> {
        if self.clients.get().is_none() {
            let run_as = unprivileged(self.cli.run_as.as_deref())?;
            let clients = Clients::new(Vec::new(), self.cli.pg_bin.clone(), run_as);
            return Ok(self.clients.get_or_init(|| clients));
        }
        self.clients.get().context("no client programs")
    }
}

/// Are the files there, with the recorded sizes?
fn list(found: &Found) -> Result<()> {
    match catalog::missing(&found.dir, &found.manifest.label, &found.manifest) {
        Some(why) => bail!(why),
        None => Ok(()),
    }
}

fn good_foreign(subject: String, judged: &foreign::Judged, took: Duration) -> Item {
    let content = &judged.content;
    // Rows that are INSERTs cannot be told from other statements.
    let held = match content.tables {
        0 => units::things(content.entries, "object"),
        _ => rows_of_tables(content),
    };
    let message = format!(
        "{}, complete by its end marker: {held}; without a manifest nothing says what it should hold",
        judged.form
    );
    Item::new(subject, Status::Ok, message)
        .with(keys::DEPTH, Value::Text("foreign".to_owned()))
        .with(keys::PLAIN, Value::Bytes(judged.plain_bytes))
        .with(keys::TABLES, Value::Count(content.tables))
        .with(keys::ROWS, Value::Count(content.rows))
        .with(keys::DURATION, Value::Seconds(took))
}

fn rows_of_tables(content: &Content) -> String {
    format!("{} of {}", units::things(content.rows, "row"), units::things(content.tables, "table"))
}

fn good(subject: String, depth: Depth, found: &Found, took: Duration) -> Item {
    let manifest = &found.manifest;
    let archive = &manifest.archive;
    let content = manifest.content.as_ref();
    let what = match (depth, content) {
        (Depth::List, _) => format!("{} by its manifest", units::size(archive.stored_bytes)),
        (Depth::Stored, _) => format!("{} as recorded", units::size(archive.stored_bytes)),
        (Depth::Content | Depth::Restored, Some(content)) => {
            format!("{} as recorded", rows_of_tables(content))
        }
        (Depth::Content | Depth::Restored, None) => {
            format!("{} of plain bytes as recorded", units::size(archive.plain_bytes))
        }
    };
    let message = match depth {
        Depth::List => what,
        Depth::Stored | Depth::Content | Depth::Restored => {
            format!("{what}, {} checked in {}", depth.word(), units::duration(took))
        }
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
