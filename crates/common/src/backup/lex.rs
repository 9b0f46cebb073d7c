//! Splits plain SQL as it streams by: statements, top-level comments, meta-commands, rows of COPY.
//!
//! It follows psql's own lexer in what ends a statement (quotes of every kind, dollar quotes, nested comments,
//! parentheses, `BEGIN ATOMIC` bodies), so that text inside a function body or a string is never taken for SQL. It holds
//! no more than the head of one statement, whatever the size of what passes. Source of the rules: PostgreSQL
//! documentation, "Lexical Structure"; psqlscan.l for `BEGIN ATOMIC`.

mod partial;
mod state;
mod words;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use memchr::memchr;
use partial::Partial;
use state::{State, is_word_byte, skip};
use words::Words;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// How much of a statement is kept for reading. A COPY of 1,600 columns with names of 63 quotes stays below it.
const HEAD: usize = 256 * 1024;
/// How much of a comment line or a meta-command is kept; an entry's header is far shorter.
const LINE: usize = 16 * 1024;

/// What follows a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Sql,
    /// The statement was a COPY FROM stdin: its rows follow.
    Rows,
}

/// One statement, from its first byte to its semicolon.
pub(super) struct Statement<'a> {
    /// Its text, complete unless `is_cut`.
    pub(super) text: &'a [u8],
    /// It is longer than what is kept.
    pub(super) is_cut: bool,
    /// XXH3-128 of all of it.
    pub(super) hash: u128,
    /// Offset in the stream just behind the semicolon.
    pub(super) end: u64,
    /// The line in which it begins, from 1.
    pub(super) line: u64,
}

/// Who is told what was found.
pub(super) trait Sink {
    /// The text behind `--` of a comment line outside statements.
    fn comment(&mut self, text: &[u8]) -> Result<()>;
    /// A line outside statements that starts with a backslash, without it.
    fn meta(&mut self, line: &[u8]) -> Result<()>;
    fn statement(&mut self, statement: &Statement<'_>) -> Result<Next>;
    /// One row: the XXH3-128 and the length of its line without the newline.
    fn row(&mut self, hash: u128, length: u64);
    /// The line `\.`; the offset in the stream is that of its first byte.
    fn rows_end(&mut self, offset: u64) -> Result<()>;
}

/// The state between two pieces of the stream.
pub(super) struct Lexer {
    state: State,
    /// Bytes of the stream before the piece at hand.
    base: u64,
    line: u64,
    /// A statement is open.
    open: bool,
    /// Where it began.
    open_line: u64,
    head: Vec<u8>,
    /// How much of a statement is kept.
    keep: usize,
    is_cut: bool,
    hash: Xxh3,
    parentheses: u32,
    words: Words,
    /// The last two bytes in `State::Sql`, to tell E'…' and a$b from quotes.
    last: [u8; 2],
    /// Only blanks since an E'…' ended: behind a newline among them the next quote goes on with the same string.
    continues: Option<Continues>,
    /// Comment, meta-command or dollar tag being collected.
    text: Vec<u8>,
    at_line_start: bool,
    /// The start of a row whose end is in a later piece.
    partial: Option<Partial>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Continues {
    AfterNewline,
    OnThisLine,
}

impl Lexer {
    pub(super) fn new() -> Self {
        Self::keeping(HEAD)
    }

    /// A lexer that keeps this much of a statement.
    pub(super) fn keeping(keep: usize) -> Self {
        Self {
            keep,
            state: State::Sql,
            base: 0,
            line: 1,
            open: false,
            open_line: 1,
            head: Vec::new(),
            is_cut: false,
            hash: Xxh3::new(),
            parentheses: 0,
            words: Words::default(),
            last: [b'\n'; 2],
            continues: None,
            text: Vec::new(),
            at_line_start: true,
            partial: None,
        }
    }

