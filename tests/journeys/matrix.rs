//! Every server with the client programs of every version that may dump it: backed up, read back, and the same database
//! judged in each format that pg_dump has of its own.

use crate::place::chmod;
use crate::round_trip::{self, Backup, every_kind};
use harness::{Postgres, Ran, Sandbox};
use std::fs;
use std::path::{Path, PathBuf};

const MAJORS: [u32; 3] = [15, 16, 18];

/// The formats, as files of a client of that version: the option of pg_dump, and what backup-verify calls it.
const FORMATS: [(&str, &str); 4] = [
    ("plain", "plain SQL"),
    ("custom", "pg_dump custom format"),
    ("directory", "pg_dump directory format"),
    ("tar", "pg_dump tar format"),
];

/// Each client that is not older than the server; the others are refused.
fn every_client(major: u32) {
    let pg = every_kind(major, &["app"]);
    let dir = Sandbox::new();
    chmod(dir.path(), 0o755);
    let rows = round_trip::rows_in(&pg, "app");
    for client in MAJORS {
        let bin = Postgres::programs(client);
        let ran = dir.tool("pgbackup").envs(pg.env()).args(["--dir", ".", "app", "--pg-bin"]).arg(&bin).run();
        if client < major {
            let ran = ran.stdout_is("").stderr_has("is older than the server").code(2);
            let _ = ran.stderr_has(&format!("hint: install postgresql-client-{major}"));
            continue;
        }
        let backup = backup_of(&dir, ran);
        assert_eq!(backup.rows(), rows, "{client} for {major}");
        round_trip::verify(&dir, &backup);
        every_format(&pg, &dir, client, (rows.values().sum(), rows.len()));
    }
}

/// What a run has made, with a word at most about the version of the client.
#[track_caller]
fn backup_of(dir: &Sandbox, ran: Ran) -> Backup {
    let is_about_versions = |line: &str| line.contains("has known holes") || line.contains("is newer than the server");
    assert!(ran.stderr_text().lines().all(is_about_versions), "{}", ran.picture());
    Backup::read(dir.join(ran.stdout_text().trim_end()))
}

/// Dumps the database with a client in each format, and has each judged by the pg_restore of the same version.
fn every_format(pg: &Postgres, dir: &Sandbox, client: u32, (rows, tables): (u64, usize)) {
    let bin = Postgres::programs(client);
    let safe = safe_programs(dir, client, &bin);
    for (format, form) in FORMATS {
        let name = format!("{format}-of-{}-by-{client}", pg.major());
        let dump = dir.program(bin.join("pg_dump")).envs(pg.env()).args(["--format", format, "--file", &name, "app"]);
        dump.run().stderr_is("").code(0);
        let judge = |programs: &Path| {
            let options = ["--no-config", "--run-as", "root", "--threads", "2", "--pg-bin"];
            dir.tool("backup-verify").args(options).arg(programs).arg(&name).run().stderr_is("")
        };

        let ran = judge(&safe).code(0);

        let held = format!("OK {name}: {form}, complete by its end marker: {} rows of {tables} tables", grouped(rows));
        assert!(ran.stdout_text().starts_with(&held), "{held}\n{}", ran.picture());
        if format != "plain" {
            refused_by_others(client, &name, judge);
        }
    }
}

/// Of an archive nobody can tell whether it is good with a pg_restore that is unsafe, or older than the dump.
fn refused_by_others(client: u32, name: &str, judge: impl Fn(&Path) -> Ran) {
    if client > 15 {
        // The newest 16 and 18 to be had for tests have known holes.
        let ran = judge(&Postgres::programs(client)).stdout_has(&format!("UNKNOWN {name}: ")).code(3);
        let _ = ran.stdout_has("has known holes that a hostile archive can use");
    }
    if client > 15 {
        let ran = judge(&Postgres::programs(15)).stdout_has(&format!("UNKNOWN {name}: ")).code(3);
        let _ = ran.stdout_has("it was made by a newer pg_dump than pg_restore 15.").stdout_has("hint: install ");
    }
}

/// The pg_restore of a version, which says that it is a version without known holes.
fn safe_programs(dir: &Sandbox, client: u32, bin: &Path) -> PathBuf {
    let safe = dir.join(format!("safe-{client}"));
    fs::create_dir(&safe).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $1 in --version) echo 'pg_restore (PostgreSQL) 99.0' ;; *) exec '{}/pg_restore' \"$@\" ;; esac\n",
        bin.display()
    );
    fs::write(safe.join("pg_restore"), script).unwrap();
    chmod(&safe.join("pg_restore"), 0o755);
    safe
}

/// A number as reports show it: `2,300`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

#[test]
fn every_client_dumps_and_judges_a_server_of_15() {
    every_client(15);
}

#[test]
fn every_client_that_is_not_older_dumps_and_judges_a_server_of_16() {
    every_client(16);
}

#[test]
fn every_client_that_is_not_older_dumps_and_judges_a_server_of_18() {
    every_client(18);
}
