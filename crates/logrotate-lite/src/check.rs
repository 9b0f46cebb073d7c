//! `--check`: reads the configuration and says what is wrong with it, without touching a log.

use crate::config::Stanza;
use crate::config::advice::advice;
use crate::message::shown;
use crate::report::Findings;
use crate::site::Dir;
use crate::warn;
use crate::work::su_line;
use std::collections::BTreeSet;
use std::path::Path;

/// Looks at every stanza. What is wrong has been said when it was read; this is what is unwise.
pub fn all(stanzas: &[Stanza], findings: &mut Findings<'_>) {
    for stanza in stanzas {
        let place = stanza.place.to_string();
        let mut found = advice(stanza);
        found.extend(foreign_directories(stanza));
        for (what, hint) in found {
            warn!("{place} {what}; {hint}");
            findings.advice(&place, &what, &hint);
        }
    }
    findings.end();
}

/// Directories in which somebody else can put a link in the place of a log: rotation is safe there, but the daemon that
/// opens its log again as root may not be (CVE-2016-1247, THREATS L11).
fn foreign_directories(stanza: &Stanza) -> Vec<(String, String)> {
    if stanza.rules.su.is_some() {
        return Vec::new();
    }
    let parents: BTreeSet<&Path> = stanza.files.iter().filter_map(|file| file.parent()).collect();
    let foreign = parents.into_iter().filter_map(|parent| {
        let stat = Dir::open(parent).ok()?.stat_self().ok()?;
        let by_others = stat.st_mode & 0o002 != 0 || (stat.st_gid != 0 && stat.st_mode & 0o020 != 0);
        let is_foreign = stat.st_uid != 0 || by_others;
        let what = format!("others than root can rename in {}", shown(parent));
        is_foreign.then(|| (what, format!("add the line: {}", su_line(stat.st_uid, stat.st_gid))))
    });
    foreign.collect()
}
