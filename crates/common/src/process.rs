//! Child programs: found once, no shell, a clean environment, a time limit, standard error kept, the status checked.

use crate::hint::Hint as _;
use crate::interrupt::Registered;
use anyhow::{Context as _, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags};
pub use rustix::process::Signal;
use rustix::process::{Pid, PidfdFlags, kill_process_group, pidfd_open};
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

mod find;
mod gather;

pub use find::{User, find, find_all, is_executable, is_root, sibling};
pub use gather::{Excess, Gathered};

/// How much of a child's standard error is kept: the head says what went wrong first.
const KEPT_STDERR: usize = 64 * 1024;
/// How long standard error is read on after a child has ended: what it leaves behind may hold the pipe for ever.
const LATE_STDERR: Duration = Duration::from_secs(2);
/// The same where its whole group is gone: only what has left the group can still hold the pipe.
const SOON: Duration = Duration::from_millis(100);
/// How long a child may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);
/// What every child gets of our environment, if it is set.
const ENVIRONMENT: [&str; 7] = ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR"];

/// A program with its arguments, ready to start.
#[derive(Debug)]
pub struct Program {
    command: Command,
    name: String,
    manners: Manners,
}

/// How a child is treated at its end.
#[derive(Clone, Copy, Debug)]
struct Manners {
    /// How long it may take to end after SIGTERM.
    grace: Duration,
    /// Whether what it leaves behind in its group is ended, too.
    takes_all: bool,
}

impl Program {
    /// A program by absolute path, with nothing of our environment but PATH, HOME, the locale, TZ and TMPDIR.
    pub fn new(path: &Path) -> Self {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let mut command = Command::new(path);
        command.env_clear().stdin(Stdio::null()).process_group(0);
        for variable in ENVIRONMENT {
            if let Some(value) = std::env::var_os(variable) {
                command.env(variable, value);
            }
        }
        for (variable, value) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("LC_") {
                command.env(variable, value);
            }
        }
        Self { command, name, manners: Manners { grace: GRACE, takes_all: false } }
    }

    /// Gives the program this long to end after SIGTERM, before SIGKILL.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.manners.grace = grace;
        self
    }

    /// Ends what the program leaves behind in its process group when it has ended, and waits for none of its output.
    pub fn leaves_nothing(mut self) -> Self {
        self.manners.takes_all = true;
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Hands on the variables of our environment whose name the test accepts.
    pub fn envs_where(mut self, accepts: impl Fn(&str) -> bool) -> Self {
        for (name, value) in std::env::vars_os() {
            if name.to_str().is_some_and(&accepts) {
                self.command.env(name, value);
            }
        }
        self
    }

    /// Runs the program as another user, without our supplementary groups, in `/`. Only root can.
    pub fn run_as(mut self, user: &User) -> Self {
        // std sets no groups, then the group, then the user, each for real, effective and saved id at once, between
        // fork and exec: the child can never come back to root.
        self.command.gid(user.gid).uid(user.uid).current_dir("/");
        self.command.env("HOME", &user.home).env("USER", &user.name).env("LOGNAME", &user.name);
        self
    }

    /// Runs the program in another directory than ours.
    pub fn current_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Gives the program an open file as standard input.
    pub fn stdin(mut self, file: std::fs::File) -> Self {
        self.command.stdin(file);
        self
    }

    /// The name of the program, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Starts the program with its standard output, and where wanted its standard input, as pipes.
    ///
    /// # Errors
    ///
    /// "cannot run …".
    pub fn start(self, input: Input) -> Result<Running> {
        let mut running = self.spawn(input)?;
        running.stderr = running.child.stderr.take().map(Kept::read);
        Ok(running)
    }

    /// As [`Program::start`], but nobody reads its standard error yet.
    fn spawn(mut self, input: Input) -> Result<Running> {
        if input == Input::Pipe {
            self.command.stdin(Stdio::piped());
        }
        crate::debug!(
            "run {:?}",
            self.command.get_args().fold(self.name.clone(), |line, arg| line + " " + &arg.to_string_lossy())
        );
        let path: OsString = self.command.get_program().to_owned();
        let child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {path:?}"))?;
        let group = Pid::from_child(&child);
        let registered = Registered::new(group);
        Ok(Running { registered, child, group, name: self.name, stderr: None, ended: None, manners: self.manners })
    }

    /// Runs the program to its end within a time limit and returns its standard output.
    ///
    /// # Errors
    ///
    /// What [`Program::gather`] and [`Finished::success`] say; more than `limit` bytes of output are an error, too.
    pub fn output(self, time: Duration, limit: usize) -> Result<Vec<u8>> {
        let gathered = self.gather(time, limit, Excess::Refused)?;
        gathered.finished.success()?;
        Ok(gathered.stdout)
    }
}

