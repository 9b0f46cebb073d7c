//! Rotates logs as logrotate does, from the same files, and loses no line.
//!
//! ```text
//! config -> glob -> state -> [su] stanza -> state
//!                              stanza: decide -> rotate (prepare, place) -> hook -> compress -> mail, expire
//! ```
//!
//! What is wrong with one log, one stanza or one file of the configuration is said, counts for the exit status, and the
//! rest goes on. All that touches a file goes through `site`, all that is said through `message`.

mod check;
mod child;
mod cli;
mod collapse;
mod compress;
mod config;
mod decide;
mod expire;
mod glob;
mod handles;
mod hook;
mod label;
mod lease;
mod mail;
mod message;
mod names;
mod orphans;
mod recover;
mod report;
mod rotate;
mod run;
mod site;
mod stanza;
mod state;
mod su;
mod truncate;
mod work;
mod writers;

pub use cli::Cli;

use common::cli::Tool as _;
use common::report::{Report, Style};
use common::units::Stamp;
use config::source::Reader;
use config::{Rules, Stanza};
use decide::Force;
use hook::{Here, Note};
use jiff::Zoned;
use message::{Also, Shown, Told, shown, why};
use report::Findings;
use run::{Dry, How, Run};
use state::{Locking, Missing, State};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

/// How often the state is written while a long run goes on.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// Runs the tool.
///
/// # Errors
///
/// Only where nothing could be begun; all else is in the report.
pub fn run(cli: &Cli) -> anyhow::Result<Report> {
    let mut report = Report::new(Cli::NAME, Style::Told, Stamp::from(SystemTime::now()));
    if cli.su_worker {
        su::work()?;
        report.streamed = true;
        report.push(common::report::Item::new(Cli::NAME, common::status::Status::Ok, "done"));
        return Ok(report);
    }
    listen(cli);
    let (stanzas, read) = configuration(&cli.configs);
    let mut findings = Findings::new(&mut report);
    findings.configuration(&config::source::names(&cli.configs), read);
    if cli.check {
        check::all(&stanzas, &mut findings);
        return Ok(report);
    }
    rotate(cli, &stanzas, &mut findings);
    Ok(report)
}

/// Opens the ears: how much is said, and to whom.
fn listen(cli: &Cli) {
    if cli.debug {
        warn!(
            "logrotate in debug mode does nothing except printing debug messages!  Consider using verbose mode (-v) \
             instead if this is not what you want.\n"
        );
    }
    if cli.debug || cli.common.verbose > 0 {
        message::be_verbose();
    }
    let also = match &cli.log {
        Some(path) if path == Path::new("syslog") => message::syslog().map(Also::Syslog),
        Some(path) => File::create(path).map(Also::File),
        None => return,
    };
    match also {
        Ok(also) => message::also(also),
        Err(error) => {
            let path = cli.log.as_deref().map_or_else(Shown::default, shown);
            error!("error opening log file {path}: {}", why(&error));
        }
    }
}

fn configuration(paths: &[PathBuf]) -> (Vec<Stanza>, Told) {
    let (mut reader, mut rules) = (Reader::default(), Rules::default());
    let mut result = Ok(());
    for path in paths {
        result = result.and(reader.read(path, &mut rules));
    }
    (reader.stanzas, result)
}

fn rotate(cli: &Cli, stanzas: &[Stanza], findings: &mut Findings<'_>) {
    handles::raise();
    // Who ignores SIGCHLD when we are started would have us never learn how a child ended. No harm where it fails.
    drop(signal_hook::flag::register(signal_hook::consts::SIGCHLD, Arc::new(AtomicBool::new(false))));
    let now = Zoned::now();
    let locking = match (cli.skip_state_lock, cli.wait_for_state_lock) {
        (true, _) => Locking::Skip,
        (_, true) => Locking::Wait,
        _ => Locking::Try,
    };
    let _lock = match if cli.debug { Ok(None) } else { state::lock(&cli.state, locking) } {
        Ok(lock) => lock,
        Err(failed) => return findings.locked(&shown(&cli.state).to_string(), failed),
    };
    let missing = if cli.debug { Missing::IsEmpty } else { Missing::IsAnError };
    let (state, read) = State::read(&cli.state, missing);
    findings.state(&shown(&cli.state).to_string(), read);
    tell!("\nHandling {} logs", stanzas.len());
    let note = Note::beside(&cli.state);
    let mut turn = Turn { cli, now, how: how(cli), state, note: &note, owed: HashMap::new(), saved: Instant::now() };
    if !cli.debug {
        turn.owed = note.owed();
    }
    for stanza in stanzas {
        if let Err(stopped) = common::interrupt::check() {
            findings.stopped(&stopped);
            break;
        }
        turn.stanza(stanza, findings);
    }
    turn.end(findings);
}

fn how(cli: &Cli) -> How {
    let cores = cli.threads.map(usize::from);
    let cores = cores.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    How {
        dry: if cli.debug { Dry::Yes } else { Dry::No },
        force: if cli.force { Force::Yes } else { Force::No },
        cores,
        limit: cli.script_timeout,
        mailer: cli.mail.clone(),
    }
}

/// One run over all stanzas.
struct Turn<'a> {
    cli: &'a Cli,
    now: Zoned,
    how: How,
    state: State,
    note: &'a Note,
    owed: HashMap<PathBuf, u64>,
    saved: Instant,
}

impl Turn<'_> {
    fn stanza(&mut self, stanza: &Stanza, findings: &mut Findings<'_>) {
        let here = Here { limit: self.how.limit, note: self.note };
        let run = Run::new(stanza, &self.now, &here, &self.how);
        let done = su::rotate(&run, &here, &su::Known { state: &self.state, owed: &self.owed });
        // In a child the paths are absolute; the order is the same.
        for (path, outcome) in stanza.files.iter().zip(&done.outcomes) {
            let known = self.state.get(path);
            if outcome.known || known.is_some() {
                self.state.set(path.clone(), stanza::entry(outcome, known, &self.now));
            }
            findings.log(path, outcome, self.state.get(path), &self.now);
        }
        findings.stanza(&shown(&stanza.pattern).to_string(), &done);
        let is_long = self.saved.elapsed() > SAVE_EVERY;
        if is_long && !self.cli.debug && done.outcomes.iter().any(|outcome| outcome.rotated) {
            // What fails here is said at the end.
            self.state.write(&self.cli.state, &self.now).ok();
            self.saved = Instant::now();
        }
    }

    fn end(self, findings: &mut Findings<'_>) {
        if self.cli.debug {
            return findings.end();
        }
        let written = self.state.write(&self.cli.state, &self.now);
        findings.state(&shown(&self.cli.state).to_string(), written);
        if common::interrupt::requested().is_none() {
            self.note.settle();
        }
        findings.end();
    }
}
