//! What an operator wants to be true of a database (`--assert`): one expression each, read only, as a plain role.

use anyhow::{Context as _, Result, anyhow, ensure};
use common::backup::manifest::Kind;
use common::backup::scan::Scanner;
use common::hint::{self, Hint as _};
use common::pg::client::{Access, Client, Clients};
use common::pg::session::Session;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long one may take.
const TIME: Duration = Duration::from_secs(600);

/// What holds for every session that asks one. A superuser never gets here; a view with a trap in it runs with the rights
/// of a role that may only read (THREATS V4).
const SETTINGS: &str =
    "SET statement_timeout = '10min'; SET row_security = off; SET default_transaction_read_only = on";

/// Checks an argument: one query in parentheses must be one statement, and nothing of psql.
///
/// # Errors
///
/// Where it is not, with what to write.
pub fn check(assertion: &str) -> Result<()> {
    statement(assertion).map(|_| ())
}

/// The statement that asks it.
fn statement(assertion: &str) -> Result<String> {
    let query = assertion.trim().trim_end_matches(';');
    let statement = format!("SELECT pg_catalog.to_json((\n{query}\n)::pg_catalog.bool)");
    if !is_one(query) || !is_one(&statement) {
        return Err(anyhow!("--assert takes one query: {assertion:?}"))
            .hint("for example: --assert 'SELECT count(*) > 1000 FROM public.users'");
    }
    Ok(statement)
}

/// Whether psql takes a text for one statement, up to a semicolon at its end, and for nothing of its own.
fn is_one(text: &str) -> bool {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let statements = Arc::clone(&seen);
    let mut lexer = Scanner::new(Kind::Database).watch(move |text| {
        statements.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_vec());
    });
    // On a line of its own: the text may end in a comment.
    let whole = format!("{text}\n;");
    let is_read = lexer.feed(format!("{whole}\n").as_bytes()).is_ok();
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    is_read && seen.len() == 1 && seen[0] == whole.as_bytes()
}

/// Asks all of them; what is not true is a sentence each.
///
/// # Errors
///
/// Where nothing can be asked.
pub fn ask(assertions: &[String], clients: &Clients, access: &Access) -> Result<Vec<String>> {
    if assertions.is_empty() {
        return Ok(Vec::new());
    }
    let psql = clients.all("psql")?.into_iter().next().context("cannot find the program psql")?;
    refuse_superuser(clients, &psql, access)?;
    let mut complaints = Vec::new();
    for assertion in assertions {
        common::interrupt::check()?;
        // An error ends a session, so each has its own.
        let mut session = Session::open(clients, &psql, access)?.patient(TIME);
        session.run(SETTINGS)?;
        match session.ask::<Option<bool>>(&statement(assertion)?) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => complaints.push(format!("not true: {assertion}")),
            Ok(None) => complaints.push(format!("neither true nor false, but NULL: {assertion}")),
            Err(error) => complaints.push(format!("{assertion}: {error:#}")),
        }
    }
    Ok(complaints)
}

fn refuse_superuser(clients: &Clients, psql: &Client, access: &Access) -> Result<()> {
    let mut session = Session::open(clients, psql, access)?;
    let is_superuser: String = session.ask("SELECT pg_catalog.to_json(pg_catalog.current_setting('is_superuser'))")?;
    ensure!(
        is_superuser != "on",
        hint::with(
            anyhow!(
                "--assert is not asked as a superuser, because views and functions of the database would run as one"
            ),
            "connect as a role that may only read: CREATE ROLE verifier LOGIN IN ROLE pg_read_all_data",
        )
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assertion_is_one_query_and_nothing_of_psql() {
        for good in [
            "SELECT count(*) > 10 FROM public.users",
            "SELECT true;",
            "SELECT 'a; b \\! c' = E'\\\\' -- end",
            "WITH t AS (SELECT 1 AS n) SELECT n = 1 FROM t",
            "VALUES (true)",
        ] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "SELECT true; DROP TABLE t",
            "SELECT true \\! id",
            "SELECT true) ; SELECT (true",
            "SELECT 'open",
            "SELECT $$open",
            "SELECT (true",
            "\\! id",
            "SELECT true /* open",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
