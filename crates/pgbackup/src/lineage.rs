//! Does the source look like the one of the backups before?
//!
//! A poisoned .env, a wrong port or an emptied database makes "successful" nights, and each of them would push a good
//! backup out. So a run compares its source with the last one that could be trusted, and where it looks different nothing
//! is expired until the operator says that it is right. Source: THREATS B6.

use common::backup::catalog::Backup;
use common::backup::manifest::{Content, Group, Lineage};

/// How much a backup holds: rows, or bytes where it has no rows. A stream shrinks when a file system is not mounted.
pub fn weight(content: Option<&Content>, plain_bytes: u64) -> u64 {
    content.map_or(plain_bytes, |content| content.rows)
}

/// Judges a new backup by the complete ones before it, oldest first, of the same label prefix and kind.
///
/// `cluster` is the system identifier of its server, which `--name` in the group may stand in front of.
pub fn judge(before: &[&Backup], group: &Group, cluster: Option<&str>, weight_now: u64, accepted: bool) -> Lineage {
    let complete = || before.iter().rev().filter(|backup| backup.incomplete.is_none());
    let manifests = || complete().filter_map(|backup| backup.manifest.as_ref().ok());
    let Some(_) = manifests().next() else { return Lineage::First };
    if accepted {
        return Lineage::Accepted;
    }
    let Some(trusted) = manifests().find(|manifest| manifest.group() == *group && manifest.lineage.is_trusted()) else {
        return Lineage::Changed;
    };
    if trusted.source.as_ref().map(|source| source.system_identifier.as_str()) != cluster {
        return Lineage::Changed;
    }
    if weight_now.saturating_mul(2) < weight(trusted.content.as_ref(), trusted.archive.plain_bytes) {
        return Lineage::Shrunk;
    }
    Lineage::Same
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::backup::label::Label;
    use common::backup::manifest::{Kind, Manifest};

    fn manifest(cluster: &str, rows: u64, lineage: &str) -> Manifest {
        let text = include_str!("../../../tests/fixtures/manifest.json")
            .replace("7710332073671051110", cluster)
            .replace("\"rows\": 100", &format!("\"rows\": {rows}"))
            .replace("\"lineage\": \"first\"", &format!("\"lineage\": \"{lineage}\""));
        Manifest::from_bytes(text.as_bytes(), "app-20261120T020000Z").unwrap()
    }

    fn backup(cluster: &str, rows: u64, lineage: &str) -> Backup {
        Backup {
            label: Label::parse("app-20261120T020000Z").unwrap(),
            manifest: Ok(manifest(cluster, rows, lineage)),
            incomplete: None,
            pinned: false,
            proven: false,
        }
    }

    fn group(cluster: &str) -> Group {
        Group { cluster: cluster.into(), kind: Kind::Database, subject: "app".into() }
    }

    fn judged(before: &[Backup], rows: u64, accepted: bool) -> Lineage {
        judge(&before.iter().collect::<Vec<_>>(), &group("A"), Some("A"), rows, accepted)
    }

    #[test]
    fn the_first_backup_has_nothing_to_be_compared_with() {
        assert_eq!(judged(&[], 0, false), Lineage::First);
    }

    #[test]
    fn another_cluster_is_distrusted_night_after_night_until_it_is_accepted() {
        let first = backup("B", 10, "first");
        assert_eq!(judged(&[backup("B", 10, "first")], 10, false), Lineage::Changed);
        assert_eq!(judged(&[first, backup("A", 10, "changed")], 10, false), Lineage::Changed);
        assert_eq!(judged(&[backup("B", 10, "first"), backup("A", 10, "changed")], 10, true), Lineage::Accepted);
        assert_eq!(judged(&[backup("B", 10, "first"), backup("A", 10, "accepted")], 10, false), Lineage::Same);
    }

    #[test]
    fn another_cluster_behind_the_same_name_option_is_distrusted() {
        let before = backup("A", 10, "first");

        assert_eq!(judge(&[&before], &group("A"), Some("B"), 10, false), Lineage::Changed);
    }

    #[test]
    fn lost_rows_are_measured_against_the_last_trusted_backup() {
        let nights = [backup("A", 100, "same"), backup("A", 40, "shrunk"), backup("A", 40, "shrunk")];

        assert_eq!(judged(&nights, 40, false), Lineage::Shrunk);
        assert_eq!(judged(&nights, 50, false), Lineage::Same);
        assert_eq!(judged(&nights, 40, true), Lineage::Accepted);
    }

    #[test]
    fn a_damaged_backup_is_no_measure() {
        let mut damaged = backup("A", 100, "same");
        damaged.incomplete = Some("the archive is missing".into());

        assert_eq!(judged(&[damaged], 1, false), Lineage::First);
    }
}
