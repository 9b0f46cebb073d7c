//! What the kernel knows of its clock: adjtimex(2), for which no safe crate of ours has a call.
#![expect(unsafe_code, reason = "adjtimex is offered by libc only")]

use std::io;

/// The state of the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    /// Somebody (timesyncd, chrony, ntpd) keeps it right.
    pub(crate) is_synchronised: bool,
    /// What is still to be corrected, in seconds.
    pub(crate) offset: f64,
}

/// Asks the kernel; changes nothing.
///
/// # Errors
///
/// As adjtimex(2), where a sandbox forbids the call.
pub(crate) fn state() -> io::Result<State> {
    // SAFETY: timex is plain numbers, for which all zeros are a value; modes of 0 means that nothing is set.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a timex of ours, which outlives the call.
    let result = unsafe { libc::adjtimex(&raw mut timex) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let is_nano = timex.status & libc::STA_NANO != 0;
    let unit = if is_nano { 1e-9 } else { 1e-6 };
    let is_synchronised = result != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0;
    Ok(State { is_synchronised, offset: timex.offset as f64 * unit })
}
