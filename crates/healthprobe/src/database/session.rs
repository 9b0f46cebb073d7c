//! A session: logged in, asked, ended, all before one deadline.
//!
//! Nothing is set at login but the application's name, so that a connection pool lets us through: what a question needs is
//! set in its own transaction, read-only, and gone with it. The empty `search_path` makes every name in our questions mean
//! the server's own thing (THREATS G9).

use super::knock::{Knock, Opened};
use super::login::Login;
use super::settings::Settings;
use super::trouble::{self, Trouble};
use anyhow::{Context as _, Result, anyhow};
use common::hint::Hint as _;
use common::process::User;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout_at;
use tokio_postgres::{Client, SimpleQueryMessage};

pub(crate) use super::cell::{Cell, Rows};

/// How long before the deadline the server itself gives up, so that its reason reaches us.
const MARGIN: Duration = Duration::from_millis(200);
/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_millis(100);

/// An open session.
pub(crate) struct Session {
    runtime: Option<Runtime>,
    client: Option<Client>,
    connection: Option<JoinHandle<()>>,
    deadline: Instant,
    peer: String,
}

impl Session {
    /// Logs in at the first server that will do.
    ///
    /// # Errors
    ///
    /// "cannot connect to …", with what each of several servers said.
    pub(super) fn open(
        login: &Login,
        settings: &Settings,
        run_as: Option<&User>,
        deadline: Instant,
    ) -> Result<Self, Trouble> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.context("cannot wait for a server").map_err(Trouble::ours)?;
        let knock = Knock { login, settings, run_as, deadline };
        match runtime.block_on(knock.anywhere()) {
            Ok((Opened { client, connection }, peer)) => {
                Ok(Self { runtime: Some(runtime), client: Some(client), connection: Some(connection), deadline, peer })
            }
            Err(trouble) => {
                // A name that is still being looked up is not waited for.
                runtime.shutdown_background();
                Err(trouble)
            }
        }
    }

    /// The server that answered, for messages.
    pub(crate) fn peer(&self) -> &str {
        &self.peer
    }

    /// Asks a question of ours that yields one JSON value. Constant text only.
    ///
    /// # Errors
    ///
    /// What the server says, or that it said nothing in time.
    pub(crate) fn ask<T: DeserializeOwned>(&mut self, question: &str) -> Result<T> {
        let text = format!("{}{question}; ROLLBACK", self.preamble("")?);
        let messages = self.wait(async |client| client.simple_query(&text).await)?;
        serde_json::from_str(last(&messages).context("the server gave no answer")?)
            .context("cannot read the server's answer")
    }

    /// Asks the operator's question: one statement, read-only. At most `most` rows are kept, and counted a hundred thousand.
    ///
    /// # Errors
    ///
    /// As [`Session::ask`].
    pub(crate) fn query(&mut self, statement: &str, schema: &str, most: usize) -> Result<Rows> {
        let begin = self.preamble(schema)?;
        let begin = format!("{begin}SELECT pg_catalog.current_setting('is_superuser')");
        let asked_as = self.wait(async |client| client.simple_query(&begin).await)?;
        let mut rows = self.wait(async |client| super::cell::rows(client, statement, most).await)?;
        rows.is_superuser = last(&asked_as) == Some("on");
        if rows.is_whole {
            self.wait(async |client| client.simple_query("ROLLBACK").await)?;
        }
        Ok(rows)
    }

    /// The settings of one question, for its transaction only.
    fn preamble(&self, schema: &str) -> Result<String> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let limit = left.saturating_sub(MARGIN).max(MARGIN).as_millis();
        let path = if schema.is_empty() { "''".to_owned() } else { common::pg::quote::identifier(schema)? };
        // Statements, not set_config(): a fresh session would have to look functions up.
        Ok(format!(
            "BEGIN TRANSACTION READ ONLY; SET LOCAL search_path TO {path}; SET LOCAL statement_timeout TO {limit}; \
             SET LOCAL lock_timeout TO {limit}; SET LOCAL jit TO off; SET LOCAL TimeZone TO 'UTC'; \
             SET LOCAL DateStyle TO 'ISO'; SET LOCAL standard_conforming_strings TO on; "
        ))
    }

    fn wait<T>(&self, ask: impl AsyncFnOnce(&Client) -> Result<T, tokio_postgres::Error>) -> Result<T> {
        let (Some(runtime), Some(client)) = (&self.runtime, &self.client) else {
            return Err(anyhow!("the session is over"));
        };
        let answer = async { timeout_at(self.deadline.into(), ask(client)).await };
        match runtime.block_on(answer) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(trouble::plain(&error)),
            Err(_) => Err(anyhow!("the server accepts connections, but gives no answer in time"))
                .hint("is it overloaded, or is a lock held on the system catalogs?"),
        }
    }
}

/// The first column of the last row.
fn last(messages: &[SimpleQueryMessage]) -> Option<&str> {
    messages.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

impl Drop for Session {
    /// Says farewell, so that the server's log has no complaint; who does not listen is left.
    fn drop(&mut self) {
        drop(self.client.take());
        let Some(runtime) = self.runtime.take() else { return };
        if let Some(connection) = self.connection.take() {
            // Whether it was heard changes nothing for us.
            let _farewell = runtime.block_on(async { tokio::time::timeout(FAREWELL, connection).await });
        }
        runtime.shutdown_background();
    }
}
