//! `--undo` and the swap that it shares with a restore: names, the application around it, what is refused.

use crate::place::chmod;
use crate::swap_place::{BEFORE, Swapped};
use harness::{Postgres, tmpfs};
use std::fs;
use std::time::Duration;

#[test]
fn undo_brings_the_old_database_back_and_keeps_what_it_replaces() {
    let place = Swapped::new();
    let (old, new) = (place.oid(BEFORE), place.oid("app"));

    let ran = place.undo().run().stderr_is("").code(0);

    let undone = ran.stdout_text().trim_end().to_owned();
    assert!(undone.starts_with("app_undone_2"), "{ran:?}");
    assert_eq!((place.oid("app"), place.oid(&undone)), (old, new));
    assert_eq!(place.live(), "old");
    assert_eq!(place.databases(), ["app".to_owned(), format!("{undone} closed")]);
}

#[test]
fn a_second_undo_goes_forward_again() {
    let place = Swapped::new();
    place.undo().run().code(0);
    assert_eq!(place.live(), "old");

    place.undo().run().stderr_is("").code(0);

    assert_eq!(place.live(), "new");
    assert_eq!(place.databases().len(), 2);
}

#[test]
fn on_every_version_of_the_server() {
    for major in [16, 18] {
        let place = Swapped::with(Postgres::version(major));

        place.undo().run().stderr_is("").code(0);

        assert_eq!(place.live(), "old", "{major}");
    }
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let place = Swapped::new();
    let before = place.state();

    place.tool().args(["--undo", "--to", "app", "--dry-run"]).run().stdout_has("OK app: ").stderr_is("").code(0);

    assert_eq!((place.live().as_str(), place.state()), ("new", before));
}

#[test]
fn without_a_terminal_it_takes_yes_from_nowhere_but_the_command_line() {
    let place = Swapped::new();
    let undo = || place.tool().args(["--undo", "--to", "app"]).env("PGRESTORE_SAFE_YES", "1");

    undo().run().stdout_is("").stderr_has("nobody can be asked").stderr_has("--yes").code(3);

    assert_eq!(place.live(), "new");
}

#[test]
fn on_a_terminal_the_name_has_to_be_typed() {
    let place = Swapped::new();
    for (typed, live) in [("yes", "new"), ("app", "old")] {
        let command = format!(
            "{} --no-config --pg-bin {} --state-dir state --undo --to app",
            harness::tool_path("pgrestore-safe").display(),
            place.pg.bin().display()
        );
        let script = place.dir.program("script").args(["-qec", &command, "/dev/null"]).envs(place.pg.env());

        let ran = script.stdin_bytes(format!("{typed}\n")).run();

        ran.stdout_has("type the name of the database, app: ");
        assert_eq!(place.live(), live);
    }
}

#[test]
fn nothing_to_undo_is_said() {
    let place = Swapped::new();
    fs::remove_file(place.state_file()).unwrap();

    place.undo().run().stdout_is("").stderr_has("no restore of \"app\" has put a database aside").code(3);
}

#[test]
fn a_planted_database_is_never_swapped_in_nor_dropped() {
    let place = Swapped::new();
    place.pg.sql(&format!("ALTER DATABASE \"{BEFORE}\" RENAME TO hidden"));
    place.pg.sql(&format!("CREATE DATABASE \"{BEFORE}\" OWNER owner"));
    let drop_old = || place.tool().args(["--drop-old", "--yes", "--dir", "backups"]);

    place.undo().run().stdout_is("").stderr_has("is not the one on record").code(3);
    drop_old().run().stdout_is("").stderr_has("is not the one on record").code(2);

    assert_eq!(place.live(), "new");
    assert_eq!(place.databases(), ["app".to_owned(), BEFORE.to_owned(), "hidden closed".to_owned()]);
}

#[test]
fn one_that_was_given_to_another_owner_is_not_the_one_on_record() {
    let place = Swapped::new();
    place.pg.sql(&format!("CREATE ROLE other; ALTER DATABASE \"{BEFORE}\" OWNER TO other"));

    place.undo().run().stdout_is("").stderr_has("owner \"other\", not").code(3);

    assert_eq!(place.live(), "new");
}

