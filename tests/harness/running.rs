//! A program that runs now.
//!
//! A thread watches it: notes its memory, sees its end, kills it when its time is up. Two more read what it says, so
//! that it never waits for us.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::Ran;

const POLL: Duration = Duration::from_millis(1);

/// How long a left-over grandchild may keep a pipe open after the program itself has ended.
const PIPE_GRACE: Duration = Duration::from_secs(5);

/// A program that runs now; killed with its process group when dropped.
pub struct Running {
    pid: Pid,
    shared: Arc<(Mutex<State>, Condvar)>,
    shown: String,
    cwd: PathBuf,
}

#[derive(Default)]
struct State {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    open_pipes: u8,
    ended: Option<ExitStatus>,
    timed_out: bool,
    wall: Duration,
    max_rss_kib: Option<u64>,
}

impl Running {
    pub(crate) fn watch(mut child: Child, stdin: Vec<u8>, timeout: Duration, shown: String, cwd: PathBuf) -> Self {
        let pid = Pid::from_child(&child);
        let shared = Arc::new((Mutex::new(State { open_pipes: 2, ..State::default() }), Condvar::new()));
        if let Some(mut pipe) = child.stdin.take() {
            // A program need not read all it is given: that is the test's to judge.
            thread::spawn(move || drop(pipe.write_all(&stdin)));
        }
        drain(child.stdout.take().expect("stdout is a pipe"), &shared, |state| &mut state.stdout);
        drain(child.stderr.take().expect("stderr is a pipe"), &shared, |state| &mut state.stderr);
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || reap(child, pid, timeout, &shared)
        });
        Running { pid, shared, shown, cwd }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        u32::try_from(self.pid.as_raw_nonzero().get()).expect("process ids are positive")
    }

    /// Sends SIGKILL, which no handler catches, and returns when it is dead.
    pub fn kill(&self) {
        self.send(Signal::KILL);
        drop(self.until_ended());
    }

    /// Sends SIGTERM.
    pub fn term(&self) {
        self.send(Signal::TERM);
    }

    /// Sends a signal by its number.
    pub fn signal(&self, number: i32) {
        self.send(Signal::from_named_raw(number).unwrap_or_else(|| panic!("{number} is no signal")));
    }

    /// Whether it has not ended yet.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state().ended.is_none()
    }

    /// What it has said on stderr until now.
    #[must_use]
    pub fn stderr_so_far(&self) -> Vec<u8> {
        self.state().stderr.clone()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If its time ran out.
    #[track_caller]
    pub fn wait(self) -> Ran {
        let state = self.until_ended();
        let (mut state, late) = self
            .shared
            .1
            .wait_timeout_while(state, PIPE_GRACE, |s| s.open_pipes > 0)
            .unwrap_or_else(PoisonError::into_inner);
        let status = state.ended.expect("waited for the end");
        let ran = Ran {
            stdout: std::mem::take(&mut state.stdout),
            stderr: std::mem::take(&mut state.stderr),
            code: status.code(),
            signal: status.signal(),
            wall: state.wall,
            max_rss_kib: state.max_rss_kib,
            pipe_left_open: late.timed_out(),
            shown: self.shown.clone(),
            cwd: self.cwd.clone(),
        };
        let timed_out = state.timed_out;
        drop(state);
        assert!(!timed_out, "out of time after {:?}\n{}", ran.wall, ran.picture());
        ran
    }

    fn send(&self, signal: Signal) {
        // Under the lock that is held while the child is reaped: its number cannot have gone to somebody else.
        let state = self.state();
        if state.ended.is_none() {
            kill_process(self.pid, signal).expect("signal a child of ours");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.0)
    }

    fn until_ended(&self) -> MutexGuard<'_, State> {
        self.shared.1.wait_while(self.state(), |state| state.ended.is_none()).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.is_running() {
            kill_group(self.pid);
            drop(self.until_ended());
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The group may have lost its last member just now; there is nothing to do about that.
fn kill_group(leader: Pid) {
    kill_process_group(leader, Signal::KILL).ok();
}

/// Collects one of the two streams until nobody holds its other end.
fn drain(
    mut pipe: impl Read + Send + 'static,
    shared: &Arc<(Mutex<State>, Condvar)>,
    into: fn(&mut State) -> &mut Vec<u8>,
) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            into(&mut lock(&shared.0)).extend_from_slice(&buffer[..length]);
        }
        lock(&shared.0).open_pipes -= 1;
        shared.1.notify_all();
    });
}

fn reap(mut child: Child, pid: Pid, timeout: Duration, shared: &(Mutex<State>, Condvar)) {
    let started = Instant::now();
    loop {
        let peak = peak_rss_kib(pid);
        let mut state = lock(&shared.0);
        state.max_rss_kib = state.max_rss_kib.max(peak);
        state.wall = started.elapsed();
        state.ended = child.try_wait().expect("wait for a child of ours");
        if state.ended.is_some() {
            shared.1.notify_all();
            return;
        }
        if state.wall > timeout && !state.timed_out {
            state.timed_out = true;
            kill_group(pid);
        }
        drop(state);
        thread::sleep(POLL);
    }
}

/// The most memory the process has held until now; none once it is a zombie.
///
/// Not `ru_maxrss`: that also counts its children, and the test process before the exec.
fn peak_rss_kib(pid: Pid) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sandbox;

    #[test]
    fn a_killed_program_is_dead_when_kill_returns() {
        let dir = Sandbox::new();
        let sleeper = dir.program("sleep").arg("60").spawn();

        sleeper.kill();

        assert!(!sleeper.is_running());
        sleeper.wait().signalled(9);
    }

    #[test]
    fn a_signal_reaches_the_program() {
        let dir = Sandbox::new();
        let script = "trap 'echo caught; exit 7' TERM; : > ready; while :; do sleep 0.01; done";
        let running = dir.program("sh").args(["-c", script]).spawn();
        dir.wait_for("ready");

        running.term();

        running.wait().stdout_is("caught\n").code(7);
    }

    #[test]
    fn what_outlives_its_time_is_killed_with_its_children() {
        let dir = Sandbox::new();
        let running = dir.program("sh").args(["-c", "sleep 61.5; true"]).timeout(Duration::from_millis(100)).spawn();

        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| running.wait())).unwrap_err();

        let message = panic.downcast_ref::<String>().unwrap();
        assert!(message.contains("out of time"), "{message}");
        assert!(!crate::sampler().stop().contains(&"sleep 61.5".to_owned()));
    }

    #[test]
    fn peak_memory_is_that_of_the_program() {
        let dir = Sandbox::new();
        let hold = "x=$(head -c 40M /dev/zero | tr '\\0' x); sleep 0.1";

        let held = dir.program("sh").args(["-c", hold]).run().code(0);
        let child_held = dir.program("sh").args(["-c", "sh -c \"$1\"; true", "sh", hold]).run().code(0);

        assert!(held.max_rss_kib.is_some_and(|kib| kib > 40 << 10), "{:?}\n{held:?}", held.max_rss_kib);
        assert!(
            child_held.max_rss_kib.is_some_and(|kib| kib < 20 << 10),
            "{:?}\n{child_held:?}",
            child_held.max_rss_kib
        );
    }
}
