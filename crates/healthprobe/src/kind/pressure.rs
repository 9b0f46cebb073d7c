//! `pressure`: the share of time in which work waited for processors, memory or disks. Source: the kernel's PSI.

use super::{Context, proc};
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, ensure};
use common::hint::Hint as _;
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    resources: [(&'static str, Thresholds); 3],
}

/// What is waited for, and by default how long: a share of the last minute. Waiting for memory hurts soonest, waiting for
/// processors is what a busy machine does.
const RESOURCES: [(&str, &str); 3] = [("memory", ">10%,40%"), ("io", ">50%,90%"), ("cpu", ">80%,95%")];

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, _origin: Origin) -> Result<Self> {
        ensure!(address.is_empty(), "pressure has no address");
        let resources = RESOURCES.map(|(name, default)| (name, options.thresholds(name, Unit::Percent, default)));
        Ok(Self { resources })
    }

    pub(crate) fn subject(&self) -> String {
        "pressure".to_owned()
    }

    pub(crate) fn look(&self, _context: &Context) -> Found {
        let measures = self.resources.iter().map(|(name, thresholds)| {
            let text = proc::read(format!("/proc/pressure/{name}"))
                .hint("the kernel tells it from 4.20 on, on some systems only with psi=1 on its command line")?;
            Ok(Measure::new(*name, average(&text)?, Unit::Percent).of(100.0).judged(*thresholds))
        });
        match measures.collect::<Result<Vec<_>>>() {
            Err(error) => Found::failed(Status::Unknown, &error),
            Ok(measures) => {
                let said: Vec<_> =
                    measures.iter().map(|one| format!("{} {}", one.name, Unit::Percent.shown(one.value))).collect();
                let found = Found::ok(format!("waited in the last minute for {}", said.join(", ")));
                measures.into_iter().fold(found, Found::measure)
            }
        }
    }
}

/// The share of the last minute in which some work waited: `some avg10=0.00 avg60=1.25 avg300=… total=…`.
fn average(text: &str) -> Result<f64> {
    let some = text.lines().find_map(|line| line.strip_prefix("some ")).context("it has no line of \"some\"")?;
    let word = some.split_whitespace().find_map(|word| word.strip_prefix("avg60=")).context("it has no avg60")?;
    common::threshold::number(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_minute_counts() {
        let text = "some avg10=9.00 avg60=1.25 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.50 avg300=0.00 total=1\n";

        assert_eq!(average(text).unwrap(), 1.25);
        assert!(average("full avg60=1").is_err());
        assert!(average("some avg10=1").is_err());
    }
}
