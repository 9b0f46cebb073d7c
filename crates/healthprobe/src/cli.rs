//! What healthprobe accepts.

use clap::Parser;
use common::cli::{CommonArgs, Tool};
use common::report::Style;
use common::units;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Look at a whole server at once, and say what is wrong
///
/// A TARGET is a kind of thing, an address, and options: `disk:/srv used>90%`. Given as one argument it is quoted, and a
/// file holds one a line. All targets are looked at at once, each within its own time limit, and judged by one grammar;
/// healthprobe-targets(5) has the kinds, their options, and examples.
///
/// A target that cannot be understood stops the run before anything is looked at: a typing error never looks like a failed
/// check, nor like a good one.
#[derive(Parser, Clone, Debug)]
#[command(version, max_term_width = 100, after_long_help = AFTER)]
pub struct Cli {
    /// What to look at; `-` reads targets from standard input
    ///
    /// Each TARGET is a line as in a file of targets: "value:12 critical=500" is one argument. What comes by standard input may
    /// not run programs or read local files: command:, sql:, env: and options that name files are refused there.
    #[arg(value_name = "TARGET|-", required_unless_present = "targets")]
    pub operands: Vec<OsString>,

    /// Read targets from this file as well
    ///
    /// It must belong to root or to the user who runs healthprobe, and nobody else may be able to write it, because it can
    /// name commands.
    #[arg(long, value_name = "FILE", help_heading = WHAT)]
    pub targets: Option<PathBuf>,

    /// Only understand the targets, and look at nothing
    ///
    /// Prints one line for each target. Ends with 0 where all of them are understood, else with 3.
    #[arg(long, help_heading = WHAT)]
    pub check_targets: bool,

    /// The time for the whole run
    ///
    /// What has given no answer by then is UNKNOWN.
    #[arg(long, short, value_name = "DURATION", default_value = "60s", value_parser = parse_timeout, help_heading = HOW)]
    pub timeout: Duration,

    /// The time for one look at one target, where it has no timeout= of its own
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_timeout, help_heading = HOW)]
    pub target_timeout: Duration,

    /// Look at this many targets at once
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = HOW)]
    pub concurrency: u16,

    #[command(flatten)]
    pub common: CommonArgs,
}

const WHAT: &str = "What to look at";
const HOW: &str = "How";

/// Reads a time limit: at least 10 ms, at most an hour.
///
/// # Errors
///
/// Anything else.
pub(crate) fn parse_timeout(text: &str) -> Result<Duration, String> {
    let time = units::parse_duration(text).map_err(|error| format!("{error:#}"))?;
    let allowed = Duration::from_millis(10)..=Duration::from_secs(3600);
    if allowed.contains(&time) { Ok(time) } else { Err("a time limit is between 10ms and 1h".to_owned()) }
}

const AFTER: &str = "\
EXAMPLES
  Is this server well?
      healthprobe disk mem load systemd:nginx.service https://www.example.com/
  Every five minutes from cron, silent when well:
      */5 * * * *  healthprobe -q --targets /etc/nightshift/targets
  A number from a pipeline:
      healthprobe \"value:$(wc -l </srv/app/queue) name=queue warning=100 critical=500\"
  What the other tools found:
      certcheck --format json --targets hosts | healthprobe report:-
  For Nagios, and for Prometheus:
      healthprobe --format nagios --targets /etc/nightshift/targets
      healthprobe -q --write prometheus:/var/lib/prometheus/node-exporter/healthprobe.prom --targets /etc/nightshift/targets

EXIT STATUS
  0   all is well
  1   a warning
  2   something is critical
  3   could not start, or could not tell: usage, a target that is not understood, a unit that does not exist
";

impl Tool for Cli {
    const NAME: &'static str = "healthprobe";
    const STYLE: Style = Style::Check;
    const NEVER_FROM_ENVIRONMENT: &'static [&'static str] = &["targets", "check-targets"];

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        common::cli::command::<Cli>().debug_assert();
    }

    #[test]
    fn a_time_limit_has_a_unit_and_an_end() {
        assert_eq!(parse_timeout("2s"), Ok(Duration::from_secs(2)));
        for bad in ["2", "0", "1ms", "2h", ""] {
            assert!(parse_timeout(bad).is_err(), "{bad}");
        }
    }
}
