//! Programs whose whole output is wanted: both pipes and the end are waited for in one place, without a thread for each.

use super::{End, Finished, Input, KEPT_STDERR, LATE_STDERR, Program, Running, SOON, Signal, signal};
use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// What becomes of output that is over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Excess {
    /// It is read and dropped, so that the program goes on to its end.
    Dropped,
    /// The program is ended, and that is an error.
    Refused,
}

/// How a program ended, and what it printed.
#[derive(Debug)]
pub struct Gathered {
    /// How it ended.
    pub finished: Finished,
    /// The first bytes of its standard output.
    pub stdout: Vec<u8>,
    /// It printed more than was kept.
    pub is_cut: bool,
}

impl Program {
    /// Runs the program to its end within a time limit, and keeps `limit` bytes of its standard output.
    ///
    /// # Errors
    ///
    /// "cannot run …"; "… gave no answer within …"; "… printed more than …" where that is refused.
    pub fn gather(self, time: Duration, limit: usize, excess: Excess) -> Result<Gathered> {
        self.spawn(Input::None)?.gather(time, limit, excess)
    }
}

impl Running {
    fn gather(mut self, time: Duration, limit: usize, excess: Excess) -> Result<Gathered> {
        let began = Instant::now();
        let mut end = End::of(self.group);
        let mut stdout = Pipe::new(self.child.stdout.take().map(OwnedFd::from), limit);
        let mut stderr = Pipe::new(self.child.stderr.take().map(OwnedFd::from), KEPT_STDERR);
        let status = loop {
            if let Some(status) = self.reap(&end)? {
                break status;
            }
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() {
                return self.is_late(began);
            }
            wait([&mut stdout, &mut stderr], Some(&mut end), left);
            if stdout.is_cut && excess == Excess::Refused {
                self.end();
                return too_much(&self.name, limit);
            }
        };
        self.ended = Some(status);
        // What it leaves behind may hold the pipes for ever.
        let (ended, late) = (Instant::now(), if self.manners.takes_all { SOON } else { LATE_STDERR });
        while (stdout.file.is_some() || stderr.file.is_some()) && ended.elapsed() < late {
            wait([&mut stdout, &mut stderr], None, late.saturating_sub(ended.elapsed()));
        }
        // It may have ended before all of it was read.
        if stdout.is_cut && excess == Excess::Refused {
            return too_much(&self.name, limit);
        }
        let name = std::mem::take(&mut self.name);
        let finished = Finished { name, status, stderr: crate::text::bytes(&stderr.kept) };
        Ok(Gathered { finished, stdout: stdout.kept, is_cut: stdout.is_cut })
    }

    /// The status of the child, once it has ended.
    pub(super) fn reap(&mut self, end: &End) -> Result<Option<ExitStatus>> {
        if self.manners.takes_all && end.has_come() {
            // Before its status is taken: until then nobody else can have its process group.
            signal(self.group, Signal::KILL);
        }
        self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))
    }
}

fn too_much<T>(name: &str, limit: usize) -> Result<T> {
    bail!("{name} printed more than {}", crate::units::size(limit as u64))
}

/// Output of a child, of which the beginning is kept.
struct Pipe {
    /// Until its end.
    file: Option<File>,
    kept: Vec<u8>,
    limit: usize,
    is_cut: bool,
}

impl Pipe {
    fn new(pipe: Option<OwnedFd>, limit: usize) -> Self {
        Self { file: pipe.map(File::from), kept: Vec::new(), limit, is_cut: false }
    }

    /// Reads what is there; only where something is.
    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        match self.file.as_mut().map(|file| file.read(&mut buffer)) {
            Some(Ok(count @ 1..)) => {
                let room = self.limit.saturating_sub(self.kept.len()).min(count);
                self.kept.extend_from_slice(&buffer[..room]);
                self.is_cut |= room < count;
            }
            Some(Err(error)) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => self.file = None,
        }
    }
}

/// Waits until there is something to read, the child has ended, or the time is over; reads what is there.
fn wait(pipes: [&mut Pipe; 2], end: Option<&mut End>, most: Duration) {
    let (pidfd, most) = match end {
        Some(end) => {
            let most = end.pause(most);
            (end.pidfd.as_ref().map(OwnedFd::as_fd), most)
        }
        None => (None, most),
    };
    let ready: Vec<bool> = {
        let open: Vec<BorrowedFd<'_>> = pipes.iter().filter_map(|pipe| Some(pipe.file.as_ref()?.as_fd())).collect();
        let mut all: Vec<_> = open.iter().chain(&pidfd).map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        let most = Timespec::try_from(most).ok();
        // What interrupts it is a signal, or nothing at all is ready: then everything is looked at again.
        let count = poll(&mut all, most.as_ref()).unwrap_or(0);
        all.iter().map(|fd| count > 0 && !fd.revents().is_empty()).collect()
    };
    let mut ready = ready.into_iter();
    for pipe in pipes {
        if pipe.file.is_some() && ready.next() == Some(true) {
            pipe.read();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn gather(script: &str, time: Duration) -> Result<Gathered> {
        let program = Program::new(Path::new("/bin/sh")).arg("-c").arg(script);
        program.grace(Duration::from_millis(300)).leaves_nothing().gather(time, 1000, Excess::Dropped)
    }

    #[test]
    fn a_gigabyte_is_read_and_cut() {
        let ran = gather("head -c 100000000 /dev/zero; echo said >&2; exit 1", Duration::from_secs(30)).unwrap();

        assert!(ran.is_cut);
        assert_eq!((ran.finished.status.code(), ran.stdout.len()), (Some(1), 1000));
        assert_eq!(ran.finished.stderr, "said\n");
    }

    #[test]
    fn both_pipes_are_read_to_their_end() {
        let ran = gather("for i in $(seq 400); do echo out; echo error $i >&2; done", Duration::from_secs(30)).unwrap();

        assert_eq!(ran.stdout, b"out\n".repeat(250));
        assert!(ran.finished.stderr.ends_with("error 400\n"), "{}", ran.finished.stderr);
    }

    #[test]
    fn what_was_forked_is_not_waited_for() {
        let began = Instant::now();

        // One stays in the group, the other leaves it and keeps the pipes.
        let ran = gather("sleep 31 & setsid sleep 32 & echo said", Duration::from_secs(30)).unwrap();

        assert_eq!(ran.stdout, b"said\n");
        assert!(began.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_closes_its_pipes_is_waited_for() {
        let ran = gather("exec >&- 2>&-; sleep 0.2; exit 3", Duration::from_secs(30)).unwrap();

        assert_eq!(ran.finished.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_hangs_costs_its_time_and_little_more() {
        let began = Instant::now();

        let error = gather("trap '' TERM; sleep 60", Duration::from_millis(200)).unwrap_err();

        assert!(error.to_string().contains("gave no answer within"), "{error}");
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
