//! What all steps of a stanza know: its rules, the time, and who does what only the parent may do.

use crate::config::Stanza;
use crate::decide::Force;
use crate::error;
use crate::message::{Failed, Shown, Told, shown, why};
use crate::site::{Dir, Hardlinks};
use crate::writers::Writer;
use jiff::Zoned;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Whether anything is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Dry {
    /// `-d`: it is only said.
    Yes,
    /// It is done.
    No,
}

/// How this run was asked to work; the same for every stanza.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct How {
    /// Whether anything is done.
    pub dry: Dry,
    /// Whether all logs are due.
    pub force: Force,
    /// How many cores compress.
    pub cores: usize,
    /// How long a script, a compressor or a mailer may take.
    pub limit: Duration,
    /// What sends mail.
    pub mailer: PathBuf,
}

/// A log that is about to be rotated, with its inode: after the rename, its name has another one.
pub type Begun<'a> = (&'a Path, u64);

/// What is done where the privileges are: the parent of a process that gave up its own.
pub trait Host: Sync {
    /// Runs a script of the stanza, with `$1` and perhaps `$2`.
    ///
    /// # Errors
    ///
    /// Why it failed, in logrotate's words.
    fn script(&self, body: &OsStr, first: &OsStr, second: Option<&OsStr>) -> Result<(), String>;
    /// Notes that these logs are about to be rotated: if we are killed, their scripts are owed.
    fn begins(&self, logs: &[Begun<'_>]);
}

/// A stanza at work.
pub struct Run<'a> {
    /// Its logs and rules.
    pub stanza: &'a Stanza,
    /// When this run began.
    pub now: &'a Zoned,
    /// Who runs scripts.
    pub host: &'a (dyn Host + 'a),
    /// How to work.
    pub how: &'a How,
    /// The directories of its logs, for as long as it is worked on.
    pub dirs: Dirs,
    writers: OnceLock<HashMap<PathBuf, Vec<Writer>>>,
}

impl<'a> Run<'a> {
    /// A stanza that is about to be worked on.
    pub fn new(stanza: &'a Stanza, now: &'a Zoned, host: &'a (dyn Host + 'a), how: &'a How) -> Self {
        Self { stanza, now, host, how, dirs: Dirs::default(), writers: OnceLock::new() }
    }

    /// Who writes to a log; looked up once for all logs of the stanza, when the first is cut.
    pub fn writers(&self, log: &Path) -> &[Writer] {
        let writers = self.writers.get_or_init(|| crate::writers::of(&self.stanza.files));
        writers.get(log).map_or(&[], Vec::as_slice)
    }
}

impl Run<'_> {
    /// Whether nothing is to be done.
    pub fn is_dry(&self) -> bool {
        self.how.dry == Dry::Yes
    }

    /// Whether files with several names will do.
    pub fn hardlinks(&self) -> Hardlinks {
        if self.stanza.rules.allowhardlink { Hardlinks::Yes } else { Hardlinks::No }
    }

    /// Runs a script, or says what would be run.
    ///
    /// # Errors
    ///
    /// Why it failed.
    pub fn script(&self, body: &OsStr, first: &OsStr, second: Option<&OsStr>) -> Result<(), String> {
        if self.is_dry() {
            let second = second.map_or_else(Shown::default, shown);
            crate::tell!(
                "running script with args {} {second}: \"{}\"",
                shown(first),
                common::text::bytes(body.as_bytes())
            );
            return Ok(());
        }
        // It may make and move what it likes.
        self.dirs.forget_listings();
        self.host.script(body, first, second)
    }
}

/// Gives a file its final name; what has that name already is moved away, never replaced.
///
/// # Errors
///
/// As renameat2(2).
pub fn place(now: &Zoned, from: (&Dir, &OsStr), dir: &Dir, name: &OsStr) -> io::Result<()> {
    match from.0.rename_new(from.1, dir, name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            make_room(now, dir, name)?;
            from.0.rename_new(from.1, dir, name)
        }
        renamed => renamed,
    }
}

/// Moves away what has a name that we need.
///
/// # Errors
///
/// As renameat(2).
pub fn make_room(now: &Zoned, dir: &Dir, name: &OsStr) -> io::Result<()> {
    let stamp = now.strftime("-%Y%m%d%H.backup").to_string();
    let backup = OsString::from_vec([name.as_bytes(), stamp.as_bytes()].concat());
    error!("destination {} already exists, renaming to {}", shown(&dir.join(name)), shown(&dir.join(&backup)));
    dir.rename(name, dir, &backup)
}

/// Directories that are open, so that a thousand logs in one need one handle.
#[derive(Default)]
pub struct Dirs(Mutex<Open>);

#[derive(Default)]
struct Open {
    dirs: HashMap<PathBuf, Arc<Dir>>,
    /// From how many on those are closed in which no log is at work.
    many: usize,
}

impl Dirs {
    /// How many stay open though no log is at work there.
    const IDLE: usize = 200;

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a directory, or hands out the handle that there is.
    ///
    /// # Errors
    ///
    /// As [`Dir::open`].
    pub fn open(&self, path: &Path) -> io::Result<Arc<Dir>> {
        let mut open = self.lock();
        if let Some(dir) = open.dirs.get(path) {
            return Ok(Arc::clone(dir));
        }
        if open.dirs.len() >= open.many.max(Self::IDLE) {
            open.dirs.retain(|_, dir| Arc::strong_count(dir) > 1);
            open.many = 2 * open.dirs.len();
        }
        let dir = Arc::new(Dir::open(path)?);
        open.dirs.insert(path.to_owned(), Arc::clone(&dir));
        Ok(dir)
    }

    /// Forgets what was listed.
    pub fn forget_listings(&self) {
        self.lock().dirs.values().for_each(|dir| dir.forget_listing());
    }

    /// Makes what was renamed durable.
    pub fn sync(&self) -> Told {
        let mut result = Ok(());
        for dir in self.lock().dirs.values() {
            if let Err(error) = dir.sync() {
                error!("cannot write {}: {}", shown(dir.path()), why(&error));
                result = Err(Failed);
            }
        }
        result
    }
}
