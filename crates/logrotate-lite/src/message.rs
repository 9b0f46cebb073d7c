//! What is said while logs are rotated: in logrotate's words, to standard error, and to a file or syslog with `-l`.
//!
//! ```text
//! error!  "error: …"     always            counts: whoever asks takes the errors of this thread
//! warn!   "warning: …"   always
//! tell!   "…"            with -v or -d; the file of -l gets it in any case
//! ```
//!
//! In the process that works for a `su` stanza nothing is printed: its parent gets every line.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Level {
    /// Something failed.
    Error,
    /// Look at it.
    Warning,
    /// What is going on.
    Detail,
}

/// Who hears of it besides standard error.
pub enum Also {
    /// A file, `-l FILE`.
    File(File),
    /// The system log, `-l syslog`.
    Syslog(UnixDatagram),
    /// The parent, instead of standard error.
    Parent(fn(Level, &str)),
}

/// An error that has been said already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// What a step of the work comes to.
pub type Told<T = ()> = Result<T, Failed>;

static VERBOSE: AtomicBool = AtomicBool::new(false);
static HEARD: AtomicBool = AtomicBool::new(false);
static ALSO: Mutex<Option<Also>> = Mutex::new(None);

thread_local! {
    static ERRORS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Shows details from now on.
pub fn be_verbose() {
    VERBOSE.store(true, Ordering::Relaxed);
    HEARD.store(true, Ordering::Relaxed);
}

/// Whether details are shown.
pub fn is_verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

/// Whether anybody hears details; where nobody does they need not be put together.
pub fn is_heard() -> bool {
    HEARD.load(Ordering::Relaxed)
}

/// Sends every line to somebody else, too.
pub fn also(to: Also) {
    HEARD.store(true, Ordering::Relaxed);
    *ALSO.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(to);
}

/// Shows no details to whoever [`also`] gets them: nobody there wants them.
pub fn hear_errors_only() {
    HEARD.store(false, Ordering::Relaxed);
}

/// The errors that this thread has said since it was asked last.
pub fn take_errors() -> Vec<String> {
    ERRORS.take()
}

/// Says one line; used through [`error!`], [`warn!`] and [`tell!`].
pub fn say(level: Level, text: &str) {
    if level == Level::Error {
        ERRORS.with_borrow_mut(|errors| errors.push(text.to_owned()));
    }
    let mut also = ALSO.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(Also::Parent(tell)) = &*also {
        return tell(level, text);
    }
    let line = match level {
        Level::Error => format!("error: {text}\n"),
        Level::Warning => format!("warning: {text}\n"),
        Level::Detail => format!("{text}\n"),
    };
    if level != Level::Detail || is_verbose() {
        common::log::plain(&line);
    }
    // Who cannot be told by one way has been told by the other.
    match &mut *also {
        Some(Also::File(file)) => drop(file.write_all(line.as_bytes())),
        Some(Also::Syslog(socket)) => drop(socket.send(&datagram(level, &line))),
        Some(Also::Parent(_)) | None => {}
    }
}

/// A line as syslog takes it: facility user, tag, text. Source: RFC 3164, 4.1; syslog(3).
fn datagram(level: Level, line: &str) -> Vec<u8> {
    let priority = match level {
        Level::Error => 8 + 3,
        Level::Warning => 8 + 4,
        Level::Detail => 8 + 6,
    };
    format!("<{priority}>logrotate: {}", line.trim_end()).into_bytes()
}

/// The system's log.
///
/// # Errors
///
/// Where nothing listens at /dev/log.
pub fn syslog() -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(Path::new("/dev/log"))?;
    Ok(socket)
}

/// A path or a name as it is said: no control character of it reaches a terminal (THREATS G11).
pub fn shown(name: &(impl AsRef<OsStr> + ?Sized)) -> Shown<'_> {
    Shown(name.as_ref())
}

/// A name on its way into a message; most messages are never heard.
#[derive(Clone, Copy, Default)]
pub struct Shown<'a>(&'a OsStr);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&common::text::visible(&common::text::bytes(self.0.as_bytes())))
    }
}

/// The cause in the system's own words, without its number.
pub fn why(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

/// The same for what rustix returns.
pub fn reason(error: rustix::io::Errno) -> String {
    why(&error.into())
}

/// `error: …`.
#[macro_export]
macro_rules! error { ($($arg:tt)*) => { $crate::message::say($crate::message::Level::Error, &format!($($arg)*)) } }
/// `warning: …`.
#[macro_export]
macro_rules! warn { ($($arg:tt)*) => { $crate::message::say($crate::message::Level::Warning, &format!($($arg)*)) } }
/// A detail.
#[macro_export]
macro_rules! tell {
    ($($arg:tt)*) => {
        if $crate::message::is_heard() {
            $crate::message::say($crate::message::Level::Detail, &format!($($arg)*))
        }
    }
}
/// `error: …`, as the `Err` of a step.
#[macro_export]
macro_rules! fail {
    ($($arg:tt)*) => {{
        $crate::error!($($arg)*);
        Err($crate::message::Failed)
    }}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_move_the_cursor() {
        assert_eq!(shown("a\u{1b}[2J\n").to_string(), "a\\u001b[2J\\n");
        assert_eq!(shown(OsStr::from_bytes(b"caf\xe9")).to_string(), "caf\\xe9");
    }

    #[test]
    fn a_cause_has_no_number() {
        assert_eq!(why(&io::Error::from_raw_os_error(2)), "No such file or directory");
        assert_eq!(why(&io::Error::other("failpoint x")), "failpoint x");
    }

    #[test]
    fn an_error_is_kept_for_who_asks() {
        error!("one {}", 1);

        assert_eq!(take_errors(), ["one 1"]);
        assert!(take_errors().is_empty());
    }

    #[test]
    fn syslog_gets_facility_user_and_a_tag() {
        assert_eq!(datagram(Level::Error, "error: x\n"), b"<11>logrotate: error: x");
    }
}
