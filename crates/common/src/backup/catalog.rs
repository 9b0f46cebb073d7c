//! The backups found in one directory, and what makes one of them disappear without a trace.

use super::archive::Codec;
use super::label::Label;
use super::manifest::{self, Group, Kind, Manifest};
use crate::dirfd::Dir;
use crate::publish::partial_name;
use crate::units::Stamp;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::time::Duration;

/// The end of a manifest's name.
pub const MANIFEST: &str = ".manifest.json";
/// The end of an index's name.
pub const INDEX: &str = ".index.jsonl";
/// The end of a checksum file's name.
pub const SHA256: &str = ".sha256";
/// The end of the name of backup-verify's verdict.
pub const VERIFIED: &str = ".verified.json";
/// The end of a pin's name: a backup that has one is never expired.
pub const PIN: &str = ".pin";
/// The directory's own lock, for expiry.
pub const DIRECTORY_LOCK: &str = ".nightshift.lock";

/// How far ahead of our clock a backup may be. A drifting clock is no attack; a label of the year 9999 is one, or a
/// mistake, and must not make all real backups look old (THREATS B5).
pub const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// Whether a backup is so far ahead of the clock that it is never counted, picked or deleted.
pub fn is_from_the_future(at: Stamp, now: Stamp) -> bool {
    at > now.saturating_add(CLOCK_SLACK)
}

/// Every end that a file of ours may have beside the manifest.
const ENDS: [&str; 9] = [".sql.gz", ".sql.zst", ".sql", ".data.gz", ".data.zst", ".data", INDEX, SHA256, VERIFIED];

/// The end of an archive's name.
pub fn archive_end(kind: Kind, codec: Codec) -> String {
    let stem = match kind {
        Kind::Database | Kind::Globals => ".sql",
        Kind::Stream => ".data",
    };
    format!("{stem}{}", codec.extension())
}

/// The lock of one database's backups.
pub fn lock_name(prefix: &str) -> String {
    format!(".{prefix}.lock")
}

/// The largest verdict that is read; ours have about 200 bytes.
const VERDICT_LIMIT: u64 = 64 * 1024;

/// A backup that has a manifest.
#[derive(Debug)]
pub struct Backup {
    /// Its name without an end.
    pub label: Label,
    /// Its manifest, unless that is damaged.
    pub manifest: Result<Manifest>,
    /// Why it cannot be whole, as far as names and sizes tell.
    pub incomplete: Option<String>,
    /// It has a pin.
    pub pinned: bool,
    /// backup-verify has proven the content of these very bytes.
    pub proven: bool,
}

/// The verdict that backup-verify keeps beside a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// When.
    pub at: Stamp,
    /// `list`, `stored`, `content` or `restored`.
    pub depth: String,
    /// The status word.
    pub status: String,
    /// The version of backup-verify.
    pub version: String,
    /// The archive that the verdict is about.
    pub stored_sha256: String,
}

impl Verified {
    /// Whether this proves the content of the archive with that digest.
    pub fn proves(&self, stored_sha256: &str) -> bool {
        self.status == "OK"
            && matches!(self.depth.as_str(), "content" | "restored")
            && self.stored_sha256 == stored_sha256
    }

    /// Whether this says that the archive with that digest is bad.
    pub fn condemns(&self, stored_sha256: &str) -> bool {
        self.status == "CRITICAL" && self.stored_sha256 == stored_sha256
    }

    /// The verdict beside a label; one that cannot be read says nothing.
    pub fn read(dir: &Dir, label: &str) -> Option<Self> {
        serde_json::from_slice(&dir.read(&format!("{label}{VERIFIED}"), VERDICT_LIMIT).ok()?).ok()
    }

    /// What is said of a backup that this condemns.
    pub fn told(&self) -> String {
        format!("backup-verify found it bad at {}", self.at.rfc3339())
    }
}

/// The backups of one directory, oldest first within a prefix.
#[derive(Debug)]
pub struct Catalog {
    /// Every backup that has a manifest.
    pub backups: Vec<Backup>,
}

impl Catalog {
    /// Reads the manifests of a directory.
    ///
    /// A damaged manifest is a damaged backup in the list, not an error.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be read.
    pub fn read(dir: &Dir) -> Result<Self> {
        Self::read_where(dir, |_| true)
    }

    /// Reads the manifests whose label the test accepts.
    ///
    /// # Errors
    ///
    /// As [`Catalog::read`].
    pub fn read_where(dir: &Dir, wanted: impl Fn(&Label) -> bool) -> Result<Self> {
        let names: HashSet<String> =
            dir.names().with_context(|| format!("cannot read directory {:?}", dir.path()))?.into_iter().collect();
        let mut backups: Vec<_> = names
            .iter()
            .filter_map(|name| Label::parse(name.strip_suffix(MANIFEST)?))
            .filter(wanted)
            .map(|label| Backup::read(dir, label, &names))
            .collect();
        backups.sort_by(|a, b| a.label.cmp(&b.label));
        Ok(Self { backups })
    }

    /// The backups of one group, oldest first.
    pub fn of<'a>(&'a self, group: &'a Group) -> impl DoubleEndedIterator<Item = &'a Backup> {
        self.backups
            .iter()
            .filter(move |backup| backup.manifest.as_ref().is_ok_and(|manifest| manifest.group() == *group))
    }
}

