//! Reads a plain dump as it streams by, once: entries, tables, rows, sequences, large objects, the end marker.
//!
//! The dump is what pg_dump or pg_dumpall writes. Of every table it takes rows, bytes and a digest that does not depend
//! on the order of rows: the sum modulo 2^128 of the rows' XXH3-128. Of every other entry it takes a digest of its
//! statements, of every sequence its value, of every large object its bytes. Two databases whose records are equal hold
//! the same; a lost index, sequence value or large object shows as well as a lost row.

use super::index::{Entry, LargeObject, Record, Sequence, Table};
use super::lex::{Lexer, Next, Sink, Statement};
use super::loose::normal_form;
use super::manifest::{Content, Kind};
use crate::text;
use anyhow::{Context as _, Result, anyhow, bail};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// The name of the method of the row digests, recorded in every manifest.
pub const ROW_DIGEST: &str = "xxh3-128-sum";

/// A scanner in the middle of a dump.
pub struct Scanner {
    lexer: Lexer,
    reader: Reader,
}

impl Scanner {
    /// A scanner for the dump of a database or of the globals; a [`Kind::Stream`] has no structure to scan.
    pub fn new(kind: Kind) -> Self {
        Self { lexer: Lexer::new(), reader: Reader::new(kind) }
    }

    /// A scanner for a dump that others made: `\connect` may stand in it, as pg_dumpall and `pg_dump --create` write it.
    pub fn for_foreign(kind: Kind) -> Self {
        let mut scanner = Self::new(kind);
        scanner.reader.may_connect = true;
        scanner
    }

    /// Has every statement shown to the function, without what is longer than 256 KiB of it.
    pub fn watch(mut self, watch: impl FnMut(&[u8]) + Send + 'static) -> Self {
        self.reader.watch = Some(Box::new(watch));
        self
    }

    /// Takes the digests of entries without what a server may word differently: the sum of its statements, without casts,
    /// parentheses and blanks. They are no digests for an index.
    pub fn loosely(mut self) -> Self {
        self.reader.loose = Some(0);
        self
    }

    /// Takes the next piece of the dump, of any length.
    ///
    /// # Errors
    ///
    /// Where the text is not what pg_dump writes: a meta-command, a backslash outside quotes, a COPY that is not from
    /// stdin. The message starts with the line.
    pub fn feed(&mut self, piece: &[u8]) -> Result<()> {
        self.lexer.feed(piece, &mut self.reader)
    }

    /// What was found since the last call.
    pub fn records(&mut self) -> std::vec::Drain<'_, Record> {
        self.reader.records.drain(..)
    }

    /// Rows so far, for a progress bar.
    pub fn rows(&self) -> u64 {
        let open = self.reader.table.as_ref().map_or(0, |table| table.rows);
        self.reader.content.rows + open
    }

    /// Says whether the dump is complete and what it held; call [`Scanner::records`] once more afterwards.
    ///
    /// # Errors
    ///
    /// "the dump is cut off …" where the end marker is missing or something is open.
    pub fn finish(&mut self) -> Result<Content> {
        self.lexer.finish(&mut self.reader)?;
        let line = self.lexer.line();
        if let Some(table) = &self.reader.table {
            bail!("the dump is cut off in the rows of table {}, line {line}", table.shown());
        }
        if !self.lexer.is_at_rest() {
            let error = anyhow!("the dump is cut off, line {line}");
            return Err(self.lexer.unended(error));
        }
        if !self.reader.is_complete {
            bail!("the dump is cut off: its end marker is missing, line {line}");
        }
        if self.reader.restrict.is_open() {
            bail!("the dump is cut off: \\restrict without \\unrestrict, line {line}");
        }
        self.reader.close_entry();
        Ok(self.reader.content.clone())
    }
}

/// Who is shown every statement.
type Watch = Box<dyn FnMut(&[u8]) + Send>;

