//! A place with logs and a configuration, a writer that numbers its lines, and what must hold of all files together.

use harness::loopfs::{self, Loopfs};
use harness::{Ran, Sandbox, Tool};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A sandbox with a configuration for the logs in `logs`.
pub struct Logs {
    pub dir: Sandbox,
    /// Whether a run of NULs between two lines is passed over as a blank line is.
    pub nuls_are_blank: bool,
}

impl Logs {
    /// A stanza for `logs/*.log`; `{logs}` in other text stands for the directory.
    pub fn with(rules: &str) -> Self {
        let place = Self { dir: Sandbox::new(), nuls_are_blank: false };
        fs::create_dir(place.dir.join("logs")).unwrap();
        place.configure(&format!("{{logs}}/*.log {{\n{rules}\n}}\n"));
        place
    }

    /// The same with the logs on a file system of that kind.
    pub fn on(kind: &str, rules: &str) -> (Loopfs, Self) {
        let place = Self::with(rules);
        let disk = loopfs::mount(kind, &place.dir.join("disk"), 512, &place.dir.join("logs"));
        (disk, place)
    }

    pub fn configure(&self, text: &str) {
        let logs = self.dir.join("logs");
        fs::write(self.dir.join("conf"), text.replace("{logs}", logs.to_str().unwrap())).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join("logs").join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("cannot read {name}: {e}; {:?}", self.names()))
    }

    /// The names in `logs`, sorted, hidden ones included.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join("logs")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// `logrotate-lite -s state conf`, about to run.
    pub fn tool(&self) -> Tool {
        self.dir.tool("logrotate-lite").args(["-s", "state", "conf"])
    }

    /// Rotates every log, and everything goes well.
    #[track_caller]
    pub fn force(&self) -> Ran {
        self.tool().arg("-f").run().stdout_is("").stderr_is("").code(0)
    }

    /// Has the state file say when a log was rotated last.
    pub fn rotated_at(&self, name: &str, date: &str) {
        let line = format!("\"{}\" {date}\n", self.path(name).display());
        fs::write(self.dir.join("state"), format!("logrotate state -- version 2\n{line}")).unwrap();
        fs::set_permissions(self.dir.join("state"), fs::Permissions::from_mode(0o640)).unwrap();
    }

    /// The text of all files of a log, compressed ones included.
    pub fn all_text(&self) -> Vec<u8> {
        let mut text = Vec::new();
        for name in self.names() {
            let path = self.path(&name);
            if name.ends_with(".gz") {
                let ran = Command::new("gzip").arg("-dc").arg(&path).output().unwrap();
                assert!(ran.status.success(), "{name}: {ran:?}");
                text.extend(ran.stdout);
            } else {
                File::open(path).unwrap().read_to_end(&mut text).unwrap();
            }
        }
        text
    }

    /// Every line from 0 to `count` is there once and whole, and nothing else is but blank lines.
    #[track_caller]
    pub fn holds_each_line_once(&self, count: u64) {
        let mut text = self.all_text();
        if self.nuls_are_blank {
            text.retain(|byte| *byte != 0);
        }
        let mut seen: BTreeMap<u64, u32> = BTreeMap::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            let text = std::str::from_utf8(line).unwrap_or_else(|_| panic!("a broken line: {line:?}"));
            let number: u64 = text
                .split(' ')
                .next()
                .and_then(|word| word.parse().ok())
                .unwrap_or_else(|| panic!("a broken line: {text:?}"));
            assert_eq!(text, numbered(number).trim_end_matches('\n'), "a broken line");
            *seen.entry(number).or_default() += 1;
        }
        let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).map(|(number, _)| *number).collect();
        let lost: Vec<_> = (0..count).filter(|number| !seen.contains_key(number)).collect();
        assert!(
            doubled.is_empty() && lost.is_empty(),
            "{} lines of {count} are lost, {} are doubled; the first: {:?} {:?}; {:?}",
            lost.len(),
            doubled.len(),
            lost.first(),
            doubled.first(),
            self.names()
        );
    }

    /// No hidden name is left.
    #[track_caller]
    pub fn is_tidy(&self) {
        let hidden: Vec<_> = self.names().into_iter().filter(|name| name.starts_with('.')).collect();
        assert!(hidden.is_empty(), "{hidden:?}");
    }
}

/// A line of 100 bytes with its number in front.
pub fn numbered(number: u64) -> String {
    format!("{number:<99}\n")
}

/// How a writer learns that its log was rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reopen {
    /// It never does: it keeps the file open.
    Never,
    /// When this file appears, it takes it away and opens its log again.
    When(&'static str),
}

/// Appends numbered lines until it is stopped, one write a line.
pub struct Writer {
    stop: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub fn start(logs: &Logs, name: &str, reopen: Reopen, per_second: u64) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let log = logs.path(name);
        let signal = match reopen {
            Reopen::Never => None,
            Reopen::When(name) => Some(logs.dir.join(name)),
        };
        let (stops, counts) = (Arc::clone(&stop), Arc::clone(&written));
        let thread = std::thread::spawn(move || write_lines(&log, signal.as_deref(), per_second, &stops, &counts));
        let writer = Self { stop, written, thread: Some(thread) };
        while writer.written.load(Ordering::SeqCst) < 100 {
            std::thread::sleep(Duration::from_millis(1));
        }
        writer
    }

    /// Stops it and says how many lines it wrote.
    pub fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.written.load(Ordering::SeqCst)
    }
}

fn write_lines(log: &Path, signal: Option<&Path>, per_second: u64, stop: &AtomicBool, written: &AtomicU64) {
    let open = || OpenOptions::new().append(true).create(true).open(log).unwrap();
    let mut file = open();
    let began = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        if signal.is_some_and(|signal| fs::remove_file(signal).is_ok()) {
            file = open();
        }
        let number = written.load(Ordering::SeqCst);
        file.write_all(numbered(number).as_bytes()).unwrap();
        written.store(number + 1, Ordering::SeqCst);
        let due = Duration::from_secs_f64((number + 1) as f64 / per_second as f64);
        if let Some(early) = due.checked_sub(began.elapsed()).filter(|early| *early > Duration::from_millis(1)) {
            std::thread::sleep(early);
        }
    }
}

/// Fails where the file system of the sandboxes cannot cut off the head of a file: the test would show nothing.
pub fn needs_collapse_range(logs: &Logs) {
    let file = logs.path("probe");
    fs::write(&file, vec![b'x'; 65_536]).unwrap();
    let ran = Command::new("fallocate").args(["--collapse-range", "--length", "32768"]).arg(&file).output().unwrap();
    assert!(ran.status.success(), "TMPDIR must be on ext4 or xfs for this test: {ran:?}");
    fs::remove_file(file).unwrap();
}
