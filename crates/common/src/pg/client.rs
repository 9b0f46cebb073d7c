//! Client programs: which there are, which one serves a server, and how one is started.

use super::conninfo::Conninfo;
use super::version::Version;
use crate::hint::{self, Hint as _};
use crate::process::{self, Program, User};
use crate::secret::Secret;
use anyhow::{Context as _, Result, anyhow, bail};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long `--version` may take; `docker exec` on a busy host is slow.
const VERSION_TIME: Duration = Duration::from_secs(30);
/// How long a connection may take unless the user says otherwise; libpq's own default is for ever.
const CONNECT_SECONDS: &str = "15";

/// Settings that both passes of a dump pin, because pg_dump does not and a database may set them.
pub const PINNED: [(&str, &str); 6] = [
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
    ("search_path", ""),
];

/// A limit that a database sets for its application is not meant for its operator; pg_dump lifts it, too.
const NO_LIMIT: &str = "-c statement_timeout=0";

/// Where client programs are taken from, and as whom they run.
#[derive(Debug, Default)]
pub struct Clients {
    found: Mutex<HashMap<String, Vec<Client>>>,
    /// Words in front of every program: `docker exec -i db`.
    pub prefix: Vec<String>,
    /// The only directory to look in.
    pub bin: Option<PathBuf>,
    /// The user that programs run as when we are root.
    pub run_as: Option<User>,
}

/// A client program and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its absolute path, or its name behind a prefix.
    pub path: PathBuf,
    /// Its version.
    pub version: Version,
}

/// How a database is reached: its address, its password apart, and where both came from.
#[derive(Clone, Debug)]
pub struct Access {
    /// Address without password.
    pub address: Arc<Conninfo>,
    /// The password, where the address had one.
    pub password: Option<Arc<Secret>>,
    /// The file that the address came from, where another user can write it: then nothing of ours goes with it.
    pub foreign: Option<PathBuf>,
}

impl Access {
    /// Takes the password out of an address.
    pub fn new(mut address: Conninfo) -> Self {
        let password = address.take_password().map(Arc::new);
        Self { address: Arc::new(address), password, foreign: None }
    }

    /// The same server, another database.
    pub fn with_database(&self, name: &str) -> Self {
        let mut address = self.address.without_password();
        address.set("dbname", name);
        Self { address: Arc::new(address), ..self.clone() }
    }

    /// Where it is, for messages and manifests: never userinfo or a secret.
    pub fn shown(&self) -> String {
        if self.foreign.is_some() || self.address.get("host").is_some() || self.address.get("service").is_some() {
            return self.address.display();
        }
        let mut address = self.address.without_password();
        for (key, variable) in [("host", "PGHOST"), ("port", "PGPORT"), ("dbname", "PGDATABASE")] {
            if address.get(key).is_none()
                && let Ok(value) = std::env::var(variable)
            {
                address.set(key, value);
            }
        }
        address.display()
    }

    /// The connection string for `--dbname=`, with the pinned settings and a limit for connecting.
    pub fn keywords(&self, application: &str) -> String {
        let mut address = self.address.without_password();
        let given = match (address.get("options"), &self.foreign) {
            (Some(options), _) => options.to_owned(),
            (None, None) => std::env::var("PGOPTIONS").unwrap_or_default(),
            (None, Some(_)) => String::new(),
        };
        let pins = PINNED.map(|(name, value)| format!("-c {name}={value}")).join(" ");
        address.set("options", format!("{given} {pins} {NO_LIMIT}").trim());
        if address.get("application_name").is_none() {
            address.set("application_name", application);
        }
        // For what we ask ourselves; a dump sets the database's own encoding.
        address.set("client_encoding", "UTF8");
        let ours = self.foreign.is_some() || std::env::var_os("PGCONNECT_TIMEOUT").is_none();
        if ours && address.get("connect_timeout").is_none() {
            address.set("connect_timeout", CONNECT_SECONDS);
        }
        address.to_keywords()
    }
}

impl Clients {
    /// Nothing found yet.
    pub fn new(prefix: Vec<String>, bin: Option<PathBuf>, run_as: Option<User>) -> Self {
        Self { found: Mutex::default(), prefix, bin, run_as }
    }

