//! Where to connect and as whom, made out of the keywords in force: what libpq does before it opens a socket.

use super::settings::Settings;
use anyhow::{Result, anyhow, bail, ensure};
use common::hint::Hint as _;
use common::pg::passfile;
use common::secret::Secret;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where packages put the socket: Debian and Red Hat, built from source.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
/// The most hosts of one address.
const HOSTS: usize = 32;

/// One server that an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name, its address, or the directory of its socket.
    pub host: Host,
    /// Its port.
    pub port: u16,
}

/// How a server is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// The directory of a Unix socket.
    Socket(PathBuf),
    /// A name or an address; with `hostaddr` the address is given, and the name is for certificates and passwords.
    Tcp(String, Option<IpAddr>),
}

impl Endpoint {
    /// For messages.
    pub fn shown(&self) -> String {
        match &self.host {
            Host::Socket(dir) => format!("{}:{}", common::text::line(&dir.to_string_lossy()), self.port),
            Host::Tcp(name, _) if name.contains(':') => format!("[{name}]:{}", self.port),
            Host::Tcp(name, _) => format!("{}:{}", common::text::line(name), self.port),
        }
    }

    /// What a password file calls it.
    fn name(&self) -> String {
        match &self.host {
            Host::Socket(dir) if SOCKETS.iter().any(|socket| dir.as_os_str() == *socket) => "localhost".to_owned(),
            Host::Socket(dir) => dir.to_string_lossy().into_owned(),
            Host::Tcp(name, _) => name.clone(),
        }
    }
}

/// How strictly the way is protected. Source: PostgreSQL documentation, "SSL Support", table of modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Whether the password has to be bound to the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    Disable,
    Prefer,
    Require,
}

/// Which of several servers will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// All that is needed to log in.
#[derive(Debug)]
pub struct Login {
    pub endpoints: Vec<Endpoint>,
    pub user: String,
    pub database: String,
    pub sslmode: SslMode,
    pub binding: Binding,
    pub wanted: Wanted,
    /// TLS without asking for it first (`sslnegotiation=direct`).
    pub is_direct: bool,
    /// Who must own the server's process, on a socket.
    pub peer: Option<String>,
    pub application: String,
    /// Settings that the address itself asks for.
    pub options: Option<String>,
    /// For each server.
    pub patience: Option<Duration>,
    password: Option<Arc<Secret>>,
    passfile: Option<PathBuf>,
}

impl Login {
    /// Makes sense of the keywords.
    ///
    /// # Errors
    ///
    /// A value that libpq refuses, hosts and ports that do not fit each other.
    pub fn new(settings: &Settings) -> Result<Self> {
        settings.refuse_unknown()?;
        let user = settings.get("user").unwrap_or(&settings.default_user).to_owned();
        let system_roots = settings.get("sslrootcert") == Some("system");
        let sslmode = match settings.get("sslmode") {
            Some(mode) => sslmode(mode)?,
            None if system_roots => SslMode::VerifyFull,
            None => SslMode::Prefer,
        };
        ensure!(
            !system_roots || sslmode == SslMode::VerifyFull,
            "sslrootcert=system needs sslmode=verify-full, which a weaker one stands beside"
        );
        let is_direct = one_of(settings, "sslnegotiation", false, &[("postgres", false), ("direct", true)])?;
        if is_direct && matches!(sslmode, SslMode::Disable | SslMode::Allow | SslMode::Prefer) {
            return Err(anyhow!("sslnegotiation=direct needs TLS, which this sslmode can do without"))
                .hint("add sslmode=require, verify-ca or verify-full");
        }
        Ok(Self {
            endpoints: endpoints(settings)?,
            database: settings.get("dbname").unwrap_or(&user).to_owned(),
            sslmode,
            binding: one_of(
                settings,
                "channel_binding",
                Binding::Prefer,
                &[("disable", Binding::Disable), ("prefer", Binding::Prefer), ("require", Binding::Require)],
            )?,
            wanted: one_of(
                settings,
                "target_session_attrs",
                Wanted::Any,
                &[
                    ("any", Wanted::Any),
                    ("read-write", Wanted::ReadWrite),
                    ("read-only", Wanted::ReadOnly),
                    ("primary", Wanted::Primary),
                    ("standby", Wanted::Standby),
                    ("prefer-standby", Wanted::PreferStandby),
                ],
            )?,
            is_direct,
            peer: settings.get("requirepeer").map(str::to_owned),
            application: settings.get("application_name").unwrap_or("healthprobe").to_owned(),
            options: settings.get("options").map(str::to_owned),
            patience: patience(settings.get("connect_timeout"))?,
            password: settings.password.clone(),
            passfile: settings.passfile.clone(),
            user,
        })
    }

