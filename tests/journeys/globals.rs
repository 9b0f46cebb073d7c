//! Roles and tablespaces: what a dump of a database does not hold.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::{Postgres, Ran, Sandbox};

use crate::round_trip::{Backup, pgbackup, verify};

/// A server with roles of every kind, and one that may dump but not read passwords.
fn with_roles() -> Postgres {
    let pg = Postgres::start();
    pg.sql(
        "CREATE ROLE app LOGIN PASSWORD 'CANARY' CONNECTION LIMIT 7 VALID UNTIL '2030-01-01';
        CREATE ROLE \"it's; a \"\"group\"\"\" NOLOGIN; GRANT \"it's; a \"\"group\"\"\" TO app WITH ADMIN OPTION;
        COMMENT ON ROLE app IS E'-- a\n\\\\restrict comment;\n--\n-- PostgreSQL database cluster dump complete\n--\n';
        ALTER ROLE app SET search_path = a, \"b;c\"; CREATE DATABASE app OWNER app;
        ALTER ROLE app IN DATABASE app SET work_mem = '7MB';
        CREATE ROLE dumper LOGIN; GRANT pg_monitor TO dumper",
    );
    pg.sql_in("app", "CREATE TABLE t AS SELECT 1 AS a; GRANT SELECT ON t TO dumper");
    pg
}

/// The backups of a run, by subject.
#[track_caller]
fn backups(dir: &Sandbox, ran: Ran) -> Vec<(String, Backup)> {
    let ran = ran.stderr_is("").code(0);
    let read = |path: &str| {
        let backup = Backup::read(dir.join(path));
        (backup.manifest["subject"].as_str().unwrap().to_owned(), backup)
    };
    ran.stdout_text().lines().map(read).collect()
}

fn text(dir: &Sandbox, backup: &Backup) -> String {
    let plain = dir.program("gunzip").arg("-c").arg(&backup.path).run().stderr_is("").code(0);
    plain.stdout_text().to_owned()
}

#[test]
fn all_means_every_database_and_the_globals() {
    let pg = with_roles();
    pg.sql("CREATE DATABASE closed ALLOW_CONNECTIONS false; CREATE DATABASE pattern IS_TEMPLATE true");
    let dir = Sandbox::new();

    let all = backups(&dir, pgbackup(&pg, &dir).arg("--all").run());

    let subjects: Vec<_> = all.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, ["app", "postgres", "globals"]);
    for (_, backup) in &all {
        verify(&dir, backup);
    }
    let globals = &all[2].1;
    assert_eq!(globals.manifest["kind"], "globals");
    assert_eq!(globals.manifest["client"]["program"], "pg_dumpall");
    assert_eq!(globals.manifest["source"]["system_identifier"], all[0].1.manifest["source"]["system_identifier"]);
}

#[test]
fn globals_hold_roles_with_passwords_and_nobody_else_may_read_them() {
    let pg = with_roles();
    let dir = Sandbox::new();

    let made = backups(&dir, pgbackup(&pg, &dir).args(["--globals", "app"]).run());

    let subjects: Vec<_> = made.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, ["app", "globals"]);
    let globals = &made[1].1;
    let dump = text(&dir, globals);
    assert!(dump.contains("SCRAM-SHA-256$") && !dump.contains("CANARY"), "{dump}");
    assert!(globals.manifest.get("notes").is_none(), "{}", globals.manifest);
    for file in dir.files() {
        let mode = fs::metadata(dir.join(&file)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode, 0o600, "{file}");
    }
}

#[test]
fn globals_restore_into_another_cluster_and_are_the_same_there() {
    let (pg, other) = (with_roles(), Postgres::start());
    let dir = Sandbox::new();
    let one = backups(&dir, pgbackup(&pg, &dir).args(["--all"]).run()).remove(2).1;
    let psql = other.bin().join("psql");
    other.sql("CREATE DATABASE app");

    // The superuser is there already: psql says so and goes on.
    let script = "gunzip -c \"$1\" | \"$2\" -X -q -d postgres";
    dir.program("sh").envs(other.env()).args(["-c", script, "restore"]).arg(&one.path).arg(psql).run().code(0);

    let elsewhere = Sandbox::new();
    let two = backups(&elsewhere, pgbackup(&other, &elsewhere).args(["--all"]).run()).remove(2).1;
    crate::round_trip::assert_same(&one, &two);
}

#[test]
fn a_role_that_may_not_read_passwords_leaves_them_out_and_says_so() {
    let pg = with_roles();
    let dir = Sandbox::new();

    let made = backups(&dir, pgbackup(&pg, &dir).env("PGUSER", "dumper").args(["--globals", "app"]).run());

    let globals = &made[1].1;
    assert_eq!(globals.manifest["notes"][0], "roles are without their passwords, which this role may not read");
    let options = globals.manifest["client"]["options"].to_string();
    assert!(options.contains("--no-role-passwords"), "{options}");
    let dump = text(&dir, globals);
    assert!(dump.contains("CREATE ROLE app;") && !dump.contains("SCRAM-SHA-256$"), "{dump}");
    verify(&dir, globals);
}

#[test]
fn without_globals_means_only_databases() {
    let pg = with_roles();
    let dir = Sandbox::new();

    let made = backups(&dir, pgbackup(&pg, &dir).args(["--all", "--no-globals"]).run());

    let subjects: Vec<_> = made.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, ["app", "postgres"]);
    assert!(!dir.files().iter().any(|file| file.starts_with("globals")), "{:?}", dir.files());
}

#[test]
fn all_starts_from_any_database_that_may_be_connected_to() {
    let pg = with_roles();
    pg.sql_in("app", "ALTER DATABASE postgres ALLOW_CONNECTIONS false");
    let dir = Sandbox::new();

    let made = backups(&dir, pgbackup(&pg, &dir).env("PGDATABASE", "app").args(["--all"]).run());

    let subjects: Vec<_> = made.iter().map(|(subject, _)| subject.as_str()).collect();
    assert_eq!(subjects, ["app", "globals"]);
}

#[test]
fn a_list_of_databases_that_cannot_be_had_is_told_and_nothing_is_done() {
    let pg = with_roles();
    let dir = Sandbox::new();

    let ran = pgbackup(&pg, &dir).env("PGUSER", "nobody-here").arg("--all").run();

    ran.stdout_is("")
        .stderr_is(&format!(
            "pgbackup: error: cannot connect: connection to server on socket \
             \"{}/.s.PGSQL.{}\" failed: FATAL:  role \"nobody-here\" does not exist\n\
             pgbackup: hint: check the user name: the server has no such role, or it may not log in\n",
            pg.socket_dir().display(),
            pg.port()
        ))
        .code(3);
    assert_eq!(dir.files(), Vec::<String>::new());
}
