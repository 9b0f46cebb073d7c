//! What two dumps hold, compared record by record: neither the order nor the place of a record matters.
//!
//! ```text
//! records of both sides -> equal ones cancel out -> what is left, by key -> differences | doubts | notes
//! ```
//!
//! Both sides are fed by turns, and both come in the order of pg_dump, so what is held stays small while they agree.

use crate::wording;
use anyhow::{Result, ensure};
use common::backup::index::Record;
use common::units;
use std::collections::{BTreeMap, BTreeSet};

/// More than this many records without a counterpart: these are two different databases.
const HELD: usize = 1 << 21;

/// Which of the two dumps a record is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The backup.
    Recorded,
    /// The database.
    Found,
}

/// What has to agree.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Statements.
    pub statements: Statements,
    /// Rows.
    pub rows: Rows,
    /// Configuration tables of extensions: schema and name, and the extension that fills them itself.
    pub configuration: BTreeMap<(String, String), String>,
}

/// What has to agree about statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statements {
    /// Every entry, to the letter.
    Exact,
    /// Every entry; where the letters differ, another minor version may be the reason, or may not.
    Likely,
    /// Every recorded entry must be there; another major version may word it differently and write more.
    Present,
}

/// What has to agree about rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Every row.
    Exact,
    /// Their number; the dumping session's time zone, and with it the text of a row, is not known.
    Number,
}

/// What the comparison came to, each list in the order of kinds and names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// What is not as recorded.
    pub found: Vec<String>,
    /// What cannot be told.
    pub doubts: Vec<String>,
    /// What differs and is as it should be.
    pub notes: Vec<String>,
    /// What the server words differently, and is the same.
    pub reworded: Vec<String>,
}

/// What a record is about, in the order of the report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// Rows.
    Table { schema: String, name: String },
    /// A value.
    Sequence { schema: String, name: String },
    /// By its OID.
    LargeObject(u64),
    /// Statements.
    Entry { kind: String, schema: String, name: String },
}

/// Two dumps in the middle of being compared.
#[derive(Debug, Default)]
pub struct Comparison {
    left: BTreeMap<Key, [Vec<Record>; 2]>,
    held: usize,
}

impl Comparison {
    /// Takes the next record of one side.
    ///
    /// # Errors
    ///
    /// Where the two have next to nothing in common.
    pub fn take(&mut self, side: Side, mut record: Record) -> Result<()> {
        let Some(key) = key_of(&mut record) else { return Ok(()) };
        let (own, other) = match side {
            Side::Recorded => (0, 1),
            Side::Found => (1, 0),
        };
        let left = self.left.entry(key.clone()).or_default();
        if let Some(at) = left[other].iter().position(|candidate| *candidate == record) {
            left[other].swap_remove(at);
            self.held -= 1;
            if left.iter().all(Vec::is_empty) {
                self.left.remove(&key);
            }
            return Ok(());
        }
        left[own].push(record);
        self.held += 1;
        ensure!(self.held <= HELD, "more than {} things differ", units::count(HELD as u64));
        Ok(())
    }

    /// Entries that are there on both sides, of the same owners and with as many statements, but to the letter differ:
    /// they have to be looked at again, loosely.
    pub fn unclear(&self, rules: &Rules) -> BTreeSet<Key> {
        let shape = |record: &Record| match record {
            Record::Entry(entry) => (entry.owner.clone(), entry.statements),
            Record::Table(_) | Record::Sequence(_) | Record::LargeObject(_) | Record::Members(_) => Default::default(),
        };
        let shapes = |records: &[Record]| {
            let mut shapes: Vec<_> = records.iter().map(shape).collect();
            shapes.sort();
            shapes
        };
        let is_unclear = |key: &Key, sides: &[Vec<Record>; 2]| {
            matches!(key, Key::Entry { .. }) && !self.is_told_elsewhere(key) && shapes(&sides[0]) == shapes(&sides[1])
        };
        let left = self.left.iter().filter(|_| rules.statements != Statements::Present);
        left.filter(|(key, sides)| is_unclear(key, sides)).map(|(key, _)| key.clone()).collect()
    }

    /// What is left once both sides were read to their end; `same` are those that were unclear and have turned out equal.
    pub fn finish(self, rules: &Rules, same: &BTreeSet<Key>) -> Differences {
        let mut differences = Differences::default();
        for (key, [recorded, found]) in &self.left {
            if same.contains(key) {
                differences.reworded.push(wording::name(key));
            } else if !self.is_told_elsewhere(key) {
                judge(key, recorded, found, rules, &mut differences);
            }
        }
        differences
    }

    /// Rows, values and large objects have records of their own beside the entry of the dump that carries them.
    fn is_told_elsewhere(&self, key: &Key) -> bool {
        let Key::Entry { kind, schema, name } = key else { return false };
        let (schema, name) = (schema.clone(), name.clone());
        match kind.as_str() {
            "TABLE DATA" => self.left.contains_key(&Key::Table { schema, name }),
            "SEQUENCE SET" => self.left.contains_key(&Key::Sequence { schema, name }),
            "BLOBS" | "BLOB DATA" => self.left.keys().any(|key| matches!(key, Key::LargeObject(_))),
            // A table that is gone as a whole is told once.
            "TABLE" => self
                .left
                .get(&Key::Table { schema, name })
                .is_some_and(|sides| sides[0].is_empty() != sides[1].is_empty()),
            _ => false,
        }
    }
}

