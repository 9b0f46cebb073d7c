//! Gives a copied cluster an identity of its own.
//!
//! Tools tell clusters apart by their system identifier, and a copy has that of its template. It is written in
//! `global/pg_control` (first field, guarded by a CRC) and in the first page of each WAL segment (page headers have none).
//! Source: src/include/catalog/pg_control.h, src/include/access/xlog_internal.h.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// `xlp_sysid` in `XLogLongPageHeaderData`, after the short header.
const IN_WAL_PAGE: u64 = 24;

/// Writes a new system identifier into a cluster that does not run.
pub(super) fn renew(data: &Path) {
    let identifier = fresh().to_ne_bytes();
    let control = data.join("global/pg_control");
    let mut bytes = fs::read(&control).expect("read pg_control");
    let crc_at = crc_offset(&bytes).expect("pg_control holds the CRC of what is before it");
    bytes[..8].copy_from_slice(&identifier);
    let crc = crc32c(&bytes[..crc_at]).to_ne_bytes();
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc);
    fs::write(&control, bytes).expect("write pg_control");
    for segment in fs::read_dir(data.join("pg_wal")).expect("read pg_wal").flatten() {
        if segment.file_type().expect("lstat").is_file() {
            let file = OpenOptions::new().write(true).open(segment.path()).expect("open a WAL segment");
            file.write_all_at(&identifier, IN_WAL_PAGE).expect("write a WAL segment");
        }
    }
}

/// As PostgreSQL makes one: seconds above, something of the moment and the process below.
fn fresh() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let low = u64::from(now.subsec_micros()) << 12 | u64::from(process::id()) & 0xfff;
    (now.as_secs() << 32) | (low + (COUNT.fetch_add(1, Ordering::Relaxed) << 24)) & 0xffff_ffff
}

/// Where the CRC is: its place depends on the version, but only there does it fit what is before it.
fn crc_offset(control: &[u8]) -> Option<usize> {
    let end = control.len().min(512);
    (64..end - 4).step_by(4).find(|&at| control[at..at + 4] == crc32c(&control[..at]).to_ne_bytes())
}

/// CRC-32C (Castagnoli), bit by bit: 300 bytes need no table.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & 0u32.wrapping_sub(crc & 1));
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283); // the check value of the catalogue of CRCs
    }

    #[test]
    fn two_identifiers_made_at_once_differ() {
        assert_ne!(fresh(), fresh());
    }
}
