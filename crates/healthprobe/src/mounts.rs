//! What is mounted, and which of it is worth a look. Source: proc_pid_mountinfo(5).

use std::collections::HashSet;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// Major and minor number: the same for all mounts of a file system.
    device: String,
    /// What of the file system is mounted; not `/` for a bind mount.
    root: String,
    pub(crate) path: PathBuf,
    is_read_only: bool,
    kind: String,
    source: String,
}

/// File systems whose space is real though their source is no device.
const REAL: [&str; 14] = [
    "zfs",
    "btrfs",
    "bcachefs",
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "glusterfs",
    "lustre",
    "fuse.glusterfs",
    "fuse.sshfs",
    "fuse.ceph",
    "9p",
];
/// Images, always full.
const IMAGES: [&str; 4] = ["squashfs", "iso9660", "erofs", "udf"];

/// Reads /proc/PID/mountinfo; lines that it should not have are skipped.
pub(crate) fn parse(text: &str) -> Vec<Mount> {
    text.lines().filter_map(line).collect()
}

/// `36 35 98:0 /root /mount rw,noatime shared:1 - ext4 /dev/sda1 rw`
fn line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let before: Vec<&str> = before.split(' ').collect();
    let mut after = after.split(' ');
    let (kind, source, super_options) = (after.next()?, after.next()?, after.next().unwrap_or_default());
    let is_read_only = |options: &str| options.split(',').any(|option| option == "ro");
    Some(Mount {
        device: (*before.get(2)?).to_owned(),
        root: (*before.get(3)?).to_owned(),
        path: unescaped(before.get(4)?),
        is_read_only: is_read_only(before.get(5)?) || is_read_only(super_options),
        kind: kind.to_owned(),
        source: source.to_owned(),
    })
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits.
fn unescaped(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| first == b'\\' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match digits {
            Some(digits) => {
                bytes.push(digits.iter().fold(0_u8, |byte, digit| byte.wrapping_mul(8).wrapping_add(digit - b'0')));
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    std::ffi::OsString::from_vec(bytes).into()
}

/// The mounts whose space matters: devices and network mounts that can be written, each file system once. Where that is
/// nothing, as in a container, the root.
pub(crate) fn real(mounts: &[Mount]) -> Vec<Mount> {
    let is_real = |mount: &&Mount| {
        let is_device = mount.source.starts_with("/dev/") && !mount.source.starts_with("/dev/loop");
        (is_device || REAL.contains(&mount.kind.as_str())) && !IMAGES.contains(&mount.kind.as_str())
    };
    let mut real: Vec<&Mount> = mounts.iter().filter(is_real).filter(|mount| !mount.is_read_only).collect();
    // Of a file system that is mounted in several places the whole is better than a part, and the shorter path.
    real.sort_by_key(|mount| (mount.root != "/", mount.path.as_os_str().len()));
    let mut seen = HashSet::new();
    real.retain(|mount| seen.insert(mount.device.as_str()));
    // A part of a file system is shown by a path that may be a file of a container, and tells nothing.
    let has_root = mounts.iter().find(|mount| mount.path.as_os_str() == "/" && !mount.is_read_only);
    let mut chosen: Vec<Mount> =
        real.into_iter().filter(|mount| mount.root == "/" || mount.path.is_dir()).cloned().collect();
    if let (true, Some(root)) = (chosen.is_empty(), has_root) {
        chosen.push(root.clone());
    }
    chosen.sort_by(|one, other| one.path.cmp(&other.path));
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        real(&parse(text)).iter().map(|mount| mount.path.display().to_string()).collect()
    }

    const ORDINARY: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
23 22 0:5 / /proc rw - proc proc rw\n\
24 22 0:6 / /run rw - tmpfs tmpfs rw\n\
25 22 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro\n\
26 22 8:2 / /srv\\040data rw - xfs /dev/sda2 rw\n\
27 22 8:2 /pg /var/lib/pg rw - xfs /dev/sda2 rw\n\
28 22 0:40 / /mnt/nas rw - nfs4 nas:/export rw\n\
29 22 8:3 / /boot/efi ro - vfat /dev/sda3 ro\n\
30 22 0:7 / /sys/firmware/efi/efivars rw - efivarfs efivarfs rw\n\
31 22 0:8 / /sys/kernel/tracing rw - tracefs tracefs rw\n";

    #[test]
    fn real_file_systems_are_seen_once_and_others_not() {
        assert_eq!(paths(ORDINARY), ["/", "/mnt/nas", "/srv data"]);
    }

    #[test]
    fn in_a_container_there_is_at_least_the_root() {
        assert_eq!(paths("1 0 0:9 / / rw - overlay overlay rw\n2 1 0:5 / /proc rw - proc proc rw\n"), ["/"]);
    }

    #[test]
    fn odd_lines_are_skipped() {
        assert!(parse("\nx\n1 2 3 - ext4\n- - -\n").is_empty());
        assert_eq!(unescaped("a\\040b\\134\\"), PathBuf::from("a b\\\\"));
    }
}
