//! The application's own `.env` file, read as data: nothing in it is run, and nothing expanded.
//!
//! ```text
//! path -> open, check -> parse -> vars + warnings -> database -> Conninfo
//! ```
//!
//! Readers disagree on most of such files (of 60 one-line files six readers agreed on 20). Here a value is what
//! most of them read, and a warning tells line and readers where they do not agree. Whoever can write the file
//! decides which server is reached, so one that is not ours decides no more than that
//! ([`Conninfo::restrict_to_foreign`]).

mod database;
mod parse;
mod readers;
#[cfg(test)]
mod tests;
mod value;

use crate::hint;
use crate::pg::conninfo::Conninfo;
use crate::secret::{self, Secret};
use anyhow::{Context as _, anyhow, bail};
pub use parse::{Parsed, parse};
pub use readers::Readers;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest file that is read: 1 MiB (THREATS G13).
const LIMIT_BYTES: u64 = 1 << 20;

/// A `.env` file that was read.
#[derive(Debug)]
pub struct EnvFile {
    /// Where it is, for messages.
    pub path: PathBuf,
    /// Its assignments in their order.
    pub vars: Vec<Var>,
    /// What readers do not agree on, and a mode that lets others read.
    pub warnings: Vec<Warning>,
    /// Lines that name a variable but cannot be relied on.
    pub unreadable: Vec<Unreadable>,
    /// Somebody else decides what it says: it is not owned by our effective user, or everybody may write to it.
    pub foreign: bool,
    /// Who may do what with it: the twelve bits of its mode.
    pub mode: u32,
}

/// One assignment.
#[derive(Debug)]
pub struct Var {
    /// Its name: letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// Its value, quotes and escapes resolved.
    pub value: Secret,
    /// The line its name stands on, from 1.
    pub line: usize,
    /// The value holds `${NAME}`, which many readers replace and this one does not.
    pub refers: bool,
}

/// Something to tell about a line; never with a value.
#[derive(Debug, PartialEq, Eq)]
pub struct Warning {
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// `bash and node-dotenv read this line differently; put the value in single quotes`.
    pub text: String,
    /// Who reads the line differently; nobody where it is about something else.
    pub readers: Readers,
}

/// A variable without a value that could be relied on.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its name.
    pub name: String,
    /// The line it stands on, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for Warning {
    /// `line 3: …`, or the text alone for the file as a whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.text),
            line => write!(f, "line {line}: {}", self.text),
        }
    }
}

impl EnvFile {
    /// Reads a file by the rules for files of others: no link, no waiting, no terminal (THREATS G2).
    ///
    /// # Errors
    ///
    /// When it cannot be opened, is a symbolic link or no regular file, or is larger than 1 MiB.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let (file, stat) = open(path)?;
        // Never grown while reading: a vector that moves leaves a copy of its secrets behind.
        let mut text = Vec::with_capacity(usize::try_from(LIMIT_BYTES)? + 1);
        let read = file.take(LIMIT_BYTES + 1).read_to_end(&mut text);
        let is_too_large = text.len() as u64 > LIMIT_BYTES;
        let Parsed { vars, mut warnings, unreadable } = parse(&text);
        secret::wipe(text);
        read.with_context(|| format!("cannot read {path:?}"))?;
        if is_too_large {
            bail!("cannot read {path:?}: is larger than 1 MiB");
        }
        if stat.st_mode & 0o044 != 0 {
            let mode = stat.st_mode & 0o7777;
            let text = format!("others than its owner may read it (mode {mode:04o}); run: chmod 600 {path:?}");
            warnings.insert(0, Warning { line: 0, text, readers: Readers::default() });
        }
        let is_ours = stat.st_uid == rustix::process::geteuid().as_raw();
        let foreign = !is_ours || stat.st_mode & 0o002 != 0;
        let mode = stat.st_mode & 0o7777;
        Ok(Self { path: path.to_owned(), vars, warnings, unreadable, foreign, mode })
    }

    /// The value of a variable; of two with one name the later counts.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.vars.iter().rev().find(|var| var.name == name).map(|var| &var.value)
    }

    /// Whether a warning is about the file as a whole or a variable that can say where the database is; the rest is the
    /// application's own business.
    #[must_use]
    pub fn concerns_database(&self, warning: &Warning) -> bool {
        let mut names = self.vars.iter().map(|var| (var.line, &var.name));
        let unreadable = || self.unreadable.iter().map(|line| (line.line, &line.name));
        warning.line == 0
            || names.any(|(line, name)| line == warning.line && database::concerns(name))
            || unreadable().any(|(line, name)| line == warning.line && database::concerns(name))
    }

    /// Where the application's database is: `DATABASE_URL` and its relatives, else `DB_HOST` and friends.
    ///
    /// What the address leaves open is filled from `PG*` variables of the same file, as libpq in the application
    /// would. Empty variables count as not set. `Ok(None)` if no variable names a database.
    ///
    /// # Errors
    ///
    /// Names the variable and its line when its value cannot be used: another kind of database, an address that
    /// cannot be read, a reference to another variable or file, or a keyword that a foreign file must not set.
    pub fn database(&self) -> anyhow::Result<Option<Conninfo>> {
        database::find(self)
    }
}

fn open(path: &Path) -> anyhow::Result<(File, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        // Whoever may replace the link chooses among all files that we can read.
        Err(Errno::LOOP) => {
            return Err(hint::with(
                anyhow!("cannot open {path:?}: is a symbolic link"),
                format!("name the file it leads to: readlink -f {path:?}"),
            ));
        }
        Err(error) => return Err(std::io::Error::from(error)).with_context(|| format!("cannot open {path:?}")),
    };
    let stat = rustix::fs::fstat(&fd).map_err(std::io::Error::from).with_context(|| format!("cannot open {path:?}"))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        bail!("cannot read {path:?}: is not a regular file");
    }
    Ok((File::from(fd), stat))
}
