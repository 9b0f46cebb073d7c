//! What the configuration says: stanzas, each with its logs and its rules.
//!
//! ```text
//! source     which files there are, may they command us, include and taboo
//! parse      statements, blocks, scripts
//! directive  one keyword and its value
//! value      sizes, numbers, owners, words
//! advice     what an admin should know about a stanza that parses
//! ```

pub mod advice;
pub mod directive;
pub mod parse;
pub mod source;
pub mod value;

use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// A block: patterns, the logs that they matched, and the rules.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stanza {
    /// The patterns as they are written, which is what scripts get as `$1` where they are shared.
    pub pattern: OsString,
    /// The logs, in the order of the patterns.
    pub files: Vec<PathBuf>,
    /// The patterns, word by word: for the copies of logs that are gone.
    pub words: Vec<OsString>,
    /// What to do with them.
    pub rules: Rules,
    /// Where it begins.
    pub place: Place,
}

/// A line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file, as it is shown.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// When a log is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Every {
    /// In every hour of the clock.
    Hour,
    /// On every day of the calendar.
    Day,
    /// On that day of the week (0 is Sunday), or seven days after the last time; 7 is "whatever the day".
    Week(u8),
    /// In every month of the calendar (0), or on that day of it.
    Month(u8),
    /// In every year of the calendar.
    Year,
    /// When more than that many minutes have passed.
    Minutes(u32),
    /// Whenever it has at least that many bytes.
    Size(u64),
}

impl Every {
    /// The keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            Self::Hour => "hourly",
            Self::Day => "daily",
            Self::Week(_) => "weekly",
            Self::Month(_) => "monthly",
            Self::Year => "yearly",
            Self::Minutes(_) => "minutes",
            Self::Size(_) => "size",
        }
    }
}

/// How many copies stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep {
    /// All of them: `rotate -1`.
    Forever,
    /// That many; 0 is none.
    Count(u32),
}

/// Mode, owner and group as far as they are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ownership {
    /// Permission bits.
    pub mode: Option<u32>,
    /// A user id.
    pub uid: Option<u32>,
    /// A group id.
    pub gid: Option<u32>,
}

/// The user and the group that work on a stanza's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Su {
    /// A user id.
    pub uid: u32,
    /// A group id.
    pub gid: u32,
}

/// Script bodies, which go to sh(1).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Scripts {
    /// Before anything, once.
    pub first: Option<OsString>,
    /// Before a log is rotated.
    pub pre: Option<OsString>,
    /// When it has been rotated.
    pub post: Option<OsString>,
    /// At the end, once.
    pub last: Option<OsString>,
    /// Before a copy is removed.
    pub preremove: Option<OsString>,
}

/// What compresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compressor {
    /// `compresscmd`.
    pub command: Option<PathBuf>,
    /// `compressoptions`.
    pub options: Vec<OsString>,
    /// `uncompresscmd`.
    pub uncompress: Option<PathBuf>,
    /// `compressext`, or what follows from the command.
    pub extension: Option<OsString>,
}

impl Compressor {
    /// The end of the names of compressed copies.
    pub fn extension(&self) -> OsString {
        self.extension.clone().unwrap_or_else(|| ".gz".into())
    }
}

/// All that a stanza can say. The fields are named after the directives, whose manual is logrotate.conf(5).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "each is a directive")]
pub struct Rules {
    pub every: Every,
    pub minsize: u64,
    pub maxsize: u64,
    pub minage_days: u32,
    pub maxage_days: u32,
    pub keep: Keep,
    pub start: u32,
    pub scripts: Scripts,
    pub sharedscripts: bool,
    pub mail: Option<OsString>,
    pub mailfirst: bool,
    pub extension: Option<OsString>,
    pub addextension: Option<OsString>,
    pub olddir: Option<OsString>,
    pub createolddir: bool,
    pub olddir_ownership: Ownership,
    pub compress: bool,
    pub delaycompress: bool,
    pub compressor: Compressor,
    pub copytruncate: bool,
    pub copy: bool,
    pub renamecopy: bool,
    pub missingok: bool,
    pub ifempty: bool,
    pub ignoreduplicates: bool,
    pub allowhardlink: bool,
    pub dateext: bool,
    pub dateformat: Option<OsString>,
    pub dateyesterday: bool,
    pub datehourago: bool,
    pub create: bool,
    pub create_ownership: Ownership,
    pub su: Option<Su>,
    pub shred: bool,
    pub shredcycles: u32,
    /// Ours: a dateext name that is taken gets a number behind it.
    pub dateextunique: bool,
    /// Ours: the most bytes that all copies of a log may have.
    pub maxtotal: Option<u64>,
    /// Ours: `maxage` holds for copies of logs that are gone, too.
    pub pruneorphans: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            every: Every::Size(1024 * 1024),
            minsize: 0,
            maxsize: 0,
            minage_days: 0,
            maxage_days: 0,
            keep: Keep::Count(0),
            start: 1,
            scripts: Scripts::default(),
            sharedscripts: false,
            mail: None,
            mailfirst: false,
            extension: None,
            addextension: None,
            olddir: None,
            createolddir: false,
            olddir_ownership: Ownership::default(),
            compress: false,
            delaycompress: false,
            compressor: Compressor::default(),
            copytruncate: false,
            copy: false,
            renamecopy: false,
            missingok: false,
            ifempty: true,
            ignoreduplicates: false,
            allowhardlink: false,
            dateext: false,
            dateformat: None,
            dateyesterday: false,
            datehourago: false,
            create: false,
            create_ownership: Ownership::default(),
            su: None,
            shred: false,
            shredcycles: 0,
            dateextunique: false,
            maxtotal: None,
            pruneorphans: false,
        }
    }
}

impl Rules {
    /// Whether the log itself stays where it is.
    pub fn copies(&self) -> bool {
        (self.copytruncate || self.copy) && !self.renamecopy
    }
}
