//! Which statements of a dump may pass, and with whose rights: only what pg_dump writes.
//!
//! A dump is data from outside. That a statement passes here does not make it harmless: what its checks, domains and
//! functions do is kept in bounds by the rights of the session that loads (THREATS R1, R2). Statements are known by their
//! own first words, never by the comment in front of them.

use anyhow::{Error, Result, anyhow};
use common::{hint, text};

/// What a statement is to a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A setting of the session that we make ourselves.
    Settled,
    /// A setting that the following statements depend on.
    Context,
    /// Makes an object, or fills it: with the rights of the loading role.
    Load,
    /// The value of a sequence, a large object, `BEGIN` and `COMMIT` around it: goes with the rows.
    Value,
    /// Rows follow.
    Rows,
    /// Takes a superuser, and runs no code of the dump.
    Admin,
    /// A comment.
    Comment,
    /// Changes an owner.
    Owner,
    /// Grants, revokes, default privileges, security labels.
    Grant,
    /// Event triggers: behind all else, because they would fire.
    Last,
}

/// Settings that every session of ours has, or that mean nothing to us.
const SETTLED: &[&str] = &[
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "client_encoding",
    "standard_conforming_strings",
    "check_function_bodies",
    "client_min_messages",
    "row_security",
    "escape_string_warning",
    "default_with_oids",
];

/// Settings that stand before the statements they are for.
const CONTEXT: &[&str] = &["default_tablespace", "default_table_access_method", "xmloption"];

/// Encodings in which the second byte of a character can be a quote or a backslash: our lexer and the server could
/// disagree about where a string ends (THREATS R4).
const UNSAFE_ENCODINGS: &[&str] = &["SJIS", "SHIFT_JIS_2004", "BIG5", "GBK", "UHC", "GB18030", "JOHAB"];

/// Functions that a dump calls outside of definitions.
const CALLS: &[&str] = &[
    "setval",
    "lo_create",
    "lo_open",
    "lowrite",
    "lo_close",
    "pg_restore_relation_stats",
    "pg_restore_attribute_stats",
    "pg_restore_extended_stats",
];

/// What `CREATE` may make, longest first where one begins with another, and who makes it.
const CREATE: &[(&str, Class)] = &[
    // Its handler is looked up, not called, and only a superuser can have made a function that may be one.
    ("ACCESS METHOD ", Class::Admin),
    ("AGGREGATE ", Class::Load),
    ("CAST ", Class::Load),
    ("COLLATION ", Class::Load),
    ("CONSTRAINT TRIGGER ", Class::Load),
    ("CONVERSION ", Class::Load),
    ("DEFAULT CONVERSION ", Class::Load),
    ("DOMAIN ", Class::Load),
    ("EVENT TRIGGER ", Class::Last),
    ("EXTENSION ", Class::Admin),
    ("FOREIGN DATA WRAPPER ", Class::Load),
    ("FOREIGN TABLE ", Class::Admin),
    ("FUNCTION ", Class::Load),
    ("INDEX ", Class::Load),
    ("LANGUAGE ", Class::Load),
    ("MATERIALIZED VIEW ", Class::Load),
    ("OPERATOR CLASS ", Class::Admin),
    ("OPERATOR FAMILY ", Class::Admin),
    ("OPERATOR ", Class::Load),
    ("OR REPLACE ", Class::Load),
    ("POLICY ", Class::Load),
    ("PROCEDURAL LANGUAGE ", Class::Load),
    ("PROCEDURE ", Class::Load),
    ("PUBLICATION ", Class::Admin),
    ("RULE ", Class::Load),
    ("SCHEMA ", Class::Load),
    ("SEQUENCE ", Class::Load),
    ("SERVER ", Class::Admin),
    ("STATISTICS ", Class::Load),
    ("SUBSCRIPTION ", Class::Admin),
    ("TABLE ", Class::Load),
    ("TEXT SEARCH ", Class::Load),
    ("TRANSFORM ", Class::Load),
    ("TRIGGER ", Class::Load),
    ("TRUSTED ", Class::Load),
    ("TYPE ", Class::Load),
    ("UNIQUE INDEX ", Class::Load),
    ("UNLOGGED ", Class::Load),
    ("USER MAPPING ", Class::Admin),
    ("VIEW ", Class::Load),
];

