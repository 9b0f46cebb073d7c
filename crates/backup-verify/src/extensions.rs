//! Whether a server has the extensions that a backup needs, and whether their scripts may run.
//!
//! The script of an extension runs with the rights of a superuser. A trusted one was made to be safe for everybody who
//! may create; any other only runs where the operator has named it. Source: THREATS V7.

use anyhow::{Result, anyhow};
use common::hint;
use common::pg::quote;
use common::pg::session::Session;
use std::collections::{BTreeMap, BTreeSet};

/// Extensions whose Debian package is not called like them.
const PACKAGES: [(&str, &str); 11] = [
    ("postgis", "postgis-3"),
    ("postgis_raster", "postgis-3"),
    ("postgis_topology", "postgis-3"),
    ("postgis_tiger_geocoder", "postgis-3"),
    ("vector", "pgvector"),
    ("pg_cron", "cron"),
    ("pg_partman", "partman"),
    ("pg_repack", "repack"),
    ("pg_hint_plan", "pg-hint-plan"),
    ("pgaudit", "pgaudit"),
    ("timescaledb", "timescaledb"),
];

/// Fails where one is missing, or is not trusted and not allowed.
///
/// # Errors
///
/// All of them in one, with what to install or to allow.
pub fn check(session: &mut Session, wanted: &BTreeSet<String>, allowed: &[String], major: u32) -> Result<()> {
    if wanted.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = wanted.iter().map(|name| quote::literal(name)).collect::<Result<_>>()?;
    let trusted: Option<BTreeMap<String, bool>> = session.ask(&format!(
        "SELECT pg_catalog.json_object_agg(e.name, v.trusted) FROM pg_catalog.pg_available_extensions AS e \
         JOIN pg_catalog.pg_available_extension_versions AS v \
            ON v.name OPERATOR(pg_catalog.=) e.name AND v.version OPERATOR(pg_catalog.=) e.default_version \
         WHERE e.name OPERATOR(pg_catalog.=) ANY (ARRAY[{}]::pg_catalog.name[])",
        names.join(", ")
    ))?;
    judge(wanted, &trusted.unwrap_or_default(), allowed, major)
}

fn judge(wanted: &BTreeSet<String>, trusted: &BTreeMap<String, bool>, allowed: &[String], major: u32) -> Result<()> {
    let missing: Vec<_> = wanted.iter().filter(|name| !trusted.contains_key(*name)).map(String::as_str).collect();
    if !missing.is_empty() {
        let packages: BTreeSet<_> = missing.iter().map(|name| package(name, major)).collect();
        let packages: Vec<_> = packages.into_iter().collect();
        return Err(hint::with(
            anyhow!("extension {} is not installed on this machine for PostgreSQL {major}", missing.join(", ")),
            format!("on Debian: apt install {}", packages.join(" ")),
        ));
    }
    let is_barred = |name: &&String| trusted.get(*name) == Some(&false) && !allowed.contains(*name);
    let barred: Vec<_> = wanted.iter().filter(is_barred).map(String::as_str).collect();
    if barred.is_empty() {
        return Ok(());
    }
    Err(hint::with(
        anyhow!("extension {} is not a trusted one, and not allowed here", barred.join(", ")),
        format!("its script would run as superuser of the throw-away server: --allow-extension {}", barred.join(",")),
    ))
}

fn package(extension: &str, major: u32) -> String {
    if let Some(language) = extension.strip_prefix("pl").map(|language| language.trim_end_matches('u'))
        && ["python3", "perl", "tcl"].contains(&language)
    {
        return format!("postgresql-pl{language}-{major}");
    }
    let known = PACKAGES.iter().find(|(name, _)| *name == extension).map(|(_, package)| (*package).to_owned());
    format!("postgresql-{major}-{}", known.unwrap_or_else(|| extension.replace('_', "-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(wanted: &[&str], trusted: &[(&str, bool)], allowed: &[&str]) -> Option<(String, String)> {
        let wanted = wanted.iter().map(|name| (*name).to_owned()).collect();
        let trusted = trusted.iter().map(|(name, is)| ((*name).to_owned(), *is)).collect();
        let allowed: Vec<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
        judge(&wanted, &trusted, &allowed, 15).err().map(|error| (error.to_string(), hint::of(&error).join("")))
    }

    #[test]
    fn a_missing_extension_is_named_with_its_package() {
        let (error, advice) = judged(&["postgis", "hstore", "plpython3u"], &[("hstore", true)], &[]).unwrap();

        assert_eq!(error, "extension plpython3u, postgis is not installed on this machine for PostgreSQL 15");
        assert_eq!(advice, "on Debian: apt install postgresql-15-postgis-3 postgresql-plpython3-15");
    }

    #[test]
    fn what_is_not_trusted_has_to_be_allowed_by_name() {
        let there = [("hstore", true), ("dblink", false)];

        assert_eq!(judged(&["hstore"], &there, &[]), None);
        assert_eq!(judged(&["hstore", "dblink"], &there, &["dblink"]), None);
        assert!(
            judged(&["hstore", "dblink"], &there, &[]).unwrap().0.contains("extension dblink is not a trusted one")
        );
    }
}
