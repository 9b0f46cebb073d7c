//! What frameworks write into a database URL that libpq does not know.
//!
//! A parameter is taken over, renamed, dropped with a note, or refused. Only what cannot change which database is
//! reached and how safely is dropped; anything unheard of is refused, as libpq does.

use super::{Conninfo, keywords};
use crate::hint;
use anyhow::{anyhow, bail};

/// Names for which libpq has another one. Sources: SQLAlchemy and asyncpg, sqlx, Rails, pgJDBC.
const RENAMED: &[(&str, &str)] = &[
    ("applicationname", "application_name"),
    ("database", "dbname"),
    ("ssl_ca", "sslrootcert"),
    ("ssl_cert", "sslcert"),
    ("ssl_key", "sslkey"),
    ("ssl_mode", "sslmode"),
    ("ssl_root_cert", "sslrootcert"),
    ("sslca", "sslrootcert"),
    ("username", "user"),
];

/// Sets the schemas an application sees. Followed, it would hide the others from a backup.
const SEARCH_PATH: &[&str] = &["currentschema", "schema", "schema_search_path", "search_path"];

/// Pools, caches, time limits and habits of a driver: of no concern to another client.
#[rustfmt::skip] // one line per family, not per word
const DROPPED: &[&str] = &[
    // Prisma, Supabase
    "connection_limit", "pgbouncer", "pool_timeout", "socket_timeout", "statement_cache_size", "supa", "workaround",
    // SQLAlchemy, asyncpg, psycopg
    "async_fallback", "charset", "command_timeout", "direct_tls", "echo", "executemany_mode", "isolation_level",
    "max_cacheable_statement_size", "max_cached_statement_lifetime", "max_overflow", "pool_pre_ping", "pool_recycle",
    "pool_size", "prepare_threshold", "prepared_statement_cache_size", "prepared_statement_name_func", "server_settings",
    // Rails
    "adapter", "advisory_locks", "checkout_timeout", "encoding", "idle_timeout", "insert_returning",
    "max_connections", "min_connections", "min_messages", "pool", "prepared_statements", "reaping_frequency", "retry",
    "statement_limit", "timeout", "variables",
    // Django: dj-database-url, django-environ
    "atomic_requests", "autocommit", "conn_health_checks", "conn_max_age", "disable_server_side_cursors", "engine",
    // Go: pgx, lib/pq
    "binary_parameters", "datestyle", "default_query_exec_mode", "description_cache_capacity",
    "disable_prepared_binary_result", "pool_health_check_period", "pool_max_conn_idle_time", "pool_max_conn_lifetime",
    "pool_max_conn_lifetime_jitter", "pool_max_conns", "pool_min_conns", "statement_cache_capacity",
    "statement_cache_mode", "timezone",
    // Node: pg, postgres.js; Elixir
    "binary", "connect_timeout_ms", "connectiontimeoutmillis", "idle_in_transaction_session_timeout",
    "idletimeoutmillis", "keepalive", "lock_timeout", "max", "min", "prepare", "query_timeout", "queue_target",
    "statement_timeout", "uselibpqcompat",
    // PHP: Doctrine
    "driver", "persistent", "server_version", "serverversion",
    // pgJDBC
    "binarytransfer", "connecttimeout", "currentresultsettype", "defaultrowfetchsize", "logintimeout",
    "preferquerymode", "preparedstatementcachequeries", "preparedstatementcachesizemib", "preparethreshold",
    "rewritebatchedinserts", "rewritebatchedstatements", "sockettimeout", "stringtype", "tcpkeepalive",
];

/// What libpq knows but only as an argument anyone on the machine can read (THREATS G12).
const OTHER_SECRETS: &[&str] = &["oauth_client_secret", "scram_client_key", "scram_server_key", "sslpassword"];

