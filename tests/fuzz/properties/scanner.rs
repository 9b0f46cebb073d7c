//! The scanner of dumps: how the stream is cut makes no difference, and what it tells is what stands there.

use common::backup::index::{Reader, Record, Table};
use common::backup::manifest::{Content, Kind};
use common::backup::scan::Scanner;
use xxhash_rust::xxh3::xxh3_128;

/// One dump in 64 is fed again and again up to this length, to see that what the scanner holds stays bounded: the fuzzer
/// runs with a limit of 1 MiB for one allocation.
const LONG: usize = 5 << 18;

type Scanned = Result<(Vec<Record>, Content), String>;

/// First byte: what kind of dump (bits 0 and 1), and the seed of the cuts.
pub fn check(data: &[u8]) {
    let Some((how, dump)) = super::case(data) else { return };

    let whole = scan(how, dump, |_| usize::MAX);
    // A long one would take milliseconds; of its cuts the next line has many.
    if dump.len() <= 400 {
        assert_eq!(scan(how, dump, |_| 1), whole, "in pieces of one byte");
    }
    assert_eq!(scan(how, dump, |at| 1 + mixed(how, at) % 61), whole, "in pieces of different sizes");

    if let Ok((records, content)) = &whole {
        counts_agree(records, content);
        records.iter().for_each(|record| stands_there(record, dump));
        reads_back(records);
    }
    if dump.len() >= 64 && xxh3_128(data).is_multiple_of(64) {
        long_stream(how, dump);
    }
}

fn scanner(how: u8) -> Scanner {
    match how & 3 {
        0 => Scanner::new(Kind::Database),
        1 => Scanner::new(Kind::Globals),
        2 => Scanner::for_foreign(Kind::Database),
        _ => Scanner::for_foreign(Kind::Globals),
    }
}

fn scan(how: u8, dump: &[u8], length: impl Fn(usize) -> usize) -> Scanned {
    let mut scanner = scanner(how);
    let mut records = Vec::new();
    let mut at = 0;
    while at < dump.len() {
        let end = dump.len().min(at.saturating_add(length(at)));
        scanner.feed(&dump[at..end]).map_err(|error| super::shown(&error))?;
        records.extend(scanner.records());
        at = end;
    }
    let content = scanner.finish().map_err(|error| super::shown(&error))?;
    records.extend(scanner.records());
    Ok((records, content))
}

fn mixed(how: u8, at: usize) -> usize {
    (at + 1).wrapping_mul(0x9E37_79B9).rotate_left(u32::from(how))
}

fn counts_agree(records: &[Record], content: &Content) {
    let mut counted = Content { row_digest: content.row_digest.clone(), ..Content::default() };
    for record in records {
        match record {
            Record::Entry(_) => counted.entries += 1,
            Record::Table(table) => {
                counted.tables += 1;
                counted.rows += table.rows;
                counted.row_bytes += table.bytes;
            }
            Record::Sequence(_) => counted.sequences += 1,
            Record::LargeObject(object) => {
                counted.large_objects += 1;
                counted.large_object_bytes += object.bytes;
            }
            Record::Members(_) => panic!("a scanner knows no members"),
        }
    }
    assert_eq!(&counted, content);
}

/// Reads the same place once more, in the plainest way.
fn stands_there(record: &Record, dump: &[u8]) {
    match record {
        Record::Table(table) => rows_stand_there(table, dump),
        Record::Entry(entry) => {
            let first = dump[entry.offset as usize];
            assert!(!b" \t\r\n;".contains(&first), "{entry:?} begins with {first}");
        }
        Record::Sequence(_) | Record::LargeObject(_) | Record::Members(_) => {}
    }
}

fn rows_stand_there(table: &Table, dump: &[u8]) {
    let (front, rest) = dump.split_at(table.offset as usize);
    assert!(front.ends_with(b" FROM stdin;\n"), "{table:?}");
    let (rows, rest) = rest.split_at(table.bytes as usize);
    assert!(rest.starts_with(b"\\.\n"), "{table:?}");
    let lines: Vec<_> = rows.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len() as u64, table.rows, "{table:?}");
    let sum = lines.iter().fold(0_u128, |sum, line| sum.wrapping_add(xxh3_128(&line[..line.len() - 1])));
    assert_eq!(format!("{sum:032x}"), table.digest, "{table:?}");
    assert!(lines.iter().all(|line| *line != b"\\.\n"), "{table:?}");
}

fn reads_back(records: &[Record]) {
    let lines: String = records.iter().map(Record::line).collect();
    super::shows_nothing_that_acts(&lines);
    assert_eq!(lines.lines().count(), records.len());
    let mut reader = Reader::new(lines.as_bytes());
    for record in records {
        let read = reader.next_record().expect("what was printed can be read");
        assert_eq!(read.as_ref(), Some(record));
    }
}

fn long_stream(how: u8, dump: &[u8]) {
    let mut scanner = scanner(how);
    for _ in 0..LONG / dump.len() {
        if scanner.feed(dump).is_err() {
            return;
        }
        scanner.records().for_each(drop);
    }
    scanner.finish().map_or_else(drop, drop);
}
