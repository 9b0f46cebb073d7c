//! `backup-verify --depth restored`: each backup goes into a throw-away server by the restore that a disaster will use.

use crate::campaign::record;
use crate::place::{FAILPOINT, Place, chmod, label_of, make_directory, names_in};
use crate::round_trip::{Backup, every_kind, pgbackup};
use common::backup::catalog::VERIFIED;
use harness::{Postgres, Ran, Sandbox, Tool, is_root, tmpfs, verify_user, workspace};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// `backup-verify --depth restored` with the directory `work` of the sandbox, about to run.
pub(crate) fn restored(dir: &Sandbox) -> Tool {
    if is_root() {
        verify_user();
    }
    let tool = dir.tool("backup-verify").args(["--no-config", "--depth", "restored", "--jobs", "2"]);
    tool.arg("--work-dir").arg(dir.join("work"))
}

/// The same with the programs of the server, whose version made the backup: another minor version leaves doubts.
pub(crate) fn proven(place: &Place) -> Tool {
    restored(&place.dir).arg("--pg-bin").arg(place.pg.bin())
}

#[track_caller]
pub(crate) fn item(ran: &Ran) -> Value {
    serde_json::from_str(ran.stdout_text()).unwrap_or_else(|e| panic!("{e}\n{}", ran.picture()))
}

/// What lies in the working directory but its lock.
pub(crate) fn left(dir: &Sandbox) -> Vec<String> {
    let work = dir.join("work");
    if !work.exists() {
        return Vec::new();
    }
    names_in(&work).into_iter().filter(|name| name != ".lock").collect()
}

/// Processes whose working directory is there: postmasters and what they have started.
pub(crate) fn processes_in(directory: &Path) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd.starts_with(directory))).collect()
}

#[track_caller]
pub(crate) fn is_gone(dir: &Sandbox) {
    assert_eq!(left(dir), Vec::<String>::new());
    assert_eq!(processes_in(&dir.join("work")), Vec::<u32>::new());
}

/// Waits until a file appears.
#[track_caller]
pub(crate) fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn verdict(place: &Place, label: &str) -> Option<String> {
    let bytes = fs::read(place.backups().join(format!("{label}{VERIFIED}"))).ok()?;
    let verdict: Value = serde_json::from_slice(&bytes).unwrap();
    Some(format!("{} {}", verdict["depth"].as_str().unwrap(), verdict["status"].as_str().unwrap()))
}

#[test]
fn every_kind_of_object_comes_back_in_every_version_and_nothing_is_left() {
    for major in [15, 16, 18] {
        let dir = Sandbox::new();
        let pg = every_kind(major, &["app"]);
        let ran = pgbackup(&pg, &dir).args(["-q", "app"]).run();
        let backup = Backup::read(dir.join(ran.stdout_text().trim_end()));

        // Functions in C and a type of their making are among them.
        let tool =
            restored(&dir).args(["--as-superuser", "--format", "json", "--pg-bin"]).arg(pg.bin()).arg(&backup.path);
        let ran = tool.run().stderr_is("").code(0);

        let item = item(&ran);
        assert_eq!(item["depth"], "restored");
        assert_eq!(item["rows"], backup.manifest["content"]["rows"]);
        assert_eq!(item["different"], 0);
        assert!(item.get("notes").is_none(), "{item}");
        is_gone(&dir);
    }
}

#[test]
fn what_administrators_do_to_ordinary_databases_comes_back() {
    let pg = Postgres::builder().conf("wal_level = logical").start();
    let place = Place::with(pg);
    place.pg.sql("CREATE ROLE a; CREATE ROLE b; CREATE ROLE c");
    place.pg.load_file("app", workspace().join("tests/fixtures/ordinary.sql"));
    let path = format!("backups/{}", place.back_up());

    let ran = proven(&place).args(["--format", "json", &path]).run().stderr_is("").code(0);

    assert_eq!(item(&ran)["different"], 0);
    assert!(item(&ran).get("reworded").is_none() && item(&ran).get("notes").is_none(), "{}", ran.picture());
}

#[test]
fn the_nightly_line_proves_every_row_of_every_database() {
    let place = Place::new();
    place.pg.sql("CREATE ROLE reader; CREATE DATABASE shop");
    place.pg.sql_in("shop", "CREATE TABLE t AS SELECT generate_series(1, 7) AS n; GRANT SELECT ON t TO reader");
    let made = place.pgbackup().args(["--all", "--format", "json"]).run().stderr_is("").code(0);

    let ran = proven(&place).arg("-");
    let ran = ran.stdin_bytes(made.stdout_text()).run().stderr_is("").code(0);

    let text = ran.stdout_text();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert_eq!(text.matches(" as recorded, restored in ").count(), 3, "{text}");
    assert!(text.contains("300 rows of 1 table as recorded, restored"), "{text}");
    assert!(text.contains("only a database can be restored into a throw-away server"), "{text}");
    let proven = place.labels().into_iter().filter(|label| !label.starts_with("globals"));
    for label in proven {
        assert_eq!(verdict(&place, &label).as_deref(), Some("restored OK"), "{label}");
    }
    is_gone(&place.dir);
}

