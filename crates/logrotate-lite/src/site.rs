//! The directories of a log: opened once, and every step goes through the handle (THREATS G2, L1).
//!
//! Whoever owns a directory may rename it, or swap a log for a link, at any instant. So nothing here takes a path twice:
//! the way to the directory is walked without following links that others made, and from there on names have one
//! component, are never followed, and what is opened is looked at by its handle.

use crate::glob::is_trusted_owner;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As many links as the kernel follows, too.
const MOST_LINKS: usize = 40;

/// The attribute that holds an ACL.
const ACL: &str = "system.posix_acl_access";

/// An open directory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    /// The names in it, where many of them are asked for; see [`Dir::list`].
    listing: Mutex<Option<BTreeSet<OsString>>>,
}

/// What a log is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// To read it.
    Read,
    /// To read it and to change its contents.
    Change,
}

/// Whether a file with several names will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardlinks {
    /// It is refused.
    No,
    /// `allowhardlink`.
    Yes,
}

impl Dir {
    /// Opens a directory, following only links that root or we made.
    ///
    /// # Errors
    ///
    /// `PermissionDenied` for a link of somebody else, and as open(2).
    pub fn open(path: &Path) -> io::Result<Self> {
        let root = if path.is_absolute() { "/" } else { "." };
        let mut at = rustix::fs::open(root, PATH_ONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut todo: Vec<OsString> = components(path).rev().collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            let next = rustix::fs::openat(&at, &*name, PATH_ONLY | OFlags::NOFOLLOW, Mode::empty())?;
            let stat = rustix::fs::fstat(&next)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => at = next,
                FileType::Symlink => {
                    links += 1;
                    if !is_trusted_owner(stat.st_uid) || links > MOST_LINKS {
                        let message = format!("a link of user {} leads there", stat.st_uid);
                        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
                    }
                    let target = rustix::fs::readlinkat(&next, c"", Vec::new())?.into_bytes();
                    let target = PathBuf::from(OsString::from_vec(target));
                    if target.is_absolute() {
                        at = rustix::fs::open("/", PATH_ONLY | OFlags::DIRECTORY, Mode::empty())?;
                    }
                    todo.extend(components(&target).rev());
                }
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        // The handle that we walked with can neither be read nor synced. Who may only search the directory keeps it.
        let readable = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = match rustix::fs::openat(&at, c".", readable, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ACCESS) => at,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { fd, path: path.to_owned(), listing: Mutex::default() })
    }

    /// Reads all names at once, so that of a thousand logs each need not ask for copies that are not there.
    ///
    /// What we do ourselves is noted. What others do meanwhile is not, so no file is ever replaced on the strength of
    /// this: see [`Dir::rename_new`].
    pub fn list(&self) {
        // Where it cannot be read, each name is asked for.
        *self.listing() = self.read_names().ok().map(BTreeSet::from_iter);
    }

    /// Forgets the listing: from now on each name is asked for.
    pub fn forget_listing(&self) {
        *self.listing() = None;
    }

    /// Whether there is a listing, and the name is not in it.
    pub fn lacks(&self, name: &OsStr) -> bool {
        self.listing().as_ref().is_some_and(|names| !names.contains(name))
    }

    fn listing(&self) -> MutexGuard<'_, Option<BTreeSet<OsString>>> {
        self.listing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn noted(&self, name: &OsStr) {
        if let Some(names) = &mut *self.listing() {
            names.insert(name.to_owned());
        }
    }

    fn noted_gone(&self, name: &OsStr) {
        if let Some(names) = &mut *self.listing() {
            names.remove(name);
        }
    }

