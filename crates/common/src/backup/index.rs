//! What is in an archive, one JSON object a line: written while the dump streams by, read without holding it.
//!
//! Lines are in the order of the dump; the members of the archive come last. Offsets count plain bytes.

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Read as _};

/// The longest line that is read. A table of 1,600 columns has one of about 200 KiB.
const LINE: u64 = 4 << 20;
/// Members per line.
pub const MEMBERS_PER_LINE: usize = 1024;

/// One line of the index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// An entry of the dump: what pg_dump calls a table-of-contents entry.
    Entry(Entry),
    /// The rows of a table.
    Table(Table),
    /// The value of a sequence.
    Sequence(Sequence),
    /// The bytes of a large object.
    LargeObject(LargeObject),
    /// Members of the archive: stored and plain length of each.
    Members(Vec<Member>),
}

/// An entry of the dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// pg_dump's type: `TABLE`, `INDEX`, `TABLE DATA`, …; `SETTINGS` for what stands before the first.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its schema, `-` where it has none.
    pub schema: String,
    /// Its name as the header shows it.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// Where its first statement begins.
    pub offset: u64,
    /// How many statements it has.
    pub statements: u64,
    /// XXH3-128 of its tablespace, access method and statements.
    pub digest: String,
}

/// The rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The schema, unquoted.
    pub schema: String,
    /// The name, unquoted.
    pub name: String,
    /// The column list of the COPY, as written.
    pub columns: String,
    /// Lines between COPY and `\.`.
    pub rows: u64,
    /// Their bytes, newlines included.
    pub bytes: u64,
    /// Where the first row begins.
    pub offset: u64,
    /// The sum of the rows' XXH3-128 modulo 2^128.
    pub digest: String,
}

/// The value of a sequence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// The schema, unquoted.
    pub schema: String,
    /// The name, unquoted.
    pub name: String,
    /// Its last value.
    pub value: i64,
    /// Whether that value was handed out.
    pub called: bool,
}

/// The bytes of a large object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LargeObject {
    /// Its OID.
    pub oid: u64,
    /// Its length.
    pub bytes: u64,
    /// XXH3-128 of its bytes in hexadecimal.
    pub digest: String,
}

/// An independent piece of the archive: stored length, plain length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member(pub u32, pub u32);

impl Record {
    /// The line for it, with its newline.
    pub fn line(&self) -> String {
        let document = serde_json::to_string(self).expect("a record of strings and numbers is always JSON");
        format!("{}\n", crate::text::json(&document))
    }

    /// What it is about, for messages: `table public.orders`.
    pub fn shown(&self) -> String {
        match self {
            Self::Entry(entry) => format!("{} {}.{}", entry.kind, entry.schema, entry.name),
            Self::Table(table) => format!("table {}.{}", table.schema, table.name),
            Self::Sequence(sequence) => format!("sequence {}.{}", sequence.schema, sequence.name),
            Self::LargeObject(object) => format!("large object {}", object.oid),
            Self::Members(_) => "members".to_owned(),
        }
    }
}

/// Reads an index line by line.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    line: u64,
}

impl<R: BufRead> Reader<R> {
    /// Reads from here on.
    pub fn new(input: R) -> Self {
        Self { input, line: 0 }
    }

    /// The next record; `None` at the end.
    ///
    /// # Errors
    ///
    /// A line that is no record, is too long, or has no end.
    pub fn next_record(&mut self) -> Result<Option<Record>> {
        self.line += 1;
        let mut text = Vec::new();
        (&mut self.input)
            .take(LINE)
            .read_until(b'\n', &mut text)
            .with_context(|| format!("cannot read line {}", self.line))?;
        if text.is_empty() {
            return Ok(None);
        }
        if text.pop() != Some(b'\n') {
            bail!("line {} is cut off or too long", self.line);
        }
        serde_json::from_slice(&text).with_context(|| format!("line {} is damaged", self.line)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_reads_back_as_itself() {
        let records = [
            Record::Table(Table {
                schema: "public".into(),
                name: "we\u{1b}ird \u{202e}".into(),
                columns: "(a, b)".into(),
                rows: u64::MAX,
                bytes: 1,
                offset: 2,
                digest: "00".into(),
            }),
            Record::Members(vec![Member(10, 20), Member(30, 40)]),
        ];
        let text: String = records.iter().map(Record::line).collect();
        assert!(text.is_ascii());

        let mut reader = Reader::new(text.as_bytes());

        assert_eq!(reader.next_record().unwrap().as_ref(), Some(&records[0]));
        assert_eq!(reader.next_record().unwrap().as_ref(), Some(&records[1]));
        assert_eq!(reader.next_record().unwrap(), None);
    }

    #[test]
    fn a_line_without_an_end_is_damage() {
        let error = Reader::new(&b"{\"members\":[[1,2]]}"[..]).next_record().unwrap_err();

        assert_eq!(error.to_string(), "line 1 is cut off or too long");
    }
}
