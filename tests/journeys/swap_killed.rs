//! Killed at any instant around a swap, the name leads to one of the two databases, and `--recover` puts right the rest.

use crate::swap_place::{BEFORE, Swapped};
use std::collections::BTreeSet;
use std::fs;

/// Every place between two stages that these sources name.
fn failpoints(files: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(harness::workspace().join("crates/pgrestore-safe/src").join(file)).unwrap();
        names.extend(text.split("failpoint!(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    names
}

/// Both databases are there, one under the name and open, the other closed.
#[track_caller]
fn is_whole(place: &Swapped, at: &str) {
    let databases = place.databases();
    assert_eq!(databases.len(), 2, "{at}: {databases:?}");
    assert_eq!(databases[0], "app", "{at}");
    assert!(databases[1].ends_with(" closed"), "{at}: {databases:?}");
    assert!(["old", "new"].contains(&place.live().as_str()), "{at}");
}

#[test]
fn killed_anywhere_an_undo_leaves_one_of_the_two_and_recover_ends_it() {
    let names = failpoints(&["exchange.rs", "swap.rs"]);
    assert!(names.len() >= 8, "{names:?}");
    for name in &names {
        let place = Swapped::new();
        let (check, swaps_back) = if name.ends_with("back") { ("check 1", true) } else { ("check", false) };
        let undo = place.undo().args(["--stop", &place.note("stop"), "--start", &place.note("start")]);

        place.at(undo.args(["--check", &place.note(check)]), name, "kill").run().signalled(9);

        is_whole(&place, name);
        place.undo().run().stdout_is("").stderr_has("--recover").code(3);
        let dry = place.tool().args(["--recover", "--dry-run"]).run().code(1);
        dry.stdout_has("was cut off");
        let recovered = place.tool().arg("--recover").run();
        assert_eq!(recovered.code, Some(if name == "swapping-back" { 2 } else { 0 }), "{name}: {recovered:?}");
        is_whole(&place, name);
        let is_before = ["stopping", "stopped", "paused", "swap-uncommitted"].contains(&name.as_str());
        let expected = if is_before || swaps_back { "new" } else { "old" };
        assert_eq!(place.live(), expected, "{name}");
        assert_eq!(
            place.notes().iter().rfind(|note| !note.starts_with("check")).unwrap(),
            "start app recover",
            "{name}"
        );
        place.tool().arg("--recover").run().stdout_is("").stderr_is("").code(0);
        assert_eq!(place.state()["run"], serde_json::Value::Null, "{name}");
        place.undo().run().stderr_is("").code(0);
        is_whole(&place, name);
        assert_ne!(place.live(), expected, "{name}");
    }
}

#[test]
fn a_stage_that_fails_before_the_commit_leaves_all_as_it_was_and_running() {
    for name in ["stopping", "stopped", "paused", "swap-uncommitted"] {
        let place = Swapped::new();
        let undo = place.undo().args(["--stop", &place.note("stop"), "--start", &place.note("start")]);

        place.at(undo, name, "error").run().stdout_is("").stderr_has(&format!("failpoint {name}")).code(2);

        is_whole(&place, name);
        assert_eq!(place.live(), "new", "{name}");
        assert_eq!(place.state()["run"], serde_json::Value::Null, "{name}");
        let started = place.notes().last().is_none_or(|note| note == "start app undo");
        assert!(started, "{name}: {:?}", place.notes());
    }
}

#[test]
fn a_stage_that_fails_behind_the_commit_is_said_and_the_application_runs() {
    for name in ["swap-committed", "swapped", "checked"] {
        let place = Swapped::new();
        let undo = place.undo().args(["--stop", &place.note("stop"), "--start", &place.note("start")]);

        place.at(undo, name, "error").run();

        is_whole(&place, name);
        assert_eq!(place.notes().last().unwrap(), "start app undo", "{name}");
        place.tool().arg("--recover").run().code(0);
        assert_eq!(place.live(), "old", "{name}");
    }
}

#[test]
fn killed_while_it_drops_an_old_database_it_leaves_it_closed_after_recover() {
    let names = failpoints(&["drop_old.rs"]);
    assert!(names.len() >= 4, "{names:?}");
    for name in &names {
        let place = Swapped::new();
        place.pg.sql(&format!("ALTER DATABASE \"{BEFORE}\" CONNECTION LIMIT 7"));
        let drop_old = || place.tool().args(["--drop-old", "--yes", "--dir", "backups"]);

        place.at(drop_old(), name, "kill").run().signalled(9);

        place.tool().arg("--recover").run().stderr_is("").code(0);
        let limit =
            place.pg.sql(&format!("SELECT datallowconn, datconnlimit FROM pg_database WHERE datname = '{BEFORE}'"));
        assert!(limit.is_empty() || limit == "f|7", "{name}: {limit}");
        drop_old().run().code(0);
        assert_eq!(place.databases(), ["app"], "{name}");
        assert_eq!(place.state()["aside"], serde_json::json!([]), "{name}");
    }
}

#[test]
fn what_a_killed_run_has_planned_but_somebody_else_made_is_left_alone() {
    let place = Swapped::new();
    let side = "app_nightshift_20261120T020000Z";
    place.pg.sql(&format!("CREATE DATABASE \"{side}\" OWNER owner"));
    let plan = |step: &str, oid: &str| {
        place.record(&format!(
            "\"run\": {{\"stamp\": \"2026-11-20T02:00:00Z\", \"act\": \"restore\", \"step\": \"{step}\",
              \"out\": {{\"name\": \"app\", \"oid\": {}, \"owner\": \"owner\"}}, \"out_name\": \"app_before_x\",
              \"coming\": {{\"name\": \"{side}\", \"oid\": {oid}, \"owner\": \"owner\"}}, \"failed_name\": \"app_failed_x\"}},",
            place.oid("app")
        ));
    };
    let recover = || place.tool().arg("--recover").run();

    plan("loading", "1");
    recover().stdout_is("").stderr_has("is not the one that the run on record made").code(2);
    place.pg.sql_in(side, "CREATE TABLE t ()");
    plan("making", "0");
    recover().stdout_is("").stderr_has("is not the one that the run on record made").code(2);
    place.pg.sql_in(side, "DROP TABLE t");
    recover().stderr_is("").code(0);

    assert_eq!(place.databases().len(), 2);
}

#[test]
fn the_last_statement_of_a_killed_run_is_waited_for() {
    let place = Swapped::new();
    let side = "app_nightshift_20261120T020000Z";
    place.record(&format!(
        "\"run\": {{\"stamp\": \"2026-11-20T02:00:00Z\", \"act\": \"restore\", \"step\": \"making\",
          \"out\": {{\"name\": \"app\", \"oid\": {}, \"owner\": \"owner\"}}, \"out_name\": \"app_before_x\",
          \"coming\": {{\"name\": \"{side}\", \"oid\": 0, \"owner\": \"owner\"}}, \"failed_name\": \"app_failed_x\"}},",
        place.oid("app")
    ));
    // What a psql without its program still carries out: "nsrs" is the lock of every session that works on a database.
    let psql = place.dir.program(place.pg.bin().join("psql")).envs(place.pg.env()).args(["-X", "-d", "postgres"]);
    let psql =
        psql.args(["-c", "SELECT pg_advisory_lock_shared(1853059699, hashtext('app'))", "-c", "SELECT pg_sleep(2)"]);
    let left = psql.args(["-c", &format!("CREATE DATABASE \"{side}\" OWNER owner")]).spawn();
    while place.pg.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == "0" {}

    place.tool().arg("--recover").run().stderr_is("").code(0);

    assert!(!left.is_running());
    assert_eq!(place.databases().len(), 2, "{:?}", place.databases());
}