#[test]
fn a_dump_that_no_server_takes_is_critical_and_is_not_written_off_for_it() {
    let place = Place::new();
    // A CHECK that held once and does not any more: psql and pg_restore stop at it, too.
    place.pg.sql_in(
        "app",
        "CREATE FUNCTION is_old(date) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 < DATE ''2020-01-01''';
         CREATE TABLE events (day date CHECK (is_old(day)));
         INSERT INTO events VALUES ('2019-01-01');
         CREATE OR REPLACE FUNCTION is_old(date) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 < DATE ''2000-01-01'''",
    );
    let label = place.back_up();

    let ran = proven(&place).arg(format!("backups/{label}")).run().stderr_is("").code(2);

    assert!(ran.stdout_text().contains(": it cannot be restored: "), "{}", ran.picture());
    assert!(ran.stdout_text().contains("violates check constraint"), "{}", ran.picture());
    assert_eq!(verdict(&place, &label).as_deref(), Some("content OK"));
    is_gone(&place.dir);
}

#[test]
fn required_tables_and_asserts_are_looked_at() {
    let place = Place::new();
    place.pg.sql_in("app", "CREATE TABLE empty (n int)");
    let path = format!("backups/{}", place.back_up());
    let run = |options: &[&str], code| {
        let ran = proven(&place).args(options).arg(&path).run().code(code);
        format!("{}{}", ran.stdout_text(), ran.stderr_text())
    };

    let many = "SELECT count(*) > 100 FROM public.customers";
    run(&["--require-table", "customers,public.customers", "--assert", many, "--assert", "SELECT true"], 0);
    let text = run(&["--require-table", "empty,members", "--assert", "SELECT count(*) > 300 FROM public.customers"], 2);
    assert!(text.contains("table empty is empty; table members is not in it"), "{text}");
    assert!(text.contains("not true: SELECT count(*) > 300 FROM public.customers"), "{text}");
    // What an operator asks for says nothing about the backup itself.
    assert_eq!(verdict(&place, path.trim_start_matches("backups/")).as_deref(), Some("restored OK"));

    let text = run(&["--assert", "SELECT pg_read_file('/etc/passwd') <> ''"], 2);
    assert!(text.contains("permission denied"), "{text}");
    let text = run(&["--assert", "SELECT true; DROP TABLE public.customers"], 3);
    assert!(text.contains("--assert takes one query"), "{text}");
    let text = run(&["--assert", "SELECT true \\! touch pwned"], 3);
    assert!(text.contains("--assert takes one query"), "{text}");
    assert!(!place.dir.join("pwned").exists());
}

pub(crate) fn chown(path: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
}

#[test]
fn tablespaces_and_partial_dumps_come_back_as_they_were() {
    let place = Place::new();
    let disk = place.dir.join("disk");
    make_directory(&disk, 0o700);
    let owner = fs::metadata(place.pg.data_dir()).unwrap();
    chown(&disk, owner.uid(), owner.gid());
    place.pg.sql(&format!("CREATE TABLESPACE \"fast disk\" LOCATION '{}'", disk.display()));
    place.pg.sql_in(
        "app",
        "CREATE SCHEMA logs; CREATE TABLE logs.lines (n int); INSERT INTO logs.lines VALUES (1);
         CREATE TABLE moved (n int) TABLESPACE \"fast disk\"; CREATE INDEX ON moved (n) TABLESPACE \"fast disk\";
         INSERT INTO moved VALUES (1)",
    );
    let options = [&["app"][..], &["app", "--", "--exclude-schema=logs", "--no-owner", "--role=postgres"]];
    for options in options {
        let label = label_of(&place.pgbackup().args(options).run().code(0));
        let ran = proven(&place).arg(format!("backups/{label}")).run();
        assert!(ran.stdout_text().starts_with("OK "), "{}", ran.picture());
    }
    is_gone(&place.dir);
}

#[test]
fn rows_on_other_servers_are_not_written_to_by_a_proof() {
    let place = Place::new();
    let label = place.back_up();
    let mut manifest = place.manifest(&label);
    manifest.client.as_mut().unwrap().options.push("--include-foreign-data=*".into());
    place.write(&manifest);

    let ran = proven(&place).arg(format!("backups/{label}")).run().code(3);

    assert!(ran.stdout_text().contains("would write to the foreign server"), "{}", ran.picture());
}

#[test]
fn rows_that_are_dumped_through_the_root_of_their_partitions_are_proven() {
    let place = Place::new();
    place.pg.sql_in(
        "app",
        "CREATE TABLE hashed (a text) PARTITION BY HASH (a);
         CREATE TABLE h0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE h1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         INSERT INTO hashed SELECT 'row ' || n FROM generate_series(1, 100) AS n",
    );
    let label = label_of(&place.pgbackup().args(["app", "--", "--load-via-partition-root"]).run().code(0));

    let ran = proven(&place).arg(format!("backups/{label}")).run();

    assert!(ran.stdout_text().starts_with("OK "), "{}", ran.picture());
    assert!(ran.stdout_text().contains("400 rows"), "{}", ran.picture());
}

#[test]
fn the_working_directory_may_be_named_from_here() {
    let place = Place::new();
    let path = format!("backups/{}", place.back_up());
    verify_user();
    chmod(place.dir.path(), 0o711);
    let tool = place.dir.tool("backup-verify").args(["--no-config", "--depth", "restored", "--work-dir", "work"]);

    let ran = tool.arg("--pg-bin").arg(place.pg.bin()).arg(&path).run();

    assert!(ran.stdout_text().starts_with("OK "), "{}", ran.picture());
    is_gone(&place.dir);
}

#[test]
fn a_database_that_a_killed_run_left_on_a_given_server_is_named_until_it_is_gone() {
    let place = Place::new();
    let path = format!("backups/{}", place.back_up());
    let server = format!("host={} port={} user=postgres", place.pg.socket_dir().display(), place.pg.port());
    let tool = || {
        let tool = place.dir.tool("backup-verify").args(["--no-config", "--depth", "restored", "--server", &server]);
        tool.arg("--pg-bin").arg(place.pg.bin()).arg(&path)
    };
    place.pg.sql("CREATE DATABASE \"nightshift_verify_20260101T000000Z_42\"");

    tool()
        .run()
        .stderr_has(
            "warning: database \"nightshift_verify_20260101T000000Z_42\" is what a killed run has left on the server",
        )
        .stderr_has("hint: when no proof runs there: DROP DATABASE \"nightshift_verify_20260101T000000Z_42\"")
        .code(0);

    // It may be somebody else's, whatever it is called: we drop nothing that we did not make.
    assert_eq!(place.pg.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'nightshift%'"), "1");
    place.pg.sql("DROP DATABASE \"nightshift_verify_20260101T000000Z_42\"");
    tool().run().stderr_is("").code(0);
}

#[test]
fn a_disk_that_is_too_small_says_nothing_about_the_backup() {
    let place = Place::new();
    let label = place.back_up();
    let path = format!("backups/{label}");
    make_directory(&place.dir.join("work"), 0o711);

    let small = tmpfs::mount(&place.dir.join("work"), 64 << 10);
    let ran = proven(&place).arg(&path).run().code(3);
    drop(small);

    assert!(ran.stdout_text().contains("a restore takes"), "{}", ran.picture());
    assert_eq!(verdict(&place, &label).as_deref(), Some("content OK"));
}

#[test]
fn a_given_server_is_used_and_left_as_it_was() {
    let place = Place::new();
    let path = format!("backups/{}", place.back_up());
    let databases = || place.pg.sql("SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database");
    let before = databases();
    let server = format!("host={} port={} user=postgres", place.pg.socket_dir().display(), place.pg.port());
    let tool = || {
        place
            .dir
            .tool("backup-verify")
            .args(["--no-config", "--depth", "restored", "--server", &server])
            .arg("--pg-bin")
            .arg(place.pg.bin())
            .arg(&path)
    };

    let ran = tool().run().stderr_is("");

    assert!(ran.stdout_text().starts_with("OK "), "{}", ran.picture());
    assert_eq!(databases(), before);

    place.pg.sql("CREATE ROLE gone");
    place.pg.sql_in("app", "GRANT SELECT ON customers TO gone");
    let path = format!("backups/{}", place.back_up());
    place.pg.sql_in("app", "REVOKE SELECT ON customers FROM gone; DROP ROLE gone");
    let tool = place.dir.tool("backup-verify").args(["--no-config", "--depth", "restored", "--server", &server]);
    let ran = tool.arg("--pg-bin").arg(place.pg.bin()).arg(&path).run().code(3);
    assert!(ran.stdout_text().contains("the server has no role gone"), "{}", ran.picture());
    assert_eq!(databases(), before);
}

#[test]
fn a_signal_ends_it_with_its_server() {
    let place = Place::new();
    let path = format!("backups/{}", place.back_up());
    let work = place.dir.join("work");
    let wait = format!("cluster-ready=pause:{}", place.dir.join("go-on").display());
    let running = proven(&place).env(FAILPOINT, wait).arg(&path).spawn();
    wait_for("a postmaster", || place.dir.join("go-on.reached").exists());
    assert!(!processes_in(&work).is_empty());

    running.signal(15);
    fs::write(place.dir.join("go-on"), "").unwrap();
    let _ = running.wait().signalled(15);

    is_gone(&place.dir);
}

/// What nearly every application has: a server shows these in other words once they were restored.
const SHOWN_DIFFERENTLY: &str = "
    CREATE TABLE orders (state varchar(10) CHECK (state IN ('new', 'paid')), n int);
    INSERT INTO orders VALUES ('new', 1);
    CREATE INDEX open ON orders (n) WHERE state IN ('new', 'paid');
    CREATE VIEW few AS SELECT * FROM orders WHERE state NOT IN ('new', 'paid');
    CREATE DOMAIN grade AS varchar CHECK (VALUE IN ('a', 'b'));
    CREATE POLICY p ON orders USING (state IN ('new', 'paid'))";

#[test]
fn what_a_server_shows_in_other_words_after_a_restore_is_no_difference_and_what_says_something_else_is() {
    let place = Place::new();
    place.pg.sql_in("app", SHOWN_DIFFERENTLY);
    let path = format!("backups/{}", place.back_up());

    let ran = proven(&place).args(["--format", "json", &path]).run().stderr_is("").code(0);

    let reworded = &item(&ran)["reworded"];
    assert_eq!(reworded.as_array().map(Vec::len), Some(5), "{reworded}");
    place.pg.sql("CREATE DATABASE copy");
    fs::write(place.dir.join("dump.sql"), place.pg.dump_plain("app")).unwrap();
    place.pg.load_file("copy", place.dir.join("dump.sql"));
    place.pg.sql_in(
        "copy",
        "DROP VIEW few; CREATE VIEW few AS SELECT * FROM orders WHERE state NOT IN ('new', 'sent');
         DROP INDEX open; CREATE INDEX open ON orders (n) WHERE state NOT IN ('new', 'paid')",
    );
    let tool = place.dir.tool("backup-verify").envs(place.pg.env()).args(["--no-config", "--against", "copy"]);
    let ran = tool.arg("--pg-bin").arg(place.pg.bin()).arg(&path).run().code(2);
    let found = ": database copy differs: INDEX public.open differs; VIEW public.few differs\n";
    assert!(ran.stdout_text().ends_with(found), "{}", ran.picture());
}

#[test]
fn a_dump_of_something_else_is_restored_as_well_and_compared_as_far_as_it_can_be() {
    let place = Place::new();
    place.pg.sql("CREATE ROLE reader");
    place.pg.sql_in("app", "GRANT SELECT ON customers TO reader; SELECT setval('customers_id_seq', 4711)");
    fs::write(place.dir.join("app.sql"), place.pg.dump_plain("app")).unwrap();

    let ran = proven(&place).args(["--format", "json", "--require-table", "customers", "app.sql"]).run().code(0);

    let item = item(&ran);
    assert_eq!((&item["depth"], &item["rows"], &item["different"]), (&"restored".into(), &300.into(), &0.into()));
    is_gone(&place.dir);
}

/// Rounds of the campaign, each a kill at another moment.
const KILLS: u64 = 25;

#[test]
#[ignore = "minutes: make campaign"]
fn campaign_of_kills_at_any_moment_leaves_no_process_and_nothing_that_the_next_run_does_not_sweep() {
    let place = Place::new();
    let path = format!("backups/{}", place.back_up());
    let work = place.dir.join("work");
    let began = Instant::now();
    let mut littered = 0;
    let _ = proven(&place).arg(&path).run().code(0);
    let whole = began.elapsed();
    for round in 0..KILLS {
        let running = proven(&place).arg(&path).spawn();
        thread::sleep(whole * u32::try_from(round).unwrap() / u32::try_from(KILLS).unwrap());
        running.kill();
        let _ = running.wait();
        wait_for("the server to end", || processes_in(&work).is_empty());
        assert!(left(&place.dir).len() <= 1, "round {round}: {:?}", left(&place.dir));
        littered += left(&place.dir).len();
    }
    let _ = proven(&place).arg(&path).run().code(0);
    is_gone(&place.dir);
    let did =
        format!("`backup-verify --depth restored` killed at {KILLS} moments of its run: {littered} left a directory");
    record("kills of proofs", began, &did, "every server ended with its run, the next run swept all that was left");
}
