//! What systemd says of units: properties by name.

use super::bus::Bus;
use crate::{child, net};
use anyhow::{Result, anyhow, bail, ensure};
use common::hint::Hint as _;
use common::process::{self, Program};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The properties that are asked for.
pub(super) const PROPERTIES: [&str; 20] = [
    "Id",
    "Names",
    "LoadState",
    "LoadError",
    "ActiveState",
    "SubState",
    "Result",
    "Type",
    "NRestarts",
    "ExecMainStatus",
    "ExecMainCode",
    "ActiveEnterTimestamp",
    "InactiveEnterTimestamp",
    "MemoryCurrent",
    "Unit",
    "LastTriggerUSec",
    "NextElapseUSecRealtime",
    "NextElapseUSecMonotonic",
    "ConditionTimestamp",
    "ConditionResult",
];
/// What is read of the answer: a kilobyte a unit, for thousands of them.
const OUTPUT: usize = 8 * 1024 * 1024;

/// Which manager is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    /// PID 1.
    System,
    /// That of our user.
    User,
}

/// One unit: its properties.
pub(crate) type Properties = HashMap<String, String>;

/// Properties of all units that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Known {
    units: Vec<Properties>,
}

impl Known {
    /// A unit by its name, or by an alias.
    pub(crate) fn unit(&self, name: &str) -> Option<&Properties> {
        let has = |unit: &&Properties| {
            unit.get("Id").is_some_and(|id| id == name)
                || unit.get("Names").is_some_and(|names| names.split(' ').any(|other| other == name))
        };
        self.units.iter().find(has)
    }

    /// Reads the answer of `systemctl show`: `KEY=VALUE` lines, units apart by an empty one.
    pub(crate) fn parse(text: &str) -> Self {
        let unit = |block: &str| -> Properties {
            let pairs = block.lines().filter_map(|line| line.split_once('='));
            pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        Self { units: text.split("\n\n").map(unit).filter(|unit| !unit.is_empty()).collect() }
    }
}

/// What is known of all units of the run; asked for once in each scope, by whoever is first.
#[derive(Debug, Default)]
pub(crate) struct Units {
    wanted: HashMap<Scope, Vec<String>>,
    system: OnceLock<Answer>,
    user: OnceLock<Answer>,
}

/// What systemd answered; an error is told to every unit, so it is kept as its words.
type Answer = std::result::Result<Arc<Known>, (String, Vec<String>)>;

impl Units {
    /// For these targets.
    pub(crate) fn wanted(units: impl Iterator<Item = (Scope, Vec<String>)>) -> Self {
        let mut wanted: HashMap<Scope, Vec<String>> = HashMap::new();
        for (scope, units) in units {
            wanted.entry(scope).or_default().extend(units);
        }
        Self { wanted, ..Self::default() }
    }

    /// All units of a scope.
    ///
    /// # Errors
    ///
    /// What [`ask`] says.
    pub(crate) fn of(&self, scope: Scope, time: Duration) -> Result<Arc<Known>> {
        let cell = match scope {
            Scope::System => &self.system,
            Scope::User => &self.user,
        };
        let units = self.wanted.get(&scope).map(Vec::as_slice).unwrap_or_default();
        let answer = cell
            .get_or_init(|| ask(scope, units, time).map_err(|error| (format!("{error:#}"), common::hint::of(&error))));
        match answer {
            Ok(known) => Ok(Arc::clone(known)),
            Err((error, hints)) => {
                let error = anyhow!(error.clone());
                Err(hints.iter().rev().cloned().fold(error, common::hint::with))
            }
        }
    }
}

/// Asks systemd for units: by its socket, and where that does not work by systemctl, which knows more ways and why.
///
/// # Errors
///
/// Where there is no systemd, or it does not answer.
pub(crate) fn ask(scope: Scope, units: &[String], time: Duration) -> Result<Arc<Known>> {
    let deadline = Instant::now() + time;
    let known = by_bus(scope, units, deadline).or_else(|error| {
        if net::is_late(&error) {
            return Err(anyhow!("systemd gives no answer in time"))
                .hint("systemctl waits for the same answer: is the machine overloaded, or is it being reloaded?");
        }
        common::debug!("cannot ask systemd by its socket: {error}");
        by_systemctl(scope, units, deadline.saturating_duration_since(Instant::now()))
    });
    known.map(Arc::new)
}

fn by_bus(scope: Scope, units: &[String], deadline: Instant) -> io::Result<Known> {
    common::failpoint!("healthprobe.systemd.bus")?;
    let mut bus = Bus::open(scope, deadline)?;
    let units: io::Result<_> = units.iter().map(|unit| bus.unit(unit)).collect();
    Ok(Known { units: units? })
}

fn by_systemctl(scope: Scope, units: &[String], time: Duration) -> Result<Known> {
    let systemctl = process::find("systemctl")
        .ok_or_else(|| anyhow!("cannot find the program systemctl"))
        .hint("units can be looked at only where systemd runs; process:NAME looks for a program")?;
    let mut program = Program::new(&systemctl).env("LC_ALL", "C").env("SYSTEMD_COLORS", "0").env("TZ", "UTC");
    if scope == Scope::User {
        program =
            program.arg("--user").envs_where(|name| ["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"].contains(&name));
    }
    // Times come in the zone of whoever asks: --timestamp=unix changes some of them only (252).
    let program = program.args(["show", "--property", &PROPERTIES.join(","), "--"]).args(units);
    let ran = child::run(program, time, OUTPUT)?;
    if !ran.status.success() {
        let said = ran.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
        if said.contains("not been booted with systemd") || said.contains("Failed to connect to bus") {
            return Err(anyhow!("systemd does not answer: {said}"))
                .hint("in a container there is none; process:NAME looks for a program");
        }
        bail!("systemctl failed: {said}");
    }
    ensure!(!ran.is_cut, "systemctl says more than {}", common::units::size(OUTPUT as u64));
    Ok(Known::parse(&ran.stdout))
}
