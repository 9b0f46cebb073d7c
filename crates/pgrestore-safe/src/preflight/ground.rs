//! What a server says about itself, the operator and the database before a restore.

use crate::swap::MAY_END;
use anyhow::{Result, anyhow};
use common::dirfd::Dir;
use common::pg::quote::literal;
use common::pg::session::Session;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// What the server says.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Ground {
    /// `150020`.
    pub version_num: u32,
    /// It is a standby.
    pub in_recovery: bool,
    /// The operator's role.
    pub role: String,
    /// It is a superuser.
    pub is_superuser: bool,
    /// It may create databases.
    pub may_create: bool,
    /// It may alter other roles, as far as its server lets it.
    pub may_alter_roles: bool,
    /// It has the rights of the database's owner.
    pub has_owner: bool,
    /// It may create in the tablespace of the database.
    pub has_tablespace: bool,
    /// Every role.
    pub roles: BTreeSet<String>,
    /// Those that it is a member of.
    pub memberships: BTreeSet<String>,
    /// Every extension that could be made.
    pub extensions: BTreeSet<String>,
    /// Those that need no superuser.
    pub trusted: BTreeSet<String>,
    /// Transactions of the database that are prepared.
    pub prepared: Vec<String>,
    /// Logical replication slots of the database.
    pub slots: Vec<String>,
    /// Its subscriptions.
    pub subscriptions: Vec<String>,
    /// How many logical walsenders read from it.
    pub walsenders: u64,
    /// Roles whose sessions in it may not be ended.
    pub stuck: Vec<String>,
    /// Where the data is, as far as that may be asked for.
    pub data_directory: Option<String>,
}

impl Ground {
    /// Asks, in one question.
    ///
    /// # Errors
    ///
    /// What the server says.
    pub fn of(session: &mut Session, database: &str) -> Result<Self> {
        let question = QUESTION.replace("MAY_END", MAY_END);
        session
            .ask::<Option<Self>>(&format!(
                "{question} WHERE d.datname OPERATOR(pg_catalog.=) {}), 'null')",
                literal(database)?
            ))?
            .ok_or_else(|| anyhow!("there is no database {database:?}"))
    }
}

/// Without its end: a WHERE, and the parentheses it closes. What comes from `pg_stat_activity` is `a`, from `pg_roles` `r`.
const QUESTION: &str = "SELECT COALESCE((SELECT pg_catalog.json_build_object(\
    'version_num', pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
    'in_recovery', pg_catalog.pg_is_in_recovery(), \
    'role', me.rolname, 'is_superuser', me.rolsuper, 'may_create', me.rolcreatedb OR me.rolsuper, \
    'may_alter_roles', me.rolcreaterole, \
    'has_owner', pg_catalog.pg_has_role(d.datdba, 'USAGE'), \
    'has_tablespace', d.dattablespace OPERATOR(pg_catalog.=) t.dattablespace \
        OR pg_catalog.has_tablespace_privilege(d.dattablespace, 'CREATE'), \
    'roles', (SELECT pg_catalog.json_agg(rolname) FROM pg_catalog.pg_roles), \
    'memberships', (SELECT COALESCE(pg_catalog.json_agg(rolname), '[]') FROM pg_catalog.pg_roles \
        WHERE pg_catalog.pg_has_role(oid, 'MEMBER')), \
    'extensions', (SELECT COALESCE(pg_catalog.json_agg(name), '[]') FROM pg_catalog.pg_available_extensions), \
    'trusted', (SELECT COALESCE(pg_catalog.json_agg(DISTINCT v.name), '[]') \
        FROM pg_catalog.pg_available_extension_versions AS v WHERE v.trusted OR NOT v.superuser), \
    'prepared', (SELECT COALESCE(pg_catalog.json_agg(gid), '[]') FROM pg_catalog.pg_prepared_xacts \
        WHERE database OPERATOR(pg_catalog.=) d.datname), \
    'slots', (SELECT COALESCE(pg_catalog.json_agg(slot_name), '[]') FROM pg_catalog.pg_replication_slots \
        WHERE database OPERATOR(pg_catalog.=) d.datname), \
    'subscriptions', (SELECT COALESCE(pg_catalog.json_agg(subname), '[]') FROM pg_catalog.pg_subscription \
        WHERE subdbid OPERATOR(pg_catalog.=) d.oid), \
    'walsenders', (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity \
        WHERE datid OPERATOR(pg_catalog.=) d.oid AND backend_type OPERATOR(pg_catalog.=) 'walsender'), \
    'stuck', (SELECT COALESCE(pg_catalog.json_agg(DISTINCT r.rolname), '[]') FROM pg_catalog.pg_stat_activity AS a \
        JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) a.usesysid \
        WHERE a.datid OPERATOR(pg_catalog.=) d.oid AND MAY_END IS NOT TRUE), \
    'data_directory', (SELECT setting FROM pg_catalog.pg_settings \
        WHERE name OPERATOR(pg_catalog.=) 'data_directory')) \
    FROM pg_catalog.pg_database AS d JOIN pg_catalog.pg_database AS t \
    ON t.datname OPERATOR(pg_catalog.=) 'template0' CROSS JOIN \
    (SELECT rolname, rolsuper, rolcreatedb, rolcreaterole FROM pg_catalog.pg_roles \
        WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER) AS me";

/// Bytes that are free where the server keeps its data; `None` where that is not for us to see.
///
/// A path says nothing by itself: the server may run elsewhere, or in a container. So its control file must carry the
/// identifier of the cluster that we talk to.
pub fn free_bytes(data_directory: Option<&str>, cluster: &str) -> Option<u64> {
    let path = Path::new(data_directory?);
    let control = Dir::open(&path.join("global")).ok()?.read("pg_control", 1 << 16).ok()?;
    // Its first member, in the byte order of the machine. Source: ControlFileData, src/include/catalog/pg_control.h.
    let identifier = u64::from_ne_bytes(control.get(..8)?.try_into().ok()?);
    let is_same = identifier.to_string() == cluster;
    is_same.then(|| Dir::open(path).ok()?.free_bytes().ok()).flatten()
}
