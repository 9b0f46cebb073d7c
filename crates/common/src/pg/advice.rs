//! What to do about what libpq, psql and pg_dump say.

use crate::hint;
use crate::process::Finished;
use anyhow::Error;
use std::os::unix::process::ExitStatusExt as _;

/// What is said, and what to do about it; the first that fits counts.
const ADVICE: [(&[&str], &str); 21] = [
    (&["no password supplied"], "put the password into ~/.pgpass (mode 0600) or PGPASSWORD"),
    (
        &["password authentication failed"],
        "check user and password: in ~/.pgpass, PGPASSWORD, or the file that holds DATABASE_URL",
    ),
    (&["could not translate host name", "Name or service not known"], "check the host name"),
    (
        &["channel binding"],
        "a password is sent only over TLS that proves the server: use TLS, or write sslmode=disable into the address",
    ),
    (
        &["certificate", "SSL was required", "SSL error"],
        "check sslmode and sslrootcert, and the certificate of the server",
    ),
    (
        &["failed: Connection refused", "failed: No such file or directory"],
        "is the server running there? check host and port, or the socket directory",
    ),
    (
        &["timeout expired"],
        "the server does not answer in time: check host, port and firewall; PGCONNECT_TIMEOUT sets the limit",
    ),
    (
        &["the database system is"],
        "the server is starting, stopping or recovering: run this again in a moment; its log says why",
    ),
    (
        &["server closed the connection", "terminating connection", "could not receive data"],
        "the server ended the connection: its log says why; then run this again",
    ),
    (&["too many connections", "too many clients", "connection slots"], "see pg_stat_activity for who is connected"),
    (
        &["due to conflict with recovery"],
        "on a standby, raise max_standby_streaming_delay or set hot_standby_feedback, or back up the primary",
    ),
    (
        &["due to statement timeout", "due to lock timeout", "could not obtain lock"],
        "somebody holds a lock on a table: see pg_locks and pg_stat_activity, or give --lock-wait-timeout more time",
    ),
    (&["max_locks_per_transaction"], "raise max_locks_per_transaction of the server: pg_dump locks every table"),
    (
        &["row-level security"],
        "row security hides rows from this role: use one with BYPASSRLS, or the owner of the tables",
    ),
    (&["permission denied"], "give the role what it lacks; pg_read_all_data and pg_monitor are enough for a dump"),
    (&["Peer authentication failed"], "run as the operating-system user of that role, or name one with --run-as"),
    (
        &["no pg_hba.conf entry", "pg_hba.conf rejects"],
        "the server refuses this user from this address: see its pg_hba.conf",
    ),
    (&["terminated by user"], "somebody ended it by a signal: run this again"),
    (
        &["not currently accepting connections"],
        "the database is closed (ALLOW_CONNECTIONS); with --all, PGDATABASE says which one to start from",
    ),
    (&["FATAL:  database"], "list the databases with: psql -l"),
    (&["FATAL:  role"], "check the user name: the server has no such role, or it may not log in"),
];

/// What a dump meets when somebody alters the schema under it.
const CHANGED: [&str; 4] = ["does not exist", "could not open relation", "cache lookup failed", "relation OID"];

/// What to do about a message of libpq or one of its programs.
pub fn on(said: &str) -> Option<&'static str> {
    let has = |text: &&str| said.contains(*text);
    let known = ADVICE.iter().find(|(texts, _)| texts.iter().any(has)).map(|(_, advice)| *advice);
    let changed = || CHANGED.iter().any(has);
    known.or_else(|| changed().then_some("did a migration change tables meanwhile? run this again when it is over"))
}

/// Fails unless a client program ended with 0; with what to do, where that is known.
///
/// # Errors
///
/// As [`Finished::success`].
pub fn success(finished: &Finished) -> anyhow::Result<()> {
    finished.success().map_err(|error| advised(error, finished))
}

fn advised(error: Error, finished: &Finished) -> Error {
    let advice = match finished.status.signal() {
        Some(_) => Some("did the kernel end it, for lack of memory, or somebody by hand? see: journalctl -k"),
        None => on(&finished.stderr),
    };
    match advice {
        Some(advice) => hint::with(error, advice),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_role_is_not_a_missing_database() {
        assert!(on("FATAL:  role \"x\" does not exist").unwrap().contains("user name"));
        assert!(on("FATAL:  database \"x\" does not exist").unwrap().contains("psql -l"));
        assert!(on("ERROR:  relation \"x\" does not exist").unwrap().contains("migration"));
        assert!(on("root certificate file \"/x\" does not exist").unwrap().contains("sslrootcert"));
    }

    #[test]
    fn a_file_that_the_server_misses_is_not_a_missing_server() {
        let socket = "connection to server on socket \"/x/.s.PGSQL.5432\" failed: ";
        let missing = "No such file or directory";

        assert!(on(&format!("{socket}{missing}")).unwrap().starts_with("is the server running"));
        assert_eq!(on(&format!("{socket}FATAL:  could not access file \"lib\": {missing}")), None);
    }

    #[test]
    fn what_nobody_knows_has_no_advice() {
        assert_eq!(on("ERROR:  invalid page in block 7"), None);
    }
}
