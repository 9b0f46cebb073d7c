//! Standard input that can be left when a signal asks this run to stop.
//!
//! A read that waits for the program in front of the pipe goes on waiting after a signal; so the wait is cut into pieces.

use common::interrupt;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{Error, Read, Result};

/// How long a stop request may go unseen.
const PIECE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Standard input, unbuffered.
pub struct Stdin(std::io::Stdin);

impl Stdin {
    /// The one of this process.
    pub fn new() -> Self {
        Self(std::io::stdin())
    }
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            interrupt::check().map_err(Error::other)?;
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&PIECE)) {
                Ok(0) | Err(Errno::INTR) => {}
                // Also the end of the stream and an error of it are told by read.
                Ok(_) => return Ok(rustix::io::read(&self.0, &mut *buffer)?),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
