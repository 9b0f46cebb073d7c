//! As whom the loading sessions log in: never as a superuser, unless that was asked for (THREATS R1).
//!
//! CHECKs, domains and generated columns of the dump run with the rights of whoever loads, and `SET ROLE` is no wall:
//! what counts is who logged in. Where the operator is a superuser, a role is made that has no rights but to own the new
//! database; it is gone when the restore is over, and what a killed run left is swept by the next.

use super::connection::{Connection, Login, Way};
use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::hint::Hint as _;
use common::pg::session::Session;
use common::pg::{passfile, quote};
use common::secret::Secret;
use serde::Deserialize;
use std::io::Read as _;
use std::sync::Arc;

/// How the names of such roles begin.
const PREFIX: &str = "nightshift_load_";

/// How long such a role may log in, so that one that is younger than a sweep can tell is left alone.
const LIFE: &str = "'30 days'::pg_catalog.interval";

/// What psql found out about the way to the server, and about the operator there.
#[derive(Debug, Deserialize)]
struct Found {
    host: String,
    port: String,
    user: String,
    is_superuser: String,
    has_tls: Option<bool>,
}

/// psql puts its variables in, as libpq has made them out of address, environment and service file.
const WAY: &str = "SELECT pg_catalog.json_build_object('host', :'HOST', 'port', :'PORT', 'user', :'USER', \
    'is_superuser', pg_catalog.current_setting('is_superuser'), \
    'has_tls', (SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()))";

/// The role that loads.
#[derive(Debug)]
pub struct Loader {
    /// How its sessions log in; the database is still to be set.
    pub login: Login,
    /// Whose rights those are.
    pub rights: Rights,
    /// Whether psql came by TLS.
    has_tls: bool,
}

/// Whose rights load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rights {
    /// A role made for this load; what needs a superuser goes through the operator's own session.
    Temporary,
    /// The operator's, who is no superuser.
    Own,
    /// The operator's, who is a superuser, as `--as-superuser` asks for.
    Superuser,
}

/// Makes the role, or takes the operator's.
///
/// # Errors
///
/// What the server says; TLS to another machine, which is not built in yet.
pub fn prepare(target: &Target, session: &mut Session, as_superuser: bool) -> Result<Loader> {
    let found: Found = session.ask(WAY)?;
    let login = Login {
        host: if found.host.is_empty() { "localhost".to_owned() } else { found.host },
        port: found.port.parse().context("psql names no port")?,
        user: found.user,
        password: None,
        database: String::new(),
        way: Way::Plain,
    };
    let has_tls = found.has_tls == Some(true);
    let login = Login { way: if has_tls && !login.is_local() { Way::Tls } else { Way::Plain }, ..login };
    if !login.is_local() && !has_tls && target.access.foreign.is_some() {
        let is_said = target.access.address.get("sslmode") == Some("disable");
        ensure!(is_said, "another user can write the file that names this server, and the way there is not encrypted");
    }
    if found.is_superuser == "on" && !as_superuser {
        return temporary(session, login, has_tls);
    }
    let password = target.access.password.clone().or_else(from_environment);
    let password = match (password, target.access.foreign.is_some()) {
        (Some(password), _) => Some(password),
        (None, true) => None,
        (None, false) => passfile::password(&login.host, login.port, &target.name, &login.user)?.map(Arc::new),
    };
    let rights = if found.is_superuser == "on" { Rights::Superuser } else { Rights::Own };
    Ok(Loader { login: Login { password, ..login }, rights, has_tls })
}

fn from_environment() -> Option<Arc<Secret>> {
    std::env::var("PGPASSWORD").ok().filter(|password| !password.is_empty()).map(|text| Arc::new(Secret::from(text)))
}

fn temporary(session: &mut Session, login: Login, has_tls: bool) -> Result<Loader> {
    sweep(session)?;
    let name = format!("{PREFIX}{}", random(6)?);
    let password = Secret::from(random(24)?);
    // The server gets a verifier, so the password is in no log of statements.
    let until: String = session.ask(&format!(
        "SELECT pg_catalog.to_json((pg_catalog.now() OPERATOR(pg_catalog.+) {LIFE})::pg_catalog.text)"
    ))?;
    let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
    session
        .run(&format!(
            "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD {} \
             VALID UNTIL {}",
            quote::identifier(&name)?,
            quote::literal(&verifier)?,
            quote::literal(&until)?
        ))
        .context("cannot make a role for loading")?;
    Ok(Loader {
        login: Login { user: name, password: Some(Arc::new(password)), ..login },
        rights: Rights::Temporary,
        has_tls,
    })
}

