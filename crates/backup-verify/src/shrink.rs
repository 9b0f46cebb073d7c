//! How much a backup lost against the one before: bytes, rows, rows of single tables.

use anyhow::{Context as _, Result, ensure};
use common::backup::catalog::INDEX;
use common::backup::index::{Reader, Record};
use common::backup::manifest::Manifest;
use common::dirfd::Dir;
use common::units;
use std::collections::BTreeMap;
use std::io::BufReader;

/// The largest loss, in percent, and what lost it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// 0 where nothing was lost, 100 where all was.
    pub percent: f64,
    /// `rows of table public.orders: 120 -> 3`.
    pub what: String,
}

/// More tables than any server holds: an index that lists them is forged.
const TABLES: usize = 1 << 20;

/// The largest loss in the totals of two manifests.
pub fn of_totals(before: &Manifest, now: &Manifest) -> Loss {
    let (was, is) = (before.archive.plain_bytes, now.archive.plain_bytes);
    let size = Loss { percent: percent(was, is), what: format!("size: {} -> {}", units::size(was), units::size(is)) };
    let rows = |manifest: &Manifest| manifest.content.as_ref().map_or(0, |content| content.rows);
    size.or_worse(loss("rows", rows(before), rows(now)))
}

/// The largest loss of rows in a table; a table that is gone lost all of them.
///
/// # Errors
///
/// Where an index cannot be read.
pub fn of_tables(dir: &Dir, before: &Manifest, now: &Manifest) -> Result<Loss> {
    let now = tables(dir, now)?;
    let mut worst = loss("rows", 0, 0);
    for (name, rows) in tables(dir, before)? {
        let left = now.get(&name).copied().unwrap_or(0);
        worst = worst.or_worse(loss(&format!("rows of table {name}"), rows, left));
    }
    Ok(worst)
}

fn tables(dir: &Dir, manifest: &Manifest) -> Result<BTreeMap<String, u64>> {
    let name = format!("{}{INDEX}", manifest.label);
    let act = || format!("cannot read {:?}", dir.join(&name));
    let mut reader = Reader::new(BufReader::new(dir.open_file(&name).with_context(act)?));
    let mut tables: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(record) = reader.next_record().with_context(act)? {
        if let Record::Table(table) = record {
            // The partitions of a dump by --load-via-partition-root share the name of their root.
            let rows = tables.entry(format!("{}.{}", table.schema, table.name)).or_default();
            *rows = rows.saturating_add(table.rows);
            ensure!(tables.len() <= TABLES, "{}: it lists more than {} tables", act(), units::count(TABLES as u64));
        }
    }
    Ok(tables)
}

fn loss(what: &str, before: u64, now: u64) -> Loss {
    let what = format!("{what}: {} -> {}", units::count(before), units::count(now));
    Loss { percent: percent(before, now), what }
}

fn percent(before: u64, now: u64) -> f64 {
    if now >= before { 0.0 } else { (before - now) as f64 * 100.0 / before as f64 }
}

impl Loss {
    /// The other one, if that is larger.
    pub fn or_worse(self, other: Self) -> Self {
        if other.percent > self.percent { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_no_loss_and_nothing_left_is_all() {
        assert_eq!(loss("rows", 10, 20).percent, 0.0);
        assert_eq!(loss("rows", 10, 0), Loss { percent: 100.0, what: "rows: 10 -> 0".into() });
        assert_eq!(loss("rows", 0, 0).percent, 0.0);
    }
}
