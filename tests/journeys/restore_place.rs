//! A server with a database `app`, a backup of it, and what happened to it since: what journeys of a restore begin with.

use crate::place::{FAILPOINT, Place, label_of, make_directory};
use harness::{Postgres, Ran, Tool};
use std::path::PathBuf;

/// What happened to the database after its backup.
pub const RUIN: &str = "DELETE FROM customers WHERE id > 10; CREATE TABLE IF NOT EXISTS since (x int); \
    ALTER TABLE since OWNER TO owner";

/// The place, with the record of restores in `state`.
pub struct Ruined {
    pub place: Place,
    pub label: String,
}

impl Ruined {
    pub fn new() -> Self {
        Self::with(Postgres::start(), "")
    }

    /// With a server that differs, and SQL for the server that is run before the backup; `app` belongs to role `owner`.
    pub fn with(pg: Postgres, sql: &str) -> Self {
        let place = Place::with(pg);
        make_directory(&place.dir.join("state"), 0o700);
        place.pg.sql("CREATE ROLE owner LOGIN CREATEDB; ALTER DATABASE app OWNER TO owner");
        place.pg.sql_in("app", "ALTER SCHEMA public OWNER TO pg_database_owner; ALTER TABLE customers OWNER TO owner");
        place.pg.sql_in("app", "ALTER VIEW first_ones OWNER TO owner");
        place.pg.sql(sql);
        let label = label_of(&place.pgbackup().arg("app").run());
        place.pg.sql_in("app", RUIN);
        Self { place, label }
    }

    pub fn pg(&self) -> &Postgres {
        &self.place.pg
    }

    /// `pgrestore-safe`, about to run against the server.
    pub fn tool(&self) -> Tool {
        let tool = self.place.dir.tool("pgrestore-safe").envs(self.pg().env()).arg("--no-config");
        tool.arg("--pg-bin").arg(self.pg().bin()).args(["--state-dir", "state"])
    }

    /// `pgrestore-safe LABEL --dir backups --to app --yes`: `latest` would be the safety backup from the second time on.
    pub fn restore(&self) -> Tool {
        self.tool().args([&self.label, "--dir", "backups", "--to", "app", "--yes"])
    }

    /// The same, killed at a failpoint.
    #[track_caller]
    pub fn killed_at(&self, tool: Tool, failpoint: &str) -> Ran {
        tool.env(FAILPOINT, format!("{failpoint}=kill")).run().signalled(9)
    }

    /// `ruined` before a restore, `whole` after it.
    pub fn live(&self) -> &'static str {
        match self.pg().sql_in("app", "SELECT count(*), to_regclass('since') FROM customers").as_str() {
            "300|" => "whole",
            "10|since" => "ruined",
            other => panic!("neither the old database nor the new one: {other}"),
        }
    }

    /// The databases of the server but those that every server has, and whether they are open.
    pub fn databases(&self) -> Vec<String> {
        let rows = self.pg().sql(
            "SELECT datname || CASE WHEN datallowconn THEN '' ELSE ' closed' END FROM pg_database \
             WHERE datname !~ '^(postgres|template.)$' ORDER BY datname",
        );
        rows.lines().map(str::to_owned).collect()
    }

    /// Roles that no restore may leave.
    pub fn loading_roles(&self) -> String {
        self.pg().sql("SELECT string_agg(rolname, ' ') FROM pg_roles WHERE rolname LIKE 'nightshift%'")
    }

    /// What is on record.
    pub fn state(&self) -> serde_json::Value {
        let name = self.pg().sql("SELECT system_identifier FROM pg_control_system()");
        let path: PathBuf = self.place.dir.join(format!("state/{name}-app.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }
}
