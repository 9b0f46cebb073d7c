//! Where to cut the head off a log that is being written to: a pure plan, and the cut itself.
//!
//! `fallocate(FALLOC_FL_COLLAPSE_RANGE)` takes whole blocks out of a file; the bytes behind them move to its head, and
//! whoever appends goes on appending. A cut falls inside of a line, so the rest of that line goes to the copy as well,
//! and its place in the log is filled with blanks: every line is then whole and in exactly one file.
//!
//! ```text
//! log before   |block|block|blo ck: rest of line\n more lines\n
//!                          ^cut                 ^until
//! copy         |block|block|ck: rest of line\n
//! log after    ________________\n more lines\n
//! ```

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

/// How far a copy goes, and how much of it is cut off the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cut {
    /// Bytes that are taken off the head of the log: whole blocks.
    pub at: u64,
    /// Bytes that belong to the copy: up to the end of the line in which the cut falls.
    pub until: u64,
}

/// Plans the cut of a file of which `copied` bytes have been copied.
///
/// `None` where no line ends behind the first block: then there is nothing to cut. A file without any line end is cut
/// where its last block begins.
///
/// # Errors
///
/// As read(2).
pub fn plan(file: &File, copied: u64, block: u64) -> io::Result<Option<Cut>> {
    let Some(end) = last_line_end(file, copied)? else {
        let at = copied.saturating_sub(1) / block * block;
        return Ok((at > 0).then_some(Cut { at, until: at }));
    };
    let at = end.saturating_sub(1) / block * block;
    if at == 0 {
        return Ok(None);
    }
    // The last line ends behind the cut, so the one that the cut falls into does, and not further than a block away.
    let mut line = vec![0; usize::try_from(end - at).map_err(io::Error::other)?];
    file.read_exact_at(&mut line, at)?;
    let length = memchr::memchr(b'\n', &line).map_or(line.len(), |newline| newline + 1);
    Ok(Some(Cut { at, until: at + length as u64 }))
}

/// The offset behind the last line end within the first `size` bytes.
fn last_line_end(file: &File, size: u64) -> io::Result<Option<u64>> {
    let mut buffer = vec![0; 65_536];
    let mut end = size;
    while end > 0 {
        let from = end.saturating_sub(buffer.len() as u64);
        let length = usize::try_from(end - from).map_err(io::Error::other)?;
        file.read_exact_at(&mut buffer[..length], from)?;
        if let Some(newline) = memchr::memrchr(b'\n', &buffer[..length]) {
            return Ok(Some(from + newline as u64 + 1));
        }
        end = from;
    }
    Ok(None)
}

/// What stands in the log instead of the line's end that went to the copy.
pub fn padding(length: u64) -> Vec<u8> {
    let mut line = vec![b' '; usize::try_from(length).unwrap_or(0)];
    if let Some(last) = line.last_mut() {
        *last = b'\n';
    }
    line
}

/// Blanks the rest of the line that the cut falls into.
///
/// # Errors
///
/// As pwrite(2).
pub fn pad(log: &File, cut: Cut) -> io::Result<()> {
    log.write_all_at(&padding(cut.until - cut.at), cut.at)
}

/// Takes the first blocks out of the log; `false` where the file system cannot.
///
/// # Errors
///
/// As fallocate(2).
pub fn collapse(log: &File, cut: Cut) -> io::Result<bool> {
    match rustix::fs::fallocate(log, FallocateFlags::COLLAPSE_RANGE, 0, cut.at) {
        Ok(()) => Ok(true),
        // EINVAL: its clusters are larger than its blocks. ETXTBSY: it is mapped as a program or for swap.
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS | Errno::TXTBSY | Errno::NODEV) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The blocks of the file system, in bytes; the log is cut at a multiple of that.
pub fn block_of(log: &File) -> io::Result<u64> {
    let stat = rustix::fs::fstat(log)?;
    let file_system = rustix::fs::fstatfs(log)?;
    let sizes = [u64::try_from(stat.st_blksize).unwrap_or(0), u64::try_from(file_system.f_bsize).unwrap_or(0), 4096];
    Ok(sizes.into_iter().max().unwrap_or(4096).next_power_of_two())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(text: &str, block: u64) -> Option<Cut> {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("log"), text).unwrap();
        plan(&File::open(temp.path().join("log")).unwrap(), text.len() as u64, block).unwrap()
    }

    #[test]
    fn the_line_in_which_the_cut_falls_goes_to_the_copy() {
        assert_eq!(planned("aaa\nbbb\nccc\nddd\n", 6), Some(Cut { at: 12, until: 16 }));
        assert_eq!(planned("aaa\nbbb\nccc\ndd", 6), Some(Cut { at: 6, until: 8 }));
    }

    #[test]
    fn a_cut_between_two_lines_takes_the_next_one() {
        // Otherwise nothing would tell a log that was cut from one that was not.
        assert_eq!(planned("aaa\nbbb\nccc\n", 8), Some(Cut { at: 8, until: 12 }));
        assert_eq!(planned("aaa\nbbb\n", 4), Some(Cut { at: 4, until: 8 }));
    }

    #[test]
    fn there_is_nothing_to_cut_within_the_first_block() {
        assert_eq!(planned("aaa\nbbbbbbbbb", 8), None);
        assert_eq!(planned("aaa\n", 4), None);
        assert_eq!(planned("", 4), None);
    }

    #[test]
    fn without_line_ends_the_last_block_stays() {
        assert_eq!(planned("aaaaaaaaaaaa", 4), Some(Cut { at: 8, until: 8 }));
    }

    #[test]
    fn padding_is_one_blank_line() {
        assert_eq!(padding(4), b"   \n");
        assert_eq!(padding(1), b"\n");
        assert_eq!(padding(0), b"");
    }
}
