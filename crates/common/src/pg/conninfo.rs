//! Where a PostgreSQL database is: libpq's keywords, read from what people and frameworks write down.
//!
//! ```text
//! operand, DATABASE_URL -> Form -> uri | keywords | name -> dialect -> Conninfo -> keywords for libpq
//! ```
//!
//! A name is never taken apart and an address never taken for a name: to libpq `postgresql+asyncpg://u:p@h/db` is
//! the name of a database on the local server (measured, tests/fixtures/pg-uri-vectors.tsv). No message repeats the
//! text given, because it may hold a password. Defaults (`PG*`, pgpass, service files) stay libpq's own work.

mod dialect;
mod form;
mod keywords;
#[cfg(test)]
mod tests;
mod uri;

use crate::hint;
use crate::secret::Secret;
use anyhow::{Context as _, anyhow, bail};
pub(crate) use form::is_address;
use form::{Form, Scheme};
pub(crate) use keywords::KEYWORDS;
use std::collections::BTreeMap;
use std::fmt;

/// libpq's connection keywords, with the password apart.
#[derive(Default)]
pub struct Conninfo {
    values: BTreeMap<String, String>,
    password: Option<Secret>,
    notes: Vec<String>,
}

/// What a file that is not ours may say about a connection (THREATS G10).
const FOREIGN_MAY_SET: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "user",
];

/// What is not taken from such a file and not missed either: none of it decides whom we talk to.
const FOREIGN_IS_IGNORED: &[&str] = &[
    "client_encoding",
    "fallback_application_name",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "options",
    "tcp_user_timeout",
];

