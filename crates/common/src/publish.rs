//! A file appears whole or not at all: partial name -> write -> fsync -> rename -> fsync of the directory.

use crate::dirfd::Dir;
use anyhow::{Context as _, Result};
use rustix::fs::Mode;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

/// A file that is being written under a hidden name, removed again unless it is committed.
#[derive(Debug)]
pub struct Partial<'a> {
    dir: &'a Dir,
    name: String,
    partial: String,
    file: File,
    committed: bool,
}

impl<'a> Partial<'a> {
    /// Starts a file that will be called `name`; until then it is `.NAME.partial`, mode 0600.
    ///
    /// # Errors
    ///
    /// Where the partial file exists already or cannot be created.
    pub fn create(dir: &'a Dir, name: &str) -> Result<Self> {
        let partial = partial_name(name);
        let file = dir.create(&partial).with_context(|| format!("cannot create {:?}", dir.join(&partial)))?;
        Ok(Self { dir, name: name.to_owned(), partial, file, committed: false })
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Writes bytes.
    ///
    /// # Errors
    ///
    /// "cannot write …" with the partial's path.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).with_context(|| format!("cannot write {:?}", self.dir.join(&self.partial)))
    }

    /// Makes the bytes durable.
    ///
    /// # Errors
    ///
    /// As fsync(2).
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().with_context(|| format!("cannot write {:?}", self.dir.join(&self.partial)))
    }

    /// Gives the file its name; call [`Partial::sync`] before, and sync the directory when all files are named.
    ///
    /// # Errors
    ///
    /// As renameat(2); the partial file is removed.
    pub fn commit(mut self) -> Result<()> {
        self.rename()
    }

    /// As [`Partial::commit`], but a failure leaves the partial file to the caller.
    ///
    /// # Errors
    ///
    /// As renameat(2).
    pub fn rename(&mut self) -> Result<()> {
        self.dir
            .rename(&self.partial, &self.name)
            .with_context(|| format!("cannot rename {:?} to {:?}", self.dir.join(&self.partial), self.name))?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if !self.committed {
            // What cannot be removed now is swept by the next run.
            drop(self.dir.remove(&self.partial));
        }
    }
}

/// The hidden name under which a file is written.
pub fn partial_name(name: &str) -> String {
    format!(".{name}.partial")
}

/// Replaces a file that is meant for others (a report, metrics), mode 0644 whatever the umask.
///
/// # Errors
///
/// Names the path and the act.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .with_context(|| format!("cannot write {path:?}: not a file name"))?;
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let dir = Dir::open(parent)?;
    // The collector of node_exporter reads *.prom, so the hidden name must not end in the same way; the PID keeps two
    // runs apart.
    let hidden = format!(".{name}.{}", std::process::id());
    dir.remove(&hidden).with_context(|| format!("cannot remove {:?}", dir.join(&hidden)))?;
    let write = || -> std::io::Result<()> {
        let mut file = dir.create(&hidden)?;
        file.write_all(bytes)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(0o644))?;
        file.sync_all()?;
        dir.rename(&hidden, name)?;
        dir.sync()
    };
    write().inspect_err(|_| drop(dir.remove(&hidden))).with_context(|| format!("cannot write {path:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_file_that_is_not_committed_leaves_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();

        let mut partial = Partial::create(&dir, "a").unwrap();
        partial.write(b"half").unwrap();
        drop(partial);

        assert!(dir.names().unwrap().is_empty());
    }

    #[test]
    fn a_committed_file_has_its_name_and_only_that() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();

        let mut partial = Partial::create(&dir, "a").unwrap();
        partial.write(b"whole").unwrap();
        partial.sync().unwrap();
        partial.commit().unwrap();

        assert_eq!(dir.names().unwrap(), ["a"]);
        assert_eq!(std::fs::metadata(temp.path().join("a")).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_report_for_others_can_be_read_by_others() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x.prom");

        replace(&path, b"one").unwrap();
        replace(&path, b"two").unwrap();

        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
