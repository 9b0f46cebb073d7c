//! Asks a server something, through `psql`.
//!
//! Every question is a constant statement that yields one line of JSON, every name in it is qualified, and the session's
//! `search_path` is empty: nothing that an owner of the database defines can be called by accident. Source: THREATS G9.

use super::advice;
use super::client::{Access, Client, Clients, PINNED};
use crate::hint::{self, Hint as _};
use crate::process::{Input, Running, User};
use anyhow::{Context as _, Result, anyhow};
use serde::de::DeserializeOwned;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::ChildStdin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// How long one answer may take.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// The longest answer: a list of a hundred thousand databases stays below it.
const ANSWER: u64 = 16 << 20;

/// An open session.
#[derive(Debug)]
pub struct Session {
    running: Option<Running>,
    stdin: ChildStdin,
    lines: Receiver<std::io::Result<String>>,
    patience: Duration,
    caller: Caller,
}

/// What decides which password goes along, and whether psql runs here.
#[derive(Debug)]
struct Caller {
    foreign: bool,
    prefixed: bool,
    run_as: Option<User>,
}

impl Session {
    /// Connects, and makes sure that the settings that were asked for are in force.
    ///
    /// # Errors
    ///
    /// What psql says, with a hint; a connection pool that swallows settings is refused.
    pub fn open(clients: &Clients, psql: &Client, access: &Access) -> Result<Self> {
        let mut running = clients
            .command(psql, access, "nightshift")?
            .args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1"])
            .start(Input::Pipe)?;
        let stdin = running.stdin()?;
        let stdout = running.stdout()?;
        let (sender, lines) = sync_channel(1);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            loop {
                let mut line = String::new();
                let read = (&mut reader).take(ANSWER).read_line(&mut line);
                let is_last = matches!(read, Ok(0) | Err(_));
                // The session may be gone; and the end of the stream is told by hanging up.
                if matches!(read, Ok(0)) || sender.send(read.map(|_| line)).is_err() || is_last {
                    break;
                }
            }
        });
        let caller = Caller {
            foreign: access.foreign.is_some(),
            prefixed: !clients.prefix.is_empty(),
            run_as: clients.run_as.clone(),
        };
        let mut session = Self { running: Some(running), stdin, lines, patience: ANSWER_TIME, caller };
        session.check_settings()?;
        Ok(session)
    }

    /// Asks one question; the statement must yield one row with one JSON value, or NULL.
    ///
    /// # Errors
    ///
    /// What psql says, with a hint, or "gave no answer".
    pub fn ask<T: DeserializeOwned>(&mut self, statement: &str) -> Result<T> {
        // A failing write means that psql has ended; why, it says on standard error.
        let sent = self.stdin.write_all(format!("{statement};\n").as_bytes()).and_then(|()| self.stdin.flush());
        let line = match sent.map(|()| self.lines.recv_timeout(self.patience)) {
            Ok(Ok(line)) => line.context("cannot read from psql")?,
            Ok(Err(RecvTimeoutError::Timeout)) => {
                return Err(anyhow!("the server gave no answer within {}", crate::units::duration(self.patience)))
                    .hint("is it overloaded, or is a lock held on the system catalogs?");
            }
            Ok(Err(RecvTimeoutError::Disconnected)) | Err(_) => return Err(self.failure()),
        };
        // psql shows NULL as nothing.
        let answer = Some(line.trim_end()).filter(|answer| !answer.is_empty()).unwrap_or("null");
        serde_json::from_str(answer).context("cannot read the server's answer")
    }

    /// Carries out a statement that yields nothing, or several in one transaction of their own, separated by semicolons.
    ///
    /// # Errors
    ///
    /// As [`Session::ask`]; the session is then over.
    pub fn run(&mut self, statement: &str) -> Result<()> {
        self.ask::<bool>(&format!("{statement};\nSELECT pg_catalog.to_json(true)")).map(|_| ())
    }

    /// Carries out statements of somebody else, byte for byte: psql does not read them, the server decodes them first, so
    /// that nothing in them is a meta-command or a variable.
    ///
    /// # Errors
    ///
    /// As [`Session::ask`]; the session is then over.
    pub fn run_verbatim(&mut self, statement: &[u8], encoding: &str) -> Result<()> {
        let encoding = super::quote::literal(encoding)?;
        let mut hex = String::with_capacity(statement.len() * 2);
        for byte in statement {
            write!(hex, "{byte:02x}").context("cannot write a statement")?;
        }
        let line = format!(
            "SELECT pg_catalog.convert_from(pg_catalog.decode('{hex}', 'hex'), {encoding}) \\gexec\n\
             SELECT pg_catalog.to_json(true)"
        );
        self.ask::<bool>(&line).map(|_| ())
    }

    /// Waits this long for each answer from here on.
    #[must_use]
    pub fn patient(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn failure(&mut self) -> anyhow::Error {
        let Some(running) = self.running.take() else { return anyhow!("psql has ended") };
        if let Err(stopped) = crate::interrupt::check() {
            return stopped;
        }
        match running.finish(Some(ANSWER_TIME)) {
            Err(error) => error,
            Ok(finished) => explain(&finished.said(), &self.caller),
        }
    }

    /// A pool that does not know a setting drops it, and then the two passes of a proof would not agree.
    fn check_settings(&mut self) -> Result<()> {
        let names: Vec<_> =
            PINNED.iter().map(|(name, _)| format!("'{name}', pg_catalog.current_setting('{name}')")).collect();
        let found: serde_json::Map<String, serde_json::Value> =
            self.ask(&format!("SELECT pg_catalog.json_build_object({})", names.join(", ")))?;
        for (name, value) in PINNED {
            // An empty search_path is shown as `""` by newer servers.
            let shown = found.get(name).and_then(|shown| shown.as_str()).unwrap_or_default();
            if shown.trim_matches('"') != value {
                return Err(pool(format!(
                    "something between here and the server drops settings ({name} is {shown:?})"
                )));
            }
        }
        Ok(())
    }
}

