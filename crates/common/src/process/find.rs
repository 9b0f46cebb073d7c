//! Where programs are, and as whom they run.

use crate::dirfd::is_trusted_program_dir;
use crate::hint::Hint as _;
use anyhow::{Context as _, Result, anyhow};
use std::path::{Path, PathBuf};

/// An unprivileged user that children run as when we are root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
    /// Its home directory, where its own pgpass lies.
    pub home: PathBuf,
}

impl User {
    /// Looks up a user by name.
    ///
    /// # Errors
    ///
    /// Where there is no such user.
    pub fn named(name: &str) -> Result<Self> {
        let user = nix::unistd::User::from_name(name)
            .with_context(|| format!("cannot look up user {name:?}"))?
            .with_context(|| format!("no user {name:?}"))?;
        Ok(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw(), home: user.dir })
    }
}

/// Finds a program in the directories of PATH that only root or we can write to.
pub fn find(name: &str) -> Option<PathBuf> {
    find_all(name).into_iter().next()
}

/// Every program of this name in the trusted directories of PATH, in its order.
pub fn find_all(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    std::env::split_paths(&path)
        .filter(|dir| is_trusted_program_dir(dir))
        .map(|dir| dir.join(name))
        .filter(|program| is_executable(program))
        .collect()
}

/// Whether this process has root's rights.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Another program of ours: beside the one that runs, else in the trusted directories of PATH.
///
/// # Errors
///
/// Where it is in none of them.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find the program that runs")?;
    let beside = own.parent().filter(|dir| is_trusted_program_dir(dir)).map(|dir| dir.join(name));
    beside
        .filter(|program| is_executable(program))
        .or_else(|| find(name))
        .ok_or_else(|| anyhow!("cannot find the program {name}"))
        .hint(format!("install it beside {own:?}, or in a directory of PATH that only root can write to"))
}

/// Whether a path is a regular file that somebody may execute.
pub fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|stat| stat.is_file() && stat.permissions().mode() & 0o111 != 0)
}
