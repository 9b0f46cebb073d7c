//! Pauses the pool of a PgBouncer for the swap, and resumes it whatever happens.
//!
//! Without it, PgBouncer meets the moment in which the name leads nowhere, and holds that against the server for
//! `server_login_retry` (15 s). Its admin console takes single commands by the simple protocol and no start-up options, so
//! it is talked to by psql with nothing of what a session of ours pins.

use crate::target::Target;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::hint::{self, Hint as _};
use common::pg::client::{Access, Client, Clients};
use common::pg::place;
use common::process::{Input, Program, Running};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::time::{Duration, Instant};

/// How long PAUSE may wait for transactions to end; clients wait as long.
const PAUSE_TIME: Duration = Duration::from_secs(10);
/// How long every other command may take.
const TIME: Duration = Duration::from_secs(30);
/// The longest answer.
const ANSWER: usize = 4 << 20;
/// What parts columns and rows of an answer: no name holds them, where names are sane.
const PARTS: (char, char) = ('\u{1f}', '\u{1e}');

/// The admin console of a PgBouncer, and what it calls the database.
#[derive(Debug)]
pub struct Pool<'a> {
    console: Console<'a>,
    /// What is put on record before anything is paused.
    pub known: Known,
    /// PAUSEs that nobody waits for.
    pending: RefCell<Vec<Running>>,
}

/// A PgBouncer, and what is paused there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The URI it was given as; it holds no password.
    address: String,
    routes: Vec<Route>,
}

/// A database of the pool that leads to ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Route {
    name: String,
    /// In session mode PAUSE waits until every client goes away by itself, or its server session is ended by the swap.
    /// (KILL would not do: it forgets the pool, and a client that comes back at once makes PgBouncer try a login that the
    /// pause cuts off, for which it then waits `server_login_retry`. Measured with 1.18.)
    by_session: bool,
}

impl<'a> Pool<'a> {
    /// Asks the console which of its databases lead to ours; one that is paused already is left to whoever paused it.
    ///
    /// # Errors
    ///
    /// Where the console cannot be reached or used.
    pub fn open(address: &str, target: &'a Target) -> Result<Self> {
        let console = Console::of(address, target)?;
        let databases = console.ask("SHOW DATABASES")?;
        let default_mode = setting(&console.ask("SHOW CONFIG")?, "pool_mode");
        let routes = routes(&databases, &target.name, default_mode.as_deref().unwrap_or("session"))?;
        Ok(Self { console, known: Known { address: address.to_owned(), routes }, pending: RefCell::default() })
    }

    /// The pool that a killed run has on record, without asking it: what it shows as paused may be so by that run.
    ///
    /// # Errors
    ///
    /// An address that is none.
    pub fn again(known: Known, target: &'a Target) -> Result<Self> {
        Ok(Self { console: Console::of(&known.address, target)?, known, pending: RefCell::default() })
    }

    /// Lets transactions end, and makes clients wait from then on.
    ///
    /// # Errors
    ///
    /// Where transactions do not end in time, or the console refuses; [`Pool::resume`] is then still to be called.
    pub fn pause(&self) -> Result<()> {
        for route in &self.known.routes {
            let paused = if route.by_session { self.begin_pause(route) } else { self.wait_for_pause(route) };
            paused.map_err(|error| {
                hint::with(
                    error.context(format!("cannot pause database {:?} of PgBouncer", route.name)),
                    "PAUSE waits until every transaction has ended: see SHOW CLIENTS and SHOW SERVERS on its console, stop \
                     the application with --stop or --service, or leave --pgbouncer out",
                )
            })?;
        }
        Ok(())
    }

    fn wait_for_pause(&self, route: &Route) -> Result<()> {
        self.console.tell("PAUSE", &route.name, PAUSE_TIME)
    }

    /// From its first moment a PAUSE keeps new sessions back; the old ones are for the swap to end.
    fn begin_pause(&self, route: &Route) -> Result<()> {
        let pausing = self.console.program(&format!("PAUSE {}", word(&route.name)))?.start(Input::None)?;
        self.pending.borrow_mut().push(pausing);
        let began = Instant::now();
        while !is_paused(&self.console.ask("SHOW DATABASES")?, &route.name) {
            ensure!(began.elapsed() < PAUSE_TIME, "it is not paused after {}", common::units::duration(PAUSE_TIME));
        }
        Ok(())
    }