    /// The path it was opened by, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in it, for messages.
    pub fn join(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// What is known of the directory itself.
    ///
    /// # Errors
    ///
    /// As fstat(2).
    pub fn stat_self(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.fd)?)
    }

    /// What is known of a name in it, without following a link; `None` where there is no such name.
    ///
    /// # Errors
    ///
    /// As fstatat(2).
    pub fn stat(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        one_component(name)?;
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a log or a copy: a regular file, without waiting for anything.
    ///
    /// # Errors
    ///
    /// `Unsupported` for what is no regular file or has other names.
    pub fn open_log(&self, name: &OsStr, access: Access, hardlinks: Hardlinks) -> io::Result<(File, Stat)> {
        one_component(name)?;
        let mode = if access == Access::Change { OFlags::RDWR } else { OFlags::RDONLY };
        let flags = mode | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&fd)?;
        let is_alone = stat.st_nlink == 1 || hardlinks == Hardlinks::Yes;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || !is_alone {
            return Err(Errno::NOTSUP.into());
        }
        Ok((fd.into(), stat))
    }

    /// Creates a file that did not exist, mode 0600.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` where the name is taken, also by a link.
    pub fn create(&self, name: &OsStr) -> io::Result<File> {
        one_component(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))?;
        self.noted(name);
        Ok(file.into())
    }

    /// Renames, also into another directory; what has the new name is replaced.
    ///
    /// # Errors
    ///
    /// As renameat(2).
    pub fn rename(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        one_component(from)?;
        one_component(to)?;
        rustix::fs::renameat(&self.fd, from, &to_dir.fd, to)?;
        self.noted_gone(from);
        to_dir.noted(to);
        Ok(())
    }

    /// Renames to a name that must be free.
    ///
    /// # Errors
    ///
    /// `AlreadyExists`, and as renameat2(2).
    pub fn rename_new(&self, from: &OsStr, to_dir: &Self, to: &OsStr) -> io::Result<()> {
        one_component(from)?;
        one_component(to)?;
        match rustix::fs::renameat_with(&self.fd, from, &to_dir.fd, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            // Not every file system can: then it is looked at first.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                return match to_dir.stat(to)? {
                    Some(_) => Err(Errno::EXIST.into()),
                    None => self.rename(from, to_dir, to),
                };
            }
            Err(error) => return Err(error.into()),
        }
        self.noted_gone(from);
        to_dir.noted(to);
        Ok(())
    }

    /// Lets two names change places, in one instant.
    ///
    /// # Errors
    ///
    /// As renameat2(2); not every file system can.
    pub fn exchange(&self, one: &OsStr, dir: &Self, other: &OsStr) -> io::Result<()> {
        one_component(one)?;
        one_component(other)?;
        Ok(rustix::fs::renameat_with(&self.fd, one, &dir.fd, other, RenameFlags::EXCHANGE)?)
    }

    /// Removes a name; `false` where it was gone already.
    ///
    /// # Errors
    ///
    /// As unlinkat(2).
    pub fn remove(&self, name: &OsStr) -> io::Result<bool> {
        one_component(name)?;
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => {
                self.noted_gone(name);
                Ok(true)
            }
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in it that begin so, unsorted.
    ///
    /// # Errors
    ///
    /// As getdents(2).
    pub fn names(&self, begin: &[u8]) -> io::Result<Vec<OsString>> {
        let is_one = |name: &&OsString| name.as_bytes().starts_with(begin);
        if let Some(names) = &*self.listing() {
            let from = OsStr::from_bytes(begin);
            let from = (Bound::Included(from), Bound::Unbounded);
            return Ok(names.range::<OsStr, _>(from).take_while(is_one).cloned().collect());
        }
        let mut names = self.read_names()?;
        names.retain(|name| is_one(&name));
        Ok(names)
    }

    fn read_names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Makes renames and removals in it durable.
    ///
    /// # Errors
    ///
    /// As fsync(2).
    pub fn sync(&self) -> io::Result<()> {
        match rustix::fs::fsync(&self.fd) {
            // A directory that we may search but not read.
            Ok(()) | Err(Errno::BADF) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a directory in it, with its owner, group and mode.
    ///
    /// # Errors
    ///
    /// As mkdirat(2), fchown(2) and fchmod(2).
    pub fn make_dir(&self, name: &OsStr, mode: u32, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        one_component(name)?;
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        rustix::fs::fchown(&made, uid.map(Uid::from_raw), gid.map(Gid::from_raw))?;
        Ok(rustix::fs::fchmod(&made, Mode::from_raw_mode(mode))?)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

const PATH_ONLY: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

fn components(path: &Path) -> impl DoubleEndedIterator<Item = OsString> + '_ {
    path.components()
        .filter(|part| !matches!(part, Component::RootDir | Component::CurDir))
        .map(|part| part.as_os_str().to_owned())
}

fn one_component(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("not a file name: {name:?}")));
    }
    Ok(())
}

