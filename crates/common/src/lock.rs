//! One run at a time: flock(2) on a 0600 file of our own.
//!
//! Never on a directory or a file that others can open: whoever can open a file can lock it. The handle is closed on
//! exec, so no child can keep the lock.

use crate::dirfd::Dir;
use anyhow::{Context as _, Result};
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long to wait for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Give up at once.
    No,
    /// Try for this long.
    Upto(Duration),
}

/// The lock is held by another run.
#[derive(Debug)]
pub struct Held(PathBuf);

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "another run holds the lock {:?}", self.0)
    }
}

impl std::error::Error for Held {}

/// Whether that is what went wrong, whatever hints the error carries.
pub fn is_held(error: &anyhow::Error) -> bool {
    crate::hint::find::<Held>(error).is_some()
}

/// A lock that is held until this is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "held, never read")] File);

impl Lock {
    /// Takes the lock of this name in a directory. The file stays: removing it would let two runs hold "the" lock.
    ///
    /// # Errors
    ///
    /// [`Held`] in the chain where another run has it, `stopped by …` when a signal came while waiting.
    pub fn take(dir: &Dir, name: &str, wait: Wait) -> Result<Self> {
        let path = dir.join(name);
        let file = dir.open_lock(name).with_context(|| format!("cannot create {path:?}"))?;
        let deadline = match wait {
            Wait::No => None,
            Wait::Upto(time) => Instant::now().checked_add(time),
        };
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self(file)),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("cannot lock {path:?}"));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            crate::interrupt::check()?;
            if wait == Wait::No || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(Held(path).into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_is_in_the_way() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let _first = Lock::take(&dir, ".app.lock", Wait::No).unwrap();

        let error = Lock::take(&dir, ".app.lock", Wait::No).unwrap_err();

        assert!(error.to_string().starts_with("another run holds the lock"));
        assert!(is_held(&crate::hint::with(error.context("app"), "wait")));
    }

    #[test]
    fn a_lock_is_free_again_when_its_run_ends() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        drop(Lock::take(&dir, ".app.lock", Wait::No).unwrap());

        assert!(Lock::take(&dir, ".app.lock", Wait::Upto(Duration::from_millis(1))).is_ok());
    }

    #[test]
    fn waiting_ends_when_the_other_run_does() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let first = Lock::take(&dir, ".app.lock", Wait::No).unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(150));
            drop(first);
        });

        assert!(Lock::take(&dir, ".app.lock", Wait::Upto(Duration::from_secs(10))).is_ok());
    }
}
