//! Lists of targets: one a line, with `key=value` options behind it; empty lines and comments are skipped.
//!
//! ```text
//! # what              how
//! example.com:443     warning=14d host=www.example.com
//! "/srv/my certs"     critical=5%
//! ```
//!
//! Users: certcheck; healthprobe will be. What a target and an option mean is the tool's.

use crate::words;
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{BufRead, Read as _};

/// The longest line.
const LINE: u64 = 64 * 1024;
/// The most lines that are read.
const LINES: usize = 100_000;

/// One line: a target and its options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub number: usize,
    /// The first word.
    pub target: String,
    /// The options in their order, as key and value; an option without `=` has an empty value.
    pub options: Vec<(String, String)>,
}

/// Reads all lines; `name` is what messages call the source: `"hosts.txt"`, `standard input`.
///
/// Words are split as a shell splits them, so that a path may hold blanks; nothing is expanded.
///
/// # Errors
///
/// A line that is over 64 KiB, is no UTF-8, or has a quote without its partner; more than 100,000 lines.
pub fn read(mut input: impl BufRead, name: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for number in 1.. {
        let mut text = String::new();
        let act = || format!("cannot read line {number} of {name}");
        let count = (&mut input).take(LINE + 1).read_line(&mut text).with_context(act)?;
        if count == 0 {
            break;
        }
        ensure!(count as u64 <= LINE, "{}: it is longer than {}", act(), crate::units::size(LINE));
        ensure!(number <= LINES, "{}: more than {} lines", act(), crate::units::count(LINES as u64));
        lines.extend(parse(&text, number).with_context(act)?);
    }
    Ok(lines)
}

/// One line; `None` where it is empty or a comment.
fn parse(text: &str, number: usize) -> Result<Option<Line>> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let mut words = words::split(text)?.into_iter().take_while(|word| !word.starts_with('#'));
    let Some(target) = words.next().filter(|target| !target.is_empty()) else { bail!("it names nothing") };
    let options = words.map(|word| match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (word, String::new()),
    });
    Ok(Some(Line { number, target, options: options.collect() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_text(text: &str) -> Result<Vec<Line>> {
        read(text.as_bytes(), "standard input")
    }

    #[test]
    fn a_line_is_a_target_and_its_options() {
        let lines = read_text("# comment\n\n a.test:443 warning=14d  x=1=2 # why\n'/srv/my certs'").unwrap();

        let options = vec![("warning".into(), "14d".into()), ("x".into(), "1=2".into())];
        assert_eq!(lines[0], Line { number: 3, target: "a.test:443".into(), options });
        assert_eq!((lines[1].number, lines[1].target.as_str()), (4, "/srv/my certs"));
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_line() {
        for (text, said) in [
            ("a\n'b\n".to_owned(), "cannot read line 2 of standard input: "),
            ("x".repeat(70_000), "cannot read line 1 of standard input: it is longer than 64.0 KiB"),
            ("a\n\"\"\n".to_owned(), "cannot read line 2 of standard input: it names nothing"),
        ] {
            let error = format!("{:#}", read_text(&text).unwrap_err());

            assert!(error.starts_with(said), "{error}");
        }
        assert!(read(&b"a\n\xff\xfe\n"[..], "x").is_err());
    }

    #[test]
    fn an_endless_list_ends() {
        assert!(read(std::io::BufReader::new(std::io::repeat(b'\n')), "x").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            drop(read_text(&text));
        }
    }
}