/// What `ALTER` may change.
const ALTER: &[(&str, Class)] = &[
    ("AGGREGATE ", Class::Load),
    ("COLLATION ", Class::Load),
    ("CONVERSION ", Class::Load),
    ("DEFAULT PRIVILEGES ", Class::Grant),
    ("DOMAIN ", Class::Load),
    ("EVENT TRIGGER ", Class::Last),
    ("FOREIGN DATA WRAPPER ", Class::Load),
    ("FOREIGN TABLE ", Class::Admin),
    ("FUNCTION ", Class::Load),
    ("INDEX ", Class::Load),
    ("LANGUAGE ", Class::Load),
    ("LARGE OBJECT ", Class::Load),
    ("MATERIALIZED VIEW ", Class::Load),
    ("OPERATOR CLASS ", Class::Admin),
    ("OPERATOR FAMILY ", Class::Admin),
    ("OPERATOR ", Class::Load),
    ("POLICY ", Class::Load),
    ("PROCEDURAL LANGUAGE ", Class::Load),
    ("PROCEDURE ", Class::Load),
    ("PUBLICATION ", Class::Admin),
    ("SCHEMA ", Class::Load),
    ("SEQUENCE ", Class::Load),
    ("SERVER ", Class::Admin),
    ("STATISTICS ", Class::Load),
    ("SUBSCRIPTION ", Class::Admin),
    ("TABLE ", Class::Load),
    ("TEXT SEARCH ", Class::Load),
    ("TRIGGER ", Class::Load),
    ("TYPE ", Class::Load),
    ("USER MAPPING ", Class::Admin),
    ("VIEW ", Class::Load),
];

/// Privileges on objects; `GRANT role TO role` begins with none of them.
const PRIVILEGES: &[&str] = &[
    "SELECT",
    "INSERT",
    "UPDATE",
    "DELETE",
    "TRUNCATE",
    "REFERENCES",
    "TRIGGER",
    "MAINTAIN",
    "USAGE",
    "EXECUTE",
    "CREATE",
    "ALL",
];

/// Says what a statement is.
///
/// # Errors
///
/// What pg_dump does not write, or what a restore of one database must not carry out; with a hint.
pub fn class(statement: &[u8]) -> Result<Class> {
    let head = String::from_utf8_lossy(&statement[..statement.len().min(512)]);
    let (verb, rest) = head.split_once([' ', ';', '\n']).unwrap_or((&head, ""));
    match verb {
        "SET" if grants_for_another(statement) => Ok(Class::Grant),
        "RESET" if rest == "SESSION AUTHORIZATION;" => Ok(Class::Grant),
        "SET" => setting(rest),
        "SELECT" => call(rest),
        "CREATE" => of_kind(rest, CREATE, statement).ok_or_else(|| refused(&head)),
        "ALTER" => altered(rest, statement).ok_or_else(|| refused(&head)),
        "COPY" if statement.ends_with(b" FROM stdin;") => Ok(Class::Rows),
        "INSERT" if rest.starts_with("INTO ") => Ok(Class::Load),
        "REFRESH" if rest.starts_with("MATERIALIZED VIEW ") => Ok(Class::Load),
        "COMMENT" if rest.starts_with("ON EVENT TRIGGER ") => Ok(Class::Last),
        "COMMENT" if rest.starts_with("ON ") && !names_shared(&rest[3..]) => Ok(Class::Comment),
        "SECURITY" if rest.starts_with("LABEL ") => Ok(Class::Grant),
        "GRANT" | "REVOKE" => granted(rest, statement).ok_or_else(|| refused(&head)),
        "BEGIN" | "COMMIT" if rest.is_empty() => Ok(Class::Value),
        _ => Err(refused(&head)),
    }
}

fn setting(rest: &str) -> Result<Class> {
    let (name, value) = rest.split_once(" = ").unwrap_or((rest, ""));
    let value = value.trim_end_matches(';').trim_matches('\'');
    match name {
        "standard_conforming_strings" if value != "on" => Err(refused(&format!("SET {rest}"))),
        "client_encoding" if UNSAFE_ENCODINGS.contains(&value) => Err(hint::with(
            anyhow!("the dump is in {value}, in which a character can hold a quote"),
            "make one with pg_dump --encoding=UTF8",
        )),
        _ if SETTLED.contains(&name) => Ok(Class::Settled),
        _ if CONTEXT.contains(&name) => Ok(Class::Context),
        _ => Err(refused(&format!("SET {rest}"))),
    }
}

fn call(rest: &str) -> Result<Class> {
    let refuse = || refused(&format!("SELECT {rest}"));
    if rest == "pg_catalog.set_config('search_path', '', false);" {
        return Ok(Class::Settled);
    }
    let rest = rest.strip_prefix("* FROM ").unwrap_or(rest);
    let name = rest.strip_prefix("pg_catalog.").and_then(|rest| rest.split_once('(')).ok_or_else(refuse)?.0;
    if CALLS.contains(&name) { Ok(Class::Value) } else { Err(refuse()) }
}

