//! The database that is to be replaced, and sessions with its server.

use crate::cli::Cli;
use crate::database;
use anyhow::{Context as _, Result, anyhow};
use common::hint::Hint as _;
use common::pg::client::{Access, Client, Clients, unprivileged};
use common::pg::conninfo::Conninfo;
use common::pg::place;
use common::pg::quote::literal;
use common::pg::session::Session;
use std::sync::Arc;

/// The first half of our advisory locks: "nsrs".
const LOCK: i32 = 0x6e73_7273;
/// How long other sessions are waited for; below the limit of an answer.
const OTHERS: &str = "50s";

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
        let mut session = self.session(database::maintenance(&self.name))?;
        session.ask::<String>(&self.lock("pg_advisory_lock_shared")?)?;
        Ok(session)
    }

    /// Waits until no other session works on the database.
    ///
    /// A statement outlives the program that sent it: who looks at once at what a killed run has left may look too early.
    /// So each session for maintenance holds a lock of the server, which ends with the session and not with its program.
    ///
    /// # Errors
    ///
    /// Where one still works after a minute: of a killed run, or of one on another machine.
    pub fn wait_for_others(&self) -> Result<()> {
        let mut session = self.session(database::maintenance(&self.name))?;
        session.run(&format!("SET lock_timeout TO '{OTHERS}'"))?;
        session
            .ask::<String>(&self.lock("pg_advisory_lock")?)
            .with_context(|| format!("another session works on database {:?}", self.name))
            .hint("a run on another machine, or a statement that a killed run has sent: see pg_stat_activity")?;
        session.ask::<bool>(&self.lock("pg_advisory_unlock")?.replace("::pg_catalog.text", "")).map(|_| ())
    }

    /// Locks are numbers: ours, and one for the name.
    fn lock(&self, function: &str) -> Result<String> {
        let name = literal(&self.name)?;
        Ok(format!(
            "SELECT pg_catalog.to_json(pg_catalog.{function}({LOCK}, pg_catalog.hashtext({name}))::pg_catalog.text)"
        ))
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
