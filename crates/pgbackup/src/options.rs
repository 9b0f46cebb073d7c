//! Which options of pg_dump may be handed on.
//!
//! A list of what is allowed, not of what is not: getopt accepts any unambiguous beginning of a long option and several
//! short ones in one word, and the next major may add an option that changes the format.

use anyhow::{Result, anyhow};
use common::hint::Hint as _;

/// What an option does to a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// The backup is whole.
    Whole,
    /// The backup leaves something out; the manifest says so.
    Part,
}

/// Allowed options, whether they take a value, and their effect.
const ALLOWED: [(&str, bool, Effect); 29] = [
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

    #[test]
    fn the_manual_names_every_option_with_its_effect() {
        let command = common::cli::command::<crate::Cli>();
        let arg = command.get_arguments().find(|arg| arg.get_id() == "pg_dump_options").unwrap();
        let help = arg.get_long_help().unwrap().to_string();
        let (whole, part) = help.split_once("not the whole database: ").unwrap();
        for (name, _, effect) in ALLOWED {
            let list = if effect == Effect::Whole { whole } else { part };
            let named = list.split([' ', ',', '.', '\n']).any(|word| word == name);
            assert!(named, "{name}");
        }
    }

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
}
