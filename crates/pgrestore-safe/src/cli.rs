//! What pgrestore-safe accepts.

use clap::{ArgGroup, Parser};
use common::cli::{CommonArgs, Tool};
use common::report::Style;
use common::units;
use std::path::PathBuf;
use std::time::Duration;

/// Restore a PostgreSQL database without ever losing the old one
///
/// Verifies BACKUP, takes a backup of the database as it is now, loads BACKUP into a new database beside the live one,
/// proves the result against what was recorded, and only then swaps the two names, in one transaction. The old database
/// stays as NAME_before_STAMP, and --undo swaps it back. Whatever fails, and whenever this is killed, the name leads to
/// the old database or to the new one, complete.
///
/// BACKUP is the path of an archive (or of any file of a backup), a label, or `latest`: the newest backup in --dir of the
/// database that --to names. Dumps that something else made (.sql, .sql.gz, .sql.zst, pg_dump's custom, directory and tar
/// formats) are restored too, with the proof that they allow.
#[derive(Parser, Clone, Debug)]
#[command(version, max_term_width = 100, after_long_help = AFTER)]
#[command(group(ArgGroup::new("act").args(["into", "stdout", "undo", "recover", "drop_old", "table"])))]
pub struct Cli {
    /// What to restore: a path, a label, or `latest`
    ///
    /// The backups that this program has made for safety are never the latest: who restores a second time gets the same
    /// backup again. They are restored by path or label.
    #[arg(value_name = "BACKUP", required_unless_present_any = ["undo", "recover", "drop_old"])]
    #[arg(conflicts_with_all = ["undo", "recover", "drop_old"])]
    pub backup: Option<String>,

    /// The database to restore: a name, a URI, or keywords; it must exist
    ///
    /// A password in a URI or in keywords is refused, because every user of the machine can read arguments: put it into
    /// ~/.pgpass, PGPASSWORD, or a file for --env-file. The role must own the database and be allowed to create
    /// databases, or be a superuser.
    #[arg(long, value_name = "DATABASE|URI", help_heading = "Where")]
    pub to: Option<String>,

    /// Read the address of the database from an application's own .env file
    ///
    /// Takes DATABASE_URL as SQLAlchemy, Prisma, Django and Rails write it, or DB_HOST and friends. --to then names
    /// another database of that server.
    #[arg(long, value_name = "FILE", help_heading = "Where")]
    pub env_file: Option<PathBuf>,

    /// Where labels and `latest` are looked for, and where the safety backup goes [default: where BACKUP lies]
    #[arg(long, short = 'D', value_name = "DIR", help_heading = "Where")]
    pub dir: Option<PathBuf>,

    /// Accept a backup of another database or of another server
    #[arg(long, help_heading = "Where")]
    pub from_other: bool,

    /// Load into a database that does not exist yet; no swap, no safety backup, no proof
    ///
    /// A name, a URI or keywords. The proof is backup-verify --against.
    #[arg(long, value_name = "NEWDB|URI", conflicts_with = "to", help_heading = "What else it can do")]
    pub into: Option<String>,

    /// Load the rows of this table only, into the existing, empty table of the database; may be repeated
    ///
    /// The rows are read from their own place in the archive, without reading the rest.
    #[arg(long, value_name = "SCHEMA.TABLE", requires = "to", help_heading = "What else it can do")]
    pub table: Vec<String>,

    /// Write the plain stream to standard output: the SQL of a database, or what pgbackup --stdin took
    ///
    /// It is verified as it flows, and its end comes last: a reader never sees the end of a damaged backup.
    #[arg(long, conflicts_with = "to", help_heading = "What else it can do")]
    pub stdout: bool,

    /// Swap the database that the last restore put aside back into its place
    ///
    /// What it replaces is kept as NAME_undone_STAMP, so a second --undo goes forward again. Only a database that is on
    /// record is swapped in, and only while its OID and owner are still those.
    #[arg(long, requires = "to", help_heading = "What else it can do")]
    pub undo: bool,

    /// Say what a killed run left on the server, and put it right
    ///
    /// Before the swap, what it made is removed. From the swap on it is taken up: the pool resumed, the application started
    /// and checked, and swapped back where it fails its check. With --dry-run it is only said. Without --to, all databases
    /// on record are looked at.
    #[arg(long, help_heading = "What else it can do")]
    pub recover: bool,

    /// Remove databases that restores have put aside, each after a backup of it into --dir
    ///
    /// For its backup one is opened to superusers only, and closed again whatever happens.
    #[arg(long, help_heading = "What else it can do")]
    pub drop_old: bool,

