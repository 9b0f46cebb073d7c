//! `cert:TARGET`: how long certificates last; certcheck is asked, and takes what it takes.

use super::Context;
use crate::found::Found;
use crate::options::{Options, Origin};
use crate::sibling::{self, Line};
use anyhow::{Result, ensure};
use common::report::{Measure, Unit};
use common::status::Status;

/// The options of certcheck that a target may have; those that name local files are not taken from a pipe.
const OPTIONS: [&str; 4] = ["host", "connect", "served-by", "trust"];
const FILES: [&str; 3] = ["key", "password-file", "trust-roots"];

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    target: String,
    arguments: Vec<String>,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, origin: Origin) -> Result<Self> {
        ensure!(!address.is_empty(), "cert: names nothing");
        ensure!(!address.starts_with('-'), "{address:?} is no target");
        if address.contains('/') && !address.starts_with("starttls:") {
            origin.may("a file of certificates")?;
        }
        let mut arguments = Vec::new();
        for level in ["warning", "critical"] {
            if let Some(limit) = options.level(level) {
                arguments.push(format!("--{level}={limit}"));
            }
        }
        for key in OPTIONS {
            arguments.extend(options.text(key).map(|value| format!("--{key}={value}")));
        }
        for key in FILES {
            arguments.extend(options.file(key).map(|path| format!("--{key}={}", path.display())));
        }
        Ok(Self { target: address.to_owned(), arguments })
    }

    pub(crate) fn subject(&self) -> String {
        format!("cert {}", self.target)
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        // certcheck keeps to a time of its own, a little less than ours, so that it can say what took so long.
        let time = context.left().mul_f64(0.9);
        let timeout = format!("--timeout={}ms", time.as_millis().clamp(100, 3_600_000));
        let asked = sibling::ask(
            "certcheck",
            |program| {
                let roots = |name: &str| name == "SSL_CERT_FILE" || name == "SSL_CERT_DIR";
                program.envs_where(roots).arg(timeout).args(&self.arguments).arg("--").arg(&self.target)
            },
            context.left(),
        );
        match asked {
            Err(error) => Found::failed(Status::Unknown, &error),
            Ok(lines) => found(lines),
        }
    }
}

/// One certificate is told as it is; of several each is a part.
fn found(mut lines: Vec<Line>) -> Found {
    let soonest = lines.iter().filter_map(|line| line.object["left_seconds"].as_f64()).min_by(f64::total_cmp);
    let mut found = match lines.len() {
        1 => {
            let Line { part, object } = lines.remove(0);
            let hints = object["hints"].as_array().into_iter().flatten().filter_map(|hint| hint.as_str());
            Found { hints: hints.map(str::to_owned).collect(), ..Found::new(part.status, part.message) }
        }
        count => {
            let said = format!("{} certificates", common::units::count(count as u64));
            lines.into_iter().fold(Found::ok(said), |found, line| found.part(line.part))
        }
    };
    if let Some(left) = soonest {
        found = found.measure(Measure::new("left", left, Unit::Seconds).signed());
    }
    found
}