/// Removes roles that killed runs left: nobody is logged in as them, and they own nothing any more.
///
/// # Errors
///
/// What the server says.
pub fn sweep(session: &mut Session) -> Result<()> {
    let left: Option<Vec<String>> = session.ask(&format!(
        "SELECT pg_catalog.json_agg(r.rolname) FROM pg_catalog.pg_roles AS r \
         WHERE r.rolname OPERATOR(pg_catalog.~~) '{}%' AND NOT r.rolsuper \
         AND r.rolvaliduntil OPERATOR(pg_catalog.<) (pg_catalog.now() OPERATOR(pg_catalog.+) {LIFE} \
             OPERATOR(pg_catalog.-) '10 minutes'::pg_catalog.interval) \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity AS a WHERE a.usename OPERATOR(pg_catalog.=) r.rolname) \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_shdepend AS d WHERE d.refobjid OPERATOR(pg_catalog.=) r.oid) \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_database AS b WHERE b.datdba OPERATOR(pg_catalog.=) r.oid)",
        PREFIX.replace('_', "\\_")
    ))?;
    for role in left.unwrap_or_default() {
        common::info!("role {role} is what a killed run left");
        session.run(&format!("DROP ROLE IF EXISTS {}", quote::identifier(&role)?))?;
    }
    Ok(())
}

/// Removes the role of a killed run that is on record by name.
///
/// # Errors
///
/// What the server says: it still owns something.
pub fn remove_left(session: &mut Session, role: &str) -> Result<()> {
    // A record may also name the operator's own role, or the owner of the database.
    if !role.starts_with(PREFIX) {
        return Ok(());
    }
    session.run(&format!("DROP ROLE IF EXISTS {}", quote::identifier(role)?))
}

impl Loader {
    /// Opens the first session; where the socket lets no password in, over the loopback interface.
    ///
    /// # Errors
    ///
    /// "cannot connect to …", with what pg_hba.conf would have to say.
    pub fn connect(&mut self, database: &str) -> Result<Connection> {
        self.login.database = database.to_owned();
        let mut failure = None;
        for login in self.ways() {
            match Connection::open(&login) {
                Ok(connection) => {
                    self.login = login;
                    return Ok(connection);
                }
                // What the first way says is what was asked for.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        let error = failure.unwrap_or_else(|| anyhow!("no way to the server"));
        let advice = match self.rights {
            Rights::Temporary => {
                "pg_hba.conf must let a new role in by password: host all all 127.0.0.1/32 scram-sha-256, \
                 and listen_addresses must hold localhost"
            }
            Rights::Own | Rights::Superuser => {
                "this session is one of the user who runs this, not of --run-as: run it as that user, or give a password \
                 (PGPASSWORD, ~/.pgpass) and let the role in over the loopback interface"
            }
        };
        Err(error).hint(advice)
    }

    /// The ways to try: where a socket lets no password in, the loopback interface does; where that takes TLS only, by TLS.
    fn ways(&self) -> Vec<Login> {
        let own = &self.login;
        let mut ways = vec![own.clone()];
        let other = |host: &str, way| Login { host: host.to_owned(), way, ..own.clone() };
        if own.host.starts_with('/') && own.password.is_some() {
            ways.extend(
                [Way::Plain, Way::Tls].into_iter().flat_map(|way| ["127.0.0.1", "::1"].map(|host| other(host, way))),
            );
        } else if own.way == Way::Plain && self.has_tls {
            ways.push(other(&own.host, Way::Tls));
        }
        ways
    }

    /// Removes the role, if it was made for this load.
    ///
    /// # Errors
    ///
    /// What the server says: it still owns something.
    pub fn remove(&self, session: &mut Session) -> Result<()> {
        if self.rights != Rights::Temporary {
            return Ok(());
        }
        session.run(&format!("DROP ROLE IF EXISTS {}", quote::identifier(&self.login.user)?))
    }
}

/// Random bytes, in hexadecimal.
fn random(bytes: usize) -> Result<String> {
    let mut buffer = vec![0; bytes];
    let mut source = std::fs::File::open("/dev/urandom").context("cannot open \"/dev/urandom\"")?;
    source.read_exact(&mut buffer).context("cannot read \"/dev/urandom\"")?;
    if buffer.iter().all(|byte| *byte == 0) {
        bail!("\"/dev/urandom\" gives no random bytes");
    }
    Ok(common::backup::hex(&buffer))
}