const SSLMODES: &[&str] = &["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// Stores a keyword of libpq, checked as far as this crate relies on its value.
///
/// # Errors
///
/// A port that is no number, an `sslmode` libpq does not have, a secret that would have to travel in an argument.
pub(super) fn store(into: &mut Conninfo, name: &str, value: String) -> anyhow::Result<()> {
    match name {
        "port" => port(&value)?,
        "sslmode" => return sslmode(into, &value),
        // Source: conninfo_storeval, which looks at the first character alone; the keyword before there was sslmode.
        "requiressl" => {
            into.set("sslmode", if value.starts_with('1') { "require" } else { "prefer" });
            return Ok(());
        }
        name if OTHER_SECRETS.contains(&name) => {
            return Err(hint::with(
                anyhow!("{name} would have to be passed on in an argument"),
                "put it into a service file (pg_service.conf) and give service=NAME",
            ));
        }
        _ => {}
    }
    into.set(name, value);
    Ok(())
}

/// Stores a parameter of a URI, in whichever dialect it is written.
///
/// # Errors
///
/// As [`store`], and for a name that neither libpq nor a framework known here has; the message calls it `shown`.
pub(super) fn parameter(into: &mut Conninfo, name: &str, value: String, shown: &str) -> anyhow::Result<()> {
    if keywords::is_known(name) || name == "requiressl" {
        return store(into, name, value);
    }
    let plain = name.to_ascii_lowercase().replace('-', "_");
    if let Some((_, keyword)) = RENAMED.iter().find(|(other, _)| *other == plain) {
        into.note(format!("{name} is taken as {keyword}"));
        return store(into, keyword, value);
    }
    match plain.as_str() {
        "ssl" | "ssl_require" => ssl(into, name, &value),
        "sslaccept" => sslaccept(into, &value),
        "targetservertype" => target_server_type(into, &value),
        plain if SEARCH_PATH.contains(&plain) => {
            into.note(format!("{name} is left out: every schema is seen, not only those"));
            Ok(())
        }
        plain if DROPPED.contains(&plain) => {
            into.note(format!("{name} is left out: libpq does not have it"));
            Ok(())
        }
        // Behind the x- may stand anything, also the rest of a password.
        plain if is_dropped_family(plain) => {
            into.note(format!("{shown} is left out: libpq does not have it"));
            Ok(())
        }
        _ => Err(hint::with(
            anyhow!("{shown} is not one of libpq's"),
            "leave it out, or write the address with libpq's keywords only",
        )),
    }
}

/// `x-migrations-table` (golang-migrate) and `options[geqo]` (sqlx).
fn is_dropped_family(plain: &str) -> bool {
    plain.starts_with("x_") || (plain.starts_with("options[") && plain.ends_with(']'))
}

/// A name that may stand in a message: short and made like a keyword. Anything else may be part of a secret.
pub(super) fn presentable(name: &str) -> Option<&str> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.[]".contains(c);
    (!name.is_empty() && name.len() <= 40 && name.chars().all(is_plain)).then_some(name)
}

/// Refuses a list of ports in which one is neither empty nor a number from 1 to 65535.
pub(super) fn port(list: &str) -> anyhow::Result<()> {
    // libpq's parse_int_param takes blanks around the number.
    let is_port = |port: &str| port.is_empty() || port.trim().parse::<u16>().is_ok_and(|port| port > 0);
    if list.split(',').all(is_port) {
        return Ok(());
    }
    Err(hint::with(
        anyhow!("the port is not a number from 1 to 65535"),
        "a / in the password must be written %2F, an @ %40; an IPv6 address stands in [ ]",
    ))
}

fn sslmode(into: &mut Conninfo, value: &str) -> anyhow::Result<()> {
    let value = value.to_ascii_lowercase().replace('_', "-");
    if value == "no-verify" {
        into.note("sslmode=no-verify is taken as sslmode=require");
        into.set("sslmode", "require");
        return Ok(());
    }
    if !SSLMODES.contains(&value.as_str()) {
        return Err(hint::with(
            anyhow!("sslmode is not one of libpq's"),
            format!("write one of: {}", SSLMODES.join(" ")),
        ));
    }
    into.set("sslmode", value);
    Ok(())
}

/// `ssl=true` is all libpq knows of these; drivers have more. Never weakens an `sslmode` that is already there.
fn ssl(into: &mut Conninfo, name: &str, value: &str) -> anyhow::Result<()> {
    let mode = match value.to_ascii_lowercase().replace('_', "-").as_str() {
        "true" | "1" | "on" | "yes" | "require" | "required" | "no-verify" => "require",
        "false" | "0" | "off" | "no" | "disable" | "disabled" => "disable",
        "allow" => "allow",
        "prefer" | "preferred" => "prefer",
        "verify-ca" => "verify-ca",
        "verify-full" => "verify-full",
        _ => {
            return Err(hint::with(
                anyhow!("the value of {name} is not known"),
                format!("write sslmode= with one of: {}", SSLMODES.join(" ")),
            ));
        }
    };
    strengthen(into, mode);
    into.note(format!("{name} is taken as sslmode"));
    Ok(())
}

fn strengthen(into: &mut Conninfo, mode: &str) {
    let strength = |mode: &str| SSLMODES.iter().position(|known| *known == mode);
    if into.get("sslmode").and_then(strength) <= strength(mode) {
        into.set("sslmode", mode);
    }
}

/// Prisma: whether the server's certificate is checked.
fn sslaccept(into: &mut Conninfo, value: &str) -> anyhow::Result<()> {
    match value {
        "strict" => {
            strengthen(into, "verify-full");
            into.note("sslaccept=strict is taken as sslmode=verify-full");
        }
        "accept_invalid_certs" => into.note("sslaccept is left out: libpq has sslmode for it"),
        _ => bail!("the value of sslaccept is not known"),
    }
    Ok(())
}

fn target_server_type(into: &mut Conninfo, value: &str) -> anyhow::Result<()> {
    let attrs = match value {
        "any" => "any",
        "primary" | "master" => "primary",
        "secondary" | "slave" => "standby",
        "preferSecondary" | "preferSlave" => "prefer-standby",
        _ => bail!("the value of targetServerType is not known"),
    };
    into.note("targetServerType is taken as target_session_attrs");
    into.set("target_session_attrs", attrs);
    Ok(())
}
