//! The kinds of targets: one file or directory each, all of the same shape.
//!
//! `Probe::parse` takes the address and asks `Options` for what it knows; `Probe::look` looks once, before a deadline, and
//! prints and decides nothing. `Probe::subject` is what a target without a `name=` is called: no secrets, no query.

mod backup;
mod cert;
mod clock;
mod command;
mod disk;
mod env;
mod file;
mod journal;
mod load;
mod memory;
mod postgres;
mod pressure;
mod proc;
mod process;
mod report;
mod sql;
mod swap;
mod systemd;
mod tcp;
mod value;

use crate::found::Found;
use crate::options::{self, Options, Origin};
use crate::target::Target;
use anyhow::{Result, anyhow, ensure};
use common::hint;
use common::units::Stamp;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a look may use.
pub(crate) struct Context {
    /// When it must be done.
    pub(crate) deadline: Instant,
    /// When the run began.
    pub(crate) now: Stamp,
    /// Whether an earlier look in this run was not OK: what was remembered for all targets may be old.
    pub(crate) is_again: bool,
    /// What is asked once for all targets.
    pub(crate) shared: Arc<Shared>,
}

impl Context {
    /// The time until the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

/// What is asked once for all targets of a run.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The state of systemd's units.
    pub(crate) units: systemd::Units,
}

impl Shared {
    pub(crate) fn of(targets: &[Arc<Target>]) -> Self {
        let units = targets.iter().filter_map(|target| match &target.kind {
            Kind::Systemd(probe) => Some(probe.units()),
            _ => None,
        });
        Self { units: systemd::Units::wanted(units) }
    }
}

macro_rules! kinds {
    ($($variant:ident $module:ident $word:literal)*) => {
        /// What a target is.
        #[derive(Debug)]
        pub(crate) enum Kind { $(
            #[doc = concat!("`", $word, ":`")]
            $variant($module::Probe),
        )* }

        /// The words that a target may begin with.
        const WORDS: &[&str] = &[$($word),*];

        impl Kind {
            /// Its word.
            pub(crate) fn word(&self) -> &'static str {
                match self { $(Self::$variant(_) => $word,)* }
            }

            fn of(word: &str, address: &str, options: &mut Options, origin: Origin) -> Option<Result<Self>> {
                match word {
                    $($word => Some($module::Probe::parse(address, options, origin).map(Self::$variant)),)*
                    _ => None,
                }
            }

            /// What it is called where it has no name of its own.
            pub(crate) fn subject(&self) -> String {
                match self { $(Self::$variant(probe) => probe.subject(),)* }
            }

            /// Looks once.
            pub(crate) fn look(&self, context: &Context) -> Found {
                match self { $(Self::$variant(probe) => probe.look(context),)* }
            }
        }
    };
}

kinds! {
    Backup backup "backup"
    Cert cert "cert"
    Clock clock "clock"
    Command command "command"
    Disk disk "disk"
    Env env "env"
    File file "file"
    Journal journal "journal"
    Load load "load"
    Memory memory "mem"
    Postgres postgres "postgres"
    Pressure pressure "pressure"
    Process process "process"
    Report report "report"
    Sql sql "sql"
    Swap swap "swap"
    Systemd systemd "systemd"
    Tcp tcp "tcp"
    Value value "value"
}

impl Kind {
    /// Reads `KIND:ADDRESS`, or a kind alone.
    ///
    /// # Errors
    ///
    /// An unknown kind; what the kind says of its address.
    pub(crate) fn parse(what: &str, options: &mut Options, origin: Origin) -> Result<Self> {
        ensure!(!what.is_empty(), "it names nothing");
        let (word, address) = match postgres::is_address(what) {
            true => ("postgres", what),
            false => what.split_once(':').unwrap_or((what, "")),
        };
        Self::of(word, address, options, origin).unwrap_or_else(|| Err(unknown(word)))
    }
}

fn unknown(word: &str) -> anyhow::Error {
    let known: Vec<String> = WORDS.iter().map(|&word| word.to_owned()).collect();
    let kinds = format!("kinds: {}", known.join(", "));
    match options::near(word, &known) {
        Some(near) => hint::with(anyhow!("{word:?} is no kind of target; did you mean {near}?"), kinds),
        None => hint::with(anyhow!("{word:?} is no kind of target"), kinds),
    }
}

/// The order of the work: what stands in one list is looked at one after the other, lists at once.
pub(crate) fn chains(targets: &[Arc<Target>]) -> Vec<Vec<usize>> {
    (0..targets.len()).map(|number| vec![number]).collect()
}
