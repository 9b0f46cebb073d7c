//! Does the source look like the one of the backups before?
//!
//! A poisoned .env, a wrong port or an emptied database makes "successful" nights, and each of them would push a good
//! backup out. So a run compares its source with the last one that could be trusted, and where it looks different nothing
//! is expired until the operator says that it is right. Source: THREATS B6.

use common::backup::catalog::Backup;
use common::backup::manifest::{Content, Group, Lineage};

/// Judges a new backup by the complete ones before it, oldest first, of the same label prefix and kind.
pub fn judge(before: &[&Backup], group: &Group, content: Option<&Content>, accepted: bool) -> Lineage {
    let complete = || before.iter().rev().filter(|backup| backup.incomplete.is_none());
    let manifests = || complete().filter_map(|backup| backup.manifest.as_ref().ok());
    let Some(_) = manifests().next() else { return Lineage::First };
    if accepted {
        return Lineage::Accepted;
    }
    let Some(trusted) = manifests().find(|manifest| manifest.group() == *group && manifest.lineage.is_trusted()) else {
        return Lineage::Changed;
    };
    // A server under another name than its own (--name) may be replaced by another cluster.
    let rows = |content: Option<&Content>| content.map_or(0, |content| content.rows);
    if rows(content) < rows(trusted.content.as_ref()) / 2 {
        return Lineage::Shrunk;
    }
    Lineage::Same
}
