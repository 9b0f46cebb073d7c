//! Names of the databases that a restore makes, and of those that it puts aside.
//!
//! The server would cut a long name by itself, and then two names could become one; so they are cut here, where the
//! suffix is kept, and looked up before the first of them is used.

use anyhow::{Result, anyhow};
use common::units::Stamp;
use std::collections::BTreeSet;
use std::time::Duration;

/// The longest name a server keeps, in bytes: NAMEDATALEN - 1.
const LONGEST: usize = 63;
/// How many seconds are tried until names are free.
const TRIES: u64 = 100;

/// What a database beside the live one is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A backup is loaded into it.
    Side,
    /// It was live before a restore.
    Before,
    /// It was restored and failed its check.
    Failed,
    /// It was live before `--undo`.
    Undone,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Self::Side => "nightshift",
            Self::Before => "before",
            Self::Failed => "failed",
            Self::Undone => "undone",
        }
    }

    /// `app_before_20261120T020000Z`, cut to 63 bytes at a character of `database`.
    pub fn name(self, database: &str, stamp: Stamp) -> String {
        let suffix = format!("_{}_{stamp}", self.word());
        let mut room = database.len().min(LONGEST - suffix.len());
        while !database.is_char_boundary(room) {
            room -= 1;
        }
        format!("{}{suffix}", &database[..room])
    }
}

/// The first second, from now on, in which no database has a name that this run might give to one.
///
/// # Errors
///
/// Where a hundred seconds are taken, which somebody must have done on purpose.
pub fn free_stamp(database: &str, now: Stamp, taken: &BTreeSet<String>) -> Result<Stamp> {
    let parts = [Part::Side, Part::Before, Part::Failed, Part::Undone];
    (0..TRIES)
        .filter_map(|second| now.checked_add(Duration::from_secs(second)))
        .find(|stamp| parts.iter().all(|part| !taken.contains(&part.name(database, *stamp))))
        .ok_or_else(|| anyhow!("every name for the next {TRIES} seconds is taken by another database"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Stamp {
        Stamp::parse_compact(text).unwrap()
    }

    #[test]
    fn a_long_name_is_cut_at_a_character_and_keeps_its_suffix() {
        let stamp = at("20261120T020000Z");

        let name = Part::Before.name(&"é".repeat(31), stamp);

        assert_eq!(name, format!("{}_before_20261120T020000Z", "é".repeat(19)));
        assert!(name.len() <= LONGEST);
        assert_eq!(Part::Side.name("app", stamp), "app_nightshift_20261120T020000Z");
    }

    #[test]
    fn a_second_in_which_a_name_is_taken_is_passed_over() {
        let taken = BTreeSet::from(["app_failed_20261120T020000Z".to_owned()]);

        let stamp = free_stamp("app", at("20261120T020000Z"), &taken).unwrap();

        assert_eq!(stamp, at("20261120T020001Z"));
    }
}
