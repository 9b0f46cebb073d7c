//! How many handles we may have: every log at work keeps that of its directory (THREATS L1), and a stanza for the logs of
//! thousands of sites has thousands of those, where cron allows 1,024.
//!
//! The soft limit is raised to the hard one. Programs that we start get back what we were started with, because some
//! daemons cannot work with handles above 1,023. Source: select(2), setrlimit(2).

use crate::tell;
use rustix::process::{Pid, Resource, Rlimit};
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

/// Gives a program that we have just started the limit that we were started with.
pub fn restore(child: Pid) {
    if let Some(before) = BEFORE.get() {
        // It may have ended by now.
        rustix::process::prlimit(Some(child), Resource::Nofile, *before).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_program_gets_the_limit_that_we_were_started_with() {
        let limit =
            |current| Rlimit { current: Some(current), maximum: rustix::process::getrlimit(Resource::Nofile).maximum };
        rustix::process::setrlimit(Resource::Nofile, limit(256)).unwrap();

        raise();

        let is = rustix::process::getrlimit(Resource::Nofile);
        assert_eq!(is.current, is.maximum);
        let mut child = Command::new("sh");
        child.args(["-c", "read go; ulimit -Sn"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        restore(Pid::from_child(&child));
        drop(child.stdin.take());
        assert_eq!(child.wait_with_output().unwrap().stdout, b"256\n");
    }
}
