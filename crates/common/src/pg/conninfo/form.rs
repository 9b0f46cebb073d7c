//! Tells a URI, keywords and a bare name apart, and addresses of PostgreSQL from others.

use super::keywords::is_blank;
use crate::hint;
use anyhow::{anyhow, bail};

/// What kind of text an address is, with what is left to read of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Form<'t> {
    /// The name of a database and nothing else.
    Name,
    /// `key=value` pairs.
    Keywords(&'t str),
    /// What follows `scheme://`.
    Uri(Scheme, &'t str),
}

/// Whose habits a URI follows beyond libpq's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `postgresql://` and what drivers make of it.
    Postgres,
    /// `jdbc:postgresql://`.
    Jdbc,
}

/// Schemes that mean a PostgreSQL server, as SQLAlchemy, dj-database-url, django-environ and PHP write them.
const POSTGRES: &[&str] =
    &["pg", "pgsql", "postgis", "postgres", "postgresql", "psql", "timescale", "timescaledb", "timescalegis"];

/// Schemes that mean something else for sure, so that a message may name them.
#[rustfmt::skip] // a list to read, not to scroll
const OTHERS: &[&str] = &[
    "cockroach", "cockroachdb", "file", "ftp", "http", "https", "libsql", "mariadb", "memory", "mongodb", "mongodb+srv",
    "mssql", "mysql", "mysql2", "oracle", "prisma", "prisma+postgres", "redis", "rediss", "redshift", "spatialite",
    "sqlite", "sqlite3", "sqlserver",
];

/// Whether a text is an address, so not the bare name of a database.
pub(crate) fn is_address(text: &str) -> bool {
    text.contains('=') || text.contains("://")
}

/// Tells the form of a text; what had to be removed around or inside it is added to `notes`.
///
/// # Errors
///
/// An empty text, and whatever is an address but not one of PostgreSQL.
pub(super) fn of<'t>(text: &'t str, notes: &mut Vec<String>) -> anyhow::Result<Form<'t>> {
    let bare = unwrap(text, notes);
    let before_equals = bare.split('=').next().unwrap_or_default();
    if let Some((scheme, _)) = before_equals.split_once("://") {
        return Ok(Form::Uri(accept(scheme, notes)?, &bare[scheme.len() + 3..]));
    }
    if let Some((scheme, _)) = bare.split_once(':') {
        refuse_without_slashes(scheme)?;
    }
    if bare.contains('=') {
        return Ok(Form::Keywords(bare));
    }
    if text.is_empty() {
        bail!("it is empty");
    }
    refuse_forgotten_scheme(text)?;
    Ok(Form::Name)
}

/// Takes blanks and one pair of quotes from around an address. A bare name may begin and end with them, so it keeps
/// them.
fn unwrap<'t>(text: &'t str, notes: &mut Vec<String>) -> &'t str {
    if !is_address(text) {
        return text;
    }
    let trimmed = text.trim_matches(is_blank);
    let unquoted = ['"', '\''].into_iter().find_map(|quote| trimmed.strip_prefix(quote)?.strip_suffix(quote));
    if let Some(unquoted) = unquoted {
        notes.push(String::from("the address stood in quotes that belong to another syntax"));
        return unquoted.trim_matches(is_blank);
    }
    if trimmed.len() < text.len() {
        notes.push(String::from("the address had blanks around it"));
    }
    trimmed
}

fn accept(written: &str, notes: &mut Vec<String>) -> anyhow::Result<Scheme> {
    let lower = written.to_ascii_lowercase();
    let (scheme, inner) = match lower.strip_prefix("jdbc:") {
        Some(inner) => (Scheme::Jdbc, inner),
        None => (Scheme::Postgres, lower.as_str()),
    };
    let (base, driver) = inner.split_once('+').unwrap_or((inner, ""));
    let is_driver = driver.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    // TablePlus writes postgresql+ssh://: the host in it is not the database's.
    if !POSTGRES.contains(&base) || !is_driver || driver == "ssh" {
        return Err(not_postgres(inner));
    }
    if written != "postgresql" && written != "postgres" {
        notes.push(format!("{lower}:// is taken as postgresql://"));
    }
    Ok(scheme)
}

fn not_postgres(scheme: &str) -> anyhow::Error {
    let error = match OTHERS
        .iter()
        .find(|other| **other == scheme.split('+').next().unwrap_or_default() || **other == scheme)
    {
        Some(other) => anyhow!("it is not PostgreSQL but {other}"),
        None => anyhow!("it is not PostgreSQL: what stands before :// is not known"),
    };
    hint::with(error, "write it as postgresql://user@host:port/dbname")
}

/// `sqlite:app.db`, `jdbc:postgresql:app`, PDO's `pgsql:host=…`: addresses, although not with `://`.
fn refuse_without_slashes(scheme: &str) -> anyhow::Result<()> {
    let scheme = scheme.to_ascii_lowercase();
    if OTHERS.contains(&scheme.as_str()) {
        return Err(not_postgres(&scheme));
    }
    if scheme == "jdbc" || scheme == "r2dbc" || POSTGRES.contains(&scheme.as_str()) {
        return Err(hint::with(
            anyhow!("there is no // after its {scheme}:"),
            "write it as postgresql://user@host:port/dbname",
        ));
    }
    Ok(())
}

/// `user:password@host/app`: as a name it would be sent and shown with its password.
fn refuse_forgotten_scheme(text: &str) -> anyhow::Result<()> {
    let Some((_, after_colon)) = text.split_once(':') else {
        return Ok(());
    };
    if after_colon.split_once('@').is_some_and(|(_, host)| host.contains('/')) {
        return Err(hint::with(
            anyhow!("it looks like an address, but does not begin with postgresql://"),
            "write it as postgresql://user@host:port/dbname",
        ));
    }
    Ok(())
}
