//! A server on which a restore has been: `app` is the new database, the old one is put aside and on record.

use crate::place::FAILPOINT;
use harness::{Postgres, Sandbox, Tool};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// What the old database was put aside as.
pub const BEFORE: &str = "app_before_20261101T020000Z";

/// The server, and a sandbox with the record in `state` and a directory `backups`.
pub struct Swapped {
    pub pg: Postgres,
    pub dir: Sandbox,
}

impl Swapped {
    pub fn new() -> Self {
        Self::with(Postgres::start())
    }

    /// With a server that differs.
    pub fn with(pg: Postgres) -> Self {
        let place = Self { pg, dir: Sandbox::new() };
        for name in ["state", "backups"] {
            fs::create_dir(place.dir.join(name)).unwrap();
            fs::set_permissions(place.dir.join(name), fs::Permissions::from_mode(0o700)).unwrap();
        }
        place.pg.sql("CREATE ROLE owner LOGIN");
        for (name, which) in [("app", "new"), (BEFORE, "old")] {
            place.pg.sql(&format!("CREATE DATABASE \"{name}\" OWNER owner"));
            place.pg.sql_in(name, &format!("CREATE TABLE which AS SELECT '{which}'::text AS which"));
            place.pg.sql_in(name, "ALTER TABLE which OWNER TO owner");
        }
        place.pg.sql(&format!("ALTER DATABASE \"{BEFORE}\" ALLOW_CONNECTIONS false"));
        place.record("");
        place
    }

    /// Writes the record; `run` is the member for a run that is not over, with a comma at its end.
    pub fn record(&self, run: &str) {
        let state = format!(
            "{{\"format\": 1, \"cluster\": {:?}, \"database\": \"app\", {run}
             \"live\": {{\"name\": \"app\", \"oid\": {}, \"owner\": \"owner\"}},
             \"aside\": [{{\"name\": \"{BEFORE}\", \"oid\": {}, \"owner\": \"owner\",
                 \"since\": \"2026-11-01T02:00:00Z\", \"failed\": false}}]}}",
            self.cluster(),
            self.oid("app"),
            self.oid(BEFORE),
        );
        fs::write(self.state_file(), state).unwrap();
    }

    /// The record of `app`.
    pub fn state_file(&self) -> PathBuf {
        self.dir.join(format!("state/{}-app.json", self.cluster()))
    }

    /// What the record says.
    pub fn state(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.state_file()).unwrap()).unwrap()
    }

    fn cluster(&self) -> String {
        self.pg.sql("SELECT system_identifier FROM pg_control_system()")
    }

    /// The OID of a database.
    pub fn oid(&self, name: &str) -> String {
        self.pg.sql(&format!("SELECT oid FROM pg_database WHERE datname = '{name}'"))
    }

    /// `pgrestore-safe`, about to run against the server.
    pub fn tool(&self) -> Tool {
        self.tool_with(Path::new("state"))
    }

    /// The same, with its record elsewhere.
    pub fn tool_with(&self, state: &Path) -> Tool {
        let tool = self.dir.tool("pgrestore-safe").envs(self.pg.env()).arg("--no-config");
        tool.arg("--pg-bin").arg(self.pg.bin()).arg("--state-dir").arg(state)
    }

    /// `pgrestore-safe --undo --to app --yes`.
    pub fn undo(&self) -> Tool {
        self.tool().args(["--undo", "--to", "app", "--yes"])
    }

    /// A tool that is killed at a failpoint, or fails there.
    pub fn at(&self, tool: Tool, failpoint: &str, action: &str) -> Tool {
        tool.env(FAILPOINT, format!("{failpoint}={action}"))
    }

    /// What is live: `old` or `new`.
    pub fn live(&self) -> String {
        self.pg.sql_in("app", "SELECT which FROM which")
    }

    /// The databases of the server but those that every server has, and whether they are open.
    pub fn databases(&self) -> Vec<String> {
        let rows = self.pg.sql(
            "SELECT datname || CASE WHEN datallowconn THEN '' ELSE ' closed' END FROM pg_database \
             WHERE datname !~ '^(postgres|template.)$' ORDER BY datname",
        );
        rows.lines().map(str::to_owned).collect()
    }

    /// A script in the sandbox that notes its argument in `notes`, as a command for `--stop` and the like.
    pub fn note(&self, word: &str) -> String {
        let path = self.dir.join("note");
        let notes = self.dir.join("notes");
        fs::write(
            &path,
            format!("#!/bin/sh\necho \"$1 $NS_DATABASE $NS_ACT\" >> {}\nexit ${{2:-0}}\n", notes.display()),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        format!("{} {word}", path.display())
    }

    /// What was noted.
    pub fn notes(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("notes")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}
