//! The database that is to be replaced, and sessions with its server.

use crate::cli::Cli;
use crate::database;
use anyhow::{Context as _, Result, anyhow};
use common::hint::Hint as _;
use common::pg::client::{Access, Client, Clients, unprivileged};
use common::pg::conninfo::Conninfo;
use common::pg::place;
use common::pg::session::Session;
use std::sync::Arc;

/// A database of a server, and what it takes to talk to that server.
#[derive(Debug)]
pub struct Target {
    /// The database by name on its server.
    pub access: Access,
    /// Its name.
    pub name: String,
    /// The client programs.
    pub clients: Arc<Clients>,
    /// The psql among them.
    pub psql: Client,
}

impl Target {
    /// The database that `--to` or `--into` names, on the server of `--env-file` or of the environment.
    ///
    /// # Errors
    ///
    /// No database named, a password in an argument, no psql.
    pub fn of(cli: &Cli) -> Result<Self> {
        let base = cli.env_file.as_deref().map(place::of_env_file).transpose()?;
        let operand = cli.to.as_deref().or(cli.into.as_deref());
        let access = match (operand, base) {
            (Some(operand), base) => place::of_operand(operand, base.as_ref())?,
            (None, Some(base)) => base,
            (None, None) => {
                return Err(anyhow!("no database to restore")).hint("name it with --to, or a file with --env-file");
            }
        };
        Self::at(cli, access)
    }

    /// The server alone: what `--recover` and `--drop-old` look at where no database is named.
    ///
    /// # Errors
    ///
    /// As [`Target::of`].
    pub fn server(cli: &Cli) -> Result<Self> {
        if cli.to.is_some() || cli.env_file.is_some() {
            return Self::of(cli);
        }
        Self::at(cli, Access::new(Conninfo::database("postgres")))
    }

    fn at(cli: &Cli, access: Access) -> Result<Self> {
        let clients = Clients::new(Vec::new(), cli.pg_bin.clone(), unprivileged(cli.run_as.as_deref())?);
        let psql = clients.all("psql")?.into_iter().next().context("cannot find the program psql")?;
        let name = match access.address.get("dbname") {
            Some(name) => name.to_owned(),
            None => Session::open(&clients, &psql, &access)?
                .ask("SELECT pg_catalog.to_json(pg_catalog.current_database())")?,
        };
        Ok(Self { access, name, clients: Arc::new(clients), psql })
    }

    /// Another database of the same server.
    pub fn sibling(&self, name: &str) -> Self {
        Self {
            access: self.access.with_database(name),
            name: name.to_owned(),
            clients: self.clients.clone(),
            psql: self.psql.clone(),
        }
    }

    /// A session in the database that is there for maintenance: a database cannot be renamed from within.
    ///
    /// # Errors
    ///
    /// What psql says.
    pub fn maintenance(&self) -> Result<Session> {
        self.session(database::maintenance(&self.name))
    }

    /// A session in a database of the server.
    ///
    /// # Errors
    ///
    /// What psql says.
    pub fn session(&self, database: &str) -> Result<Session> {
        Session::open(&self.clients, &self.psql, &self.access.with_database(database))
    }
}
