//! The other tools of ours, asked as programs: their findings become parts.

use crate::child;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::process::{self, Program};
use common::report::Part;
use common::status::Status;
use serde_json::Value;
use std::time::Duration;

/// The most that is read of a report.
const OUTPUT: usize = 8 * 1024 * 1024;
/// The longest line, and the most lines, of a report. Source: THREATS H7.
const LINE: usize = 64 * 1024;
const LINES: usize = 1000;

/// One finding of another tool: status and words, and nothing that could choose where it is told.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) part: Part,
    /// The whole object, for numbers that the kind knows by name.
    pub(crate) object: Value,
}

/// Runs a tool of ours with `--format json`, and reads its findings.
///
/// # Errors
///
/// Where it cannot be run, gives no answer, or one that is no report.
pub(crate) fn ask(name: &str, arguments: impl FnOnce(Program) -> Program, time: Duration) -> Result<Vec<Line>> {
    let program = Program::new(&process::sibling(name)?).args(["--no-config", "--format", "json"]);
    let ran = child::run(arguments(program), time, OUTPUT)?;
    ensure!(!ran.is_cut, "{name} says more than {}", common::units::size(OUTPUT as u64));
    let lines = read(&ran.stdout).with_context(|| format!("cannot understand {name}"))?;
    if lines.is_empty() {
        let said = ran.stderr.lines().find(|line| line.contains("error")).unwrap_or(ran.stderr.trim());
        bail!("{name} reports nothing: {said}");
    }
    Ok(lines)
}

/// Reads a report: one JSON object a line.
///
/// # Errors
///
/// A line that is too long or no object with a status; too many of them.
pub(crate) fn read(text: &str) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (number, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let place = || format!("line {}", number + 1);
        if text.len() > LINE || lines.len() >= LINES {
            bail!("{}: it is too long, or one of too many", place());
        }
        lines.push(line(text).with_context(place)?);
    }
    Ok(lines)
}

fn line(text: &str) -> Result<Line> {
    // The error of serde_json quotes values, and a report may be anybody's.
    let object: Value = serde_json::from_str(text).map_err(|_| anyhow!("it is no JSON"))?;
    let word = object["status"].as_str().context("it has no status")?;
    let status = Status::from_word(word).with_context(|| format!("{word:?} is no status"))?;
    let name = object["subject"].as_str().context("it has no subject")?.to_owned();
    let message = object["message"].as_str().unwrap_or_default().to_owned();
    Ok(Line { part: Part { name, status, message, measures: Vec::new() }, object })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_object_a_line() {
        let text = "{\"subject\":\"a\",\"status\":\"OK\",\"message\":\"m\",\"url\":\"http://evil\"}\n\n\
                    {\"subject\":\"b\",\"status\":\"CRITICAL\"}\n";

        let lines = read(text).unwrap();

        let parts: Vec<_> = lines.iter().map(|line| (line.part.name.as_str(), line.part.status)).collect();
        assert_eq!(parts, [("a", Status::Ok), ("b", Status::Critical)]);
    }

    #[test]
    fn what_is_no_report_is_refused_by_its_line_and_not_quoted() {
        for bad in ["SECRET", "{\"subject\":\"a\"}", "{\"subject\":\"a\",\"status\":\"FINE\"}", "[]"] {
            let error = format!("{:#}", read(&format!("\n{bad}\n")).unwrap_err());

            assert!(error.starts_with("line 2: ") && !error.contains("SECRET"), "{error}");
        }
        assert!(read(&"{\"subject\":\"a\",\"status\":\"OK\"}\n".repeat(LINES + 1)).is_err());
        assert!(read(&format!("{{\"subject\":\"{}\"}}", "x".repeat(LINE))).is_err());
    }
}
