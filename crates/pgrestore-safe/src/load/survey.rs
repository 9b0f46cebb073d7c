//! Reads the statements of a dump without a server: whether all of them pass, before anything is made.

use super::rows;
use crate::gate::{self, Class};
use crate::select::Source;
use crate::target::Target;
use anyhow::{Context as _, Result, ensure};
use common::backup::names::Names;
use common::backup::scan::Header;
use common::backup::statements::{Splitter, Then, Visitor};

/// What the statements of a dump ask for.
#[derive(Debug, Default)]
pub struct Survey {
    /// Whether the dump says who owns things; one made with --no-owner does not.
    pub has_owners: bool,
    /// Statements that the operator's own session carries out, because only a superuser may.
    pub by_superuser: u64,
    /// Roles that the statements name, also where they own nothing.
    pub names: Names,
}

/// Reads all statements; rows are passed over.
///
/// # Errors
///
/// The first statement that does not pass, rows that are not where the index says.
pub fn survey(source: &Source, target: &Target) -> Result<Survey> {
    let blocks = rows::blocks(source.tables().to_vec(), source.plain_bytes())?;
    let mut stream = source.stream(target)?;
    let mut survey = Survey::default();
    let mut splitter = Splitter::new();
    let mut blocks = blocks.iter();
    loop {
        common::interrupt::check()?;
        if splitter.is_at_rows() {
            let block = blocks.next().filter(|block| block.range.start == stream.offset());
            let block =
                block.with_context(|| format!("line {}: rows that the index does not know", splitter.line()))?;
            let bytes = block.range.end - block.range.start;
            stream.skip(bytes)?;
            stream.rows_end()?;
            splitter.rows_passed(bytes + rows::END.len() as u64, block.table.rows + 1);
            continue;
        }
        let piece = stream.fill()?;
        if piece.is_empty() {
            break;
        }
        let taken = splitter.feed(piece, &mut survey)?;
        stream.consume(taken);
    }
    splitter.finish(&mut survey)?;
    ensure!(blocks.next().is_none(), "the index knows rows that the dump does not hold");
    Ok(survey)
}

impl Visitor for Survey {
    fn header(&mut self, _header: Header) -> Result<()> {
        Ok(())
    }

    fn statement(&mut self, text: &[u8], line: u64) -> Result<Then> {
        self.names.look_at(text);
        match gate::class(text).with_context(|| format!("line {line}"))? {
            Class::Rows => return Ok(Then::Rows),
            Class::Owner => self.has_owners = true,
            Class::Admin | Class::Last => self.by_superuser += 1,
            Class::Settled | Class::Context | Class::Load | Class::Value | Class::Comment | Class::Grant => {}
        }
        Ok(Then::Sql)
    }
}
