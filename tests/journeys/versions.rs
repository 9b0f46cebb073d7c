//! Servers of other majors, each with its own client programs.

use std::path::PathBuf;

use harness::{Postgres, Sandbox};

use crate::round_trip::{self, Backup, assert_same, every_kind, pgbackup};

/// A backup that is worth one warning: the newest 16 and 18 to be had for tests have known holes.
#[track_caller]
fn take(pg: &Postgres, dir: &Sandbox, database: &str) -> Backup {
    let ran = pgbackup(pg, dir).arg(database).run().stderr_has(" has known holes; update it to ").code(1);
    assert_eq!(ran.stderr_text().lines().count(), 1, "{}", ran.picture());
    Backup::read(dir.join(ran.stdout_text().trim_end()))
}

fn every_kind_comes_back(major: u32) {
    let pg = every_kind(major, &["app"]);
    let dir = Sandbox::new();

    let backup = take(&pg, &dir, "app");

    assert_eq!(pg.major(), major);
    assert_eq!(backup.manifest["source"]["version_num"].to_string(), pg.sql("SHOW server_version_num"));
    assert_eq!(backup.rows(), round_trip::rows_in(&pg, "app"));
    assert_eq!(backup.manifest["content"]["large_objects"], 3);
    round_trip::verify(&dir, &backup);
    round_trip::restore(&pg, &dir, &backup, "copy");
    assert_same(&backup, &take(&pg, &dir, "copy"));
}

#[test]
fn every_kind_of_object_comes_back_on_16() {
    every_kind_comes_back(16);
}

#[test]
fn every_kind_of_object_comes_back_on_18() {
    every_kind_comes_back(18);
}

#[test]
fn statistics_travel_where_the_server_can_dump_them() {
    let pg = Postgres::version(18);
    pg.sql("CREATE DATABASE app");
    pg.sql_in("app", "CREATE TABLE t AS SELECT generate_series(1, 1000) AS a; ANALYZE");
    let dir = Sandbox::new();

    let ran = pgbackup(&pg, &dir).args(["app", "--", "--statistics"]).run().code(1);

    let backup = Backup::read(dir.join(ran.stdout_text().trim_end()));
    assert_eq!(backup.entries("STATISTICS DATA"), ["t"]);
    round_trip::verify(&dir, &backup);
    round_trip::restore(&pg, &dir, &backup, "copy");
    assert_eq!(pg.sql_in("copy", "SELECT reltuples FROM pg_class WHERE relname = 't'"), "1000");
}

#[test]
fn each_server_gets_the_pg_dump_of_its_own_major() {
    let servers = [15, 16, 18].map(Postgres::version);
    let dir = Sandbox::new();
    let path: Vec<PathBuf> = servers.iter().map(|pg| pg.bin().to_owned()).collect();
    let path = std::env::join_paths(path).unwrap();

    for pg in &servers {
        let run = dir.tool("pgbackup").envs(pg.env()).env("PATH", &path).args(["--dir", ".", "postgres"]).run();

        let backup = Backup::read(dir.join(run.stdout_text().trim_end()));
        let version = backup.manifest["client"]["version"].as_str().unwrap();
        assert!(version.starts_with(&format!("{}.", pg.major())), "{version} for {}", pg.major());
    }
}

#[test]
fn a_newer_pg_dump_moves_an_older_server_to_its_own_major() {
    let (old, new) = (every_kind(16, &["app"]), every_kind(18, &[]));
    let dir = Sandbox::new();
    let run = |pg: &Postgres| {
        let ran = dir.tool("pgbackup").envs(pg.env()).args(["--dir", ".", "app", "--pg-bin"]).arg(new.bin()).run();
        Backup::read(dir.join(ran.code(1).stdout_text().trim_end()))
    };

    let backup = run(&old);

    assert_eq!(backup.rows(), round_trip::rows_in(&old, "app"));
    let note = backup.manifest["notes"][0].as_str().unwrap();
    assert!(note.contains("is newer than the server (16."), "{note}");
    round_trip::verify(&dir, &backup);
    round_trip::restore_as(&new, &dir, &backup, "app", "UTF8|C.UTF-8|C.UTF-8");
    assert_eq!(contents(&backup), contents(&run(&new)));
}

/// Rows, sequence values and large objects: what must be equal on any version.
fn contents(backup: &Backup) -> Vec<String> {
    backup.content().into_iter().filter(|record| !record.starts_with("{\"entry\"")).collect()
}
