//! `process:NAME`: whether a program runs, how often, and how much memory it takes.
//!
//! What counts is the program file, not what a process calls itself: anybody can call a `sleep` "postgres". A bare name is the
//! name of a program in a directory that only root can write to. Source: THREATS H11.

use super::{Context, proc};
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, anyhow, ensure};
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;
use common::{dirfd, units};
use regex_lite::Regex;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    program: PathBuf,
    user: Option<(String, u32)>,
    arguments: Option<Regex>,
    count: Thresholds,
    memory: Thresholds,
    age: Thresholds,
}

/// One process of the program.
struct Process {
    memory: u64,
    age: Duration,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        ensure!(!address.is_empty(), "process: names no program");
        let program = PathBuf::from(address);
        ensure!(program.is_absolute() || !address.contains('/'), "{address:?} is neither a name nor an absolute path");
        Ok(Self {
            program,
            user: options.read("user", |name| Ok((name.to_owned(), process_user(name)?))),
            arguments: regex(options, "arguments"),
            count: options.main_thresholds("count", Unit::Count, "<1"),
            memory: options.thresholds("memory", Unit::Bytes, ""),
            age: options.thresholds("age", Unit::Seconds, ""),
        })
    }

    pub(crate) fn subject(&self) -> String {
        self.program.display().to_string()
    }

    pub(crate) fn look(&self, _context: &Context) -> Found {
        self.all().unwrap_or_else(|error| Found::failed(Status::Unknown, &error))
    }

    fn all(&self) -> Result<Found> {
        let uptime = proc::read("/proc/uptime")?;
        let uptime: f64 =
            uptime.split(' ').next().and_then(|word| word.parse().ok()).context("/proc/uptime has no number")?;
        let link = self.leads_to();
        let (mut found, mut hidden) = (Vec::new(), 0_u64);
        for entry in std::fs::read_dir("/proc").context("cannot read \"/proc\"")?.flatten() {
            let dir = entry.path();
            if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            match self.is_one(&dir, link.as_deref()) {
                Some(true) => found.extend(process(&dir, uptime)),
                Some(false) => {}
                None => hidden += u64::from(self.could_be(&dir)),
            }
        }
        Ok(self.judge(&found, hidden))
    }

    fn judge(&self, found: &[Process], hidden: u64) -> Found {
        let owner = self.user.as_ref().map_or_else(String::new, |(name, _)| format!(" of {name}"));
        if found.is_empty() && hidden > 0 {
            let count = units::things(hidden, "process");
            return Found::unknown(format!("{count} could be it, but whose program they are may not be seen"))
                .hint("run as root, or look at the service: systemd:UNIT");
        }
        let memory: u64 = found.iter().map(|process| process.memory).sum();
        let said = match found.iter().map(|process| process.age).min() {
            None => format!("no process{owner} runs it"),
            Some(age) => {
                let count = found.len();
                let processes =
                    if count == 1 { format!("1 process{owner}") } else { format!("{count} processes{owner}") };
                format!("{processes}, {}, the youngest for {}", units::size(memory), units::duration(age))
            }
        };
        let judged = Found::ok(said)
            .measure(Measure::new("count", found.len() as f64, Unit::Count).judged(self.count))
            .measure(Measure::new("memory", memory as f64, Unit::Bytes).judged(self.memory));
        match found.iter().map(|process| process.age).min() {
            Some(age) => judged.measure(Measure::new("age", age.as_secs_f64(), Unit::Seconds).judged(self.age)),
            None => judged,
        }
    }

    /// The program that a link of its name leads to: python3 is python3.11, and that is the file of its processes. Its name has
    /// to begin in the same way, or all programs of busybox would be one.
    fn leads_to(&self) -> Option<PathBuf> {
        let link = match self.program.is_absolute() {
            true => self.program.clone(),
            false => common::process::find(self.program.to_str()?)?,
        };
        let file = link.canonicalize().ok()?;
        let (own, name) = (file.file_name()?.as_encoded_bytes(), link.file_name()?.as_encoded_bytes());
        let is_trusted = self.program.is_absolute() || file.parent().is_some_and(dirfd::is_trusted_program_dir);
        (own.starts_with(name) && is_trusted).then_some(file)
    }

    /// Whether a process is one of those that are meant; `None` where that may not be seen.
    fn is_one(&self, dir: &Path, link: Option<&Path>) -> Option<bool> {
        let program = match std::fs::read_link(dir.join("exe")) {
            Ok(program) => program,
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return None,
            // Threads of the kernel, and what has ended.
            Err(_) => return Some(false),
        };
        // A program that was replaced by an upgrade still runs.
        let text = program.to_string_lossy();
        let program = Path::new(text.strip_suffix(" (deleted)").unwrap_or(&text));
        let is_it = match self.program.is_absolute() {
            _ if link == Some(program) => true,
            true => program == self.program,
            false => {
                program.file_name() == Some(self.program.as_os_str())
                    && program.parent().is_some_and(dirfd::is_trusted_program_dir)
            }
        };
        Some(is_it && self.is_users(dir) && self.has_arguments(dir))
    }

    /// Whether what may not be seen has the name, the user and the arguments: then nothing can be said.
    fn could_be(&self, dir: &Path) -> bool {
        let name = proc::read(dir.join("comm")).unwrap_or_default();
        let wanted = self.program.file_name().map(|name| name.to_string_lossy().chars().take(15).collect::<String>());
        wanted.is_some_and(|wanted| wanted == name.trim_end()) && self.is_users(dir) && self.has_arguments(dir)
    }

    fn is_users(&self, dir: &Path) -> bool {
        let Some((_, wanted)) = &self.user else { return true };
        let status = proc::read(dir.join("status")).unwrap_or_default();
        // Real, effective, saved and file system user; the effective one is what it may do.
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse().ok());
        uid == Some(*wanted)
    }

    fn has_arguments(&self, dir: &Path) -> bool {
        let Some(wanted) = &self.arguments else { return true };
        wanted.is_match(
            proc::read(dir.join("cmdline")).unwrap_or_default().trim_end_matches('\0').replace('\0', " ").as_str(),
        )
    }
}

