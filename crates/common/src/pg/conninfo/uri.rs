//! The grammar of `postgresql://user:password@host:port,host2:port2/dbname?keyword=value`, as libpq reads it.
//!
//! Not RFC 3986: libpq takes `#` and `?` in a password, several hosts, empty parts, and decodes `%2F` in a host,
//! which is how a socket directory is written. Source: `conninfo_uri_parse_options` in fe-connect.c. Three texts
//! that libpq takes are refused, because they are a password that was not encoded and would otherwise be shown as a
//! host or a database: a host with `@`, a port that is no number, a database with a bare `@`.

use super::dialect::presentable;
use super::keywords::is_blank;
use crate::hint;
use anyhow::{Context as _, anyhow, bail};

/// A part of a URI, decoded.
pub(super) struct Part {
    /// The keyword or query parameter.
    pub(super) name: String,
    /// What it is set to.
    pub(super) value: String,
    /// How a message may call it: by name, or by its number where the name may be the rest of a password.
    pub(super) shown: String,
    /// Whether it stood behind the `?`, where frameworks add their own.
    pub(super) in_query: bool,
    /// Whether it held blanks, which libpq takes up to version 17 and refuses since.
    pub(super) has_blanks: bool,
}

/// Splits what follows `postgresql://` into its parts, in order; the last of a name wins.
///
/// # Errors
///
/// What libpq refuses, and the three look-alikes above. No error repeats any of the text.
pub(super) fn parse(text: &str) -> anyhow::Result<Vec<Part>> {
    let mut parts = Vec::new();
    let rest = user(text, &mut parts)?;
    let (end, rest) = hosts(rest, &mut parts)?;
    let (path, query) = match end {
        Some('/') => rest.split_once('?').unwrap_or((rest, "")),
        _ => ("", rest),
    };
    if path.contains('@') {
        return Err(hint::with(
            anyhow!("the database name holds an @"),
            "a / in the password must be written %2F; an @ in the database name must be written %40",
        ));
    }
    push(&mut parts, "dbname", path)?;
    parameters(query, &mut parts)?;
    Ok(parts)
}

fn user<'t>(text: &'t str, parts: &mut Vec<Part>) -> anyhow::Result<&'t str> {
    let Some(at) = text.find(['@', '/']).filter(|at| text[*at..].starts_with('@')) else {
        return Ok(text);
    };
    let (user, password) = text[..at].split_once(':').unwrap_or((&text[..at], ""));
    push(parts, "user", user)?;
    push(parts, "password", password)?;
    Ok(&text[at + 1..])
}

/// Reads all `host:port` and returns the character that ended them with what follows it.
fn hosts<'t>(mut text: &'t str, parts: &mut Vec<Part>) -> anyhow::Result<(Option<char>, &'t str)> {
    let (mut hosts, mut ports) = (String::new(), String::new());
    let end = loop {
        let (host, mut end, rest) = host(text)?;
        text = rest;
        hosts.push_str(host);
        if end == Some(':') {
            let port;
            (port, end, text) = until(text, &['/', '?', ',']);
            ports.push_str(port);
        }
        if end != Some(',') {
            break end;
        }
        hosts.push(',');
        ports.push(',');
    };
    if hosts.contains('@') {
        return Err(hint::with(
            anyhow!("the password holds an @ that must be written %40"),
            "in a URI, write @ as %40, / as %2F, : as %3A and % as %25 inside the user name and the password",
        ));
    }
    push(parts, "host", &hosts)?;
    push(parts, "port", &ports)?;
    Ok((end, text))
}

fn host(text: &str) -> anyhow::Result<(&str, Option<char>, &str)> {
    let Some(rest) = text.strip_prefix('[') else {
        return Ok(until(text, &[':', '/', '?', ',']));
    };
    let (address, rest) = rest.split_once(']').context("the host has a [ without ]")?;
    if address.is_empty() {
        bail!("the host is an empty []");
    }
    let (junk, end, rest) = until(rest, &[':', '/', '?', ',']);
    if !junk.is_empty() {
        bail!("the host goes on after its ]");
    }
    Ok((address, end, rest))
}

fn until<'t>(text: &'t str, ends: &[char]) -> (&'t str, Option<char>, &'t str) {
    match text.find(ends) {
        // All of these are one byte long.
        Some(at) => (&text[..at], text[at..].chars().next(), &text[at + 1..]),
        None => (text, None, ""),
    }
}

fn parameters(query: &str, parts: &mut Vec<Part>) -> anyhow::Result<()> {
    if query.is_empty() {
        return Ok(());
    }
    // For libpq `a=1&` is one parameter, but `&a=1` is two.
    let query = query.strip_suffix('&').unwrap_or(query);
    let mut may_show = !query.contains('@');
    for (number, pair) in (1..).zip(query.split('&')) {
        let part = format!("parameter {number}");
        let (name, value) = pair.split_once('=').ok_or_else(|| {
            hint::with(anyhow!("{part} has no \"=\""), "an & or ? in a password must be written %26 or %3F")
        })?;
        if value.contains('=') {
            return Err(hint::with(anyhow!("{part} has a second \"=\""), "write = as %3D inside a value"));
        }
        let name = decode(name).with_context(|| part.clone())?;
        let value = decode(value).with_context(|| part.clone())?;
        let shown = match presentable(&name).filter(|_| may_show) {
            Some(name) => format!("parameter {name:?}"),
            None => part,
        };
        may_show &= name != "password";
        let has_blanks = pair.contains(is_blank);
        parts.push(Part { name, value, shown, in_query: true, has_blanks });
    }
    Ok(())
}

fn push(parts: &mut Vec<Part>, name: &str, encoded: &str) -> anyhow::Result<()> {
    if !encoded.is_empty() {
        parts.push(Part {
            name: name.to_owned(),
            value: decode(encoded).with_context(|| format!("the {name}"))?,
            shown: format!("the {name}"),
            in_query: false,
            has_blanks: encoded.contains(is_blank),
        });
    }
    Ok(())
}

/// Replaces each `%XX`. Bytes that are not UTF-8 after that are refused; libpq would send them as they are.
fn decode(text: &str) -> anyhow::Result<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            decoded.push(first);
            continue;
        }
        let byte = after.get(..2).and_then(hex).ok_or_else(|| {
            hint::with(anyhow!("a % is not followed by two hexadecimal digits"), "a % itself must be written %25")
        })?;
        if byte == 0 {
            bail!("%00 is no character PostgreSQL can take");
        }
        decoded.push(byte);
        rest = &after[2..];
    }
    // The error would own the bytes, and they may be a password.
    String::from_utf8(decoded).map_err(|error| {
        crate::secret::wipe(error.into_bytes());
        anyhow!("not UTF-8 once its %XX are decoded")
    })
}

fn hex(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(value * 16 + u8::try_from(digit).ok()?)
    })
}
