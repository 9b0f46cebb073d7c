//! Directory handles: a directory is opened once, everything in it is reached by one-component names from there.
//!
//! So nobody who can rename a directory can lead a step of ours elsewhere, and no planted symbolic link is followed.
//! Also here: what may command us, that is, which files are safe to read orders from.

use crate::hint::{self, Hint as _};
use anyhow::{Context as _, Result, anyhow, bail};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// An open directory, with its path for messages.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    /// Opens a directory; a symbolic link to one is followed here and never again.
    ///
    /// # Errors
    ///
    /// When it is no directory or may not be searched.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())
            .map_err(std::io::Error::from)
            .with_context(|| format!("cannot open directory {path:?}"))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Refuses a directory in which strangers can rename or create: the directory or a parent is writable by everyone.
    ///
    /// A sticky parent such as /tmp is fine: what we own in it stays ours. A sticky directory itself is not.
    ///
    /// # Errors
    ///
    /// With the `chmod` to run as a hint.
    pub fn refuse_strangers(&self) -> Result<()> {
        let real =
            std::fs::canonicalize(&self.path).with_context(|| format!("cannot open directory {:?}", self.path))?;
        for (depth, part) in real.ancestors().enumerate() {
            let mode = std::fs::metadata(part).with_context(|| format!("cannot read mode of {part:?}"))?.mode();
            let sticky_parent = depth > 0 && mode & 0o1000 != 0;
            if mode & 0o002 != 0 && !sticky_parent {
                return Err(hint::with(
                    anyhow!("directory {part:?} is writable by every user"),
                    format!("run: chmod o-w {part:?}"),
                ));
            }
        }
        Ok(())
    }

    /// Another handle of the same directory.
    ///
    /// # Errors
    ///
    /// As dup(2).
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()?, path: self.path.clone() })
    }

    /// The path the directory was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, for messages and reports.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Creates a file that did not exist, mode 0600, for writing and reading back.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where the name is taken, also by a dangling symbolic link.
    pub fn create(&self, name: &str) -> std::io::Result<File> {
        one_component(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))?;
        Ok(fd.into())
    }

    /// Opens a regular file for reading; no symbolic link, no FIFO, no device.
    ///
    /// # Errors
    ///
    /// `NotFound`, or `InvalidInput` where it is not a regular file.
    pub fn open_file(&self, name: &str) -> std::io::Result<File> {
        one_component(name)?;
        // NONBLOCK so that a FIFO cannot hold us before fstat has seen what it is.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|error| match error {
            rustix::io::Errno::LOOP => std::io::Error::new(std::io::ErrorKind::InvalidInput, "is a symbolic link"),
            other => other.into(),
        })?;
        regular(&fd)?;
        Ok(fd.into())
    }

    /// Opens our own 0600 file for locking, creating it where it is missing.
    ///
    /// # Errors
    ///
    /// As `open_file`, and where the file may not be written.
    pub fn open_lock(&self, name: &str) -> std::io::Result<File> {
        one_component(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))?;
        regular(&fd)?;
        Ok(fd.into())
    }

    /// Reads a small regular file whole.
    ///
    /// # Errors
    ///
    /// As `open_file`, and `InvalidData` where it holds more than `limit` bytes.
    pub fn read(&self, name: &str, limit: u64) -> std::io::Result<Vec<u8>> {
        let file = self.open_file(name)?;
        // One read for the bytes and one for the end, where a growing buffer would take eight; listing thousands of
        // backups is mostly this.
        let expected = usize::try_from(file.metadata()?.len().min(limit)).unwrap_or(0);
        let mut bytes = Vec::with_capacity(expected + 1);
        (&file).take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            let message = format!("is larger than {}", crate::units::size(limit));
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
        }
        Ok(bytes)
    }

    /// The size of a regular file in it; `None` where there is none of that name.
    ///
    /// # Errors
    ///
    /// Where the directory cannot be searched.
    pub fn size_of(&self, name: &str) -> std::io::Result<Option<u64>> {
        one_component(name)?;
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
                Ok(Some(u64::try_from(stat.st_size).unwrap_or(0)))
            }
            Ok(_) | Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Renames within the directory, replacing what has the new name.
    ///
    /// # Errors
    ///
    /// As renameat(2).
    pub fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        one_component(from)?;
        one_component(to)?;
        Ok(rustix::fs::renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes a name; `Ok` where it was gone already. A symbolic link goes itself, never its target.
    ///
    /// # Errors
    ///
    /// As unlinkat(2).
    pub fn remove(&self, name: &str) -> std::io::Result<()> {
        one_component(name)?;
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes renames and removals in it durable.
    ///
    /// # Errors
    ///
    /// As fsync(2).
    pub fn sync(&self) -> std::io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// The names in it that are valid UTF-8 (ours always are), unsorted.
    ///
    /// # Errors
    ///
    /// As getdents(2).
    pub fn names(&self) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }
}

