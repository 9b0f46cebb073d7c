//! Which database a name leads to right now.
//!
//! Names can be given to another database by whoever owns one and may create databases. So what we rename or drop is
//! known by name, OID and owner together, as our own record has them. Source: THREATS R9.

use anyhow::{Result, anyhow, ensure};
use common::hint::Hint as _;
use common::pg::quote::literal;
use common::pg::session::Session;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A database that a run made, renamed or put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its OID, which no other database of the server has or gets soon.
    pub oid: u32,
    /// Its owner.
    pub owner: String,
}

const QUESTION: &str = "SELECT COALESCE((SELECT pg_catalog.json_build_object(\
    'name', datname, 'oid', oid::pg_catalog.int8, 'owner', pg_catalog.pg_get_userbyid(datdba)) \
    FROM pg_catalog.pg_database WHERE ";

/// The database of that name.
///
/// # Errors
///
/// What the server says.
pub fn named(session: &mut Session, name: &str) -> Result<Option<Identity>> {
    session.ask(&format!("{QUESTION} datname OPERATOR(pg_catalog.=) {}), 'null')", literal(name)?))
}

/// The database with that OID, whatever it is called now.
///
/// # Errors
///
/// What the server says.
pub fn with_oid(session: &mut Session, oid: u32) -> Result<Option<Identity>> {
    session.ask(&format!("{QUESTION} oid OPERATOR(pg_catalog.=) {oid}::pg_catalog.oid), 'null')"))
}

/// Fails unless the name leads to exactly this database.
///
/// # Errors
///
/// Says what stands there instead.
pub fn require(session: &mut Session, expected: &Identity) -> Result<()> {
    match named(session, &expected.name)? {
        Some(found) if found == *expected => Ok(()),
        Some(found) => Err(anyhow!(
            "database {:?} is not the one on record: OID {}, owner {:?}, not OID {}, owner {:?}",
            expected.name,
            found.oid,
            found.owner,
            expected.oid,
            expected.owner
        ))
        .hint("somebody made, renamed or reassigned it since: find out who, then rename or drop it by hand"),
        None => Err(anyhow!("database {:?} is gone", expected.name)).hint("list the databases with: psql -l"),
    }
}

/// The database to connect to for work on another one: none can be renamed from within.
pub fn maintenance(name: &str) -> &'static str {
    if name == "postgres" { "template1" } else { "postgres" }
}

/// The names of all databases.
///
/// # Errors
///
/// What the server says.
pub fn names(session: &mut Session) -> Result<BTreeSet<String>> {
    session.ask("SELECT pg_catalog.json_agg(datname) FROM pg_catalog.pg_database")
}

/// The cluster: its system identifier, or where that may not be asked for, its address.
///
/// # Errors
///
/// What the server says.
pub fn cluster(session: &mut Session, address: &str) -> Result<String> {
    let identifier: Option<String> = session.ask(
        "SELECT pg_catalog.to_json(CASE WHEN \
         pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') \
         THEN (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()) ELSE '' END)",
    )?;
    let identifier = identifier.filter(|text| !text.is_empty()).unwrap_or_else(|| format!("at {address}"));
    ensure!(identifier.len() < 1024, "the server has no usable system identifier");
    Ok(identifier)
}