/// What the pieces mean.
struct Reader {
    kind: Kind,
    records: Vec<Record>,
    content: Content,
    entry: OpenEntry,
    /// The table whose rows are passing by.
    table: Option<OpenTable>,
    large_object: Option<OpenLargeObject>,
    /// `SET default_tablespace` and `default_table_access_method` stand before the entry they are for, and only where
    /// they change; so the value counts, not the statement.
    tablespace: Vec<u8>,
    access_method: Vec<u8>,
    restrict: Restrict,
    /// `\connect` is no surprise.
    may_connect: bool,
    watch: Option<Watch>,
    /// The sum over the open entry, where digests are taken loosely.
    loose: Option<u128>,
    is_complete: bool,
}

struct OpenEntry {
    kind: String,
    schema: String,
    name: String,
    owner: String,
    offset: u64,
    statements: u64,
    hash: Xxh3,
}

struct OpenTable {
    schema: String,
    name: String,
    columns: String,
    offset: u64,
    rows: u64,
    bytes: u64,
    sum: u128,
}

struct OpenLargeObject {
    oid: u64,
    bytes: u64,
    hash: Xxh3,
}

impl OpenTable {
    fn shown(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

impl Reader {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            records: Vec::new(),
            content: Content { row_digest: ROW_DIGEST.to_owned(), ..Content::default() },
            entry: OpenEntry::new("SETTINGS", "", "", ""),
            table: None,
            large_object: None,
            tablespace: Vec::new(),
            access_method: Vec::new(),
            restrict: Restrict::default(),
            may_connect: false,
            watch: None,
            loose: None,
            is_complete: false,
        }
    }

    fn close_entry(&mut self) {
        let next = OpenEntry::new("", "", "", "");
        let entry = std::mem::replace(&mut self.entry, next);
        if entry.statements == 0 {
            return;
        }
        self.content.entries += 1;
        self.records.push(Record::Entry(Entry {
            kind: entry.kind,
            schema: entry.schema,
            name: entry.name,
            owner: entry.owner,
            offset: entry.offset,
            statements: entry.statements,
            digest: format!("{:032x}", self.loose.as_mut().map_or_else(|| entry.hash.digest128(), std::mem::take)),
        }));
    }

    fn open_entry(&mut self, entry: OpenEntry) {
        self.close_entry();
        self.entry = entry;
        for setting in [&self.tablespace, &self.access_method] {
            self.entry.hash.update(setting);
            self.entry.hash.update(b"\0");
        }
    }

    fn marker(&self) -> &'static [u8] {
        match self.kind {
            Kind::Database | Kind::Stream => b" PostgreSQL database dump complete",
            Kind::Globals => b" PostgreSQL database cluster dump complete",
        }
    }

    fn large_object(&mut self, text: &[u8]) -> Result<()> {
        if let Some(rest) = text.strip_prefix(b"SELECT pg_catalog.lo_open('") {
            let oid = number(rest).context("a large object without a number")?;
            self.large_object = Some(OpenLargeObject { oid, bytes: 0, hash: Xxh3::new() });
        } else if let Some(rest) = text.strip_prefix(b"SELECT pg_catalog.lowrite(0, '\\x") {
            let object = self.large_object.as_mut().context("large object data without lo_open")?;
            let end = memchr::memchr(b'\'', rest).unwrap_or(rest.len());
            object.bytes += end as u64 / 2;
            object.hash.update(&rest[..end]);
        } else if text.starts_with(b"SELECT pg_catalog.lo_close(")
            && let Some(object) = self.large_object.take()
        {
            self.content.large_objects += 1;
            self.content.large_object_bytes += object.bytes;
            self.records.push(Record::LargeObject(LargeObject {
                oid: object.oid,
                bytes: object.bytes,
                digest: format!("{:032x}", object.hash.digest128()),
            }));
        }
        Ok(())
    }

    fn take(&mut self, statement: &Statement<'_>) -> Result<Next> {
        let text = statement.text;
        self.is_complete = false;
        if let Some(watch) = &mut self.watch {
            watch(text);
        }
        if let Some(value) = text.strip_prefix(b"SET default_tablespace = ") {
            self.tablespace = value.to_owned();
            return Ok(Next::Sql);
        }
        if let Some(value) = text.strip_prefix(b"SET default_table_access_method = ") {
            self.access_method = value.to_owned();
            return Ok(Next::Sql);
        }
        if text.starts_with(b"SET standard_conforming_strings = off") {
            bail!("the dump was made with standard_conforming_strings = off, which changes what a quote means");
        }
        if self.entry.statements == 0 {
            self.entry.offset = statement.end - text.len() as u64;
        }
        self.entry.statements += 1;
        self.entry.hash.update(&statement.hash.to_le_bytes());
        if let Some(sum) = &mut self.loose {
            let hash = if statement.is_cut { statement.hash } else { xxh3_128(&normal_form(text)) };
            *sum = sum.wrapping_add(hash);
        }
        if let Some(rest) = text.strip_prefix(b"COPY ") {
            let table = (!statement.is_cut)
                .then(|| OpenTable::from_copy(rest, statement.end + 1))
                .flatten()
                .with_context(|| format!("a COPY that is not FROM stdin: {}", start_of(text)))?;
            self.table = Some(table);
            return Ok(Next::Rows);
        }
        if let Some(rest) = text.strip_prefix(b"SELECT pg_catalog.setval(") {
            let sequence = sequence(rest).with_context(|| format!("cannot read {}", start_of(text)))?;
            self.content.sequences += 1;
            self.records.push(Record::Sequence(sequence));
        } else if text.starts_with(b"SELECT pg_catalog.lo") {
            self.large_object(text)?;
        }
        Ok(Next::Sql)
    }
}