impl Dir {
    /// Bytes that we may still write to its file system.
    ///
    /// # Errors
    ///
    /// As fstatvfs(3).
    pub fn free_bytes(&self) -> std::io::Result<u64> {
        let stat = rustix::fs::fstatvfs(&self.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn one_component(name: &str) -> std::io::Result<()> {
    if name.is_empty() || name == "." || name == ".." || name.contains('/') {
        let message = format!("not a file name: {name:?}");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

fn regular(fd: &OwnedFd) -> std::io::Result<()> {
    let stat = rustix::fs::fstat(fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, "is not a regular file"));
    }
    Ok(())
}

/// Reads a file that gives us orders: a configuration, a list of options.
///
/// It must belong to root or to us and be writable by nobody else; as root the same holds for every directory above it,
/// where a sticky one is fine. Checked on the open file, never on the path twice. Source: THREATS G3, as in sshd's
/// `StrictModes`.
///
/// # Errors
///
/// `NotFound` in the chain where it does not exist; otherwise the `chmod` or `chown` to run as a hint.
pub fn read_orders(path: &Path, limit: u64) -> Result<String> {
    let act = || format!("cannot open {path:?}");
    // NONBLOCK so that a FIFO cannot hold us before fstat has seen what it is.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: File =
        rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from).with_context(act)?.into();
    let stat = file.metadata().with_context(act)?;
    if !stat.is_file() {
        bail!("cannot read {path:?}: is not a regular file");
    }
    let us = rustix::process::geteuid().as_raw();
    if stat.uid() != 0 && stat.uid() != us {
        return Err(anyhow!("{path:?} belongs to another user (uid {})", stat.uid()))
            .hint(format!("run: chown root {path:?}"));
    }
    if stat.mode() & 0o022 != 0 {
        return Err(anyhow!("{path:?} can be written by others (mode {:04o})", stat.mode() & 0o7777))
            .hint(format!("run: chmod go-w {path:?}"));
    }
    if us == 0 {
        refuse_writable_parents(path)?;
    }
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).with_context(|| format!("cannot read {path:?}"))?;
    if text.len() as u64 > limit {
        bail!("cannot read {path:?}: is larger than {}", crate::units::size(limit));
    }
    Ok(text)
}

fn refuse_writable_parents(path: &Path) -> Result<()> {
    let real = std::fs::canonicalize(path).with_context(|| format!("cannot open {path:?}"))?;
    for parent in real.ancestors().skip(1) {
        let stat = std::fs::metadata(parent).with_context(|| format!("cannot read mode of {parent:?}"))?;
        let sticky = stat.mode() & 0o1000 != 0;
        if stat.uid() != 0 || (stat.mode() & 0o022 != 0 && !sticky) {
            return Err(anyhow!("{path:?} stands below {parent:?}, which others can change"))
                .hint(format!("run: chown root {parent:?} && chmod go-w {parent:?}"));
        }
    }
    Ok(())
}

/// Whether a directory of PATH may be trusted to hold a program: absolute, and only root or we can write to it.
pub fn is_trusted_program_dir(path: &Path) -> bool {
    if !path.is_absolute() {
        return false;
    }
    let Ok(stat) = std::fs::metadata(path) else { return false };
    let us = rustix::process::geteuid().as_raw();
    let owner = stat.uid() == 0 || stat.uid() == us;
    // Group root on a root-owned directory is root itself; any other group is other people.
    let group = stat.mode() & 0o020 == 0 || stat.gid() == 0;
    stat.is_dir() && owner && group && stat.mode() & 0o002 == 0
}

/// A path as text for messages and reports.
pub fn shown(path: &Path) -> String {
    crate::text::bytes(OsStr::as_bytes(path.as_os_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_planted_link_is_neither_opened_nor_written_through() {
        let temp = tempfile::tempdir().unwrap();
        let victim = temp.path().join("victim");
        std::fs::write(&victim, "secret").unwrap();
        symlink(&victim, temp.path().join("link")).unwrap();
        let dir = Dir::open(temp.path()).unwrap();

        assert!(dir.open_file("link").is_err());
        assert!(dir.create("link").is_err());
        dir.remove("link").unwrap();

        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "secret");
    }

    #[test]
    fn a_fifo_does_not_hold_us() {
        let temp = tempfile::tempdir().unwrap();
        let status = std::process::Command::new("mkfifo").arg(temp.path().join("f")).status().unwrap();
        assert!(status.success());

        let error = Dir::open(temp.path()).unwrap().open_file("f").unwrap_err();

        assert_eq!(error.to_string(), "is not a regular file");
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Dir::open(temp.path()).unwrap();

        for name in ["../x", "a/b", "/etc/passwd", "..", "."] {
            assert!(dir.create(name).is_err(), "{name}");
            assert!(dir.remove(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_directory_for_everyone_is_refused_with_the_chmod() {
        let temp = tempfile::tempdir().unwrap();
        let open = temp.path().join("open");
        std::fs::create_dir(&open).unwrap();
        chmod(&open, 0o777);

        let error = Dir::open(&open).unwrap().refuse_strangers().unwrap_err();

        assert!(error.to_string().ends_with("is writable by every user"), "{error}");
        assert!(hint::of(&error)[0].starts_with("run: chmod o-w"));
    }

    #[test]
    fn orders_that_others_can_write_are_not_read() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("tool.conf");
        std::fs::write(&file, "dir /srv").unwrap();
        chmod(&file, 0o664);

        let error = read_orders(&file, 1024).unwrap_err();

        assert!(error.to_string().contains("can be written by others (mode 0664)"), "{error}");
    }

    #[test]
    fn a_file_over_its_limit_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("big"), [b'x'; 11]).unwrap();

        let error = Dir::open(temp.path()).unwrap().read("big", 10).unwrap_err();

        assert_eq!(error.to_string(), "is larger than 10 B");
    }
}
