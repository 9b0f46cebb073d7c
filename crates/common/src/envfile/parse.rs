//! The reader of `.env` text: names, values, and who would read them otherwise.
//!
//! There is no one grammar. Each rule here is what most of compose, node-dotenv, python-dotenv, dotenvy and systemd
//! were measured to do (tests/fixtures/env-vectors.tsv), bash deciding a tie, and whatever they do not agree on is
//! warned about. The one exception: `$` is never expanded.

use super::readers::{BASH, COMPOSE, DOTENVY, NODE, PYTHON, Readers, SYSTEMD};
use super::value::{self, Read};
use super::{Unreadable, Var, Warning};
use crate::secret::Secret;

/// How many lines of a file are warned about one by one.
const MOST_WARNINGS: usize = 50;

/// What was found in the text of a file, in its order.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Every assignment that could be read; of two with one name the later counts.
    pub vars: Vec<Var>,
    /// What readers do not agree on, by line.
    pub warnings: Vec<Warning>,
    /// Lines that name a variable but give it no value that could be relied on.
    pub unreadable: Vec<Unreadable>,
}

/// Reads the text of a `.env` file. Anything can be read: what makes no sense is a warning.
///
/// Bytes that are not UTF-8 become U+FFFD.
#[must_use]
pub fn parse(text: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    let text = String::from_utf8_lossy(text);
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(&text);
    if rest.len() < text.len() {
        parsed.warn(1, BASH | DOTENVY | SYSTEMD | PYTHON, "remove the byte order mark at the start");
    }
    warn_about_line_ends(rest, &mut parsed);
    let mut line = 1;
    while !rest.is_empty() {
        let taken = statement(rest, line, &mut parsed);
        line += count_lines(&rest[..taken]);
        rest = &rest[taken..];
    }
    parsed
}

impl Parsed {
    fn warn(&mut self, line: usize, who: Readers, advice: &str) {
        self.push(line, who, format!("{who} this line differently; {advice}"));
    }

    fn cannot_read(&mut self, line: usize, name: &str, who: Readers, why: &'static str) {
        let name = name.to_owned();
        self.push(line, who, format!("{name} is not read: {why}; {who} this line differently"));
        self.unreadable.push(Unreadable { name, line, why });
    }

    /// A file of others must not be able to fill a log.
    fn push(&mut self, line: usize, readers: Readers, text: String) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(Warning { line, text, readers });
        } else if self.warnings.len() == MOST_WARNINGS {
            let text = String::from("readers differ on further lines too, which are not listed");
            self.warnings.push(Warning { line, text, readers });
        }
    }
}

/// Reads one line, or the several that a quoted value takes, and returns how many bytes that was.
fn statement(text: &str, line: usize, parsed: &mut Parsed) -> usize {
    let row = first_line(text);
    let end = row.len() + line_end(&text[row.len()..]);
    let body = row.trim_start();
    if body.is_empty() || body.starts_with('#') {
        if body.ends_with('\\') {
            parsed.warn(line, SYSTEMD, "a comment must not end with a backslash, the next line would be part of it");
        }
        return end;
    }
    let Some(Head { name, value, mut who, mut advice }) = head(row) else {
        not_an_assignment(body, line, parsed);
        return end;
    };
    let (read, taken) = value::read(&text[value..], first_line(&text[value..]));
    match read {
        Read::Unreadable { who, why } => {
            parsed.cannot_read(line, name, who, why);
            return end;
        }
        Read::Value { text, differ, refers } => {
            if advice.is_empty() {
                advice = differ.advice(&text);
            }
            who = who | differ.who;
            if !who.is_empty() {
                parsed.warn(line, who, advice);
            }
            parsed.vars.push(Var { name: name.to_owned(), value: Secret::from(text), line, refers });
        }
    }
    let end = value + taken;
    end + line_end(&text[end..])
}

/// What stands before a value.
struct Head<'t> {
    name: &'t str,
    /// Where the value begins.
    value: usize,
    who: Readers,
    advice: &'static str,
}

fn head(row: &str) -> Option<Head<'_>> {
    let (before, after) = row.split_once('=')?;
    let written = before.trim();
    let name = without_export(written);
    if !is_name(name) {
        return None;
    }
    let blanks = after.len() - after.trim_start().len();
    let value = before.len() + 1 + blanks;
    let (mut who, mut advice) = (Readers::default(), "");
    if name.len() < written.len() {
        (who, advice) = (who | SYSTEMD, "leave out export");
    }
    if before.ends_with(char::is_whitespace) || (blanks > 0 && !after.trim().is_empty()) {
        (who, advice) = (who | BASH, "leave out the blanks around =");
    }
    if name.contains(['.', '-']) {
        (who, advice) = (who | BASH | SYSTEMD | DOTENVY, "use only letters, digits and _ in a name");
    }
    Some(Head { name, value, who, advice })
}

fn without_export(text: &str) -> &str {
    match text.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        _ => text,
    }
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '.') && is_name_like(text)
}

fn is_name_like(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

fn not_an_assignment(body: &str, line: usize, parsed: &mut Parsed) {
    let body = without_export(body);
    let name = body.split(['=', ':']).next().unwrap_or_default().trim_end();
    let after = &body[name.len()..];
    if is_name(name) && after.trim_start().starts_with(':') {
        return parsed.cannot_read(line, name, COMPOSE | NODE | DOTENVY, "it is written with a : in place of =");
    }
    if is_name_like(name) && after.trim_start().starts_with('=') {
        return parsed.cannot_read(
            line,
            name,
            COMPOSE | NODE | PYTHON | DOTENVY,
            "its name does not begin with a letter",
        );
    }
    if is_name(body) {
        return parsed.warn(line, DOTENVY, "a name needs a = and a value");
    }
    parsed.warn(line, BASH | COMPOSE | DOTENVY, "write NAME=value, or # in front of a comment");
}

fn warn_about_line_ends(text: &str, parsed: &mut Parsed) {
    let mut line = 1;
    let mut rest = text;
    let mut has_crlf = false;
    while let Some(at) = rest.find(['\r', '\n']) {
        let width = line_end(&rest[at..]);
        if width == 2 && !has_crlf {
            has_crlf = true;
            parsed.warn(line, BASH, "end lines with LF, not CR LF");
        } else if width == 1 && rest[at..].starts_with('\r') {
            return parsed.warn(line, BASH | COMPOSE | DOTENVY, "a CR alone is no end of a line");
        }
        line += 1;
        rest = &rest[at + width..];
    }
}

/// The text up to its first line end.
pub(super) fn first_line(text: &str) -> &str {
    &text[..text.find(['\r', '\n']).unwrap_or(text.len())]
}

/// How many bytes the line end at the start of a text takes.
fn line_end(text: &str) -> usize {
    if text.starts_with("\r\n") { 2 } else { usize::from(text.starts_with(['\r', '\n'])) }
}

fn count_lines(text: &str) -> usize {
    text.matches('\n').count() + text.matches('\r').count() - text.matches("\r\n").count()
}
