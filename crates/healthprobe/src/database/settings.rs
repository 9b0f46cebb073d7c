//! The connection keywords in force: what the address says, then the service, then the environment, then libpq's defaults.
//!
//! ```text
//! address > service file > PG* > built in;    password: address > service > PGPASSWORD > password file
//! ```
//!
//! An address from a file that another user can write gets nothing of ours: no service, no environment, no password file
//! (THREATS G10). Source: PostgreSQL documentation, "Connection Control Functions".

use super::service;
use anyhow::{Result, anyhow};
use common::hint::Hint as _;
use common::pg::client::Access;
use common::pg::conninfo::{self, Conninfo};
use common::process::User;
use common::secret::Secret;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What libpq would find around it: environment, home directory, name of the user.
#[derive(Debug, Default)]
pub struct Surroundings {
    pub(super) variables: HashMap<String, String>,
    /// Where `.pgpass`, `.pg_service.conf` and `.postgresql` are looked for.
    pub home: Option<PathBuf>,
    /// The user's name: the role, where none is given.
    pub user: String,
}

impl Surroundings {
    /// Those of this process; as root those of the user in whose place it connects.
    pub fn of(run_as: Option<&User>) -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, value)| name.starts_with("PG") && !value.is_empty())
            .collect();
        match run_as {
            Some(user) => Self { variables, home: Some(user.home.clone()), user: user.name.clone() },
            None => Self { variables, home: std::env::var_os("HOME").map(PathBuf::from), user: own_name() },
        }
    }

    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }
}

fn own_name() -> String {
    let uid = nix::unistd::geteuid();
    nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// Keywords in force, the password apart.
#[derive(Debug)]
pub struct Settings {
    info: Conninfo,
    /// The password that was given, if any; a password file is asked for each host.
    pub password: Option<Arc<Secret>>,
    /// Where else to look for one: never for a foreign address.
    pub passfile: Option<PathBuf>,
    /// `~/.postgresql`, where certificates lie: never for a foreign address.
    pub certificates: Option<PathBuf>,
    /// The role, where none is given.
    pub default_user: String,
}

impl Settings {
    /// Puts the layers together.
    ///
    /// # Errors
    ///
    /// A service that is not there; a keyword of the environment with a value that libpq refuses.
    pub fn new(access: &Access, surroundings: &Surroundings) -> Result<Self> {
        let mut info = access.address.without_password();
        let mut password = access.password.clone();
        let default_user = surroundings.user.clone();
        if access.foreign.is_some() {
            return Ok(Self { info, password, passfile: None, certificates: None, default_user });
        }
        let service = info.get("service").map(str::to_owned).or_else(|| surroundings.variable("PGSERVICE"));
        if let Some(service) = service {
            let mut found = service::find(&service, surroundings)?;
            password = password.or_else(|| found.take_password().map(Arc::new));
            for (key, value) in found.entries() {
                if info.get(key).is_none() {
                    info.set(key, value);
                }
            }
        }
        for (key, variable) in conninfo::keywords().filter(|(key, _)| *key != "service") {
            let Some(value) = surroundings.variable(variable) else { continue };
            if key == "password" {
                password = password.or_else(|| Some(Arc::new(Secret::from(value))));
            } else if info.get(key).is_none() {
                info.set_keyword(key, &value).map_err(|error| error.context(format!("cannot use {variable}")))?;
            }
        }
        let passfile = info.get("passfile").map(PathBuf::from);
        let home = surroundings.home.as_deref();
        Ok(Self {
            info,
            password,
            passfile: passfile.or_else(|| home.map(|home| home.join(".pgpass"))),
            certificates: home.map(|home| home.join(".postgresql")),
            default_user,
        })
    }

    /// The value of a keyword that is set and not empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.info.get(key).filter(|value| !value.is_empty())
    }

    /// A file that a keyword names, else the one of that name in `~/.postgresql`, where there is one.
    pub fn file(&self, key: &str, default: &str) -> Option<PathBuf> {
        match self.get(key) {
            Some(path) => Some(PathBuf::from(path)),
            None => self.certificates.as_ref().map(|dir| dir.join(default)).filter(|path| Path::exists(path)),
        }
    }

    /// Refuses what makes a connection safer and is not known here: leaving it out would weaken it.
    ///
    /// # Errors
    ///
    /// By the name of the keyword.
    pub fn refuse_unknown(&self) -> Result<()> {
        let is_set = |key: &str| self.get(key).is_some();
        let is = |key: &str, value: &str| self.get(key) == Some(value);
        let refused = ["require_auth", "sslcrl", "sslcrldir", "sslpassword"]
            .into_iter()
            .find(|key| is_set(key))
            .or_else(|| is("gssencmode", "require").then_some("gssencmode"))
            .or_else(|| is("sslcertmode", "require").then_some("sslcertmode"));
        match refused {
            None => Ok(()),
            Some(key) => Err(anyhow!("{key} cannot be kept to: connections are not made by libpq here"))
                .hint("leave it out of this address, or ask with psql: command:\"psql …\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn around(pairs: &[(&str, &str)], home: &Path) -> Surroundings {
        let variables = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Surroundings { variables, home: Some(home.to_owned()), user: "me".to_owned() }
    }

    fn access(text: &str) -> Access {
        Access::new(Conninfo::parse(text).unwrap())
    }

    #[test]
    fn the_address_is_stronger_than_the_service_and_that_than_the_environment() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".pg_service.conf"), "[s]\nhost=service\nport=2\npassword=secret\n").unwrap();
        let around = around(&[("PGHOST", "env"), ("PGPORT", "3"), ("PGUSER", "env")], home.path());

        let settings = Settings::new(&access("service=s host=address"), &around).unwrap();

        let found = ["host", "port", "user"].map(|key| settings.get(key).unwrap());
        assert_eq!(found, ["address", "2", "env"]);
        assert_eq!(settings.password.unwrap().expose(), "secret");
        assert_eq!(settings.passfile, Some(home.path().join(".pgpass")));
    }

    #[test]
    fn an_address_of_somebody_else_gets_nothing_of_ours() {
        let mut foreign = access("postgresql://app@db.test/app");
        foreign.foreign = Some(PathBuf::from("/srv/app/.env"));
        let variables = [("PGPASSWORD", "CANARY"), ("PGSERVICE", "s"), ("PGSSLKEY", "/k"), ("PGPASSFILE", "/p")];

        let settings = Settings::new(&foreign, &around(&variables, Path::new("/root"))).unwrap();

        assert!(settings.password.is_none() && settings.passfile.is_none() && settings.certificates.is_none());
        assert_eq!((settings.get("sslkey"), settings.get("passfile")), (None, None));
    }

    #[test]
    fn what_would_weaken_the_connection_is_refused() {
        for text in ["require_auth=scram-sha-256", "sslcrl=/x", "gssencmode=require", "sslcertmode=require"] {
            let settings = Settings::new(&access(&format!("host=h {text}")), &Surroundings::default()).unwrap();

            let error = settings.refuse_unknown().unwrap_err().to_string();

            assert!(error.starts_with(text.split('=').next().unwrap()), "{error}");
        }
        let settings = Settings::new(&access("host=h gssencmode=prefer krbsrvname=x"), &Surroundings::default());
        settings.unwrap().refuse_unknown().unwrap();
    }
}