/// Whether a child's standard input is a pipe of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// /dev/null.
    None,
    /// A pipe, see [`Running::stdin`].
    Pipe,
}

/// What a child says on standard error, read as it comes.
#[derive(Debug)]
struct Kept {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Kept {
    fn read(mut stderr: ChildStderr) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut buffer) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = KEPT_STDERR.saturating_sub(kept.len());
                kept.extend_from_slice(&buffer[..count.min(room)]);
            }
        });
        Self { bytes, reader }
    }

    /// What came, once the child has ended; what comes later than `late` is not waited for.
    fn end(self, late: Duration) -> Vec<u8> {
        let began = Instant::now();
        while !self.reader.is_finished() && began.elapsed() < late {
            std::thread::sleep(Duration::from_micros(200));
        }
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A running child, the leader of its own process group; killed when dropped.
#[derive(Debug)]
pub struct Running {
    #[expect(dead_code, reason = "unregisters the group when it goes")]
    registered: Registered,
    child: Child,
    group: Pid,
    name: String,
    stderr: Option<Kept>,
    ended: Option<ExitStatus>,
    manners: Manners,
}

impl Running {
    /// The child's standard output, once.
    ///
    /// # Errors
    ///
    /// When it was taken before.
    pub fn stdout(&mut self) -> Result<ChildStdout> {
        self.child.stdout.take().context("standard output was taken before")
    }

    /// The child's standard input, once.
    ///
    /// # Errors
    ///
    /// When it was taken before or is no pipe.
    pub fn stdin(&mut self) -> Result<ChildStdin> {
        self.child.stdin.take().context("standard input was taken before")
    }

    /// Waits for the end, for at most `time`.
    ///
    /// # Errors
    ///
    /// When the time is over (the group is ended first) or a signal asked us to stop.
    pub fn finish(mut self, time: Option<Duration>) -> Result<Finished> {
        let began = Instant::now();
        let mut end = End::of(self.group);
        let status = loop {
            if let Some(status) = self.reap(&end)? {
                break status;
            }
            if time.is_some_and(|time| began.elapsed() >= time) {
                return self.is_late(began);
            }
            end.wait(time.map(|time| time.saturating_sub(began.elapsed())));
        };
        self.ended = Some(status);
        let late = if self.manners.takes_all { SOON } else { LATE_STDERR };
        let stderr = self.stderr.take().map(|kept| kept.end(late)).unwrap_or_default();
        Ok(Finished { name: std::mem::take(&mut self.name), status, stderr: crate::text::bytes(&stderr) })
    }

    /// Ends a child whose time is over.
    fn is_late<T>(&mut self, began: Instant) -> Result<T> {
        self.end();
        Err(anyhow!("{} gave no answer within {}", self.name, crate::units::duration(began.elapsed())))
            .hint("is the server reachable and not blocked?")
    }

    /// Whether the child has not ended yet.
    ///
    /// # Errors
    ///
    /// As waitpid(2).
    pub fn is_running(&mut self) -> Result<bool> {
        let ended = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(ended.is_none())
    }

    /// Sends the child a signal, and not its group; one that has ended in the meantime is none of its business.
    pub fn signal(&self, signal: Signal) {
        if self.ended.is_none()
            && let Err(error) = rustix::process::kill_process(self.group, signal)
        {
            crate::debug!("cannot signal {}: {error}", self.name);
        }
    }

    /// Ends the whole group: SIGTERM, and SIGKILL if that is not enough.
    fn end(&mut self) {
        if self.ended.is_some() {
            return;
        }
        signal(self.group, Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < self.manners.grace {
            if let Ok(Some(status)) = self.child.try_wait() {
                self.ended = Some(status);
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Also when the leader has ended: members of its group may live on.
        signal(self.group, Signal::KILL);
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
    }
}

/// The end of a child, waited for without taking its status.
struct End {
    /// Becomes readable when the child ends. Source: pidfd_open(2), from Linux 5.3 on.
    pidfd: Option<OwnedFd>,
    pause: Duration,
}

impl End {
    fn of(child: Pid) -> Self {
        Self { pidfd: pidfd_open(child, PidfdFlags::empty()).ok(), pause: Duration::from_millis(1) }
    }

    fn has_come(&self) -> bool {
        self.within(Duration::ZERO)
    }

    fn within(&self, time: Duration) -> bool {
        let Some(pidfd) = &self.pidfd else { return false };
        let time = rustix::event::Timespec::try_from(time).ok();
        rustix::event::poll(&mut [PollFd::new(pidfd, PollFlags::IN)], time.as_ref()).is_ok_and(|ready| ready > 0)
    }

    /// Waits for the end, but not for ever.
    fn wait(&mut self, most: Option<Duration>) {
        let most = most.unwrap_or(Duration::from_secs(1));
        if self.pidfd.is_some() {
            self.within(most);
            return;
        }
        std::thread::sleep(self.pause(most));
    }

    /// How long may be waited before the child is looked at again: longer and longer, and where its end tells itself all of `most`.
    fn pause(&mut self, most: Duration) -> Duration {
        if self.pidfd.is_some() {
            return most;
        }
        let pause = self.pause.min(most);
        self.pause = (self.pause * 2).min(Duration::from_millis(50));
        pause
    }
}

/// Standard output of a child that must not fall silent.
#[derive(Debug)]
pub struct Patient {
    stdout: ChildStdout,
    patience: Duration,
}

impl Patient {
    /// Reads from the child, but never waits longer than `patience` for its next bytes.
    pub fn new(stdout: ChildStdout, patience: Duration) -> Self {
        Self { stdout, patience }
    }
}

impl std::io::Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let time = rustix::event::Timespec::try_from(self.patience).map_err(std::io::Error::other)?;
        let ready = rustix::event::poll(&mut [PollFd::new(&self.stdout, PollFlags::IN)], Some(&time))?;
        if ready == 0 {
            let message = format!("nothing more came within {}", crate::units::duration(self.patience));
            return Err(std::io::Error::new(std::io::ErrorKind::TimedOut, message));
        }
        self.stdout.read(buffer)
    }
}

/// Signals a group; one that has ended in the meantime is what we want.
fn signal(group: Pid, signal: Signal) {
    if let Err(error) = kill_process_group(group, signal) {
        crate::debug!("cannot signal process group {group}: {error}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The reader of our pipe is gone, so a child that writes ends by itself, but not one that waits.
        self.child.stdout = None;
        self.child.stdin = None;
        self.end();
    }
}

/// How a child ended.
#[derive(Debug)]
pub struct Finished {
    name: String,
    /// The wait status.
    pub status: ExitStatus,
    /// Its standard error, the first 64 KiB.
    pub stderr: String,
}

impl Finished {
    /// Fails unless the child ended with 0; the error holds what it said on standard error.
    ///
    /// # Errors
    ///
    /// "pg_dump failed with exit code 1: …" or "pg_dump was killed by signal 9: …".
    pub fn success(&self) -> Result<()> {
        if self.status.success() {
            return Ok(());
        }
        // A child that we ended because we were asked to stop did not fail.
        crate::interrupt::check()?;
        let said = self.said();
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => bail!("{} failed with exit code {code}{said}", self.name),
            (None, Some(signal)) => bail!("{} was killed by signal {signal}{said}", self.name),
            (None, None) => bail!("{} ended with {}{said}", self.name, self.status),
        }
    }

    /// The lines of standard error, joined; without the program's own name in front of each.
    pub fn said(&self) -> String {
        let own = format!("{}: ", self.name);
        let lines: Vec<_> = self
            .stderr
            .lines()
            .map(|line| line.strip_prefix(&own).unwrap_or(line).trim())
            .map(|line| line.strip_prefix("error: ").unwrap_or(line))
            .filter(|line| !line.is_empty())
            .collect();
        lines.join("; ")
    }
}

#[cfg(test)]
#[path = "process/tests.rs"]
mod tests;