impl Sink for Reader {
    fn comment(&mut self, text: &[u8]) -> Result<()> {
        if text == self.marker() {
            self.close_entry();
            self.is_complete = true;
        } else if let Some(entry) = OpenEntry::from_header(text) {
            self.open_entry(entry);
        } else if self.kind == Kind::Globals {
            // Of roles and tablespaces pg_dumpall writes no headers with type and name, only headings.
            if let Some(heading) = text.strip_prefix(b" ").filter(|heading| !heading.is_empty()) {
                self.open_entry(OpenEntry::new(&text::bytes(heading), "", "", ""));
            }
        }
        Ok(())
    }

    fn meta(&mut self, line: &[u8]) -> Result<()> {
        if self.may_connect && line.starts_with(b"connect ") {
            return Ok(());
        }
        self.restrict.line(line)
    }

    fn statement(&mut self, statement: &Statement<'_>) -> Result<Next> {
        self.take(statement).with_context(|| format!("line {}", statement.line))
    }

    fn row(&mut self, hash: u128, length: u64) {
        if let Some(table) = &mut self.table {
            table.rows += 1;
            table.bytes += length + 1;
            table.sum = table.sum.wrapping_add(hash);
        }
    }

    fn rows_end(&mut self, _offset: u64) -> Result<()> {
        let table = self.table.take().context("rows without a table")?;
        self.content.tables += 1;
        self.content.rows += table.rows;
        self.content.row_bytes += table.bytes;
        self.records.push(Record::Table(Table {
            schema: table.schema,
            name: table.name,
            columns: table.columns,
            rows: table.rows,
            bytes: table.bytes,
            offset: table.offset,
            digest: format!("{:032x}", table.sum),
        }));
        Ok(())
    }
}

/// `\restrict KEY` and the `\unrestrict KEY` that must follow: the only commands of psql in a dump.
#[derive(Default)]
pub(super) struct Restrict(Option<Vec<u8>>);

