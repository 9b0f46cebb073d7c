//! Which databases are to be dumped, and how each is reached.

use crate::cli::Cli;
use anyhow::{Context as _, Result, anyhow, bail};
use common::hint::Hint as _;
use common::pg::client::{Access, Client, Clients, unprivileged};
use common::pg::conninfo::Conninfo;
use common::pg::place;
use common::pg::session::Session;
use common::words;
use std::io::IsTerminal as _;

/// One thing to back up.
#[derive(Clone, Debug)]
pub enum Source {
    /// A database; its name is asked of the server where the address does not say it.
    Database(Access),
    /// Roles and tablespaces of a server.
    Globals(Access),
    /// Standard input.
    Stream(String),
}

impl Source {
    /// The name that reports call it by.
    pub fn subject(&self) -> String {
        match self {
            Self::Database(access) => access.address.get("dbname").map_or_else(|| access.shown(), str::to_owned),
            Self::Globals(_) => "globals".to_owned(),
            Self::Stream(name) => name.clone(),
        }
    }
}

/// Client programs as the options say.
///
/// # Errors
///
/// A user that does not exist, a prefix that is no list of words.
pub fn clients(cli: &Cli) -> Result<Clients> {
    let prefix = match &cli.client_prefix {
        None => Vec::new(),
        Some(text) => words::split(text).context("cannot use --client-prefix")?,
    };
    if cli.client_prefix.is_some() && prefix.is_empty() {
        bail!("--client-prefix is empty");
    }
    // Behind a prefix it is `docker` that runs here, which needs our rights; pg_dump runs where docker puts it.
    let run_as = match (&cli.run_as, prefix.is_empty()) {
        (None, false) => None,
        (name, _) => unprivileged(name.as_deref())?,
    };
    if let Some(user) = &run_as {
        common::info!("client programs run as user {}", user.name);
    }
    Ok(Clients::new(prefix, cli.pg_bin.clone(), run_as))
}

/// What the options and the environment ask for; asks the server only for `--all`.
///
/// # Errors
///
/// No database named, a password in an argument, an env file that cannot be used.
pub fn sources(cli: &Cli, clients: &Clients) -> Result<Vec<Source>> {
    if let Some(name) = &cli.stdin {
        if name.is_empty() {
            bail!("--stdin needs a name");
        }
        if std::io::stdin().is_terminal() && !cli.dry_run {
            return Err(anyhow!("standard input is a terminal"))
                .hint("pipe a stream in: tar -C /srv -c uploads | pgbackup --stdin uploads");
        }
        return Ok(vec![Source::Stream(name.clone())]);
    }
    let base = base(cli)?;
    let mut sources = Vec::new();
    if cli.all {
        let access = base.unwrap_or_else(|| Access::new(Conninfo::empty()));
        let is_named = access.address.get("dbname").is_some() || (access.foreign.is_none() && is_set("PGDATABASE"));
        let access = if is_named { access } else { access.with_database("postgres") };
        let psql = newest(clients, "psql")?;
        for name in databases(clients, &psql, &access)? {
            sources.push(Source::Database(access.with_database(&name)));
        }
        if !cli.no_globals {
            sources.push(Source::Globals(access));
        }
        return Ok(sources);
    }
    for operand in &cli.databases {
        sources.push(Source::Database(place::of_operand(operand, base.as_ref().filter(|_| cli.env_file.is_some()))?));
    }
    if sources.is_empty() {
        sources.push(Source::Database(base.map_or_else(from_environment, Ok)?));
    }
    if cli.globals
        && let Some(Source::Database(access)) = sources.first()
    {
        sources.push(Source::Globals(access.clone()));
    }
    Ok(sources)
}

/// The newest program of a name: any psql can ask any server.
///
/// # Errors
///
/// Where none is found.
pub fn newest(clients: &Clients, name: &str) -> Result<Client> {
    clients.all(name)?.into_iter().next().with_context(|| format!("cannot find the program {name}"))
}

/// The server that an env file or DATABASE_URL names.
fn base(cli: &Cli) -> Result<Option<Access>> {
    if let Some(path) = &cli.env_file {
        return place::of_env_file(path).map(Some);
    }
    let Ok(url) = std::env::var("DATABASE_URL") else { return Ok(None) };
    if url.is_empty() {
        return Ok(None);
    }
    let address = Conninfo::parse(&url).context("cannot use DATABASE_URL")?;
    place::tell_notes(&address);
    Ok(Some(Access::new(address)))
}

fn from_environment() -> Result<Access> {
    if !is_set("PGDATABASE") && !is_set("PGSERVICE") {
        return Err(anyhow!("no database to back up"))
            .hint("name one, or use --all, --env-file, --stdin, or set DATABASE_URL");
    }
    Ok(Access::new(Conninfo::empty()))
}

fn is_set(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

fn databases(clients: &Clients, psql: &Client, access: &Access) -> Result<Vec<String>> {
    let mut session = Session::open(clients, psql, access)?;
    // A database that restore has put aside is closed to connections, and so is not in the list.
    session
        .ask(
            "SELECT pg_catalog.json_agg(datname ORDER BY datname) FROM pg_catalog.pg_database \
             WHERE datallowconn AND NOT datistemplate",
        )
        .context("cannot list the databases")
}