#[test]
fn the_application_is_stopped_before_the_swap_and_started_behind_it() {
    let place = Swapped::new();

    let undo = place.undo().args(["--stop", &place.note("stop"), "--start", &place.note("start")]);
    undo.args(["--check", &place.note("check"), "--format", "json"]).run().stdout_has("\"stopped_seconds\":").code(0);

    assert_eq!(place.notes(), ["stop app undo", "start app undo", "check app undo"]);
    assert_eq!(place.live(), "old");
}

#[test]
fn a_failed_check_swaps_back_and_the_old_one_can_still_be_undone_to() {
    let place = Swapped::new();
    let before = place.databases();
    let undo = || place.undo().args(["--stop", &place.note("stop"), "--start", &place.note("start")]);

    let ran = undo().args(["--check", &place.note("check 1")]).run().code(2);

    ran.stderr_has("the check of the application failed").stderr_has("leads to the old database again");
    assert_eq!(place.notes(), ["stop app undo", "start app undo", "check app undo", "stop app undo", "start app undo"]);
    assert_eq!((place.live().as_str(), place.databases()), ("new", before));
    undo().run().code(0);
    assert_eq!(place.live(), "old");
}

#[test]
fn an_application_that_does_not_stop_is_started_again_and_nothing_is_swapped() {
    let place = Swapped::new();

    let undo = place.undo().args(["--stop", &place.note("stop 1"), "--start", &place.note("start")]);
    undo.run().stdout_is("").stderr_has("cannot stop the application: note failed with exit code 1").code(2);

    assert_eq!(place.notes(), ["stop app undo", "start app undo"]);
    assert_eq!(place.live(), "new");
    assert_eq!(place.state()["run"], serde_json::Value::Null);
}

#[test]
fn an_application_that_does_not_start_on_the_other_database_is_a_failed_check() {
    let place = Swapped::new();

    let undo = place.undo().args(["--stop", &place.note("stop"), "--start", &place.note("start 1")]);
    undo.run().stderr_has("cannot start the application").code(2);

    assert_eq!(place.live(), "new");
}

#[test]
fn what_a_start_command_leaves_running_holds_no_lock() {
    let place = Swapped::new();

    let undo =
        || place.undo().args(["--stop", "true", "--start", "sh -c 'sleep 60 &'"]).timeout(Duration::from_secs(50));
    undo().run().code(0);
    undo().run().code(0);

    assert_eq!(place.live(), "new");
}

#[test]
fn a_stop_request_waits_until_the_application_runs_again() {
    let place = Swapped::new();
    let stop = format!("sh -c '{}; touch stopping; sleep 1'", place.note("stop"));
    let running = place.undo().args(["--stop", &stop, "--start", &place.note("start")]).spawn();
    place.dir.wait_for("stopping");

    running.term();

    running.wait().stderr_has("stopped by signal 15 before anything was swapped").signalled(15);
    assert_eq!(place.notes(), ["stop app undo", "start app undo"]);
    assert_eq!(place.live(), "new");
    assert_eq!(place.state()["run"], serde_json::Value::Null);
}

#[test]
fn a_session_that_may_not_be_ended_stops_the_swap_and_is_named() {
    let place = Swapped::new();
    place.pg.sql("ALTER ROLE owner CREATEDB");
    let holder = place.dir.program(place.pg.bin().join("psql")).envs(place.pg.env()).args(["-d", "app", "-c"]);
    let holder = holder.arg("SELECT pg_sleep(100)").spawn();
    while place.pg.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'") != "1" {}

    let ran = place.undo().env("PGUSER", "owner").run();

    ran.stdout_is("").stderr_has("cannot be ended").stderr_has("sessions of postgres stay").code(2);
    assert!(holder.is_running());
    place.pg.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'app'");
    assert_eq!(place.live(), "new");
    while place.pg.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'") != "0" {}
    place.undo().env("PGUSER", "owner").run().code(0);
    assert_eq!(place.live(), "old");
}

#[test]
fn a_prepared_transaction_stops_the_swap_before_anybody_is_cut_off() {
    let place = Swapped::with(Postgres::builder().conf("max_prepared_transactions = 2").start());
    place.pg.sql_in("app", "BEGIN; INSERT INTO which VALUES ('x'); PREPARE TRANSACTION 'one'");

    place.undo().run().stdout_is("").stderr_has("prepared transactions: one").stderr_has("ROLLBACK PREPARED").code(3);

    place.pg.sql_in("app", "ROLLBACK PREPARED 'one'");
    assert_eq!(place.live(), "new");
}

