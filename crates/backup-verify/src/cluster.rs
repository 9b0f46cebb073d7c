//! A throw-away cluster: initdb of the backup's own major version, a Unix socket only, gone when it is dropped.
//!
//! ```text
//! programs -> user -> scratch -> initdb -> postmaster, our child -> password -> sessions
//! ```
//!
//! A dump is a program, and what it defines runs as the user of this cluster (THREATS V1). So that is a user of its own,
//! who owns no server, kept apart from the rest of the machine (`cage`); and the postmaster dies with us: the kernel sends
//! it SIGQUIT when we end in whatever way. No process is ever signalled by a number that
//! was read from a file (THREATS V2).

use crate::cage;
use crate::scratch::Scratch;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::backup::manifest::{Locale, Source};
use common::hint::{self, Hint as _};
use common::interrupt;
use common::pg::client::{Access, Client, Clients};
use common::pg::conninfo::Conninfo;
use common::pg::version::Version;
use common::process::{self, Input, Program, Running, Signal, User};
use common::secret::Secret;
use common::units::Stamp;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The superuser of the cluster. No role of a dump is called so, and `postgres` stays free for one that is.
pub const ADMIN: &str = "nightshift_verify_admin";
/// The system user that clusters run as when we are root.
pub const USER: &str = "nightshift-verify";

const INITDB_TIME: Duration = Duration::from_secs(300);
const START_TIME: Duration = Duration::from_secs(120);
const STOP_TIME: Duration = Duration::from_secs(30);
const PORT: &str = "5432";

