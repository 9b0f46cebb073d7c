//! The finding: one part a check, each a pure function of the facts.

use super::check::Check;
use super::facts::{Facts, Server};
use super::limits::Limits;
use super::{maintenance, replication, sessions};
use crate::found::Found;
use common::report::{Key, Measure, Part, Value};
use common::status::Status;
use common::text;
use std::collections::BTreeSet;

const VERSION: Key = Key::new("server_version", "Version of the server");
const DATABASE: Key = Key::new("database", "The database");
const ROLE: Key = Key::new("role", "The role that asked");
const STANDBY: Key = Key::new("standby", "Whether the server is a standby");

/// How many of several are named.
pub(super) const NAMED: usize = 3;

/// Judges what was asked for.
pub(super) fn judge(facts: &Facts, checks: &BTreeSet<Check>, limits: &Limits, ignored: &[String], peer: &str) -> Found {
    let server = &facts.server;
    let mut found = Found::ok(summary(facts, peer))
        .fact(VERSION, Value::Text(text::line(&server.release)))
        .fact(DATABASE, Value::Text(text::line(&server.database)))
        .fact(ROLE, Value::Text(text::line(&server.user)))
        .fact(STANDBY, Value::Flag(server.recovering));
    let (hidden, seen): (Vec<Check>, Vec<Check>) =
        checks.iter().partition(|check| check.needs_rights() && !server.sees_all);
    for check in seen {
        found = found.part(part(facts, check, limits, ignored));
    }
    if !hidden.is_empty() {
        found = unseen(found, server, &hidden);
    }
    if found.verdict() != Status::Ok {
        let hints: Vec<_> = found
            .parts
            .iter()
            .filter(|part| crate::found::of_part(part) != Status::Ok)
            .filter_map(|part| advice(&part.name))
            .collect();
        found.hints.extend(hints.into_iter().map(str::to_owned));
    }
    if server.superuser {
        found = found.hint(
            "it logs in as a superuser, more than looking needs: CREATE ROLE healthprobe LOGIN; GRANT pg_monitor TO healthprobe",
        );
    }
    found
}

fn part(facts: &Facts, check: Check, limits: &Limits, ignored: &[String]) -> Part {
    match check {
        Check::Connections => sessions::connections(facts, limits),
        Check::Queries => sessions::queries(facts, limits, ignored),
        Check::Blocked => sessions::blocked(facts, limits),
        Check::Idle => sessions::idle(facts, limits, ignored),
        Check::Prepared => sessions::prepared(facts, limits),
        Check::Replication => replication::replication(facts, limits, ignored),
        Check::Slots => replication::slots(facts, limits),
        Check::Archive => replication::archive(facts, limits),
        Check::Wraparound => maintenance::wraparound(facts, limits),
        Check::Checksums => maintenance::checksums(facts, limits),
        Check::Vacuum => maintenance::vacuum(facts, limits),
        Check::Cache => maintenance::cache(facts, limits),
        Check::Indexes => maintenance::indexes(facts, limits),
        Check::Statements => maintenance::statements(facts, limits),
        Check::Size => maintenance::size(facts, limits),
    }
}

/// What a role without rights may not see is never OK in silence.
fn unseen(found: Found, server: &Server, hidden: &[Check]) -> Found {
    let names: Vec<_> = hidden.iter().map(|check| check.name()).collect();
    let role = text::line(&server.user);
    let message = format!("{} cannot be judged: role {role:?} sees no sessions of others", listed(&names));
    found
        .part(Part { name: "rights".to_owned(), status: Status::Unknown, message, measures: Vec::new() })
        .hint(format!("GRANT pg_monitor TO {role}; or choose what it may see: checks=default,-{}", names.join(",-")))
}

