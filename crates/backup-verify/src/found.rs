//! From a path to a backup: its directory, label and manifest.

use anyhow::{Context as _, Result, anyhow};
use common::backup::catalog::{MANIFEST, archive_end};
use common::backup::label::Label;
use common::backup::manifest::{self, Manifest};
use common::dirfd::Dir;
use common::hint::Hint as _;
use std::path::Path;

/// A backup that has a readable manifest.
#[derive(Debug)]
pub struct Found {
    /// Where it lies.
    pub dir: Dir,
    /// Its manifest.
    pub manifest: Manifest,
    /// The bytes of the manifest's file.
    pub manifest_bytes: Vec<u8>,
}

impl Found {
    /// Finds the backup that a path names: its archive, any other file of it, or the label alone.
    ///
    /// # Errors
    ///
    /// Where there is no manifest beside it: then there is no backup.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.file_name().and_then(|name| name.to_str()).context("not a file name")?;
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let dir = Dir::open(parent)?;
        let label = label_of(name)
            .ok_or_else(|| anyhow!("not the name of a backup"))
            .hint("name an archive that pgbackup made: app-20261120T020000Z.sql.gz")?;
        let file = format!("{label}{MANIFEST}");
        let manifest_bytes = dir
            .read(&file, manifest::LIMIT)
            .with_context(|| format!("cannot read {:?}", dir.join(&file)))
            .hint("without its manifest a backup was never completed, or was removed")?;
        let manifest = Manifest::from_bytes(&manifest_bytes, &label.to_string())?;
        Ok(Self { dir, manifest, manifest_bytes })
    }

    /// The name of one of its files.
    pub fn name(&self, end: &str) -> String {
        format!("{}{end}", self.manifest.label)
    }

    /// The name of the archive.
    pub fn archive(&self) -> String {
        self.name(&archive_end(self.manifest.kind, self.manifest.archive.codec))
    }
}

/// Whether a path has the name of a backup of pgbackup; else it is somebody else's.
pub fn is_ours(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| label_of(name).is_some())
}

/// The label at the start of a file name: what stands before an end, and a database's name may hold dots.
fn label_of(name: &str) -> Option<Label> {
    let ends = name.match_indices('.').map(|(at, _)| at).chain([name.len()]);
    ends.filter_map(|end| Label::parse(&name[..end])).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_of_a_backup_leads_to_its_label() {
        let label = |name: &str| label_of(name).map(|label| label.to_string());

        for name in ["a.b-20261120T020000Z", "a.b-20261120T020000Z.sql.gz", "a.b-20261120T020000Z.manifest.json"] {
            assert_eq!(label(name).as_deref(), Some("a.b-20261120T020000Z"), "{name}");
        }
        assert_eq!(label("app.sql.gz"), None);
    }
}
