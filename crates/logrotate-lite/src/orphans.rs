//! `pruneorphans`: copies whose log is gone are removed by `maxage`, as those of other logs are when these rotate.

use crate::expire;
use crate::message::{Failed, Told, shown, why};
use crate::names::Names;
use crate::run::Run;
use crate::site::{self, Dir};
use crate::{error, glob, tell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Looks at the directories of all patterns.
pub fn prune(run: &Run<'_>) -> Told {
    let mut places: BTreeMap<PathBuf, BTreeSet<&OsStr>> = BTreeMap::new();
    for word in &run.stanza.words {
        let path = Path::new(word);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        for dir in glob::expand(parent.as_os_str(), glob::Wanted::Anything).unwrap_or_default() {
            places.entry(dir).or_default().insert(name);
        }
    }
    let mut result = Ok(());
    for (path, patterns) in places {
        result = result.and(prune_in(run, &path, &patterns));
    }
    result
}

fn prune_in(run: &Run<'_>, logs: &Path, patterns: &BTreeSet<&OsStr>) -> Told {
    let copies = run.stanza.rules.olddir.as_ref().map_or(logs.to_owned(), |olddir| logs.join(olddir));
    let (Ok(logs), Ok(old)) = (Dir::open(logs), Dir::open(&copies)) else {
        tell!("{} is not there: no copies to prune", shown(&copies));
        return Ok(());
    };
    let names = old.names(b"").map_err(|error| {
        error!("cannot read {}: {}", shown(&copies), why(&error));
        Failed
    })?;
    let mut result = Ok(());
    for name in names.iter().filter(|name| !patterns_match_a_log(&logs, patterns, name)) {
        let is_orphan = log_of(run, name, patterns).is_some_and(|log| matches!(logs.stat(&log), Ok(None)));
        let stat = old.stat(name).ok().flatten().filter(site::is_regular);
        if is_orphan && stat.is_some_and(|stat| expire::is_too_old(run, &stat)) {
            tell!("the log of {} is gone", shown(&old.join(name)));
            result = result.and(expire::remove(run, &old, name));
        }
    }
    result
}

/// A pattern such as `*` also matches copies: what it names is a log only if it is no copy.
fn patterns_match_a_log(logs: &Dir, patterns: &BTreeSet<&OsStr>, name: &OsStr) -> bool {
    patterns.iter().any(|pattern| *pattern == name) && matches!(logs.stat(name), Ok(Some(_)))
}

/// The log that a file would be a copy of.
fn log_of(run: &Run<'_>, name: &OsStr, patterns: &BTreeSet<&OsStr>) -> Option<OsString> {
    let bytes = name.as_bytes();
    let extension = run.stanza.rules.extension.as_ref().map_or(&b""[..], |end| end.as_bytes());
    (1..bytes.len()).rev().find_map(|length| {
        [&b""[..], extension].iter().find_map(|end| {
            let log = [&bytes[..length], end].concat();
            let log = OsStr::from_bytes(&log);
            let is_named = patterns.iter().any(|pattern| glob::matches(pattern.as_bytes(), log.as_bytes()));
            let is_copy = is_named && Names::new(log, &run.stanza.rules, run.now).ok()?.read(name).is_some();
            is_copy.then(|| log.to_owned())
        })
    })
}
