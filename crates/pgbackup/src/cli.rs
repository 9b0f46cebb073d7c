//! What pgbackup accepts.

use crate::retention::Keep;
use clap::Parser;
use common::backup::archive::Codec;
use common::cli::{CommonArgs, Tool};
use common::report::Style;
use common::units;
use std::path::PathBuf;
use std::time::Duration;

/// Take one backup of a PostgreSQL database that is proven while it is taken
///
/// Dumps each DATABASE with pg_dump in one streaming pass that counts and hashes every row, compresses on all cores,
/// hashes the result and checks the end of the dump. Only then does the backup exist: LABEL.sql.gz, which
/// `gunzip -c LABEL.sql.gz | psql` restores anywhere, with LABEL.manifest.json, LABEL.index.jsonl and LABEL.sha256. A
/// run that fails or is killed leaves no backup. The path of each backup made is printed, one a line.
///
/// DATABASE is a name, a URI (postgresql://user@host/db) or keywords ("host=h dbname=db"). Without one, DATABASE_URL,
/// PGDATABASE or PGSERVICE of the environment says which.
#[derive(Parser, Clone, Debug)]
#[command(version, max_term_width = 100, after_long_help = AFTER)]
pub struct Cli {
    /// Databases to back up: names, URIs or keywords
    ///
    /// A password in a URI or in keywords is refused, because every user of the machine can read arguments: put it into
    /// ~/.pgpass, PGPASSWORD, or a file for --env-file.
    #[arg(value_name = "DATABASE|URI")]
    pub databases: Vec<String>,

    /// Options for pg_dump, after --
    ///
    /// Such as --exclude-table-data='logs.*' or --lock-wait-timeout=60s. Options that would change the format, make the
    /// counts wrong or leave out what a restore needs are refused by name.
    ///
    /// Handed on, and the backup is whole: --lock-wait-timeout, --no-sync, --serializable-deferrable, --snapshot, --role,
    /// --extra-float-digits, --quote-all-identifiers, --load-via-partition-root, --statistics, --no-statistics,
    /// --include-foreign-data.
    ///
    /// Handed on, and the manifest says that the backup is not the whole database: --enable-row-security,
    /// --no-unlogged-table-data, --no-owner, --no-privileges, --no-comments, --no-publications, --no-subscriptions,
    /// --no-security-labels, --no-tablespaces, --no-blobs, --no-large-objects, --exclude-table-data,
    /// --exclude-table-data-and-children, --exclude-table, --exclude-schema, --exclude-extension, --schema, --table.
    #[arg(last = true, value_name = "PG_DUMP_OPTION")]
    pub pg_dump_options: Vec<String>,

    /// Put backups into this directory; it must exist
    ///
    /// It is not created, because a missing directory is often a file system that is not mounted.
    #[arg(long, short = 'D', value_name = "DIR", help_heading = "Where")]
    pub dir: Option<PathBuf>,

    /// Accept a DIR that every user of the machine can write to
    ///
    /// For a container without other users, whose volumes often have mode 0777. No planted file or link is ever followed,
    /// but whoever can write there can also remove backups, or put forged ones beside them.
    #[arg(long, help_heading = "Where")]
    pub allow_shared_dir: bool,

    /// Write the compressed stream to standard output instead; keeps no manifest and expires nothing
    ///
    /// Where the dump fails, the stream ends in a cut-off member, so that gunzip and zstd fail as well.
    #[arg(long, conflicts_with = "dir", help_heading = "Where")]
    pub stdout: bool,

    /// Name of the server in labels, and what keeps its backups apart in a shared directory
    ///
    /// Without it, backups are kept apart by the cluster's system identifier.
    #[arg(long, value_name = "NAME", help_heading = "Where")]
    pub name: Option<String>,

    /// Back up every connectable database that is no template, and the globals
    #[arg(long, conflicts_with = "databases", help_heading = "What")]
    pub all: bool,

    /// Also back up roles and tablespaces (pg_dumpall --globals-only), as a backup of their own
    #[arg(long, conflicts_with = "no_globals", help_heading = "What")]
    pub globals: bool,

    /// With --all, leave out roles and tablespaces
    #[arg(long, help_heading = "What")]
    pub no_globals: bool,

