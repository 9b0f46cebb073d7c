//! The state file: when each log was rotated last, in logrotate's own format.
//!
//! ```text
//! logrotate state -- version 2
//! "/var/log/app.log" 2026-11-20-5:10:7
//! ```
//!
//! A line that cannot be read is left out with an error and the others count. It is replaced as a whole, after fsync.

use crate::message::{Failed, Told, reason, shown, why};
use crate::site::Acl;
use crate::{error, fail, tell, warn};
use jiff::Zoned;
use jiff::civil::{Date, DateTime};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

const TOP: &str = "logrotate state -- version 2\n";
/// A log that was not seen for longer is forgotten: 365.24 days.
const FORGOTTEN_AFTER: i64 = 31_556_926;
const MOST_LINE: usize = 64 * 1024;

/// When a log was rotated last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// By the clock on the wall.
    pub last: DateTime,
    /// Whether this run has seen the log.
    pub seen: bool,
}

/// All that is known of earlier rotations.
#[derive(Debug, Default)]
pub struct State {
    entries: HashMap<OsString, Entry>,
}

impl State {
    /// When a log was rotated last, if the file knows it.
    pub fn get(&self, log: &Path) -> Option<Entry> {
        self.entries.get(log.as_os_str()).copied()
    }

    /// Sets it.
    pub fn set(&mut self, log: PathBuf, entry: Entry) {
        self.entries.insert(log.into_os_string(), entry);
    }

    /// Reads a state file; what is wrong with it is said, and what is good counts.
    pub fn read(path: &Path, missing: Missing) -> (Self, Told) {
        tell!("Reading state from file: {}", shown(path));
        let file = match open(path, OFlags::RDONLY) {
            Ok(file) => file,
            Err(error) if missing == Missing::IsEmpty && error.kind() == io::ErrorKind::NotFound => {
                tell!("state file {} does not exist", shown(path));
                return (Self::default(), Ok(()));
            }
            Err(error) => {
                return (Self::default(), fail!("error opening state file {}: {}", shown(path), why(&error)));
            }
        };
        Self::parse(BufReader::new(file), &shown(path).to_string())
    }

    fn parse(mut text: impl io::BufRead, name: &str) -> (Self, Told) {
        let (mut state, mut result) = (Self::default(), Ok(()));
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            // A limit, so that a file without line ends takes no memory.
            match text.by_ref().take(MOST_LINE as u64).read_until(b'\n', &mut line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => return (state, fail!("error reading state file {name}: {}", why(&error))),
            }
            let is_whole = line.pop_if(|last| *last == b'\n').is_some();
            if number == 1 {
                if !matches!(line.as_slice(), b"logrotate state -- version 1" | b"logrotate state -- version 2") {
                    error!("bad top line in state file {name}");
                    result = Err(Failed);
                }
                continue;
            }
            match entry(&line).filter(|_| is_whole) {
                Some((log, last)) => state.set(log, Entry { last, seen: false }),
                None if line.is_empty() => {}
                None => {
                    error!("bad line {number} in state file {name}");
                    result = Err(Failed);
                }
            }
        }
        (state, result)
    }

    /// Replaces the state file.
    ///
    /// It keeps its mode, owner and ACL; nobody but its owner and group may read it, because whoever can read can lock.
    pub fn write(&self, path: &Path, now: &Zoned) -> Told {
        if path == Path::new("/dev/null") {
            return Ok(());
        }
        let old = match open(path, OFlags::RDONLY) {
            Ok(old) => old,
            Err(error) => return fail!("error opening state file {}: {}", shown(path), why(&error)),
        };
        if !old.metadata().is_ok_and(|stat| stat.is_file()) {
            return fail!("not writing state to {} because it is not a regular file", shown(path));
        }
        let replaced = self.replace(path, &old, &self.text(now));
        replaced.or_else(|error| fail!("error creating temp state file {}.tmp: {}", shown(path), why(&error)))
    }

    fn replace(&self, path: &Path, old: &File, text: &[u8]) -> io::Result<()> {
        let (dir, name) = place(path)?;
        let mut temporary = name.clone();
        temporary.push(".tmp");
        dir.remove(&temporary)?;
        let write = || -> io::Result<()> {
            let mut file = dir.create(&temporary)?;
            file.write_all(text)?;
            common::failpoint!("state-written")?;
            let mut stat = rustix::fs::fstat(old)?;
            let was_public = stat.st_mode & 0o004 != 0;
            stat.st_mode &= !0o007;
            crate::site::give(&file, &stat, Some(old), if was_public { Acl::Dropped } else { Acl::Kept })?;
            file.sync_all()?;
            dir.rename(&temporary, &dir, &name)?;
            dir.sync()
        };
        write().inspect_err(|_| drop(dir.remove(&temporary)))
    }

    fn text(&self, now: &Zoned) -> Vec<u8> {
        let mut logs: Vec<_> = self.entries.iter().collect();
        logs.sort_unstable_by(|one, other| one.0.cmp(other.0));
        let mut text = TOP.as_bytes().to_vec();
        for (log, entry) in logs {
            let age = now.datetime().duration_since(entry.last).as_secs();
            if !entry.seen && age > FORGOTTEN_AFTER {
                tell!(
                    "Removing {} from state file, because it does not exist and has not been rotated for one year",
                    shown(log)
                );
                continue;
            }
            text.push(b'"');
            text.extend(escaped(log));
            text.extend(format!("\" {}\n", stamp(entry.last)).as_bytes());
        }
        text
    }
}

