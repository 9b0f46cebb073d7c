//! `sql:QUERY`: a number, or one row of named numbers, from a database.
//!
//! One statement by the extended protocol, in a read-only transaction of its own, with an empty `search_path`. That is
//! care, not a wall: a query runs with the rights of the role that asks it, and what others have defined runs with them.
//! So a superuser is a WARNING, unless `as-superuser` says that it has to be one. Source: THREATS G9, H8.

mod judge;

use super::Context;
use crate::database::{Database, Session, Trouble};
use crate::found::Found;
use crate::options::{Options, Origin};
use anyhow::{Context as _, Result, ensure};
use common::dirfd;
use common::report::Unit;
use common::status::Status;
use judge::Judge;
use std::path::Path;

/// The largest file with a query.
const LIMIT: u64 = 64 << 10;

/// One target of this kind.
#[derive(Debug)]
pub(crate) struct Probe {
    database: Database,
    query: String,
    schema: String,
    /// A superuser is as it should be.
    as_superuser: bool,
    judge: Judge,
}

impl Probe {
    pub(crate) fn parse(address: &str, options: &mut Options, origin: Origin) -> Result<Self> {
        origin.may("sql:")?;
        let place = options.text("database").unwrap_or_default();
        let database = Database::parse(&place, options, origin)?;
        let query = match (options.file("query-file"), address.trim()) {
            (Some(path), "") => read_query(&path)?,
            (None, query) if !query.is_empty() => query.to_owned(),
            _ => anyhow::bail!("sql: needs one query: sql:\"SELECT …\", or query-file=FILE"),
        };
        let unit = options.choice("unit", &UNITS);
        Ok(Self {
            database,
            query,
            schema: options.text("schema").unwrap_or_default(),
            as_superuser: options.flag("as-superuser"),
            judge: Judge {
                counts_rows: options.flag("count-rows"),
                unit,
                main: options.main_thresholds("value", unit.unwrap_or_default(), ""),
                columns: options.other_thresholds(unit_of),
            },
        })
    }

    pub(crate) fn subject(&self) -> String {
        let query = self.query.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = query.chars().take(60).collect();
        if short.len() < query.len() { format!("sql:{short}…") } else { format!("sql:{short}") }
    }

    pub(crate) fn look(&self, context: &Context) -> Found {
        let mut session = match self.database.open(context.deadline) {
            Ok(session) => session,
            Err(Trouble { status, error }) => return Found::failed(status, &error),
        };
        match self.ask(&mut session) {
            Ok((found, is_superuser)) if is_superuser && !self.as_superuser => warned(found),
            Ok((found, _)) => found,
            Err(error) => Found::failed(Status::Unknown, &error.context("cannot ask the database")),
        }
    }

    fn ask(&self, session: &mut Session) -> Result<(Found, bool)> {
        let rows = session.query(&self.query, &self.schema, 2)?;
        Ok((self.judge.of(&rows), rows.is_superuser))
    }
}

fn warned(found: Found) -> Found {
    let mut found = found
        .hint("give the query a role of its own: CREATE ROLE healthprobe LOGIN; GRANT SELECT …; or say as-superuser");
    found.status = found.status.max(Status::Warning);
    found.message = format!("{}; asked as a superuser, whose rights everything the query calls has", found.message);
    found
}

fn read_query(path: &Path) -> Result<String> {
    let text = dirfd::read_orders(path, LIMIT).context("query-file=")?;
    let query = text.trim().trim_end_matches(';').trim();
    ensure!(!query.is_empty(), "query-file=: {path:?} is empty");
    Ok(query.to_owned())
}

/// What `unit=` may be.
const UNITS: [(&str, Unit); 4] =
    [("count", Unit::Count), ("seconds", Unit::Seconds), ("bytes", Unit::Bytes), ("percent", Unit::Percent)];

/// What a column is counted in, as its name says.
fn unit_of(column: &str) -> Unit {
    let ends = |end: &str| column == end || column.ends_with(&format!("_{end}"));
    match () {
        () if ends("seconds") || ends("age") => Unit::Seconds,
        () if ends("bytes") || ends("size") => Unit::Bytes,
        () if ends("percent") => Unit::Percent,
        () => Unit::Count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(words: &[&str]) -> Result<Probe> {
        let mut options = Options::new(words[1..].iter().map(|&word| word.to_owned()).collect(), Origin::Operator);
        let probe = Probe::parse(words[0], &mut options, Origin::Operator)?;
        match options.finish().into_iter().next() {
            Some(mistake) => Err(mistake),
            None => Ok(probe),
        }
    }

    #[test]
    fn a_query_names_its_columns_in_conditions() {
        let probe = probe(&["select 1", "database=app", "orders>10,20", "lag_seconds>5m", "warning=done<1"]).unwrap();

        let names: Vec<_> = probe.judge.columns.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["orders", "lag_seconds", "done"]);
        assert_eq!(probe.subject(), "sql:select 1");
    }

    #[test]
    fn what_is_no_query_or_no_database_is_refused() {
        for (words, said) in [
            (&[""][..], "needs one query"),
            (&["select 1", "database=postgresql+asyncpg://u@h/db", "typo=1"], "unknown option"),
            (&["select 1", "database=mysql://h/db"], "not PostgreSQL but mysql"),
            (&["select 1", "database=postgresql://u:CANARY@h/db"], "a password does not belong into a target"),
            (&["select 1", "database=app", "env-file=.env"], "say the same thing twice"),
            (&["select 1", "orders>many"], "orders>many"),
        ] {
            let error = format!("{:#}", probe(words).unwrap_err());
            assert!(error.contains(said) && !error.contains("CANARY"), "{words:?}: {error}");
        }
        let mut options = Options::new(Vec::new(), Origin::Pipe);
        assert!(Probe::parse("select 1", &mut options, Origin::Pipe).is_err());
    }
}
