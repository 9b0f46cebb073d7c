//! The value of one assignment: unquoted, quoted, or quoted in parts.

use super::parse::first_line;
use super::readers::{BASH, COMPOSE, DOTENVY, NODE, PYTHON, Readers, SYSTEMD};

/// What ends a word, or a command, outside quotes.
const SHELL_ACTS_ON: &[char] = &[';', '|', '&', '<', '>', '(', ')'];

/// What came of a value.
pub(super) enum Read {
    /// Its text.
    Value {
        text: String,
        differ: Differ,
        /// It holds `${NAME}` where most readers put another variable.
        refers: bool,
    },
    /// Readers give it so many meanings, or none, that no text would be right.
    Unreadable { who: Readers, why: &'static str },
}

/// Who reads a value differently, and whether that can be quoted away.
#[derive(Clone, Copy, Default)]
pub(super) struct Differ {
    pub(super) who: Readers,
    is_comment: bool,
}

impl Differ {
    fn add(&mut self, is_true: bool, who: Readers) {
        if is_true {
            self.who = self.who | who;
        }
    }

    /// How to write a value so that all readers agree on it.
    pub(super) fn advice(self, value: &str) -> &'static str {
        if self.is_comment {
            "put the comment on a line of its own"
        } else if !value.contains(['\'', '\\']) && !value.contains("${") {
            "put the value in single quotes"
        } else if !value.contains(['"', '\\', '$', '`']) {
            "put the value in double quotes"
        } else {
            "no way of writing this value is read the same by all: choose one without quotes, backslashes and $"
        }
    }
}

/// Reads a value that begins at the start of `text`, whose first line is `row`, and returns how many bytes it and
/// what else stands on its line take.
pub(super) fn read(text: &str, row: &str) -> (Read, usize) {
    let quote = match text.chars().next() {
        Some(quote @ ('"' | '\'')) => quote,
        _ => return (unquoted(row), row.len()),
    };
    if let Some((inside, length)) = quoted(text, quote) {
        let after = first_line(&text[length..]);
        if is_blank_or_comment(after) {
            return (unescaped(inside, quote, after), length + after.len());
        }
    }
    (joined(row), row.len())
}

fn is_blank_or_comment(text: &str) -> bool {
    let text = text.trim_start();
    text.is_empty() || text.starts_with('#')
}

/// What stands between the quote at the start of `text` and its partner, and where that ends.
///
/// compose, node and python take the quote after a backslash for no partner, in single quotes too.
fn quoted(text: &str, quote: char) -> Option<(&str, usize)> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return Some((&text[1..at], at + 1));
        }
        escaped = c == '\\' && !escaped;
    }
    None
}

fn unquoted(row: &str) -> Read {
    let comment = row.char_indices().zip(row.chars().skip(1)).find(|((_, c), next)| c.is_whitespace() && *next == '#');
    let before = comment.map_or(row, |((at, _), _)| &row[..at]);
    let text = before.trim_end();
    let mut differ = Differ { is_comment: comment.is_some(), ..Differ::default() };
    if let Some(((_, blank), _)) = comment {
        differ.add(true, SYSTEMD);
        differ.add(blank != ' ', COMPOSE);
        differ.add(has_odd_blanks(&row[text.len()..]), BASH | DOTENVY | SYSTEMD);
        differ.add(goes_on(&row[before.len()..]), DOTENVY);
    }
    differ.add(text.contains('#'), NODE);
    differ.add(text.starts_with('#'), DOTENVY);
    differ.add(text.contains([' ', '\t']), BASH | DOTENVY);
    differ.add(text.contains(['"', '\'']), BASH | DOTENVY);
    differ.add(text.contains('`'), BASH);
    differ.add(text.starts_with('`'), NODE | DOTENVY);
    differ.add(text.contains(SHELL_ACTS_ON) || text.starts_with('~'), BASH);
    let dollar_escapes = text.matches("\\$").count();
    differ.add(dollar_escapes > 0, COMPOSE | NODE | PYTHON);
    differ.add(text.matches('\\').count() > dollar_escapes, BASH | DOTENVY | SYSTEMD);
    differ.add(row.trim_end_matches(' ').ends_with(['\x0b', '\x0c', '\u{a0}']), BASH | SYSTEMD);
    doubtful(&mut differ, text);
    dollars(&mut differ, text);
    Read::Value { text: text.replace("\\$", "$"), differ, refers: refers(text) }
}

/// A whole value in quotes, with what follows it on its line.
fn unescaped(inside: &str, quote: char, after: &str) -> Read {
    let mut differ = Differ { is_comment: after.contains('#'), ..Differ::default() };
    differ.add(after.contains('#'), SYSTEMD);
    differ.add(after.starts_with('#'), BASH);
    differ.add(after.starts_with('#') || goes_on(after), DOTENVY);
    differ.add(has_odd_blanks(after), BASH | DOTENVY | SYSTEMD);
    doubtful(&mut differ, inside);
    if quote == '\'' {
        differ.add(inside.contains("\\'"), BASH | NODE | DOTENVY | SYSTEMD);
        differ.add(inside.contains("\\\\") || inside.contains("${"), PYTHON);
        return Read::Value { text: inside.replace("\\'", "'"), differ, refers: false };
    }
    differ.add(inside.contains('`'), BASH);
    dollars(&mut differ, inside);
    let text = double_quoted(inside, &mut differ);
    Read::Value { text, differ, refers: refers(inside) }
}

