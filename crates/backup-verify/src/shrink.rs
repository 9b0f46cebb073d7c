//! How much a backup lost against the one before: bytes, rows, rows of single tables.

use anyhow::{Context as _, Result};
use common::backup::catalog::INDEX;
use common::backup::index::{Reader, Record};
use common::backup::manifest::Manifest;
use common::dirfd::Dir;
use std::collections::HashMap;
use std::io::BufReader;

/// The largest loss, in percent, and what lost it.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// 0 where nothing was lost, 100 where all was.
    pub percent: f64,
    /// `rows of table public.orders: 120 -> 3`.
    pub what: String,
}

/// The largest loss in the totals of two manifests.
pub fn of_totals(before: &Manifest, now: &Manifest) -> Loss {
    let size = loss("size", before.archive.plain_bytes, now.archive.plain_bytes);
    let rows = |manifest: &Manifest| manifest.content.as_ref().map_or(0, |content| content.rows);
    worse(size, loss("rows", rows(before), rows(now)))
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
        worst = worse(worst, loss(&format!("rows of table {name}"), rows, left));
    }
    Ok(worst)
}

fn tables(dir: &Dir, manifest: &Manifest) -> Result<HashMap<String, u64>> {
    let name = format!("{}{INDEX}", manifest.label);
    let act = || format!("cannot read {:?}", dir.join(&name));
    let mut reader = Reader::new(BufReader::new(dir.open_file(&name).with_context(act)?));
    let mut tables = HashMap::new();
    while let Some(record) = reader.next_record().with_context(act)? {
        if let Record::Table(table) = record {
            // The partitions of a dump by --load-via-partition-root share the name of their root.
            *tables.entry(format!("{}.{}", table.schema, table.name)).or_default() += table.rows;
        }
    }
    Ok(tables)
}

fn loss(what: &str, before: u64, now: u64) -> Loss {
    let percent = if now >= before { 0.0 } else { (before - now) as f64 * 100.0 / before as f64 };
    Loss { percent, what: format!("{what}: {before} -> {now}") }
}

fn worse(a: Loss, b: Loss) -> Loss {
    if b.percent > a.percent { b } else { a }
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
