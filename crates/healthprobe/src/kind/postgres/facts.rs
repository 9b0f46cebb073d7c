//! What the server answers: the sections of [`super::question`].

use serde::Deserialize;

/// All of it; a section that was not asked for, or that has nothing, is missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Facts {
    pub(super) server: Server,
    pub(super) sessions: Option<Sessions>,
    pub(super) prepared: Option<Vec<Prepared>>,
    pub(super) standbys: Option<Vec<StandbyOf>>,
    pub(super) standby: Option<Standby>,
    pub(super) slots: Option<Vec<Slot>>,
    pub(super) oldest: Option<Oldest>,
    pub(super) archive: Option<Archive>,
    pub(super) corrupt: Option<Vec<Corrupt>>,
    pub(super) cache: Option<Cache>,
    pub(super) vacuum: Option<Vacuum>,
    pub(super) indexes: Option<Indexes>,
    pub(super) size: Option<Size>,
    pub(super) statements_in: Option<String>,
    pub(super) statements: Option<Vec<Statement>>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Server {
    pub(super) version: u32,
    pub(super) release: String,
    pub(super) recovering: bool,
    pub(super) superuser: bool,
    pub(super) sees_all: bool,
    pub(super) user: String,
    pub(super) database: String,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Sessions {
    pub(super) used: u32,
    pub(super) max: u32,
    /// For superusers and the role `pg_use_reserved_connections`.
    pub(super) reserved: u32,
    pub(super) busy: Option<Vec<Busy>>,
}

/// A session that does something, or holds a transaction open.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Busy {
    pub(super) pid: i64,
    pub(super) user: Option<String>,
    pub(super) application: Option<String>,
    pub(super) state: Option<String>,
    pub(super) query_seconds: Option<f64>,
    pub(super) state_seconds: Option<f64>,
    /// How long it has been waiting for a lock.
    pub(super) waits_seconds: Option<f64>,
    pub(super) blockers: Option<Vec<i64>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Prepared {
    pub(super) name: String,
    pub(super) seconds: f64,
}

/// A standby, or another receiver, of this server.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct StandbyOf {
    pub(super) pid: i64,
    pub(super) name: Option<String>,
    pub(super) state: Option<String>,
    pub(super) seconds: Option<f64>,
    pub(super) bytes: Option<f64>,
}

/// This server, being one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Standby {
    pub(super) receiver: Option<bool>,
    pub(super) is_paused: bool,
    pub(super) is_caught_up: Option<bool>,
    /// Where what it has received ends.
    pub(super) received: Option<String>,
    pub(super) seconds: Option<f64>,
    pub(super) bytes: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Slot {
    pub(super) name: String,
    pub(super) is_active: bool,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub(super) wal: Option<String>,
    pub(super) bytes: Option<f64>,
    pub(super) why: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Oldest {
    pub(super) database: String,
    pub(super) transactions: f64,
    pub(super) multixacts: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Archive {
    pub(super) mode: String,
    pub(super) failed: f64,
    pub(super) is_failing: Option<bool>,
    pub(super) since_seconds: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Corrupt {
    pub(super) database: String,
    pub(super) failures: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Cache {
    pub(super) hit: f64,
    pub(super) fetched: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Vacuum {
    pub(super) is_on: bool,
    pub(super) tables: Option<Vec<Table>>,
}

/// A table with many dead rows.
#[derive(Debug, Deserialize)]
pub(super) struct Table {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) dead: f64,
    pub(super) live: f64,
    /// Autovacuum should have begun by its own rule.
    pub(super) is_due: bool,
    pub(super) vacuumed_seconds: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Indexes {
    pub(super) since_seconds: Option<f64>,
    pub(super) unused: Option<Vec<Relation>>,
    pub(super) invalid: Option<Vec<Relation>>,
    pub(super) missing: Option<Vec<Relation>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Relation {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) bytes: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Size {
    pub(super) bytes: f64,
    pub(super) tables: Option<Vec<Relation>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Statement {
    pub(super) calls: f64,
    pub(super) seconds: f64,
    pub(super) text: Option<String>,
    pub(super) id: Option<String>,
}
