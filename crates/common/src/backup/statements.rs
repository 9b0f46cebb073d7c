//! The statements of a dump, one after the other and whole, for a restore that sends them to a server.
//!
//! The same lexer as the scanner's, so what was recorded and what is carried out are cut at the same places. Rows are
//! not read here: where they begin, the caller takes over.

use super::lex::{Lexer, Next, Sink, Statement};
use super::scan::{Header, Restrict};
use anyhow::{Result, anyhow, bail, ensure};

/// The longest statement that is held; PostgreSQL takes one of 1 GiB, pg_dump writes function bodies and `INSERT`s.
const LONGEST: usize = 256 << 20;

/// What comes behind a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// More SQL.
    Sql,
    /// It was a `COPY … FROM stdin`: its rows.
    Rows,
}

/// Who gets the statements.
pub trait Visitor {
    /// The entry that the next statements belong to.
    fn header(&mut self, header: Header) -> Result<()>;
    /// A statement from its first byte to its semicolon, and the line in which it begins.
    fn statement(&mut self, text: &[u8], line: u64) -> Result<Then>;
}

/// Cuts the SQL of a dump into statements.
pub struct Splitter {
    lexer: Lexer,
    restrict: Restrict,
}

impl Splitter {
    /// At the start of a dump, or at the start of any statement of it that does not stand in a `\restrict` of its own.
    pub fn new() -> Self {
        Self { lexer: Lexer::keeping(LONGEST), restrict: Restrict::default() }
    }

    /// Takes SQL: how many bytes of it were taken; less than all where rows begin.
    ///
    /// # Errors
    ///
    /// What the visitor says, and text that pg_dump does not write: a meta-command, a backslash outside quotes.
    pub fn feed(&mut self, piece: &[u8], visitor: &mut impl Visitor) -> Result<usize> {
        let mut parts = Parts { visitor, restrict: &mut self.restrict };
        self.lexer.feed_sql(piece, &mut parts)
    }

    /// Whether rows come next.
    pub fn is_at_rows(&self) -> bool {
        self.lexer.is_at_rows()
    }

    /// The rows, and the line `\.` behind them, went another way; with how many bytes and lines.
    pub fn rows_passed(&mut self, bytes: u64, lines: u64) {
        self.lexer.rows_passed(bytes, lines);
    }

    /// The end of the dump.
    ///
    /// # Errors
    ///
    /// "the dump is cut off".
    pub fn finish(&mut self, visitor: &mut impl Visitor) -> Result<()> {
        let mut parts = Parts { visitor, restrict: &mut self.restrict };
        self.lexer.finish(&mut parts)?;
        let line = self.lexer.line();
        ensure!(self.lexer.is_at_rest() && !self.restrict.is_open(), "the dump is cut off, line {line}");
        Ok(())
    }

    /// The line that is being read, from 1.
    pub fn line(&self) -> u64 {
        self.lexer.line()
    }
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

struct Parts<'a, V> {
    visitor: &'a mut V,
    restrict: &'a mut Restrict,
}

impl<V: Visitor> Sink for Parts<'_, V> {
    fn comment(&mut self, text: &[u8]) -> Result<()> {
        Header::read(text).map_or(Ok(()), |header| self.visitor.header(header))
    }

    fn meta(&mut self, line: &[u8]) -> Result<()> {
        if line.starts_with(b"connect ") {
            return Err(crate::hint::with(
                anyhow!("the dump changes to another database by itself: \\connect"),
                "it was made with pg_dump --create or pg_dumpall; make one without, or restore it by hand with psql",
            ));
        }
        self.restrict.line(line)
    }

    fn statement(&mut self, statement: &Statement<'_>) -> Result<Next> {
        ensure!(!statement.is_cut, "line {}: a statement of more than {LONGEST} bytes", statement.line);
        Ok(match self.visitor.statement(statement.text, statement.line)? {
            Then::Sql => Next::Sql,
            Then::Rows => Next::Rows,
        })
    }

    fn row(&mut self, _hash: u128, _length: u64) {}

    fn rows_end(&mut self, _offset: u64) -> Result<()> {
        bail!("rows where none were announced")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Vec<String>);

    impl Visitor for Seen {
        fn header(&mut self, header: Header) -> Result<()> {
            self.0.push(format!("-- {} {}.{}", header.kind, header.schema, header.name));
            Ok(())
        }

        fn statement(&mut self, text: &[u8], line: u64) -> Result<Then> {
            let text = String::from_utf8_lossy(text).into_owned();
            let then = if text.starts_with("COPY") { Then::Rows } else { Then::Sql };
            self.0.push(format!("{line}: {text}"));
            Ok(then)
        }
    }

    const DUMP: &str = "\\restrict abc\n-- Name: t; Type: TABLE; Schema: s; Owner: o\nCREATE TABLE s.t (a text DEFAULT ';');\n\
        COPY s.t (a) FROM stdin;\n;x\n\\.\nSELECT 1;\n\\unrestrict abc\n";

    #[test]
    fn statements_come_whole_and_rows_are_left_to_the_caller() {
        let mut splitter = Splitter::new();
        let mut seen = Seen::default();

        let taken = splitter.feed(DUMP.as_bytes(), &mut seen).unwrap();

        assert!(splitter.is_at_rows());
        assert!(DUMP[taken..].starts_with(";x\n"));
        splitter.rows_passed(6, 2);
        splitter.feed(&DUMP.as_bytes()[taken + 6..], &mut seen).unwrap();
        splitter.finish(&mut seen).unwrap();
        assert_eq!(
            seen.0,
            [
                "-- TABLE s.t",
                "3: CREATE TABLE s.t (a text DEFAULT ';');",
                "4: COPY s.t (a) FROM stdin;",
                "7: SELECT 1;"
            ]
        );
    }

    #[test]
    fn a_dump_that_connects_elsewhere_is_told_how_to_make_another() {
        let error = Splitter::new().feed(b"\\connect app\n", &mut Seen::default()).unwrap_err();

        assert!(crate::hint::of(&error).iter().any(|hint| hint.contains("--create")), "{error:#}");
    }
}
