//! Programs that we run: scripts, compressors, shred, mailers. Each is the leader of a process group, and has a limit.
//!
//! Unlike `common::process` these read and write files that we open, and scripts say what they say to our own streams.

use common::interrupt::Registered;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::ffi::OsString;
use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// How much of what it says on standard error is kept.
const KEPT: u64 = 64 * 1024;
/// What compressors, shred and mailers get of our environment (THREATS G8).
const ENVIRONMENT: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR"];

/// A program with nothing of our environment but the usual; `None` where there is none of that name.
pub fn program(path: &Path) -> Option<Command> {
    let is_name = path.components().count() == 1 && !path.as_os_str().as_encoded_bytes().contains(&b'/');
    let found: PathBuf = if is_name { common::process::find(path.to_str()?)? } else { path.to_owned() };
    let mut command = Command::new(found);
    command.env_clear();
    let is_usual =
        |name: &OsString| name.to_str().is_some_and(|name| ENVIRONMENT.contains(&name) || name.starts_with("LC_"));
    command.envs(std::env::vars_os().filter(|(name, _)| is_usual(name)));
    Some(command)
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// "child did not exit with status 0" and the like.
    pub result: Result<(), String>,
    /// What it said on standard error, where that was a pipe.
    pub stderr: Vec<u8>,
}

/// Runs a program to its end, and ends it with its group when the limit is over.
///
/// # Errors
///
/// Where it cannot be started.
pub fn run(mut command: Command, limit: Duration) -> std::io::Result<Ended> {
    crate::handles::restore(&mut command);
    let mut child = command.process_group(0).spawn()?;
    drop(command); // and with it our ends of its pipes
    Ok(wait(&mut child, limit))
}

/// Waits for a program that was started as the leader of a process group.
pub fn wait(child: &mut Child, limit: Duration) -> Ended {
    let group = Pid::from_child(child);
    let registered = Registered::new(group);
    let stderr = child.stderr.take().map(|stderr| {
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            let mut stderr = stderr;
            // What cannot be read is not said; the rest is read away, so that the program need not wait for us.
            drop(stderr.by_ref().take(KEPT).read_to_end(&mut kept));
            drop(std::io::copy(&mut stderr, &mut std::io::sink()));
            kept
        })
    });
    let result = match ended_within(child, limit) {
        Some(Ok(status)) => judged(status),
        Some(Err(error)) => Err(crate::message::why(&error)),
        None => {
            end(child, group);
            Err(format!("child did not end within {}", common::units::duration(limit)))
        }
    };
    drop(registered);
    let stderr = stderr.and_then(|reader| reader.join().ok()).unwrap_or_default();
    Ended { result, stderr }
}

fn judged(status: ExitStatus) -> Result<(), String> {
    match status.code() {
        Some(0) => Ok(()),
        Some(_) => Err("child did not exit with status 0".to_owned()),
        None => Err("child did not terminate normally".to_owned()),
    }
}

fn ended_within(child: &mut Child, limit: Duration) -> Option<std::io::Result<ExitStatus>> {
    let deadline = Instant::now().checked_add(limit);
    let handle = rustix::process::pidfd_open(Pid::from_child(child), PidfdFlags::empty());
    loop {
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => return Some(Ok(status)),
            Err(error) => return Some(Err(error)),
        }
        let left = deadline.map_or(GRACE, |deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_zero() {
            return None;
        }
        match &handle {
            Ok(handle) => {
                let time = Timespec::try_from(left.min(Duration::from_secs(3600))).ok();
                // A signal that interrupts us is as good as an end: we look again.
                rustix::event::poll(&mut [PollFd::new(handle, PollFlags::IN)], time.as_ref()).ok();
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Ends the whole group: SIGTERM, and SIGKILL if that is not enough.
fn end(child: &mut Child, group: Pid) {
    // A group that has ended in the meantime is what we want.
    rustix::process::kill_process_group(group, Signal::TERM).ok();
    ended_within(child, GRACE);
    rustix::process::kill_process_group(group, Signal::KILL).ok();
    drop(child.wait());
}

/// A command whose standard error we keep, and who reads nothing and says nothing unless it is told otherwise.
pub fn quiet(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Ended {
        let mut command = quiet(program("sh".as_ref()).unwrap());
        command.args(["-c", script]);
        run(command, limit).unwrap()
    }

    #[test]
    fn what_a_program_says_and_how_it_ends_is_kept() {
        let ended = sh("echo no >&2; exit 3", Duration::from_secs(10));

        assert_eq!(ended.result.unwrap_err(), "child did not exit with status 0");
        assert_eq!(ended.stderr, b"no\n");
        assert_eq!(sh("kill -9 $$", Duration::from_secs(10)).result.unwrap_err(), "child did not terminate normally");
        assert_eq!(sh("", Duration::from_secs(10)).result, Ok(()));
    }

    #[test]
    fn a_program_that_hangs_is_ended_with_its_group() {
        let began = Instant::now();

        let ended = sh("sleep 60 & sleep 60", Duration::from_millis(100));

        assert!(ended.result.unwrap_err().starts_with("child did not end within"));
        assert!(began.elapsed() < GRACE);
    }

    #[test]
    fn a_program_sees_the_usual_environment_only() {
        let ended = sh("env >&2", Duration::from_secs(10));

        assert!(!String::from_utf8_lossy(&ended.stderr).contains("CARGO"));
    }
}
