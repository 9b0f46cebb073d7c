//! One log at work: what is known of it, where its copies go, and what has come of it.

use crate::config::Ownership;
use crate::decide::{self, Last, Look};
use crate::message::{Failed, Told, shown, why};
use crate::names::Names;
use crate::run::Run;
use crate::site::{self, Dir};
use crate::state::Entry;
use crate::{error, fail, tell};
use rustix::fs::{FileType, Stat};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;
use std::sync::Arc;

/// A log's directories, open for all of its steps.
#[derive(Clone, Debug)]
pub struct Site {
    /// Where the log is.
    pub dir: Arc<Dir>,
    /// Where its copies are.
    pub old: Arc<Dir>,
    /// Its name in its directory.
    pub name: OsString,
}

impl Site {
    /// A hidden name beside the log, for what a killed run leaves to the next.
    pub fn hidden(&self, end: &str) -> OsString {
        OsString::from_vec([b".", self.name.as_bytes(), b".", end.as_bytes()].concat())
    }
}

/// Where the contents of the new copy come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The log.
    Live,
    /// What a killed run had taken out of the way already (`.NAME.rotating`).
    TakenAway,
    /// The whole copy that a killed run has made, and cut off the log (`.NAME.copying`).
    Copied,
}

/// A log in a stanza.
pub struct Work<'a> {
    /// Its path, as the pattern found it.
    pub path: &'a Path,
    /// Where it is, once that is known.
    pub site: Option<Site>,
    /// What it was when it was decided on.
    pub stat: Option<Stat>,
    /// Whether it is rotated in this run.
    pub due: bool,
    /// Whether a killed run owes it its scripts.
    pub owed: bool,
    /// Whether something failed.
    pub failed: bool,
    /// Whether its contents are in a copy now.
    pub rotated: bool,
    /// Why it is due or not.
    pub reason: String,
    /// What its copies are called.
    pub names: Option<Names>,
    /// Where the new copy's contents come from.
    pub source: Source,
    /// The new copy's name.
    pub last_name: OsString,
    /// The new copy, still open, when it has been compressed.
    pub plain: Option<File>,
    /// Copies that go once the new one is safe, oldest first.
    pub doomed: Vec<OsString>,
    /// Whether the state file hears of it.
    pub known: bool,
    /// What was said to have failed.
    pub errors: Vec<String>,
}

impl<'a> Work<'a> {
    /// A log that nobody has looked at.
    pub fn new(path: &'a Path) -> Self {
        Self {
            path,
            site: None,
            stat: None,
            due: false,
            owed: false,
            failed: false,
            rotated: false,
            reason: "not due".to_owned(),
            names: None,
            source: Source::Live,
            last_name: OsString::new(),
            plain: None,
            doomed: Vec::new(),
            known: true,
            errors: Vec::new(),
        }
    }

    /// Whether its scripts run.
    pub fn runs_scripts(&self) -> bool {
        self.due || self.owed
    }

    /// Its inode, or 0 where it is not there.
    pub fn inode(&self) -> u64 {
        self.stat.map_or(0, |stat| stat.st_ino)
    }

    /// What to do where a killed run had begun with the log, when it had this inode.
    ///
    /// If that run came to the rename, the daemon still writes to the old copy. It is told first, and whatever is to be
    /// done to that copy waits for another run.
    pub fn owe(&mut self, begun: Option<u64>) {
        if self.source != Source::Live || begun.is_none_or(|inode| inode == self.inode()) {
            return;
        }
        (self.owed, self.due) = (true, false);
        "not due: a killed run has rotated it; only its scripts are run".clone_into(&mut self.reason);
        tell!("  {}", self.reason);
    }

    /// Does one step, unless an earlier one failed, and keeps what it said.
    pub fn step(&mut self, step: impl FnOnce(&mut Self) -> Told) {
        if self.due && !self.failed && step(self).is_err() {
            self.failed = true;
        }
        self.errors.append(&mut crate::message::take_errors());
    }