    /// The password for one of its servers.
    ///
    /// # Errors
    ///
    /// A password file that cannot be read.
    pub fn password(&self, endpoint: &Endpoint) -> Result<Option<Arc<Secret>>> {
        match (&self.password, &self.passfile) {
            (Some(password), _) => Ok(Some(Arc::clone(password))),
            (None, None) => Ok(None),
            (None, Some(path)) => {
                let wanted = [&endpoint.name(), &endpoint.port.to_string(), &self.database, &self.user];
                Ok(passfile::password_in(path, wanted.map(String::as_str))?.map(Arc::new))
            }
        }
    }
}

impl Login {
    /// What to do where a server asks for a password and there is none.
    pub fn advice_on_password(&self) -> String {
        match &self.passfile {
            Some(path) => format!(
                "put the password into {path:?} (mode 0600) or PGPASSWORD, or name the application's own file: env-file=.env"
            ),
            None => {
                "another user can write the file that names this server, so only a password in it is sent; put it there"
                    .to_owned()
            }
        }
    }
}

fn one_of<T: Copy>(settings: &Settings, key: &str, default: T, words: &[(&str, T)]) -> Result<T> {
    let Some(given) = settings.get(key) else { return Ok(default) };
    let found = words.iter().find(|(word, _)| *word == given).map(|(_, value)| *value);
    let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    found.ok_or_else(|| anyhow!("{key} is not one of libpq's")).hint(format!("write one of: {}", known.join(" ")))
}

fn sslmode(mode: &str) -> Result<SslMode> {
    Ok(match mode {
        "disable" => SslMode::Disable,
        "allow" => SslMode::Allow,
        "prefer" => SslMode::Prefer,
        "require" => SslMode::Require,
        "verify-ca" => SslMode::VerifyCa,
        "verify-full" => SslMode::VerifyFull,
        _ => bail!("sslmode is not one of libpq's"),
    })
}

/// libpq takes whole seconds, 0 for no limit, and 2 for 1.
fn patience(seconds: Option<&str>) -> Result<Option<Duration>> {
    let Some(text) = seconds else { return Ok(None) };
    let seconds: i64 = text.trim().parse().map_err(|_| anyhow!("connect_timeout is no number of seconds"))?;
    Ok(u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(|seconds| Duration::from_secs(seconds.max(2))))
}

/// The servers: `host` and `hostaddr` side by side, one port for all or one for each.
fn endpoints(settings: &Settings) -> Result<Vec<Endpoint>> {
    let list = |key| settings.get(key).map(|text| text.split(',').collect::<Vec<_>>());
    let (hosts, addresses, ports) = (list("host"), list("hostaddr"), list("port").unwrap_or_else(|| vec![""]));
    let count = addresses.as_ref().or(hosts.as_ref()).map_or(1, Vec::len);
    ensure!(count <= HOSTS, "the address names more than {HOSTS} hosts");
    if hosts.as_ref().is_some_and(|hosts| hosts.len() != count) {
        bail!("host and hostaddr name different numbers of servers");
    }
    ensure!(ports.len() == 1 || ports.len() == count, "host and port name different numbers of servers");
    let nth =
        |list: &Option<Vec<&str>>, n: usize| list.as_ref().map_or(String::new(), |list| list[n].trim().to_owned());
    (0..count)
        .map(|n| {
            let text = ports[if ports.len() == 1 { 0 } else { n }].trim();
            let port =
                if text.is_empty() { 5432 } else { text.parse().map_err(|_| anyhow!("the port is no number"))? };
            Ok(Endpoint { host: host(&nth(&hosts, n), &nth(&addresses, n), port)?, port })
        })
        .collect()
}