/// What a missing state file means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing was ever rotated.
    IsEmpty,
    /// It should have been made when it was locked.
    IsAnError,
}

/// The lock of a state file, held until this is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, never read")] File);

/// How a locked state file is dealt with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// `--skip-state-lock`.
    Skip,
    /// `--wait-for-state-lock`.
    Wait,
    /// Give up.
    Try,
}

/// Locks the state file, which is made where it is missing.
///
/// # Errors
///
/// Another run holds it, or it cannot be opened.
pub fn lock(path: &Path, locking: Locking) -> Told<Option<Lock>> {
    if path == Path::new("/dev/null") {
        return Ok(None);
    }
    loop {
        let file = opened_or_made(path)?;
        if locking == Locking::Skip {
            tell!("Skip locking state file {}", shown(path));
            return Ok(None);
        }
        let stat = match rustix::fs::fstat(&file) {
            Ok(stat) => stat,
            Err(error) => return fail!("error stat()ing state file {}: {}", shown(path), reason(error)),
        };
        if stat.st_mode & 0o004 != 0 {
            warn!(
                "state file {} is world-readable and thus can be locked from other unprivileged users. \
                 Skipping lock acquisition...",
                shown(path)
            );
            return Ok(None);
        }
        hold(&file, path, locking)?;
        // Whoever held it has replaced the file meanwhile: then this is the lock of a file that nobody will open again.
        if rustix::fs::stat(path).is_ok_and(|now| (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino)) {
            tell!("acquired lock on state file {}", shown(path));
            return Ok(Some(Lock(file)));
        }
    }
}

fn opened_or_made(path: &Path) -> Told<File> {
    match open(path, OFlags::RDWR) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tell!("Creating stub state file: {}", shown(path));
            open(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
                .or_else(|error| fail!("error creating stub state file {}: {}", shown(path), why(&error)))
        }
        Err(error) => fail!("error opening state file {}: {}", shown(path), why(&error)),
    }
}

fn hold(file: &File, path: &Path, locking: Locking) -> Told {
    let mut operation = FlockOperation::NonBlockingLockExclusive;
    if locking == Locking::Wait {
        tell!("waiting for lock on state file {}", shown(path));
        operation = FlockOperation::LockExclusive;
    }
    match rustix::fs::flock(file, operation) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => fail!(
            "state file {} is already locked\nlogrotate does not support parallel execution on the same set of logfiles.",
            shown(path)
        ),
        Err(error) => fail!("error acquiring lock on state file {}: {}", shown(path), reason(error)),
    }
}

/// Opens the state file, never what a link leads to. A new one gets mode 0640.
fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::from_raw_mode(0o640))?.into())
}

/// The directory of the state file, and its name there.
pub fn place(path: &Path) -> io::Result<(crate::site::Dir, OsString)> {
    let name = path.file_name().ok_or_else(|| io::Error::other("not a file name"))?.to_owned();
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    Ok((crate::site::Dir::open(parent)?, name))
}

/// A log's name as it stands between quotes: no name can end its line (CVE-2011-1155, THREATS L7).
pub fn escaped(name: &OsStr) -> Vec<u8> {
    let mut text = Vec::with_capacity(name.len());
    for byte in name.as_bytes() {
        match byte {
            b'"' | b'\\' => text.extend([b'\\', *byte]),
            b'\n' => text.extend(*b"\\n"),
            byte => text.push(*byte),
        }
    }
    text
}

