//! What a killed run left of a log, and how its rotation goes on.
//!
//! ```text
//! .NAME.rotating     the log was taken away, a new one is in its place   -> this is what is rotated
//! .NAME.truncating   the record of a cut that was about to be made
//! .NAME.copying      the copy; with a record, perhaps the only place of what was cut off
//! ```
//!
//! Files of these names count only if they are ours: whoever owns the directory can make such names, too.

use crate::collapse::{self, Cut};
use crate::message::{Told, shown, why};
use crate::run::Run;
use crate::site::{self, Access, Hardlinks};
use crate::truncate::{self, Record};
use crate::work::{Site, Source};
use crate::{fail, tell};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;

/// How far the killed run came with a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// The log holds all that the copy holds.
    NotCut,
    /// What is in the copy is not in the log any more.
    Cut,
}

/// Where the contents of the next copy come from; cuts that were noted are carried out first.
pub fn source(run: &Run<'_>, site: &Site) -> Told<Source> {
    found(run, site).or_else(|error| {
        fail!("cannot take up what a killed run left of {}: {}", shown(&site.dir.join(&site.name)), why(&error))
    })
}

fn found(run: &Run<'_>, site: &Site) -> io::Result<Source> {
    let rules = &run.stanza.rules;
    let rotating = site.hidden("rotating");
    if rules.create && is_ours(site, &rotating)? {
        if site.dir.stat(&site.name)?.is_some() {
            return Ok(Source::TakenAway);
        }
        // The log was taken away the slow way, and this is the new one.
        site.dir.rename(&rotating, &site.dir, &site.name)?;
    }
    if !rules.copytruncate {
        return Ok(Source::Live);
    }
    let Some(record) = record(site)? else { return Ok(Source::Live) };
    let copying = site.hidden("copying");
    let Ok((copy, _)) = site.old.open_log(&copying, Access::Read, Hardlinks::No) else {
        // The copy has its name: only the record was left to remove.
        truncate::forget(site);
        return Ok(Source::Live);
    };
    let (log, _) = site.dir.open_log(&site.name, Access::Change, run.hardlinks())?;
    match progress(&log, &copy, record)? {
        Progress::Cut => {
            tell!("a killed run has cut off {} what is in its copy", shown(&site.dir.join(&site.name)));
            Ok(Source::Copied)
        }
        Progress::NotCut => {
            if let Record::Collapse(cut) = record {
                truncate::unpad(&log, &copy, cut)?;
            }
            site.old.remove(&copying)?;
            truncate::forget(site);
            Ok(Source::Live)
        }
    }
}

/// A regular file with one name that belongs to us.
fn is_ours(site: &Site, name: &OsStr) -> io::Result<bool> {
    if site.dir.lacks(name) {
        return Ok(false);
    }
    let us = rustix::process::geteuid().as_raw();
    let stat = site.dir.stat(name)?;
    // The log that was taken away belongs to its writer; one that is new belongs to us or to whom `create` gives it.
    Ok(stat.is_some_and(|stat| site::is_regular(&stat) && stat.st_nlink == 1 && (us == 0 || stat.st_uid == us)))
}

fn record(site: &Site) -> io::Result<Option<Record>> {
    let name = site.hidden("truncating");
    let (file, stat) = match site.dir.open_log(&name, Access::Read, Hardlinks::No) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(4096).read_to_end(&mut text)?;
    // A record that was not written to its end is of a cut that was not begun.
    Ok(serde_json::from_slice(&text).ok())
}

/// Looks at the contents, because nothing else tells for sure.
fn progress(log: &File, copy: &File, record: Record) -> io::Result<Progress> {
    let (size, copied) = (log.metadata()?.len(), copy.metadata()?.len());
    let is_whole = match record {
        Record::Truncate => size >= copied && is_equal(log, copy, 0, copied)?,
        Record::Collapse(cut) => size >= cut.until && copied >= cut.until && is_uncut(log, copy, cut)?,
    };
    Ok(if is_whole { Progress::NotCut } else { Progress::Cut })
}

fn is_uncut(log: &File, copy: &File, cut: Cut) -> io::Result<bool> {
    let mut line = vec![0; usize::try_from(cut.until - cut.at).map_err(io::Error::other)?];
    log.read_exact_at(&mut line, cut.at)?;
    let is_padded = line == collapse::padding(cut.until - cut.at);
    Ok((is_padded || is_equal(log, copy, cut.at, cut.until)?) && is_equal(log, copy, 0, cut.at)?)
}

fn is_equal(one: &File, other: &File, from: u64, to: u64) -> io::Result<bool> {
    let mut buffers = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut at = from;
    while at < to {
        let length = usize::try_from((to - at).min(1 << 16)).map_err(io::Error::other)?;
        one.read_exact_at(&mut buffers.0[..length], at)?;
        other.read_exact_at(&mut buffers.1[..length], at)?;
        if buffers.0[..length] != buffers.1[..length] {
            return Ok(false);
        }
        at += length as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dir: &tempfile::TempDir, name: &str, text: &str) -> File {
        std::fs::write(dir.path().join(name), text).unwrap();
        File::options().read(true).write(true).open(dir.path().join(name)).unwrap()
    }

    #[test]
    fn the_contents_tell_how_far_a_cut_came() {
        let temp = tempfile::tempdir().unwrap();
        let cut = Cut { at: 8, until: 12 };
        let copy = file(&temp, "copy", "aaa\nbbb\nccc\n");
        let after = |log: &str| progress(&file(&temp, "log", log), &copy, Record::Collapse(cut)).unwrap();

        assert_eq!(after("aaa\nbbb\nccc\nddd\n"), Progress::NotCut);
        assert_eq!(after("aaa\nbbb\n   \nddd\n"), Progress::NotCut);
        assert_eq!(after("   \nddd\n"), Progress::Cut);
        assert_eq!(after("   \nddd\neee\nfff\nggg\n"), Progress::Cut);
    }

    #[test]
    fn a_truncated_log_is_known_by_its_contents_too() {
        let temp = tempfile::tempdir().unwrap();
        let copy = file(&temp, "copy", "aaa\nbbb\n");
        let after = |log: &str| progress(&file(&temp, "log", log), &copy, Record::Truncate).unwrap();

        assert_eq!(after("aaa\nbbb\nccc\n"), Progress::NotCut);
        assert_eq!(after(""), Progress::Cut);
        assert_eq!(after("ccc\nddd\neee\n"), Progress::Cut);
    }
}
