//! The journal: one JSON line a run, appended under a lock: who, when, what, result.
//!
//! It is opened before the work starts, so that a journal that cannot be written stops the run and not the record of
//! it. A torn last line (a machine that went down in the middle of one) is closed with a newline and left to the reader
//! to skip. It shows accidents; it does not hold against root.

use crate::report::Report;
use crate::status::Code;
use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags};
use std::fs::{File, TryLockError};
use std::io::{ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a run waits for others to write their lines.
const PATIENCE: Duration = Duration::from_secs(10);

/// A journal file, open for appending.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens the journal, creating it with mode 0600.
    ///
    /// # Errors
    ///
    /// "cannot open …".
    pub fn open(path: &Path) -> Result<Self> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
            .map_err(std::io::Error::from)
            .with_context(|| format!("cannot open {path:?}"))?
            .into();
        let stat = file.metadata().with_context(|| format!("cannot open {path:?}"))?;
        anyhow::ensure!(stat.is_file(), "cannot open {path:?}: is not a regular file");
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends the line of a run and makes it durable.
    ///
    /// # Errors
    ///
    /// "cannot write …".
    pub fn append(mut self, report: &Report, code: Code, took: Duration) -> Result<()> {
        let mut line = line(report, code, took);
        let mut write = || -> std::io::Result<()> {
            lock(&self.file)?;
            if ends_torn(&mut self.file)? {
                line.insert(0, '\n');
            }
            // One write: with O_APPEND it lands whole or, on a full disk, as one torn line.
            self.file.write_all(line.as_bytes())?;
            self.file.sync_all()
        };
        write().with_context(|| format!("cannot write {:?}", self.path))
    }
}

/// Takes the lock, but not at any price: whoever can open the journal can lock it, and a run must end.
fn lock(file: &File) -> std::io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(std::io::Error::new(ErrorKind::TimedOut, "another program holds a lock on it"));
            }
        }
    }
}

fn ends_torn(file: &mut File) -> std::io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn line(report: &Report, code: Code, took: Duration) -> String {
    let items: Vec<_> = report
        .items
        .iter()
        .map(|item| {
            let mut object = report.object(item);
            object.remove("tool");
            object.remove("time");
            serde_json::Value::Object(object)
        })
        .collect();
    let uid = nix::unistd::getuid();
    let user = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
    let mut document = serde_json::json!({
        "time": report.time.rfc3339(),
        "tool": report.tool,
        "version": env!("CARGO_PKG_VERSION"),
        "host": rustix::system::uname().nodename().to_string_lossy(),
        "user": user.unwrap_or_else(|| uid.to_string()),
        "pid": std::process::id(),
        "status": report.status().word(),
        "code": code as u8,
        "duration_seconds": (took.as_secs_f64() * 1000.0).round() / 1000.0,
        "items": items,
    });
    if let Ok(sudo) = std::env::var("SUDO_USER") {
        document["sudo_user"] = sudo.into();
    }
    format!("{}\n", crate::text::json(&document.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Item, Style};
    use crate::status::Status;
    use crate::units::Stamp;

    fn report() -> Report {
        let mut report = Report::new("pgbackup", Style::Action, Stamp::parse_rfc3339("2026-11-20T02:00:00Z").unwrap());
        report.push(Item::new("app", Status::Ok, "done"));
        report
    }

    fn append(path: &Path) {
        let journal = Journal::open(path).unwrap();
        journal.append(&report(), Code::Ok, Duration::from_millis(1500)).unwrap();
    }

    #[test]
    fn a_run_is_one_line() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("journal");

        append(&path);
        append(&path);

        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(line["items"][0]["subject"], "app");
        assert_eq!(line["duration_seconds"], 1.5);
    }

    #[test]
    fn a_torn_last_line_does_not_swallow_the_next_run() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("journal");
        std::fs::write(&path, "{\"time\":\"2026-").unwrap();

        append(&path);

        let text = std::fs::read_to_string(&path).unwrap();
        let last = text.lines().last().unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(last).is_ok(), "{text}");
    }

    #[test]
    fn two_runs_at_once_never_mix_their_lines() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("journal");

        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| append(&path)));
            }
        });

        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 160);
        assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }
}
