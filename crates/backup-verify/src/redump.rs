//! A database that is dumped once more: every record goes to whoever compares it, nothing is stored.
//!
//! ```text
//! address -> facts (version, name, rights, configuration of extensions) -> pg_dump -> scan -> records
//! ```
//!
//! pg_dump itself locks tables before it reads them, switches row security off, and from its safe minors on lets no view
//! stand in for a table. Source: THREATS V4.

use crate::seen::Seen;
use anyhow::{Context as _, Result};
use common::backup::index::Record;
use common::backup::manifest::{Content, Kind};
use common::backup::scan::Scanner;
use common::interrupt;
use common::pg::advice;
use common::pg::client::{Access, Client, Clients};
use common::pg::session::{Session, refuse_transaction_pool};
use common::pg::version::Version;
use common::process::Input;
use common::progress::Progress;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::io::Read as _;

/// As much of a pipe as a user may have without rights. Source: pipe(7), pipe-max-size.
const PIPE: usize = 1 << 20;

/// A database that can be reached.
#[derive(Debug)]
pub struct Database<'a> {
    clients: &'a Clients,
    access: Access,
    facts: Facts,
}

#[derive(Debug, Deserialize)]
struct Facts {
    database: String,
    version_num: u32,
    is_superuser: bool,
    /// What the planner believes, for the progress bar.
    rows: u64,
    configuration: Vec<Configuration>,
}

/// A table that an extension fills itself.
#[derive(Debug, Deserialize)]
struct Configuration {
    schema: String,
    name: String,
    extension: String,
}

const QUESTION: &str = "SELECT pg_catalog.json_build_object(\
    'database', pg_catalog.current_database(), \
    'version_num', pg_catalog.current_setting('server_version_num')::pg_catalog.int4, \
    'is_superuser', (SELECT rolsuper FROM pg_catalog.pg_roles \
        WHERE rolname OPERATOR(pg_catalog.=) SESSION_USER), \
    'rows', (SELECT COALESCE(pg_catalog.sum(GREATEST(reltuples, 0)), 0)::pg_catalog.int8 FROM pg_catalog.pg_class \
        WHERE relkind OPERATOR(pg_catalog.=) 'r'), \
    'configuration', (SELECT COALESCE(pg_catalog.json_agg(pg_catalog.json_build_object(\
            'schema', n.nspname, 'name', c.relname, 'extension', e.extname)), '[]'::pg_catalog.json) \
        FROM pg_catalog.pg_extension AS e CROSS JOIN LATERAL pg_catalog.unnest(e.extconfig) AS config \
        JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) config \
        JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace))";

/// How a dump is to be made so that it can be compared with an earlier one.
#[derive(Debug)]
pub struct Manner {
    /// The major version of the pg_dump that made the earlier one.
    pub client_major: u32,
    /// All of its version, where that is known.
    pub client_version: Option<String>,
    /// Its options.
    pub options: Vec<String>,
}

impl<'a> Database<'a> {
    /// Asks what there is to know before a dump, and refuses a transaction pool on the way.
    ///
    /// # Errors
    ///
    /// What psql says, with a hint.
    pub fn open(clients: &'a Clients, access: Access) -> Result<Self> {
        let psql = clients.all("psql")?.into_iter().next().context("cannot find the program psql")?;
        let mut session = Session::open(clients, &psql, &access)?;
        refuse_transaction_pool(clients, &psql, &access, &mut session)?;
        let facts: Facts = session.ask(QUESTION)?;
        if facts.is_superuser {
            common::info!("connected as a superuser; a role with pg_read_all_data would be enough");
        }
        Ok(Self { clients, access, facts })
    }

    /// Its name on its server.
    pub fn name(&self) -> &str {
        &self.facts.database
    }

    /// The version of its server.
    pub fn version(&self) -> Version {
        Version::from_number(self.facts.version_num)
    }

    /// The tables that extensions fill themselves, by schema and name, with the extension.
    pub fn configuration(&self) -> BTreeMap<(String, String), String> {
        let tables = self.facts.configuration.iter();
        tables.map(|table| ((table.schema.clone(), table.name.clone()), table.extension.clone())).collect()
    }

    /// The pg_dump for the second dump: the very version of the first one, else its major version, unless the server is
    /// newer than that.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn client(&self, manner: &Manner) -> Result<Client> {
        let major = manner.client_major.max(self.version().major);
        let same = |client: &Client| Some(client.version.to_string()) == manner.client_version;
        let same = self.clients.all("pg_dump")?.into_iter().find(same).filter(|client| client.version.major == major);
        same.map_or_else(|| self.clients.of_major("pg_dump", major), Ok)
    }

    /// Dumps and hands on what is found.
    ///
    /// # Errors
    ///
    /// What pg_dump says, or the receiver.
    pub fn dump(&self, manner: &Manner, seen: &Seen, mut each: impl FnMut(Record) -> Result<()>) -> Result<Content> {
        let scanner = Scanner::new(Kind::Database).watch(seen.watch());
        self.scan(manner, &[], scanner, &mut |record: Record| {
            seen.record(&record);
            each(record)
        })
    }

    /// Dumps everything but rows once more, and hands on its entries with loose digests.
    ///
    /// # Errors
    ///
    /// As [`Database::dump`].
    pub fn entries_loosely(&self, manner: &Manner, mut each: impl FnMut(Record) -> Result<()>) -> Result<()> {
        let parts = ["--section=pre-data", "--section=post-data"];
        let scanner = Scanner::new(Kind::Database).loosely();
        self.scan(manner, &parts, scanner, &mut each).map(|_| ())
    }

    fn scan(
        &self,
        manner: &Manner,
        parts: &[&str],
        mut scanner: Scanner,
        each: &mut dyn FnMut(Record) -> Result<()>,
    ) -> Result<Content> {
        let client = self.client(manner)?;
        let mut child = self
            .clients
            .command(&client, &self.access, "backup-verify")?
            .args(&manner.options)
            .args(parts)
            .start(Input::None)?;
        let mut stdout = child.stdout()?;
        // With the 64 KiB of a pipe, pg_dump and we would wait for each other all the time.
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE) {
            common::debug!("cannot make the pipe from pg_dump larger: {error}");
        }
        let mut progress = Progress::start(&self.facts.database, self.facts.rows);
        let mut bytes = 0;
        let mut buffer = vec![0; 1 << 20];
        let mut scan = || -> Result<()> {
            loop {
                interrupt::check()?;
                let count = match stdout.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(count) => count,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(error).context("cannot read from pg_dump"),
                };
                bytes += count as u64;
                scanner.feed(&buffer[..count]).context("the dump is not what pg_dump writes")?;
                scanner.records().try_for_each(&mut *each)?;
                progress.update(scanner.rows(), bytes);
            }
        };
        // A child that failed is the reason for a stream that ends early; after an error of our own it has to go.
        scan()?;
        advice::success(&child.finish(None)?)?;
        let content = scanner.finish()?;
        scanner.records().try_for_each(each)?;
        Ok(content)
    }
}