fn of_kind(rest: &str, kinds: &[(&str, Class)], statement: &[u8]) -> Option<Class> {
    let (kind, class) = kinds.iter().find(|(kind, _)| rest.starts_with(kind))?;
    // A cast that takes bytes for what they are not could read any memory; the server asks for a superuser.
    let is_blind = *kind == "CAST " && memchr_find(statement, b"WITHOUT FUNCTION");
    // A type that is only announced, `CREATE TYPE name;`, can do nothing yet.
    let is_shell = *kind == "TYPE " && !statement.contains(&b'(');
    // A wrapper's validator is called when it is made; one without can do nothing.
    let calls = |word: &str| memchr_find(statement, word.as_bytes());
    let is_bare = *kind == "FOREIGN DATA WRAPPER " && !calls("HANDLER ") && !calls("VALIDATOR ");
    Some(if (*kind == "CAST " && !is_blind) || is_shell || is_bare { Class::Admin } else { *class })
}

fn altered(rest: &str, statement: &[u8]) -> Option<Class> {
    let class = of_kind(rest, ALTER, statement)?;
    match class {
        Class::Last | Class::Grant => Some(class),
        _ if changes_owner(statement) => Some(Class::Owner),
        _ => Some(class),
    }
}

/// Whether it ends in `OWNER TO name;`.
fn changes_owner(statement: &[u8]) -> bool {
    const OWNER: &[u8] = b" OWNER TO ";
    let Some(at) = statement.windows(OWNER.len()).rposition(|window| window == OWNER) else { return false };
    statement[at + OWNER.len()..].strip_suffix(b";").is_some_and(is_identifier)
}

/// `SET SESSION AUTHORIZATION name;`, which stands around a grant that somebody else than the owner gave. What follows it
/// among the grants then has less rights, not more. Where it is for the making of objects, the name is in single quotes.
fn grants_for_another(statement: &[u8]) -> bool {
    let name = statement.strip_prefix(b"SET SESSION AUTHORIZATION ").and_then(|rest| rest.strip_suffix(b";"));
    name.is_some_and(|name| name != b"DEFAULT" && is_identifier(name))
}

/// Whether a text is one name and nothing else, quoted or not.
pub fn is_identifier(text: &[u8]) -> bool {
    match text.strip_prefix(b"\"") {
        Some(quoted) => quoted.strip_suffix(b"\"").is_some_and(is_doubled),
        None => !text.is_empty() && text.iter().all(|byte| is_name_byte(*byte)),
    }
}

fn is_doubled(inner: &[u8]) -> bool {
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'"' && bytes.next() != Some(&b'"') {
            return false;
        }
    }
    !inner.contains(&b'\'')
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || byte >= 0x80
}

fn granted(rest: &str, statement: &[u8]) -> Option<Class> {
    let rest = rest.strip_prefix("GRANT OPTION FOR ").unwrap_or(rest);
    let first = rest.split([' ', ',', '(']).next().unwrap_or_default();
    let is_shared =
        [" ON DATABASE ", " ON TABLESPACE ", " ON PARAMETER ", " ON FUNCTION pg_catalog.", " ON TABLE pg_catalog."]
            .iter()
            .any(|kind| memchr_find(statement, kind.as_bytes()));
    (PRIVILEGES.contains(&first) && !is_shared).then_some(Class::Grant)
}

/// Whether a comment is on what all databases of a server share.
fn names_shared(rest: &str) -> bool {
    ["DATABASE ", "ROLE ", "TABLESPACE "].iter().any(|kind| rest.starts_with(kind))
}

