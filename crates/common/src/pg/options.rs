//! Which options of pg_dump may be handed on: pgbackup hands them on, backup-verify reads them from a manifest and dumps
//! once more with them.
//!
//! A list of what is allowed, not of what is not: getopt accepts any unambiguous beginning of a long option and several
//! short ones in one word, and the next major may add an option that changes the format.

use crate::hint::Hint as _;
use anyhow::{Result, anyhow};

/// What an option does to a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The backup is whole.
    Whole,
    /// The backup leaves something out; the manifest says so.
    Part,
}

/// Allowed options, whether they take a value, and their effect.
pub const ALLOWED: [(&str, bool, Effect); 29] = [
    ("--lock-wait-timeout", true, Effect::Whole),
    ("--no-sync", false, Effect::Whole),
    ("--serializable-deferrable", false, Effect::Whole),
    ("--snapshot", true, Effect::Whole),
    ("--role", true, Effect::Whole),
    ("--enable-row-security", false, Effect::Part),
    ("--extra-float-digits", true, Effect::Whole),
    ("--quote-all-identifiers", false, Effect::Whole),
    ("--load-via-partition-root", false, Effect::Whole),
    ("--statistics", false, Effect::Whole),
    ("--no-statistics", false, Effect::Whole),
    ("--include-foreign-data", true, Effect::Whole),
    ("--no-unlogged-table-data", false, Effect::Part),
    ("--no-owner", false, Effect::Part),
    ("--no-privileges", false, Effect::Part),
    ("--no-comments", false, Effect::Part),
    ("--no-publications", false, Effect::Part),
    ("--no-subscriptions", false, Effect::Part),
    ("--no-security-labels", false, Effect::Part),
    ("--no-tablespaces", false, Effect::Part),
    ("--no-blobs", false, Effect::Part),
    ("--no-large-objects", false, Effect::Part),
    ("--exclude-table-data", true, Effect::Part),
    ("--exclude-table-data-and-children", true, Effect::Part),
    ("--exclude-table", true, Effect::Part),
    ("--exclude-schema", true, Effect::Part),
    ("--exclude-extension", true, Effect::Part),
    ("--schema", true, Effect::Part),
    ("--table", true, Effect::Part),
];

/// The options, checked, and whether they leave something out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Each as one word: `--exclude-table=x`.
    pub words: Vec<String>,
    /// The backup is not the whole database.
    pub is_partial: bool,
}

/// Checks what stands after `--`.
///
/// # Errors
///
/// An option that is not on the list, by name.
pub fn check(given: &[String]) -> Result<Options> {
    let mut options = Options::default();
    let mut words = given.iter();
    while let Some(word) = words.next() {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        let &(name, takes_value, effect) = ALLOWED
            .iter()
            .find(|(allowed, ..)| *allowed == name)
            .ok_or_else(|| anyhow!("pg_dump option {} cannot be handed on", shown(word)))
            .hint(reason(name))?;
        options.is_partial |= effect == Effect::Part;
        let value = match (takes_value, value) {
            (true, None) => Some(words.next().ok_or_else(|| anyhow!("pg_dump option {name} needs a value"))?.clone()),
            (false, Some(_)) => return Err(anyhow!("pg_dump option {name} takes no value")),
            (_, value) => value,
        };
        options.words.push(match value {
            Some(value) => format!("{name}={value}"),
            None => name.to_owned(),
        });
    }
    Ok(options)
}

/// Options that belong to the first dump only: its snapshot is gone, and nobody waits for a quiet moment twice.
const ONCE: [&str; 2] = ["--snapshot", "--serializable-deferrable"];

/// The options of a recorded dump, for another one that is to be compared with it.
///
/// A manifest is a file that others may have written, so what it says is checked as an argument is.
///
/// # Errors
///
/// An option that pgbackup would not have handed on.
pub fn once_more(recorded: &[String]) -> Result<Vec<String>> {
    let is_encoding = |word: &&String| {
        let name = word.strip_prefix("--encoding=");
        name.is_some_and(|name| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()))
    };
    let (encoding, given): (Vec<_>, Vec<_>) = recorded.iter().partition(is_encoding);
    let given: Vec<String> = given.into_iter().cloned().collect();
    let mut words = check(&given)?.words;
    words.retain(|word| !ONCE.contains(&word.split('=').next().unwrap_or(word)));
    words.extend(encoding.into_iter().cloned());
    Ok(words)
}

/// The name alone: a value may hold a password.
fn shown(word: &str) -> String {
    let name = word.split('=').next().unwrap_or(word);
    if name.starts_with('-') { format!("{name:?}") } else { "without dashes".to_owned() }
}

fn reason(name: &str) -> &'static str {
    match name {
        "-d" | "-h" | "-p" | "-U" | "-w" | "-W" | "--dbname" | "--host" | "--port" | "--username" | "--password"
        | "--no-password" => "say where the database is in its operand, PG* variables or --env-file",
        "-F" | "-f" | "-Z" | "-j" | "--format" | "--file" | "--compress" | "--jobs" => {
            "pgbackup needs the plain format on standard output; see --compress and --jobs of pgbackup"
        }
        "-C" | "-c" | "--create" | "--clean" | "--if-exists" => {
            "a backup is restored into an empty database; create it with createdb"
        }
        "--inserts" | "--column-inserts" | "--attribute-inserts" | "--rows-per-insert" | "--on-conflict-do-nothing" => {
            "rows are counted and hashed in COPY blocks"
        }
        "-s" | "-a" | "--schema-only" | "--data-only" | "--section" | "--no-data" | "--no-schema"
        | "--statistics-only" => "half a dump is no backup; run pg_dump itself for it",
        "-E" | "--encoding" => "a dump is made in the database's own encoding, so that its digests can be compared",
        _ => "use the long name of an option that the manual, section OPTIONS, says is handed on",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(given: &[&str]) -> Result<Options> {
        check(&given.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_value_may_be_a_word_of_its_own() {
        let options = words(&["--exclude-table-data", "logs.*", "--lock-wait-timeout=60s"]).unwrap();

        assert_eq!(options.words, ["--exclude-table-data=logs.*", "--lock-wait-timeout=60s"]);
        assert!(options.is_partial);
    }

    #[test]
    fn what_breaks_format_counts_or_restore_is_refused_by_name() {
        for word in [
            "-Fc",
            "--format=c",
            "--inserts",
            "--ins",
            "-xO",
            "--clean",
            "-f",
            "--dbname=x",
            "-s",
            "app",
            "--encoding=x",
        ] {
            let error = words(&[word]).unwrap_err();

            assert!(error.to_string().contains("cannot be handed on"), "{word}: {error}");
        }
    }

    #[test]
    fn a_refused_option_does_not_show_its_value() {
        let error = words(&["--dbname=postgres://u:CANARY@h/d"]).unwrap_err();

        assert!(!format!("{error:?}").contains("CANARY"));
    }

    #[test]
    fn a_second_dump_has_the_options_of_the_first_but_its_snapshot() {
        let once_more = |given: &[&str]| once_more(&given.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());

        let words = once_more(&["--schema=a", "--snapshot=0-1", "--serializable-deferrable", "--encoding=EUC_JP"]);

        assert_eq!(words.unwrap(), ["--schema=a", "--encoding=EUC_JP"]);
        assert!(once_more(&["--file=/etc/passwd"]).is_err());
        assert!(once_more(&["--encoding=x y"]).is_err());
    }
}
