//! The kinds of targets: one file or directory each, all of the same shape.
//!
//! `Probe::parse` takes the address and asks `Options` for what it knows; `Probe::look` looks once, before a deadline, and
//! prints and decides nothing. `Probe::subject` is what a target without a `name=` is called: no secrets, no query.

mod backup;
mod cert;
mod clock;
mod command;
mod disk;
mod dns;
mod env;
mod file;
mod http;
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
use std::sync::{Arc, Mutex};
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
    /// The group of the target: its lines share cookies and values.
    pub(crate) group: String,
}

impl Context {
    /// The time until the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The cookies and values of its group, where that has any.
    fn session(&self) -> Option<&Mutex<http::Session>> {
        self.shared.sessions.get(&self.group)
    }
}

/// What is asked once for all targets of a run.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// The state of systemd's units.
    units: systemd::Units,
    /// How requests are sent.
    agents: http::Agents,
    /// Cookies and values, by group.
    sessions: http::Sessions,
}

impl Shared {
    pub(crate) fn of(targets: &[Arc<Target>]) -> Self {
        let units = targets.iter().filter_map(|target| match &target.kind {
            Kind::Systemd(probe) => Some(probe.units()),
            _ => None,
        });
        let sessions = targets.iter().filter(|target| target.kind.is_of_session()).map(|target| target.group.as_str());
        Self {
            units: systemd::Units::wanted(units),
            agents: http::Agents::default(),
            sessions: http::Sessions::of(sessions),
        }
    }
}

macro_rules! kinds {
    ($($variant:ident $module:ident $word:literal)*) => {
        /// What a target is.
        #[derive(Debug)]
        #[expect(clippy::large_enum_variant, reason = "made once for each target, and never moved about")]
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
    Dns dns "dns"
    Env env "env"
    File file "file"
    Http http "http"
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
        if what.starts_with("http://") || what.starts_with("https://") {
            return http::Probe::parse(what, options, origin).map(Self::Http);
        }
        if postgres::is_address(what) {
            return postgres::Probe::parse(what, options, origin).map(Self::Postgres);
        }
        let (word, address) = what.split_once(':').unwrap_or((what, ""));
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

impl Kind {
    /// How little it waits for others: programs and databases first, what is read of the kernel last.
    fn leisure(&self) -> u8 {
        match self {
            Self::Backup(_) | Self::Cert(_) | Self::Command(_) | Self::Postgres(_) | Self::Sql(_) => 0,
            Self::Clock(_) | Self::Dns(_) | Self::Http(_) | Self::Systemd(_) | Self::Tcp(_) => 1,
            _ => 2,
        }
    }

    /// Whether it shares cookies and values with others of its group.
    fn is_of_session(&self) -> bool {
        matches!(self, Self::Http(probe) if probe.is_of_session())
    }

    /// The names of the values that it saves for later lines of its group.
    fn gives(&self) -> Vec<&str> {
        match self {
            Self::Http(probe) => probe.gives().collect(),
            _ => Vec::new(),
        }
    }

    /// The names of the values that it needs of earlier ones.
    fn takes(&self) -> Vec<&str> {
        match self {
            Self::Http(probe) => probe.takes().collect(),
            _ => Vec::new(),
        }
    }
}

/// Finds for every value that a target needs the earlier target of its group that saves it, and makes the one need the other.
pub(crate) fn connect(targets: &mut [Target]) -> Vec<anyhow::Error> {
    let mut mistakes = Vec::new();
    for number in 0..targets.len() {
        let (before, rest) = targets.split_at_mut(number);
        let Some(target) = rest.first_mut() else { continue };
        let mut needs = Vec::new();
        for name in target.kind.takes() {
            let gives = |other: &&Target| other.group == target.group && other.kind.gives().contains(&name);
            match before.iter().rev().find(gives) {
                Some(giver) => needs.push(giver.subject.clone()),
                None => mistakes.push(hint::with(
                    anyhow!("{}: {{{name}}} is saved by no line before it in its group", target.place),
                    format!(
                        "add save={name}:… to an earlier line of the group; a secret is given by secret={name}:FILE"
                    ),
                )),
            }
        }
        target.needs.extend(needs);
    }
    mistakes
}

/// The order of the work: what stands in one list is looked at one after the other, lists at once.
pub(crate) fn chains(targets: &[Arc<Target>]) -> Vec<Vec<usize>> {
    let groups: Vec<&str> =
        targets.iter().filter(|target| target.kind.is_of_session()).map(|target| target.group.as_str()).collect();
    let mut chains: Vec<Vec<usize>> = Vec::new();
    let mut sessions: Vec<(&str, usize)> = Vec::new();
    for (number, target) in targets.iter().enumerate() {
        let is_http = matches!(target.kind, Kind::Http(_));
        if !is_http || !groups.contains(&target.group.as_str()) {
            chains.push(vec![number]);
            continue;
        }
        match sessions.iter().find(|(group, _)| *group == target.group) {
            Some((_, chain)) => chains[*chain].push(number),
            None => {
                sessions.push((&target.group, chains.len()));
                chains.push(vec![number]);
            }
        }
    }
    // On few processors the run is over sooner where those begin first that wait for others.
    chains.sort_by_key(|chain| chain.first().map(|&number| targets[number].kind.leisure()));
    chains
}
