//! Does the archive hold what the index and the manifest say? Every member is inflated, every row hashed again.
//!
//! The same scanner that wrote the index reads the dump a second time, so the records must come out equal, one after the
//! other; neither side is held in memory.

use crate::seen::Seen;
use anyhow::{Context as _, Result, bail, ensure};
use common::backup::archive;
use common::backup::found::Found;
use common::backup::index::{Reader, Record};
use common::backup::manifest::{Content, Kind};
use common::backup::scan::Scanner;
use common::backup::stored;
use common::interrupt;
use common::progress::Progress;
use std::io::BufReader;

/// Checks the stored bytes and the content of a backup.
///
/// # Errors
///
/// The first thing that is not as recorded.
pub fn check(found: &Found, threads: usize, seen: &Seen) -> Result<()> {
    stored::check_small(found)?;
    let manifest = &found.manifest;
    let mut expected = found.index()?;
    let mut scanner = (manifest.kind != Kind::Stream).then(|| Scanner::new(manifest.kind).watch(seen.watch()));
    let mut progress = Progress::start(&manifest.subject, manifest.content.as_ref().map_or(0, |content| content.rows));
    let mut bytes = 0;

    let recorded = &manifest.archive;
    let (members, end) = found.members()?;
    let read = archive::read(recorded.codec, threads, found.open_archive()?, members, |piece| {
        interrupt::check()?;
        bytes += piece.len() as u64;
        ensure!(bytes <= recorded.plain_bytes, "the dump has more than the {} bytes recorded", recorded.plain_bytes);
        if let Some(scanner) = &mut scanner {
            scanner.feed(piece).context("the dump is damaged")?;
            scanner
                .records()
                .inspect(|record| seen.record(record))
                .try_for_each(|record| compare(&mut expected, &record))?;
        }
        progress.update(scanner.as_ref().map_or(0, Scanner::rows), bytes);
        Ok(())
    });
    end.failure()?;
    let totals = read?;
    let left = end.left();
    ensure!(left == 0, "the manifest says {} members, but the index lists {left} fewer", recorded.members);
    stored::compare(
        "the archive",
        (totals.stored_bytes, &totals.stored_sha256),
        (recorded.stored_bytes, &recorded.stored_sha256),
    )?;
    stored::compare(
        "the dump",
        (totals.plain_bytes, &totals.plain_sha256),
        (recorded.plain_bytes, &recorded.plain_sha256),
    )?;
    let content = match &mut scanner {
        None => None,
        Some(scanner) => {
            let content = scanner.finish()?;
            scanner
                .records()
                .inspect(|record| seen.record(record))
                .try_for_each(|record| compare(&mut expected, &record))?;
            Some(content)
        }
    };
    ensure_all_seen(&mut expected)?;
    compare_totals(content.as_ref(), manifest.content.as_ref())
}

/// Reads the archive again for its entries, with loose digests; what is damaged in it was found before, or will be.
///
/// # Errors
///
/// What is damaged all the same.
pub fn entries_loosely(found: &Found, threads: usize, mut each: impl FnMut(Record) + Send) -> Result<()> {
    let recorded = &found.manifest.archive;
    let mut scanner = Scanner::new(found.manifest.kind).loosely();
    let mut bytes = 0;
    let (members, end) = found.members()?;
    let read = archive::read(recorded.codec, threads, found.open_archive()?, members, |piece| {
        interrupt::check()?;
        bytes += piece.len() as u64;
        ensure!(bytes <= recorded.plain_bytes, "the dump has more than the {} bytes recorded", recorded.plain_bytes);
        scanner.feed(piece).context("the dump is damaged")?;
        scanner.records().for_each(&mut each);
        Ok(())
    });
    end.failure()?;
    read?;
    scanner.finish()?;
    scanner.records().for_each(each);
    Ok(())
}

type Index = Reader<BufReader<std::fs::File>>;

/// One record of the dump against the next one of the index.
fn compare(expected: &mut Index, record: &Record) -> Result<()> {
    let next = expected.next_record().context("the index is damaged")?;
    let Some(next) = next.filter(|next| !matches!(next, Record::Members(_))) else {
        bail!("the dump holds {}, which the index does not know", record.shown());
    };
    if next == *record {
        return Ok(());
    }
    if let (Record::Table(recorded), Record::Table(found)) = (&next, record)
        && (&recorded.schema, &recorded.name) == (&found.schema, &found.name)
    {
        ensure!(
            recorded.rows == found.rows,
            "{} holds {} rows, but {} were recorded",
            record.shown(),
            found.rows,
            recorded.rows
        );
        bail!("{} holds {} rows as recorded, but not the same ones, or from another place", record.shown(), found.rows);
    }
    bail!("the dump holds {}, where the index has {} or another digest", record.shown(), next.shown());
}

fn ensure_all_seen(expected: &mut Index) -> Result<()> {
    while let Some(record) = expected.next_record().context("the index is damaged")? {
        ensure!(matches!(record, Record::Members(_)), "{} is missing from the dump", record.shown());
    }
    Ok(())
}

fn compare_totals(found: Option<&Content>, recorded: Option<&Content>) -> Result<()> {
    let (found, recorded) = match (found, recorded) {
        (None, None) => return Ok(()),
        (Some(found), Some(recorded)) => (found, recorded),
        (Some(_), None) => bail!("the manifest says nothing about the content of the dump"),
        (None, Some(_)) => bail!("the manifest speaks of tables, but this is a stream"),
    };
    for ((what, found), (_, recorded)) in counts(found).into_iter().zip(counts(recorded)) {
        ensure!(found == recorded, "the dump holds {found} {what}, but the manifest says {recorded}");
    }
    ensure!(found.row_digest == recorded.row_digest, "the manifest names another method for the digests of rows");
    Ok(())
}

fn counts(content: &Content) -> [(&'static str, u64); 7] {
    let Content { entries, tables, rows, row_bytes, sequences, large_objects, large_object_bytes, row_digest: _ } =
        content;
    [
        ("entries", *entries),
        ("tables", *tables),
        ("rows", *rows),
        ("bytes of rows", *row_bytes),
        ("sequences", *sequences),
        ("large objects", *large_objects),
        ("bytes of large objects", *large_object_bytes),
    ]
}