    /// Back up standard input under this name instead of a database
    ///
    /// Any stream: tar -C /srv -c uploads | pgbackup --stdin uploads. It gets the same archive, digests, manifest and
    /// retention. End the pipe with `set -o pipefail`, since only the shell knows whether tar succeeded.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["databases", "all", "globals", "env_file", "stdout"], help_heading = "What")]
    pub stdin: Option<String>,

    /// Record this remark in the manifest, such as 'before the upgrade'; may be repeated
    #[arg(long, value_name = "TEXT", conflicts_with = "stdout", help_heading = "What")]
    pub note: Vec<String>,

    /// Read the address of the database from an application's own .env file
    ///
    /// Takes DATABASE_URL as SQLAlchemy, Prisma, Django and Rails write it, or DB_HOST and friends. The file is read,
    /// never run. From a file that another user can write nothing but its own password is sent to the server that it names.
    #[arg(long, value_name = "FILE", help_heading = "What")]
    pub env_file: Option<PathBuf>,

    /// Compress as CODEC or CODEC:LEVEL: gzip (1-12, default 6), zstd (1-19, default 3) or none
    ///
    /// gzip:6 restores with gunzip anywhere and is about as large as gzip -6 makes it; gzip:1 takes half of the cpu time
    /// for about a tenth more bytes; gzip:12 is for archives that are read more often than written. zstd:3 is about as large
    /// as gzip:6 for half of its cpu time; zstd:9 and above trade time for size.
    #[arg(long, value_name = "CODEC[:LEVEL]", default_value = "gzip", value_parser = parse_compress, help_heading = "How")]
    pub compress: Compress,

    /// Compress on this many cores [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "How")]
    pub threads: Option<u16>,

    /// Dump this many databases side by side
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "How")]
    pub jobs: u16,

    /// Take pg_dump, pg_dumpall and psql from this directory only
    #[arg(long, value_name = "DIR", help_heading = "How")]
    pub pg_bin: Option<PathBuf>,

    /// Run the client programs behind these words: 'docker exec -i db'
    ///
    /// For a server in a container. The words must hand arguments on as they are (docker exec, podman exec, kubectl exec,
    /// sudo; not ssh). A password reaches the container only where the words hand it on: docker exec -i -e PGPASSWORD db.
    #[arg(long, value_name = "WORDS", conflicts_with = "pg_bin", help_heading = "How")]
    pub client_prefix: Option<String>,

    /// As root, run the client programs as this user [default: postgres, else nobody]
    ///
    /// Its ~/.pgpass and certificates count then, not those of root. --run-as root is possible, and is not advised: a
    /// server that is hostile meets whatever hole pg_dump has.
    #[arg(long, value_name = "USER", help_heading = "How")]
    pub run_as: Option<String>,

    /// Use less of cpu and disk: lowest priority for this run and its children
    #[arg(long, help_heading = "How")]
    pub nice: bool,

    /// Wait this long for another run on the same database instead of ending with 75
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration, help_heading = "How")]
    pub wait: Option<Duration>,

    /// Say what would be dumped and expired, and do nothing
    #[arg(long, help_heading = "How")]
    pub dry_run: bool,

    /// Keep backups that are at most this much older than the newest
    ///
    /// All rules add up: what one of them wants stays. Whatever they say, the newest complete backup stays, the newest
    /// that backup-verify has proven, every one with a file LABEL.pin beside it (touch LABEL.pin), and what is damaged.
    #[arg(long, value_name = "DURATION", value_parser = units::parse_duration, help_heading = KEEP)]
    pub keep: Option<Duration>,

    /// Keep the last N
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = KEEP)]
    pub keep_last: u32,

    /// Keep the newest of each of the last N hours that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = KEEP)]
    pub keep_hourly: u32,

    /// Keep the newest of each of the last N days that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = KEEP)]
    pub keep_daily: u32,

    /// Keep the newest of each of the last N ISO weeks that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = KEEP)]
    pub keep_weekly: u32,

    /// Keep the newest of each of the last N months that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = KEEP)]
    pub keep_monthly: u32,

    /// Keep the newest of each of the last N years that have one
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true, help_heading = KEEP)]
    pub keep_yearly: u32,

    /// Say that the source is right although it looks like another one
    ///
    /// Where the cluster has changed or half of the rows are gone, a run warns and expires nothing, night after night,
    /// until one run has this option.
    #[arg(long, help_heading = KEEP)]
    pub accept_source: bool,

    #[command(flatten)]
    pub common: CommonArgs,
}

