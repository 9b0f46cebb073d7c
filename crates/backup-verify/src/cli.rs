//! What backup-verify accepts.

use crate::expect::Expected;
use clap::{Parser, ValueEnum};
use common::cli::{CommonArgs, Tool};
use common::report::Style;
use common::threshold::{Range, Thresholds};
use common::units;
use std::path::PathBuf;

/// Say whether a backup is really good
///
/// A PATH (an archive of pgbackup, any other file of it, or its label) is read once: every stored byte is hashed, every
/// member inflated, every row counted and hashed again, and all of it compared with what was recorded while the dump
/// streamed by. For a DIR, the newest backup of every database in it is checked, by default for its stored bytes, and
/// judged by age, size, number and the space that is left. `-` reads paths, or the JSON lines of pgbackup, from standard
/// input, so that a database that failed to dump is reported too.
///
/// A digest shows that a backup is what was written; it does not show who wrote it.
#[derive(Parser, Clone, Debug)]
#[command(version, max_term_width = 100, after_long_help = AFTER)]
pub struct Cli {
    /// Backups or directories of backups to check
    #[arg(value_name = "PATH|DIR|-", required = true)]
    pub paths: Vec<PathBuf>,

    /// How deep to look [default: stored for a DIR, content for a PATH]
    #[arg(long, value_enum, value_name = "DEPTH", help_heading = "What to check")]
    pub depth: Option<Depth>,

    /// In a DIR, check every backup and not only the newest of each database
    #[arg(long, help_heading = "What to check")]
    pub every: bool,

    /// Databases that must have a backup in the DIRs, separated by commas
    ///
    /// `globals` are the roles and tablespaces, stream:NAME is what pgbackup --stdin NAME made; a stream that is called
    /// like a database does not stand for it.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',', help_heading = "What to check")]
    pub expect: Vec<Expected>,

    /// Compare an existing database with the one backup that is named
    ///
    /// A name, a URI or keywords, without a password. The database is dumped once more by the pg_dump of the recorded
    /// major version, with the recorded options; every row, statement, sequence value and large object must agree with
    /// the backup's index. The archive itself is not read. Nothing is written to the database, and a role that may read
    /// all of it is enough (pg_read_all_data).
    #[arg(long, value_name = "DATABASE|URI", conflicts_with = "depth", help_heading = "What to check")]
    pub against: Option<String>,

    /// Read the server of --against from an application's own .env file
    ///
    /// Takes DATABASE_URL as SQLAlchemy, Prisma, Django and Rails write it, or DB_HOST and friends; --against then names
    /// the database.
    #[arg(long, value_name = "FILE", requires = "against", help_heading = "What to check")]
    pub env_file: Option<PathBuf>,

    /// Inflate on this many cores [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = HOW)]
    pub threads: Option<u16>,

    /// Restore on this many connections [default: number of cores, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = HOW)]
    pub jobs: Option<u16>,

    /// Take the programs of PostgreSQL from this directory only
    ///
    /// pg_restore turns pg_dump's own formats (custom, directory, tar) into SQL that can be read, and connects nowhere;
    /// psql and pg_dump ask and dump the database of --against.
    #[arg(long, value_name = "DIR", help_heading = HOW)]
    pub pg_bin: Option<PathBuf>,

    /// As root, run the programs of PostgreSQL, bzip2 and xz as this user [default: postgres, else nobody]
    #[arg(long, value_name = "USER", help_heading = HOW)]
    pub run_as: Option<String>,

    /// Alert when the newest backup of a database is older
    ///
    /// As all thresholds: CRITICAL or WARNING,CRITICAL, each a range of Monitoring Plugins whose numbers carry units.
    /// --max-age 26h is CRITICAL above 26 hours; --max-age 26h,50h is WARNING above 26 hours, CRITICAL above 50.
    /// The age is that of the name: when the dump began.
    #[arg(long, value_name = "RANGE", value_parser = parse_age, help_heading = THRESHOLDS)]
    pub max_age: Option<Thresholds>,

    /// Alert when the newest archive of a database is smaller: 10MiB, or 20MiB,10MiB
    #[arg(long, value_name = "RANGE", value_parser = parse_size, help_heading = THRESHOLDS)]
    pub min_size: Option<Thresholds>,

    /// Alert when size, rows, or the rows of any table fell by more percent since the backup before: 20,50
    ///
    /// The rows per table are in the index, which is read from depth stored on. A % may follow the numbers, but in a
    /// crontab it would have to be written \%.
    #[arg(long, value_name = "RANGE", value_parser = parse_number, help_heading = THRESHOLDS)]
    pub shrink: Option<Thresholds>,

    /// Alert when a database has fewer complete backups: 7, or 7,1
    #[arg(long, value_name = "RANGE", value_parser = parse_least, help_heading = THRESHOLDS)]
    pub min_count: Option<Thresholds>,

