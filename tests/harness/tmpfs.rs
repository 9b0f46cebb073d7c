//! A disk that is full after N KiB.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A small file system; unmounted when dropped. Drop it before the sandbox it lies in.
pub struct Tmpfs {
    path: PathBuf,
    how: How,
}

enum How {
    /// As root, where everybody sees it.
    Mounted,
    /// In the mount namespace of a process that only holds it, reached through /proc.
    Held(Child),
}

/// Makes a file system of that size at an existing directory; write below [`Tmpfs::path`], which may be another path.
///
/// # Panics
///
/// If neither root nor a user namespace may mount here: a test that needs a full disk must fail then.
#[must_use]
pub fn mount(directory: &Path, size_kib: u64) -> Tmpfs {
    let options = format!("size={size_kib}k,mode=0755");
    let refused = match mount_as_root(directory, &options) {
        Ok(()) => {
            return Tmpfs { path: directory.to_path_buf(), how: How::Mounted };
        }
        Err(refused) => refused,
    };
    hold_in_namespace(directory, &options).unwrap_or_else(|also| {
        panic!(
            "cannot make a small file system\nas root: {refused}\nin a user namespace: {also}\n\
             run the tests as root, or allow user namespaces"
        )
    })
}

impl Tmpfs {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        match &mut self.how {
            // Lazily: whoever still has a file open there shall not keep the test from ending.
            How::Mounted => drop(Command::new("umount").arg("--lazy").arg(&self.path).output()),
            How::Held(holder) => {
                drop(holder.kill());
                drop(holder.wait());
            }
        }
    }
}

fn mount_as_root(directory: &Path, options: &str) -> Result<(), String> {
    let output = Command::new("mount")
        .args(["-t", "tmpfs", "-o", options, "tmpfs"])
        .arg(directory)
        .output()
        .map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned()) }
}

/// Mounts inside a namespace of our own and keeps that alive. `cat` ends when we do: its stdin closes.
fn hold_in_namespace(directory: &Path, options: &str) -> Result<Tmpfs, String> {
    const SCRIPT: &str = "mount -t tmpfs -o \"$1\" tmpfs \"$2\" && echo ready && exec cat";
    let mut holder = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT, "sh", options])
        .arg(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let mut said = [0; 6];
    let is_ready = holder.stdout.as_mut().expect("stdout is a pipe").read_exact(&mut said).is_ok();
    if is_ready {
        let root = PathBuf::from(format!("/proc/{}/root", holder.id()));
        let inside = directory.strip_prefix("/").map_err(|e| e.to_string())?;
        return Ok(Tmpfs { path: root.join(inside), how: How::Held(holder) });
    }
    let output = holder.wait_with_output().map_err(|e| e.to_string())?;
    Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sandbox, is_root};
    use std::fs;
    use std::io::ErrorKind;

    fn is_full_at_64_kib(disk: &Tmpfs) {
        fs::write(disk.path().join("fits"), vec![0; 32 << 10]).unwrap();
        let error = fs::write(disk.path().join("does-not"), vec![0; 64 << 10]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn a_small_disk_fills_up_and_goes_away() {
        let dir = Sandbox::new();
        let at = dir.join("small");
        fs::create_dir(&at).unwrap();

        let disk = mount(&at, 64);
        is_full_at_64_kib(&disk);
        drop(disk);

        assert_eq!(dir.files(), ["small/"]);
    }

    #[test]
    fn without_root_a_namespace_does_as_well() {
        let dir = Sandbox::new();
        // Root writes to a disk that another root mounted: the same path through /proc.
        match hold_in_namespace(dir.path(), "size=64k,mode=0755") {
            Ok(disk) => is_full_at_64_kib(&disk),
            Err(refused) => assert!(is_root(), "the fallback is needed here, but: {refused}"),
        }
        assert!(dir.files().is_empty());
    }
}
