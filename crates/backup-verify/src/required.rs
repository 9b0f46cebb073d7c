//! Tables that must be in a backup, with rows (`--require-table`).

use common::backup::index::Record;
use std::collections::{BTreeMap, BTreeSet};

/// The tables that are asked for, and what was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Required {
    wanted: Vec<String>,
    /// Rows by `schema.table`.
    rows: BTreeMap<String, u64>,
    /// `schema.partition` and `schema.table` that it is a part of.
    partitions: BTreeMap<String, String>,
}

impl Required {
    /// Nothing seen yet; a name is `schema.table`, or `table` in any schema.
    pub fn new(wanted: &[String]) -> Self {
        Self { wanted: wanted.to_vec(), ..Self::default() }
    }

    /// Reads a record of the dump.
    pub fn look_at(&mut self, record: &Record) {
        if let Record::Table(table) = record
            && !self.wanted.is_empty()
        {
            let rows = self.rows.entry(format!("{}.{}", table.schema, table.name)).or_default();
            *rows = rows.saturating_add(table.rows);
        }
    }

    /// Reads a statement: a partitioned table has no rows of its own, those of its partitions are meant.
    pub fn look_at_statement(&mut self, statement: &[u8]) {
        if self.wanted.is_empty() {
            return;
        }
        let text = common::text::bytes(&statement[..statement.len().min(1024)]);
        let parts = text.strip_prefix("ALTER TABLE ONLY ").and_then(|rest| rest.split_once(" ATTACH PARTITION "));
        if let Some((table, rest)) = parts
            && let Some((partition, _)) = rest.split_once(" FOR VALUES ").or_else(|| rest.split_once(" DEFAULT"))
        {
            self.partitions.insert(unquoted(partition), unquoted(table));
        }
    }

    /// What is wrong, a sentence a table.
    pub fn complaints(&self) -> Vec<String> {
        let mut rows = self.rows.clone();
        for (partition, table) in &self.partitions {
            // From the leaves to the root; a forged circle ends, too.
            let mut seen = BTreeSet::new();
            let mut next = Some(table);
            while let Some(table) = next.filter(|table| seen.insert(*table)) {
                *rows.entry(table.clone()).or_default() += self.rows.get(partition).copied().unwrap_or(0);
                next = self.partitions.get(table);
            }
        }
        self.wanted.iter().filter_map(|wanted| complaint(wanted, &rows)).collect()
    }
}

fn complaint(wanted: &str, rows: &BTreeMap<String, u64>) -> Option<String> {
    let is_it = |name: &str| name == wanted || name.split_once('.').is_some_and(|(_, table)| table == wanted);
    let found: Vec<u64> = rows.iter().filter(|(name, _)| is_it(name)).map(|(_, rows)| *rows).collect();
    match found.iter().sum::<u64>() {
        0 if found.is_empty() => Some(format!("table {wanted} is not in it")),
        0 => Some(format!("table {wanted} is empty")),
        _ => None,
    }
}

/// `public."a ""b"` as the index has it.
fn unquoted(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut letters = name.chars().peekable();
    while let Some(letter) = letters.next() {
        if letter != '"' || letters.next_if_eq(&'"').is_some() {
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::backup::index::Table;

    fn required(wanted: &[&str], tables: &[(&str, &str, u64)], statements: &[&str]) -> Vec<String> {
        let mut required = Required::new(&wanted.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        for (schema, name, rows) in tables {
            let (schema, name) = ((*schema).to_owned(), (*name).to_owned());
            let digest = String::new();
            let table = Table { schema, name, columns: String::new(), rows: *rows, bytes: 0, offset: 0, digest };
            required.look_at(&Record::Table(table));
        }
        statements.iter().for_each(|statement| required.look_at_statement(statement.as_bytes()));
        required.complaints()
    }

    #[test]
    fn a_table_must_be_there_and_hold_rows() {
        let tables = [("public", "users", 3), ("audit", "logs", 0), ("a.b", "c", 1)];

        assert_eq!(required(&["users", "public.users"], &tables, &[]), Vec::<String>::new());
        assert_eq!(
            required(&["members", "audit.logs", "public.logs"], &tables, &[]),
            ["table members is not in it", "table audit.logs is empty", "table public.logs is not in it"]
        );
    }

    #[test]
    fn the_rows_of_a_partitioned_table_lie_in_its_partitions() {
        let attach = [
            "ALTER TABLE ONLY public.orders ATTACH PARTITION public.\"orders 2026\" FOR VALUES FROM ('2026') TO ('2027');",
            "ALTER TABLE ONLY public.\"orders 2026\" ATTACH PARTITION public.leaf DEFAULT;",
        ];

        assert_eq!(required(&["orders"], &[("public", "leaf", 2)], &attach), Vec::<String>::new());
        assert_eq!(required(&["orders"], &[("public", "leaf", 0)], &attach), ["table orders is empty"]);
        assert_eq!(required(&["other"], &[("public", "leaf", 2)], &attach), ["table other is not in it"]);
    }
}
