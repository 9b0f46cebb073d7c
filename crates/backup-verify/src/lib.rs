//! Says whether a backup is really good.
//!
//! ```text
//! operand -> place (catalog, newest) | path -> manifest -> list | stored | content | restored -> verdict -> Item
//! --against: backup -> index, database -> pg_dump -> compare -> Item
//! ```
//!
//! A backup that is bad, or is not there, is an `Item`, and the others are still checked.

mod against;
mod asserts;
mod cage;
pub mod cli;
mod cluster;
mod compare;
mod content;
mod expect;
mod extensions;
mod keys;
mod operand;
mod place;
mod redump;
mod required;
mod restored;
mod scratch;
mod seen;
mod shrink;
mod verdict;
mod wording;

pub use cli::Cli;

use against::{Place, Trouble};
use anyhow::{Context as _, Result, anyhow, bail};
use cli::Depth;
use common::backup::catalog::{self, Backup};
use common::backup::foreign::{self, Judged};
use common::backup::found::{self, Found};
use common::backup::manifest::{Content, Kind};
use common::backup::stored;
use common::cli::Tool as _;
use common::dirfd::{self, Dir};
use common::hint::{self, Hint as _};
use common::pg::client::{Clients, unprivileged};
use common::pg::place as address;
use common::report::{Item, Key, Report, Value};
use common::status::Status;
use common::units::{self, Stamp};
use operand::Operand;
use seen::Seen;
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
    if let Some((option, advice)) = cli.idle_option() {
        return Err(anyhow!("nothing would look at {option}")).hint(advice);
    }
    cli.assert.iter().try_for_each(|assert| asserts::check(assert))?;
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
        let depth = self.cli.depth_of_path();
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
        let seen = Seen::new(&self.cli.require_table);
        let reads = depth.min(Depth::Content);
        let checked = match reads {
            Depth::List => list(&found),
            Depth::Stored => stored::check(&found),
            Depth::Content | Depth::Restored => content::check(&found, self.threads(), &seen),
        };
        // Of what was not read to its end there is nothing to keep.
        if common::interrupt::requested().is_none() && !checked.as_ref().is_err_and(is_denied) {
            let status = if checked.is_ok() { Status::Ok } else { Status::Critical };
            verdict::keep(&found, reads, status, self.now);
        }
        let is_database = found.manifest.kind == Kind::Database;
        let mut item = match checked {
            Err(error) => return failed(subject, &error),
            Ok(()) if depth == Depth::Restored && is_database => self.restored(subject, &found, &seen, began),
            Ok(()) => good(subject, reads, &found, began.elapsed()),
        };
        if depth == Depth::Restored && !is_database {
            item.message.push_str("; only a database can be restored into a throw-away server");
        }
        if reads == Depth::Content && is_database {
            against::complain(&mut item, seen.complaints());
        }
        item
    }

    /// A backup whose content is good, restored.
    fn restored(&self, subject: String, found: &Found, seen: &Seen, began: Instant) -> Item {
        let withdrawn = match verdict::withdraw(found) {
            Ok(withdrawn) => withdrawn,
            Err(error) => return Item::failed(subject, Status::Unknown, &error),
        };
        let proven = self.prove(restored::Backup::Ours(found), seen);
        if proven.is_err() {
            verdict::put_back(found, withdrawn);
        }
        let restored::Proven { compared, complaints } = match proven {
            Ok(proven) => proven,
            Err(Trouble::Judging(error)) => return Item::failed(subject, Status::Unknown, &error),
            Err(Trouble::Backup(error)) => return failed(subject, &error),
            // Not kept beside it: what this server does not take another one may, and in a disaster it is all there is.
            Err(Trouble::Restore(error)) => {
                return Item::failed(subject, Status::Critical, &error.context("it cannot be restored"));
            }
        };
        let status = compared.status();
        verdict::keep(found, Depth::Restored, status, self.now);
        let place = Place { what: "the restored database", depth: "restored", done: "restored" };
        let mut item = compared.item(subject, &place, began.elapsed());
        if status != Status::Critical {
            item.fields.extend(facts(found));
        }
        against::complain(&mut item, complaints);
        item
    }

    /// A dump of something else that was read to its end, restored.
    fn restored_foreign(&self, subject: String, path: &Path, judged: &Judged, seen: &Seen, began: Instant) -> Item {
        let readers = self.clients().map_err(Trouble::Judging);
        let proven = readers.and_then(|readers| self.prove(restored::Backup::Foreign(path, judged, readers), seen));
        let restored::Proven { compared, complaints } = match proven {
            Ok(proven) => proven,
            Err(Trouble::Judging(error)) => return Item::failed(subject, Status::Unknown, &error),
            Err(Trouble::Backup(error) | Trouble::Restore(error)) => {
                return Item::failed(subject, Status::Critical, &error.context("it cannot be restored"));
            }
        };
        let place = Place { what: "the restored database", depth: "restored", done: "restored" };
        let mut item = compared.item(subject, &place, began.elapsed());
        against::complain(&mut item, complaints);
        item
    }

    fn prove(&self, backup: restored::Backup<'_>, seen: &Seen) -> Result<restored::Proven, Trouble> {
        let cli = self.cli;
        let work = cli.work_dir.clone().unwrap_or_else(scratch::default_place);
        let order = restored::Order {
            backup,
            seen,
            work: &work,
            run_as: cli.run_as.as_deref(),
            jobs: cli.jobs,
            bin: cli.pg_bin.as_ref(),
            allowed: &cli.allow_extension,
            rights: if cli.as_superuser { restored::Rights::Superuser } else { restored::Rights::None },
            asserts: &cli.assert,
            now: self.now,
        };
        match &cli.server {
            // Which programs there are is asked as ourselves: the cluster's user may not exist.
            None => restored::prove(&order, &Clients::new(Vec::new(), cli.pg_bin.clone(), None)),
            Some(server) => {
                let access = address::of_operand(server, None).map_err(Trouble::Judging)?;
                let clients = self.clients().map_err(Trouble::Judging)?;
                restored::prove_on(&order, &access, clients, cli.run_as.as_deref())
            }
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
        let seen = Seen::new(&self.cli.require_table);
        match self.clients().and_then(|clients| foreign::judge(path, clients, &mut |piece| seen.foreign(&piece))) {
            Err(error) => Item::failed(subject, Status::Unknown, &error),
            Ok(Err(error)) => failed(subject, &error),
            Ok(Ok(judged)) => {
                let is_restored = depth == Depth::Restored && judged.kind == Kind::Database;
                let mut item = match is_restored {
                    true => self.restored_foreign(subject, path, &judged, &seen, began),
                    false => good_foreign(subject, &judged, began.elapsed()),
                };
                if judged.kind == Kind::Database {
                    against::complain(&mut item, seen.complaints());
                }
                item
            }
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
        let seen = Seen::new(&self.cli.require_table);
        report.push(against::item(&path, &seen, &self.cli.assert, self.clients()?, access));
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
    let [label, stored, plain, started] = facts(found);
    let mut item = Item::new(subject, Status::Ok, message);
    item.fields.extend([label, (keys::DEPTH, Value::Text(depth.word().to_owned())), stored, plain]);
    if let Some(content) = content {
        item = item.with(keys::TABLES, Value::Count(content.tables)).with(keys::ROWS, Value::Count(content.rows));
    }
    item.fields.push(started);
    item.with(keys::DURATION, Value::Seconds(took))
}

/// What the manifest of a good backup says of it.
fn facts(found: &Found) -> [(Key, Value); 4] {
    let manifest = &found.manifest;
    [
        (keys::LABEL, Value::Text(manifest.label.clone())),
        (keys::STORED, Value::Bytes(manifest.archive.stored_bytes)),
        (keys::PLAIN, Value::Bytes(manifest.archive.plain_bytes)),
        (keys::STARTED, Value::At(manifest.started_at)),
    ]
}
