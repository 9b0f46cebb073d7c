//! The backup format on disk: one owner, so that what is written is what is read.
//!
//! ```text
//! LABEL.sql.gz          the archive: plain SQL in independent gzip members (or zstd frames), see `archive`
//! LABEL.index.jsonl     what is in it, one JSON object a line: entries, tables, sequences, large objects, members
//! LABEL.sha256          for `sha256sum -c`: archive, index, manifest
//! LABEL.manifest.json   the summary; its rename is the commit: no manifest, no backup
//! LABEL.verified.json   the last verdict of backup-verify
//! LABEL.pin             somebody wants this one kept
//! ```
//!
//! The manifest stays small whatever the database holds, because listing thousands of backups reads all of them; what
//! grows with the database is in the index, which the manifest seals by its digest.

pub mod archive;
pub mod catalog;
pub mod foreign;
pub mod found;
pub mod index;
mod inflate;
pub mod label;
mod lex;
mod loose;
pub mod manifest;
pub mod names;
pub mod ordered;
pub mod scan;
pub mod seek;
pub mod statements;
pub mod stored;

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The SHA-256 of some bytes as lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}

/// Reads to the end: how many bytes, and their SHA-256.
///
/// # Errors
///
/// As `read`.
pub fn sha256_of(mut source: impl std::io::Read) -> std::io::Result<(u64, String)> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        match source.read(&mut buffer) {
            Ok(0) => return Ok((bytes, hex(&digest.finalize()))),
            Ok(count) => {
                digest.update(&buffer[..count]);
                bytes += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
