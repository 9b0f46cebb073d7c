//! `systemd:UNIT`: services that run, jobs that succeeded, timers that fired. All units are asked for at once.

mod bus;
mod judge;
mod message;
mod units;

pub(crate) use units::{Scope, Units};

use super::Context;
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Result, ensure};
use common::report::Unit;
use common::status::Status;
use common::threshold::Thresholds;
use judge::Now;
use std::time::Duration;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    /// With its suffix.
    unit: String,
    scope: Scope,
    rules: Rules,
}

/// How a unit is judged.
#[derive(Debug)]
pub(crate) struct Rules {
    /// Restarts since it was started by hand.
    restarts: Thresholds,
    /// Since a timer fired last.
    age: Thresholds,
    memory: Thresholds,
    /// A unit that has restarted is not trusted before it has run for this long.
    settled: Duration,
}

/// The suffixes of units; what has none is a service.
const SUFFIXES: [&str; 11] =
    ["service", "socket", "target", "timer", "mount", "automount", "swap", "path", "slice", "scope", "device"];

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        ensure!(!address.is_empty(), "systemd: names no unit");
        let unit = unit(address)?;
        let rules = Rules {
            restarts: options.main_thresholds("restarts", Unit::Count, ""),
            age: options.thresholds("age", Unit::Seconds, ""),
            memory: options.thresholds("memory", Unit::Bytes, ""),
            settled: options.duration("settled").unwrap_or(Duration::from_secs(600)),
        };
        let scope = if options.flag("user") { Scope::User } else { Scope::System };
        Ok(Self { unit, scope, rules })
    }

    pub(crate) fn subject(&self) -> String {
        self.unit.strip_suffix(".service").unwrap_or(&self.unit).to_owned()
    }

    /// The units whose state is needed: of a timer also what it starts.
    pub(crate) fn units(&self) -> (Scope, Vec<String>) {
        let started = self.unit.strip_suffix(".timer").map(|name| format!("{name}.service"));
        (self.scope, std::iter::once(self.unit.clone()).chain(started).collect())
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        let known = match context.is_again {
            // It may have changed since all were asked for.
            true => units::ask(self.scope, &self.units().1, context.left()),
            false => context.shared.units.of(self.scope, context.left()),
        };
        match known {
            Ok(known) => {
                let up = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                let now = Now { at: context.now, up: Duration::try_from(up).unwrap_or_default() };
                judge::unit(&known, &self.unit, &self.rules, now)
            }
            Err(error) => Found::failed(Status::Unknown, &error),
        }
    }
}

/// The name of a unit with its suffix. One that systemd would not have would cost the answer for all the others. Source:
/// systemd.unit(5).
fn unit(address: &str) -> Result<String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    let is_name = address.chars().all(is_plain) && !address.starts_with(['.', '@']) && address.len() <= 240;
    ensure!(is_name, "{address:?} is no name of a unit");
    let has_suffix = address.rsplit_once('.').is_some_and(|(_, suffix)| SUFFIXES.contains(&suffix));
    let unit = if has_suffix { address.to_owned() } else { format!("{address}.service") };
    ensure!(
        !unit.contains("@."),
        "{address:?} is a template: name an instance of it, as in {}",
        unit.replace("@.", "@NAME.")
    );
    Ok(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_has_a_name_that_systemd_can_have() {
        assert_eq!(unit("nginx").unwrap(), "nginx.service");
        assert_eq!(unit("-.mount").unwrap(), "-.mount");
        assert_eq!(unit("getty@tty1").unwrap(), "getty@tty1.service");
        assert_eq!(unit("a.b").unwrap(), "a.b.service");
        for bad in ["a b", "a/b", ".service", "@x", "getty@", "getty@.service", &"x".repeat(300)] {
            assert!(unit(bad).is_err(), "{bad}");
        }
    }
}