/// Whether a file's ACL goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acl {
    /// It does.
    Kept,
    /// A mode that was given stands for all there is to say about access.
    Dropped,
}

/// Gives a new file the SELinux label and perhaps the ACL of another one, and owner and mode as they are said, in the order
/// that never shows it to anybody else (THREATS L4).
///
/// # Errors
///
/// As fchown(2) and fchmod(2). Only root gives files away.
pub fn give(file: &File, like: &Stat, source: Option<&File>, acl: Acl) -> io::Result<()> {
    if let Some(source) = source {
        crate::label::copy(source, file);
    }
    let is = rustix::fs::fstat(file)?;
    if rustix::process::geteuid().is_root() && (is.st_uid, is.st_gid) != (like.st_uid, like.st_gid) {
        rustix::fs::fchown(file, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)))?;
    }
    let mode = like.st_mode & 0o7777;
    if mode != is.st_mode & 0o7777 {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))?;
    }
    if let Some(source) = source.filter(|_| acl == Acl::Kept) {
        copy_acl(source, file)?;
    }
    Ok(())
}

/// The ACL goes with the contents, where the file system has ACLs.
fn copy_acl(from: &File, to: &File) -> io::Result<()> {
    let mut value = [0; 4096];
    let length = match rustix::fs::fgetxattr(from, ACL, &mut value) {
        Ok(length) => length,
        // None there, none supported, or too large to be one.
        Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE | Errno::NOSYS) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    match rustix::fs::fsetxattr(to, ACL, &value[..length], XattrFlags::empty()) {
        Ok(()) | Err(Errno::NOTSUP | Errno::INVAL | Errno::NOSYS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Access and modification time go with the contents. It is no disaster where they do not.
pub fn keep_times(file: &File, like: &Stat) {
    let time = |seconds: i64, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = rustix::fs::Timestamps {
        last_access: time(like.st_atime, like.st_atime_nsec.cast_signed()),
        last_modification: time(like.st_mtime, like.st_mtime_nsec.cast_signed()),
    };
    rustix::fs::futimens(file, &times).ok();
}

/// The size of a file as stat(2) gives it.
pub fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Whether it is a regular file.
pub fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Whether both are the same file.
pub fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_trusted_links_lead_to_a_directory() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        std::fs::create_dir_all(at("real/deep")).unwrap();
        std::fs::write(at("real/deep/x"), "x").unwrap();
        symlink("real", at("link")).unwrap();

        assert!(Dir::open(&at("link/deep")).unwrap().stat("x".as_ref()).unwrap().is_some());
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::lchown(at("link"), Some(4242), None).unwrap();
            let error = Dir::open(&at("link/deep")).unwrap_err();
            assert_eq!(error.to_string(), "a link of user 4242 leads there");
        }
        assert!(Dir::open(&at("real/deep/x")).is_err());
    }

    #[test]
    fn what_is_no_plain_file_is_not_opened() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("a"), "x").unwrap();
        std::fs::hard_link(temp.path().join("a"), temp.path().join("b")).unwrap();
        symlink("a", temp.path().join("link")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, temp.path().join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .unwrap();
        let dir = Dir::open(temp.path()).unwrap();
        let open = |name: &str, links| dir.open_log(name.as_ref(), Access::Read, links).is_ok();

        assert!(!open("a", Hardlinks::No) && open("a", Hardlinks::Yes));
        assert!(!open("link", Hardlinks::Yes) && !open("fifo", Hardlinks::Yes) && !open("../a", Hardlinks::Yes));
    }
}
