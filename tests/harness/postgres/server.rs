//! The server process: started, found ready, stopped.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::home::Home;
use super::programs::Programs;
use super::template::as_server_user;
use crate::free_port;

const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(2);
const PORTS_TO_TRY: u32 = 10;

/// How a server is asked to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// In order: a checkpoint is written.
    Fast,
    /// Like a crash, but children and shared memory are cleared away.
    Immediate,
}

/// A postmaster, or the place of one that is stopped.
pub(super) struct Server {
    child: Mutex<Option<Child>>,
    port: AtomicU16,
}

impl Server {
    /// Starts one on a free port.
    pub(super) fn start(programs: &Programs, home: &Home) -> Self {
        for _ in 0..PORTS_TO_TRY {
            let port = free_port();
            if let Some(child) = launch(programs, home, port) {
                return Server { child: Mutex::new(Some(child)), port: AtomicU16::new(port) };
            }
        }
        panic!("no server on any of {PORTS_TO_TRY} ports\n{}", home.log());
    }

    /// Starts it again where it was; its port may have been taken by a passing client, so not only once.
    pub(super) fn start_again(&self, programs: &Programs, home: &Home) {
        let mut child = self.child();
        for _ in 0..PORTS_TO_TRY {
            *child = launch(programs, home, self.port());
            if child.is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
        panic!("port {} stays taken\n{}", self.port(), home.log());
    }

    pub(super) fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child().as_ref().map(Child::id)
    }

    /// Stops it, if it runs.
    pub(super) fn stop(&self, how: Stop) {
        let Some(mut child) = self.child().take() else { return };
        let signal = match how {
            Stop::Fast => Signal::INT,
            Stop::Immediate => Signal::QUIT,
        };
        // A test may have killed it: then there is nobody to signal, but still somebody to wait for.
        kill_process(Pid::from_child(&child), signal).ok();
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().expect("wait for the server").is_none() {
            if Instant::now() > deadline {
                child.kill().expect("kill the server");
            }
            thread::sleep(POLL);
        }
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
    }
}

/// A server that takes connections, or none if its port is taken.
///
/// Panics with its log if it cannot start for any other reason.
fn launch(programs: &Programs, home: &Home, port: u16) -> Option<Child> {
    let log = OpenOptions::new().create(true).append(true).open(home.log_file()).expect("open the log");
    let mut postgres = as_server_user(&programs.bin.join("postgres"));
    postgres.arg("-D").arg(home.data_dir()).args(["-p", &port.to_string()]);
    postgres.stdin(Stdio::null()).stdout(log.try_clone().expect("dup")).stderr(log).process_group(0);
    let logged_before = home.log().len();
    let mut child =
        start_from_lasting_thread(postgres).unwrap_or_else(|e| panic!("cannot run setpriv (util-linux): {e}"));
    let deadline = Instant::now() + PATIENCE;
    while !is_ready(home, child.id()) {
        if let Some(status) = child.try_wait().expect("wait for the server") {
            let log = home.log();
            assert!(log[logged_before..].contains("Address already in use"), "the server ended ({status})\n{log}");
            return None;
        }
        assert!(Instant::now() < deadline, "the server is not ready after {PATIENCE:?}\n{}", home.log());
        thread::sleep(POLL);
    }
    Some(child)
}

/// Whether the server says in its pid file that it takes connections: line 8, as pg_ctl reads it.
fn is_ready(home: &Home, pid: u32) -> bool {
    let Ok(pid_file) = fs::read_to_string(home.data_dir().join("postmaster.pid")) else {
        return false;
    };
    let mut lines = pid_file.lines();
    // The file of a crashed predecessor may still be there.
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6).map(str::trim) == Some("ready")
}

type Job = (Command, Sender<io::Result<Child>>);

/// Starts a child from a thread that lives as long as the test process.
///
/// The kernel sends the parent-death signal when the *thread* ends that started the child; a server shared by several
/// tests would die with the first of them.
fn start_from_lasting_thread(command: Command) -> io::Result<Child> {
    static STARTER: OnceLock<Mutex<Sender<Job>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, jobs) = channel::<Job>();
        thread::spawn(move || {
            for (mut command, reply) in jobs {
                drop(reply.send(command.spawn()));
            }
        });
        Mutex::new(sender)
    });
    let (sender, reply) = channel();
    starter.lock().unwrap_or_else(PoisonError::into_inner).send((command, sender)).expect("the starter never ends");
    reply.recv().expect("the starter always answers")
}

/// Runs a command with `input` on its stdin. For input that may be larger than a pipe.
pub(super) fn feed(command: &mut Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    thread::scope(|scope| {
        // psql stops reading at the first error; its exit code says so.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().expect("wait for psql")
    })
}