    /// Looks at the log and decides. `known` is what the state file says of it.
    pub fn consider(&mut self, run: &Run<'_>, known: Option<Entry>, copies: &Copies<'_>) -> Told {
        let path = shown(self.path);
        tell!("considering log {path}");
        if copies.has(self.path) {
            tell!("  log {path} is a copy of another one that this pattern matches -- skipping");
            return self.not("it is a copy of another log that the pattern matches");
        }
        if !self.find(run)? {
            return Ok(());
        }
        let Some(site) = self.site.clone() else { return Ok(()) };
        self.source = if run.is_dry() { Source::Live } else { crate::recover::source(run, &site)? };
        let stat = match site.dir.stat(&site.name) {
            Ok(Some(stat)) => stat,
            Ok(None) if run.stanza.rules.missingok => {
                tell!("  log {path} does not exist -- skipping");
                return self.not("it does not exist");
            }
            Ok(None) => return fail!("stat of {path} failed: No such file or directory"),
            Err(error) => return fail!("stat of {path} failed: {}", why(&error)),
        };
        self.stat = Some(stat);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
            tell!(
                "  log {path} is symbolic link. Rotation of symbolic links is not allowed to avoid security issues \
                 -- skipping."
            );
            return self.not("it is a symbolic link");
        }
        if stat.st_nlink != 1 && !run.stanza.rules.allowhardlink {
            tell!(
                "  log {path} has multiple ({}) hard links. Rotation of files with multiple hard links is not allowed \
                 for {} -- skipping.",
                stat.st_nlink,
                shown(&run.stanza.pattern)
            );
            return self.not("it has several hard links, and allowhardlink is not set");
        }
        self.decide(run, known, &stat);
        Ok(())
    }

    fn not(&mut self, reason: &str) -> Told {
        self.reason = format!("not due: {reason}");
        Ok(())
    }

    fn decide(&mut self, run: &Run<'_>, known: Option<Entry>, stat: &Stat) {
        let last = match known {
            Some(entry) => Last::At(entry.last),
            None => {
                let now = run.now.datetime();
                tell!("Creating new state");
                Last::New(now.date().at(now.hour(), 0, 0, 0))
            }
        };
        tell!("  Now: {}", run.now.strftime("%Y-%m-%d %H:%M"));
        tell!("  Last rotated at {}", last.date().strftime("%Y-%m-%d %H:%M"));
        let look = Look { size: site::size(stat), mtime: stat.st_mtime };
        let decision = decide::decide(&run.stanza.rules, look, last, run.now, run.how.force);
        (self.due, self.reason) = (decision.due, decision.reason);
        if let Some(trouble) = decision.trouble {
            error!("log {} {trouble}", shown(self.path));
        }
        if self.source != Source::Live && !self.due {
            self.due = true;
            "due: a killed run left it half-way".clone_into(&mut self.reason);
        } else {
            decision.notes.iter().for_each(|note| tell!("{note}"));
        }
        tell!("  {}", self.reason);
    }

    /// Opens the directories; `false` where there is nothing to rotate.
    fn find(&mut self, run: &Run<'_>) -> Told<bool> {
        let rules = &run.stanza.rules;
        let Some(name) = self.path.file_name() else { return fail!("stat of {} failed: no name", shown(self.path)) };
        let parent = self.path.parent().filter(|path| *path != Path::new("")).unwrap_or(Path::new("."));
        let dir = match run.dirs.open(parent) {
            Ok(dir) => dir,
            Err(error) if error.kind() == ErrorKind::NotFound && rules.missingok => {
                tell!("  log {} does not exist -- skipping", shown(self.path));
                self.not("it does not exist")?;
                return Ok(false);
            }
            // Word for word what a missing log is told by, too.
            Err(error) => return fail!("stat of {} failed: {}", shown(parent), why(&error)),
        };
        if rules.su.is_none() && rustix::process::getuid().is_root() {
            refuse_insecure(self.path, &dir)?;
        }
        let old = match &rules.olddir {
            // As with logrotate, its time begins when its copies have a place.
            Some(olddir) => self.olddir(run, &dir, parent, olddir).inspect_err(|_| self.known = false)?,
            None => Arc::clone(&dir),
        };
        self.site = Some(Site { dir, old, name: name.to_owned() });
        Ok(true)
    }

    fn olddir(&self, run: &Run<'_>, dir: &Dir, parent: &Path, olddir: &OsStr) -> Told<Arc<Dir>> {
        let (rules, place) = (&run.stanza.rules, &run.stanza.place);
        let path = parent.join(olddir);
        let verify = |error: &std::io::Error| {
            error!("{place} error verifying olddir path {}: {}", shown(&path), why(error));
            Failed
        };
        let old = match run.dirs.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound && rules.createolddir && !run.is_dry() => {
                make_path(&path, &rules.olddir_ownership)?;
                run.dirs.open(&path).map_err(|error| verify(&error))?
            }
            opened => opened.map_err(|error| verify(&error))?,
        };
        let device = |dir: &Dir| dir.stat_self().map(|stat| stat.st_dev).ok();
        let copies = rules.copytruncate || rules.copy || rules.renamecopy;
        if !copies && device(dir) != device(&old) {
            let log = shown(self.path);
            return fail!("{place} olddir {} and log file {log} are on different devices", shown(olddir));
        }
        Ok(old)
    }
}

