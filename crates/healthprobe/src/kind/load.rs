//! `load`: how many programs want to run, for each processor.

use super::{Context, proc};
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, ensure};
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    per_cpu: Thresholds,
    averages: [Thresholds; 3],
}

/// The averages of one, five and fifteen minutes.
const AVERAGES: [&str; 3] = ["load1", "load5", "load15"];

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        ensure!(address.is_empty(), "load has no address");
        Ok(Self {
            per_cpu: options.main_thresholds("per-cpu", Unit::Count, ">2,4"),
            averages: AVERAGES.map(|name| options.thresholds(name, Unit::Count, "")),
        })
    }

    pub(crate) fn subject(&self) -> String {
        "load".to_owned()
    }

    pub(crate) fn look(&self, _context: &Context) -> Found {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let judged = proc::read("/proc/loadavg").and_then(|text| self.judge(&text, processors));
        judged.unwrap_or_else(|error| Found::failed(Status::Unknown, &error))
    }

    /// Judged by default is the average of five minutes for each processor. Source: proc_loadavg(5).
    fn judge(&self, text: &str, processors: usize) -> Result<Found> {
        let numbers: Vec<f64> = text.split_whitespace().take(3).filter_map(|word| word.parse().ok()).collect();
        let [one, five, fifteen] = numbers[..].try_into().ok().context("/proc/loadavg has no three numbers")?;
        let plural = if processors == 1 { "" } else { "s" };
        let found = Found::ok(format!("{one:.2}, {five:.2}, {fifteen:.2} on {processors} processor{plural}"))
            .measure(Measure::new("per-cpu", five / processors as f64, Unit::Count).judged(self.per_cpu));
        let averages = AVERAGES.iter().zip([one, five, fifteen]).zip(self.averages);
        Ok(averages.fold(found, |found, ((name, value), thresholds)| {
            found.measure(Measure::new(*name, value, Unit::Count).judged(thresholds))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_judged_for_each_processor() {
        let probe = Probe::parse("", &mut Options::new(Vec::new(), Origin::Operator), Origin::Operator).unwrap();
        let status = |processors| probe.judge("9.00 9.00 9.00 1/100 1", processors).unwrap().verdict();

        assert_eq!([status(2), status(4), status(8)], [Status::Critical, Status::Warning, Status::Ok]);
        assert!(probe.judge("x", 1).is_err());
    }
}
