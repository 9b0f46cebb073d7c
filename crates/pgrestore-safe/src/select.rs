//! From BACKUP to a verified source: which backup is meant, whether it belongs here, and whether it is what was written.

use crate::cli::Cli;
use crate::load::{self, Stream, Survey};
use crate::safety;
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::backup::catalog::{self, Catalog, PIN, Verified};
use common::backup::foreign::{self, Dump, Seen};
use common::backup::found::{self, Found};
use common::backup::index::{Record, Table};
use common::backup::label::Label;
use common::backup::manifest::{Content, Kind, Manifest};
use common::backup::seek::Seekable;
use common::backup::stored;
use common::dirfd::{self, Dir};
use common::hint::Hint as _;
use common::units::Stamp;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Entries that a load knows how to carry out beside others; where there is any other, it goes in the order of the dump.
const KNOWN: &[&str] = &[
    "SETTINGS",
    "ACL",
    "AGGREGATE",
    "BLOB",
    "BLOBS",
    "BLOB METADATA",
    "CAST",
    "CHECK CONSTRAINT",
    "COLLATION",
    "COMMENT",
    "CONSTRAINT",
    "CONVERSION",
    "DEFAULT",
    "DEFAULT ACL",
    "DOMAIN",
    "EVENT TRIGGER",
    "EXTENSION",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "INDEX",
    "INDEX ATTACH",
    "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "POLICY",
    "PROCEDURE",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "ROW SECURITY",
    "RULE",
    "SCHEMA",
    "SECURITY LABEL",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SERVER",
    "SHELL TYPE",
    "STATISTICS",
    "STATISTICS DATA",
    "SUBSCRIPTION",
    "TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TRIGGER",
    "TYPE",
    "USER MAPPING",
    "VIEW",
];

/// A backup that was found and belongs here, but was not read yet.
#[derive(Debug)]
pub enum Selected {
    /// One of pgbackup's.
    Ours(Box<Found>),
    /// A dump that something else made.
    Foreign(PathBuf),
}

/// A backup whose stored bytes are the recorded ones; of one without a record, one that is complete.
#[derive(Debug)]
pub struct Source {
    origin: Origin,
    tables: Vec<Table>,
    /// What it holds.
    pub content: Content,
    /// What the new database needs.
    pub needs: Needs,
    /// What its statements ask for.
    pub survey: Survey,
    kinds: BTreeSet<String>,
}

#[derive(Debug)]
enum Origin {
    Ours { found: Box<Found>, archive: Seekable },
    Foreign { path: PathBuf, form: &'static str, plain_bytes: u64 },
}

/// What a backup needs of a server.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Roles that own something in it.
    pub roles: BTreeSet<String>,
    /// Extensions that it makes.
    pub extensions: BTreeSet<String>,
}

/// What decides whether a backup belongs to a server.
#[derive(Debug, Deserialize)]
struct Identity {
    system_identifier: Option<String>,
}

const IDENTITY: &str = "SELECT pg_catalog.json_build_object('system_identifier', \
    CASE WHEN pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') \
    THEN (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()) END)";

/// Finds the backup that BACKUP names.
///
/// # Errors
///
/// There is none, or it belongs to another database or server.
pub fn select(cli: &Cli, target: &Target, now: Stamp) -> Result<Selected> {
    let name = cli.backup.as_deref().unwrap_or_default();
    let identity: Identity = target.maintenance()?.ask(IDENTITY)?;
    let path = Path::new(name);
    let is_foreign = name != "latest" && path.exists() && !found::is_ours(path);
    if is_foreign {
        return Ok(Selected::Foreign(path.to_owned()));
    }
    let found = if name == "latest" { latest(cli, target, &identity, now)? } else { named(cli, name)? };
    let manifest = &found.manifest;
    match manifest.kind {
        Kind::Database => {}
        Kind::Globals => {
            return Err(anyhow!("{} holds the roles and tablespaces of a server, not a database", manifest.label))
                .hint("look at them with --stdout, and carry out what is missing by psql");
        }
        Kind::Stream => {
            return Err(anyhow!("{} holds a stream, not a database", manifest.label)).hint("restore it with --stdout");
        }
    }
    if !cli.from_other && cli.into.is_none() {
        belongs(manifest, &target.name, &identity)?;
    }
    Ok(Selected::Ours(Box::new(found)))
}

