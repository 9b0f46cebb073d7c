//! `report:FILE` or `report:-`: what another tool of ours has found, from its JSON.

use super::Context;
use crate::found::Found;
use crate::options::{Options, Origin};
use crate::sibling;
use anyhow::{Context as _, Result, bail, ensure};
use common::report::{Measure, Unit};
use common::status::Status;
use common::threshold::Thresholds;
use common::units::{self, Stamp};
use rustix::fs::{Mode, OFlags};
use std::io::Read as _;

/// The largest report.
const LIMIT: u64 = 8 * 1024 * 1024;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    path: String,
    age: Thresholds,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, origin: Origin) -> Result<Self> {
        ensure!(!address.is_empty(), "report: names no file");
        // Standard input cannot hold targets and a report at once.
        origin.may("report:")?;
        ensure!(address == "-" || address.starts_with('/'), "{address:?} is no absolute path");
        Ok(Self { path: address.to_owned(), age: options.main_thresholds("age", Unit::Seconds, ">26h,50h") })
    }

    pub(crate) fn subject(&self) -> String {
        match self.path.as_str() {
            "-" => "report".to_owned(),
            path => format!("report {path}"),
        }
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        self.read()
            .and_then(|text| self.judge(&text, context.now))
            .unwrap_or_else(|error| Found::failed(Status::Unknown, &error))
    }

    fn read(&self) -> Result<String> {
        let act = || format!("cannot read {:?}", self.path);
        let mut text = Vec::new();
        if self.path == "-" {
            std::io::stdin().lock().take(LIMIT + 1).read_to_end(&mut text).with_context(act)?;
        } else {
            // NONBLOCK so that a FIFO cannot hold us.
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file =
                rustix::fs::open(&self.path, flags, Mode::empty()).map_err(std::io::Error::from).with_context(act)?;
            let file = std::fs::File::from(file);
            ensure!(file.metadata().with_context(act)?.is_file(), "{}: it is not a regular file", act());
            file.take(LIMIT + 1).read_to_end(&mut text).with_context(act)?;
        }
        ensure!(text.len() as u64 <= LIMIT, "{}: it is larger than {}", act(), units::size(LIMIT));
        Ok(common::text::bytes(&text))
    }

    fn judge(&self, text: &str, now: Stamp) -> Result<Found> {
        let lines = sibling::read(text)?;
        if lines.is_empty() {
            bail!("it reports nothing");
        }
        let times = lines.iter().filter_map(|line| Stamp::parse_rfc3339(line.object["time"].as_str()?).ok());
        let age = times.max().map_or(f64::NAN, |at| now.since(at).as_secs_f64());
        let good = lines.iter().filter(|line| line.part.status == Status::Ok).count();
        let from = lines.iter().find_map(|line| line.object["tool"].as_str()).unwrap_or("another tool").to_owned();
        let said = format!("{good} of {} from {from} are OK", units::things(lines.len() as u64, "item"));
        let found = lines.into_iter().fold(Found::ok(said), |found, line| found.part(line.part));
        Ok(found.measure(Measure::new("age", age, Unit::Seconds).judged(self.age)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(text: &str) -> Option<Status> {
        let mut options = Options::new(Vec::new(), Origin::Operator);
        let probe = Probe::parse("-", &mut options, Origin::Operator).unwrap();
        let now = Stamp::parse_rfc3339("2026-11-20T02:00:00Z").unwrap();
        probe.judge(text, now).ok().map(|found| found.verdict())
    }

    #[test]
    fn the_worst_item_decides_and_an_old_report_is_none() {
        let line = |status: &str, day: u32| {
            format!(
                "{{\"tool\":\"t\",\"time\":\"2026-11-{day}T01:00:00Z\",\"subject\":\"{status}\",\"status\":\"{status}\"}}\n"
            )
        };

        assert_eq!(verdict(&line("OK", 20)), Some(Status::Ok));
        assert_eq!(verdict(&(line("OK", 20) + &line("WARNING", 20))), Some(Status::Warning));
        assert_eq!(verdict(&line("OK", 10)), Some(Status::Critical));
        assert_eq!(verdict("{\"subject\":\"a\",\"status\":\"OK\"}\n"), Some(Status::Unknown));
        assert_eq!(verdict(""), None);
    }
}
