//! Files of /proc: small, of fixed form, and read whole. Also what their keys and numbers are.

use anyhow::{Context as _, Result};
use std::io::Read as _;
use std::path::Path;

/// The largest file of /proc that is read.
const LIMIT: u64 = 8 * 1024 * 1024;

/// Reads a file of /proc or /sys.
///
/// # Errors
///
/// "cannot read …"; where the kernel has no such file.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let act = || format!("cannot read {path:?}");
    let mut bytes = Vec::new();
    std::fs::File::open(path).with_context(act)?.take(LIMIT).read_to_end(&mut bytes).with_context(act)?;
    Ok(common::text::bytes(&bytes))
}

/// The bytes behind a key of /proc/meminfo: `MemTotal:   16318480 kB`.
pub(crate) fn kib(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A share in percent; of nothing it is 0.
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_meminfo_is_in_bytes() {
        let text = "MemTotal:       16318480 kB\nMemFree:         1 kB\nHugePages_Total:       0\n";

        assert_eq!(kib(text, "MemTotal"), Some(16_318_480 * 1024));
        assert_eq!(kib(text, "Mem"), None);
        assert_eq!(kib(text, "HugePages_Total"), None);
    }
}