/// One line, with or without quotes around the name.
fn entry(line: &[u8]) -> Option<(PathBuf, DateTime)> {
    let (name, rest) = match line.strip_prefix(b"\"") {
        Some(quoted) => unescaped(quoted)?,
        None => {
            let end = line.iter().position(|byte| *byte == b' ')?;
            (line[..end].to_vec(), &line[end..])
        }
    };
    let date = parse_stamp(std::str::from_utf8(rest).ok()?.trim())?;
    (!name.is_empty()).then(|| (PathBuf::from(OsString::from_vec(name)), date))
}

fn unescaped(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut name = Vec::new();
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some((name, &text[at + 1..])),
            b'\\' => {
                at += 1;
                match text.get(at)? {
                    b'n' => name.push(b'\n'),
                    other => name.push(*other),
                }
            }
            byte => name.push(*byte),
        }
        at += 1;
    }
}

fn stamp(date: DateTime) -> String {
    let (day, time) = (date.date(), date.time());
    let day = format!("{}-{}-{}", day.year(), day.month(), day.day());
    format!("{day}-{}:{}:{}", time.hour(), time.minute(), time.second())
}

/// `Y-M-D` or `Y-M-D-h:m:s`; numbers need no leading zeros.
fn parse_stamp(text: &str) -> Option<DateTime> {
    let mut parts = text.splitn(4, '-');
    let year: i16 = parts.next()?.parse().ok()?;
    let month: i8 = parts.next()?.parse().ok()?;
    let day: i8 = parts.next()?.parse().ok()?;
    let mut time = [0_i8; 3];
    for (place, number) in time.iter_mut().zip(parts.next().unwrap_or("0:0:0").split(':')) {
        *place = number.parse().ok()?;
    }
    let is_sane = year == 1900 || (1970..=2100).contains(&year);
    // Day 0 was once written for "never".
    let date = Date::new(year, month, day.max(1)).ok().filter(|_| is_sane && day >= 0)?;
    Some(date.to_datetime(jiff::civil::Time::new(time[0], time[1], time[2], 0).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    fn parsed(text: &str) -> (State, Told) {
        State::parse(text.as_bytes(), "state")
    }

    #[test]
    fn what_was_written_is_read_again_whatever_the_name() {
        let now = date(2026, 11, 20).at(5, 10, 7, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
        let mut state = State::default();
        let entry = Entry { last: now.datetime(), seen: true };
        let nasty = ["/a\"b", "/a\\nb", "/a\nb", "/a b", "/\" 2026-1-1\n\"/etc/x"];
        for name in nasty {
            state.set(name.into(), entry);
        }

        let text = state.text(&now);
        let (again, result) = State::parse(text.as_slice(), "state");

        assert_eq!(result, Ok(()));
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), nasty.len() + 1);
        for name in nasty {
            assert_eq!(again.get(name.as_ref()).unwrap().last, entry.last, "{name:?}");
        }
    }

    #[test]
    fn old_forms_of_dates_are_understood() {
        let (state, result) = parsed("logrotate state -- version 1\n/a 2012-8-19\n\"b\" 2012-08-19-3:04:05\n\n");

        assert_eq!(result, Ok(()));
        assert_eq!(state.get("/a".as_ref()).unwrap().last, date(2012, 8, 19).at(0, 0, 0, 0));
        assert_eq!(state.get("b".as_ref()).unwrap().last, date(2012, 8, 19).at(3, 4, 5, 0));
    }

    #[test]
    fn a_bad_line_spoils_no_other() {
        for bad in ["\"/x", "\"/x\" 2026-13-1", "\"/x\" 1969-1-1", "\"/x\"", "x", "\"/x\" 2026-1-1-24:0:0", "\0\0\0"] {
            let (state, result) = parsed(&format!("{TOP}\"/a\" 2026-1-1\n{bad}\n\"/b\" 2026-1-1\n"));

            assert_eq!(result, Err(Failed), "{bad:?}");
            assert!(state.get("/a".as_ref()).is_some() && state.get("/b".as_ref()).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_count() {
        let (state, result) = parsed(&format!("{TOP}\"/a\" 2026-11-2"));

        assert_eq!((state.get("/a".as_ref()), result), (None, Err(Failed)));
    }

    #[test]
    fn who_was_not_seen_for_a_year_is_forgotten() {
        let now = date(2026, 11, 20).at(5, 10, 7, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap();
        let mut state = State::default();
        let last = date(2025, 11, 1).at(0, 0, 0, 0);
        state.set("/gone".into(), Entry { last, seen: false });
        state.set("/there".into(), Entry { last, seen: true });

        let text = String::from_utf8(state.text(&now)).unwrap();

        assert!(!text.contains("/gone") && text.contains("\"/there\" 2025-11-1-0:0:0\n"), "{text}");
    }
}
