//! Removes copies: that fell out of the count, that are too old, too much together, or whose log is gone.
//!
//! Only a regular file whose name takes apart as one of ours is ever removed, through the handle of its directory, and a
//! `preremove` script may object to it.

use crate::child;
use crate::error;
use crate::message::{Failed, Told, shown, why};
use crate::names::{Found, Names};
use crate::run::Run;
use crate::site::{self, Access, Dir};
use rustix::fs::Stat;
use std::ffi::{OsStr, OsString};
use std::fs::File;

/// A copy that lies in a directory.
#[derive(Clone, Debug)]
pub struct Copy {
    /// Its name.
    pub name: OsString,
    /// What its name says.
    pub found: Found,
    /// What the directory says.
    pub stat: Stat,
}

/// The copies of a log, oldest first.
///
/// # Errors
///
/// Where the directory cannot be read.
pub fn copies(dir: &Dir, names: &Names) -> std::io::Result<Vec<Copy>> {
    let mut copies = Vec::new();
    for name in dir.names(names.begin())? {
        if let Some(found) = names.read(&name)
            && let Some(stat) = dir.stat(&name)?
            && site::is_regular(&stat)
        {
            copies.push(Copy { name, found, stat });
        }
    }
    copies.sort_by(|one, other| (&one.found, &one.name).cmp(&(&other.found, &other.name)));
    Ok(copies)
}

/// Whether a copy is older than `maxage`: more than that many whole days.
pub fn is_too_old(run: &Run<'_>, stat: &Stat) -> bool {
    let maxage = run.stanza.rules.maxage_days;
    let age = run.now.timestamp().as_second().saturating_sub(stat.st_mtime);
    maxage > 0 && age / 86_400 > i64::from(maxage)
}

/// The copies, oldest first, that must go for all to have at most `most` bytes; the newest one stays in any case.
pub fn beyond(sizes: &[u64], most: u64) -> usize {
    let mut total: u64 = sizes.iter().fold(0, |sum, size| sum.saturating_add(*size));
    let mut gone = 0;
    while total > most && gone + 1 < sizes.len() {
        total -= sizes[gone];
        gone += 1;
    }
    gone
}

/// Removes one copy.
pub fn remove(run: &Run<'_>, dir: &Dir, name: &OsStr) -> Told {
    let path = dir.join(name);
    let path = shown(&path);
    crate::tell!("removing old log {path}");
    if run.is_dry() {
        return Ok(());
    }
    let open = if run.stanza.rules.shred {
        let opened = dir.open_log(name, Access::Change, run.hardlinks());
        Some(opened.map_err(|error| {
            error!("error opening {path}: {}", why(&error));
            Failed
        })?)
    } else {
        None
    };
    dispose(run, dir, name, open.map(|(file, _)| file)).map_err(|Refused(why)| {
        error!("Failed to remove old log {path}: {why}");
        Failed
    })
}

/// Why a file is still there.
#[derive(Debug)]
pub struct Refused(pub String);

/// Runs `preremove`, shreds where that is wanted, and removes the name.
///
/// # Errors
///
/// Why the file is still there; some of it has been said.
pub fn dispose(run: &Run<'_>, dir: &Dir, name: &OsStr, open: Option<File>) -> Result<(), Refused> {
    let rules = &run.stanza.rules;
    let path = dir.join(name);
    if let Some(script) = &rules.scripts.preremove {
        crate::tell!("running preremove script");
        if let Err(why) = run.script(script, path.as_os_str(), None) {
            let pattern = shown(&run.stanza.pattern);
            error!(
                "error running preremove script for {} of '{pattern}' ({why}). Not removing this file.",
                shown(&path)
            );
            return Err(Refused(why));
        }
    }
    let file = open.filter(|_| rules.shred);
    let before = file.as_ref().and_then(|file| rustix::fs::fstat(file).ok());
    if let Some(file) = file {
        crate::tell!("Using shred to remove the file {}", shown(&path));
        if let Err(why) = shred(run, file) {
            error!("Failed to shred {} ({why}), trying unlink", shown(&path));
        }
    }
    common::failpoint!("shredded").map_err(|error| Refused(why(&error)))?;
    // What was shredded is removed, and nothing that somebody has put in its place.
    let is_swapped =
        before.is_some_and(|before| dir.stat(name).ok().flatten().is_some_and(|now| !site::is_same(&before, &now)));
    if is_swapped {
        return Err(Refused("another file has its name now".to_owned()));
    }
    match dir.remove(name) {
        Ok(true) => Ok(()),
        Ok(false) => {
            error!("error unlinking log file {}: No such file or directory", shown(&path));
            Ok(())
        }
        Err(error) => Err(Refused(why(&error))),
    }
}

/// Overwrites an open file: shred(1) gets the handle and no path (THREATS L8).
fn shred(run: &Run<'_>, file: File) -> Result<(), String> {
    let Some(command) = child::program("shred".as_ref()) else { return Err("shred is not there".to_owned()) };
    let mut command = child::quiet(command);
    if run.stanza.rules.shredcycles > 0 {
        command.args(["-n", &run.stanza.rules.shredcycles.to_string()]);
    }
    command.arg("-").stdout(file);
    child::run(command, run.how.limit).map_err(|error| why(&error))?.result
}

/// Removes the oldest copies until all have at most `maxtotal` bytes.
pub fn limit_total(run: &Run<'_>, dir: &Dir, names: &Names) -> Told {
    let Some(most) = run.stanza.rules.maxtotal else { return Ok(()) };
    let copies = match copies(dir, names) {
        Ok(copies) => copies,
        Err(error) => return crate::fail!("cannot read {}: {}", shown(dir.path()), why(&error)),
    };
    let sizes: Vec<_> = copies.iter().map(|copy| site::size(&copy.stat)).collect();
    let mut result = Ok(());
    for copy in &copies[..beyond(&sizes, most)] {
        crate::tell!("{} is beyond maxtotal {most}", shown(&dir.join(&copy.name)));
        result = result.and(remove(run, dir, &copy.name));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_until_the_rest_fits_and_the_newest_stays() {
        assert_eq!(beyond(&[5, 5, 5], 15), 0);
        assert_eq!(beyond(&[5, 5, 5], 14), 1);
        assert_eq!(beyond(&[5, 5, 5], 5), 2);
        assert_eq!(beyond(&[5, 5, 5], 0), 2);
        assert_eq!(beyond(&[], 0), 0);
    }
}
