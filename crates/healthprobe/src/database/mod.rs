//! A PostgreSQL database: where it is, how it is reached, and one look at it before a deadline.
//!
//! ```text
//! address, env-file= -> Access -> settings (service, PG*) -> login -> knock (wire, tls) -> session
//! ```
//!
//! Not through psql, which the other tools ask: starting it takes longer than the whole look may. What libpq does with an
//! address is done here by its rules; what cannot be kept to is refused. Used by `postgres:` and `sql:`.

mod cell;
mod file;
mod knock;
mod login;
mod service;
mod session;
mod settings;
mod tls;
mod trouble;
mod wire;

pub(crate) use session::{Cell, Rows, Session};
pub(crate) use trouble::Trouble;

use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, anyhow, ensure};
use common::envfile::EnvFile;
use common::hint::Hint as _;
use common::pg::client::{Access, unprivileged};
use common::pg::conninfo::Conninfo;
use common::pg::place;
use common::text;
use login::Login;
use settings::{Settings, Surroundings};
use std::path::PathBuf;
use std::time::Instant;

/// Where a database is, as a target says it.
#[derive(Debug)]
pub(crate) struct Database {
    place: Place,
    /// Another database of that server.
    name: Option<String>,
    run_as: Option<String>,
    shown: String,
}

#[derive(Debug)]
enum Place {
    Address(Access),
    EnvFile(PathBuf),
}

impl Database {
    /// Reads an address and the options that go with it: a name, a URI, keywords, or nothing with `env-file=`.
    ///
    /// # Errors
    ///
    /// What cannot be read as an address, or holds a password.
    pub(crate) fn parse(address: &str, options: &mut Options, origin: Origin) -> Result<Self> {
        let env_file = options.file("env-file");
        let service = options.text("service");
        let name = options.text("dbname");
        let run_as = options.text("run-as");
        if run_as.is_some() {
            origin.may("run-as=")?;
        }
        let given = [!address.is_empty(), env_file.is_some(), service.is_some()].into_iter().filter(|given| *given);
        ensure!(given.count() <= 1, "the address, env-file= and service= say the same thing twice");
        ensure!(name.is_none() || !is_bare(address), "the address and dbname= say the same thing twice");
        let place = match (env_file, service) {
            (Some(path), _) => Place::EnvFile(path),
            (None, Some(service)) => {
                origin.may("service=")?;
                let mut info = Conninfo::empty();
                info.set("service", service);
                Place::Address(Access::new(info))
            }
            (None, None) => Place::Address(access(address, origin)?),
        };
        let shown = shown(address, &place, name.as_deref());
        Ok(Self { place, name, run_as, shown })
    }

    /// What it is called: never a user or a secret.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Connects and logs in.
    ///
    /// # Errors
    ///
    /// What is wrong with the address, as UNKNOWN; what the server or the way to it is to blame for, as CRITICAL.
    pub(crate) fn open(&self, deadline: Instant) -> Result<Session, Trouble> {
        let (login, settings, run_as) = self.login().map_err(Trouble::ours)?;
        Session::open(&login, &settings, run_as.as_ref(), deadline)
    }

    fn login(&self) -> Result<(Login, Settings, Option<common::process::User>)> {
        let access = match &self.place {
            Place::Address(access) => access.clone(),
            Place::EnvFile(path) => place::of_env_vars(&EnvFile::read(path)?)?,
        };
        let access = match &self.name {
            Some(name) => access.with_database(name),
            None => access,
        };
        let run_as = unprivileged(self.run_as.as_deref()).map_err(|error| error.context("cannot use run-as="))?;
        let surroundings = Surroundings::of(run_as.as_ref());
        let act = || format!("cannot connect to {}", self.shown);
        let settings = Settings::new(&access, &surroundings).with_context(act)?;
        let login = Login::new(&settings).with_context(act)?;
        Ok((login, settings, run_as))
    }
}

/// An address as it is typed. A password is refused wherever it stands: in arguments everybody can read it, and a list of
/// targets is no place for secrets.
///
/// Who writes lines to our standard input may choose a server, but then nothing of ours goes there (THREATS G3, G10).
fn access(address: &str, origin: Origin) -> Result<Access> {
    if address.is_empty() {
        return Ok(Access::new(Conninfo::empty()));
    }
    let mut info = Conninfo::parse(address)?;
    if info.password().is_some() {
        return Err(anyhow!("a password does not belong into a target")).hint(
            "put it into ~/.pgpass (mode 0600) or PGPASSWORD, or name the application's own file: env-file=.env",
        );
    }
    let is_foreign = origin == Origin::Pipe && info.entries().any(|(key, _)| key != "dbname");
    if is_foreign {
        info.restrict_to_foreign().context("standard input")?;
    }
    place::tell_notes(&info);
    let foreign = is_foreign.then(|| PathBuf::from("standard input"));
    Ok(Access { foreign, ..Access::new(info) })
}

/// A name as it was typed; of what may hold a user or a secret only where it leads.
fn shown(address: &str, place: &Place, name: Option<&str>) -> String {
    match (place, name) {
        (Place::EnvFile(path), Some(name)) => {
            format!("{} of {}", text::line(name), text::line(&path.to_string_lossy()))
        }
        (Place::EnvFile(path), None) => text::line(&path.to_string_lossy()),
        (Place::Address(_), _) if is_bare(address) => text::line(address),
        (Place::Address(access), Some(name)) => access.with_database(name).shown(),
        (Place::Address(access), None) => access.shown(),
    }
}

fn is_bare(address: &str) -> bool {
    !address.is_empty() && !address.contains('=') && !address.contains("://")
}
