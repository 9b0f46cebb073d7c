//! A session that loads: statements by the simple query protocol, rows by COPY. The only file that names the driver.

use super::tls;
use anyhow::{Context as _, Result, anyhow, ensure};
use common::hint::{self, Hint as _};
use common::pg::quote;
use common::secret::Secret;
use postgres::config::{ChannelBinding, SslMode};
use postgres::{CancelToken, Client, Config, NoTls};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(15);

/// What every session that loads has: the settings that pg_dump writes at the head of a dump, and those that it leaves
/// to the database although they change what text means.
const SETTINGS: &str = "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; \
    SET check_function_bodies = false; SET xmloption = content; SET client_min_messages = warning; SET row_security = off; \
    SET standard_conforming_strings = on; SET TimeZone = 'UTC'; SET lc_monetary = 'C'; SET DateStyle = 'ISO, MDY'; \
    SET IntervalStyle = 'postgres'; SET synchronous_commit = off; SET default_transaction_read_only = off; \
    SELECT pg_catalog.set_config('search_path', '', false)";

/// Where and as whom a session logs in.
#[derive(Clone, Debug)]
pub struct Login {
    /// A host name, an address, or the directory of a socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password, where one is known.
    pub password: Option<Arc<Secret>>,
    /// The database.
    pub database: String,
    /// Whether the way is encrypted.
    pub way: Way,
}

/// How the bytes of a session travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As they are: a socket, the loopback interface, or a server without TLS.
    Plain,
    /// By TLS, bound to the password.
    Tls,
}

/// What the server said against a statement.
#[derive(Debug)]
pub struct Refusal {
    /// The SQLSTATE.
    pub code: String,
    message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// Settings that stand before the statements they are for.
pub type Context = BTreeMap<String, String>;

/// An open session.
pub struct Connection {
    client: Client,
    context: Context,
    way: Way,
}

/// Ends what a session is doing.
pub struct Cancel(CancelToken, Way);

impl Cancel {
    /// Asks the server to end the statement that runs; whether it did, the session hears.
    pub fn cancel(&self) {
        let done = match self.1 {
            Way::Plain => self.0.cancel_query(NoTls).map_err(refusal),
            Way::Tls => tls::connector().and_then(|connector| self.0.cancel_query(connector).map_err(refusal)),
        };
        if let Err(error) = done {
            common::debug!("cannot cancel: {error:#}");
        }
    }
}

impl Connection {
    /// Logs in.
    ///
    /// # Errors
    ///
    /// "cannot connect to …".
    pub fn open(login: &Login) -> Result<Self> {
        let mut config = Config::new();
        config.user(&login.user).dbname(&login.database).port(login.port);
        config.application_name("pgrestore-safe").connect_timeout(CONNECT);
        if login.host.starts_with('/') {
            config.host_path(&login.host);
        } else {
            config.host(&login.host);
        }
        if let Some(password) = &login.password {
            config.password(password.expose());
        }
        let act = || format!("cannot connect to {} as {:?} for loading", login.shown(), login.user);
        let client = match login.way {
            Way::Plain => config.ssl_mode(SslMode::Disable).connect(NoTls),
            Way::Tls => config
                .ssl_mode(SslMode::Require)
                .channel_binding(ChannelBinding::Require)
                .connect(tls::connector().with_context(act)?),
        };
        let mut client = client.map_err(refusal).with_context(act)?;
        client.batch_execute(SETTINGS).map_err(refusal).with_context(act)?;
        Ok(Self { client, context: Context::new(), way: login.way })
    }

    /// Carries out one statement in the context that it had in the dump.
    ///
    /// # Errors
    ///
    /// What the server says, as a [`Refusal`].
    pub fn run(&mut self, statement: &[u8], encoding: &str, context: &Context) -> Result<()> {
        self.set(context)?;
        let text = self.text(statement, encoding)?;
        self.client.batch_execute(&text).map_err(refusal)
    }

