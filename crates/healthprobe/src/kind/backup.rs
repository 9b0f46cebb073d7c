//! `backup:DIR`: whether there is a young backup of each database; backup-verify is asked, at a cheap depth.

use super::Context;
use crate::found::Found;
use crate::options::{Options, Origin};
use crate::sibling::{self, Line};
use anyhow::{Result, ensure};
use common::report::{Measure, Unit};
use common::status::Status;

/// The options of backup-verify that a target may have.
const OPTIONS: [&str; 7] = ["max-age", "min-size", "shrink", "min-count", "min-free", "expect", "require-table"];

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    place: String,
    arguments: Vec<String>,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, origin: Origin) -> Result<Self> {
        ensure!(!address.is_empty(), "backup: names no directory");
        origin.may("backup:")?;
        let mut arguments = Vec::new();
        for key in OPTIONS {
            arguments.extend(options.text(key).map(|value| format!("--{key}={value}")));
        }
        // A backup that nobody has made since yesterday is what this is for.
        if !arguments.iter().any(|argument| argument.starts_with("--max-age")) {
            arguments.push("--max-age=26h,50h".to_owned());
        }
        let depth = options.choice("depth", &[("list", "list"), ("stored", "stored")]).unwrap_or("list");
        arguments.push(format!("--depth={depth}"));
        Ok(Self { place: address.to_owned(), arguments })
    }

    pub(crate) fn subject(&self) -> String {
        format!("backup {}", self.place)
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        let bucket = |name: &str| name.starts_with("AWS_") || name.starts_with("RCLONE_");
        let asked = sibling::ask(
            "backup-verify",
            |program| program.envs_where(bucket).args(&self.arguments).arg("--").arg(&self.place),
            context.left(),
        );
        match asked {
            Err(error) => Found::failed(Status::Unknown, &error),
            Ok(lines) => found(lines, context),
        }
    }
}

fn found(mut lines: Vec<Line>, context: &Context) -> Found {
    let times = lines.iter().filter_map(|line| {
        let at = line.object["started_at"].as_str()?;
        common::units::Stamp::parse_rfc3339(at).ok()
    });
    let youngest = times.max();
    let age = youngest.map(|at| context.now.since(at).as_secs_f64());
    let mut found = match lines.len() {
        1 => {
            let Line { part, object } = lines.remove(0);
            let hints = object["hints"].as_array().into_iter().flatten().filter_map(|hint| hint.as_str());
            Found { hints: hints.map(str::to_owned).collect(), ..Found::new(part.status, part.message) }
        }
        count => {
            let young = youngest.map_or_else(String::new, |at| {
                format!(", the youngest made {} ago", common::units::duration(context.now.since(at)))
            });
            let said = format!("{}{young}", common::units::things(count as u64, "backup"));
            lines.into_iter().fold(Found::ok(said), |found, line| found.part(line.part))
        }
    };
    if let Some(age) = age {
        found = found.measure(Measure::new("age", age, Unit::Seconds));
    }
    found
}
