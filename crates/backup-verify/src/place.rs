//! A directory of backups: which there are of each database, and how the newest looks.
//!
//! ```text
//! directory -> catalog -> groups -> newest | every -> check -> age, size, shrink, count, space -> Item per database
//! ```

use crate::cli::{Cli, Depth};
use crate::expect::Expected;
use crate::{Check, keys, shrink};
use anyhow::Result;
use common::backup::catalog::{Backup, Catalog, is_from_the_future};
use common::backup::manifest::{Group, Kind, Manifest};
use common::dirfd::{self, Dir};
use common::report::{Item, Value};
use common::status::Status;
use common::units;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Checks a directory; what it has a backup of is added to `seen`.
///
/// # Errors
///
/// Where the directory cannot be read.
pub fn check(check: &Check<'_>, path: &Path, seen: &mut BTreeSet<Expected>) -> Result<Vec<Item>> {
    let dir = Dir::open(path)?;
    let catalog = Catalog::read(&dir)?;
    let mut items = Vec::new();
    if catalog.backups.is_empty() {
        items.push(Item::new(dirfd::shown(path), Status::Critical, "no backup found"));
    }
    let mut groups: BTreeMap<Group, Vec<&Backup>> = BTreeMap::new();
    for backup in &catalog.backups {
        match &backup.manifest {
            Ok(manifest) => groups.entry(manifest.group()).or_default().push(backup),
            Err(error) => {
                items.push(Item::failed(check.in_place(&dir, &backup.label.to_string()), Status::Critical, error));
            }
        }
    }
    let prefixes = groups.values().map(|backups| backups[0].label.prefix.as_str());
    let subjects = subjects(&groups.keys().zip(prefixes).collect::<Vec<_>>());
    for ((group, backups), subject) in groups.iter().zip(subjects) {
        seen.insert(Expected::of(group));
        let subject = check.in_place(&dir, &subject);
        items.extend(Backups { check, dir: &dir, subject, backups }.items());
    }
    items.extend(free_space(check.cli, &dir));
    Ok(items)
}

/// The shortest name for each group that no other group of the directory has: two clusters may share it and the names of
/// their databases, and a stream may be called like a database.
fn subjects(groups: &[(&Group, &str)]) -> Vec<String> {
    let all: Vec<_> = groups.iter().map(|(group, prefix)| names(group, prefix)).collect();
    let is_unique = |form: usize, name: &String| all.iter().filter(|names| names[form] == *name).count() == 1;
    let shortest = |names: &[String; 4]| {
        let unique = names.iter().enumerate().find(|(form, name)| is_unique(*form, name));
        unique.map_or(&names[3], |(_, name)| name).clone()
    };
    all.iter().map(shortest).collect()
}

/// What a group may be called, the shortest first.
fn names(group: &Group, prefix: &str) -> [String; 4] {
    let cluster = &group.cluster;
    let kind = match group.kind {
        Kind::Database => "database",
        Kind::Globals => "globals",
        Kind::Stream => "stream",
    };
    [
        prefix.to_owned(),
        format!("{prefix} ({kind})"),
        format!("{prefix} of cluster {cluster}"),
        format!("{prefix} ({kind}) of cluster {cluster}"),
    ]
}

/// The backups of one database, oldest first.
struct Backups<'a> {
    check: &'a Check<'a>,
    dir: &'a Dir,
    subject: String,
    backups: &'a [&'a Backup],
}