const KEEP: &str = "Retention (without any of these, nothing is expired)";

const AFTER: &str = "\
EXAMPLES
  One database, kept for 30 days:
      pgbackup --dir /srv/pg --keep 30d app
  Everything of the local server, every night, from root's crontab; silent when well:
      0 2 * * *  pgbackup -q --dir /srv/pg --all --keep-daily 14 --keep-weekly 8 >/dev/null
  The application's own settings, a server in a container:
      pgbackup --dir /srv/pg --env-file /srv/app/.env
      pgbackup --dir /srv/pg --client-prefix 'docker exec -i db' 'user=postgres dbname=app'
  Uploads beside the database:
      tar -C /srv -c uploads | pgbackup --dir /srv/pg --stdin uploads --keep-last 7
  Restore by hand, anywhere:
      gunzip -c /srv/pg/app-20261120T020000Z.sql.gz | psql -X -v ON_ERROR_STOP=1 app

EXIT STATUS
  0   every backup was made and is proven
  1   made, but look at it: the source has changed, an old pg_dump, something could not be expired
  2   a backup failed; no file of it is left
  3   could not start: usage, configuration, nothing to back up
  75  another run holds the lock
";

impl Tool for Cli {
    const NAME: &'static str = "pgbackup";
    const STYLE: Style = Style::Action;
    const NEVER_FROM_ENVIRONMENT: &'static [&'static str] =
        &["accept-source", "allow-shared-dir", "client-prefix", "pg-bin", "run-as", "env-file", "stdin", "stdout"];

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

impl Cli {
    /// The retention rules.
    pub fn keep_rules(&self) -> Keep {
        Keep {
            within: self.keep,
            last: self.keep_last,
            hourly: self.keep_hourly,
            daily: self.keep_daily,
            weekly: self.keep_weekly,
            monthly: self.keep_monthly,
            yearly: self.keep_yearly,
        }
    }
}

/// A codec and its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compress {
    /// The codec.
    pub codec: Codec,
    /// Its level; 0 where it has none.
    pub level: i32,
}

fn parse_compress(text: &str) -> Result<Compress, String> {
    let (codec, level) = match text.split_once(':') {
        Some((codec, level)) => (codec, Some(level)),
        None => (text, None),
    };
    let (codec, default, levels) = match codec {
        "gzip" => (Codec::Gzip, 6, 1..=12),
        "zstd" => (Codec::Zstd, 3, 1..=19),
        "none" if level.is_none() => return Ok(Compress { codec: Codec::None, level: 0 }),
        _ => return Err("write gzip, zstd or none, and a level behind a colon: gzip:6, zstd:3".to_owned()),
    };
    let level = match level {
        None => default,
        Some(level) => level
            .parse()
            .ok()
            .filter(|level| levels.contains(level))
            .ok_or_else(|| format!("levels go from {} to {}", levels.start(), levels.end()))?,
    };
    Ok(Compress { codec, level })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_codec_has_its_own_levels() {
        assert_eq!(parse_compress("gzip"), Ok(Compress { codec: Codec::Gzip, level: 6 }));
        assert_eq!(parse_compress("zstd:19"), Ok(Compress { codec: Codec::Zstd, level: 19 }));
        assert_eq!(parse_compress("none"), Ok(Compress { codec: Codec::None, level: 0 }));
        for wrong in ["gzip:13", "gzip:0", "zstd:x", "none:1", "lz4", ""] {
            assert!(parse_compress(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_definition_is_sound() {
        common::cli::command::<Cli>().debug_assert();
    }

    #[test]
    fn the_manual_names_every_option_with_its_effect() {
        let command = common::cli::command::<Cli>();
        let arg = command.get_arguments().find(|arg| arg.get_id() == "pg_dump_options").unwrap();
        let help = arg.get_long_help().unwrap().to_string();
        let (whole, part) = help.split_once("not the whole database: ").unwrap();
        for (name, _, effect) in common::pg::options::ALLOWED {
            let list = if effect == common::pg::options::Effect::Whole { whole } else { part };
            let named = list.split([' ', ',', '.', '\n']).any(|word| word == name);
            assert!(named, "{name}");
        }
    }
}