/// What a record is about; nothing for what is not compared. Where it lies in its dump does not matter.
pub fn key_of(record: &mut Record) -> Option<Key> {
    Some(match record {
        Record::Entry(entry) => {
            entry.offset = 0;
            // What the planner believes of a table is no part of it.
            if entry.kind == "STATISTICS DATA" {
                return None;
            }
            Key::Entry { kind: entry.kind.clone(), schema: entry.schema.clone(), name: entry.name.clone() }
        }
        Record::Table(table) => {
            table.offset = 0;
            Key::Table { schema: table.schema.clone(), name: table.name.clone() }
        }
        Record::Sequence(sequence) => Key::Sequence { schema: sequence.schema.clone(), name: sequence.name.clone() },
        Record::LargeObject(object) => Key::LargeObject(object.oid),
        Record::Members(_) => return None,
    })
}

fn judge(key: &Key, recorded: &[Record], found: &[Record], rules: &Rules, into: &mut Differences) {
    match key {
        Key::Table { .. } => judge_table(key, recorded, found, rules, into),
        Key::Entry { .. } => judge_entries(key, recorded, found, rules.statements, into),
        Key::Sequence { .. } | Key::LargeObject(_) => {
            let what = wording::name(key);
            match (recorded.last(), found.last()) {
                (Some(recorded), Some(found)) => into.found.push(wording::other(&what, recorded, found)),
                (Some(_), None) => into.found.push(wording::missing(&what)),
                (None, Some(_)) => extra(&what, rules.statements, into),
                (None, None) => {}
            }
        }
    }
}

/// Several parts of a table count as one: which row lies in which partition is the server's to say
/// (`--load-via-partition-root`), and the digest of rows is a sum.
fn judge_table(key: &Key, recorded: &[Record], found: &[Record], rules: &Rules, into: &mut Differences) {
    let what = wording::name(key);
    let (Some(before), Some(now)) = (Sum::of(recorded), Sum::of(found)) else {
        match found.is_empty() {
            true => into.found.push(wording::missing(&what)),
            false => extra(&what, rules.statements, into),
        }
        return;
    };
    let extension = match key {
        Key::Table { schema, name } => rules.configuration.get(&(schema.clone(), name.clone())),
        Key::Sequence { .. } | Key::LargeObject(_) | Key::Entry { .. } => None,
    };
    let rows = |sum: &Sum| units::things(sum.rows, "row");
    if before == now {
        into.notes.push(format!("{what} has its {} in other partitions", rows(&now)));
    } else if let Some(extension) = extension.filter(|_| now.rows >= before.rows) {
        into.notes.push(format!(
            "{what} is configuration that extension {extension} fills itself: {}, {} recorded",
            rows(&now),
            units::count(before.rows)
        ));
    } else if before.rows != now.rows {
        into.found.push(format!("{what} holds {}, but {} were recorded", rows(&now), units::count(before.rows)));
    } else if before.columns != now.columns {
        into.found.push(format!("{what} has the columns {}, but {} were recorded", now.columns, before.columns));
    } else if rules.rows == Rows::Number {
        into.doubts.push(format!("{what} holds {}, which may not be the same ones", rows(&now)));
    } else {
        into.found.push(format!("{what} holds {} as recorded, but not the same ones", rows(&now)));
    }
}

fn judge_entries(key: &Key, recorded: &[Record], found: &[Record], statements: Statements, into: &mut Differences) {
    let what = wording::name(key);
    let mut recorded: Vec<&Record> = recorded.iter().collect();
    let mut found: Vec<&Record> = found.iter().collect();
    // Things of one name, such as overloaded operators: the owner tells most of them apart.
    recorded.sort_by_key(|record| owner(record));
    found.sort_by_key(|record| owner(record));
    for (before, now) in recorded.iter().zip(&found) {
        match (owner(before), owner(now), statements) {
            (before, now, _) if before != now && before != "-" && now != "-" => {
                into.found.push(format!("{what} belongs to {now}, not to {before}"));
            }
            (_, _, Statements::Exact) => into.found.push(format!("{what} differs")),
            (_, _, Statements::Likely) => into.doubts.push(format!("{what} is worded differently")),
            (_, _, Statements::Present) => into.reworded.push(what.clone()),
        }
    }
    for _ in found.len()..recorded.len() {
        into.found.push(wording::missing(&what));
    }
    for _ in recorded.len()..found.len() {
        extra(&what, statements, into);
    }
}

fn extra(what: &str, statements: Statements, into: &mut Differences) {
    let list = match statements {
        Statements::Exact | Statements::Likely => &mut into.found,
        Statements::Present => &mut into.notes,
    };
    list.push(format!("{what} was not recorded"));
}

fn owner(record: &Record) -> &str {
    match record {
        Record::Entry(entry) => &entry.owner,
        Record::Table(_) | Record::Sequence(_) | Record::LargeObject(_) | Record::Members(_) => "",
    }
}

/// All rows that are written under one name.
#[derive(Debug, PartialEq, Eq)]
struct Sum {
    columns: String,
    rows: u64,
    bytes: u64,
    digest: u128,
}

impl Sum {
    /// Nothing where there is no such table; a digest that is no number belongs to a damaged index and equals none.
    fn of(records: &[Record]) -> Option<Self> {
        let mut sum: Option<Self> = None;
        for record in records {
            let Record::Table(table) = record else { continue };
            let sum = sum.get_or_insert_with(|| Self { columns: table.columns.clone(), rows: 0, bytes: 0, digest: 0 });
            sum.rows = sum.rows.saturating_add(table.rows);
            sum.bytes = sum.bytes.saturating_add(table.bytes);
            sum.digest = sum.digest.wrapping_add(u128::from_str_radix(&table.digest, 16).unwrap_or(1));
            if sum.columns != table.columns {
                sum.columns = format!("{} {}", sum.columns, table.columns);
            }
        }
        sum
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
