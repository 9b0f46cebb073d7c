//! Which parts of the stream are rows, and how a part of them is handed to a COPY.

use anyhow::{Context as _, Result, ensure};
use common::backup::index::Table;
use common::backup::seek::{Plain, Seekable};
use std::ops::Range;

/// What stands behind the rows of a COPY.
pub const END: &[u8] = b"\\.\n";

/// Smaller tables are not worth a transaction, and the fsync of a new file.
const LARGE: u64 = 1 << 20;

/// The rows of a table as the index has them: a hint from outside, checked before it is used (THREATS R5).
#[derive(Clone, Debug)]
pub struct Block {
    /// The table.
    pub table: Table,
    /// Where its rows lie in the plain stream.
    pub range: Range<u64>,
}

/// The blocks in the order of the stream.
///
/// # Errors
///
/// Blocks that overlap or lie outside of the stream.
pub fn blocks(tables: impl IntoIterator<Item = Table>, plain_bytes: u64) -> Result<Vec<Block>> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut before = 0;
    for table in tables {
        let end = table.offset.checked_add(table.bytes).filter(|end| *end <= plain_bytes);
        let range = table.offset..end.with_context(|| format!("table {} lies outside of the dump", shown(&table)))?;
        ensure!(range.start >= before, "table {} overlaps with the one before it", shown(&table));
        before = range.end;
        blocks.push(Block { table, range });
    }
    Ok(blocks)
}

/// Whether a file of its own is worth the while of a transaction.
pub fn is_large(range: &Range<u64>) -> bool {
    range.end - range.start >= LARGE
}

/// A table for messages.
pub fn shown(table: &Table) -> String {
    format!("{}.{}", table.schema, table.name)
}

/// Cuts a block into parts of about `size` bytes, at members.
pub fn cut(archive: &Seekable, block: &Block, size: u64) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut start = block.range.start;
    for at in archive.starts_within(block.range.clone()) {
        if at - start >= size && block.range.end - at >= size / 2 {
            parts.push(start..at);
            start = at;
        }
    }
    parts.push(start..block.range.end);
    parts
}

/// Hands over the lines of a block that begin within a part of it.
///
/// A member ends with a line, unless a line is longer than a member; so the last line of a part may end behind it, and
/// the part after it begins behind that line.
///
/// # Errors
///
/// What the archive says, what `send` says, a block that ends within a line.
pub fn send(
    archive: &Seekable,
    block: &Range<u64>,
    part: &Range<u64>,
    send: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    if part.is_empty() {
        return Ok(());
    }
    let mut plain = if part.start == block.start {
        archive.reader(part.start)?
    } else {
        let mut plain = archive.reader(part.start - 1)?;
        pass_line(&mut plain, block.end)?;
        plain
    };
    let mut last = b'\n';
    while plain.offset() < part.end || last != b'\n' {
        common::interrupt::check()?;
        let left = block.end.saturating_sub(plain.offset());
        let within = part.end.saturating_sub(plain.offset());
        let piece = plain.fill()?;
        let piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        ensure!(!piece.is_empty(), "the rows end within a line");
        let piece = match usize::try_from(within) {
            Ok(0) => memchr::memchr(b'\n', piece).map_or(piece, |at| &piece[..=at]),
            Ok(within) => &piece[..piece.len().min(within)],
            Err(_) => piece,
        };
        send(piece)?;
        last = piece[piece.len() - 1];
        let count = piece.len();
        plain.consume(count);
    }
    Ok(())
}

/// Goes behind the end of the line.
fn pass_line(plain: &mut Plain<'_>, limit: u64) -> Result<()> {
    loop {
        let left = limit.saturating_sub(plain.offset());
        let piece = plain.fill()?;
        let piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        if piece.is_empty() {
            return Ok(());
        }
        if let Some(at) = memchr::memchr(b'\n', piece) {
            plain.consume(at + 1);
            return Ok(());
        }
        let count = piece.len();
        plain.consume(count);
    }
}
