//! Foreign text made safe for the place where it is read: one function per sink.
//!
//! A database name, a server's error or a file name may hold escape sequences, line breaks, quotes or marks that
//! reverse the reading direction. Nothing of that may reach a terminal, a log, a mail or a shell as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The longest field that is shown to a person, in characters.
const SHOWN: usize = 500;

/// Text for a terminal, a log line or a mail: one line, no control characters, cut at 500 characters.
///
/// C0, DEL, C1, the marks that change the reading direction, and the separators U+2028/9 become escapes.
pub fn line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (position, character) in text.chars().enumerate() {
        if position == SHOWN {
            safe.push('…');
            break;
        }
        match character {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            '\r' => safe.push_str("\\r"),
            c if is_unsafe(c) => push_escape(&mut safe, c),
            c => safe.push(c),
        }
    }
    safe
}

/// Text for a terminal or a log, without control characters, as [`line`] makes it, but of any length.
pub fn visible(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => safe.push_str("\\n"),
            '\t' => safe.push_str("\\t"),
            c if is_unsafe(c) => push_escape(&mut safe, c),
            c => safe.push(c),
        }
    }
    safe
}

/// Bytes as text: valid UTF-8 as it is, everything else as `\xNN`.
pub fn bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            push(&mut text, format_args!("\\x{byte:02x}"));
        }
    }
    text
}

/// A JSON document in which no character can act on a terminal.
///
/// serde_json leaves DEL, C1 and direction marks as they are; inside a document they can only stand in
/// strings, so escaping them afterwards is right.
pub fn json(document: &str) -> Cow<'_, str> {
    if !document.chars().any(is_unsafe) {
        return Cow::Borrowed(document);
    }
    let mut safe = String::with_capacity(document.len() + 16);
    for character in document.chars() {
        if is_unsafe(character) {
            push_escape(&mut safe, character);
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// Text for a Monitoring Plugins line: macros of the monitoring core may put it into a shell.
pub fn nagios(text: &str) -> String {
    line(text).chars().map(|c| if "|`$&<>'\"".contains(c) { '_' } else { c }).collect()
}

/// A label value of the Prometheus text format 0.0.4.
pub fn prometheus(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in line(text).chars() {
        match character {
            '\\' => safe.push_str("\\\\"),
            '"' => safe.push_str("\\\""),
            c => safe.push(c),
        }
    }
    safe
}

/// A word of a POSIX shell that stands for exactly this text.
pub fn sh(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The text with passwords in URIs and keywords taken out.
///
/// A last line of defence: no message is built from a secret, but a client program may quote one.
pub fn redact(text: &str) -> Cow<'_, str> {
    let lower = text.to_ascii_lowercase();
    let has_uri = lower.contains("://") && lower.contains('@');
    if !has_uri && !lower.contains("password=") {
        return Cow::Borrowed(text);
    }
    Cow::Owned(redact_keywords(&redact_uris(text)))
}

fn redact_uris(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        safe.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(after.len());
        let uri = &after[..end];
        // Everything up to the last @ may belong to a password: `u:p@w@h` and `u:p/w@h` are seen in the wild.
        match (uri.find(':'), uri.rfind('@')) {
            (Some(colon), Some(at)) if colon < at => {
                safe.push_str(&uri[..=colon]);
                safe.push_str("***");
                rest = &after[at..];
            }
            _ => rest = after,
        }
    }
    safe.push_str(rest);
    safe
}

fn redact_keywords(text: &str) -> String {
    const KEY: &str = "password=";
    let lower = text.to_ascii_lowercase();
    let mut safe = String::with_capacity(text.len());
    let mut done = 0;
    while let Some(found) = lower[done..].find(KEY) {
        let start = done + found + KEY.len();
        safe.push_str(&text[done..start]);
        safe.push_str("***");
        let value = &text[start..];
        done = start
            + match value.strip_prefix('\'') {
                Some(quoted) => quoted.find('\'').map_or(value.len(), |end| end + 2),
                None => value.find(|c: char| c.is_whitespace() || c == '&' || c == '"').unwrap_or(value.len()),
            };
    }
    safe.push_str(&text[done..]);
    safe
}

fn is_unsafe(character: char) -> bool {
    let control = character.is_control() && character != '\n' && character != '\t';
    let direction = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    control || direction || matches!(character, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

fn push_escape(text: &mut String, character: char) {
    let mut units = [0; 2];
    for unit in character.encode_utf16(&mut units) {
        push(text, format_args!("\\u{unit:04x}"));
    }
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_on_a_line_can_move_the_cursor_or_start_a_line() {
        assert_eq!(line("a\u{1b}[2Jb\nc\u{202e}d"), "a\\u001b[2Jb\\nc\\u202ed");
    }

    #[test]
    fn a_field_is_cut_at_500_characters() {
        assert_eq!(line(&"é".repeat(1000)).chars().count(), 501);
    }

    #[test]
    fn bytes_that_are_not_utf8_stay_visible() {
        assert_eq!(bytes(b"caf\xe9"), "caf\\xe9");
    }

    #[test]
    fn a_json_document_reads_the_same_after_escaping() {
        let value = serde_json::json!({"name": "a\u{7f}\u{9b}\u{202e}b"});
        let text = value.to_string();

        let safe = json(&text);

        assert!(safe.is_ascii());
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn no_shell_sees_more_than_one_word() {
        assert_eq!(sh("x'; touch pwned; '"), r"'x'\''; touch pwned; '\'''");
    }

    #[test]
    fn passwords_are_taken_out_of_uris_and_keywords() {
        assert_eq!(redact("cannot use postgres://u:p@w@h/db?x=1 here"), "cannot use postgres://u:***@h/db?x=1 here");
        assert_eq!(redact("host=h password='a b' user=u"), "host=h password=*** user=u");
        assert_eq!(redact("nothing to hide"), "nothing to hide");
    }
}
