//! `swap`: how much of it is used; a machine without swap is well.

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
    free: Thresholds,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        ensure!(address.is_empty(), "swap has no address");
        Ok(Self {
            used: options.main_thresholds("used", Unit::Percent, ">60%,90%"),
            free: options.thresholds("free", Unit::Bytes, ""),
        })
    }

    pub(crate) fn subject(&self) -> String {
        "swap".to_owned()
    }

    pub(crate) fn look(&self, _context: &Context) -> Found {
        proc::read("/proc/meminfo")
            .and_then(|text| self.judge(&text))
            .unwrap_or_else(|error| Found::failed(Status::Unknown, &error))
    }

    fn judge(&self, text: &str) -> Result<Found> {
        let total = proc::kib(text, "SwapTotal").context("/proc/meminfo has no SwapTotal")?;
        let free = proc::kib(text, "SwapFree").context("/proc/meminfo has no SwapFree")?.min(total);
        if total == 0 {
            return Ok(Found::ok("there is none"));
        }
        let used = proc::percent(total - free, total);
        Ok(Found::ok(format!("{} used of {}", Unit::Percent.shown(used), units::size(total)))
            .measure(Measure::new("used", used, Unit::Percent).of(100.0).judged(self.used))
            .measure(Measure::new("free", free as f64, Unit::Bytes).of(total as f64).judged(self.free)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_swap_is_well_and_full_swap_is_not() {
        let probe = Probe::parse("", &mut Options::new(Vec::new(), Origin::Operator), Origin::Operator).unwrap();

        assert_eq!(probe.judge("SwapTotal: 0 kB\nSwapFree: 0 kB\n").unwrap().verdict(), Status::Ok);
        assert_eq!(probe.judge("SwapTotal: 100 kB\nSwapFree: 5 kB\n").unwrap().verdict(), Status::Critical);
    }
}
