//! How many handles we may have: every log at work keeps that of its directory (THREATS L1), and a stanza for the logs of
//! thousands of sites has thousands of those, where cron allows 1,024.
//!
//! The soft limit is raised to the hard one. Programs that we start get back what we were started with, because some
//! daemons cannot work with handles above 1,023. Source: select(2), setrlimit(2).

#![expect(unsafe_code, reason = "std has no other way to set a limit for a program before it starts")]

use crate::tell;
use rustix::process::{Resource, Rlimit};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::OnceLock;

/// What we were started with, once that was raised.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Raises our limit as far as we may.
pub fn raise() {
    let before = rustix::process::getrlimit(Resource::Nofile);
    if before.current == before.maximum || BEFORE.set(before).is_err() {
        return;
    }
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        // It matters for very many logs only, and those would say what is missing.
        tell!("cannot raise the limit of open files: {}", crate::message::reason(error));
    }
}

/// Has a program start with the limit that we were started with.
pub fn restore(command: &mut Command) {
    let Some(before) = BEFORE.get().copied() else { return };
    let restored = move || Ok(rustix::process::setrlimit(Resource::Nofile, before)?);
    // SAFETY: what runs between fork and exec is one system call, which allocates nothing and takes no lock.
    unsafe { command.pre_exec(restored) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_the_limit_that_we_were_started_with() {
        let limit =
            |current| Rlimit { current: Some(current), maximum: rustix::process::getrlimit(Resource::Nofile).maximum };
        rustix::process::setrlimit(Resource::Nofile, limit(256)).unwrap();

        raise();

        let is = rustix::process::getrlimit(Resource::Nofile);
        assert_eq!(is.current, is.maximum);
        let mut program = Command::new("sh");
        program.args(["-c", "ulimit -Sn"]);
        restore(&mut program);
        assert_eq!(program.output().unwrap().stdout, b"256\n");
    }
}
