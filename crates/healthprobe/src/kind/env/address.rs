//! Addresses of PostgreSQL in a `.env` file: whether they can be read, are protected, and fit a pool.

use super::finding::{Finding, Weight};
use super::production::is_inside;
use super::rules;
use common::envfile::{EnvFile, Var};
use common::pg::conninfo::Conninfo;

/// Ports that PgBouncer and its like listen on.
const POOLS: [&str; 2] = ["6432", "6543"];
/// The variables in which the way past a pool stands. Source: Prisma, Neon, Vercel.
const DIRECT: [&str; 4] = ["DIRECT_URL", "DIRECT_DATABASE_URL", "DATABASE_URL_UNPOOLED", "POSTGRES_URL_NON_POOLING"];
/// More than this from one process is hardly meant.
const MANY: u64 = 100;

/// What is wrong with an address of PostgreSQL. Other values are none of our business.
pub(super) fn judge(var: &Var, file: &EnvFile, is_production: bool) -> Vec<Finding> {
    let value = var.value.expose().trim();
    let lower = value.to_ascii_lowercase();
    let is_address =
        ["postgres", "\"postgres", "'postgres", "jdbc:postgres"].iter().any(|start| lower.starts_with(start));
    if !is_address || !value.contains("://") || var.refers {
        return Vec::new();
    }
    let doubt = |text: &str| Finding::of(var, Weight::Doubt, text);
    let info = match Conninfo::parse(value) {
        Ok(info) => info,
        Err(error) => {
            let words = format!("cannot be used: {}", unquoted(&error.root_cause().to_string()));
            return vec![Finding::of(var, Weight::Fault, words)];
        }
    };
    let mut found = Vec::new();
    if info.notes().iter().any(|note| note.contains("quotes")) {
        found.push(doubt("stands in quotes that belong to another syntax"));
    }
    if info.get("dbname").is_none_or(str::is_empty) {
        found.push(doubt("names no database"));
    }
    found.extend(pool(value, &info, file).into_iter().map(doubt));
    if is_production {
        found.extend(protection(&info).into_iter().map(doubt));
    }
    found
}

/// Words about an address without what they quote of it: a parameter's name may be the rest of a password.
fn unquoted(words: &str) -> String {
    words.split('"').step_by(2).collect::<Vec<_>>().join("…")
}

/// Who logs in, and how the way there is protected.
fn protection(info: &Conninfo) -> Vec<&'static str> {
    let mut words = Vec::new();
    if info.get("user") == Some("postgres") {
        words.push("lets the application log in as postgres, who may do everything on most servers");
    }
    let is_reached_inside = info.is_local() || info.get("host").unwrap_or_default().split(',').all(is_inside);
    match info.get("sslmode") {
        _ if is_reached_inside => {}
        Some("require" | "verify-ca" | "verify-full") => {}
        Some("disable") => words.push("sends the password without encryption (sslmode=disable)"),
        _ => words.push("lets the way be unencrypted: add sslmode=require, or better verify-full"),
    }
    words
}

/// Parameters for pools, as Prisma has them.
fn pool(value: &str, info: &Conninfo, file: &EnvFile) -> Vec<&'static str> {
    let parameters: Vec<(&str, &str)> = value
        .split_once('?')
        .map_or("", |(_, query)| query)
        .split('&')
        .filter_map(|parameter| parameter.split_once('='))
        .collect();
    let get = |name: &str| parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
    let has_direct = rules::in_force(file).any(|var| DIRECT.contains(&var.name.as_str()));
    let is_pooled = info.get("host").is_some_and(|host| host.contains("pooler") || host.contains("pgbouncer"))
        || info.get("port").is_some_and(|port| POOLS.contains(&port));
    let is_prisma = has_direct || ["schema", "connection_limit", "pool_timeout"].iter().any(|name| get(name).is_some());
    let mut words = Vec::new();
    if is_pooled && is_prisma && get("pgbouncer") != Some("true") {
        words.push("leads through a pool without pgbouncer=true, so prepared statements fail now and then");
    }
    if get("pgbouncer") == Some("true") && !has_direct {
        words.push("leads through a pool, and no DIRECT_URL leads past it, which migrations need");
    }
    match get("connection_limit").map(str::parse::<u64>) {
        Some(Err(_) | Ok(0)) => words.push("has a connection_limit that is no number of connections"),
        Some(Ok(limit)) if limit > MANY => words.push("has a connection_limit beyond what a server gives one process"),
        _ => {}
    }
    for name in ["pool_timeout", "connect_timeout"] {
        if get(name).is_some_and(|value| value.parse::<u64>().is_err()) {
            words.push("has a time limit that is no number of seconds");
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let file = file(text);
        judge(&file.vars[0], &file, true).iter().map(Finding::words).collect()
    }

    fn has(text: &str, part: &str) {
        let words = words(text);
        assert!(words.iter().any(|word| word.contains(part)), "{text}: {words:?}");
    }

    #[test]
    fn what_is_wrong_with_an_address_is_told() {
        has("DATABASE_URL='postgres://u:p/w@h.shop.com/db'\n", "cannot be used: ");
        has("DATABASE_URL=postgres://u:p@db.shop.com/db\n", "add sslmode=require");
        has("DATABASE_URL='postgres://u:p@db.shop.com/db?sslmode=disable'\n", "without encryption");
        has("DATABASE_URL=postgres://postgres:p@db/app\n", "as postgres");
        has("DATABASE_URL=postgres://u:p@db\n", "names no database");
        has("DATABASE_URL='postgres://u:p@db/app?connection_limit=many'\n", "no number of connections");
        has("DATABASE_URL='postgres://u:p@db/app?connection_limit=5000'\n", "beyond");
        has("DATABASE_URL='postgres://u:p@db:6543/app?schema=public'\n", "without pgbouncer=true");
        has("DATABASE_URL='postgres://u:p@db:6543/app?pgbouncer=true'\n", "DIRECT_URL");
        has("DATABASE_URL=\"'postgres://u:p@db/app'\"\n", "quotes");
    }

    #[test]
    fn a_good_address_and_one_of_another_database_are_left_alone() {
        for text in [
            "DATABASE_URL='postgresql+asyncpg://u:p@db.shop.com/app?sslmode=verify-full'\n",
            "DATABASE_URL=postgres://u:p@db/app\n",
            "DATABASE_URL='postgres://u:p@db:6543/app?pgbouncer=true&connection_limit=5'\nDIRECT_URL='postgres://u:p@db/app'\n",
            "DATABASE_URL=mysql://root@h/db\n",
            "NAME=postgres\n",
            "DATABASE_URL=postgres://${USER}:${PASS}@h.shop.com/db\n",
        ] {
            assert_eq!(words(text), [""; 0], "{text}");
        }
    }
}