    /// Every program of this name that can be found, newest first; looked for once a run.
    ///
    /// # Errors
    ///
    /// Where none is found, with what to install as a hint.
    pub fn all(&self, name: &str) -> Result<Vec<Client>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(clients) = found.get(name) {
            return Ok(clients.clone());
        }
        let clients = self.search(name)?;
        found.insert(name.to_owned(), clients.clone());
        Ok(clients)
    }

    fn search(&self, name: &str) -> Result<Vec<Client>> {
        let paths = if self.prefix.is_empty() { self.paths(name) } else { vec![PathBuf::from(name)] };
        let mut clients = Vec::new();
        let mut failure = None;
        for path in paths {
            match self.version(&path) {
                Ok(version) => clients.push(Client { path, version }),
                Err(error) => failure = Some(error),
            }
        }
        clients.sort_by_key(|client| std::cmp::Reverse(client.version));
        match (clients.is_empty(), failure) {
            (false, _) => Ok(clients),
            (true, Some(error)) => Err(error),
            (true, None) => Err(anyhow!("cannot find the program {name}"))
                .hint("install postgresql-client, or name the directory it is in with --pg-bin"),
        }
    }

    /// The program for a server of this version: its own major, else the nearest newer one.
    ///
    /// # Errors
    ///
    /// Where only older ones are found: they refuse to dump, or dump too little.
    pub fn for_server(&self, name: &str, server: Version) -> Result<Client> {
        choose(&self.all(name)?, server).ok_or_else(|| {
            let newest = self.all(name).ok().and_then(|all| all.first().map(|client| client.version));
            let found = newest.map_or_else(|| "none".to_owned(), |version| version.to_string());
            hint::with(
                anyhow!("{name} {found} is older than the server ({server})"),
                format!("install postgresql-client-{}, or name its directory with --pg-bin", server.major),
            )
        })
    }

    /// The newest program of exactly this major: two dumps that are compared are worded by the same one.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn of_major(&self, name: &str, major: u32) -> Result<Client> {
        self.all(name)?.into_iter().find(|client| client.version.major == major).ok_or_else(|| {
            hint::with(
                anyhow!("cannot find {name} of version {major}"),
                format!("install postgresql-client-{major}, or name its directory with --pg-bin"),
            )
        })
    }

    /// A client program with its connection, ready for more arguments.
    ///
    /// The address goes into argv, the password into the environment, never the other way round.
    ///
    /// # Errors
    ///
    /// Where the prefix's program is not found.
    pub fn command(&self, client: &Client, access: &Access, application: &str) -> Result<Program> {
        let foreign = access.foreign.is_some();
        let mut program =
            self.program(&client.path)?.arg("--no-password").arg(format!("--dbname={}", access.keywords(application)));
        if foreign {
            program = program.env("HOME", "/nonexistent").env("PGPASSFILE", "/nonexistent");
        } else {
            program = program.envs_where(|name| name.starts_with("PG") && name != "PGOPTIONS");
        }
        if let Some(password) = &access.password {
            program = program.env("PGPASSWORD", password.expose());
        }
        Ok(program)
    }

    /// A client program without a connection: pg_restore as a filter.
    ///
    /// # Errors
    ///
    /// As [`Clients::command`].
    pub fn bare(&self, client: &Client) -> Result<Program> {
        self.program(&client.path)
    }

    fn program(&self, path: &Path) -> Result<Program> {
        let program = match self.prefix.split_first() {
            None => Program::new(path),
            Some((first, words)) => {
                let found = if first.starts_with('/') { Some(first.into()) } else { process::find(first) };
                let found = found
                    .with_context(|| format!("cannot find the program {first:?} of --client-prefix"))
                    .hint("name a program in PATH, or its absolute path")?;
                Program::new(&found).args(words).arg(path)
            }
        };
        let program = match &self.run_as {
            Some(user) => program.run_as(user),
            None => program,
        };
        // Messages of the programs are read for hints; the dump's encoding does not depend on the locale.
        Ok(program.env("LC_ALL", "C"))
    }

    fn version(&self, path: &Path) -> Result<Version> {
        let bytes = self
            .program(path)?
            .arg("--version")
            .output(VERSION_TIME, 4096)
            .with_context(|| format!("cannot ask {path:?} for its version"))?;
        let text = String::from_utf8_lossy(&bytes);
        Version::from_banner(&text).with_context(|| format!("cannot read the version of {path:?} from {text:?}"))
    }

    fn paths(&self, name: &str) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        match &self.bin {
            Some(bin) => paths.push(bin.join(name)),
            None => {
                for root in ["/usr/lib/postgresql", "/usr/pgsql", "/usr/local/pgsql"] {
                    paths.extend(versioned(Path::new(root), name));
                }
                paths.extend(process::find_all(name));
            }
        }
        let mut seen = HashSet::new();
        paths
            .into_iter()
            .filter(|path| process::is_executable(path))
            .filter_map(|path| std::fs::canonicalize(path).ok())
            // Debian's wrapper chooses a version by a cluster of its own; the programs behind it are in the list.
            .filter(|path| path.file_name().is_none_or(|file| file != "pg_wrapper"))
            .filter(|path| seen.insert(path.clone()))
            .collect()
    }
}

