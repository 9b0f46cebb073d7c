//! A write lease: while we hold it nobody else has the file open, and whoever opens it waits. Source: fcntl(2), Leases.
//!
//! So a log that nobody has open is copied to its last byte and cut off without a gap in which a line could be lost.

#![expect(unsafe_code, reason = "no crate of ours wraps F_SETLEASE")]

use nix::libc;
use std::fs::File;
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A lease that is given back when this is dropped.
#[derive(Debug)]
pub struct Lease<'a>(&'a File);

impl<'a> Lease<'a> {
    /// Takes the lease; `None` where somebody has the file open, or leases are not to be had.
    pub fn take(file: &'a File) -> Option<Self> {
        // Whoever opens the file has the kernel send us SIGIO, which would end us.
        signal_hook::flag::register(libc::SIGIO, Arc::new(AtomicBool::new(false))).ok()?;
        (command(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) == 0).then_some(Self(file))
    }

    /// Whether it is still ours. It is lost when somebody has waited for lease-break-time, 45 seconds.
    pub fn is_held(&self) -> bool {
        let kind = command(self.0.as_raw_fd(), libc::F_GETLEASE, 0);
        // While somebody waits this says what the lease is about to become; the lease itself holds until we give it back.
        kind == libc::F_WRLCK
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        command(self.0.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK);
    }
}

fn command(fd: RawFd, command: libc::c_int, argument: libc::c_int) -> libc::c_int {
    // SAFETY: these commands take an int and touch no memory of ours; the descriptor belongs to a file that is borrowed
    // for as long as we call.
    unsafe { libc::fcntl(fd, command, argument) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &std::path::Path) -> File {
        File::options().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn there_is_no_lease_on_what_somebody_has_open() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        std::fs::write(&path, "x").unwrap();
        let ours = open(&path);

        let theirs = File::options().append(true).open(&path).unwrap();
        assert!(Lease::take(&ours).is_none());
        drop(theirs);
        let lease = Lease::take(&ours).unwrap();

        assert!(lease.is_held());
    }

    #[test]
    fn whoever_opens_it_waits_until_it_is_given_back() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        std::fs::write(&path, "x").unwrap();
        let ours = open(&path);
        let lease = Lease::take(&ours).unwrap();

        let opener = std::thread::spawn(move || {
            let began = std::time::Instant::now();
            drop(File::options().append(true).open(path).unwrap());
            began.elapsed()
        });
        std::thread::sleep(std::time::Duration::from_millis(300));
        drop(lease);

        assert!(opener.join().unwrap() > std::time::Duration::from_millis(150));
    }
}