    /// The line that is being read, from 1.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Whether the stream may end here: nothing is open.
    pub(super) fn is_at_rest(&self) -> bool {
        let between = matches!(self.state, State::Sql | State::Comment { top: true } | State::Meta);
        between && !self.open
    }

    /// The error, with where the open statement began.
    pub(super) fn unended(&self, error: Error) -> Error {
        if self.open { words::unended(error, self.open_line, self.words.depth > 0) } else { error }
    }

    /// Takes the next piece of the stream, of any length.
    pub(super) fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) -> Result<()> {
        let mut at = 0;
        while at < piece.len() {
            at = match self.state {
                State::RowsStart => self.rows_start(piece, at)?,
                State::Rows => self.rows(piece, at, sink)?,
                _ => self.sql(piece, at, sink)?,
            };
        }
        self.base += piece.len() as u64;
        Ok(())
    }

    /// Takes SQL up to the end of the piece, or to where the rows of a COPY begin: how many bytes were taken.
    ///
    /// The rows are the caller's, who then says [`Lexer::rows_passed`].
    pub(super) fn feed_sql(&mut self, piece: &[u8], sink: &mut impl Sink) -> Result<usize> {
        let mut at = 0;
        while at < piece.len() && self.state != State::Rows {
            at = match self.state {
                State::RowsStart => self.rows_start(piece, at)?,
                _ => self.sql(piece, at, sink)?,
            };
        }
        self.base += at as u64;
        Ok(at)
    }

    /// Whether the next byte is one of a COPY's rows.
    pub(super) fn is_at_rows(&self) -> bool {
        self.state == State::Rows
    }

    /// The rows of a COPY and the line `\.` behind them went another way.
    pub(super) fn rows_passed(&mut self, bytes: u64, lines: u64) {
        self.base += bytes;
        self.line += lines;
        self.state = State::Sql;
        self.at_line_start = true;
        self.last = [b'\n'; 2];
    }

    /// Tells of a comment or meta-command that the stream ended in without a newline.
    pub(super) fn finish(&mut self, sink: &mut impl Sink) -> Result<()> {
        match self.state {
            State::Comment { top: true } => sink.comment(&self.text),
            State::Meta => sink.meta(&self.text),
            _ => Ok(()),
        }
    }

    fn rows_start(&mut self, piece: &[u8], at: usize) -> Result<usize> {
        if piece[at] != b'\n' {
            bail!("line {}: text behind COPY … FROM stdin;", self.line);
        }
        self.line += 1;
        self.state = State::Rows;
        Ok(at + 1)
    }

    fn rows(&mut self, piece: &[u8], mut at: usize, sink: &mut impl Sink) -> Result<usize> {
        while let Some(length) = memchr(b'\n', &piece[at..]) {
            let line = &piece[at..at + length];
            let start = self.base + at as u64;
            at += length + 1;
            self.line += 1;
            match self.partial.take() {
                None if line == b"\\." => return self.rows_done(sink, start, at),
                None => sink.row(xxh3_128(line), length as u64),
                Some(mut row) => {
                    row.push(line);
                    if row.length == 2 && &row.start == b"\\." {
                        return self.rows_done(sink, start + length as u64 - 2, at);
                    }
                    sink.row(row.hash.digest128(), row.length);
                }
            }
        }
        if at < piece.len() {
            self.partial.get_or_insert_with(Partial::new).push(&piece[at..]);
        }
        Ok(piece.len())
    }

    fn rows_done(&mut self, sink: &mut impl Sink, offset: u64, at: usize) -> Result<usize> {
        self.state = State::Sql;
        self.at_line_start = true;
        self.last = [b'\n'; 2];
        sink.rows_end(offset)?;
        Ok(at)
    }

