//! `main()` of every tool: arguments -> options -> run -> print -> exit code.
//!
//! The only place, beside `log`, that touches the process's standard output, standard error and exit code.

use crate::cli::{self, BadArgument, Children, Parsed, Tool};
use crate::journal::Journal;
use crate::log::Level;
use crate::report::{Colour, Item, Report, Show, Style};
use crate::status::{Code, Status};
use crate::units::Stamp;
use crate::{hint, interrupt, log, progress, publish};
use anyhow::{Context as _, Result, anyhow};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

/// Runs a tool: `run` gets the options and returns what it found; an `Err` means "could not start" and ends with 3.
pub fn main<C: Tool>(run: fn(&C) -> Result<Report>) -> ExitCode {
    log::init(C::NAME, 0);
    std::panic::set_hook(Box::new(|panic| {
        crate::error!("internal error: {panic}");
        log::write(Level::Hint, "please report this, with the command line and the lines above");
    }));
    let status = catch_unwind(|| start(run)).unwrap_or(C::exit_status(Code::Unknown));
    if let Some(signal) = interrupt::requested() {
        interrupt::end(signal);
    }
    status.into()
}

/// Reads the arguments and runs; returns the exit status.
fn start<C: Tool>(run: fn(&C) -> Result<Report>) -> u8 {
    let argv: Vec<OsString> = std::env::args_os().collect();
    match harden(C::CHILDREN).and_then(|()| cli::parse::<C>(&argv)) {
        Ok(Parsed::Run(cli)) => C::exit_status(work(&*cli, run)),
        Ok(Parsed::Show(text)) => C::exit_status(print(&text, Code::Ok)),
        Err(error) => {
            log::failure(&error);
            match hint::find::<BadArgument>(&error) {
                Some(_) => C::bad_argument_status(),
                None => C::exit_status(Code::Unknown),
            }
        }
    }
}

fn work<C: Tool>(cli: &C, run: fn(&C) -> Result<Report>) -> Code {
    let common = cli.common();
    log::init(C::NAME, common.verbose);
    if common.quiet {
        progress::hide();
    }
    let journal = match common.journal.as_deref().map(Journal::open).transpose() {
        Ok(journal) => journal,
        Err(error) => {
            log::failure(&error);
            return Code::Unknown;
        }
    };
    let time = Stamp::from(SystemTime::now());
    let began = Instant::now();
    // A panic is told by the hook; here it becomes a finding, so that journal and files hear of it, too.
    let ran = catch_unwind(AssertUnwindSafe(|| run(cli)));
    let ran = ran.unwrap_or_else(|_| Err(anyhow!("the run ended by an internal error")));
    let mut report = ran.unwrap_or_else(|error| not_started::<C>(&error, time));
    tell_trouble(&report);
    let mut code = report.code();
    if let Some(journal) = journal
        && let Err(error) = journal.append(&report, code, began.elapsed())
    {
        log::failure(&error);
        code = worse(code, Code::Warning);
    }
    for write in &common.write {
        if let Err(error) = publish::replace(&write.path, report.render(write.format, Show::All).as_bytes()) {
            log::failure(&error);
            code = worse(code, Code::Warning);
        }
    }
    if report.streamed {
        return code;
    }
    if std::io::stdout().is_terminal() {
        report.terminal = Some(if log::wants_colour() { Colour::Yes } else { Colour::No });
    }
    let show = if common.quiet { Show::Trouble } else { Show::All };
    print(&report.render(common.format, show), code)
}

/// What holds for every tool from its first instant. Source: THREATS G1.
fn harden(children: Children) -> Result<()> {
    if children == Children::Private {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        rustix::process::setrlimit(Resource::Core, none).context("cannot forbid core dumps")?;
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).context("cannot forbid tracing")?;
    interrupt::listen().context("cannot install signal handlers")
}

/// A run that could not start is still a report: a monitoring file must not keep yesterday's OK.
fn not_started<C: Tool>(error: &anyhow::Error, time: Stamp) -> Report {
    // Where it could not start it has said nothing yet, whatever its style.
    let mut report = Report::new(C::NAME, Style::Action, time);
    report.push(Item::failed(C::NAME, Status::Unknown, error));
    report
}

/// What an action tool could not do is said on standard error, because its standard output holds only what it made.
fn tell_trouble(report: &Report) {
    if report.style != Style::Action {
        return;
    }
    for item in report.items.iter().filter(|item| item.status != Status::Ok) {
        let level = if item.status == Status::Warning { Level::Warning } else { Level::Error };
        let subject = if item.subject == report.tool { String::new() } else { format!("{}: ", item.subject) };
        log::write(level, &format!("{subject}{}", item.message));
        for hint in &item.hints {
            log::write(Level::Hint, hint);
        }
    }
}

fn print(text: &str, code: Code) -> Code {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => code,
        // `| head` has read enough: what the run earned stays.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => code,
        Err(error) => {
            log::failure(&anyhow!(error).context("cannot write standard output"));
            worse(code, Code::Critical)
        }
    }
}

fn worse(code: Code, other: Code) -> Code {
    let rank = |code: Code| match code {
        Code::Ok => 0,
        Code::Busy => 1,
        Code::Unknown => 2,
        Code::Warning => 3,
        Code::Critical => 4,
    };
    if rank(other) > rank(code) { other } else { code }
}