    /// Carries out SQL of ours.
    ///
    /// # Errors
    ///
    /// As [`Connection::run`].
    pub fn execute(&mut self, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).map_err(refusal)
    }

    /// Asks a question of ours that is answered by yes or no.
    ///
    /// # Errors
    ///
    /// As [`Connection::run`].
    pub fn is(&mut self, question: &str) -> Result<bool> {
        self.client.query_one(question, &[]).and_then(|row| row.try_get(0)).map_err(refusal)
    }

    /// Asks a question of ours that is answered by texts.
    ///
    /// # Errors
    ///
    /// As [`Connection::run`].
    pub fn texts(&mut self, question: &str) -> Result<Vec<String>> {
        let rows = self.client.query(question, &[]).map_err(refusal)?;
        rows.iter().map(|row| row.try_get(0).map_err(refusal)).collect()
    }

    /// Fills a table: the COPY as the dump has it, then what `feed` writes; returns the rows that the server took.
    ///
    /// The server must answer the statement by asking for rows, and this by nothing else (THREATS R4).
    ///
    /// # Errors
    ///
    /// As [`Connection::run`], or what `feed` says.
    pub fn copy(
        &mut self,
        head: &[u8],
        encoding: &str,
        feed: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<u64> {
        let head = self.text(head, encoding)?;
        self.copy_by(&head, encoding, feed)
    }

    /// As [`Connection::copy`], into a table that this load has made and nobody has filled yet.
    ///
    /// The rows go into a new file of the table in a transaction of their own. So they are frozen from the start, and no
    /// vacuum writes them a second time; where `wal_level` is minimal they are not logged either. What has rows already,
    /// belongs to an extension or keeps its rows elsewhere is filled as [`Connection::copy`] does it.
    ///
    /// # Errors
    ///
    /// As [`Connection::copy`].
    pub fn copy_fresh(
        &mut self,
        head: &[u8],
        encoding: &str,
        feed: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<u64> {
        let head = self.text(head, encoding)?;
        let table = table_of(&head).context("a COPY without a table")?.to_owned();
        if !self.is(&IS_FRESH.replace("{table}", &quote::literal(&table)?))? {
            return self.copy_by(&head, encoding, feed);
        }
        self.execute(&format!("BEGIN; TRUNCATE TABLE ONLY {table}"))?;
        let copied = self.copy_with(&head, encoding, &["FREEZE"], feed);
        self.execute(if copied.is_ok() { "COMMIT" } else { "ROLLBACK" }).and(copied)
    }

    /// As [`Connection::copy`], with a statement of ours; `encoding` is that of the rows.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn copy_by(
        &mut self,
        head: &str,
        encoding: &str,
        feed: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<u64> {
        self.copy_with(head, encoding, &[], feed)
    }

    fn copy_with(
        &mut self,
        head: &str,
        encoding: &str,
        options: &[&str],
        feed: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()>,
    ) -> Result<u64> {
        let front = head.strip_suffix(';').context("a COPY without its end")?;
        let encoding = Some(encoding).filter(|encoding| *encoding != "UTF8").map(|name| format!("ENCODING '{name}'"));
        let options: Vec<&str> = options.iter().copied().chain(encoding.as_deref()).collect();
        let with = if options.is_empty() { String::new() } else { format!(" WITH ({})", options.join(", ")) };
        let mut writer = self.client.copy_in(&format!("{front}{with}")).map_err(refusal)?;
        let mut is_refused = false;
        let fed =
            feed(&mut |piece| writer.write_all(piece).inspect_err(|_| is_refused = true).context("cannot send rows"));
        if is_refused {
            // The server has stopped listening; why, it says at the end.
            return Err(writer.finish().err().map_or_else(|| anyhow!("cannot send rows"), refusal));
        }
        fed?;
        writer.finish().map_err(refusal)
    }

    /// What cancels the statement that runs here.
    pub fn cancel_token(&self) -> Cancel {
        Cancel(self.client.cancel_token(), self.way)
    }

    fn set(&mut self, context: &Context) -> Result<()> {
        if self.context == *context {
            return Ok(());
        }
        for (name, value) in context.iter().filter(|(name, value)| self.context.get(*name) != Some(*value)) {
            self.client.batch_execute(&format!("SET {name} = {value}")).map_err(refusal)?;
        }
        self.context = context.clone();
        Ok(())
    }

    /// A statement in UTF-8, which is what this session speaks; the server itself converts what is in another encoding.
    fn text(&mut self, bytes: &[u8], encoding: &str) -> Result<String> {
        if bytes.is_ascii() || matches!(encoding, "UTF8" | "SQL_ASCII") {
            let text = std::str::from_utf8(bytes).map(str::to_owned);
            return text.map_err(|_| anyhow!("a name or text in the dump is not UTF-8")).hint(
                "the database has no encoding (SQL_ASCII), and bytes of several in it; restore it by hand with psql",
            );
        }
        ensure!(encoding.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'), "a strange encoding");
        let row = self
            .client
            .query_one("SELECT pg_catalog.convert_from($1, $2::pg_catalog.text::pg_catalog.name)", &[&bytes, &encoding])
            .map_err(refusal)?;
        row.try_get(0).map_err(refusal)
    }
}

impl Login {
    fn shown(&self) -> String {
        format!("database {:?} at {}:{}", self.database, self.host, self.port)
    }

    /// Whether what goes there stays on this machine.
    pub fn is_local(&self) -> bool {
        let is_loopback = self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.host.starts_with('/') || self.host == "localhost" || is_loopback
    }
}

/// Whether a table is one that this session's role has made, and empty.
const IS_FRESH: &str = "SELECT relkind OPERATOR(pg_catalog.=) 'r' AND pg_catalog.pg_relation_size(oid) OPERATOR(pg_catalog.=) 0 \
    AND relowner OPERATOR(pg_catalog.=) (SELECT oid FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER) \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension AS e WHERE c.oid OPERATOR(pg_catalog.=) ANY (e.extconfig)) \
    FROM pg_catalog.pg_class AS c WHERE oid OPERATOR(pg_catalog.=) {table}::pg_catalog.regclass";

/// The name in `COPY public."a b" (c) FROM stdin;`, as it stands there.
fn table_of(head: &str) -> Option<&str> {
    let rest = head.strip_prefix("COPY ")?;
    let mut is_quoted = false;
    let end = rest.find(|c| {
        is_quoted ^= c == '"';
        c == ' ' && !is_quoted
    })?;
    Some(&rest[..end])
}

fn refusal(error: postgres::Error) -> anyhow::Error {
    let Some(said) = error.as_db_error() else {
        return match std::error::Error::source(&error) {
            Some(cause) => anyhow!("{error}: {cause}"),
            None => anyhow!(error),
        };
    };
    let detail = said.detail().map(|detail| format!(" ({})", common::text::line(detail))).unwrap_or_default();
    let message = format!("{}{detail}", common::text::line(said.message()));
    let error = anyhow!(Refusal { code: said.code().code().to_owned(), message });
    match said.hint() {
        Some(advice) => hint::with(error, common::text::line(advice)),
        None => error,
    }
}

/// The SQLSTATE that an error carries.
pub fn code(error: &anyhow::Error) -> Option<&str> {
    hint::find::<Refusal>(error).map(|refusal| refusal.code.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_a_copy_is_read_with_its_quotes() {
        assert_eq!(table_of("COPY public.t (a, b) FROM stdin;"), Some("public.t"));
        assert_eq!(table_of("COPY public.\"a \"\" (b\" (c) FROM stdin;"), Some("public.\"a \"\" (b\""));
        assert_eq!(table_of("COPY public.\"t"), None);
    }
}
