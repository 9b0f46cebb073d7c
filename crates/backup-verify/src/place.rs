//! A directory of backups: which there are of each database, and how the newest looks.
//!
//! ```text
//! directory -> catalog -> groups -> newest | every -> check -> age, size, shrink, count, space -> Item per database
//! ```

use crate::cli::{Cli, Depth};
use crate::{Check, keys, shrink};
use anyhow::Result;
use common::backup::catalog::{Backup, Catalog};
use common::backup::manifest::{Group, Manifest};
use common::dirfd::{self, Dir};
use common::report::{Item, Value};
use common::status::Status;
use common::units;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// How far ahead of our clock a backup may be.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// Checks a directory; the databases that it has a backup of are added to `seen`.
///
/// # Errors
///
/// Where the directory cannot be read.
pub fn check(check: &Check<'_>, path: &Path, seen: &mut BTreeSet<String>) -> Result<Vec<Item>> {
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
            Err(error) => items.push(Item::failed(backup.label.to_string(), Status::Critical, error)),
        }
    }
    let mut prefixes: BTreeMap<&str, u32> = BTreeMap::new();
    for backups in groups.values() {
        *prefixes.entry(&backups[0].label.prefix).or_default() += 1;
    }
    for (group, backups) in &groups {
        seen.insert(group.subject.clone());
        let prefix = &backups[0].label.prefix;
        // Two clusters may share a directory and the names of their databases.
        let subject = match prefixes.get(prefix.as_str()) {
            Some(1) | None => prefix.clone(),
            Some(_) => format!("{prefix} of cluster {}", group.cluster),
        };
        items.extend(Databases { check, dir: &dir, subject, backups }.items());
    }
    items.extend(free_space(check.cli, &dir)?);
    Ok(items)
}

/// The backups of one database, oldest first.
struct Databases<'a> {
    check: &'a Check<'a>,
    dir: &'a Dir,
    subject: String,
    backups: &'a [&'a Backup],
}

impl Databases<'_> {
    fn items(&self) -> Vec<Item> {
        let limit = self.check.now.saturating_add(CLOCK_SLACK);
        let mut items: Vec<_> =
            self.backups.iter().filter(|backup| backup.label.stamp > limit).map(|b| future(b)).collect();
        let present: Vec<_> = self.backups.iter().filter(|backup| backup.label.stamp <= limit).copied().collect();
        let Some((newest, older)) = present.split_last() else { return items };
        items.push(self.newest(newest, older));
        if self.check.cli.every {
            let names = older.iter().rev().map(|backup| (backup, backup.label.to_string()));
            items.extend(names.map(|(backup, name)| self.check.backup(self.dir, backup, &name, self.depth())));
        }
        items
    }

    fn depth(&self) -> Depth {
        self.check.cli.depth.unwrap_or(Depth::Stored)
    }

    /// The newest backup by itself, and against the thresholds.
    fn newest(&self, newest: &Backup, older: &[&Backup]) -> Item {
        let cli = self.check.cli;
        let mut item = self.check.backup(self.dir, newest, &self.subject, self.depth());
        let Ok(manifest) = &newest.manifest else { return item };
        let age = self.check.now.since(manifest.started_at);
        item.fields.push((keys::AGE, Value::Seconds(age)));
        let told = units::duration(age);
        judge(&mut item, cli.max_age.map(|limits| limits.status(age.as_secs_f64())), &format!("{told} old"));
        let bytes = manifest.archive.stored_bytes;
        let told = format!("only {}", units::size(bytes));
        judge(&mut item, cli.min_size.map(|limits| limits.status(bytes as f64)), &told);
        let count = older.iter().chain([&newest]).filter(|backup| backup.incomplete.is_none()).count();
        item.fields.push((keys::COUNT, Value::Count(count as u64)));
        let told = format!("only {count} complete backups");
        judge(&mut item, cli.min_count.map(|limits| limits.status(count as f64)), &told);
        self.shrink(&mut item, manifest, older);
        item
    }

    fn shrink(&self, item: &mut Item, now: &Manifest, older: &[&Backup]) {
        let Some(limits) = self.check.cli.shrink else { return };
        let complete = older.iter().rev().filter(|backup| backup.incomplete.is_none());
        let Some(before) = complete.filter_map(|backup| backup.manifest.as_ref().ok()).next() else { return };
        let mut losses = vec![Ok(shrink::of_totals(before, now))];
        if self.depth() >= Depth::Stored && now.content.is_some() {
            losses.push(shrink::of_tables(self.dir, before, now));
        }
        for loss in losses {
            match loss {
                Ok(loss) => {
                    let told = format!("lost {:.0} % since {} ({})", loss.percent, before.label, loss.what);
                    judge(item, Some(limits.status(loss.percent)), &told);
                }
                Err(error) => judge(item, Some(Status::Unknown), &format!("{error:#}")),
            }
        }
    }
}

fn future(backup: &Backup) -> Item {
    let mut item = Item::new(backup.label.to_string(), Status::Critical, "it is from the future");
    item.hints.push("is a clock wrong, or did somebody put the file there?".to_owned());
    item
}

fn free_space(cli: &Cli, dir: &Dir) -> Result<Option<Item>> {
    let Some(limits) = cli.min_free else { return Ok(None) };
    let free = dir.free_bytes()?;
    let message = format!("{} left on its file system", units::size(free));
    let item = Item::new(dirfd::shown(dir.path()), limits.status(free as f64), message);
    Ok(Some(item.with(keys::FREE, Value::Bytes(free))))
}

/// Makes the item as bad as the status, and says why in front of what it says already.
fn judge(item: &mut Item, status: Option<Status>, told: &str) {
    let Some(status) = status.filter(|status| *status != Status::Ok) else { return };
    item.status = item.status.max(status);
    item.message = format!("{told}; {}", item.message);
}
