//! Backups that must be there (`--expect`).

use common::backup::manifest::{Group, Kind};
use std::str::FromStr;

/// What a place must hold a backup of; a stream that is called like a database is not that database.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expected {
    kind: Kind,
    /// The name of the database or stream, or `globals`.
    pub subject: String,
}

impl Expected {
    /// What the backups of a group are backups of.
    pub fn of(group: &Group) -> Self {
        Self { kind: group.kind, subject: group.subject.clone() }
    }

    /// What is said where there is none.
    pub fn missing(&self) -> &'static str {
        match self.kind {
            Kind::Database => "no backup of this database",
            Kind::Globals => "no backup of the globals",
            Kind::Stream => "no backup of this stream",
        }
    }
}

/// Reads `NAME`, `globals`, `stream:NAME`, and `database:NAME` for a database that is called like one of those.
impl FromStr for Expected {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, subject) = match text.split_once(':') {
            Some(("stream", name)) => (Kind::Stream, name),
            Some(("database", name)) => (Kind::Database, name),
            Some(_) | None if text == "globals" => (Kind::Globals, text),
            Some(_) | None => (Kind::Database, text),
        };
        if subject.is_empty() {
            return Err("a name is missing");
        }
        Ok(Self { kind, subject: subject.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_database_unless_it_says_otherwise() {
        let read = |text: &str| text.parse::<Expected>().map(|expected| (expected.kind, expected.subject));

        assert_eq!(read("app"), Ok((Kind::Database, "app".into())));
        assert_eq!(read("globals"), Ok((Kind::Globals, "globals".into())));
        assert_eq!(read("stream:app"), Ok((Kind::Stream, "app".into())));
        assert_eq!(read("database:globals"), Ok((Kind::Database, "globals".into())));
        assert_eq!(read("a:b"), Ok((Kind::Database, "a:b".into())));
        assert!(read("").is_err() && read("stream:").is_err());
    }
}
