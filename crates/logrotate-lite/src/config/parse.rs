//! From the text of a configuration to statements: keywords, patterns, blocks, scripts.
//!
//! A block that is wrong is left out as a whole, scripts with braces in them included, and what follows it counts. What
//! is wrong outside of a block ends the file: nobody can tell any more where the next block begins.

use super::directive::{self, Outcome, Slot};
use super::source::Reader;
use super::value::words;
use super::{Place, Rules, Stanza};
use crate::message::{Told, shown};
use crate::{error, fail, tell, warn};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// A place in the text.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// The beginning of a text.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn line(&self) -> usize {
        1 + self.text[..self.at.min(self.text.len())].iter().filter(|byte| **byte == b'\n').count()
    }

    fn skip_while(&mut self, accepts: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&accepts) {
            self.at += 1;
        }
    }

    fn skip_line(&mut self) {
        self.skip_while(|byte| byte != b'\n');
    }

    fn word(&mut self) -> &'a [u8] {
        let from = self.at;
        self.skip_while(|byte| byte.is_ascii_alphabetic());
        &self.text[from..self.at]
    }

    /// The rest of the line, without blanks at its ends.
    pub fn rest(&mut self) -> &'a [u8] {
        let from = self.at;
        self.skip_line();
        self.text[from..self.at].trim_ascii()
    }

    /// The value behind a keyword, perhaps with `=` between them; `None` where the line ends.
    pub fn value(&mut self) -> Option<&'a [u8]> {
        self.skip_while(|byte| byte == b' ' || byte == b'\t');
        if self.peek() == Some(b'=') {
            self.at += 1;
        }
        Some(self.rest()).filter(|value| !value.is_empty())
    }

    /// A script's text up to its `endscript`; `None` where that is missing.
    fn script(&mut self) -> Option<OsString> {
        let from = self.at;
        loop {
            let start = self.at;
            self.peek()?;
            self.skip_while(|byte| byte == b' ' || byte == b'\t');
            let word = self.word();
            if word == b"endscript" {
                // The keyword's own line belongs to the script: it may hold the first command.
                return Some(OsString::from_vec(self.text[from..start.max(from)].to_vec()));
            }
            self.skip_line();
            self.at += usize::from(self.peek().is_some());
        }
    }
}

/// Whether a statement was understood.
enum Statement {
    Done,
    /// The block is left out.
    Spoilt,
}

/// One file, or what stands in for one.
pub struct Parser<'a, 'r> {
    cursor: Cursor<'a>,
    file: &'a str,
    reader: &'r mut Reader,
    /// Whether the schedule was set since the last block: then another one overrides it.
    scheduled: bool,
}

impl<'a, 'r> Parser<'a, 'r> {
    /// A parser for a text.
    pub fn new(text: &'a [u8], file: &'a str, reader: &'r mut Reader) -> Self {
        Self { cursor: Cursor::new(text), file, reader, scheduled: false }
    }

    fn place(&self) -> Place {
        Place { file: self.file.to_owned(), line: self.cursor.line() }
    }

    /// Reads the whole text. Global directives go to `rules`, blocks to the reader.
    pub fn run(&mut self, rules: &mut Rules) -> Told {
        let mut block: Option<Stanza> = None;
        let mut result = Ok(());
        loop {
            self.cursor.skip_while(|byte| byte.is_ascii_whitespace());
            let Some(byte) = self.cursor.peek() else { break };
            let place = self.place();
            let statement = match byte {
                b'#' => {
                    self.cursor.skip_line();
                    Ok(Statement::Done)
                }
                byte if byte.is_ascii_alphabetic() => self.keyword(&place, block.as_mut(), rules, &mut result),
                b'/' | b'"' | b'\'' | b'~' if block.is_some() => {
                    error!("{place} unexpected log filename");
                    Ok(Statement::Spoilt)
                }
                b'/' | b'"' | b'\'' | b'~' => self.patterns(place, rules).map(|stanza| {
                    block = Some(stanza);
                    Statement::Done
                }),
                b'}' => match block.take() {
                    Some(stanza) => {
                        self.cursor.at += 1;
                        self.close(stanza, &mut result);
                        Ok(Statement::Done)
                    }
                    None => fail!("{place} unexpected }} (missing previous '{{')"),
                },
                _ => {
                    error!("{place} lines must begin with a keyword or a filename (possibly in double quotes)");
                    Ok(Statement::Spoilt)
                }
            };
            match (statement?, &mut block) {
                (Statement::Done, _) => {}
                (Statement::Spoilt, Some(stanza)) => {
                    error!("found error in {}, skipping", shown(&stanza.pattern));
                    result = Err(crate::message::Failed);
                    self.skip_block();
                    block = None;
                    self.scheduled = false;
                }
                (Statement::Spoilt, None) => return Err(crate::message::Failed),
            }
        }
        if let Some(stanza) = block {
            warn!("{} is missing the '}}' at its end", stanza.place);
            self.reader.add(stanza, &mut result);
        }
        result
    }

