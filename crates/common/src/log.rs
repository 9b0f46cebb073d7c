//! `tool: level: message` on standard error, the only place for it.
//!
//! A line cannot panic, holds no foreign control characters and no password. Where standard error is a file or a pipe
//! each line starts with the time, under the systemd journal with its priority, on a terminal with neither.

use crate::{progress, text};
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

static TOOL: OnceLock<&'static str> = OnceLock::new();
static SINK: OnceLock<Sink> = OnceLock::new();
static VERBOSE: AtomicU8 = AtomicU8::new(0);

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// Done, but look at it.
    Warning,
    /// What to do about the line before.
    Hint,
    /// Shown with `-v`.
    Info,
    /// Shown with `-vv`.
    Debug,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Hint => "hint",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The prefix that systemd turns into a priority (sd-daemon(3)).
    fn priority(self) -> &'static str {
        match self {
            Self::Error => "<3>",
            Self::Warning => "<4>",
            Self::Hint | Self::Info => "<6>",
            Self::Debug => "<7>",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Self::Error => "\x1b[1;31m",
            Self::Warning => "\x1b[1;33m",
            Self::Hint => "\x1b[1;36m",
            Self::Info | Self::Debug => "\x1b[2m",
        }
    }
}

enum Sink {
    Terminal { colour: bool },
    Journal,
    Stream,
}

/// Names the tool and how much it says; called once by `program`.
pub fn init(tool: &'static str, verbose: u8) {
    TOOL.get_or_init(|| tool);
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// Whether `-v` (1) or `-vv` (2) was given.
pub fn verbose() -> u8 {
    VERBOSE.load(Ordering::Relaxed)
}

/// Writes one line; used through the macros [`error!`](crate::error), [`warn!`](crate::warn),
/// [`info!`](crate::info) and [`debug!`](crate::debug).
pub fn write(level: Level, message: &str) {
    let wanted = match level {
        Level::Error | Level::Warning | Level::Hint => 0,
        Level::Info => 1,
        Level::Debug => 2,
    };
    if verbose() < wanted {
        return;
    }
    let tool = TOOL.get().copied().unwrap_or("nightshift");
    let message = text::line(&text::redact(message));
    let word = level.word();
    let line = match SINK.get_or_init(find_sink) {
        Sink::Terminal { colour: true } => {
            format!("{tool}: {}{word}:\x1b[0m {message}\n", level.colour())
        }
        Sink::Terminal { colour: false } => format!("{tool}: {word}: {message}\n"),
        Sink::Journal => format!("{}{tool}: {word}: {message}\n", level.priority()),
        Sink::Stream => format!("{} {tool}: {word}: {message}\n", humantime::format_rfc3339_seconds(SystemTime::now())),
    };
    progress::suspended(|| {
        // Nobody is left to tell when standard error is gone.
        drop(std::io::stderr().lock().write_all(line.as_bytes()));
    });
}

/// Asks the person at the terminal, on standard error, and returns the line that comes on standard input.
///
/// # Errors
///
/// Where standard input cannot be read; at its end the answer is empty.
pub fn ask(question: &str) -> std::io::Result<String> {
    let tool = TOOL.get().copied().unwrap_or("nightshift");
    let question = format!("{tool}: {} ", text::line(question));
    progress::suspended(|| drop(std::io::stderr().lock().write_all(question.as_bytes())));
    let mut answer = String::new();
    std::io::stdin().lock().take(4096).read_line(&mut answer)?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

/// Writes text to standard error as it is, for a tool that speaks in the words and the form of the one it replaces.
///
/// The caller answers for what it holds: [`text::visible`] makes a foreign name safe.
pub fn plain(text: &str) {
    progress::suspended(|| drop(std::io::stderr().lock().write_all(text.as_bytes())));
}

/// Writes an error with its whole chain of causes, then its hints.
pub fn failure(error: &anyhow::Error) {
    write(Level::Error, &format!("{error:#}"));
    for hint in crate::hint::of(error) {
        write(Level::Hint, &hint);
    }
}

fn find_sink() -> Sink {
    let stderr = std::io::stderr();
    if stderr.is_terminal() {
        return Sink::Terminal { colour: wants_colour() };
    }
    // $JOURNAL_STREAM is "device:inode" of the stream systemd opened; it is inherited by children whose stderr is
    // something else, so only an equal pair counts (systemd.exec(5)).
    let stream = std::env::var("JOURNAL_STREAM").unwrap_or_default();
    match rustix::fs::fstat(stderr.as_fd()) {
        Ok(stat) if stream == format!("{}:{}", stat.st_dev, stat.st_ino) => Sink::Journal,
        _ => Sink::Stream,
    }
}

/// Whether colour may be used on a terminal: no-color.org, CLICOLOR, TERM=dumb.
pub fn wants_colour() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let off = |name: &str| std::env::var(name).is_ok_and(|value| value == "0");
    !set("NO_COLOR") && !off("CLICOLOR") && std::env::var("TERM").map_or(true, |term| term != "dumb")
}

/// `tool: error: …` on standard error.
#[macro_export]
macro_rules! error { ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Error, &format!($($arg)*)) } }
/// `tool: warning: …` on standard error.
#[macro_export]
macro_rules! warn { ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Warning, &format!($($arg)*)) } }
/// `tool: info: …` on standard error with `-v`.
#[macro_export]
macro_rules! info { ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Info, &format!($($arg)*)) } }
/// `tool: debug: …` on standard error with `-vv`.
#[macro_export]
macro_rules! debug { ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Debug, &format!($($arg)*)) } }
