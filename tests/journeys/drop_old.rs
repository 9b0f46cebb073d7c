//! `--drop-old`: what was put aside goes, after a backup of it.

use crate::place::names_in;
use crate::swap_place::{BEFORE, Swapped};
use common::units::Stamp;
use std::time::{Duration, SystemTime};

#[test]
fn an_old_database_is_backed_up_and_then_dropped() {
    let place = Swapped::new();

    let ran = place.tool().args(["--drop-old", "--yes", "--dir", "backups"]).run().stderr_is("").code(0);

    assert_eq!(place.databases(), ["app"]);
    let path = ran.stdout_text().trim_end();
    assert!(path.starts_with(&format!("backups/{BEFORE}-2")) && path.ends_with(".sql.gz"), "{ran:?}");
    place.dir.tool("backup-verify").args(["--no-config", path]).run().code(0);
    place.undo().run().stderr_has("has put a database aside").code(3);
}

#[test]
fn one_that_is_too_young_stays() {
    let place = Swapped::new();
    place.undo().run().code(0);

    place.tool().args(["--drop-old", "--older-than", "1d", "--yes", "--dir", "backups"]).run().stderr_is("").code(0);

    assert_eq!(place.databases().len(), 2);
    assert!(names_in(&place.dir.join("backups")).is_empty());
}

#[test]
fn one_whose_name_is_ahead_of_the_clock_goes_as_well() {
    let place = Swapped::new();
    let now = Stamp::from(SystemTime::now());
    // The names of the next seconds are taken, so an undo takes one behind them.
    let taken = (0..20).map(|second| format!("app_failed_{}", now.saturating_add(Duration::from_secs(second))));
    let taken: Vec<_> = taken.collect();
    taken.iter().for_each(|name| drop(place.pg.sql(&format!("CREATE DATABASE \"{name}\" STRATEGY file_copy"))));
    place.undo().run().code(0);

    place.tool().args(["--drop-old", "--yes", "--no-safety-backup"]).run().stderr_is("").code(0);

    assert_eq!(place.databases(), [vec!["app".to_owned()], taken].concat());
}

#[test]
fn without_a_backup_it_stays_and_is_closed_again() {
    let place = Swapped::new();
    place.pg.sql_in("postgres", &format!("ALTER DATABASE \"{BEFORE}\" CONNECTION LIMIT 7"));
    let drop_old = |dir: &str| place.tool().args(["--drop-old", "--yes", "--dir", dir]).run();

    drop_old("nowhere").stdout_is("").stderr_has("cannot back up database").code(2);

    assert_eq!(place.databases(), ["app".to_owned(), format!("{BEFORE} closed")]);
    assert_eq!(place.pg.sql(&format!("SELECT datconnlimit FROM pg_database WHERE datname = '{BEFORE}'")), "7");
    place.tool().args(["--drop-old", "--yes"]).run().stdout_is("").stderr_has("no directory for the backups").code(2);
    drop_old("backups").code(0);
}

#[test]
fn a_signal_in_the_backup_leaves_it_closed() {
    let place = Swapped::new();
    let go_on = place.dir.join("go");
    let tool = place.tool().args(["--drop-old", "--yes", "--dir", "backups"]);
    let running = place.at(tool, "old-opened", &format!("pause:{}", go_on.display())).spawn();
    place.dir.wait_for("go.reached");
    assert_eq!(place.databases()[1], BEFORE);

    running.term();
    std::fs::write(go_on, "").unwrap();

    running.wait().signalled(15);
    assert_eq!(place.databases(), ["app".to_owned(), format!("{BEFORE} closed")]);
}

#[test]
fn while_it_is_backed_up_only_a_superuser_could_get_in() {
    let place = Swapped::new();
    let go_on = place.dir.join("go");
    let tool = place.tool().args(["--drop-old", "--yes", "--dir", "backups"]);
    let running = place.at(tool, "old-opened", &format!("pause:{}", go_on.display())).spawn();
    place.dir.wait_for("go.reached");

    let psql = place.dir.program(place.pg.bin().join("psql")).envs(place.pg.env()).env("PGUSER", "owner");
    psql.args(["-d", BEFORE, "-c", "SELECT 1"]).run().stderr_has("too many connections for database").code(2);

    std::fs::write(go_on, "").unwrap();
    running.wait().code(0);
}

#[test]
fn the_owner_can_do_it_too() {
    let place = Swapped::new();
    place.pg.sql("ALTER ROLE owner CREATEDB");

    let tool = place.tool().args(["--drop-old", "--yes", "--dir", "backups"]).env("PGUSER", "owner");
    tool.run().stderr_is("").code(0);

    assert_eq!(place.databases(), ["app"]);
}

#[test]
fn retention_of_somebody_else_is_never_applied_by_its_backup() {
    let place = Swapped::new();
    let tool =
        |name: &str| place.dir.tool(name).envs(place.pg.env()).arg("--no-config").arg("--pg-bin").arg(place.pg.bin());
    for _ in 0..2 {
        tool("pgbackup").args(["--dir", "backups", "app"]).run().code(0);
        std::thread::sleep(Duration::from_secs(1));
    }
    let count = || names_in(&place.dir.join("backups")).iter().filter(|name| name.ends_with(".sql.gz")).count();
    assert_eq!(count(), 2);

    let drop_old = place.tool().args(["--drop-old", "--yes", "--dir", "backups"]);
    drop_old.env("PGBACKUP_KEEP_LAST", "1").env("PGBACKUP_NAME", "x").run().stderr_is("").code(0);

    assert_eq!(count(), 3);
}

#[test]
fn a_database_that_is_gone_is_struck_off_the_record() {
    let place = Swapped::new();
    place.pg.sql(&format!("DROP DATABASE \"{BEFORE}\""));

    let ran = place.tool().args(["--drop-old", "--yes", "--dir", "backups", "--format", "json"]).run();

    ran.stdout_has("somebody has removed it already").code(0);
    assert_eq!(place.state()["aside"], serde_json::json!([]));
}