impl Conninfo {
    /// Reads an operand or the value of a `DATABASE_URL`: a URI, `key=value` keywords, or the bare name of a
    /// database.
    ///
    /// URIs are read by libpq's grammar, in the dialects of SQLAlchemy, Prisma, Rails, Django, Go, Node and JDBC;
    /// what was changed on the way is in [`notes`](Self::notes). A text with `://` or `=` is never a bare name.
    ///
    /// # Errors
    ///
    /// What libpq refuses, addresses of other databases, parameters nobody knows, and passwords that were not
    /// percent-encoded. Messages name the part, never its text.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut info = Self::default();
        if text.contains('\0') {
            bail!("the database address holds a NUL byte");
        }
        info.read(text).context("cannot read the database address")?;
        Ok(info)
    }

    /// A database by its name alone, whatever it looks like: `host=evil` is a legal name (THREATS B1).
    #[must_use]
    pub fn database(name: &str) -> Self {
        let mut info = Self::default();
        info.set("dbname", name);
        info
    }

    /// Nothing said: libpq takes it all from the environment.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// The same address without the password.
    #[must_use]
    pub fn without_password(&self) -> Self {
        Self { values: self.values.clone(), password: None, notes: self.notes.clone() }
    }

    fn read(&mut self, text: &str) -> anyhow::Result<()> {
        match form::of(text, &mut self.notes)? {
            Form::Name => self.set("dbname", text),
            Form::Keywords(text) => keywords::parse(text, self)?,
            Form::Uri(scheme, text) => self.read_uri(scheme, text)?,
        }
        Ok(())
    }

    fn read_uri(&mut self, scheme: Scheme, text: &str) -> anyhow::Result<()> {
        let parts = uri::parse(text)?;
        let has = |name: &str| parts.iter().any(|part| part.name == name);
        let ssl_verifies = scheme == Scheme::Jdbc && !has("sslmode") && !has("sslfactory");
        for part in parts {
            if part.has_blanks {
                self.note(format!("{} holds blanks, which must be written %20", part.shown));
            }
            if !part.in_query {
                dialect::store(self, &part.name, part.value)?;
            } else if ssl_verifies && part.name == "ssl" && matches!(part.value.as_str(), "" | "true") {
                // pgJDBC checks the certificate where libpq's ssl=true only encrypts.
                dialect::parameter(self, "ssl", String::from("verify-full"), &part.shown)?;
            } else {
                dialect::parameter(self, &part.name, part.value, &part.shown)?;
            }
        }
        Ok(())
    }

    /// The value of a keyword. The password is not among them.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Sets a keyword; `password` goes where [`password`](Self::password) finds it.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        if key == "password" {
            self.set_password(Secret::from(value.into()));
        } else {
            self.values.insert(key.to_owned(), value.into());
        }
    }

    /// Sets a keyword from text of others: with the checks and names for `sslmode` that a URI would get.
    pub(crate) fn set_checked(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        dialect::store(self, key, value.to_owned())
    }

    /// Sets a keyword that somebody else wrote, by its name in libpq, with the checks that an address gets.
    ///
    /// # Errors
    ///
    /// A keyword that libpq does not know, a port or an `sslmode` that it refuses. No message repeats the value.
    pub fn set_keyword(&mut self, key: &str, value: &str) -> anyhow::Result<()> {
        if !keywords::is_known(key) && key != "requiressl" {
            let name = dialect::presentable(key).map_or_else(String::new, |key| format!("{key:?} "));
            bail!("keyword {name}is not one of libpq's");
        }
        self.set_checked(key, value)
    }

    /// All keywords that are set, but the password.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Takes a keyword out and returns what it was set to.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.values.remove(key)
    }

    /// The password, if the address holds one.
    #[must_use]
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// Takes the password out, to be handed to a client program by other means than its arguments.
    pub fn take_password(&mut self) -> Option<Secret> {
        self.password.take()
    }

    /// Sets the password.
    pub fn set_password(&mut self, password: Secret) {
        self.password = Some(password);
    }

    /// The keywords as one libpq connection string, without the password: fit for an argument or a journal of ours.
    ///
    /// Every value is quoted, so that nothing in it is read as another keyword (THREATS B1).
    #[must_use]
    pub fn to_keywords(&self) -> String {
        let quoted = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
        let words: Vec<_> = self.values.iter().map(|(key, value)| format!("{key}='{}'", quoted(value))).collect();
        words.join(" ")
    }

    /// What was changed or left out while reading, one sentence each, never with a value.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The database for a message: `app at db.example.com:5432`; never a user, an option or a secret.
    #[must_use]
    pub fn display(&self) -> String {
        let given = |key| self.get(key).filter(|value| !value.is_empty());
        let name = given("dbname").map_or_else(|| String::from("the default database"), crate::text::line);
        let host = given("host").or_else(|| given("hostaddr")).map(crate::text::line);
        let port = given("port").map(|port| format!(":{}", crate::text::line(port))).unwrap_or_default();
        match (host, given("service")) {
            (Some(host), _) if host.contains(':') && !host.contains(',') => format!("{name} at [{host}]{port}"),
            (Some(host), _) => format!("{name} at {host}{port}"),
            (None, Some(service)) => format!("{name} at service {}", crate::text::line(service)),
            (None, None) if port.is_empty() => format!("{name} at the default server"),
            (None, None) => format!("{name} at the default server{port}"),
        }
    }

    /// Whether every host is a socket or the loopback interface, as far as this address says.
    ///
    /// Without a host it is the default socket: `PGHOST` in the environment, which libpq would ask, is the caller's
    /// to look at. With a service file it cannot be known, and is `false`.
    #[must_use]
    pub fn is_local(&self) -> bool {
        // Where both are given, libpq connects to hostaddr and uses host for its name only.
        let hosts = self.get("hostaddr").filter(|list| !list.is_empty()).or_else(|| self.get("host"));
        !self.values.contains_key("service") && hosts.unwrap_or_default().split(',').all(is_local_host)
    }

    /// Keeps only what a file that is not ours may say.
    ///
    /// Such a file chooses the server, so it must not also choose a key, a password file or a log of ours (THREATS
    /// G10). `options` and what only tunes the connection is dropped with a note.
    ///
    /// # Errors
    ///
    /// Names the first keyword that is refused.
    pub fn restrict_to_foreign(&mut self) -> anyhow::Result<()> {
        for key in FOREIGN_IS_IGNORED {
            if self.remove(key).is_some() {
                self.note(format!("{key} is left out: another user can write the file"));
            }
        }
        match self.values.keys().find(|key| !FOREIGN_MAY_SET.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(hint::with(
                anyhow!("{key} is not accepted from a file that another user can write"),
                "name the database in an option or a file of your own",
            )),
        }
    }
}

/// libpq's keywords that an environment variable gives a default, and that variable.
pub fn keywords() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYWORDS.iter().copied().filter(|(_, variable)| !variable.is_empty())
}

impl fmt::Debug for Conninfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conninfo({})", self.display())
    }
}

fn is_local_host(host: &str) -> bool {
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    host.is_empty() || host.starts_with(['/', '@']) || host.eq_ignore_ascii_case("localhost") || is_loopback
}