impl Restrict {
    /// Takes a meta-command, without its backslash.
    pub(super) fn line(&mut self, line: &[u8]) -> Result<()> {
        let key_of = |word: &[u8]| line.strip_prefix(word).filter(|key| key.iter().all(u8::is_ascii_alphanumeric));
        if let Some(key) = key_of(b"restrict ") {
            if self.0.is_some() {
                bail!("a second \\restrict");
            }
            self.0 = Some(key.to_owned());
            return Ok(());
        }
        match (key_of(b"unrestrict "), self.0.take()) {
            (Some(key), Some(restrict)) if key == restrict => Ok(()),
            (Some(_), _) => bail!("\\unrestrict with a key that no \\restrict has"),
            (None, _) => {
                bail!("a psql command in the dump: \\{}", text::line(&text::bytes(&line[..line.len().min(60)])))
            }
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.0.is_some()
    }
}

impl OpenEntry {
    fn new(kind: &str, schema: &str, name: &str, owner: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            schema: schema.to_owned(),
            name: name.to_owned(),
            owner: owner.to_owned(),
            offset: 0,
            statements: 0,
            hash: Xxh3::new(),
        }
    }

    /// Reads ` Name: t; Type: TABLE; Schema: public; Owner: app`, from the right, because a name may hold anything.
    /// A tablespace stands behind the owner; the name may look like one.
    fn from_header(text: &[u8]) -> Option<Self> {
        let header = Header::read(text)?;
        Some(Self::new(&header.kind, &header.schema, &header.name, &header.owner))
    }
}

/// The comment in front of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `TABLE`, `INDEX`, …
    pub kind: String,
    /// The schema, `-` where it has none.
    pub schema: String,
    /// The name as pg_dump shows it.
    pub name: String,
    /// The owner, `-` where it has none.
    pub owner: String,
}

impl Header {
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let text = text::bytes(text);
        let of = ["", " Data for", " Statistics for"];
        let text = of.iter().find_map(|of| text.strip_prefix(of)?.strip_prefix(" Name: "))?;
        let (text, owner) = text.rsplit_once("; Owner: ").unwrap_or((text, "-"));
        let owner = owner.split_once("; Tablespace: ").map_or(owner, |(owner, _)| owner);
        let (text, schema) = text.rsplit_once("; Schema: ")?;
        let (name, kind) = text.rsplit_once("; Type: ")?;
        let own = str::to_owned;
        Some(Self { kind: own(kind), schema: own(schema), name: own(name), owner: own(owner) })
    }
}

impl OpenTable {
    /// Reads `public."a b" (x, y) FROM stdin;`, which the statement ends with.
    fn from_copy(text: &[u8], offset: u64) -> Option<Self> {
        let front = text.strip_suffix(b" FROM stdin;")?;
        let (schema, rest) = identifier(front)?;
        let (name, rest) = identifier(rest.strip_prefix(b".")?)?;
        Some(Self { schema, name, columns: text::bytes(rest.trim_ascii()), offset, rows: 0, bytes: 0, sum: 0 })
    }
}

/// Reads one identifier, quoted or not, and what follows it.
fn identifier(text: &[u8]) -> Option<(String, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| b". (;'".contains(byte)).unwrap_or(text.len());
        return (end > 0).then(|| (text::bytes(&text[..end]), &text[end..]));
    };
    let mut name = Vec::new();
    let mut at = 0;
    loop {
        match (quoted.get(at)?, quoted.get(at + 1)) {
            (b'"', Some(b'"')) => {
                name.push(b'"');
                at += 2;
            }
            (b'"', _) => return Some((text::bytes(&name), &quoted[at + 1..])),
            (byte, _) => {
                name.push(*byte);
                at += 1;
            }
        }
    }
}

/// Reads `'public.t_id_seq', 42, true);`; the name is a literal that holds identifiers.
fn sequence(text: &[u8]) -> Option<Sequence> {
    let text = text::bytes(text);
    let (literal, rest) = text.strip_suffix(");")?.rsplit_once("', ")?;
    let literal = literal.strip_prefix('\'')?.replace("''", "'");
    let (value, called) = rest.split_once(", ")?;
    let (schema, front) = identifier(literal.as_bytes())?;
    let (name, _) = identifier(front.strip_prefix(b".")?)?;
    Some(Sequence { schema, name, value: value.parse().ok()?, called: called == "true" })
}

fn number(text: &[u8]) -> Option<u64> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&text[..end]).ok()?.parse().ok()
}

fn start_of(text: &[u8]) -> String {
    text::line(&text::bytes(&text[..text.len().min(80)]))
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
