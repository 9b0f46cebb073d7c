//! From BACKUP to a verified source: which backup is meant, whether it belongs here, and whether it is what was written.

use crate::cli::Cli;
use crate::load::Stream;
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::backup::catalog::{self, Catalog, PIN, Verified};
use common::backup::found::{self, Found};
use common::backup::index::{Record, Table};
use common::backup::label::Label;
use common::backup::manifest::{Kind, Manifest};
use common::backup::seek::Seekable;
use common::backup::stored;
use common::dirfd::Dir;
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
pub struct Selected {
    /// Where it is, and what its manifest says.
    pub found: Found,
}

/// A backup whose stored bytes are the recorded ones.
#[derive(Debug)]
pub struct Source {
    /// Where it is, and what its manifest says.
    pub found: Found,
    archive: Seekable,
    tables: Vec<Table>,
    /// What the new database needs.
    pub needs: Needs,
    kinds: BTreeSet<String>,
}

/// What a backup needs of a server.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// Roles that own something in it.
    pub roles: BTreeSet<String>,
    /// Extensions that it makes.
    pub extensions: BTreeSet<String>,
    /// Tablespaces.
    pub kinds: BTreeSet<String>,
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
    Ok(Selected { found })
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
        manifest.kind == Kind::Database && manifest.subject == target.name && is_here
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
/// # Errors
///
/// What differs, or what backup-verify has said against it.
pub fn verify(selected: Selected) -> Result<Source> {
    let found = selected.found;
    let manifest = &found.manifest;
    let act = || format!("cannot restore from {}", manifest.label);
    if let Some(verdict) = Verified::read(&found.dir, &manifest.label)
        && verdict.condemns(&manifest.archive.stored_sha256)
    {
        return Err(anyhow!(verdict.told()))
            .hint("take another backup, or look closer with backup-verify")
            .with_context(act);
    }
    stored::check_small(&found).with_context(act)?;
    let (members, end) = found.members()?;
    let archive = Seekable::verified(found.open_archive()?, &manifest.archive, members);
    end.failure().with_context(act)?;
    let archive = archive.with_context(act)?;
    ensure!(end.left() == 0, "the index lists {} members too few", end.left());
    let mut source = Source { archive, tables: Vec::new(), needs: Needs::default(), kinds: BTreeSet::new(), found };
    let mut index = source.found.index()?;
    while let Some(record) = index.next_record().context("the index is damaged")? {
        match record {
            Record::Table(table) => source.tables.push(table),
            Record::Entry(entry) => {
                if entry.kind == "EXTENSION" {
                    source.needs.extensions.insert(entry.name.clone());
                }
                if !["", "-"].contains(&entry.owner.as_str()) {
                    source.needs.roles.insert(entry.owner);
                }
                source.kinds.insert(entry.kind);
            }
            Record::Sequence(_) | Record::LargeObject(_) | Record::Members(_) => {}
        }
    }
    Ok(source)
}

impl Source {
    /// Tables with their rows, in the order of the dump.
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Bytes of the dump.
    pub fn plain_bytes(&self) -> u64 {
        self.archive.plain_bytes()
    }

    /// The encoding of the dump.
    pub fn encoding(&self) -> &str {
        self.found.manifest.source.as_ref().map_or("UTF8", |source| source.encoding.as_str())
    }

    /// The archive, where rows can be read out of order.
    pub fn seekable(&self) -> Option<&Seekable> {
        Some(&self.archive)
    }

    /// Whether rows can be read out of order.
    pub fn is_seekable(&self) -> bool {
        self.seekable().is_some()
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
    pub fn stream(&self) -> Result<Stream<'_>> {
        self.archive.reader(0).map(Stream::Ours)
    }

    /// Where it is, for a sibling program.
    pub fn path(&self) -> PathBuf {
        self.found.dir.join(&self.found.archive())
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
    pub fn new(found: &'a Found) -> Self {
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
