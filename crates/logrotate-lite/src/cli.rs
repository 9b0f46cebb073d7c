//! What logrotate-lite accepts: logrotate's own options, and the contract's.

use clap::Parser;
use common::cli::{Children, CommonArgs, Tool};
use common::report::Style;
use common::status::Code;
use std::path::PathBuf;
use std::time::Duration;

/// Rotate logs as logrotate does, and lose no line
///
/// Reads the files of logrotate, keeps its state file, says what it says and ends as it ends: a link called logrotate can
/// take its place. What a configuration may say is in logrotate-lite.conf(5). What is better here: copytruncate
/// loses no line where the file system can cut off the head of a file (ext4, xfs); a killed run is taken up by the next;
/// compression needs no other program, uses all cores and never leaves half a file under its final name; one wrong
/// stanza or one damaged line of the state file stops nothing else; and no step of a rotation can be led to a file
/// elsewhere, whoever owns the directory of the log.
///
/// Three directives are new. dateextunique: where the name that dateext makes is taken, a number comes behind it.
/// maxtotal SIZE: the most that all copies of a log may take; the oldest go first, the newest always stays.
/// pruneorphans: maxage holds for copies whose log is gone, too.
#[derive(Parser, Clone, Debug)]
#[command(version, max_term_width = 100, after_long_help = AFTER, args_override_self = true)]
pub struct Cli {
    /// Configuration files; a directory stands for the files in it, - for standard input
    #[arg(value_name = "CONFIG|DIR|-", required = true)]
    pub configs: Vec<PathBuf>,

    /// Do nothing, only show what would be done, with the reason for each log; implies -v
    #[arg(long, short, help_heading = HOW)]
    pub debug: bool,

    /// Rotate every log, whether it is due or not
    #[arg(long, short, help_heading = HOW)]
    pub force: bool,

    /// Read the configuration, say every problem with its file and line, and change nothing
    ///
    /// Ends with 1 where something is wrong. What is only unwise is said and does not count.
    #[arg(long, conflicts_with_all = ["debug", "force"], help_heading = HOW)]
    pub check: bool,

    /// Keep the dates of the last rotations in this file; /dev/null keeps none
    #[arg(long, short, value_name = "STATE", default_value = "/var/lib/logrotate/status", help_heading = HOW)]
    pub state: PathBuf,

    /// Do not lock the state file
    #[arg(long, conflicts_with = "wait_for_state_lock", help_heading = HOW)]
    pub skip_state_lock: bool,

    /// Where another run holds the state file, wait for its end
    #[arg(long, help_heading = HOW)]
    pub wait_for_state_lock: bool,

    /// Send mail with this program, called as MAILER -s SUBJECT ADDRESS
    #[arg(long, short, value_name = "MAILER", default_value = "/usr/bin/mail", help_heading = HOW)]
    pub mail: PathBuf,

    /// Write all messages to this file, too, also those that only -v shows; `syslog` is the system's log
    #[arg(long, short, value_name = "LOG", help_heading = HOW)]
    pub log: Option<PathBuf>,

    /// End a script of the configuration, a compressor or a mailer that runs longer
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = common::units::parse_duration, help_heading = HOW)]
    pub script_timeout: Duration,

    /// Compress on this many cores [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = HOW)]
    pub threads: Option<u16>,

    /// Work on one stanza for our parent, as its user; see `su`.
    #[arg(long, hide = true, exclusive = true)]
    pub su_worker: bool,

    /// Options of all tools.
    #[command(flatten)]
    pub common: CommonArgs,
}

const HOW: &str = "How to rotate";

const AFTER: &str = "\
EXAMPLES
  What cron or a timer runs every hour, for all that packages have put into /etc/logrotate.d:
      logrotate-lite /etc/logrotate.conf
  Why is this log rotated, and that one not?
      logrotate-lite -d /etc/logrotate.conf
  Are the files right?
      logrotate-lite --check /etc/logrotate.d
  Rules without a file:
      printf '/var/log/app/*.log {\\n daily\\n rotate 30\\n}\\n' | logrotate-lite -s app.state -
  Let monitoring see what was rotated, and what failed:
      logrotate-lite --write prometheus:/var/lib/prometheus/node-exporter/logrotate.prom /etc/logrotate.conf

EXIT STATUS
  0   what was due was rotated, or nothing was due
  1   something failed, and the messages say what; the other logs were rotated nevertheless
  2   an argument is no option, or its value is none; nothing was done
  3   another run holds the lock of the state file
";

impl Tool for Cli {
    const NAME: &'static str = "logrotate-lite";
    const STYLE: Style = Style::Told;
    const NEVER_FROM_ENVIRONMENT: &'static [&'static str] =
        &["debug", "force", "check", "state", "mail", "log", "skip-state-lock", "su-worker"];
    const CHILDREN: Children = Children::AsWeWereStarted;

    fn common(&self) -> &CommonArgs {
        &self.common
    }

    /// logrotate's own: 1 for whatever went wrong, 3 where the state file is locked.
    fn exit_status(code: Code) -> u8 {
        match code {
            Code::Ok => 0,
            Code::Warning | Code::Critical | Code::Unknown => 1,
            Code::Busy => 3,
        }
    }

    /// That of logrotate, too.
    fn bad_argument_status() -> u8 {
        2
    }
}