impl Backups<'_> {
    fn items(&self) -> Vec<Item> {
        let (present, future): (Vec<&Backup>, Vec<&Backup>) =
            self.backups.iter().copied().partition(|backup| !is_from_the_future(backup.label.stamp, self.check.now));
        let mut items: Vec<_> = future.into_iter().map(|backup| self.ahead_of_time(backup)).collect();
        let Some((newest, older)) = present.split_last() else { return items };
        items.push(self.newest(newest, older));
        if self.check.cli.every {
            items.extend(older.iter().rev().map(|backup| self.judged(backup, self.name_of(backup))));
        }
        items
    }

    fn name_of(&self, backup: &Backup) -> String {
        self.check.in_place(self.dir, &backup.label.to_string())
    }

    fn ahead_of_time(&self, backup: &Backup) -> Item {
        let mut item = Item::new(self.name_of(backup), Status::Critical, "it is from the future");
        item.hints.push("is a clock wrong, or did somebody put the file there?".to_owned());
        item
    }

    fn judged(&self, backup: &Backup, subject: String) -> Item {
        self.check.backup(self.dir, backup, subject, self.depth())
    }

    fn depth(&self) -> Depth {
        self.check.cli.depth_of_place()
    }

    /// The newest backup by itself, and against the thresholds.
    fn newest(&self, newest: &Backup, older: &[&Backup]) -> Item {
        let cli = self.check.cli;
        let mut item = self.judged(newest, self.subject.clone());
        if item.status != Status::Ok {
            item.message = format!("{}: {}", newest.label, item.message);
        }
        let Ok(manifest) = &newest.manifest else { return item };
        let age = self.check.now.since(newest.label.stamp);
        item.fields.push((keys::AGE, Value::Seconds(age)));
        let told = format!("{} old", units::duration(age));
        judge(&mut item, cli.max_age.map(|limits| limits.status(age.as_secs_f64())), &told);
        let bytes = manifest.archive.stored_bytes;
        let told = format!("the archive has {}", units::size(bytes));
        judge(&mut item, cli.min_size.map(|limits| limits.status(bytes as f64)), &told);
        // Looked at again just now, so what an earlier check said of it does not matter.
        let is_newest_good = item.fields.iter().any(|(key, _)| *key == keys::LABEL);
        let complete = older.iter().filter(|backup| backup.incomplete.is_none()).count();
        let count = complete as u64 + u64::from(is_newest_good);
        item.fields.push((keys::COUNT, Value::Count(count)));
        let told = units::things(count, "complete backup");
        judge(&mut item, cli.min_count.map(|limits| limits.status(count as f64)), &told);
        self.shrink(&mut item, manifest, older);
        item
    }

    fn shrink(&self, item: &mut Item, now: &Manifest, older: &[&Backup]) {
        let Some(limits) = self.check.cli.shrink else { return };
        let complete = older.iter().rev().filter(|backup| backup.incomplete.is_none());
        let Some(before) = complete.filter_map(|backup| backup.manifest.as_ref().ok()).next() else { return };
        let mut loss = shrink::of_totals(before, now);
        if self.depth() >= Depth::Stored && now.content.is_some() {
            match shrink::of_tables(self.dir, before, now) {
                Ok(of_tables) => loss = loss.or_worse(of_tables),
                Err(error) => judge(item, Some(Status::Unknown), &format!("{error:#}")),
            }
        }
        let told = format!("lost {:.0} % since {} ({})", loss.percent, before.label, loss.what);
        judge(item, Some(limits.status(loss.percent)), &told);
    }
}

fn free_space(cli: &Cli, dir: &Dir) -> Option<Item> {
    let limits = cli.min_free?;
    let subject = dirfd::shown(dir.path());
    Some(match dir.free_bytes() {
        Ok(free) => {
            let message = format!("{} left on its file system", units::size(free));
            Item::new(subject, limits.status(free as f64), message).with(keys::FREE, Value::Bytes(free))
        }
        Err(error) => Item::new(subject, Status::Unknown, format!("cannot read the space left: {error}")),
    })
}

/// Makes the item as bad as the status, and says why in front of what it says already.
fn judge(item: &mut Item, status: Option<Status>, told: &str) {
    let Some(status) = status.filter(|status| *status != Status::Ok) else { return };
    item.status = item.status.max(status);
    item.message = format!("{told}; {}", item.message);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(cluster: &str, kind: Kind, subject: &str) -> Group {
        Group { cluster: cluster.into(), kind, subject: subject.into() }
    }

    #[test]
    fn no_two_groups_of_a_directory_share_a_subject() {
        let groups = [
            (group("1", Kind::Database, "shop"), "shop"),
            (group("1", Kind::Database, "app"), "app"),
            (group("2", Kind::Database, "app"), "app"),
            (group("1", Kind::Database, "globals"), "globals"),
            (group("1", Kind::Globals, "globals"), "globals"),
        ];

        let named = subjects(&groups.iter().map(|(group, prefix)| (group, *prefix)).collect::<Vec<_>>());

        assert_eq!(named, ["shop", "app of cluster 1", "app of cluster 2", "globals (database)", "globals (globals)"]);
    }
}