    fn keyword(
        &mut self,
        place: &Place,
        block: Option<&mut Stanza>,
        global: &mut Rules,
        result: &mut Told,
    ) -> Told<Statement> {
        let word = self.cursor.word();
        let keyword = String::from_utf8_lossy(word).into_owned();
        if let Some(next) = self.cursor.peek().filter(|next| !next.is_ascii_whitespace() && *next != b'=') {
            error!("{place} keyword '{keyword}' not properly separated, found {next:#x}");
            return Ok(Statement::Spoilt);
        }
        let in_block = block.is_some();
        let rules = block.map_or(global, |stanza| &mut stanza.rules);
        let outcome = match directive::apply(&keyword, &mut self.cursor, rules, &mut self.scheduled) {
            Ok(outcome) => outcome,
            Err(problem) => {
                error!("{place} {problem}");
                return Ok(Statement::Spoilt);
            }
        };
        match outcome {
            Outcome::Done => self.cursor.skip_while(|byte| byte == b'='),
            Outcome::Script(slot) => match self.cursor.script() {
                Some(script) => *slot_of(rules, slot) = Some(script),
                None => return fail!("{}:prerotate, postrotate or preremove without endscript", self.file),
            },
            Outcome::Taboo(_) if in_block => {
                error!("{place} {keyword} may not appear inside of log file definition");
                return Ok(Statement::Spoilt);
            }
            Outcome::Taboo(change) => self.reader.taboo(change),
            Outcome::Include(path) => {
                if self.reader.include(&path, place, rules).is_err() {
                    *result = Err(crate::message::Failed);
                }
            }
            Outcome::Obsolete => {
                warn!("{}: {}: the {keyword} directive is deprecated and no longer used.", place.file, place.line);
                self.cursor.skip_line();
            }
            Outcome::Unknown => {
                warn!("{place} unknown option '{keyword}' -- ignoring line");
                self.cursor.skip_line();
            }
        }
        Ok(Statement::Done)
    }

    /// What stands in front of `{`.
    fn patterns(&mut self, place: Place, rules: &Rules) -> Told<Stanza> {
        let mut text = Vec::new();
        let mut at_line_start = false;
        loop {
            match self.cursor.peek() {
                Some(b'#') if at_line_start => {
                    self.cursor.skip_line();
                    continue;
                }
                Some(b'{') => break,
                Some(b'}') => return fail!("{} unexpected }} (missing previous '{{')", self.place()),
                Some(byte) => {
                    at_line_start = byte == b'\n' || (at_line_start && byte.is_ascii_whitespace());
                    text.push(byte);
                    self.cursor.at += 1;
                }
                None => return fail!("{place} missing '{{' after log files definition"),
            }
        }
        self.cursor.at += 1;
        let text = text.trim_ascii_end();
        let Some(words) = words(text) else { return fail!("{place} error parsing filename") };
        if words.is_empty() {
            return fail!("{place} {{ expected after log file name(s)");
        }
        let pattern = OsStr::from_bytes(text).to_owned();
        Ok(Stanza { pattern, files: Vec::new(), words, rules: rules.clone(), place })
    }

    fn close(&mut self, stanza: Stanza, result: &mut Told) {
        self.reader.add(stanza, result);
        self.scheduled = false;
        self.cursor.skip_while(|byte| byte == b' ' || byte == b'\t' || byte == b'\r');
        if self.cursor.peek().is_some_and(|byte| byte != b'\n') {
            error!("{}:{}, unexpected text after }}", self.file, self.cursor.line());
            self.cursor.skip_line();
        }
    }

    /// Goes behind the end of a block of which nothing is used.
    fn skip_block(&mut self) {
        self.cursor.skip_line();
        while let Some(byte) = self.cursor.peek() {
            match byte {
                b'}' => {
                    self.cursor.at += 1;
                    tell!("removing last 1 log configs");
                    return;
                }
                byte if byte.is_ascii_whitespace() => self.cursor.at += 1,
                _ => {
                    let is_script = directive::slot(self.cursor.word()).is_some();
                    if !is_script || self.cursor.script().is_none() {
                        self.cursor.skip_line();
                    }
                }
            }
        }
    }
}

fn slot_of(rules: &mut Rules, slot: Slot) -> &mut Option<OsString> {
    match slot {
        Slot::First => &mut rules.scripts.first,
        Slot::Pre => &mut rules.scripts.pre,
        Slot::Post => &mut rules.scripts.post,
        Slot::Last => &mut rules.scripts.last,
        Slot::Preremove => &mut rules.scripts.preremove,
    }
}