fn double_quoted(inside: &str, differ: &mut Differ) -> String {
    let mut text = String::with_capacity(inside.len());
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let next = chars.next();
        match next {
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some(c @ ('"' | '\\' | '$')) => text.push(c),
            other => text.extend(std::iter::once('\\').chain(other)),
        }
        differ.add(
            true,
            match next {
                Some('n') => BASH | SYSTEMD,
                Some('"' | '\\') => NODE,
                Some('$') => NODE | PYTHON,
                Some('r') => BASH | SYSTEMD | DOTENVY,
                Some('`' | '\n') => BASH | DOTENVY | SYSTEMD,
                Some('a' | 'b' | 'f' | 't' | 'v') => COMPOSE | PYTHON | DOTENVY,
                Some('\'') => PYTHON | DOTENVY,
                _ => DOTENVY,
            },
        );
    }
    text
}

/// `"x"y` and `'it'\''s'`: pieces that a shell joins, as dotenvy and systemd do for the most part.
fn joined(row: &str) -> Read {
    let mut text = String::new();
    let mut chars = row.char_indices();
    let mut quote = None;
    let mut is_odd = false;
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('\\', None) => {
                let next = chars.next().map(|(_, c)| c);
                is_odd |= !matches!(next, Some('\\' | '\'' | '"' | '$'));
                text.extend(next);
            }
            ('\\', Some('"')) => match chars.next() {
                Some((_, c @ ('"' | '\\' | '$' | '`'))) => text.push(c),
                other => {
                    is_odd = true;
                    text.extend(std::iter::once('\\').chain(other.map(|(_, c)| c)));
                }
            },
            (c, None) if c.is_whitespace() => {
                if is_blank_or_comment(&row[at..]) {
                    is_odd |= goes_on(&row[at..]) || has_odd_blanks(&row[at..]);
                    break;
                }
                let why = "text stands behind its closing quote";
                return Read::Unreadable { who: COMPOSE | NODE | DOTENVY | SYSTEMD, why };
            }
            (c, _) => text.push(c),
        }
    }
    if quote.is_some() {
        let why = "its quote is not closed";
        return Read::Unreadable { who: COMPOSE | NODE | DOTENVY | SYSTEMD, why };
    }
    // In 'x\' only compose and dotenvy miss the end; of pieces systemd joins no more than two.
    let whole = row.trim_end().strip_prefix('\'').and_then(|row| row.strip_suffix('\''));
    let is_whole = whole.is_some_and(|whole| whole == text);
    let who = if is_whole { COMPOSE | DOTENVY } else { COMPOSE | NODE | PYTHON | SYSTEMD };
    let mut differ = Differ { who, is_comment: false };
    differ.add(row.contains(SHELL_ACTS_ON), BASH);
    // To dotenvy `"x\n"y` holds a line end, to a shell a backslash.
    differ.add(is_odd, DOTENVY);
    dollars(&mut differ, row);
    Read::Value { text, differ, refers: refers(row) }
}

/// Whether dotenvy may look for the partner of a quote in a comment, and take the lines up to there for more of it.
fn goes_on(comment: &str) -> bool {
    comment.contains(['\'', '"', '\\'])
}

/// Whether more than spaces and tabs stand between a value and the comment behind it.
fn has_odd_blanks(after: &str) -> bool {
    let comment = after.trim_start();
    !comment.is_empty() && !after[..after.len() - comment.len()].chars().all(|c| " \t".contains(c))
}

/// Bytes no two readers treat alike.
fn doubtful(differ: &mut Differ, text: &str) {
    differ.add(text.contains('\u{fffd}'), COMPOSE | PYTHON | DOTENVY | SYSTEMD);
    differ.add(text.contains('\0'), BASH | SYSTEMD);
}

fn dollars(differ: &mut Differ, text: &str) {
    for after in behind_dollars(text) {
        differ.add(
            true,
            match after.chars().next() {
                Some('{') => BASH | COMPOSE | DOTENVY | PYTHON,
                Some(c) if c.is_ascii_alphabetic() || c == '_' || c == '$' => BASH | COMPOSE | DOTENVY,
                Some(c) if !c.is_whitespace() => BASH | DOTENVY,
                _ => DOTENVY,
            },
        );
    }
}

/// Whether there is a `${NAME`: four of six readers put something else there, so its text is hardly what was meant.
fn refers(text: &str) -> bool {
    let is_name = |after: &str| after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    behind_dollars(text).any(|after| after.strip_prefix('{').is_some_and(is_name))
}

/// What follows each `$` that no backslash escapes; of two backslashes the first escapes the second.
fn behind_dollars(text: &str) -> impl Iterator<Item = &str> {
    let backslashes = |before: &str| before.len() - before.trim_end_matches('\\').len();
    let bare = text.match_indices('$').filter(move |(at, _)| backslashes(&text[..*at]).is_multiple_of(2));
    bare.map(|(at, _)| &text[at + 1..])
}