    /// Reads SQL up to the end of the piece, or to where rows begin.
    fn sql(&mut self, piece: &[u8], start: usize, sink: &mut impl Sink) -> Result<usize> {
        // Bytes from here on belong to the open statement and are not collected yet.
        let mut from = start;
        let mut at = start;
        while at < piece.len() {
            at += skip(self.state, &piece[at..]);
            let Some(&byte) = piece.get(at) else { break };
            match self.state {
                State::Sql => {
                    if self.plain(byte)? {
                        from = at;
                    }
                    if byte == b';' && self.ends_statement() {
                        self.collect(&piece[from..=at]);
                        at += 1;
                        from = at;
                        if self.end_statement(sink, at)? == Next::Rows {
                            return Ok(at);
                        }
                        continue;
                    }
                }
                State::Dash | State::Slash => {
                    if self.second(byte) {
                        // The first of the two was held back because it could have begun a comment.
                        from = at;
                    }
                    if self.state == State::Sql {
                        continue; // not a comment: look at the byte as SQL
                    }
                }
                State::Comment { .. } | State::Meta if byte == b'\n' => self.line_done(sink)?,
                State::Comment { top: true } | State::Meta if self.text.len() < LINE => self.text.push(byte),
                State::Comment { .. } | State::Meta => {}
                _ => {
                    if !self.inside(byte) {
                        continue; // the byte behind the quotes: look at it as SQL
                    }
                }
            }
            if byte == b'\n' {
                self.line += 1;
            }
            at += 1;
        }
        if self.open && from < piece.len() {
            self.collect(&piece[from..]);
        }
        Ok(piece.len())
    }

    /// The end of a comment line or a meta-command.
    fn line_done(&mut self, sink: &mut impl Sink) -> Result<()> {
        self.at_line_start = true;
        match std::mem::replace(&mut self.state, State::Sql) {
            State::Meta => sink.meta(&self.text).with_context(|| format!("line {}", self.line)),
            State::Comment { top: true } => sink.comment(&self.text),
            _ => Ok(()),
        }
    }

    /// A byte outside quotes and comments; true where it opens a statement.
    fn plain(&mut self, byte: u8) -> Result<bool> {
        let is_word =
            byte == b'_' || byte >= 0x80 || byte.is_ascii_alphanumeric() || (byte == b'$' && self.words.is_inside());
        if !is_word {
            self.words.end(self.parentheses);
        }
        let line_start = std::mem::replace(&mut self.at_line_start, byte == b'\n');
        if byte.is_ascii_whitespace() {
            self.last = [self.last[1], byte];
            if byte == b'\n' && self.continues.is_some() {
                self.continues = Some(Continues::AfterNewline);
            }
            return Ok(false);
        }
        let continued = self.continues.take() == Some(Continues::AfterNewline);
        match byte {
            b'-' if !self.open => self.state = State::Dash,
            b'/' if !self.open => self.state = State::Slash,
            b'\\' if !self.open && line_start => {
                self.text.clear();
                self.state = State::Meta;
            }
            b'\\' => {
                return Err(self.unended(anyhow!("line {}: a backslash outside quotes and rows", self.line)));
            }
            b'-' => self.state = State::Dash,
            b'/' => self.state = State::Slash,
            b'\'' => {
                let escape = continued || matches!(self.last[1], b'e' | b'E') && !is_word_byte(self.last[0]);
                self.state = State::Quote { escape, skip: false };
            }
            b'"' => self.state = State::Identifier,
            b'$' if !is_word => {
                self.text.clear();
                self.text.push(b'$');
                self.state = State::Tag;
            }
            b'(' => self.parentheses += 1,
            b')' => self.parentheses = self.parentheses.saturating_sub(1),
            _ if is_word => self.words.push(byte),
            _ => {}
        }
        self.last = [self.last[1], byte];
        let is_held = matches!(self.state, State::Dash | State::Slash | State::Meta);
        if self.open || is_held || byte == b';' {
            return Ok(false);
        }
        self.open_statement();
        Ok(true)
    }

