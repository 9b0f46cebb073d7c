//! libpq's connection keywords, and its `key=value key='quoted value'` form.

use super::{Conninfo, dialect};
use crate::hint;
use anyhow::{anyhow, bail};
use std::iter::Peekable;
use std::str::Chars;

/// libpq 18's keywords, each with the environment variable that gives its default ("" where it has none).
///
/// Source: PostgreSQL 18, `PQconninfoOptions` in src/interfaces/libpq/fe-connect.c.
pub(crate) const KEYWORDS: &[(&str, &str)] = &[
    ("application_name", "PGAPPNAME"),
    ("channel_binding", "PGCHANNELBINDING"),
    ("client_encoding", "PGCLIENTENCODING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("dbname", "PGDATABASE"),
    ("fallback_application_name", ""),
    ("gssdelegation", "PGGSSDELEGATION"),
    ("gssencmode", "PGGSSENCMODE"),
    ("gsslib", "PGGSSLIB"),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("keepalives", ""),
    ("keepalives_count", ""),
    ("keepalives_idle", ""),
    ("keepalives_interval", ""),
    ("krbsrvname", "PGKRBSRVNAME"),
    ("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    ("max_protocol_version", "PGMAXPROTOCOLVERSION"),
    ("min_protocol_version", "PGMINPROTOCOLVERSION"),
    ("oauth_client_id", ""),
    ("oauth_client_secret", ""),
    ("oauth_issuer", ""),
    ("oauth_scope", ""),
    ("options", "PGOPTIONS"),
    ("passfile", "PGPASSFILE"),
    ("password", "PGPASSWORD"),
    ("port", "PGPORT"),
    ("replication", ""),
    ("require_auth", "PGREQUIREAUTH"),
    ("requirepeer", "PGREQUIREPEER"),
    ("scram_client_key", ""),
    ("scram_server_key", ""),
    ("service", "PGSERVICE"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("sslcert", "PGSSLCERT"),
    ("sslcertmode", "PGSSLCERTMODE"),
    ("sslcompression", "PGSSLCOMPRESSION"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("sslkey", "PGSSLKEY"),
    ("sslkeylogfile", ""),
    ("sslmode", "PGSSLMODE"),
    ("sslnegotiation", "PGSSLNEGOTIATION"),
    ("sslpassword", ""),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("sslsni", "PGSSLSNI"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("tcp_user_timeout", ""),
    ("user", "PGUSER"),
];

/// Whether libpq 18 has a keyword of this name.
pub(super) fn is_known(name: &str) -> bool {
    KEYWORDS.iter().any(|(keyword, _)| *keyword == name)
}

/// Reads `key=value` pairs into `into`; the last of a keyword wins.
///
/// Blanks may stand around `=`; a value with blanks is quoted by `'`; a backslash takes the next character literally.
/// Source: `conninfo_parse` in fe-connect.c.
///
/// # Errors
///
/// A keyword without `=`, an unterminated quote, and a keyword libpq does not know. What stands after a password
/// may be the rest of it, so from there on keywords are told by number, not by name.
pub(super) fn parse(text: &str, into: &mut Conninfo) -> anyhow::Result<()> {
    let mut chars = text.chars().peekable();
    let mut after_password = false;
    for number in 1.. {
        skip_blanks(&mut chars);
        if chars.peek().is_none() {
            break;
        }
        let Some(name) = keyword(&mut chars) else {
            return Err(hint::with(
                anyhow!("keyword {number} has no \"=\""),
                "write a value that holds blanks as 'a b', and a ' or \\ in it as \\' or \\\\",
            ));
        };
        let value = value(&mut chars).map_err(|error| error.context(format!("keyword {number}")))?;
        if !is_known(&name) && name != "requiressl" {
            let shown = if after_password { None } else { dialect::presentable(&name) };
            return Err(unknown(shown, number, text));
        }
        after_password |= name == "password";
        dialect::store(into, &name, value)?;
    }
    Ok(())
}

fn unknown(name: Option<&str>, number: usize, text: &str) -> anyhow::Error {
    let error = match name {
        Some(name) => anyhow!("keyword {name:?} is not one of libpq's"),
        None => anyhow!("keyword {number} is not one of libpq's"),
    };
    let advice = if text.contains(';') {
        "an ADO.NET or PDO connection string has to be written as postgresql://user@host:port/dbname, with :password behind the user"
    } else {
        "libpq's keywords are host, port, dbname, user, sslmode, …; write a value that holds blanks as 'a b'"
    };
    hint::with(error, advice)
}

fn keyword(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut name = String::new();
    while let Some(c) = chars.next_if(|c| *c != '=' && !is_blank(*c)) {
        name.push(c);
    }
    skip_blanks(chars);
    chars.next_if_eq(&'=').map(|_| name)
}

fn value(chars: &mut Peekable<Chars<'_>>) -> anyhow::Result<String> {
    skip_blanks(chars);
    let mut value = String::new();
    let quoted = chars.next_if_eq(&'\'').is_some();
    loop {
        match chars.next() {
            None if quoted => bail!("a ' has no partner"),
            None => return Ok(value),
            Some('\'') if quoted => return Ok(value),
            Some(c) if !quoted && is_blank(c) => return Ok(value),
            Some('\\') => value.extend(chars.next()),
            Some(c) => value.push(c),
        }
    }
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| is_blank(*c)).is_some() {}
}

/// C's `isspace`: what libpq takes for a blank.
pub(super) fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}
