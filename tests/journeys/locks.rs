//! Two runs at once: one works, the other says so and comes back later.

use crate::place::{FAILPOINT, Place, mode, names_in};
use std::fs;
use std::time::{Duration, Instant};

#[test]
fn a_second_run_on_the_same_database_ends_with_75_and_says_what_is_in_the_way() {
    let place = Place::new();
    let first = place.pgbackup().arg("app").env(FAILPOINT, "files-created=pause:go").spawn();
    place.dir.wait_for("go.reached");

    place
        .pgbackup()
        .arg("app")
        .run()
        .stdout_is("")
        .stderr_is(
            "pgbackup: error: app: another run holds the lock \"backups/.app.lock\"\n\
             pgbackup: hint: wait for it with --wait DURATION, or let this run be\n",
        )
        .code(75);

    fs::write(place.dir.join("go"), "").unwrap();
    first.wait().stderr_is("").code(0);
    assert_eq!(place.labels().len(), 1);
    place.is_sound();
}

#[test]
fn with_wait_the_second_run_follows_the_first() {
    let place = Place::new();
    let first = place.pgbackup().arg("app").env(FAILPOINT, "files-created=pause:go").spawn();
    place.dir.wait_for("go.reached");
    let second = place.pgbackup().args(["--wait", "60s", "app"]).spawn();
    std::thread::sleep(Duration::from_millis(700));
    assert!(second.is_running(), "it must wait for the first");

    fs::write(place.dir.join("go"), "").unwrap();

    first.wait().stderr_is("").code(0);
    second.wait().stderr_is("").code(0);
    assert_eq!(place.labels().len(), 2);
    place.is_sound();
}

#[test]
fn a_wait_that_is_too_short_ends_with_75() {
    let place = Place::new();
    let first = place.pgbackup().arg("app").env(FAILPOINT, "files-created=pause:go").spawn();
    place.dir.wait_for("go.reached");

    let second = place.pgbackup().args(["--wait", "300ms", "app"]).run().stderr_has("another run holds the lock");

    assert!(second.wall >= Duration::from_millis(300), "{second:?}");
    assert_eq!(second.code, Some(75), "{second:?}");
    drop(first);
}

#[test]
fn different_databases_do_not_wait_for_each_other() {
    let place = Place::new();
    place.pg.sql("CREATE DATABASE shop");
    let first = place.pgbackup().arg("app").env(FAILPOINT, "files-created=pause:go").spawn();
    place.dir.wait_for("go.reached");

    place.pgbackup().arg("shop").run().stderr_is("").code(0);

    fs::write(place.dir.join("go"), "").unwrap();
    first.wait().stderr_is("").code(0);
    assert_eq!(place.labels().len(), 2);
    place.is_sound();
}

#[test]
fn four_jobs_back_up_all_databases_and_a_busy_one_does_not_hold_up_the_others() {
    let place = Place::new();
    place.pg.sql("CREATE DATABASE a; CREATE DATABASE b; CREATE DATABASE c");
    let first = place.pgbackup().arg("app").env(FAILPOINT, "files-created=pause:go").spawn();
    place.dir.wait_for("go.reached");

    let all = place
        .pgbackup()
        .args(["--all", "--jobs", "4"])
        .run()
        .stderr_is(
            "pgbackup: error: app: another run holds the lock \"backups/.app.lock\"\n\
             pgbackup: hint: wait for it with --wait DURATION, or let this run be\n",
        )
        .code(75);

    // In the order of the databases, whoever was ready first; the globals last.
    let prefixes: Vec<_> =
        all.stdout_text().lines().map(|path| path["backups/".len()..].split_once("-20").unwrap().0).collect();
    assert_eq!(prefixes, ["a", "b", "c", "postgres", "globals"]);
    drop(first);
    place.pgbackup().arg("app").run().code(0);
    place.is_sound();
}

#[test]
fn a_lock_file_belongs_to_its_owner_alone() {
    let place = Place::new();

    place.pgbackup().args(["--keep-last", "1", "app"]).run().code(0);

    let locks: Vec<_> = names_in(&place.backups()).into_iter().filter(|name| name.ends_with(".lock")).collect();
    assert_eq!(locks, [".app.lock", ".nightshift.lock"]);
    for lock in locks {
        assert_eq!(mode(&place.backups().join(&lock)), 0o600, "{lock}");
    }
}

#[test]
fn a_lock_file_that_somebody_planted_as_a_link_is_not_followed() {
    let place = Place::new();
    fs::write(place.dir.join("victim"), "untouched").unwrap();
    std::os::unix::fs::symlink(place.dir.join("victim"), place.backups().join(".app.lock")).unwrap();

    place.pgbackup().arg("app").run().stdout_is("").stderr_has("cannot create \"backups/.app.lock\"").code(2);

    assert_eq!(fs::read_to_string(place.dir.join("victim")).unwrap(), "untouched");
}

#[test]
fn a_pg_dump_that_outlives_a_killed_run_does_not_hold_the_lock() {
    let place = Place::new();
    // pg_dump waits for this lock for as long as it is held, whatever becomes of its parent.
    let holder = crate::signals::hold_table(&place.pg);
    let first = place.pgbackup().arg("app").spawn();
    let pid = crate::signals::backend_of_dump(&place.pg);
    first.kill();
    assert!(crate::signals::is_backend(&place.pg, &pid), "the test needs a pg_dump that is still there");
    drop(holder);

    let began = Instant::now();
    place.pgbackup().arg("app").run().stderr_is("").code(0);

    assert!(began.elapsed() < Duration::from_secs(20));
    place.is_sound();
}
