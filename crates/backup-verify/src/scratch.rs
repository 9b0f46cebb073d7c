//! A directory for one throw-away cluster: made with room enough, locked while in use, swept when a killed run left it.
//!
//! ```text
//! WORK/.lock                   held while one is made or swept
//! WORK/verify-STAMP-PID/lock   held by the run that uses it: who gets it may remove the directory
//!                      /data /socket /tablespaces   of the user that the cluster runs as
//! ```
//!
//! Rows of a backup lie here as plain text while it is restored. Source: THREATS G5, V2, V6.

use anyhow::{Context as _, Result, anyhow};
use common::dirfd::Dir;
use common::hint::{self, Hint as _};
use common::lock::{self, Lock, Wait};
use common::process::User;
use common::units::{self, Stamp};
use rustix::fs::{AtFlags, FileType, Mode};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

const PREFIX: &str = "verify-";
const LOCK: &str = "lock";
/// The longest path of a Unix socket, without its ending NUL. Source: unix(7).
const SOCKET_PATH: usize = 107;
/// What a cluster takes beside its tables: catalogs, and WAL up to its limit.
const OWN_NEEDS: u64 = 256 << 20;
/// How long another run may take to make or sweep a directory.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of its own; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    #[expect(dead_code, reason = "held, never read")]
    lock: Lock,
}

/// Where clusters are made unless `--work-dir` says otherwise; not below /var/lib/nightshift, which is root's alone.
pub fn default_place() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (common::process::is_root(), set("XDG_CACHE_HOME"), set("HOME")) {
        (true, ..) => "/var/lib/nightshift-verify".into(),
        (false, Some(cache), _) => cache.join("nightshift/verify"),
        (false, None, Some(home)) => home.join(".cache/nightshift/verify"),
        (false, None, None) => "/var/lib/nightshift-verify".into(),
    }
}

impl Scratch {
    /// Sweeps what killed runs left, and makes a directory with room for a database of that size.
    ///
    /// # Errors
    ///
    /// A place that strangers can write to, that is full, or that the cluster's user cannot enter.
    pub fn make(work: &Path, user: Option<&User>, size: u64, now: Stamp) -> Result<Self> {
        // The server changes into its directory, and paths that begin elsewhere would lead nowhere.
        let work = &std::path::absolute(work).with_context(|| format!("cannot use {work:?}"))?;
        make_place(work)?;
        let dir = Dir::open(work)?;
        dir.refuse_strangers()?;
        let _making = Lock::take(&dir, ".lock", Wait::Upto(PATIENCE))?;
        sweep(&dir)?;
        enough(&dir, size)?;
        let path = work.join(format!("{PREFIX}{now}-{}", std::process::id()));
        make_directory(&path, 0o711)?;
        let lock = Lock::take(&Dir::open(&path)?, LOCK, Wait::No)?;
        let scratch = Self { path, lock };
        for part in [scratch.data(), scratch.socket(), scratch.tablespaces()] {
            make_directory(&part, 0o700)?;
            give(&part, user)?;
        }
        if let Some(user) = user {
            reachable(&scratch.path, user)?;
        }
        let socket = scratch.socket().join(".s.PGSQL.5432");
        if socket.as_os_str().len() > SOCKET_PATH {
            return Err(anyhow!("the path of the socket {socket:?} is too long"))
                .hint("name a directory with a shorter path: --work-dir DIR");
        }
        Ok(scratch)
    }

    /// PGDATA.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// The directory of the Unix socket.
    pub fn socket(&self) -> PathBuf {
        self.path.join("socket")
    }

    fn tablespaces(&self) -> PathBuf {
        self.path.join("tablespaces")
    }

    /// Makes a directory for a tablespace.
    ///
    /// # Errors
    ///
    /// "cannot create …".
    pub fn tablespace(&self, number: usize, user: Option<&User>) -> Result<PathBuf> {
        let path = self.tablespaces().join(number.to_string());
        make_directory(&path, 0o700)?;
        give(&path, user)?;
        Ok(path)
    }

    /// Writes a file that only the cluster's user can read.
    ///
    /// # Errors
    ///
    /// "cannot create …".
    pub fn secret(&self, name: &str, text: &str, user: Option<&User>) -> Result<PathBuf> {
        use std::io::Write as _;
        let path = self.path.join(name);
        let act = || format!("cannot create {path:?}");
        let mut file = Dir::open(&self.path)?.create(name).with_context(act)?;
        file.write_all(text.as_bytes()).with_context(act)?;
        give(&path, user)?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The lock goes behind the directory, and with it the next run's right to remove it.
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            common::warn!("cannot remove {:?}: {error}", self.path);
        }
    }
}

/// Makes the place and what is missing above it. Others may pass through what we make, since the cluster's user has to,
/// but see nothing of it.
fn make_place(work: &Path) -> Result<()> {
    let missing: Vec<_> = work.ancestors().take_while(|part| !part.exists()).collect();
    missing.into_iter().rev().try_for_each(|part| make_directory(part, 0o711))
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    let act = || format!("cannot create {path:?}");
    std::fs::create_dir(path).with_context(act).hint("name another place with --work-dir DIR")?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).with_context(act)
}