    /// Alert when the file system of a DIR has less space left: 20GiB, or 20GiB,5GiB
    #[arg(long, value_name = "RANGE", value_parser = parse_size, help_heading = THRESHOLDS)]
    pub min_free: Option<Thresholds>,

    #[command(flatten)]
    pub common: CommonArgs,
}

const HOW: &str = "How";
const THRESHOLDS: &str = "Thresholds, for the newest backup of each database in a DIR";

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Depth {
    /// Manifests, names and sizes only; cheap with thousands of backups
    List,
    /// The files have the recorded SHA-256
    Stored,
    /// Also inflate: plain digest, structure, entries, rows and their digests, end marker
    Content,
    /// Restore into a throw-away server and compare: not built yet
    Restored,
}

impl Cli {
    /// An option that was given but judges only what lies in a DIR.
    pub fn option_for_places(&self) -> Option<&'static str> {
        let given = [
            ("--every", self.every),
            ("--expect", !self.expect.is_empty()),
            ("--max-age", self.max_age.is_some()),
            ("--min-size", self.min_size.is_some()),
            ("--shrink", self.shrink.is_some()),
            ("--min-count", self.min_count.is_some()),
            ("--min-free", self.min_free.is_some()),
        ];
        given.into_iter().find(|(_, is_given)| *is_given).map(|(option, _)| option)
    }
}

impl Depth {
    /// The word for it in options, reports and verdicts.
    pub fn word(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Stored => "stored",
            Self::Content => "content",
            Self::Restored => "restored",
        }
    }
}

fn parse_age(text: &str) -> Result<Thresholds, String> {
    let seconds = |text: &str| units::parse_duration(text).map(|time| time.as_secs_f64());
    thresholds(text, |part| Range::parse_with(part, seconds))
}

fn parse_size(text: &str) -> Result<Thresholds, String> {
    let bytes = |text: &str| units::parse_size(text).map(|bytes| bytes as f64);
    thresholds(text, |part| Range::at_least(part, bytes))
}

fn parse_number(text: &str) -> Result<Thresholds, String> {
    thresholds(text, Range::parse)
}

fn parse_least(text: &str) -> Result<Thresholds, String> {
    thresholds(text, Range::parse_least)
}

fn thresholds(text: &str, range: impl Fn(&str) -> anyhow::Result<Range>) -> Result<Thresholds, String> {
    Thresholds::parse(text, range).map_err(|error| format!("{error:#}"))
}

const AFTER: &str = "\
EXAMPLES
  Take one and read it back:
      backup-verify \"$(pgbackup --dir /srv/pg app)\"
  Every hour, silent when well; cheap, since only digests are compared:
      17 * * * *  backup-verify -q --max-age 26h --shrink 50 --expect app,globals /srv/pg
  Every night, every row of every database, and what failed to dump:
      0 2 * * *  pgbackup --dir /srv/pg --all --format json | backup-verify -q -
  A dump that something else made, as far as it can be judged:
      pg_dump app | gzip >/srv/pg/by-hand.sql.gz
      backup-verify /srv/pg/by-hand.sql.gz
  Is the copy that was restored by hand really the same?
      backup-verify --against app_restored /srv/pg/app-20261120T020000Z.sql.gz
  For Nagios, and for Prometheus:
      backup-verify --format nagios --depth list --max-age 26h,50h --min-free 1GiB /srv/pg
      backup-verify -q --write prometheus:/var/lib/prometheus/node-exporter/backup.prom /srv/pg

EXIT STATUS
  0   every backup is good
  1   a warning threshold is crossed
  2   a backup is damaged, incomplete, missing, or crosses a critical threshold
  3   could not start or judge: usage, configuration, a file that may not be read, a program that is missing
";

impl Tool for Cli {
    const NAME: &'static str = "backup-verify";
    const STYLE: Style = Style::Check;
    const NEVER_FROM_ENVIRONMENT: &'static [&'static str] = &["against", "env-file", "pg-bin", "run-as"];

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::status::Status;

    #[test]
    fn the_definition_is_sound() {
        common::cli::command::<Cli>().debug_assert();
    }

    #[test]
    fn numbers_carry_units_and_a_minimum_alerts_below() {
        let age = parse_age("26h,50h").unwrap();
        let size = parse_size("20MiB,10MiB").unwrap();

        assert_eq!(
            [25.0, 27.0, 51.0].map(|hours| age.status(hours * 3600.0)),
            [Status::Ok, Status::Warning, Status::Critical]
        );
        assert_eq!(size.status(15.0 * 1048576.0), Status::Warning);
        assert_eq!(parse_least("7,1").unwrap().status(0.0), Status::Critical);
        assert!(parse_age("26").is_err());
    }
}
