//! Scripts of the configuration, run by sh(1) where the privileges are; and the note of what a killed run owes.
//!
//! A script's text goes to the shell as the admin wrote it; names of logs reach it as `$1` and `$2` only (THREATS L7). It
//! inherits our environment, umask and streams, as with logrotate, but neither our standard input nor the lock.

use crate::child;
use crate::message::{shown, why};
use crate::run::{Begun, Host};
use crate::site::{Access, Dir, Hardlinks};
use crate::state;
use crate::tell;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Who runs scripts: this process.
pub struct Here<'a> {
    /// How long a script may run.
    pub limit: Duration,
    /// The note of what would be owed.
    pub note: &'a Note,
}

impl Host for Here<'_> {
    fn script(&self, body: &OsStr, first: &OsStr, second: Option<&OsStr>) -> Result<(), String> {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(body).arg("logrotate_script").arg(first).args(second).stdin(Stdio::null());
        child::run(command, self.limit).map_err(|error| format!("cannot execute sub-shell: {}", why(&error)))?.result
    }

    fn begins(&self, logs: &[Begun<'_>]) {
        self.note.add(logs);
    }
}

/// The logs that are being rotated, in `STATE.interrupted` beside the state file, for as long as this run lives.
///
/// A daemon that was not told of a rotation writes into the old copy for ever. So when a run was killed before it came to
/// the scripts of a log, the next one runs them, whether that log is due or not.
pub struct Note {
    place: Option<(Dir, OsString)>,
}

/// What a line of the note may have: a path and its escapes.
const MOST_BYTES: u64 = 64 << 20;

impl Note {
    /// The note beside a state file; none where there is no state file.
    pub fn beside(state: &Path) -> Self {
        let place = if state == Path::new("/dev/null") { None } else { state::place(state).ok() };
        let place = place.map(|(dir, mut name)| {
            name.push(".interrupted");
            (dir, name)
        });
        Self { place }
    }

    /// The logs whose scripts a killed run did not come to.
    pub fn owed(&self) -> HashMap<PathBuf, u64> {
        let text = self.read().unwrap_or_default();
        let owed: HashMap<_, _> = text.split(|byte| *byte == b'\n').filter_map(begun).collect();
        if !owed.is_empty() {
            tell!("an earlier run was killed while it rotated; the scripts of {} logs are run again", owed.len());
        }
        owed
    }

    fn read(&self) -> Option<Vec<u8>> {
        let (dir, name) = self.place.as_ref()?;
        let (file, stat) = dir.open_log(name, Access::Read, Hardlinks::No).ok()?;
        let mut text = Vec::new();
        (stat.st_uid == rustix::process::geteuid().as_raw()).then_some(())?;
        file.take(MOST_BYTES).read_to_end(&mut text).ok()?;
        Some(text)
    }

    fn add(&self, logs: &[Begun<'_>]) {
        let Some((dir, name)) = &self.place else { return };
        let mut text = Vec::new();
        for (log, inode) in logs {
            let inode = format!("\" {inode}\n");
            text.extend([b"\"".as_slice(), &state::escaped(log.as_os_str()), inode.as_bytes()].concat());
        }
        let written = || -> io::Result<()> {
            let mut file = match dir.open_log(name, Access::Change, Hardlinks::No) {
                Ok((file, _)) => file,
                Err(_) => {
                    dir.remove(name)?;
                    dir.create(name)?
                }
            };
            io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
            file.write_all(&text)
        };
        if let Err(error) = written() {
            tell!("cannot write {}: {}", shown(&dir.join(name)), why(&error));
        }
    }

    /// Removes the note: nothing is owed any more.
    pub fn settle(&self) {
        if let Some((dir, name)) = &self.place {
            // Kept, it would have some scripts run once more; that does no harm.
            drop(dir.remove(name));
        }
    }
}

/// `"NAME" INODE`; a line that was not written to its end is of a rotation that was not begun.
fn begun(line: &[u8]) -> Option<(PathBuf, u64)> {
    let quoted = line.strip_prefix(b"\"")?;
    let end = quoted.iter().rposition(|byte| *byte == b'"')?;
    let inode = std::str::from_utf8(&quoted[end + 1..]).ok()?.trim().parse().ok()?;
    Some((PathBuf::from(OsString::from_vec(unescaped(&quoted[..end]))), inode))
}

fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match (byte, byte == &b'\\') {
            (_, true) => match bytes.next() {
                Some(b'n') => b'\n',
                Some(other) => *other,
                None => b'\\',
            },
            (byte, false) => *byte,
        });
    }
    OsStr::from_bytes(&plain).as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_owed_until_it_is_settled() {
        let temp = tempfile::tempdir().unwrap();
        let state = temp.path().join("state");
        let logs = ["/a", "/b \"quoted\"\\\nline"];

        Note::beside(&state).add(&logs.map(|log| (Path::new(log), 7)));
        let next = Note::beside(&state);

        assert_eq!(next.owed(), logs.map(|log| (PathBuf::from(log), 7)).into());
        next.settle();
        assert!(next.owed().is_empty());
    }

    #[test]
    fn without_a_state_file_there_is_no_note() {
        let note = Note::beside(Path::new("/dev/null"));

        note.add(&[(Path::new("/a"), 7)]);

        assert!(note.owed().is_empty() && !Path::new("/dev/null.interrupted").exists());
    }

    #[test]
    fn a_script_gets_names_as_arguments() {
        let note = Note::beside(Path::new("/dev/null"));
        let here = Here { limit: Duration::from_secs(10), note: &note };
        let script = |body: &str| here.script(body.as_ref(), "a;b".as_ref(), Some("$(c)".as_ref()));

        assert_eq!(script("test \"$1\" = 'a;b' && test \"$2\" = '$(c)' && test $# = 2"), Ok(()));
        assert_eq!(script("exit 1"), Err("child did not exit with status 0".to_owned()));
    }
}
