//! SELinux: what holds a log's contents, or takes its place, gets its label.
//!
//! The label is the attribute `security.selinux`. Where the policy lets us set no labels, a file keeps the one that it was
//! made with, which policies give by the directory; that is said, and it stops nothing. Source: selinux(8), xattr(7).

use crate::message::{reason, shown};
use crate::warn;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::fs::File;
use std::path::Path;

/// The attribute that holds the label.
const LABEL: &str = "security.selinux";
/// Longer than any: they are user:role:type:level.
const MOST_BYTES: usize = 4096;
/// There where the kernel enforces labels, or would.
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// Gives a new file the label of the one that it is like.
pub fn copy(from: &File, to: &File) {
    let Some(label) = of(from) else { return };
    if of(to).as_ref() == Some(&label) {
        return;
    }
    match rustix::fs::fsetxattr(to, LABEL, &label, XattrFlags::empty()) {
        Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS) => {}
        // Without SELinux only root may touch labels, and nobody looks at them.
        Err(_) if !Path::new(SELINUX).exists() => {}
        Err(error) => warn!(
            "cannot give a new file the SELinux label {}: {}; restorecon(8) gives it the one of the policy",
            shown(&*String::from_utf8_lossy(label.strip_suffix(b"\0").unwrap_or(&label))),
            reason(error)
        ),
    }
}

/// The label of a file, if it has one.
fn of(file: &File) -> Option<Vec<u8>> {
    let mut label = [0; MOST_BYTES];
    let length = rustix::fs::fgetxattr(file, LABEL, &mut label).ok()?;
    Some(label[..length].to_vec())
}
