//! `mem`: how much memory programs could still get.

use super::{Context, proc};
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, ensure};
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;
use common::units;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    used: Thresholds,
    available: Thresholds,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        ensure!(address.is_empty(), "mem has no address");
        Ok(Self {
            used: options.main_thresholds("used", Unit::Percent, ">90%,97%"),
            available: options.thresholds("available", Unit::Bytes, ""),
        })
    }

    pub(crate) fn subject(&self) -> String {
        "mem".to_owned()
    }

    pub(crate) fn look(&self, _context: &Context) -> Found {
        proc::read("/proc/meminfo")
            .and_then(|text| self.judge(&text))
            .unwrap_or_else(|error| Found::failed(Status::Unknown, &error))
    }

    /// What counts is `MemAvailable`, which knows what of the cache can be given back. Source: proc_meminfo(5).
    fn judge(&self, text: &str) -> Result<Found> {
        let total = proc::kib(text, "MemTotal").context("/proc/meminfo has no MemTotal")?;
        let available = proc::kib(text, "MemAvailable").context("/proc/meminfo has no MemAvailable")?.min(total);
        let used = proc::percent(total - available, total);
        let said = format!(
            "{} used of {}, {} available",
            Unit::Percent.shown(used),
            units::size(total),
            units::size(available)
        );
        Ok(Found::ok(said)
            .measure(Measure::new("used", used, Unit::Percent).of(100.0).judged(self.used))
            .measure(Measure::new("available", available as f64, Unit::Bytes).of(total as f64).judged(self.available)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_not_used_memory() {
        let probe = Probe::parse("", &mut Options::new(Vec::new(), Origin::Operator), Origin::Operator).unwrap();

        let full = probe.judge("MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 20 kB\n").unwrap();
        let cached = probe.judge("MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable: 800 kB\n").unwrap();

        assert_eq!((full.verdict(), cached.verdict()), (Status::Critical, Status::Ok));
        assert!(probe.judge("MemTotal: 1000 kB\n").is_err());
    }
}