fn process_user(name: &str) -> Result<u32> {
    match name.parse() {
        Ok(uid) => Ok(uid),
        Err(_) => Ok(common::process::User::named(name)?.uid),
    }
}

/// `key~REGEX`
pub(crate) fn regex(options: &mut Options, key: &str) -> Option<Regex> {
    let given = options.compared(key);
    let (operator, text) = given.last()?;
    if *operator != crate::judge::Operator::Matches {
        options.mistake(anyhow!("{key} is a pattern: {key}~REGEX"));
        return None;
    }
    Regex::new(text).map_err(|error| options.mistake(anyhow!("{key}~: {text:?} is no pattern: {error}"))).ok()
}

/// Memory and age of a process; `None` where it has ended.
fn process(dir: &Path, uptime: f64) -> Option<Process> {
    // Linux counts in hundredths of a second for programs, whatever it uses itself.
    const TICKS: f64 = 100.0;
    let stat = proc::read(dir.join("stat")).ok()?;
    // The name stands in parentheses and may hold some. Source: proc_pid_stat(5), field 22.
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let started: f64 = fields.get(19)?.parse().ok()?;
    let pages: u64 = fields.get(21)?.parse().ok()?;
    let age = Duration::try_from_secs_f64((uptime - started / TICKS).max(0.0)).ok()?;
    Some(Process { memory: pages.saturating_mul(rustix::param::page_size() as u64), age })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Shared;
    use common::units::Stamp;
    use std::sync::Arc;
    use std::time::Instant;

    fn verdict(address: &str, line: &str) -> Found {
        let mut options = Options::new(common::words::list(line).unwrap(), Origin::Operator);
        let probe = Probe::parse(address, &mut options, Origin::Operator).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        probe.look(&Context {
            deadline,
            now: Stamp::MIN,
            is_again: false,
            shared: Arc::new(Shared::default()),
            group: String::new(),
        })
    }

    #[test]
    fn our_own_program_runs() {
        let own = std::env::current_exe().unwrap();

        let found = verdict(own.to_str().unwrap(), "memory>1B");

        assert_eq!(found.verdict(), Status::Critical, "{found:?}");
        assert!(found.sentence().ends_with("memory is above 1 B"), "{}", found.sentence());
        assert_eq!(verdict(own.to_str().unwrap(), "arguments~no-such-argument").verdict(), Status::Critical);
        assert_eq!(verdict("/usr/sbin/not-there", "").message, "no process runs it");
    }

    #[test]
    fn a_link_stands_for_the_program_that_it_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy("/bin/sleep", dir.path().join("healthprobe-fake3.11")).unwrap();
        for link in ["healthprobe-fake3", "other"] {
            std::os::unix::fs::symlink("healthprobe-fake3.11", dir.path().join(link)).unwrap();
        }
        let mut child = std::process::Command::new(dir.path().join("healthprobe-fake3")).arg("60").spawn().unwrap();

        let [by_link, by_other] =
            ["healthprobe-fake3", "other"].map(|link| verdict(dir.path().join(link).to_str().unwrap(), "").verdict());
        child.kill().unwrap();
        child.wait().unwrap();

        assert_eq!((by_link, by_other), (Status::Ok, Status::Critical));
    }

    #[test]
    fn a_program_in_a_directory_of_anybody_is_not_the_one_of_that_name() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(65_534), None).unwrap();
        let copy = dir.path().join("healthprobe-fake-postgres");
        std::fs::copy("/bin/sleep", &copy).unwrap();
        let mut child = std::process::Command::new(&copy).arg("60").spawn().unwrap();

        let by_name = verdict("healthprobe-fake-postgres", "").verdict();
        let by_path = verdict(copy.to_str().unwrap(), "").verdict();
        child.kill().unwrap();
        child.wait().unwrap();

        assert_eq!((by_name, by_path), (Status::Critical, Status::Ok));
    }
}