    /// With --drop-old, only those put aside longer ago
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration, requires = "drop_old")]
    #[arg(help_heading = "What else it can do")]
    pub older_than: Option<Duration>,

    /// Say what would be done and every reason to refuse, and do nothing
    #[arg(long, help_heading = HOW)]
    pub dry_run: bool,

    /// Do not ask; needed where standard input is no terminal
    #[arg(long, help_heading = HOW)]
    pub yes: bool,

    /// Take no backup of the database as it is now
    #[arg(long, help_heading = HOW)]
    pub no_safety_backup: bool,

    /// Load on this many connections [default: number of cores, at most 8]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = HOW)]
    pub jobs: Option<u16>,

    /// With --into, gather no statistics: for a database that is only looked at once
    ///
    /// Without them the planner guesses until autovacuum has come by.
    #[arg(long, requires = "into", help_heading = HOW)]
    pub no_analyze: bool,

    /// Load with the rights of a superuser, and take statements that only a superuser may carry out
    ///
    /// The code in a dump (checks, domains, generated columns, functions in indexes) then runs as superuser, and so can
    /// take over the server: only for a dump whose author you trust as much as the server's. With --dry-run, the
    /// statements that would need it are listed.
    #[arg(long, help_heading = HOW)]
    pub as_superuser: bool,

    /// Take pg_dump, pg_restore and psql from this directory only
    #[arg(long, value_name = "DIR", help_heading = HOW)]
    pub pg_bin: Option<PathBuf>,

    /// As root, run the client programs as this user [default: postgres, else nobody]
    #[arg(long, value_name = "USER", help_heading = HOW)]
    pub run_as: Option<String>,

    /// Wait this long for another restore of the database instead of ending with 75
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration, help_heading = HOW)]
    pub wait: Option<Duration>,

    /// Keep the record of restores here [default: /var/lib/nightshift/pgrestore-safe, or below ~/.local/state]
    ///
    /// The default is for root; other users have theirs in nightshift/pgrestore-safe below XDG_STATE_HOME or ~/.local/state.
    /// --undo, --recover and --drop-old act on what is in it and on nothing else.
    #[arg(long, value_name = "DIR", help_heading = HOW)]
    pub state_dir: Option<PathBuf>,

    /// Stop the application before the swap with this command: 'docker stop app'
    ///
    /// It is split into words and run without a shell; for more than one command: sh -c '…'. It sees NS_DATABASE and
    /// NS_ACT (restore, undo or recover) in its environment, and may take 5 minutes.
    #[arg(long, value_name = "CMD", requires = "start", help_heading = APPLICATION)]
    pub stop: Option<String>,

    /// Start the application after the swap, or after a failure, with this command
    ///
    /// It may run when the application runs already. What it leaves running should not keep its standard output.
    #[arg(long, value_name = "CMD", requires = "stop", help_heading = APPLICATION)]
    pub start: Option<String>,

    /// Stop and start this systemd unit; may be repeated
    #[arg(long, value_name = "UNIT", conflicts_with = "stop", help_heading = APPLICATION)]
    pub service: Vec<String>,

    /// Pause the pool of this PgBouncer for the swap, and resume it: its admin console, database pgbouncer
    ///
    /// Without it, clients behind PgBouncer wait up to 15 s after a swap (server_login_retry). Transactions get 10 s to end;
    /// where they do not, nothing is swapped. The user must be one of admin_users.
    #[arg(long, value_name = "URI", help_heading = APPLICATION)]
    pub pgbouncer: Option<String>,

    /// Ask this command whether the application is well after the swap; where it fails, swap back
    ///
    /// For example 'healthprobe -q --targets /etc/nightshift/app.targets'. The failed database stays as
    /// NAME_failed_STAMP.
    #[arg(long, value_name = "CMD", help_heading = APPLICATION)]
    pub check: Option<String>,

    #[command(flatten)]
    pub common: CommonArgs,
}

impl Cli {
    /// How many connections load.
    pub fn jobs(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        self.jobs.map_or(cores.min(8), usize::from)
    }
}

const HOW: &str = "How";
const APPLICATION: &str = "The application";

const AFTER: &str = "\
EXAMPLES
  What would happen, and what stands against it:
      pgrestore-safe latest --dir /srv/pg --to app --dry-run
  The newest backup, with the application stopped only for the swap:
      pgrestore-safe latest --dir /srv/pg --to app --service app.service --check 'curl -fsS http://127.0.0.1:8000/health'
  And back:
      pgrestore-safe --undo --to app
  One table that was ruined (empty it first):
      pgrestore-safe /srv/pg/app-20261120T020000Z.sql.gz --to app --table public.orders
  Uploads that pgbackup --stdin uploads took:
      pgrestore-safe --stdout /srv/pg/uploads-20261120T020000Z | tar -C /srv -x
  Remove what restores have put aside, a week later, from a crontab:
      20 4 * * *  pgrestore-safe -q --drop-old --older-than 7d --dir /srv/pg --yes

EXIT STATUS
  0   restored, proven, in its place
  1   restored, but look at it: something could not be proven or put back
  2   failed; the name leads to the old database
  3   could not start: usage, configuration, a reason to refuse
  75  another restore of the database is running
";

impl Tool for Cli {
    const NAME: &'static str = "pgrestore-safe";
    const STYLE: Style = Style::Action;
    const NEVER_FROM_ENVIRONMENT: &'static [&'static str] = &[
        "to",
        "into",
        "table",
        "stdout",
        "undo",
        "recover",
        "drop-old",
        "older-than",
        "yes",
        "stop",
        "start",
        "service",
        "check",
        "pgbouncer",
        "as-superuser",
        "from-other",
        "no-safety-backup",
        "env-file",
        "pg-bin",
        "run-as",
        "state-dir",
    ];

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
}