fn memchr_find(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn refused(head: &str) -> Error {
    let shown: String = text::line(head).chars().take(80).collect();
    let error = anyhow!("not a statement that pg_dump writes for one database: {shown}");
    let starts = |words: &[&str]| words.iter().any(|word| head.starts_with(word));
    let advice = if starts(&["DROP "]) {
        "the dump was made with --clean; make one without, because here it goes into a new database"
    } else if starts(&["CREATE DATABASE", "ALTER DATABASE", "COMMENT ON DATABASE"]) {
        "the dump was made with --create; make one without: the new database gets name and settings from the live one"
    } else if starts(&["CREATE ROLE", "ALTER ROLE", "GRANT ", "CREATE TABLESPACE"]) {
        "it concerns the whole server; look at it, and carry it out by psql if it is right"
    } else if starts(&["SET SESSION AUTHORIZATION", "RESET SESSION"]) {
        "the dump was made with --use-set-session-authorization; make one without"
    } else {
        "look at the dump: somebody has written it by hand, or has changed it"
    };
    hint::with(error, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(statement: &str) -> Option<Class> {
        class(statement.as_bytes()).ok()
    }

    #[test]
    fn what_pg_dump_writes_passes_with_the_rights_it_needs() {
        for (statement, expected) in [
            ("SET statement_timeout = 0;", Class::Settled),
            ("SET default_tablespace = fast;", Class::Context),
            ("SELECT pg_catalog.set_config('search_path', '', false);", Class::Settled),
            ("SELECT pg_catalog.setval('public.s', 7, true);", Class::Value),
            ("CREATE TABLE public.t (\n    a integer\n);", Class::Load),
            ("CREATE EXTENSION IF NOT EXISTS hstore WITH SCHEMA public;", Class::Admin),
            ("CREATE ACCESS METHOD a TYPE TABLE HANDLER heap_tableam_handler;", Class::Admin),
            ("CREATE FOREIGN DATA WRAPPER f OPTIONS (\n    debug 'true'\n);", Class::Admin),
            ("CREATE FOREIGN DATA WRAPPER f VALIDATOR public.v;", Class::Load),
            ("CREATE CAST (public.a AS text) WITH INOUT;", Class::Admin),
            ("CREATE CAST (public.a AS text) WITHOUT FUNCTION;", Class::Load),
            ("CREATE TYPE public.shell;", Class::Admin),
            ("CREATE TYPE public.pair AS (\n\ta integer\n);", Class::Load),
            ("ALTER TABLE public.t OWNER TO app;", Class::Owner),
            ("ALTER TABLE public.t OWNER TO \"o \"\"x\";", Class::Owner),
            ("ALTER TABLE ONLY public.t\n    ADD CONSTRAINT p PRIMARY KEY (a);", Class::Load),
            ("ALTER EVENT TRIGGER e OWNER TO postgres;", Class::Last),
            ("COPY public.t (a) FROM stdin;", Class::Rows),
            ("GRANT SELECT(a),INSERT(b) ON TABLE public.t TO r;", Class::Grant),
            ("REVOKE USAGE ON SCHEMA public FROM PUBLIC;", Class::Grant),
            ("ALTER DEFAULT PRIVILEGES FOR ROLE a IN SCHEMA s GRANT SELECT ON TABLES TO b;", Class::Grant),
            ("SET SESSION AUTHORIZATION b;", Class::Grant),
            ("SET SESSION AUTHORIZATION \"b \"\"c\";", Class::Grant),
            ("RESET SESSION AUTHORIZATION;", Class::Grant),
            ("COMMENT ON SCHEMA public IS '';", Class::Comment),
            ("BEGIN;", Class::Value),
        ] {
            assert_eq!(class_of(statement), Some(expected), "{statement}");
        }
    }

    #[test]
    fn text_that_only_looks_like_a_change_of_owner_is_none() {
        assert_eq!(class_of("ALTER TABLE ONLY t ALTER COLUMN c SET DEFAULT ' OWNER TO x';"), Some(Class::Load));
        assert_eq!(class_of("ALTER TABLE ONLY t ALTER COLUMN c SET DEFAULT ' OWNER TO \"x\"';"), Some(Class::Load));
        assert_eq!(class_of("ALTER TABLE t OWNER TO a, OWNER TO b;"), Some(Class::Owner));
    }

    #[test]
    fn what_pg_dump_does_not_write_is_refused() {
        for statement in [
            "COPY public.t FROM PROGRAM 'id';",
            "COPY public.t FROM '/etc/passwd';",
            "COPY (SELECT 1) TO PROGRAM 'id';",
            "ALTER SYSTEM SET archive_command = 'id';",
            "CREATE ROLE x SUPERUSER;",
            "ALTER ROLE app SUPERUSER;",
            "GRANT postgres TO app;",
            "GRANT \"SELECT\" TO app;",
            "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO app;",
            "DO $$BEGIN END$$;",
            "LOAD 'x';",
            "SELECT public.f();",
            "SELECT pg_catalog.pg_read_file('x');",
            "SET session_replication_role = replica;",
            "SET SESSION AUTHORIZATION 'postgres';",
            "SET SESSION AUTHORIZATION DEFAULT;",
            "SET SESSION AUTHORIZATION a; DROP TABLE t;",
            "RESET ALL;",
            "SET standard_conforming_strings = off;",
            "SET client_encoding = 'SJIS';",
            "DROP TABLE public.t;",
            "CREATE USER x;",
            "CREATE DATABASE x;",
            "create table t (a int);",
            "CALL public.p();",
            "UPDATE pg_catalog.pg_class SET relname = 'x';",
            ";",
        ] {
            assert_eq!(class_of(statement), None, "{statement}");
        }
    }
}
