//! Are the stored bytes those that were written? SHA-256 of every file, against manifest and checksum file. backup-verify
//! and pgrestore-safe ask it.

use super::catalog::{INDEX, MANIFEST, SHA256};
use super::found::Found;
use anyhow::{Context as _, Result, ensure};

/// The largest checksum file: three lines.
const LIMIT: u64 = 4096;

/// Checks all files of a backup.
///
/// # Errors
///
/// The first file that is not as recorded.
pub fn check(found: &Found) -> Result<()> {
    check_small(found)?;
    let archive = &found.manifest.archive;
    check_file(found, "the archive", &found.archive(), (archive.stored_bytes, &archive.stored_sha256))
}

/// Checks index, manifest and checksum file, but not the archive.
///
/// # Errors
///
/// The first file that is not as recorded.
pub fn check_small(found: &Found) -> Result<()> {
    let manifest = &found.manifest;
    check_file(found, "the index", &found.name(INDEX), (manifest.index.bytes, &manifest.index.sha256))?;
    let name = found.name(SHA256);
    let sums = found.dir.read(&name, LIMIT).with_context(|| format!("cannot read {:?}", found.dir.join(&name)))?;
    let lines = [
        (manifest.archive.stored_sha256.as_str(), found.archive()),
        (manifest.index.sha256.as_str(), found.name(INDEX)),
        (&super::sha256(&found.manifest_bytes), found.name(MANIFEST)),
    ];
    let expected: String = lines.iter().map(|(digest, file)| format!("{digest}  {file}\n")).collect();
    ensure!(sums == expected.as_bytes(), "the manifest and {name:?} do not belong together, or one is damaged");
    Ok(())
}

fn check_file(found: &Found, what: &str, name: &str, recorded: (u64, &str)) -> Result<()> {
    let act = || format!("cannot read {:?}", found.dir.join(name));
    let file = found.dir.open_file(name).with_context(act)?;
    // A file of another size needs no reading, and may be far larger than what was written.
    compare_sizes(what, file.metadata().with_context(act)?.len(), recorded.0)?;
    let (bytes, sha256) = super::sha256_of(file).with_context(act)?;
    compare(what, (bytes, &sha256), recorded)
}

/// Compares size and digest of a file with what was recorded.
///
/// # Errors
///
/// What differs.
pub fn compare(what: &str, found: (u64, &str), recorded: (u64, &str)) -> Result<()> {
    compare_sizes(what, found.0, recorded.0)?;
    ensure!(found.1 == recorded.1, "{what} is damaged: its SHA-256 is not the recorded one");
    Ok(())
}

fn compare_sizes(what: &str, found: u64, recorded: u64) -> Result<()> {
    ensure!(found == recorded, "{what} has {found} bytes, but {recorded} were written");
    Ok(())
}