/// Fails where two sessions share one server process, as they do behind a pool in transaction mode: pg_dump would
/// then see the settings and snapshots of others.
///
/// # Errors
///
/// With the way around the pool as a hint.
pub fn refuse_transaction_pool(clients: &Clients, psql: &Client, access: &Access, first: &mut Session) -> Result<()> {
    const PID: &str = "SELECT pg_catalog.to_json(pg_catalog.pg_backend_pid())";
    // A pool hands its last used server process to the next client, so one of these pairs agrees.
    let before: u32 = first.ask(PID)?;
    let second: u32 = Session::open(clients, psql, access)?.ask(PID)?;
    let after: u32 = first.ask(PID)?;
    if before == second || before != after {
        return Err(pool("a connection pool in transaction mode stands in front of the server".to_owned()));
    }
    Ok(())
}

fn pool(message: String) -> anyhow::Error {
    hint::with(
        anyhow!(message),
        "connect to the server itself, usually port 5432 on its own host, not to PgBouncer or a \"pooler\" address",
    )
}

/// What libpq says, and what to do about it.
fn explain(said: &str, caller: &Caller) -> anyhow::Error {
    let has = |text: &str| said.contains(text);
    if said.is_empty() {
        let error = anyhow!("psql ended without an answer");
        let advice = "do the words of --client-prefix hand on standard input, as docker exec -i does?";
        return if caller.prefixed { hint::with(error, advice) } else { error };
    }
    if has("unsupported startup parameter") {
        return pool(format!("a connection pool stands in front of the server: {said}"));
    }
    let is_connected = said.starts_with("ERROR:") || has("connection to server was lost");
    let error = anyhow!("{}: {said}", if is_connected { "cannot ask the server" } else { "cannot connect" });
    match advice_on_password(said, caller).or_else(|| advice::on(said).map(str::to_owned)) {
        Some(advice) => hint::with(error, advice),
        None => error,
    }
}

/// Where a missing password belongs, if not where everybody looks first.
fn advice_on_password(said: &str, caller: &Caller) -> Option<String> {
    if !said.contains("no password supplied") {
        return None;
    }
    if caller.foreign {
        let advice =
            "another user can write the file that names this server, so only a password in it is sent; put it there";
        return Some(advice.to_owned());
    }
    let user = caller.run_as.as_ref()?;
    let path = user.home.join(".pgpass");
    Some(format!(
        "client programs run as user {}: put the password into its {path:?} (mode 0600) or PGPASSWORD",
        user.name
    ))
}