/// Others than root could change what lies in the directory: that needs `su`, and the line that would work is named.
fn refuse_insecure(path: &Path, dir: &Dir) -> Told {
    let stat = match dir.stat_self() {
        Ok(stat) => stat,
        Err(error) => return fail!("stat of {} failed: {}", shown(dir.path()), why(&error)),
    };
    let by_group = stat.st_gid != 0 && stat.st_mode & 0o020 != 0;
    if !by_group && stat.st_mode & 0o002 == 0 {
        return Ok(());
    }
    error!(
        "skipping \"{}\" because parent directory has insecure permissions (It's world writable or writable by group \
         which is not \"root\") Set \"su\" directive in config file to tell logrotate which user/group should be used \
         for rotation.",
        shown(path)
    );
    crate::warn!("for {}: this line would work: {}", shown(path), su_line(stat.st_uid, stat.st_gid));
    Err(Failed)
}

/// The `su` line for a directory's owner and group.
pub fn su_line(uid: u32, gid: u32) -> String {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name);
    let group = nix::unistd::Group::from_gid(gid.into()).ok().flatten().map(|group| group.name);
    format!("su {} {}", user.unwrap_or_else(|| format!(":{uid}")), group.unwrap_or_else(|| format!(":{gid}")))
}

/// Makes a directory and those above it that are missing.
fn make_path(path: &Path, ownership: &Ownership) -> Told {
    let mode = ownership.mode.unwrap_or(0o755);
    tell!("creating new directory {} mode = 0{mode:o}", shown(path));
    let missing: Vec<&Path> =
        path.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.is_dir()).collect();
    for path in missing.into_iter().rev() {
        let parent = path.parent().filter(|path| *path != Path::new("")).unwrap_or(Path::new("."));
        let Some(name) = path.file_name() else { continue };
        let made = Dir::open(parent).and_then(|dir| dir.make_dir(name, mode, ownership.uid, ownership.gid));
        if let Err(error) = made {
            return fail!("error creating {}: {}", shown(path), why(&error));
        }
    }
    Ok(())
}

/// Which of a stanza's files are rotated copies of its other files.
pub struct Copies<'a> {
    run: &'a Run<'a>,
    files: std::collections::HashSet<&'a [u8]>,
}

/// What copies of another compressor end in.
const COMPRESSED: [&[u8]; 4] = [b".gz", b".bz2", b".xz", b".zst"];

impl<'a> Copies<'a> {
    /// The files of a stanza.
    pub fn of(run: &'a Run<'a>) -> Self {
        let has_pattern = run.stanza.words.iter().any(|word| crate::glob::is_pattern(word));
        let files = if has_pattern {
            run.stanza.files.iter().map(|file| file.as_os_str().as_bytes()).collect()
        } else {
            Default::default()
        };
        Self { run, files }
    }

    /// Whether a file is the copy of another one: rotating it again would make copies of copies without end.
    fn has(&self, path: &Path) -> bool {
        let is_named = || self.run.stanza.words.iter().any(|word| word == path.as_os_str());
        let Some(name) = path.file_name().filter(|_| !self.files.is_empty() && !is_named()) else { return false };
        let bytes = name.as_bytes();
        let plain = COMPRESSED.iter().find_map(|end| bytes.strip_suffix(*end)).unwrap_or(bytes);
        let rules = &self.run.stanza.rules;
        let extension = rules.extension.as_ref().map(|end| end.as_bytes());
        let all = path.as_os_str().as_bytes();
        let is_copy_of = |log: &[u8]| {
            let log = OsStr::from_bytes(&log[all.len() - bytes.len()..]);
            Names::new(log, rules, self.run.now)
                .is_ok_and(|names| names.read(name).is_some() || names.read(OsStr::from_bytes(plain)).is_some())
        };
        (all.len() - bytes.len() + 1..all.len()).any(|length| {
            let log = &all[..length];
            let other = extension.map(|end| [log, end].concat()).filter(|other| other != all);
            (self.files.contains(log) && is_copy_of(log))
                || other.is_some_and(|other| self.files.contains(other.as_slice()) && is_copy_of(&other))
        })
    }
}