/// For one load, of data that is elsewhere, too. Shared memory lies in the data directory, so that nothing is left in
/// /dev/shm.
const SETTINGS: [(&str, &str); 23] = [
    ("listen_addresses", ""),
    ("port", PORT),
    ("unix_socket_permissions", "0700"),
    ("dynamic_shared_memory_type", "mmap"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("synchronous_commit", "off"),
    ("wal_level", "minimal"),
    ("max_wal_senders", "0"),
    ("archive_mode", "off"),
    ("max_wal_size", "512MB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    ("shared_buffers", "256MB"),
    ("maintenance_work_mem", "256MB"),
    ("jit", "off"),
    ("max_connections", "100"),
    ("max_locks_per_transaction", "1024"),
    ("max_logical_replication_workers", "0"),
    ("password_encryption", "scram-sha-256"),
    ("logging_collector", "off"),
    ("log_destination", "stderr"),
    ("timezone", "UTC"),
];

/// A running cluster.
#[derive(Debug)]
pub struct Cluster {
    // Declared first, dropped first: the server must be gone before its directory.
    postmaster: Postmaster,
    /// Where it lives.
    pub scratch: Scratch,
    /// Who it runs as, when that is not us.
    pub user: Option<User>,
    /// Its version.
    pub version: Version,
    password: Secret,
}

/// What it takes to make one.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// The server that the backup came from.
    pub source: &'a Source,
    /// The directory for clusters.
    pub work: &'a Path,
    /// `--run-as`.
    pub run_as: Option<&'a str>,
}

#[derive(Debug)]
struct Postmaster(Option<Running>);

impl Drop for Postmaster {
    fn drop(&mut self) {
        let Some(running) = self.0.take() else { return };
        // Immediate: nobody will ever read what it has not written yet.
        running.signal(Signal::QUIT);
        if let Err(error) = running.finish(Some(STOP_TIME)) {
            common::debug!("{error:#}");
        }
    }
}

impl Cluster {
    /// Makes a cluster and starts it.
    ///
    /// # Errors
    ///
    /// What is missing on this machine, with what to install or to make.
    pub fn start(wanted: &Wanted<'_>, clients: &Clients, now: Stamp) -> Result<Self> {
        let initdb = initdb(clients, Version::from_number(wanted.source.version_num))?;
        let user = user(wanted.run_as, wanted.work)?;
        let scratch = Scratch::make(wanted.work, user.as_ref(), wanted.source.size_bytes, now)?;
        let password = Secret::from(random()?);
        initialise(&initdb, wanted.source, &scratch, user.as_ref(), &password)?;
        interrupt::check()?;
        let postmaster = launch(&initdb, &scratch, user.as_ref())?;
        Ok(Self { postmaster, scratch, user, version: initdb.version, password })
    }

    /// How a database of it is reached, as its superuser.
    pub fn access(&self, database: &str) -> Access {
        self.access_as(ADMIN, Secret::from(self.password.expose().to_owned()), database)
    }

    /// How a database of it is reached, as another role.
    pub fn access_as(&self, role: &str, password: Secret, database: &str) -> Access {
        let mut address = Conninfo::database(database);
        address.set("host", self.scratch.socket().to_string_lossy());
        address.set("port", PORT);
        address.set("user", role);
        address.set_password(password);
        Access::new(address)
    }

    /// Client programs, as the user that the cluster runs as.
    pub fn clients(&self, bin: Option<PathBuf>) -> Clients {
        Clients::new(Vec::new(), bin, self.user.clone())
    }

    /// Whether the server still runs: a hostile or huge dump may have brought it down.
    pub fn is_running(&mut self) -> bool {
        self.postmaster.0.as_mut().is_some_and(|running| running.is_running().unwrap_or(false))
    }
}

/// A random password of 48 hexadecimal digits.
///
/// # Errors
///
/// "cannot read …".
pub fn random() -> Result<String> {
    let mut bytes = [0; 24];
    let path = "/dev/urandom";
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot open {path:?}"))?;
    file.read_exact(&mut bytes).with_context(|| format!("cannot read {path:?}"))?;
    Ok(common::backup::hex(&bytes))
}

/// The initdb of the server's major version, else of the nearest newer one.
fn initdb(clients: &Clients, server: Version) -> Result<Client> {
    let advice = || format!("install postgresql-{}, or name the directory of its programs with --pg-bin", server.major);
    let found = clients.all("initdb").map_err(|_| hint::with(anyhow!("cannot find the program initdb"), advice()))?;
    let client = clients.for_server("initdb", server).map_err(|_| {
        let newest = found.first().map(|client| client.version.to_string()).unwrap_or_default();
        hint::with(anyhow!("initdb {newest} is older than the server of the backup ({server})"), advice())
    })?;
    ensure!(
        client.path.with_file_name("postgres").is_file(),
        "cannot find the program postgres beside {:?}",
        client.path
    );
    Ok(client)
}

/// Who the cluster runs as: as root a user of its own; else whoever we are.
fn user(run_as: Option<&str>, work: &Path) -> Result<Option<User>> {
    if !process::is_root() {
        if let Some(name) = run_as {
            let user = User::named(name)?;
            ensure!(user.uid == rustix::process::geteuid().as_raw(), "only root can run programs as user {name:?}");
        }
        if owns_a_server(rustix::process::geteuid().as_raw(), work) {
            common::info!("this user also owns a running server; what a dump defines runs with the same rights");
        }
        return Ok(None);
    }
    let name = run_as.unwrap_or(USER);
    let advice = format!("run: useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}");
    let user = User::named(name).hint(advice)?;
    let advice =
        "a throw-away server runs what the dump defines: name a user of its own, or none for nightshift-verify";
    if user.uid == 0 {
        return Err(anyhow!("a throw-away server cannot run as root")).hint(advice);
    }
    if name != USER && owns_a_server(user.uid, work) {
        return Err(anyhow!("user {name} owns a running PostgreSQL server")).hint(advice);
    }
    Ok(Some(user))
}

/// Whether a postmaster of that user runs, other than throw-away ones in the same place.
fn owns_a_server(uid: u32, work: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let work = std::fs::canonicalize(work).unwrap_or_else(|_| work.to_owned());
    let is_server = |process: &Path| {
        let is_postgres = std::fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == "postgres");
        let is_theirs = is_postgres && std::fs::metadata(process).is_ok_and(|stat| stat.uid() == uid);
        is_theirs && !std::fs::read_link(process.join("cwd")).is_ok_and(|data| data.starts_with(&work))
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.map(|process| process.path()).any(|process| is_server(&process))
}

fn initialise(
    initdb: &Client,
    source: &Source,
    scratch: &Scratch,
    user: Option<&User>,
    password: &Secret,
) -> Result<()> {
    let file = scratch.secret("password", &format!("{}\n", password.expose()), user)?;
    let mut program = Program::new(&initdb.path)
        .env("LC_ALL", "C")
        .arg(format!("--pgdata={}", scratch.data().display()))
        .arg(format!("--username={ADMIN}"))
        .arg(format!("--pwfile={}", file.display()))
        .args(["--auth=scram-sha-256", "--no-sync", "--no-instructions", "--text-search-config=simple"])
        .arg(format!("--encoding={}", source.encoding))
        .args(locale_options(source));
    if let Some(user) = user {
        program = program.run_as(user);
    }
    let made = program.output(INITDB_TIME, 1 << 20);
    std::fs::remove_file(&file).with_context(|| format!("cannot remove {file:?}"))?;
    made.map(|_| ()).map_err(|error| {
        let said = format!("{error:#}");
        let error = error.context("cannot make a throw-away cluster");
        match said.contains("locale") {
            true => hint::with(error, "install the locale of the database: locale-gen, or the package locales-all"),
            false => error,
        }
    })
}

/// The locale of the database, which decides about sorting; where an old manifest does not say it, one that knows letters
/// and sorts by code point.
fn locale_options(source: &Source) -> Vec<String> {
    let Some(Locale { provider, collate, ctype, name }) = &source.locale else {
        let locale = if source.encoding == "UTF8" { "C.UTF-8" } else { "C" };
        return vec![format!("--locale={locale}")];
    };
    let mut options = vec![format!("--lc-collate={collate}"), format!("--lc-ctype={ctype}")];
    match (provider.as_str(), name) {
        ("icu", Some(name)) => options.extend(["--locale-provider=icu".to_owned(), format!("--icu-locale={name}")]),
        ("builtin", Some(name)) => {
            options.extend(["--locale-provider=builtin".to_owned(), format!("--builtin-locale={name}")]);
        }
        _ => {}
    }
    options
}

fn launch(initdb: &Client, scratch: &Scratch, user: Option<&User>) -> Result<Postmaster> {
    let postgres = initdb.path.with_file_name("postgres");
    let mut program = cage::around(user, &scratch.data())?
        .arg(postgres)
        .arg("-D")
        .arg(scratch.data())
        .arg(format!("--unix_socket_directories={}", scratch.socket().display()))
        .args(SETTINGS.map(|(name, value)| format!("--{name}={value}")))
        .current_dir(Path::new("/"))
        .env("LC_ALL", "C")
        .env("TZ", "UTC");
    if let Some(user) = user {
        program = program.env("HOME", "/").env("USER", &user.name).env("LOGNAME", &user.name);
    }
    let mut running = program.start(Input::None).context("cannot start a throw-away server")?;
    let began = Instant::now();
    while !is_ready(&scratch.data()) {
        interrupt::check()?;
        if !running.is_running()? {
            running.finish(Some(STOP_TIME))?.success().context("cannot start a throw-away server")?;
            bail!("cannot start a throw-away server: it ended");
        }
        ensure!(began.elapsed() < START_TIME, "the throw-away server is not ready after {START_TIME:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(Postmaster(Some(running)))
}

/// Whether the server says that it takes connections: line 8 of its pid file, as pg_ctl reads it.
fn is_ready(data: &Path) -> bool {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    text.lines().nth(7).is_some_and(|state| state.trim() == "ready")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(locale: Option<Locale>) -> Source {
        Source {
            system_identifier: "1".into(),
            version: "15.20".into(),
            version_num: 150_020,
            address: String::new(),
            database_oid: 1,
            encoding: "UTF8".into(),
            locale,
            size_bytes: 1,
            in_recovery: false,
        }
    }

    #[test]
    fn a_cluster_sorts_as_the_database_did() {
        let locale = |provider: &str, name: Option<&str>| {
            let name = name.map(str::to_owned);
            let (collate, ctype) = ("de_DE.UTF-8".into(), "C".into());
            locale_options(&source(Some(Locale { provider: provider.into(), collate, ctype, name })))
        };

        assert_eq!(locale("libc", None), ["--lc-collate=de_DE.UTF-8", "--lc-ctype=C"]);
        assert_eq!(locale("icu", Some("de-DE"))[2..], ["--locale-provider=icu", "--icu-locale=de-DE"]);
        assert_eq!(locale("builtin", Some("C.UTF-8"))[2..], ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
        assert_eq!(locale_options(&source(None)), ["--locale=C.UTF-8"]);
    }

    #[test]
    fn a_server_that_listens_on_the_network_or_archives_is_none_for_a_hostile_dump() {
        for (name, value) in [("listen_addresses", ""), ("archive_mode", "off"), ("max_wal_senders", "0")] {
            assert!(SETTINGS.contains(&(name, value)), "{name}");
        }
    }
}
