//! Splits an option that holds a command, such as `--client-prefix 'docker exec -i db'`, into words.
//!
//! Quotes and backslashes mean what they mean in a shell; nothing is expanded, and no shell is run
//! (THREATS G7). What only a shell could do is an error, not a literal argument: `pg_dump | gzip`
//! handed to `execve` would give `pg_dump` an operand called `|`.

use crate::hint;
use anyhow::{anyhow, bail};

/// Splits text into the words a POSIX shell would see, without expanding anything.
///
/// An empty or blank text has no words.
///
/// # Errors
///
/// An unterminated quote, a backslash at the end, a NUL byte, and any of `| & ; < > $` and the backquote where a
/// shell would act on it (`$` and the backquote therefore also inside `"..."`). Source: POSIX.1-2024, 2.2.
pub fn split(text: &str) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' => single_quoted(&mut chars, word.get_or_insert_default())?,
            '"' => double_quoted(&mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some('\n') => {} // a continued line
                Some(next) => word.get_or_insert_default().push(literal(next)?),
                None => bail!("a command ends with a backslash"),
            },
            '|' | '&' | ';' | '<' | '>' | '$' | '`' => return Err(needs_shell(c)),
            c => word.get_or_insert_default().push(literal(c)?),
        }
    }
    words.extend(word);
    Ok(words)
}

/// Splits a line of a list into words: quotes and backslashes keep them together as in a shell, and nothing else of a
/// shell means anything. `used>85%` and `http://x/?a=1&b=2` are words. What follows a `#` that begins a word is a comment.
///
/// # Errors
///
/// A quote without its partner, a backslash at the end, a NUL byte.
pub fn list(text: &str) -> anyhow::Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '#' if word.is_none() => break,
            '\'' | '"' => quoted(c, &mut chars, word.get_or_insert_default())?,
            '\\' => match chars.next() {
                Some(next) => word.get_or_insert_default().push(literal(next)?),
                None => bail!("it ends with a backslash"),
            },
            c => word.get_or_insert_default().push(literal(c)?),
        }
    }
    words.extend(word);
    Ok(words)
}

/// What stands between two quotes; between double ones a backslash stands before a quote or another backslash.
fn quoted(quote: char, chars: &mut std::str::Chars<'_>, word: &mut String) -> anyhow::Result<()> {
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => return Ok(()),
            '\\' if quote == '"' => match chars.next() {
                Some(c @ ('"' | '\\')) => word.push(c),
                Some(c) => word.extend(['\\', literal(c)?]),
                None => break,
            },
            c => word.push(literal(c)?),
        }
    }
    bail!("it has a {quote} without its partner")
}

fn single_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> anyhow::Result<()> {
    loop {
        match chars.next() {
            Some('\'') => return Ok(()),
            Some(c) => word.push(literal(c)?),
            None => bail!("a command has a ' without its partner"),
        }
    }
}

fn double_quoted(chars: &mut std::str::Chars<'_>, word: &mut String) -> anyhow::Result<()> {
    loop {
        match chars.next() {
            Some('"') => return Ok(()),
            Some(c @ ('$' | '`')) => return Err(needs_shell(c)),
            Some('\\') => match chars.next() {
                Some('\n') => {}
                Some(c @ ('"' | '\\' | '$' | '`')) => word.push(c),
                Some(c) => word.extend(['\\', literal(c)?]),
                None => bail!("a command has a \" without its partner"),
            },
            Some(c) => word.push(literal(c)?),
            None => bail!("a command has a \" without its partner"),
        }
    }
}

fn literal(c: char) -> anyhow::Result<char> {
    if c == '\0' {
        bail!("a command holds a NUL byte");
    }
    Ok(c)
}

fn needs_shell(c: char) -> anyhow::Error {
    hint::with(
        anyhow!("a command holds {c}, which only a shell understands"),
        "run it through sh -c '…', or quote it if it is meant literally",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_list_only_quotes_blanks_and_comments_mean_anything() {
        let words = list(r#"http://x/?a=1&b=2 used>85%  'a "b" \d' "c \" \d" e\ f x#y # a 'comment"#).unwrap();

        assert_eq!(words, ["http://x/?a=1&b=2", "used>85%", r#"a "b" \d"#, r#"c " \d"#, "e f", "x#y"]);
        for bad in ["'a", "\"a", "a\\", "a\0"] {
            assert!(list(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn quotes_and_backslashes_keep_words_together() {
        let words = split(r#"docker exec  -i 'my db' "a \"b\" \x" c\ d '' e"f"'g'"#).unwrap();

        assert_eq!(words, ["docker", "exec", "-i", "my db", r#"a "b" \x"#, "c d", "", "efg"]);
    }

    #[test]
    fn a_blank_text_has_no_words() {
        assert!(split(" \t\n ").unwrap().is_empty());
    }

    #[test]
    fn what_only_a_shell_understands_is_refused() {
        for text in ["a | b", "a & b", "a; b", "a <b", "a >b", "a $B", "a `b`", "a \"$B\"", "a \"`b`\""] {
            assert!(split(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shell_characters_in_quotes_are_only_characters() {
        let words = split(r#"sh -c 'pg_dump | gzip > "$1"' "a|b;c" \$x \| "\$y""#).unwrap();

        assert_eq!(words, ["sh", "-c", r#"pg_dump | gzip > "$1""#, "a|b;c", "$x", "|", "$y"]);
    }

    #[test]
    fn a_text_that_ends_too_early_is_refused() {
        for text in ["'a", "\"a", "a\\", "\"a\\"] {
            assert!(split(text).is_err(), "{text}");
        }
    }
}
