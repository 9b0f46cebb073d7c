//! SIGINT, SIGTERM and SIGHUP: stop the children, let the stages clean up, end with 128+n.
//!
//! A thread waits for the signals. It ends the child programs that run, so that whoever reads from them sees the end
//! of the stream, finds [`requested`], and returns an error; partial files go by their `Drop`. A second signal ends the
//! process at once.
//!
//! Where stopping half-way would leave others without service (an application that is stopped, a pool that is paused), a
//! [`Shield`] lets a stage come to its end first.

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use std::sync::Mutex;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

static REQUESTED: AtomicI32 = AtomicI32::new(0);
static SHIELDS: AtomicUsize = AtomicUsize::new(0);
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Starts to listen; called once by `program`, before any other thread exists.
///
/// A signal that was ignored when we were started stays ignored: that is how nohup(1) and a shell's `&` ask for it.
///
/// # Errors
///
/// When the handlers cannot be installed.
pub fn listen() -> std::io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let heard = [SIGHUP, SIGINT, SIGTERM].into_iter().filter(|signal| !is_ignored(&status, *signal));
    let mut signals = signal_hook::iterator::Signals::new(heard)?;
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if REQUESTED.swap(signal, Ordering::SeqCst) != 0 {
                end(signal);
            }
            if !is_shielded() {
                for child in children().iter() {
                    terminate(*child);
                }
            }
        }
    });
    Ok(())
}

/// Whether the mask of ignored signals in `/proc/PID/status` has this one. Source: proc(5), SigIgn.
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

/// The signal that asked this run to stop, if one did.
pub fn requested() -> Option<i32> {
    match REQUESTED.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

/// Fails once a signal has asked this run to stop, unless a [`Shield`] is up.
///
/// # Errors
///
/// "stopped by SIGTERM" and the like.
pub fn check() -> anyhow::Result<()> {
    match requested() {
        None => Ok(()),
        Some(_) if is_shielded() => Ok(()),
        Some(signal) => Err(anyhow::anyhow!("stopped by {}", name(signal))),
    }
}

/// Ends the process by the signal itself, so that the caller sees 128+n.
pub fn end(signal: i32) {
    drop(signal_hook::low_level::emulate_default_handler(signal));
}

fn terminate(group: Pid) {
    // A group that has ended in the meantime is what we want.
    if let Err(error) = kill_process_group(group, Signal::TERM) {
        crate::debug!("cannot end process group {group}: {error}");
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGHUP => "SIGHUP",
        SIGINT => "SIGINT",
        _ => "SIGTERM",
    }
}

fn children() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    CHILDREN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// While this lives, a first signal is noted ([`requested`]) but ends no child, and [`check`] passes.
#[derive(Debug)]
pub struct Shield(());

impl Shield {
    /// Raises it; for stages that have time limits of their own.
    #[expect(clippy::new_without_default, reason = "it changes how the whole process hears signals")]
    pub fn new() -> Self {
        SHIELDS.fetch_add(1, Ordering::SeqCst);
        Self(())
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        SHIELDS.fetch_sub(1, Ordering::SeqCst);
    }
}

fn is_shielded() -> bool {
    SHIELDS.load(Ordering::SeqCst) > 0
}

/// A child's process group that is ended when a signal arrives, for as long as this lives.
#[derive(Debug)]
pub struct Registered(Pid);

impl Registered {
    /// Registers the group that a child leads.
    pub fn new(group: Pid) -> Self {
        children().push(group);
        if requested().is_some() && !is_shielded() {
            terminate(group);
        }
        Self(group)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        children().retain(|group| *group != self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_counts_from_one() {
        let status = "Name:\tx\nSigIgn:\t0000000000001001\n";

        assert!(is_ignored(status, SIGHUP));
        assert!(!is_ignored(status, SIGINT));
        assert!(!is_ignored(status, SIGTERM));
        assert!(!is_ignored("", SIGHUP));
    }
}
