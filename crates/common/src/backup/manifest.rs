//! The summary of a backup: what was stored, from where, with which versions, and its digests.
//!
//! Its rename into place is the commit of a backup. It holds no name of a file: those follow from its own name, so a
//! forged manifest cannot lead a removal elsewhere.

use super::archive::Codec;
use crate::units::Stamp;
use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of the format that this code writes and reads.
pub const FORMAT: u32 = 1;
/// The largest manifest that is read; ours have about 2 KiB.
pub const LIMIT: u64 = 1 << 20;

/// What was backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A database, by pg_dump.
    Database,
    /// Roles and tablespaces, by pg_dumpall.
    Globals,
    /// Whatever came on standard input.
    Stream,
}

/// Whether the source looked like the one of the backups before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lineage {
    /// There was none before.
    First,
    /// Same cluster, no sudden loss.
    Same,
    /// It looked different, and the operator said that this is right.
    Accepted,
    /// Another cluster under the same name.
    Changed,
    /// Fewer than half of the rows.
    Shrunk,
}

impl Lineage {
    /// Whether later backups may be compared with this one.
    pub fn is_trusted(self) -> bool {
        match self {
            Self::First | Self::Same | Self::Accepted => true,
            Self::Changed | Self::Shrunk => false,
        }
    }
}

/// The summary of one backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of pgbackup.
    pub version: String,
    /// The label; equal to the name of the file.
    pub label: String,
    /// What was backed up.
    pub kind: Kind,
    /// `--name`, where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The database, the stream's name, or `globals`.
    pub subject: String,
    /// The server, unless this is a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The program that dumped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<Client>,
    /// When the dump began.
    pub started_at: Stamp,
    /// When its last byte was stored.
    pub finished_at: Stamp,
    /// Settings of the dumping session that pg_dump itself does not pin.
    pub settings: BTreeMap<String, String>,
    /// The archive.
    pub archive: Archive,
    /// The index.
    pub index: File,
    /// What the dump held, unless this is a stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Whether the source looked like the one before.
    pub lineage: Lineage,
    /// What a reader should know: passwords left out, an old client, tables excluded.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The server a dump came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// `pg_control_system().system_identifier`; decimal, because it does not fit a JSON number.
    pub system_identifier: String,
    /// `15.20 (Debian …)`.
    pub version: String,
    /// `150020`.
    pub version_num: u32,
    /// Host and port as asked for, without credentials.
    pub address: String,
    /// The OID of the database; 0 for globals.
    pub database_oid: u32,
    /// The server encoding of the database.
    pub encoding: String,
    /// Its locale; the first backups of this format do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<Locale>,
    /// `pg_database_size` before the dump.
    pub size_bytes: u64,
    /// Whether it was a standby.
    pub in_recovery: bool,
}

/// The locale of a database: it decides about sorting, and so about which rows a CHECK or a partition takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locale {
    /// `libc`, `icu` or `builtin`.
    pub provider: String,
    /// LC_COLLATE.
    pub collate: String,
    /// LC_CTYPE.
    pub ctype: String,
    /// The locale of the providers icu and builtin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The program that dumped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// `pg_dump` or `pg_dumpall`.
    pub program: String,
    /// `15.20`.
    pub version: String,
    /// The options that were handed on to it.
    pub options: Vec<String>,
}

/// The archive's sizes and digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// How it is compressed.
    pub codec: Codec,
    /// The level.
    pub level: i32,
    /// How many members it has.
    pub members: u64,
    /// Bytes on disk.
    pub stored_bytes: u64,
    /// SHA-256 of them.
    pub stored_sha256: String,
    /// Bytes of the dump.
    pub plain_bytes: u64,
    /// SHA-256 of them.
    pub plain_sha256: String,
}

/// A file's size and digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Bytes on disk.
    pub bytes: u64,
    /// SHA-256 of them.
    pub sha256: String,
}

/// What a dump held.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Entries of the dump.
    pub entries: u64,
    /// Tables with a COPY block; an empty one has it too.
    pub tables: u64,
    /// Rows of all tables.
    pub rows: u64,
    /// Their bytes in the dump.
    pub row_bytes: u64,
    /// Sequences with a value.
    pub sequences: u64,
    /// Large objects.
    pub large_objects: u64,
    /// Their bytes.
    pub large_object_bytes: u64,
    /// The method of the row digests in the index.
    pub row_digest: String,
}

impl Manifest {
    /// The bytes of the file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let document = serde_json::to_string_pretty(self).expect("a manifest of strings and numbers is always JSON");
        format!("{}\n", crate::text::json(&document)).into_bytes()
    }

    /// Reads a manifest whose file name says that it is `label`.
    ///
    /// # Errors
    ///
    /// Damage, a format of a later version, or a label that differs from the file's name.
    pub fn from_bytes(bytes: &[u8], label: &str) -> Result<Self> {
        // A later format may have any shape, so its number alone is read where the whole cannot be.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let manifest = serde_json::from_slice::<Self>(bytes);
        let format = match &manifest {
            Ok(manifest) => manifest.format,
            Err(_) => serde_json::from_slice::<Version>(bytes).context("the manifest is damaged")?.format,
        };
        ensure!(format == FORMAT, "the manifest has format {format}, and this version reads format {FORMAT}");
        let manifest = manifest.context("the manifest is damaged")?;
        ensure!(manifest.label == label, "the manifest belongs to {:?}, not to {label:?}", manifest.label);
        Ok(manifest)
    }

    /// Backups are kept apart by cluster (`--name`, or the system identifier), kind and subject.
    pub fn group(&self) -> Group {
        Group::new(self.name.as_deref(), self.source.as_ref(), self.kind, &self.subject)
    }
}

/// Whose backups belong together for retention and freshness.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group {
    /// `--name`, or the system identifier, or nothing for a stream without a name.
    pub cluster: String,
    /// Database, globals or stream.
    pub kind: Kind,
    /// The database or stream.
    pub subject: String,
}

impl Group {
    /// The group of a backup with this `--name`, if any, of this server, if any.
    pub fn new(name: Option<&str>, source: Option<&Source>, kind: Kind, subject: &str) -> Self {
        let cluster = name.or(source.map(|source| source.system_identifier.as_str())).unwrap_or_default();
        Self { cluster: cluster.to_owned(), kind, subject: subject.to_owned() }
    }
}