impl Backup {
    fn read(dir: &Dir, label: Label, names: &HashSet<String>) -> Self {
        let text = label.to_string();
        let has = |end: &str| names.contains(&format!("{text}{end}"));
        let manifest = read_manifest(dir, &format!("{text}{MANIFEST}"), &label);
        let (incomplete, proven) = match &manifest {
            Err(error) => (Some(format!("{error:#}")), false),
            Ok(manifest) => {
                let verdict = has(VERIFIED).then(|| Verified::read(dir, &text)).flatten();
                let sha256 = &manifest.archive.stored_sha256;
                let proven = verdict.as_ref().is_some_and(|verdict| verdict.proves(sha256));
                let condemned = verdict.filter(|verdict| verdict.condemns(sha256));
                let missing = missing(dir, &text, manifest);
                (missing.or(condemned.map(|verdict| verdict.told())), proven)
            }
        };
        Self { pinned: has(PIN), label, manifest, incomplete, proven }
    }
}

/// What names and sizes tell against a backup.
pub fn missing(dir: &Dir, label: &str, manifest: &Manifest) -> Option<String> {
    let archive = archive_end(manifest.kind, manifest.archive.codec);
    let wanted = [("archive", archive.as_str(), manifest.archive.stored_bytes), ("index", INDEX, manifest.index.bytes)];
    for (what, end, bytes) in wanted {
        match dir.size_of(&format!("{label}{end}")) {
            Ok(Some(found)) if found == bytes => {}
            Ok(Some(found)) => return Some(format!("the {what} has {found} bytes, not {bytes}")),
            Ok(None) => return Some(format!("the {what} is missing")),
            Err(error) => return Some(format!("cannot read the {what}: {error}")),
        }
    }
    None
}

/// Removes a backup: its manifest first becomes a partial one, so that killed at any instant we leave what the next sweep
/// takes away, never a listed backup whose bytes are gone.
///
/// # Errors
///
/// "cannot remove …"; what is left is swept by the next run.
pub fn remove(dir: &Dir, label: &Label) -> Result<()> {
    let manifest = format!("{label}{MANIFEST}");
    let partial = partial_name(&manifest);
    let act = |name: &str| format!("cannot remove {:?}", dir.join(name));
    dir.rename(&manifest, &partial).with_context(|| act(&manifest))?;
    dir.sync().with_context(|| act(&manifest))?;
    crate::failpoint!("expire-uncommitted").with_context(|| act(&manifest))?;
    sweep_label(dir, label)
}

/// Removes what a killed run left under a label: a partial manifest stands as long as anything else of it does.
///
/// Only that manifest says which final names are ours; `gunzip -k` of an admin leaves a name that is not. One that cannot
/// be read was never finished, and then no file had been given its final name yet.
fn sweep_label(dir: &Dir, label: &Label) -> Result<()> {
    let manifest = partial_name(&format!("{label}{MANIFEST}"));
    let act = |name: &str| format!("cannot remove {:?}", dir.join(name));
    let remove = |name: &str| dir.remove(name).with_context(|| act(name));
    if let Ok(manifest) = read_manifest(dir, &manifest, label) {
        let archive = archive_end(manifest.kind, manifest.archive.codec);
        for end in [archive.as_str(), INDEX, SHA256, VERIFIED] {
            remove(&format!("{label}{end}"))?;
        }
    }
    for end in ENDS {
        remove(&partial_name(&format!("{label}{end}")))?;
    }
    crate::failpoint!("expire-removed").with_context(|| act(&manifest))?;
    dir.sync().with_context(|| act(&manifest))?;
    remove(&manifest)
}

fn read_manifest(dir: &Dir, name: &str, label: &Label) -> Result<Manifest> {
    let bytes = dir.read(name, manifest::LIMIT).context("cannot read the manifest")?;
    Manifest::from_bytes(&bytes, &label.to_string())
}

/// Removes what killed runs left of the labels with this prefix; returns the labels. Call it with the prefix's lock held.
///
/// A file with a final name goes only where the partial manifest beside it says that it is ours and was never committed.
///
/// # Errors
///
/// "cannot read directory …", "cannot remove …".
pub fn sweep(dir: &Dir, prefix: &str) -> Result<Vec<Label>> {
    let names = dir.names().with_context(|| format!("cannot read directory {:?}", dir.path()))?;
    let mut swept = Vec::new();
    for name in &names {
        let Some(label) = partial_label(name).filter(|label| label.prefix == prefix) else { continue };
        if !swept.contains(&label) {
            swept.push(label);
        }
    }
    for label in &swept {
        let manifest = format!("{label}{MANIFEST}");
        if names.contains(&partial_name(&manifest)) && !names.contains(&manifest) {
            sweep_label(dir, label)?;
            continue;
        }
        // Without a partial manifest nothing was given its final name yet, so only partial files are ours to take.
        for end in ENDS.iter().chain([&MANIFEST]) {
            let partial = partial_name(&format!("{label}{end}"));
            dir.remove(&partial).with_context(|| format!("cannot remove {:?}", dir.join(&partial)))?;
        }
    }
    Ok(swept)
}

/// The prefixes that have leftovers, so that a run can take those of databases that nobody backs up any more.
///
/// # Errors
///
/// "cannot read directory …".
pub fn leftover_prefixes(dir: &Dir) -> Result<HashSet<String>> {
    let names = dir.names().with_context(|| format!("cannot read directory {:?}", dir.path()))?;
    Ok(names.iter().filter_map(|name| partial_label(name)).map(|label| label.prefix).collect())
}

fn partial_label(name: &str) -> Option<Label> {
    let name = name.strip_prefix('.')?.strip_suffix(".partial")?;
    ENDS.iter().chain([&MANIFEST]).find_map(|end| Label::parse(name.strip_suffix(end)?))
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