fn belongs(manifest: &Manifest, database: &str, identity: &Identity) -> Result<()> {
    let advice = "if this is what you want: --from-other";
    if manifest.subject != database {
        return Err(anyhow!("{} is a backup of database {:?}, not of {database:?}", manifest.label, manifest.subject))
            .hint(advice);
    }
    let source = manifest.source.as_ref().map(|source| source.system_identifier.as_str());
    match (source, identity.system_identifier.as_deref()) {
        (Some(source), Some(server)) if source != server && !source.starts_with("at ") => {
            Err(anyhow!("{} is a backup from another server", manifest.label)).hint(advice)
        }
        _ => Ok(()),
    }
}

/// A path, or a label in `--dir`.
pub fn named(cli: &Cli, name: &str) -> Result<Found> {
    let path = Path::new(name);
    let is_label = !name.contains('/') && Label::parse(name).is_some();
    match &cli.dir {
        Some(dir) if is_label && !path.exists() => Found::open(&dir.join(name)),
        _ if found::is_ours(path) => Found::open(path),
        _ => bail!("{name:?} is not a backup of pgbackup"),
    }
    .with_context(|| format!("cannot use {name:?}"))
}

fn latest(cli: &Cli, target: &Target, identity: &Identity, now: Stamp) -> Result<Found> {
    let path =
        cli.dir.as_deref().context("no directory to look for the latest backup in").hint("name it with --dir")?;
    let dir = Dir::open(path)?;
    let catalog = Catalog::read(&dir)?;
    let fits = |manifest: &Manifest| {
        let is_here = cli.from_other || belongs(manifest, &target.name, identity).is_ok();
        let is_safety = manifest.notes.iter().any(|note| note == safety::NOTE);
        manifest.kind == Kind::Database && manifest.subject == target.name && is_here && !is_safety
    };
    // What claims to come from the future is never picked (THREATS B5).
    let horizon = now.saturating_add(catalog::CLOCK_SLACK);
    let newest = catalog
        .backups
        .iter()
        .filter(|backup| backup.incomplete.is_none() && backup.label.stamp <= horizon)
        .filter(|backup| backup.manifest.as_ref().is_ok_and(fits))
        .max_by_key(|backup| backup.label.stamp);
    let newest = newest
        .ok_or_else(|| anyhow!("no complete backup of database {:?} of this server in {path:?}", target.name))
        .hint("see what there is: backup-verify --depth list --every DIR; for one of another server: --from-other")?;
    Found::of(dir.try_clone().with_context(|| format!("cannot open directory {path:?}"))?, &newest.label)
}

/// Reads the stored bytes and compares them with what was recorded; nothing is touched before.
///
/// A dump without a record is read to its end instead, and must be complete.
///
/// # Errors
///
/// What differs, or what backup-verify has said against it.
pub fn verify(selected: Selected, target: &Target) -> Result<Source> {
    let shown = match &selected {
        Selected::Ours(found) => found.manifest.label.clone(),
        Selected::Foreign(path) => dirfd::shown(path),
    };
    let source = match selected {
        Selected::Ours(found) => verify_ours(found),
        Selected::Foreign(path) => verify_foreign(path, target),
    };
    let act = || format!("cannot restore from {shown}");
    let mut source = source.with_context(act)?;
    source.survey = load::survey(&source, target).with_context(act)?;
    source.needs.roles.extend(source.survey.names.roles.iter().cloned());
    Ok(source)
}

fn verify_ours(found: Box<Found>) -> Result<Source> {
    let manifest = &found.manifest;
    if let Some(verdict) = Verified::read(&found.dir, &manifest.label)
        && verdict.condemns(&manifest.archive.stored_sha256)
    {
        return Err(anyhow!(verdict.told())).hint("take another backup, or look closer with backup-verify");
    }
    stored::check_small(&found)?;
    let (members, end) = found.members()?;
    let archive = Seekable::verified(found.open_archive()?, &manifest.archive, members);
    end.failure()?;
    let archive = archive?;
    ensure!(end.left() == 0, "the index lists {} members too few", end.left());
    let content = manifest.content.clone().context("the manifest says nothing about the content")?;
    let mut index = found.index()?;
    let mut source = Source::new(Origin::Ours { found, archive }, content);
    while let Some(record) = index.next_record().context("the index is damaged")? {
        source.learn(record);
    }
    Ok(source)
}

fn verify_foreign(path: PathBuf, target: &Target) -> Result<Source> {
    let mut records = Vec::new();
    let judged = foreign::judge(&path, &target.clients, &mut |seen| {
        if let Seen::Record(record @ (Record::Entry(_) | Record::Table(_))) = seen {
            records.push(record);
        }
    })??;
    if judged.kind != Kind::Database {
        return Err(anyhow!("it is a dump of a whole server, by pg_dumpall"))
            .hint("dump one database with pg_dump, or restore this one by psql into a server of its own");
    }
    let origin = Origin::Foreign { path, form: judged.form, plain_bytes: judged.plain_bytes };
    let mut source = Source::new(origin, judged.content);
    records.into_iter().for_each(|record| source.learn(record));
    Ok(source)
}

