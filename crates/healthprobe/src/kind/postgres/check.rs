//! What can be looked at, and what is looked at unless it is said.

use anyhow::{Result, anyhow};
use common::hint::Hint as _;
use std::collections::BTreeSet;

/// One thing to judge, in the order in which they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Check {
    Connections,
    Queries,
    Blocked,
    Idle,
    Prepared,
    Replication,
    Slots,
    Wraparound,
    Archive,
    Checksums,
    Vacuum,
    Cache,
    Indexes,
    Statements,
    Size,
}

impl Check {
    /// All of them, by name.
    pub(super) const ALL: [(&'static str, Self); 15] = [
        ("connections", Self::Connections),
        ("queries", Self::Queries),
        ("blocked", Self::Blocked),
        ("idle", Self::Idle),
        ("prepared", Self::Prepared),
        ("replication", Self::Replication),
        ("slots", Self::Slots),
        ("wraparound", Self::Wraparound),
        ("archive", Self::Archive),
        ("checksums", Self::Checksums),
        ("vacuum", Self::Vacuum),
        ("cache", Self::Cache),
        ("indexes", Self::Indexes),
        ("statements", Self::Statements),
        ("size", Self::Size),
    ];

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, check)| *check == self).map_or("", |(name, _)| name)
    }

    /// What is advice for tuning, or costs more than a moment, is looked at on request only.
    fn is_default(self) -> bool {
        !matches!(self, Self::Indexes | Self::Statements | Self::Size)
    }

    /// Whether it needs to see sessions of others, which takes `pg_monitor`.
    pub(super) fn needs_rights(self) -> bool {
        matches!(self, Self::Queries | Self::Blocked | Self::Idle | Self::Replication | Self::Statements)
    }

    /// The checks that words ask for: names, `default`, `all`, `reachable` for none, and `-NAME` to leave one out.
    ///
    /// # Errors
    ///
    /// A word that is none of these.
    pub(super) fn chosen(words: &[String]) -> Result<BTreeSet<Self>> {
        let all = || Self::ALL.iter().map(|(_, check)| *check);
        let default = || all().filter(|check| check.is_default());
        let starts_empty = words.iter().any(|word| !word.starts_with('-'));
        let mut chosen: BTreeSet<Self> = if starts_empty { BTreeSet::new() } else { default().collect() };
        for word in words {
            match (word.as_str(), word.strip_prefix('-')) {
                ("all", _) => chosen.extend(all()),
                ("default", _) => chosen.extend(default()),
                ("reachable", _) => {}
                (_, Some(name)) => {
                    chosen.remove(&Self::named(name)?);
                }
                (name, None) => {
                    chosen.insert(Self::named(name)?);
                }
            }
        }
        Ok(chosen)
    }

    fn named(name: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, check)| *check);
        let names: Vec<_> = Self::ALL.iter().map(|(name, _)| *name).collect();
        found
            .ok_or_else(|| anyhow!("checks=: there is no check {name:?}"))
            .hint(format!("checks: reachable, default, all, {}; -NAME leaves one out", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(text: &str) -> Vec<&'static str> {
        let words: Vec<String> = text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Check::chosen(&words).unwrap().into_iter().map(Check::name).collect()
    }

    #[test]
    fn checks_are_chosen_by_name_and_left_out_by_a_dash() {
        assert_eq!(chosen("").len(), 12);
        assert_eq!(chosen("all").len(), 15);
        assert_eq!(chosen("reachable"), [""; 0]);
        assert_eq!(chosen("size,connections"), ["connections", "size"]);
        assert_eq!(chosen("-cache").len(), 11);
        assert_eq!(chosen("default,size,-cache").len(), 12);
        assert!(Check::chosen(&["typo".to_owned()]).is_err());
    }
}
