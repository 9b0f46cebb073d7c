//! copytruncate and copy: the log stays, its contents go to a copy.
//!
//! ```text
//! nobody has it open   under a lease: copy all, cut to zero                     no line is lost
//! somebody appends     copy, then collapse range (`collapse`)                   no line is lost
//! neither works        copy, fsync, copy the rest, cut to zero at once          lines of that instant may be
//! ```
//!
//! The copy is written under a hidden name. A record beside the log says what is about to be cut off, so that the next run
//! can tell whether a killed one did it (`recover`): no line is lost by a kill, and none is in two files.

use crate::collapse::{self, Cut};
use crate::lease::Lease;
use crate::message::{Failed, Told, shown, why};
use crate::run::{self, Run};
use crate::site::{self, Access, Acl};
use crate::work::{Site, Source, Work};
use crate::{fail, tell, warn};
use common::failpoint;
use rustix::fs::{SeekFrom, Stat};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;

/// Whether the contents are wanted at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copying {
    /// They are.
    Do,
    /// `rotate 0` without mail: the log is only emptied.
    Skip,
}

/// What is about to be taken off the log; written before it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// By collapse range.
    Collapse(Cut),
    /// All of it.
    Truncate,
}

/// Copies the log, and with `copytruncate` cuts off what was copied.
pub fn copy(run: &Run<'_>, work: &mut Work<'_>, site: &Site, copying: Copying) -> Told {
    let rules = &run.stanza.rules;
    let target = site.old.join(&work.last_name);
    let (log, target) = (shown(work.path), shown(&target));
    tell!("{}copying {log} to {target}", if copying == Copying::Skip { "skip " } else { "" });
    tell!("{} {log}", if rules.copytruncate { "truncating" } else { "Not truncating" });
    if run.is_dry() {
        return Ok(());
    }
    let done = if work.source == Source::Copied {
        finish(run, site, &work.last_name)
    } else {
        carry_out(run, work, site, copying)
    };
    done.or_else(|error| fail!("error copying {log} to {target}: {}", why(&error)))
}

fn carry_out(run: &Run<'_>, work: &Work<'_>, site: &Site, copying: Copying) -> io::Result<()> {
    let rules = &run.stanza.rules;
    let access = if rules.copytruncate { Access::Change } else { Access::Read };
    let (log, stat) = site.dir.open_log(&site.name, access, run.hardlinks())?;
    if work.stat.is_some_and(|before| !site::is_same(&before, &stat)) {
        return Err(io::Error::other("it was replaced by another file; it is left for the next run"));
    }
    if rules.copytruncate {
        warn_of_writers(run, work);
    }
    if copying == Copying::Skip {
        return if rules.copytruncate { log.set_len(0) } else { Ok(()) };
    }
    let hidden = site.hidden("copying");
    site.old.remove(&hidden)?;
    let copy = site.old.create(&hidden)?;
    failpoint!("copy-open")?;
    let made = make(&log, &copy, &stat).and_then(|copied| match rules.copytruncate {
        true => cut_off(site, &log, &copy, &stat, copied),
        false => Ok(()),
    });
    // Without a record nothing was cut, so nothing is in the copy alone; with one, the next run looks at it.
    if let Err(error) = made {
        if matches!(site.dir.stat(&site.hidden("truncating")), Ok(None)) {
            drop(site.old.remove(&hidden));
        }
        return Err(error);
    }
    finish(run, site, &work.last_name)
}

/// Copies what is there, durably; returns how much that was.
fn make(log: &File, copy: &File, stat: &Stat) -> io::Result<u64> {
    site::give(copy, stat, Some(log), Acl::Kept)?;
    let mut copied = 0;
    // What is appended while we copy a large log is a small one, and so on.
    for _ in 0..8 {
        let size = log.metadata()?.len();
        if size <= copied {
            break;
        }
        transfer(log, copy, copied, size)?;
        copied = size;
        if copied < 1 << 20 {
            break;
        }
    }
    copy.set_len(copied)?;
    copy.sync_all()?;
    Ok(copied)
}

/// Cuts off the log what is in the copy, by the best way there is.
fn cut_off(site: &Site, log: &File, copy: &File, stat: &Stat, copied: u64) -> io::Result<()> {
    if let Some(lease) = Lease::take(log) {
        note(site, &Record::Truncate)?;
        let size = log.metadata()?.len();
        if size > copied {
            transfer(log, copy, copied, size)?;
            copy.sync_all()?;
        }
        failpoint!("truncation-noted")?;
        if lease.is_held() {
            tell!("nobody has it open: all of it is copied and cut off under a lease");
            return log.set_len(0).inspect_err(|_| forget(site));
        }
        // Somebody has waited for 45 seconds and is in now.
        forget(site);
    }
    let copied = log.metadata()?.len().max(copied);
    transfer(log, copy, u64::try_from(stat.st_size).unwrap_or(0).min(copied), copied)?;
    if let Some(cut) = collapse::plan(log, copied, collapse::block_of(log)?)? {
        copy.set_len(cut.until)?;
        if by_collapse(site, log, copy, cut)? {
            return Ok(());
        }
    }
    tightly(site, log, copy)
}

