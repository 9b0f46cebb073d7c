//! Files that an address names: read only if they are ordinary, and not without end. A file of others may name a FIFO.

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::OFlags;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// The largest file that is read: a bundle of all roots has a fortieth of it.
const LIMIT: u64 = 8 << 20;

/// What a file holds, and what it is; `None` where it is not there.
///
/// # Errors
///
/// "cannot read …".
pub fn read(path: &Path) -> Result<Option<(Vec<u8>, Metadata)>> {
    let act = || format!("cannot read {path:?}");
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file: File = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(act),
    };
    let stat = file.metadata().with_context(act)?;
    ensure!(stat.is_file(), "{}: is not a regular file", act());
    let mut bytes = Vec::new();
    file.take(LIMIT + 1).read_to_end(&mut bytes).with_context(act)?;
    if bytes.len() as u64 > LIMIT {
        bail!("{}: is larger than {}", act(), common::units::size(LIMIT));
    }
    Ok(Some((bytes, stat)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_ordinary_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().unwrap();
        assert!(made.success());

        assert!(read(&fifo).unwrap_err().to_string().contains("not a regular file"));
        assert!(read(Path::new("/dev/zero")).is_err() && read(dir.path()).is_err());
        assert!(read(&dir.path().join("gone")).unwrap().is_none());
    }
}
