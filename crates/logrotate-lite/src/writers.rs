//! Who has a log open for writing, by /proc: a writer without O_APPEND keeps its place when a log is cut off, and its next
//! line leaves a hole of NULs in front.
//!
//! Only links are read and the kernel's own notes on open files; nothing that another process has open is opened or
//! looked at, so that a FIFO or a dead network file system cannot hold us (THREATS L12).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long we look.
const BUDGET: Duration = Duration::from_secs(1);
const O_ACCMODE: u32 = 0o3;
const O_APPEND: u32 = 0o2000;

/// A process that has a file open for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// Its process id.
    pub pid: u32,
    /// Its name, made safe.
    pub name: String,
    /// Whether every write of it goes to the end of the file.
    pub appends: bool,
}

/// The writers of these files.
pub fn of(paths: &[PathBuf]) -> HashMap<PathBuf, Vec<Writer>> {
    let deadline = Instant::now() + BUDGET;
    let mut found: HashMap<PathBuf, Vec<Writer>> = HashMap::new();
    let real: HashMap<PathBuf, &PathBuf> =
        paths.iter().filter_map(|path| Some((fs::canonicalize(path).ok()?, path))).collect();
    let own = std::process::id();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).filter(|pid| *pid != own);
    for pid in pids.take_while(|_| Instant::now() < deadline) {
        let handles = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        for handle in handles {
            let Ok(target) = fs::read_link(handle.path()) else { continue };
            let Some(path) = real.get(&target) else { continue };
            let notes = Path::new("/proc").join(pid.to_string()).join("fdinfo").join(handle.file_name());
            let flags = fs::read_to_string(notes).ok().and_then(|notes| flags(&notes));
            if let Some(flags) = flags.filter(|flags| flags & O_ACCMODE != 0) {
                let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                let name = common::text::line(name.trim_end());
                found.entry((*path).clone()).or_default().push(Writer { pid, name, appends: flags & O_APPEND != 0 });
            }
        }
    }
    found
}

/// The flags of an open file, which the kernel writes in octal. Source: proc(5), fdinfo.
fn flags(notes: &str) -> Option<u32> {
    let text = notes.lines().find_map(|line| line.strip_prefix("flags:"))?;
    u32::from_str_radix(text.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_octal() {
        let notes = "pos:\t0\nflags:\t0102001\nmnt_id:\t29\n";

        assert_eq!(flags(notes), Some(0o102_001));
        assert_eq!(flags("pos:\t0\n"), None);
    }

    #[test]
    fn a_writer_is_found_with_how_it_writes() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("log");
        std::fs::write(&path, "").unwrap();
        let start = |redirect: &str| {
            let script = format!("exec sleep 60 {redirect} {}", path.display());
            std::process::Command::new("sh").args(["-c", &script]).spawn().unwrap()
        };
        let mut children = [start(">>"), start("1<>"), start("<")];
        std::thread::sleep(Duration::from_millis(200));

        let mut writers = of(std::slice::from_ref(&path)).remove(&path).unwrap();

        for child in &mut children {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        writers.sort_by_key(|writer| writer.pid);
        let seen: Vec<_> = writers.iter().map(|writer| (writer.name.as_str(), writer.appends)).collect();
        assert_eq!(seen, [("sleep", true), ("sleep", false)]);
    }
}
