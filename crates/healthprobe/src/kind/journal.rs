//! `journal:FILE`: when each of our tools last ended well, from the record that `--journal` keeps.

use super::Context;
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, ensure};
use common::report::{Measure, Part, Unit};
use common::status::Status;
use common::threshold::Thresholds;
use common::units::{self, Stamp};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};

/// How much of the end of a journal is read: months of it.
const TAIL: u64 = 32 * 1024 * 1024;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    path: String,
    /// Those that must be there; with none named, all that are.
    tools: Vec<String>,
    age: Thresholds,
}

/// The runs of one tool.
#[derive(Debug, Default)]
struct Runs {
    good: Option<Stamp>,
    last: Option<(Stamp, String)>,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, origin: Origin) -> Result<Self> {
        ensure!(address.starts_with('/'), "{address:?} is no absolute path of a journal");
        origin.may("journal:")?;
        Ok(Self {
            path: address.to_owned(),
            tools: options.list("tool"),
            age: options.main_thresholds("age", Unit::Seconds, ">26h,50h"),
        })
    }

    pub(crate) fn subject(&self) -> String {
        format!("journal {}", self.path)
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        self.runs().map_or_else(|error| Found::failed(Status::Unknown, &error), |runs| self.judge(&runs, context.now))
    }

    fn runs(&self) -> Result<BTreeMap<String, Runs>> {
        let act = || format!("cannot read {:?}", self.path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file =
            rustix::fs::open(&self.path, flags, Mode::empty()).map_err(std::io::Error::from).with_context(act)?;
        let mut file = std::fs::File::from(file);
        let stat = file.metadata().with_context(act)?;
        ensure!(stat.is_file(), "{}: it is not a regular file", act());
        let start = stat.len().saturating_sub(TAIL);
        file.seek(SeekFrom::Start(start)).with_context(act)?;
        let mut runs = BTreeMap::new();
        let mut lines = BufReader::new(file.take(TAIL)).split(b'\n');
        if start > 0 {
            // The rest of a line whose beginning is not read.
            lines.next();
        }
        for line in lines {
            note(&mut runs, &line.with_context(act)?);
        }
        Ok(runs)
    }

    fn judge(&self, runs: &BTreeMap<String, Runs>, now: Stamp) -> Found {
        let named = self.tools.iter().map(String::as_str);
        let names: Vec<&str> =
            if self.tools.is_empty() { runs.keys().map(String::as_str).collect() } else { named.collect() };
        if names.is_empty() {
            return Found::unknown("it holds no run").hint("the other tools write it with --journal FILE");
        }
        let none = Runs::default();
        let parts = names.iter().map(|name| self.part(name, runs.get(*name).unwrap_or(&none), now));
        let parts: Vec<Part> = parts.collect();
        let said: Vec<_> = parts.iter().map(|part| format!("{}: {}", part.name, part.message)).collect();
        parts.into_iter().fold(Found::ok(said.join("; ")), Found::part)
    }

    fn part(&self, name: &str, runs: &Runs, now: Stamp) -> Part {
        let age = runs.good.map(|at| now.since(at));
        let (mut status, mut message) = match age {
            Some(age) => (Status::Ok, format!("ended well {} ago", units::duration(age))),
            None => (Status::Critical, "never ended well".to_owned()),
        };
        if let Some((at, word)) = runs.last.as_ref().filter(|(at, _)| runs.good.is_none_or(|good| *at > good)) {
            // What failed last is still good by its age, but not by what it said.
            let said = Status::from_word(word).unwrap_or(Status::Unknown);
            status = status.max(said.min(Status::Warning));
            message = format!("{message}, but was {word} {} ago", units::duration(now.since(*at)));
        }
        let measures = age.map(|age| Measure::new("age", age.as_secs_f64(), Unit::Seconds).judged(self.age));
        Part { name: name.to_owned(), status, message, measures: measures.into_iter().collect() }
    }
}

/// Takes one line in; what is torn or strange is skipped, as nightshift-journal(5) says.
fn note(runs: &mut BTreeMap<String, Runs>, line: &[u8]) {
    let Ok(line) = serde_json::from_slice::<serde_json::Value>(line) else { return };
    let at = line["time"].as_str().and_then(|text| Stamp::parse_rfc3339(text).ok());
    let (Some(at), Some(tool), Some(status)) = (at, line["tool"].as_str(), line["status"].as_str()) else { return };
    let runs = runs.entry(tool.to_owned()).or_default();
    if status == "OK" {
        runs.good = runs.good.max(Some(at));
    }
    if runs.last.as_ref().is_none_or(|(last, _)| at >= *last) {
        runs.last = Some((at, status.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(lines: &str, options: &str) -> (Status, String) {
        let mut options = Options::new(common::words::list(options).unwrap(), Origin::Operator);
        let probe = Probe::parse("/x", &mut options, Origin::Operator).unwrap();
        let mut runs = BTreeMap::new();
        lines.lines().for_each(|line| note(&mut runs, line.as_bytes()));
        let found = probe.judge(&runs, Stamp::parse_rfc3339("2026-11-20T12:00:00Z").unwrap());
        (found.verdict(), found.message)
    }

    fn line(tool: &str, day: u32, status: &str) -> String {
        format!("{{\"time\":\"2026-11-{day:02}T02:00:00Z\",\"tool\":\"{tool}\",\"status\":\"{status}\"}}\n")
    }

    #[test]
    fn the_last_good_run_counts() {
        let good = line("pgbackup", 20, "OK");

        assert_eq!(judged(&good, ""), (Status::Ok, "pgbackup: ended well 10h ago".into()));
        assert_eq!(judged(&line("pgbackup", 18, "OK"), "").0, Status::Critical);
        assert_eq!(
            judged(&(line("pgbackup", 19, "OK") + &line("pgbackup", 20, "CRITICAL")), "age>50h").0,
            Status::Warning
        );
        assert_eq!(judged(&line("pgbackup", 20, "CRITICAL"), "").0, Status::Critical);
    }

    #[test]
    fn a_tool_that_is_wanted_must_be_there_and_torn_lines_are_skipped() {
        let lines = format!("{{\"time\n{}", line("pgbackup", 20, "OK"));

        assert_eq!(judged(&lines, "tool=pgbackup").0, Status::Ok);
        assert_eq!(judged(&lines, "tool=pgbackup,backup-verify").0, Status::Critical);
        assert_eq!(judged("", "").0, Status::Unknown);
    }
}