fn summary(facts: &Facts, peer: &str) -> String {
    let server = &facts.server;
    let role = if server.recovering { ", a standby" } else { "" };
    // Debian's own number stands behind a blank.
    let release = text::line(server.release.split(' ').next().unwrap_or_default());
    let used = facts.sessions.as_ref().map(|sessions| {
        format!(", {} of {} connections used", sessions.used, sessions.max.saturating_sub(sessions.reserved))
    });
    format!("PostgreSQL {release}{role} at {peer}{}", used.unwrap_or_default())
}

/// What to do where a check is not OK.
fn advice(check: &str) -> Option<&'static str> {
    Some(match check {
        "connections" => {
            "put a pool in front (PgBouncer), or raise max_connections; pg_stat_activity shows who holds them"
        }
        "queries" => "see pg_stat_activity; end one with: SELECT pg_cancel_backend(PID)",
        "blocked" => "end the one that blocks with: SELECT pg_terminate_backend(PID)",
        "idle" => "the application forgot to commit; idle_in_transaction_session_timeout ends such sessions",
        "prepared" => "COMMIT PREPARED or ROLLBACK PREPARED by its name",
        "slots" => {
            "a slot keeps all WAL until the disk is full: start its reader, or SELECT pg_drop_replication_slot(NAME)"
        }
        "wraparound" => "VACUUM that database; long transactions, slots and prepared transactions hold it back",
        "archive" => "the server's log says why archive_command fails; WAL is kept until it works",
        "checksums" => "restore the damaged files from a backup; first look at the disk",
        "vacuum" => {
            "VACUUM (VERBOSE) the table; what holds it back: long transactions, slots, too few autovacuum workers"
        }
        "cache" => "shared_buffers, or queries that read too much",
        _ => return None,
    })
}

/// A part.
pub(super) fn told(check: Check, status: Status, message: String, measures: Vec<Measure>) -> Part {
    Part { name: check.name().to_owned(), status, message, measures }
}

/// `a, b and c`
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [several @ .., last] => format!("{} and {last}", several.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(json: &str) -> Facts {
        let server = r#""server": {"version": 150020, "release": "15.20 (Debian)", "recovering": false, "superuser": false,
            "sees_all": true, "user": "probe", "database": "app"}"#;
        serde_json::from_str(&format!("{{{server}{json}}}")).unwrap()
    }

    fn all() -> BTreeSet<Check> {
        Check::ALL.iter().map(|(_, check)| *check).filter(|check| *check != Check::Statements).collect()
    }

    #[test]
    fn a_server_where_nothing_happens_is_well() {
        let empty = facts(
            r#", "sessions": {"used": 2, "max": 100, "reserved": 3},
            "vacuum": {"is_on": true}, "archive": {"mode": "off"}, "cache": {"hit": 0, "fetched": 0}"#,
        );

        let found = judge(&empty, &all(), &Limits::default(), &[], "db:5432");

        assert_eq!(found.verdict(), Status::Ok, "{:?}", found.parts);
        assert_eq!(found.message, "PostgreSQL 15.20 at db:5432, 2 of 97 connections used");
        assert_eq!(found.parts.len(), 14);
    }

    #[test]
    fn what_a_role_may_not_see_is_unknown_and_said() {
        let mut blind = facts("");
        blind.server.sees_all = false;
        let checks = [Check::Queries, Check::Idle, Check::Slots].into();

        let found = judge(&blind, &checks, &Limits::default(), &[], "x");

        assert_eq!(found.verdict(), Status::Unknown);
        let last = found.parts.last().unwrap();
        assert_eq!(last.message, "queries and idle cannot be judged: role \"probe\" sees no sessions of others");
        assert!(found.hints[0].starts_with("GRANT pg_monitor TO probe"), "{:?}", found.hints);
    }

    #[test]
    fn a_superuser_gets_a_hint_and_no_worse_verdict() {
        let mut superuser = facts("");
        superuser.server.superuser = true;

        let found = judge(&superuser, &BTreeSet::new(), &Limits::default(), &[], "x");

        assert_eq!((found.verdict(), found.hints.len()), (Status::Ok, 1));
    }
}