/// `/usr/lib/postgresql/15/bin/pg_dump` (Debian), `/usr/pgsql-15/bin/pg_dump` (Red Hat), `/usr/local/pgsql/bin/pg_dump`.
fn versioned(root: &Path, name: &str) -> Vec<PathBuf> {
    let mut dirs = vec![root.join("bin")];
    if let Ok(entries) = std::fs::read_dir(root) {
        dirs.extend(entries.flatten().map(|entry| entry.path().join("bin")));
    }
    if root.ends_with("pgsql")
        && let Some(parent) = root.parent()
        && let Ok(entries) = std::fs::read_dir(parent)
    {
        let is_ours = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("pgsql-");
        dirs.extend(entries.flatten().filter(is_ours).map(|entry| entry.path().join("bin")));
    }
    dirs.into_iter().filter(|dir| crate::dirfd::is_trusted_program_dir(dir)).map(|dir| dir.join(name)).collect()
}

/// The newest minor of the server's major, else of the nearest newer major.
fn choose(clients: &[Client], server: Version) -> Option<Client> {
    clients
        .iter()
        .filter(|client| client.version.major >= server.major)
        .min_by_key(|client| (client.version.major, std::cmp::Reverse(client.version.minor)))
        .cloned()
}

/// The user that client programs run as when we are root: never root itself, unless that is said.
///
/// # Errors
///
/// Where the named user does not exist, or where a user is named and we are not root.
pub fn unprivileged(run_as: Option<&str>) -> Result<Option<User>> {
    let is_root = rustix::process::geteuid().is_root();
    match run_as {
        Some("root") if is_root => Ok(None),
        Some(name) if is_root => User::named(name).map(Some).hint("name an existing user with --run-as"),
        Some(name) => {
            let user = User::named(name)?;
            if user.uid != rustix::process::geteuid().as_raw() {
                bail!("only root can run programs as user {name:?}");
            }
            Ok(None)
        }
        None if is_root => User::named("postgres").or_else(|_| User::named("nobody")).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(versions: &[(u32, u32)]) -> Vec<Client> {
        versions
            .iter()
            .map(|&(major, minor)| Client {
                path: format!("/{major}.{minor}").into(),
                version: Version { major, minor },
            })
            .collect()
    }

    fn chosen(versions: &[(u32, u32)], server: (u32, u32)) -> Option<String> {
        let server = Version { major: server.0, minor: server.1 };
        choose(&clients(versions), server).map(|client| client.version.to_string())
    }

    #[test]
    fn the_servers_own_major_is_taken_first() {
        assert_eq!(chosen(&[(18, 4), (16, 9), (15, 18), (15, 20)], (15, 3)).as_deref(), Some("15.20"));
    }

    #[test]
    fn else_the_nearest_newer_one() {
        assert_eq!(chosen(&[(18, 4), (16, 9), (14, 25)], (15, 3)).as_deref(), Some("16.9"));
    }

    #[test]
    fn an_older_one_is_never_taken() {
        assert_eq!(chosen(&[(14, 25)], (15, 3)), None);
    }

    #[test]
    fn the_pins_follow_the_users_own_options_and_win() {
        let mut address = Conninfo::database("app");
        address.set("options", "-c role=app -c TimeZone=Europe/Berlin");

        let keywords = Access::new(address).keywords("test");

        let role = keywords.find("role=app").unwrap();
        let pin = keywords.find("-c TimeZone=UTC").unwrap();
        assert!(role < pin, "{keywords}");
    }

    #[test]
    fn no_password_stands_in_the_connection_string() {
        let access = Access::new(Conninfo::parse("postgresql://u:CANARY@h/db").unwrap());

        assert!(!access.keywords("test").contains("CANARY"));
        assert_eq!(access.password.unwrap().expose(), "CANARY");
    }
}
