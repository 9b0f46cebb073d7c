//! Carries out what retention decided, for the group of the backup that was just made.

use crate::retention::{Candidate, Decision, Keep, State, decide};
use anyhow::Result;
use common::backup::catalog::{self, Backup, Catalog, is_from_the_future};
use common::backup::label::Label;
use common::backup::manifest::{Group, Lineage};
use common::dirfd::Dir;
use common::lock::{Lock, Wait};
use common::units::Stamp;
use std::time::Duration;

/// How long a run waits for another one that expires in the same directory.
const EXPIRY_WAIT: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Debug, Default)]
pub struct Expired {
    /// Labels that are gone.
    pub removed: Vec<String>,
    /// What the operator should look at.
    pub warnings: Vec<String>,
    /// Backups from the future: somebody's clock or somebody's hand.
    pub future: Vec<String>,
}

/// Decides for one group of a catalog.
pub fn decisions(catalog: &Catalog, prefix: &str, group: &Group, keep: &Keep, now: Stamp) -> Vec<Decision> {
    let members: Vec<_> = members(catalog, prefix, group).collect();
    let candidates: Vec<_> = (0..members.len()).map(|place| candidate(&members, place, now)).collect();
    decide(&candidates, keep, now)
}

/// Removes what no rule keeps.
///
/// # Errors
///
/// Where the directory cannot be read or its lock is held for too long; a backup that cannot be removed is a warning.
pub fn run(dir: &Dir, prefix: &str, group: &Group, keep: &Keep, now: Stamp) -> Result<Expired> {
    let mut expired = Expired::default();
    let _lock = Lock::take(dir, catalog::DIRECTORY_LOCK, Wait::Upto(EXPIRY_WAIT))?;
    let catalog = Catalog::read_where(dir, |label| label.prefix == prefix)?;
    for backup in members(&catalog, prefix, group) {
        if is_from_the_future(backup.label.stamp, now) {
            expired.future.push(backup.label.to_string());
        } else if let Some(why) = &backup.incomplete {
            expired.warnings.push(format!("{}: {why}", backup.label));
        }
    }
    for decision in decisions(&catalog, prefix, group, keep, now) {
        common::debug!(
            "{} {}: {}",
            if decision.keep { "keep" } else { "remove" },
            decision.label,
            decision.reasons.join(", ")
        );
        if decision.keep {
            continue;
        }
        let Some(label) = Label::parse(&decision.label) else { continue };
        match catalog::remove(dir, &label) {
            Ok(()) => expired.removed.push(decision.label),
            Err(error) => expired.warnings.push(format!("{error:#}")),
        }
    }
    Ok(expired)
}

/// The backups of a group, and those of its prefix whose manifest cannot say whose they are.
fn members<'a>(catalog: &'a Catalog, prefix: &'a str, group: &'a Group) -> impl Iterator<Item = &'a Backup> {
    catalog.backups.iter().filter(move |backup| {
        backup.label.prefix == prefix && backup.manifest.as_ref().map_or(true, |manifest| manifest.group() == *group)
    })
}

/// One of the members, oldest first, as retention sees it.
fn candidate(members: &[&Backup], place: usize, now: Stamp) -> Candidate {
    let backup = members[place];
    Candidate {
        label: backup.label.to_string(),
        at: backup.label.stamp,
        state: match &backup.incomplete {
            Some(why) => State::Incomplete(why.clone()),
            None if is_accepted(&members[place..], now) => State::Complete,
            None => State::Suspect,
        },
        proven: backup.proven,
        pinned: backup.pinned,
    }
}

/// Whether the source of the first of these is the right one: it looked so, or the operator said so at the next backup
/// that was trusted. What claims to come from the future, or is damaged, accepts nothing.
fn is_accepted(from_here_on: &[&Backup], now: Stamp) -> bool {
    let sound = from_here_on
        .iter()
        .filter(|backup| backup.incomplete.is_none() && !is_from_the_future(backup.label.stamp, now));
    let mut lineages = sound.filter_map(|backup| Some(backup.manifest.as_ref().ok()?.lineage));
    match lineages.next() {
        Some(own) if !own.is_trusted() => lineages.find(|next| next.is_trusted()) == Some(Lineage::Accepted),
        Some(_) | None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::backup::manifest::Manifest;

    fn backup(stamp: &str, lineage: &str) -> Backup {
        let text = include_str!("../../../tests/fixtures/manifest.json")
            .replace("\"lineage\": \"first\"", &format!("\"lineage\": \"{lineage}\""));
        Backup {
            label: Label::parse(&format!("app-{stamp}")).unwrap(),
            manifest: Manifest::from_bytes(text.as_bytes(), "app-20261120T020000Z"),
            incomplete: None,
            pinned: false,
            proven: false,
        }
    }

    fn accepted(next: &Backup) -> bool {
        let now = Stamp::parse_compact("20261122T030000Z").unwrap();
        is_accepted(&[&backup("20261120T020000Z", "shrunk"), next], now)
    }

    #[test]
    fn only_the_operator_accepts_a_wrong_night() {
        assert!(accepted(&backup("20261122T020000Z", "accepted")));
        assert!(!accepted(&backup("20261122T020000Z", "same")));
    }

    #[test]
    fn what_claims_to_come_from_the_future_or_is_damaged_accepts_nothing() {
        let mut damaged = backup("20261122T020000Z", "accepted");
        damaged.incomplete = Some("the archive is missing".into());

        assert!(!accepted(&backup("99991231T000000Z", "accepted")));
        assert!(!accepted(&damaged));
    }
}