    /// Lets clients go on. One that is not paused is no error: what counts is that none is.
    ///
    /// # Errors
    ///
    /// Where one is still paused, with the command to run by hand.
    pub fn resume(&self) -> Result<()> {
        let mut failure = None;
        self.pending.take();
        for route in &self.known.routes {
            let told = self.console.tell("RESUME", &route.name, TIME);
            let is_fine = |error: &anyhow::Error| {
                let said = format!("{error:#}");
                said.contains("is not paused") || said.contains("no such database")
            };
            if let Err(error) = told
                && !is_fine(&error)
            {
                let by_hand = format!("on the console of PgBouncer, run: RESUME {}", word(&route.name));
                failure = Some(hint::with(error.context("cannot resume the pool"), by_hand));
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

#[derive(Debug)]
struct Console<'a> {
    clients: &'a Clients,
    psql: &'a Client,
    access: Access,
}

impl<'a> Console<'a> {
    fn of(address: &str, target: &'a Target) -> Result<Self> {
        let access = place::of_operand(address, None).context("cannot use --pgbouncer")?;
        let is_named = access.address.get("dbname").is_some();
        let access = if is_named { access } else { access.with_database("pgbouncer") };
        Ok(Self { clients: &target.clients, psql: &target.psql, access })
    }

    /// Rows as lists of columns; the first row names them.
    fn ask(&self, command: &str) -> Result<Vec<Vec<String>>> {
        let text = self.run(command, TIME).with_context(|| format!("cannot ask PgBouncer: {command}")).hint(
            "--pgbouncer names the admin console (database pgbouncer) and a user in admin_users; its password belongs into \
             ~/.pgpass",
        )?;
        let rows = text.trim_end_matches(['\n', PARTS.1]).split(PARTS.1);
        Ok(rows.map(|row| row.split(PARTS.0).map(str::to_owned).collect()).collect())
    }

    fn tell(&self, verb: &str, name: &str, time: Duration) -> Result<()> {
        self.run(&format!("{verb} {}", word(name)), time).map(|_| ())
    }

    fn run(&self, command: &str, time: Duration) -> Result<String> {
        let bytes = self.program(command)?.output(time, ANSWER)?;
        String::from_utf8(bytes).map_err(|_| anyhow!("PgBouncer gave an answer that is no text"))
    }

    fn program(&self, command: &str) -> Result<Program> {
        let mut address = self.access.address.without_password();
        if address.get("connect_timeout").is_none() {
            address.set("connect_timeout", "10");
        }
        Ok(self
            .clients
            .bare(self.psql)?
            .envs_where(|name| name.starts_with("PG") && name != "PGOPTIONS")
            .args(["--no-psqlrc", "--no-password", "--no-align", "--pset=footer=off"])
            .arg(format!("--field-separator={}", PARTS.0))
            .arg(format!("--record-separator={}", PARTS.1))
            .arg(format!("--command={command}"))
            .arg(format!("--dbname={}", address.to_keywords())))
    }
}

/// A word of the console: it cuts none, but takes no more than 63 bytes with the quotes, so plain names go without.
fn word(name: &str) -> String {
    let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

fn setting(rows: &[Vec<String>], key: &str) -> Option<String> {
    rows.iter().find(|row| row.first().is_some_and(|first| first == key)).and_then(|row| row.get(1)).cloned()
}

fn is_paused(rows: &[Vec<String>], name: &str) -> bool {
    let Some((head, rows)) = rows.split_first() else { return false };
    let column = |name: &str| head.iter().position(|column| column == name);
    let (Some(names), Some(paused)) = (column("name"), column("paused")) else { return false };
    let of_name = rows.iter().find(|row| row.get(names).is_some_and(|found| found == name));
    of_name.and_then(|row| row.get(paused)).is_some_and(|paused| paused == "1")
}

/// The databases of the pool that lead to ours: by any name, and on any server, because to pause one too many for a
/// moment does no harm.
fn routes(rows: &[Vec<String>], database: &str, default_mode: &str) -> Result<Vec<Route>> {
    let (head, rows) = rows.split_first().context("PgBouncer shows no databases")?;
    let column = |name: &str| head.iter().position(|column| column == name);
    let (Some(name), Some(leads_to)) = (column("name"), column("database")) else {
        bail!("PgBouncer shows databases in a way that this version does not know");
    };
    let value = |row: &[String], at: Option<usize>| at.and_then(|at| row.get(at)).cloned().unwrap_or_default();
    let by_session = |mode: &str| (if mode.is_empty() { default_mode } else { mode }) == "session";
    let leading = rows.iter().filter(|row| value(row, Some(leads_to)) == database);
    let mut is_known = false;
    let mut routes = Vec::new();
    for row in leading {
        is_known = true;
        if value(row, column("paused")) != "1" {
            let mode = value(row, column("pool_mode"));
            routes.push(Route { name: value(row, Some(name)), by_session: by_session(&mode) });
        }
    }
    if !is_known {
        // A pool that takes any name (`* = …`) shows it only once a client has asked for it.
        routes.push(Route { name: database.to_owned(), by_session: by_session("") });
    }
    Ok(routes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[&str]) -> Vec<Vec<String>> {
        text.iter().map(|row| row.split('|').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn every_name_that_leads_to_the_database_is_paused_but_what_is_paused_already() {
        let shown = rows(&[
            "name|host|database|pool_mode|paused",
            "app|h|app|transaction|0",
            "app_batch|h|app||0",
            "app_reports|h|app||1",
            "other|h|other||0",
        ]);

        let found = routes(&shown, "app", "session").unwrap();

        let route = |name: &str, by_session| Route { name: name.to_owned(), by_session };
        assert_eq!(found, [route("app", false), route("app_batch", true)]);
    }

    #[test]
    fn a_pool_for_any_name_is_asked_by_ours() {
        let found = routes(&rows(&["name|database|paused", "pgbouncer|pgbouncer|0"]), "app", "transaction").unwrap();

        assert_eq!(found, [Route { name: "app".to_owned(), by_session: false }]);
    }

    #[test]
    fn names_that_are_not_plain_are_quoted() {
        assert_eq!(word("app_1"), "app_1");
        assert_eq!(word("a\"b; RESUME"), "\"a\"\"b; RESUME\"");
    }
}
