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
    /// the backup's index. The archive itself is read only where statements differ to the letter: the server shows some in
    /// other words after a restore, which is no difference. Nothing is written to the database, and a role that may read
    /// all of it is enough (pg_read_all_data).
    #[arg(long, value_name = "DATABASE|URI", conflicts_with = "depth", help_heading = "What to check")]
    pub against: Option<String>,

    /// Tables that must be in it, with rows, separated by commas: SCHEMA.TABLE, or TABLE in any schema
    ///
    /// The rows of a partitioned table are those of its partitions. Looks at the dump with --depth content or restored,
    /// and at the database with --against.
    #[arg(long, value_name = "TABLE,TABLE", value_delimiter = ',', help_heading = "What to check")]
    pub require_table: Vec<String>,

    /// Ask the restored database, or the one of --against, for something that must be true; may be repeated
    ///
    /// One query that yields one row: 'SELECT count(*) > 1000 FROM public.users'. Names are written with their schema,
    /// because search_path is empty. It is asked in a read-only transaction by a role that is no superuser, and may take
    /// ten minutes.
    #[arg(long, value_name = "SQL", help_heading = "What to check")]
    pub assert: Vec<String>,

    /// Read the server of --against from an application's own .env file
    ///
    /// Takes DATABASE_URL as SQLAlchemy, Prisma, Django and Rails write it, or DB_HOST and friends; --against then names
    /// the database.
    #[arg(long, value_name = "FILE", requires = "against", help_heading = "What to check")]
    pub env_file: Option<PathBuf>,

    /// Inflate on this many cores [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = HOW)]
    pub threads: Option<u16>,

    /// Make the throw-away cluster of --depth restored here
    /// [default: /var/lib/nightshift-verify for root, else ~/.cache/nightshift/verify]
    ///
    /// Rows lie here as plain text while it runs, readable by the cluster's user and root only: name an encrypted file
    /// system, or one in memory, where that matters. It is gone when the run ends; what a killed run left, the next
    /// one removes. There must be room for the database as it is, a quarter more, and 256 MiB.
    #[arg(long, value_name = "DIR", help_heading = RESTORED)]
    pub work_dir: Option<PathBuf>,

    /// Restore into a new database of this server instead, and drop it afterwards
    ///
    /// A URI or keywords, without a password; roles, tablespaces and extensions that the dump names have to be there.
    #[arg(long, value_name = "URI", conflicts_with_all = ["work_dir", "against"], help_heading = RESTORED)]
    pub server: Option<String>,

    /// Extensions that are not trusted and may be made all the same, separated by commas
    ///
    /// Their scripts run as superuser of the throw-away server.
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',', help_heading = RESTORED)]
    pub allow_extension: Vec<String>,

    /// With --depth restored, take statements that only a superuser may carry out, such as functions in C
    ///
    /// The code in a backup then runs as superuser of the throw-away server, whose user of the system can reach nothing but that
    /// server. Without it, such a backup cannot be proven. Not with --server.
    #[arg(long, conflicts_with = "server", help_heading = RESTORED)]
    pub as_superuser: bool,

    /// Restore on this many connections [default: number of cores, at most 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = RESTORED)]
    pub jobs: Option<u16>,

    /// Take the programs of PostgreSQL from this directory only
    ///
    /// pg_restore turns pg_dump's own formats (custom, directory, tar) into SQL that can be read, and connects nowhere;
    /// psql and pg_dump ask and dump a database; initdb and postgres make a throw-away server.
    /// A dump that pg_restore is too old for is UNKNOWN, and so is any while it has known holes.
    #[arg(long, value_name = "DIR", help_heading = HOW)]
    pub pg_bin: Option<PathBuf>,

    /// As root, run the programs of PostgreSQL, bzip2 and xz as this user [default: postgres, else nobody]
    ///
    /// The throw-away server of --depth restored runs what the dump defines, so it runs as a user of its own by default:
    /// nightshift-verify. It may be any but root and one who owns a running server.
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
const RESTORED: &str = "How to restore";
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
    /// Also restore into a throw-away server, dump it again, and compare every row, entry and value
    Restored,
}

impl Cli {
    /// What is checked of a backup where nothing else is said.
    pub fn depth_of_path(&self) -> Depth {
        self.depth.unwrap_or(Depth::Content)
    }

    /// What is checked of the backups in a DIR where nothing else is said.
    pub fn depth_of_place(&self) -> Depth {
        let default = if self.require_table.is_empty() { Depth::Stored } else { Depth::Content };
        self.depth.unwrap_or(default)
    }

    /// An option that nothing would look at, and what it needs.
    pub fn idle_option(&self) -> Option<(&'static str, &'static str)> {
        let is_restored = self.depth == Some(Depth::Restored);
        let restored = "it is for --depth restored";
        let content = "it needs --depth content or restored";
        [
            (
                "--require-table",
                !self.require_table.is_empty() && self.depth.is_some_and(|it| it < Depth::Content),
                content,
            ),
            (
                "--assert",
                !self.assert.is_empty() && !is_restored && self.against.is_none(),
                "it asks a database: --depth restored, or --against",
            ),
            ("--work-dir", self.work_dir.is_some() && !is_restored, restored),
            ("--server", self.server.is_some() && !is_restored, restored),
            ("--as-superuser", self.as_superuser && !is_restored, restored),
            ("--allow-extension", !self.allow_extension.is_empty() && !is_restored, restored),
        ]
        .into_iter()
        .find(|(_, is_idle, _)| *is_idle)
        .map(|(option, _, advice)| (option, advice))
    }

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
  Every night, the last proof: each restored into a throw-away server and compared with what was recorded:
      0 2 * * *  pgbackup --dir /srv/pg --all --format json | backup-verify -q --depth restored -
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
    const NEVER_FROM_ENVIRONMENT: &'static [&'static str] =
        &["against", "env-file", "server", "assert", "allow-extension", "as-superuser", "work-dir", "pg-bin", "run-as"];

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
