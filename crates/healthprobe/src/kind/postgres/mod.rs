//! `postgres:ADDRESS`: whether a database is there, and how it does.
//!
//! ```text
//! checks -> question (one statement) -> Session -> facts -> judge, one part a check -> Found
//! ```
//!
//! One connection and one question for all checks but `statements`, whose view lies in a schema that has to be asked for
//! first, and a standby that may be behind, which is asked again. The server is asked by the functions below its views:
//! expanding ten views takes a fresh session three times as long (measured 8.3 ms and 2.3 ms). Their columns are the same in
//! PostgreSQL 14 to 18.

mod check;
mod facts;
mod judge;
mod limits;
mod maintenance;
mod question;
mod replication;
mod sessions;

use super::Context;
use crate::database::{Database, Session, Trouble};
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::Result;
use check::Check;
use common::status::Status;
use facts::Facts;
use limits::Limits;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

/// The oldest server whose functions have the columns that are asked for.
const OLDEST: u32 = 140_000;
/// Who works for long on purpose: dumps and base backups.
const IGNORED: &str = "pg_dump,pg_dumpall,pg_basebackup,pg_restore,pgbackup,vacuumdb,reindexdb";

/// How long a standby is given to replay what it has received, and how often it is asked.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    database: Database,
    checks: BTreeSet<Check>,
    /// Statements were asked for by name, not only with all the rest: then their extension has to be there.
    insists_on_statements: bool,
    limits: Limits,
    ignored: Vec<String>,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, origin: Origin) -> Result<Self> {
        let database = Database::parse(address, options, origin)?;
        let (limits, asked_for) = Limits::parse(options);
        let words = options.list("checks");
        let mut checks = Check::chosen(&words)?;
        let insists =
            words.iter().any(|word| word == Check::Statements.name()) || asked_for.contains(&Check::Statements);
        // Who gives a threshold wants it looked at.
        checks.extend(asked_for);
        let ignored = options.text("ignore").unwrap_or_else(|| IGNORED.to_owned());
        let ignored = ignored.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        Ok(Self { database, checks, insists_on_statements: insists, limits, ignored })
    }

    pub(crate) fn subject(&self) -> String {
        format!("postgres:{}", self.database.shown())
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        let mut session = match self.database.open(context.deadline) {
            Ok(session) => session,
            Err(Trouble { status, error }) => return Found::failed(status, &error),
        };
        let facts = match self.facts(&mut session, context) {
            Ok(facts) => facts,
            Err(error) => return Found::failed(Status::Unknown, &error.context("cannot ask the server")),
        };
        let mut checks = self.checks.clone();
        if facts.statements.is_none() && !self.insists_on_statements {
            checks.remove(&Check::Statements);
        }
        judge::judge(&facts, &checks, &self.limits, &self.ignored, session.peer())
    }

    fn facts(&self, session: &mut Session, context: &Context) -> Result<Facts> {
        let began = Instant::now();
        let mut facts: Facts = session.ask(&question::text(&self.checks))?;
        if facts.server.version < OLDEST {
            anyhow::bail!(
                "PostgreSQL {} is too old: 14 is the oldest that is understood",
                facts.server.version / 10_000
            );
        }
        if let Some(schema) = facts.statements_in.take() {
            facts.statements = Some(session.ask(&question::statements(&schema)?)?);
        }
        if let Some(standby) = facts.standby.as_mut().filter(|standby| replication::is_in_doubt(standby)) {
            let until = began + PATIENCE.min(context.left() / 2);
            if has_replayed(session, standby.received.as_deref().unwrap_or_default(), until)? {
                standby.seconds = Some(began.elapsed().as_secs_f64());
            }
        }
        Ok(facts)
    }
}

/// Whether a standby replays what it had received within a moment: then it is behind by no more than that.
fn has_replayed(session: &mut Session, received: &str, until: Instant) -> Result<bool> {
    let question = question::has_replayed(received)?;
    loop {
        thread::sleep(PAUSE);
        if session.ask(&question)? {
            return Ok(true);
        }
        if Instant::now() >= until {
            return Ok(false);
        }
    }
}

/// Whether a whole target is the address of a database: `postgres://…`, `postgresql://…`, `postgresql+asyncpg://…`.
pub(super) fn is_address(what: &str) -> bool {
    let scheme = what.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| {
        let base = scheme.split('+').next().unwrap_or_default();
        base == "postgres" || base == "postgresql"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(address: &str, words: &[&str]) -> Result<Probe> {
        let mut options = Options::new(words.iter().map(|&word| word.to_owned()).collect(), Origin::Operator);
        let probe = Probe::parse(address, &mut options, Origin::Operator)?;
        match options.finish().into_iter().next() {
            Some(mistake) => Err(mistake),
            None => Ok(probe),
        }
    }

    #[test]
    fn a_threshold_brings_its_check_along() {
        let probe = probe("app", &["checks=connections", "size>100GiB", "warning=lag>10s"]).unwrap();

        assert_eq!(Vec::from_iter(probe.checks), [Check::Connections, Check::Replication, Check::Size]);
    }

    #[test]
    fn a_uri_is_never_taken_for_a_name() {
        for uri in ["postgres://u@h/db", "postgresql://h/db", "postgresql+asyncpg://u@h/db"] {
            assert!(is_address(uri), "{uri}");
            assert_eq!(probe(uri, &[]).unwrap().subject(), "postgres:db at h", "{uri}");
        }
        assert!(!is_address("postgres:app") && !is_address("http://postgres://x"));
        let error = format!("{:#}", probe("postgresql://u:CANARY@h/db", &[]).unwrap_err());
        assert!(!error.contains("CANARY"), "{error}");
    }

    #[test]
    fn unknown_checks_and_quantities_are_refused() {
        assert!(probe("app", &["checks=conections"]).is_err());
        assert!(probe("app", &["conections>80%"]).is_err());
        assert!(probe("app", &["connections>80"]).is_ok());
        assert!(probe("app", &["queries>80"]).is_err());
    }
}
