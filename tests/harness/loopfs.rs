//! A file system of a given kind in a file, through a loop device: xfs and btrfs cut logs off in ways of their own.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; unmounted when dropped. Drop it before the sandbox it lies in.
pub struct Loopfs {
    path: PathBuf,
}

/// Makes a file system of that kind in `image` and mounts it at an existing directory.
///
/// # Panics
///
/// Without root, mkfs, a loop device or a kernel that knows the kind: a test that needs one must fail then.
#[must_use]
pub fn mount(kind: &str, image: &Path, size_mib: u64, directory: &Path) -> Loopfs {
    let file = std::fs::File::create(image).expect("the image can be made");
    file.set_len(size_mib << 20).expect("the image can be as large");
    let quiet = if kind == "ext4" { vec!["-q", "-F"] } else { vec!["-q", "-f"] };
    run(Command::new(format!("mkfs.{kind}")).args(quiet).arg(image));
    run(Command::new("mount").args(["-t", kind, "-o", "loop"]).arg(image).arg(directory));
    Loopfs { path: directory.to_path_buf() }
}

fn run(command: &mut Command) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = command.env("PATH", path).output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Drop for Loopfs {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there shall not keep the test from ending.
        drop(Command::new("umount").arg("--lazy").arg(&self.path).output());
    }
}