impl Source {
    fn new(origin: Origin, content: Content) -> Self {
        Self {
            origin,
            tables: Vec::new(),
            content,
            needs: Needs::default(),
            survey: Survey::default(),
            kinds: BTreeSet::new(),
        }
    }

    fn learn(&mut self, record: Record) {
        match record {
            Record::Table(table) => self.tables.push(table),
            Record::Entry(entry) => {
                if entry.kind == "EXTENSION" {
                    self.needs.extensions.insert(entry.name);
                }
                if !["", "-"].contains(&entry.owner.as_str()) {
                    self.needs.roles.insert(entry.owner);
                }
                self.kinds.insert(entry.kind);
            }
            Record::Sequence(_) | Record::LargeObject(_) | Record::Members(_) => {}
        }
    }

    /// Tables with their rows, in the order of the dump.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Bytes of the dump.
    pub fn plain_bytes(&self) -> u64 {
        match &self.origin {
            Origin::Ours { archive, .. } => archive.plain_bytes(),
            Origin::Foreign { plain_bytes, .. } => *plain_bytes,
        }
    }

    /// The encoding of the database that was dumped; that of a foreign dump is only in its text.
    pub fn encoding(&self) -> &str {
        self.manifest().and_then(|manifest| manifest.source.as_ref()).map_or("UTF8", |source| source.encoding.as_str())
    }

    /// The archive, where rows can be read out of order.
    pub fn seekable(&self) -> Option<&Seekable> {
        match &self.origin {
            Origin::Ours { archive, .. } => Some(archive),
            Origin::Foreign { .. } => None,
        }
    }

    /// The kinds of its entries.
    pub fn kinds(&self) -> &BTreeSet<String> {
        &self.kinds
    }

    /// Whether every entry is of a kind that we know.
    pub fn is_known(&self) -> bool {
        self.kinds.iter().all(|kind| KNOWN.contains(&kind.as_str()))
    }

    /// The plain stream from its start.
    ///
    /// # Errors
    ///
    /// What the archive says.
    pub fn stream(&self, target: &Target) -> Result<Stream<'_>> {
        match &self.origin {
            Origin::Ours { archive, .. } => archive.reader(0).map(Stream::Ours),
            Origin::Foreign { path, .. } => Ok(Stream::foreign(Box::new(Dump::open(path, &target.clients)??))),
        }
    }

    /// What is recorded about it.
    pub fn manifest(&self) -> Option<&Manifest> {
        match &self.origin {
            Origin::Ours { found, .. } => Some(&found.manifest),
            Origin::Foreign { .. } => None,
        }
    }

    /// Its label, or its path.
    pub fn shown(&self) -> String {
        match &self.origin {
            Origin::Ours { found, .. } => found.manifest.label.clone(),
            Origin::Foreign { path, form, .. } => format!("{} ({form})", dirfd::shown(path)),
        }
    }

    /// Where it is, for a sibling program.
    pub fn path(&self) -> PathBuf {
        match &self.origin {
            Origin::Ours { found, .. } => found.dir.join(&found.archive()),
            Origin::Foreign { path, .. } => path.clone(),
        }
    }

    /// Keeps it from being expired while it is read.
    pub fn pin(&self) -> Option<Pinned<'_>> {
        match &self.origin {
            Origin::Ours { found, .. } => Some(Pinned::new(found)),
            Origin::Foreign { .. } => None,
        }
    }
}

/// Keeps a backup from being expired while it is read.
#[derive(Debug)]
pub struct Pinned<'a> {
    found: &'a Found,
    is_ours: bool,
}

impl<'a> Pinned<'a> {
    /// Puts a pin beside the backup, unless there is one or the place may not be written to.
    fn new(found: &'a Found) -> Self {
        let name = found.name(PIN);
        let is_free = found.dir.size_of(&name).is_ok_and(|size| size.is_none());
        let made = is_free.then(|| common::publish::Partial::create(&found.dir, &name).and_then(|pin| pin.commit()));
        if let Some(Err(error)) = &made {
            common::info!("the backup is not pinned: {error:#}");
        }
        Self { found, is_ours: made.is_some_and(|made| made.is_ok()) }
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = self.found.dir.remove(&self.found.name(PIN))
        {
            common::warn!("cannot take the pin away: {error}");
        }
    }
}
