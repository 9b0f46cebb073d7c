//! A PostgreSQL cluster of the test's own.
//!
//! ```text
//! programs (scripts/postgres-for-tests) -> template (initdb, once) -> copy -> identity -> server
//!                                       -> primary (pg_basebackup of another one)       -> server
//! ```

mod builder;
mod home;
mod identity;
mod primary;
mod programs;
mod server;
mod template;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub use builder::Builder;
use home::Home;
use programs::Programs;
pub(crate) use programs::{cache, pgbouncer};
use server::{Server, Stop};

/// A running cluster, alone in a directory of its own; stopped hard and removed when dropped.
///
/// It listens on a Unix socket, where everybody is trusted, and on 127.0.0.1, where everybody needs a password
/// (`postgres` has none). It is made to be quick and cheap, not to survive: no fsync, no autovacuum.
pub struct Postgres {
    // Declared first, dropped first: the server must be gone before its directory.
    server: Server,
    programs: Programs,
    home: Home,
}

impl Postgres {
    /// A cluster of the oldest supported version: 15, or the one of the Debian release.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A cluster of that major version: 15, 16 or 18.
    #[must_use]
    pub fn version(major: u32) -> Self {
        Self::builder().major(major).start()
    }

    /// A cluster that differs.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Runs SQL in the database `postgres`; see [`Postgres::sql_in`].
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// Runs SQL, one statement after another, and returns what psql prints: columns parted by `|`, no last newline.
    ///
    /// # Panics
    ///
    /// At the first error.
    #[track_caller]
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        self.try_sql_in(database, sql).unwrap_or_else(|stderr| panic!("psql failed in {database:?}\n{sql}\n{stderr}"))
    }

    /// As [`Postgres::sql_in`], but hands back what psql has to complain about.
    ///
    /// # Errors
    ///
    /// The first error, as psql prints it.
    pub fn try_sql_in(&self, database: &str, sql: &str) -> Result<String, String> {
        let output = server::feed(self.psql(database).args(["-A", "-t", "-f", "-"]), sql.as_bytes());
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Runs a file of SQL.
    ///
    /// # Panics
    ///
    /// At the first error.
    #[track_caller]
    pub fn load_file(&self, database: &str, path: impl AsRef<Path>) {
        let path = path.as_ref();
        let output = run(self.psql(database).arg("-f").arg(path));
        assert!(
            output.status.success(),
            "psql -f {path:?} failed in {database:?}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// What `pg_dump` of the same version prints.
    ///
    /// # Panics
    ///
    /// If it fails.
    #[must_use]
    #[track_caller]
    pub fn dump_plain(&self, database: &str) -> Vec<u8> {
        let output = run(self.client("pg_dump").args(["-d", database]));
        assert!(output.status.success(), "pg_dump {database:?} failed\n{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// What libpq needs to come here as the superuser: `PGHOST`, `PGPORT`, `PGUSER`.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        let host = self.socket_dir().to_str().expect("we named it").to_owned();
        let pairs = [("PGHOST", host), ("PGPORT", self.port().to_string()), ("PGUSER", "postgres".to_owned())];
        pairs.map(|(key, value)| (key.to_owned(), value)).into()
    }

    /// The directory of its programs, for `--pg-bin`.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.programs.bin
    }

    /// The directory of the programs of that major version, without a server.
    #[must_use]
    pub fn programs(major: u32) -> PathBuf {
        Programs::of(major).bin
    }

    /// Its major version.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.programs.major
    }

    /// The directory of its Unix socket.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.home.socket_dir()
    }

    /// The port of its socket and of 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// PGDATA.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.home.data_dir()
    }

    /// The process id of the postmaster.
    ///
    /// # Panics
    ///
    /// If it is stopped.
    #[must_use]
    #[track_caller]
    pub fn pid(&self) -> u32 {
        self.server.pid().expect("the server is stopped")
    }

    /// Stops it as a crash would: nothing is written any more, clients are cut off. It recovers at the next start.
    pub fn stop_hard(&self) {
        self.server.stop(Stop::Immediate);
    }

    /// Stops it in order; clients are cut off.
    pub fn stop_fast(&self) {
        self.server.stop(Stop::Fast);
    }

    /// Stops it in order, if it runs, and starts it again on the same port.
    pub fn restart(&self) {
        self.stop_fast();
        self.server.start_again(&self.programs, &self.home);
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.home.log()
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = self.client("psql");
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database]);
        psql
    }

    /// One of its client programs, in a clean environment.
    fn client(&self, name: &str) -> Command {
        let mut client = self.programs.command(name);
        client.envs(self.env());
        client
    }
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"))
}

#[cfg(test)]
mod tests;
