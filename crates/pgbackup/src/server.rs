//! What the server says about itself and a database before a dump.

use anyhow::Result;
use common::backup::manifest;
use common::pg::client::{Access, Client, Clients};
use common::pg::session::{Session, refuse_transaction_pool};
use common::pg::version::Version;
use serde::Deserialize;

/// Facts about a database and its server.
#[derive(Clone, Debug, Deserialize)]
pub struct Facts {
    database: String,
    version: String,
    version_num: u32,
    /// Missing where the role may not ask for it, as on some managed servers.
    system_identifier: Option<String>,
    oid: u32,
    encoding: String,
    locale: manifest::Locale,
    size: u64,
    /// What the planner believes, for the progress bar.
    pub rows: u64,
    in_recovery: bool,
    /// Whether the role may read the passwords of roles.
    pub may_read_passwords: bool,
}

const QUESTION: &str = "SELECT pg_catalog.json_build_object(\
    'database', pg_catalog.current_database(), \
    'version', pg_catalog.current_setting('server_version'), \
    'version_num', pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
    'system_identifier', CASE WHEN pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE') \
        THEN (SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()) END, \
    'oid', d.oid::pg_catalog.int8, \
    'encoding', pg_catalog.pg_encoding_to_char(d.encoding), \
    'locale', pg_catalog.json_build_object(\
        'provider', CASE pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(d), 'datlocprovider') \
            WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin' ELSE 'libc' END, \
        'collate', d.datcollate, 'ctype', d.datctype, \
        'name', COALESCE(pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(d), 'datlocale'), \
            pg_catalog.jsonb_extract_path_text(pg_catalog.to_jsonb(d), 'daticulocale'))), \
    'size', pg_catalog.pg_database_size(d.oid), \
    'rows', (SELECT COALESCE(pg_catalog.sum(GREATEST(reltuples, 0)), 0)::pg_catalog.int8 FROM pg_catalog.pg_class \
        WHERE relkind OPERATOR(pg_catalog.=) 'r'), \
    'in_recovery', pg_catalog.pg_is_in_recovery(), \
    'may_read_passwords', pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')) \
    FROM pg_catalog.pg_database AS d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()";

/// Asks, and refuses a transaction pool on the way.
///
/// # Errors
///
/// What psql says, with a hint.
pub fn ask(clients: &Clients, psql: &Client, access: &Access) -> Result<Facts> {
    let mut session = Session::open(clients, psql, access)?;
    refuse_transaction_pool(clients, psql, access, &mut session)?;
    session.ask(QUESTION)
}

impl Facts {
    /// The database's name as the server knows it.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The database's own encoding.
    pub fn encoding(&self) -> &str {
        &self.encoding
    }

    /// The server's version.
    pub fn version(&self) -> Version {
        Version::from_number(self.version_num)
    }

    /// The manifest's part about the server.
    pub fn source(&self, access: &Access) -> manifest::Source {
        let address = access.shown();
        manifest::Source {
            // Where the identifier may not be asked for, the address has to do.
            system_identifier: self.system_identifier.clone().unwrap_or_else(|| format!("at {address}")),
            version: self.version.clone(),
            version_num: self.version_num,
            address,
            database_oid: self.oid,
            encoding: self.encoding.clone(),
            locale: Some(self.locale.clone()),
            size_bytes: self.size,
            in_recovery: self.in_recovery,
        }
    }
}
