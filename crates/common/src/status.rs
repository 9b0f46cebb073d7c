//! What a run found, and the exit code that says so.

use std::process::ExitCode;

/// The verdict on one subject, ordered from good to bad.
///
/// UNKNOWN ("I could not tell") stands below WARNING: a known fault is more urgent than a missing answer.
/// Monitoring Plugins' own `max_state` has the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Done, good.
    Ok,
    /// Could not start or could not judge.
    Unknown,
    /// Done, but look at it.
    Warning,
    /// Failed, or bad.
    Critical,
}

impl Status {
    /// The word of the Monitoring Plugins guidelines.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Unknown => "UNKNOWN",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }

    /// The status that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Ok, Self::Unknown, Self::Warning, Self::Critical].into_iter().find(|status| status.word() == word)
    }

    /// The ANSI colour of the word on a terminal.
    pub fn colour(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::Unknown => "35",
            Self::Warning => "33",
            Self::Critical => "1;31",
        }
    }

    /// The exit code of a run whose worst finding is this.
    pub fn code(self) -> Code {
        match self {
            Self::Ok => Code::Ok,
            Self::Unknown => Code::Unknown,
            Self::Warning => Code::Warning,
            Self::Critical => Code::Critical,
        }
    }
}

/// Exit codes: Monitoring Plugins 0–3, and `EX_TEMPFAIL` of sysexits(3) for a lock that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// Done, good.
    Ok = 0,
    /// Done, look at it.
    Warning = 1,
    /// Failed, or bad.
    Critical = 2,
    /// Could not start or judge: usage, configuration, nothing to check.
    Unknown = 3,
    /// Another run holds the lock; try later.
    Busy = 75,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_status_is_the_greatest() {
        let found = [Status::Ok, Status::Critical, Status::Unknown, Status::Warning];

        assert_eq!(found.iter().max(), Some(&Status::Critical));
        assert!(Status::Unknown < Status::Warning);
    }

    #[test]
    fn every_word_leads_back_to_its_status() {
        for status in [Status::Ok, Status::Unknown, Status::Warning, Status::Critical] {
            assert_eq!(Status::from_word(status.word()), Some(status));
        }
    }
}
