//! The words of a statement, as far as they tell whether a semicolon ends it.

use crate::hint;
use anyhow::{Error, anyhow};

/// The words of a statement, as far as they tell whether a semicolon ends it.
///
/// Inside `CREATE [OR REPLACE] FUNCTION|PROCEDURE … BEGIN ATOMIC … END` it does not. psql's rule: only the first four
/// words say what is created, then BEGIN and CASE open and END closes.
#[derive(Default)]
pub(super) struct Words {
    word: Vec<u8>,
    /// The run began with a digit, so it is no word.
    is_number: bool,
    count: usize,
    first: [u8; 4],
    pub(super) depth: u32,
}

impl Words {
    pub(super) fn is_inside(&self) -> bool {
        !self.word.is_empty()
    }

    pub(super) fn push(&mut self, byte: u8) {
        if self.word.is_empty() {
            self.is_number = byte.is_ascii_digit();
        }
        // Longer than any word that matters.
        if self.word.len() < 16 {
            self.word.push(byte.to_ascii_lowercase());
        }
    }

    pub(super) fn end(&mut self, parentheses: u32) {
        if self.word.is_empty() {
            return;
        }
        if !self.is_number {
            self.word_done(parentheses);
        }
        self.word.clear();
    }

    fn word_done(&mut self, parentheses: u32) {
        let word = self.word.as_slice();
        if let Some(first) = self.first.get_mut(self.count)
            && matches!(word, b"create" | b"function" | b"procedure" | b"or" | b"replace")
        {
            *first = word[0];
        }
        self.count += 1;
        let creates_body = matches!(self.first, [b'c', b'f' | b'p', ..] | [b'c', b'o', b'r', b'f' | b'p']);
        if !creates_body || parentheses > 0 {
            return;
        }
        match word {
            b"begin" => self.depth += 1,
            b"case" if self.depth > 0 => self.depth += 1,
            b"end" => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }
}

/// An error that a statement without an end led to, with where it began and what may be the reason.
///
/// psql counts any `begin` in `CREATE FUNCTION`, so `CREATE FUNCTION public.begin() …;` never ends: no psql can restore
/// a dump that holds it.
pub(super) fn unended(error: Error, line: u64, is_body: bool) -> Error {
    let error = anyhow!("{error:#}, in the statement that begins in line {line}");
    if !is_body {
        return error;
    }
    hint::with(
        error,
        "psql cannot read a dump with a function, schema or type called begin either; have names quoted: \
         pgbackup … -- --quote-all-identifiers",
    )
}