fn give(path: &Path, user: Option<&User>) -> Result<()> {
    let Some(user) = user else { return Ok(()) };
    std::os::unix::fs::lchown(path, Some(user.uid), Some(user.gid))
        .with_context(|| format!("cannot give {path:?} to user {}", user.name))
}

/// Whether the user can pass through every directory on the way.
fn reachable(path: &Path, user: &User) -> Result<()> {
    let real = std::fs::canonicalize(path).with_context(|| format!("cannot open {path:?}"))?;
    for part in real.ancestors() {
        let stat = std::fs::metadata(part).with_context(|| format!("cannot read mode of {part:?}"))?;
        let may = match (stat.uid() == user.uid, stat.gid() == user.gid) {
            (true, _) => 0o100,
            (false, true) => 0o010,
            (false, false) => 0o001,
        };
        if stat.mode() & may == 0 {
            return Err(anyhow!("user {} cannot enter {part:?}", user.name))
                .hint(format!("run: chmod o+x {part:?}, or name another place with --work-dir DIR"));
        }
    }
    Ok(())
}

/// Removes the directories of runs that are no more: real ones, of ours, whose own lock we get.
fn sweep(work: &Dir) -> Result<()> {
    let us = rustix::process::geteuid().as_raw();
    let names = work.names().with_context(|| format!("cannot read directory {:?}", work.path()))?;
    for name in names.into_iter().filter(|name| name.starts_with(PREFIX)) {
        let path = work.join(&name);
        let stat = rustix::fs::statat(work, &name, AtFlags::SYMLINK_NOFOLLOW);
        let is_ours = stat.is_ok_and(|stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                && stat.st_uid == us
                && Mode::from_raw_mode(stat.st_mode & 0o022).is_empty()
        });
        if !is_ours {
            common::warn!("{path:?} is no directory of ours, and stays");
            continue;
        }
        match Lock::take(&Dir::open(&path)?, LOCK, Wait::No) {
            Ok(_ours) => {
                common::info!("swept {path:?}, which a killed run left");
                std::fs::remove_dir_all(&path).with_context(|| format!("cannot remove {path:?}"))?;
            }
            Err(error) if lock::is_held(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether there is room for a database that has that size where it lives: a new one is no larger, but for the WAL.
fn enough(work: &Dir, size: u64) -> Result<()> {
    let needed = needed(size);
    let free = work.free_bytes().with_context(|| format!("cannot read the space left in {:?}", work.path()))?;
    if free < needed {
        return Err(hint::with(
            anyhow!("{:?} has {} left, and a restore takes {}", work.path(), units::size(free), units::size(needed)),
            "name a place with more room: --work-dir DIR",
        ));
    }
    Ok(())
}

fn needed(size: u64) -> u64 {
    size.saturating_add(size / 4).saturating_add(OWN_NEEDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Stamp {
        Stamp::parse_rfc3339("2026-11-20T02:00:00Z").unwrap()
    }

    #[test]
    fn a_directory_is_gone_when_it_is_no_longer_used() {
        let work = tempfile::tempdir().unwrap();

        let scratch = Scratch::make(work.path(), None, 0, now()).unwrap();
        assert!(scratch.data().is_dir());
        drop(scratch);

        assert_eq!(Dir::open(work.path()).unwrap().names().unwrap(), [".lock"]);
    }

    #[test]
    fn what_a_killed_run_left_is_swept_and_what_runs_or_is_no_directory_of_ours_stays() {
        let work = tempfile::tempdir().unwrap();
        let used = Scratch::make(work.path(), None, 0, now()).unwrap();
        let victim = tempfile::tempdir().unwrap();
        std::fs::write(victim.path().join("file"), "").unwrap();
        make_directory(&work.path().join("verify-left"), 0o711).unwrap();
        std::fs::create_dir(work.path().join("other")).unwrap();
        std::os::unix::fs::symlink(victim.path(), work.path().join("verify-planted")).unwrap();
        std::os::unix::fs::symlink(victim.path(), work.path().join("verify-left/data")).unwrap();

        sweep(&Dir::open(work.path()).unwrap()).unwrap();

        assert!(used.data().is_dir());
        assert!(!work.path().join("verify-left").exists());
        assert!(work.path().join("verify-planted").exists() && work.path().join("other").exists());
        assert!(victim.path().join("file").exists());
    }

    #[test]
    fn a_place_that_everybody_can_write_to_is_refused() {
        let work = tempfile::tempdir().unwrap();
        std::fs::set_permissions(work.path(), std::fs::Permissions::from_mode(0o777)).unwrap();

        let error = Scratch::make(work.path(), None, 0, now()).unwrap_err();

        assert!(error.to_string().contains("writable by every user"), "{error}");
    }

    #[test]
    fn a_database_that_does_not_fit_is_not_begun() {
        let work = tempfile::tempdir().unwrap();

        let error = Scratch::make(work.path(), None, u64::MAX / 2, now()).unwrap_err();

        assert!(error.to_string().contains("a restore takes"), "{error}");
        assert_eq!(Dir::open(work.path()).unwrap().names().unwrap(), [".lock"]);
    }
}