fn host(name: &str, address: &str, port: u16) -> Result<Host> {
    if !address.is_empty() {
        let ip = address.parse().map_err(|_| anyhow!("hostaddr is no address"))?;
        let name = if name.is_empty() { address } else { name };
        return Ok(Host::Tcp(name.to_owned(), Some(ip)));
    }
    if name.is_empty() {
        let file = format!(".s.PGSQL.{port}");
        let is_there = |dir: &&str| PathBuf::from(dir).join(&file).exists();
        return Ok(Host::Socket(SOCKETS.iter().copied().find(is_there).unwrap_or(SOCKETS[0]).into()));
    }
    if name.starts_with(['/', '@']) {
        return Ok(Host::Socket(name.into()));
    }
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    ensure!(!name.contains(|c: char| c.is_whitespace() || c.is_control()), "the host name holds blanks");
    Ok(Host::Tcp(name.to_owned(), None))
}

#[cfg(test)]
mod tests {
    use super::super::settings::Surroundings;
    use super::*;
    use common::pg::client::Access;
    use common::pg::conninfo::Conninfo;

    fn login(text: &str) -> Result<Login> {
        let access = Access::new(Conninfo::parse(text).unwrap());
        Login::new(&Settings::new(&access, &Surroundings { user: "me".to_owned(), ..Surroundings::default() })?)
    }

    fn shown(text: &str) -> Vec<String> {
        login(text).unwrap().endpoints.iter().map(Endpoint::shown).collect()
    }

    #[test]
    fn several_hosts_have_one_port_or_one_each() {
        assert_eq!(shown("postgresql://a,b:5433,[::1]:5434/app"), ["a:5432", "b:5433", "[::1]:5434"]);
        assert_eq!(shown("host=a,/run/x port=7"), ["a:7", "/run/x:7"]);
        assert_eq!(shown("host=db.test hostaddr=127.0.0.1"), ["db.test:5432"]);
        for text in ["host=a,b port=1,2,3", "host=a,b hostaddr=127.0.0.1", "hostaddr=x"] {
            assert!(login(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_role_is_who_we_are_and_the_database_is_the_role() {
        let names = |text: &str| login(text).map(|login| (login.user, login.database)).unwrap();

        assert_eq!(names("host=h"), ("me".into(), "me".into()));
        assert_eq!(names("host=h user=app"), ("app".into(), "app".into()));
        assert_eq!(names("host=h user=app dbname=web"), ("app".into(), "web".into()));
    }

    #[test]
    fn words_that_libpq_does_not_know_are_refused() {
        assert_eq!(login("host=h target_session_attrs=standby").unwrap().wanted, Wanted::Standby);
        assert_eq!(login("host=h sslrootcert=system").unwrap().sslmode, SslMode::VerifyFull);
        assert!(login("host=h sslnegotiation=direct sslmode=require").unwrap().is_direct);
        for text in [
            "target_session_attrs=x",
            "channel_binding=x",
            "connect_timeout=x",
            "sslmode=require sslrootcert=system",
            "sslnegotiation=direct",
            "sslnegotiation=direct sslmode=prefer",
        ] {
            assert!(login(&format!("host=h {text}")).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_limit_below_two_seconds_is_two() {
        let patience = |text: &str| login(&format!("host=h connect_timeout={text}")).unwrap().patience;

        assert_eq!(patience("1"), Some(Duration::from_secs(2)));
        assert_eq!([patience("0"), patience("-1")], [None, None]);
    }
}