#[test]
fn two_at_once_are_one_and_a_75() {
    let place = Swapped::new();
    let first = place.undo().args(["--stop", "sh -c 'touch stopping; sleep 2'", "--start", "true"]).spawn();
    place.dir.wait_for("stopping");

    place.undo().run().stdout_is("").stderr_has("another run holds the lock").code(75);
    place.undo().args(["--wait", "30s"]).run().code(0);

    first.wait().code(0);
    assert_eq!(place.live(), "new");
}

#[test]
fn units_are_stopped_and_started_by_systemctl() {
    let place = Swapped::new();
    let notes = place.dir.join("notes");
    let stub = place.dir.join("systemctl");
    fs::write(&stub, format!("#!/bin/sh\necho \"$@\" >> {}\n", notes.display())).unwrap();
    chmod(&stub, 0o755);
    let path = format!("{}:/usr/bin:/bin", place.dir.path().display());

    let undo = place.undo().args(["--service", "app.service", "--service", "worker@1"]).env("PATH", path);
    undo.run().stderr_is("").code(0);

    assert_eq!(place.notes(), ["stop -- app.service worker@1", "start -- app.service worker@1"]);
}

#[test]
fn commands_come_from_nowhere_but_the_command_line() {
    let place = Swapped::new();
    let (stop, start) = (place.note("stop"), place.note("start"));

    let undo = place.undo().env("PGRESTORE_SAFE_STOP", stop).env("PGRESTORE_SAFE_START", start);
    undo.env("PGRESTORE_SAFE_CHECK", "false").run().stderr_is("").code(0);

    assert_eq!(place.notes(), Vec::<String>::new());
}

#[test]
fn a_command_sees_no_secret_of_ours() {
    let place = Swapped::new();
    let script = format!("sh -c 'env > {}'", place.dir.join("environment").display());

    let undo = place.undo().args(["--stop", &script, "--start", "true"]).env("PGPASSWORD", "CANARY");
    undo.env("APP_SECRET", "CANARY").run().stderr_is("").code(0);

    let environment = fs::read_to_string(place.dir.join("environment")).unwrap();
    assert!(environment.contains("NS_DATABASE=app") && !environment.contains("CANARY"), "{environment}");
}

#[test]
fn a_server_that_dies_before_the_commit_comes_back_with_the_old_names() {
    let place = Swapped::new();
    let go_on = place.dir.join("go");
    let undo = place.undo().args(["--stop", &place.note("stop"), "--start", &place.note("start")]);
    let running = place.at(undo, "swap-uncommitted", &format!("pause:{}", go_on.display())).spawn();
    place.dir.wait_for("go.reached");

    // The server of the tests does not wait for its log: what the test made has to be on disk.
    place.pg.sql("CHECKPOINT");
    place.pg.stop_hard();
    fs::write(go_on, "").unwrap();

    running.wait().stdout_is("").stderr_has("run this again with --recover").code(2);
    assert_eq!(place.notes(), ["stop app undo", "start app undo"]);
    place.pg.restart();
    assert_eq!(place.live(), "new");
    place.tool().arg("--recover").run().code(0);
    place.undo().run().code(0);
    assert_eq!(place.live(), "old");
}

#[test]
fn a_record_that_cannot_be_written_stops_the_run_before_the_application_is_stopped() {
    let place = Swapped::new();
    let record = fs::read(place.state_file()).unwrap();
    let disk = tmpfs::mount(&place.dir.join("state"), 64);
    let state = disk.path().join(place.state_file().file_name().unwrap());
    fs::write(state, &record).unwrap();
    let full = fs::write(disk.path().join("filler"), vec![0; 1 << 20]);
    assert!(full.is_err());

    let undo = place.tool_with(disk.path()).args(["--undo", "--to", "app", "--yes"]);
    let undo = undo.args(["--stop", &place.note("stop"), "--start", &place.note("start")]);

    undo.run().stdout_is("").stderr_has("cannot write").stderr_has("No space left").code(3);
    assert_eq!((place.live().as_str(), place.notes().len()), ("new", 0));
}