/// `false` where the file system cannot collapse; then all is as it was.
fn by_collapse(site: &Site, log: &File, copy: &File, cut: Cut) -> io::Result<bool> {
    copy.sync_all()?;
    note(site, &Record::Collapse(cut))?;
    failpoint!("collapse-noted")?;
    collapse::pad(log, cut)?;
    failpoint!("log-padded")?;
    let collapsed = collapse::collapse(log, cut);
    if matches!(collapsed, Ok(true)) {
        tell!("{} bytes are cut off its head by collapse range; what comes after them stays", cut.at);
        failpoint!("log-collapsed")?;
        return Ok(true);
    }
    unpad(log, copy, cut)?;
    forget(site);
    collapsed
}

/// Puts back what was blanked; the copy has it.
pub fn unpad(log: &File, copy: &File, cut: Cut) -> io::Result<()> {
    let mut line = vec![0; usize::try_from(cut.until - cut.at).map_err(io::Error::other)?];
    copy.read_exact_at(&mut line, cut.at)?;
    log.write_all_at(&line, cut.at)
}

/// All but the last instant's lines: the last copy and the cut follow each other at once.
fn tightly(site: &Site, log: &File, copy: &File) -> io::Result<()> {
    let mut copied = copy.metadata()?.len();
    copy.sync_all()?;
    note(site, &Record::Truncate)?;
    loop {
        let size = log.metadata()?.len();
        transfer(log, copy, copied, size)?;
        copied = copied.max(size);
        if log.metadata()?.len() <= copied {
            break;
        }
    }
    log.set_len(0).inspect_err(|_| forget(site))?;
    tell!("copied and truncated in tight order: a line written in that instant may be lost");
    Ok(())
}

/// Gives the copy its name. What was noted is done.
fn finish(run: &Run<'_>, site: &Site, name: &OsStr) -> io::Result<()> {
    run::place(run.now, (&site.old, &site.hidden("copying")), &site.old, name)?;
    failpoint!("copy-named")?;
    forget(site);
    Ok(())
}

/// Writes the record beside the log.
fn note(site: &Site, record: &Record) -> io::Result<()> {
    let name = site.hidden("truncating");
    site.dir.remove(&name)?;
    let mut file = site.dir.create(&name)?;
    file.write_all(&serde_json::to_vec(record)?)?;
    if matches!(record, Record::Collapse(_)) {
        file.sync_all()?;
    }
    Ok(())
}

/// Removes the record.
pub fn forget(site: &Site) {
    // The next run finds that the copy is gone, and so that all is done.
    drop(site.dir.remove(&site.hidden("truncating")));
}

/// Copies a file that is out of the way already, under its final name (`renamecopy`).
pub fn plain_copy(run: &Run<'_>, site: &Site, from: &OsStr, to: &OsStr) -> Told {
    let paths = (site.dir.join(from), site.old.join(to));
    let paths = (shown(&paths.0), shown(&paths.1));
    tell!("copying {} to {}", paths.0, paths.1);
    tell!("Not truncating {}", paths.0);
    if run.is_dry() {
        return Ok(());
    }
    let hidden = site.hidden("copying");
    let copied = || -> io::Result<()> {
        let (log, stat) = site.dir.open_log(from, Access::Read, run.hardlinks())?;
        site.old.remove(&hidden)?;
        let copy = site.old.create(&hidden)?;
        make(&log, &copy, &stat)?;
        run::place(run.now, (&site.old, &hidden), &site.old, to)
    };
    copied().map_err(|error| {
        crate::error!("error copying {} to {}: {}", paths.0, paths.1, why(&error));
        drop(site.old.remove(&hidden));
        Failed
    })
}

/// Copies a range, in the kernel where it can, and leaves holes out.
pub fn transfer(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) => data.min(end),
            Err(rustix::io::Errno::NXIO) => end,
            Err(_) => at,
        };
        if data == end {
            break;
        }
        let hole = rustix::fs::seek(from, SeekFrom::Hole(data)).map_or(end, |hole| hole.clamp(data, end));
        transfer_data(from, to, data, hole)?;
        at = hole;
    }
    if to.metadata()?.len() < end {
        to.set_len(end)?;
    }
    Ok(())
}

fn transfer_data(from: &File, to: &File, mut at: u64, end: u64) -> io::Result<()> {
    while at < end {
        let length = usize::try_from((end - at).min(1 << 30)).map_err(io::Error::other)?;
        let (mut offset_in, mut offset_out) = (at, at);
        match rustix::fs::copy_file_range(from, Some(&mut offset_in), to, Some(&mut offset_out), length) {
            Ok(count) if count > 0 => at += count as u64,
            // It was cut off by somebody else meanwhile, or this cannot be done in the kernel.
            Ok(_) | Err(_) => return transfer_slowly(from, to, at, end),
        }
    }
    Ok(())
}

fn transfer_slowly(from: &File, to: &File, mut at: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 17];
    while at < end {
        let length = usize::try_from((end - at).min(buffer.len() as u64)).map_err(io::Error::other)?;
        match from.read_at(&mut buffer[..length], at) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all_at(&buffer[..count], at)?;
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A writer that does not append will go on where it is, and leave NULs in front.
fn warn_of_writers(run: &Run<'_>, work: &Work<'_>) {
    for writer in run.writers(work.path).iter().filter(|writer| !writer.appends) {
        warn!(
            "process {} ({}) writes to {} without O_APPEND: its next line will leave NULs in front; use a rename and a \
             signal instead of copytruncate, or have it append",
            writer.pid,
            writer.name,
            shown(work.path)
        );
    }
}
