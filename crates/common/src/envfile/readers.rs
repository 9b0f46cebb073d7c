//! The readers of `.env` files that were measured, as a set.

use std::fmt;
use std::ops::BitOr;

/// Readers that take a line in another way than this crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readers(u8);

pub(super) const BASH: Readers = Readers(1);
pub(super) const COMPOSE: Readers = Readers(2);
pub(super) const NODE: Readers = Readers(4);
pub(super) const PYTHON: Readers = Readers(8);
pub(super) const DOTENVY: Readers = Readers(16);
pub(super) const SYSTEMD: Readers = Readers(32);

const NAMES: [(Readers, &str); 6] = [
    (BASH, "bash"),
    (COMPOSE, "compose"),
    (NODE, "node-dotenv"),
    (PYTHON, "python-dotenv"),
    (DOTENVY, "dotenvy"),
    (SYSTEMD, "systemd"),
];

impl Readers {
    /// Nobody is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether somebody is in both.
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// A reader by its name: `bash`, `compose`, `node-dotenv`, `python-dotenv`, `dotenvy`, `systemd`.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(_, known)| *known == name).map(|(reader, _)| *reader)
    }

    /// The names of all readers.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(_, name)| *name)
    }
}

impl BitOr for Readers {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Display for Readers {
    /// `bash reads`, `bash and systemd read`, `bash, compose and systemd read`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = NAMES.iter().filter(|(reader, _)| reader.0 & self.0 != 0).map(|(_, name)| *name).collect();
        match names.as_slice() {
            [] => f.write_str("nobody reads"),
            [one] => write!(f, "{one} reads"),
            [several @ .., last] => write!(f, "{} and {last} read", several.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_are_told_as_a_sentence() {
        assert_eq!(BASH.to_string(), "bash reads");
        assert_eq!((SYSTEMD | BASH).to_string(), "bash and systemd read");
        assert_eq!((SYSTEMD | BASH | NODE).to_string(), "bash, node-dotenv and systemd read");
    }
}
