//! The plain stream of a backup, from its start: of our own archives, or of whatever unpacks a foreign dump.

use super::rows::END;
use anyhow::{Result, ensure};
use common::backup::seek::Plain;
use std::io::Read;

/// A plain stream.
pub enum Stream<'a> {
    /// Of an archive that can be read anywhere.
    Ours(Plain<'a>),
    /// Of something that is read once, from its start.
    Foreign(Foreign<'a>),
}

/// What is read once.
pub struct Foreign<'a> {
    source: Box<dyn Read + 'a>,
    buffer: Vec<u8>,
    taken: usize,
    at: u64,
}

impl<'a> Stream<'a> {
    /// Of a source that is at its start.
    pub fn foreign(source: Box<dyn Read + 'a>) -> Self {
        Self::Foreign(Foreign { source, buffer: Vec::new(), taken: 0, at: 0 })
    }

    /// The offset of the next byte.
    pub fn offset(&self) -> u64 {
        match self {
            Self::Ours(plain) => plain.offset(),
            Self::Foreign(foreign) => foreign.at,
        }
    }

    /// The next bytes, as many as are at hand; empty at the end.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn fill(&mut self) -> Result<&[u8]> {
        match self {
            Self::Ours(plain) => plain.fill(),
            Self::Foreign(foreign) => {
                if foreign.taken == foreign.buffer.len() {
                    foreign.buffer.resize(1 << 20, 0);
                    let count = read(&mut foreign.source, &mut foreign.buffer)?;
                    foreign.buffer.truncate(count);
                    foreign.taken = 0;
                }
                Ok(&foreign.buffer[foreign.taken..])
            }
        }
    }

    /// Says how many of the bytes were used.
    pub fn consume(&mut self, count: usize) {
        match self {
            Self::Ours(plain) => plain.consume(count),
            Self::Foreign(foreign) => {
                foreign.taken += count;
                foreign.at += count as u64;
            }
        }
    }

    /// Goes on behind so many bytes, whoever else reads them.
    ///
    /// # Errors
    ///
    /// What the source says.
    pub fn skip(&mut self, count: u64) -> Result<()> {
        match self {
            Self::Ours(plain) => plain.skip(count),
            Self::Foreign(_) => self.pass(count, &mut |_| Ok(())),
        }
    }

    /// Hands over so many bytes.
    ///
    /// # Errors
    ///
    /// What the source or `take` says, an early end.
    pub fn pass(&mut self, count: u64, take: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut left = count;
        while left > 0 {
            common::interrupt::check()?;
            let piece = self.fill()?;
            ensure!(!piece.is_empty(), "the dump ends within rows");
            let piece = &piece[..piece.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
            take(piece)?;
            let count = piece.len();
            self.consume(count);
            left -= count as u64;
        }
        Ok(())
    }

    /// Reads the line that ends rows.
    ///
    /// # Errors
    ///
    /// Where something else stands there.
    pub fn rows_end(&mut self) -> Result<()> {
        let mut found = Vec::new();
        self.pass(END.len() as u64, &mut |piece| {
            found.extend_from_slice(piece);
            Ok(())
        })?;
        ensure!(found == END, "the rows do not end where the index says");
        Ok(())
    }
}

fn read(source: &mut dyn Read, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match source.read(buffer) {
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(anyhow::Error::new(error).context("cannot read the dump")),
        }
    }
}
