//! Why there is no answer: who is to blame, in which words, and what to do.

use common::hint;
use common::pg::advice;
use common::status::Status;
use std::error::Error as _;
use tokio_postgres::error::DbError;

/// An error with a verdict: what is wrong with an address is UNKNOWN, what is wrong with the server CRITICAL.
#[derive(Debug)]
pub(crate) struct Trouble {
    /// The verdict.
    pub(crate) status: Status,
    /// What went wrong, with hints.
    pub(crate) error: anyhow::Error,
}

impl Trouble {
    /// The address is wrong, or a file of ours: nothing is known about the server.
    pub(crate) fn ours(error: anyhow::Error) -> Self {
        Self { status: Status::Unknown, error }
    }

    /// The server, or the way to it.
    pub(crate) fn theirs(error: anyhow::Error) -> Self {
        Self { status: Status::Critical, error }
    }

    /// The same, with words in front.
    pub(super) fn context(self, words: String) -> Self {
        Self { error: self.error.context(words), ..self }
    }
}

/// Whether a server asked for a password and there was none.
pub(super) fn lacks_password(error: &tokio_postgres::Error) -> bool {
    error.source().is_some_and(|cause| cause.to_string() == "password missing")
}

/// The words of the driver, made plain.
pub(super) fn plain(error: &tokio_postgres::Error) -> anyhow::Error {
    if let Some(said) = error.as_db_error() {
        return of_server(said);
    }
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let words = match (error.to_string().as_str(), cause.as_str()) {
        (_, "server did not use channel binding") => {
            "the server does not prove who it is (channel binding), so no password is sent".to_owned()
        }
        ("error performing TLS handshake", "server does not support TLS") => "the server has no TLS".to_owned(),
        ("error performing TLS handshake", cause) => format!("TLS failed: {}", common::text::line(cause)),
        (_, "bytes remaining on stream") => "the server closed the connection in the middle of an answer".to_owned(),
        ("connection closed", _) => "the server closed the connection".to_owned(),
        ("error communicating with the server", "" | "early eof") => "the server closed the connection".to_owned(),
        ("error communicating with the server", cause) => common::text::line(cause),
        (words, "") => words.to_owned(),
        (words, cause) => format!("{words}: {}", common::text::line(cause)),
    };
    let advice = advice_on(&words);
    let error = anyhow::anyhow!(words);
    match advice {
        Some(advice) => hint::with(error, advice),
        None => error,
    }
}

fn advice_on(words: &str) -> Option<&'static str> {
    let has = |part: &str| words.contains(part);
    if has("unexpected message") || has("parsing response") || has("in the middle of") {
        return Some("is it PostgreSQL that listens there?");
    }
    if has("TLS") || has("channel binding") {
        return Some("check sslmode and sslrootcert, and the certificate of the server");
    }
    advice::on(words)
}

/// Text of a server is foreign: its owner chose the names in it.
fn of_server(said: &DbError) -> anyhow::Error {
    let detail = said.detail().map(|detail| format!(" ({})", common::text::line(detail))).unwrap_or_default();
    let message = format!("{}{detail}", common::text::line(said.message()));
    let advice = on_code(said.code().code()).or_else(|| advice::on(&format!("FATAL:  {message}"))).map(str::to_owned);
    let advice = advice.or_else(|| said.hint().map(common::text::line));
    let error = anyhow::anyhow!(message);
    match advice {
        Some(advice) => hint::with(error, advice),
        None => error,
    }
}

/// What to do about an SQLSTATE. Source: PostgreSQL documentation, appendix A.
fn on_code(code: &str) -> Option<&'static str> {
    match code {
        "53300" => Some("all connections are in use: who holds them shows pg_stat_activity, or raise max_connections"),
        "28P01" => Some("check user and password: in ~/.pgpass, PGPASSWORD, or the file that holds DATABASE_URL"),
        "57P03" => Some("the server is starting, stopping or recovering; its log says why"),
        "42501" => Some("give the role what it lacks: GRANT pg_monitor, or SELECT on what the query reads"),
        "57014" => Some("the statement took too long: the server is busy, or a lock is held on what it reads"),
        "25006" => Some("queries run read-only: SELECT only"),
        "42P01" => Some("names are looked up in no schema: write schema.table, or give schema=public"),
        "42601" => Some("one statement is taken, without a semicolon between two"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_server_keeps_its_code_and_a_hint() {
        assert!(on_code("53300").is_some_and(|advice| advice.contains("max_connections")));
        assert_eq!(on_code("XX000"), None);
        assert!(advice_on("unexpected message from server").unwrap().contains("is it PostgreSQL"));
    }
}