    /// The byte after `-` or `/`; true where bytes of an open statement start again at this byte.
    fn second(&mut self, byte: u8) -> bool {
        let first = if self.state == State::Dash { b'-' } else { b'/' };
        match (first, byte) {
            (b'-', b'-') => {
                self.text.clear();
                self.state = State::Comment { top: !self.open };
                false
            }
            (b'/', b'*') => {
                self.state = State::Block { depth: 1, before: 0 };
                false
            }
            _ => {
                self.state = State::Sql;
                if self.open {
                    return false;
                }
                self.open_statement();
                self.collect(&[first]);
                true
            }
        }
    }

    /// A byte inside quotes or a block comment; false where it must be looked at again outside.
    fn inside(&mut self, byte: u8) -> bool {
        self.state = match self.state {
            State::Quote { escape, skip: true } => State::Quote { escape, skip: false },
            State::Quote { escape: true, .. } if byte == b'\\' => State::Quote { escape: true, skip: true },
            State::Quote { escape, .. } if byte == b'\'' => State::QuoteEnd { escape },
            State::QuoteEnd { escape } if byte == b'\'' => State::Quote { escape, skip: false },
            State::QuoteEnd { escape } => {
                self.state = State::Sql;
                self.continues = escape.then_some(Continues::OnThisLine);
                self.last = [b'\''; 2];
                return false;
            }
            State::Identifier if byte == b'"' => {
                self.last = [b'"'; 2];
                State::Sql
            }
            State::Tag => return self.tag(byte),
            State::Dollar { matched } => self.dollar(byte, matched),
            State::Block { depth, before } => match (before, byte) {
                (b'*', b'/') if depth == 1 => State::Sql,
                (b'*', b'/') => State::Block { depth: depth - 1, before: 0 },
                (b'/', b'*') => State::Block { depth: depth.saturating_add(1), before: 0 },
                _ => State::Block { depth, before: byte },
            },
            other => other,
        };
        true
    }

    fn tag(&mut self, byte: u8) -> bool {
        let is_first = self.text.len() == 1;
        if byte == b'$' {
            self.text.push(byte);
            self.state = State::Dollar { matched: 0 };
            return true;
        }
        let fits = byte == b'_' || byte >= 0x80 || byte.is_ascii_alphabetic() || (!is_first && byte.is_ascii_digit());
        if fits && self.text.len() < LINE {
            self.text.push(byte);
            return true;
        }
        // `$1` and the like: a parameter, not a quote.
        self.state = State::Sql;
        self.last = [b'$'; 2];
        false
    }

    fn dollar(&mut self, byte: u8, matched: usize) -> State {
        if self.text[matched] == byte {
            if matched + 1 == self.text.len() {
                self.last = [b'$'; 2];
                return State::Sql;
            }
            return State::Dollar { matched: matched + 1 };
        }
        // A tag holds no `$` but its first and last byte, so a mismatch can only begin anew at this byte.
        State::Dollar { matched: usize::from(byte == b'$') }
    }

    fn open_statement(&mut self) {
        self.open = true;
        self.open_line = self.line;
        self.is_cut = false;
        self.head.clear();
        self.hash.reset();
    }

    fn collect(&mut self, bytes: &[u8]) {
        if !self.open {
            return;
        }
        let room = self.keep - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.is_cut |= bytes.len() > room;
        self.hash.update(bytes);
    }

    fn ends_statement(&self) -> bool {
        self.parentheses == 0 && self.words.depth == 0
    }

    fn end_statement(&mut self, sink: &mut impl Sink, at: usize) -> Result<Next> {
        self.words = Words::default();
        self.parentheses = 0;
        self.last = [b';'; 2];
        if !std::mem::replace(&mut self.open, false) {
            return Ok(Next::Sql);
        }
        let next = sink.statement(&Statement {
            text: &self.head,
            is_cut: self.is_cut,
            hash: self.hash.digest128(),
            end: self.base + at as u64,
            line: self.open_line,
        })?;
        if next == Next::Rows {
            self.state = State::RowsStart;
        }
        Ok(next)
    }
}
