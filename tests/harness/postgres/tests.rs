use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::*;
use crate::Sandbox;

fn starts(major: u32) {
    let pg = Postgres::version(major);

    assert_eq!(pg.sql("SHOW server_version_num").parse::<u32>().unwrap() / 10_000, pg.major());
    assert_eq!(pg.sql("SHOW server_encoding; SHOW fsync; SHOW TimeZone"), "UTF8\noff\nUTC");
    assert!(pg.dump_plain("postgres").starts_with(b"--\n-- PostgreSQL database dump\n"));
}

#[test]
fn the_oldest_version_starts() {
    starts(15);
}

#[test]
fn version_16_starts() {
    starts(16);
}

#[test]
fn version_18_starts() {
    starts(18);
}

#[test]
fn a_second_cluster_takes_less_than_a_second_to_start() {
    drop(Postgres::start());

    let begin = Instant::now();
    let pg = Postgres::start();
    let took = begin.elapsed();

    drop(pg);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[test]
fn two_clusters_are_not_the_same_cluster() {
    let (one, other) = (Postgres::start(), Postgres::start());

    let identifier = "SELECT system_identifier FROM pg_control_system()";
    assert_ne!(one.sql(identifier), other.sql(identifier));
}

#[test]
fn a_standby_follows_its_primary() {
    let primary = Postgres::start();
    let standby = Postgres::builder().standby_of(&primary, "away").start();

    primary.sql("CREATE TABLE t AS SELECT 7 AS a");

    let deadline = Instant::now() + Duration::from_secs(30);
    while standby.try_sql_in("postgres", "SELECT a FROM t") != Ok("7".to_owned()) {
        assert!(Instant::now() < deadline, "it does not follow\n{}", standby.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(standby.sql("SELECT pg_is_in_recovery()"), "t");
    assert_eq!(primary.sql("SELECT slot_name, active FROM pg_replication_slots"), "away|t");
}

#[test]
fn an_error_is_handed_back_or_panics() {
    let pg = Postgres::start();

    let error = pg.try_sql_in("postgres", "SELECT 1/0; SELECT 2").unwrap_err();

    assert!(error.contains("division by zero"), "{error}");
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pg.sql("SELECT nothing"))).is_err());
    assert!(pg.log().contains("division by zero"));
}

#[test]
fn much_sql_goes_through() {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE other");

    let answer = pg.sql_in("other", &"SELECT 'x';\n".repeat(20_000));

    assert_eq!(answer.len(), 39_999);
}

#[test]
fn a_file_is_loaded() {
    let (pg, dir) = (Postgres::start(), Sandbox::new());
    std::fs::write(dir.join("t.sql"), "CREATE TABLE t (a int);\nCOPY t FROM stdin;\n7\n\\.\n").unwrap();

    pg.load_file("postgres", dir.join("t.sql"));

    assert_eq!(pg.sql("SELECT a FROM t"), "7");
}

#[test]
fn a_dropped_cluster_leaves_nothing() {
    let pg = Postgres::start();
    let (home, pid) = (pg.data_dir().parent().unwrap().to_path_buf(), pg.pid());

    drop(pg);

    assert!(!home.exists());
    assert!(!Path::new("/proc").join(pid.to_string()).exists());
}

#[test]
fn a_crashed_cluster_recovers_what_was_committed() {
    let pg = Postgres::start();
    pg.sql("SET synchronous_commit = on; CREATE TABLE t AS SELECT 1 AS a");

    pg.stop_hard();
    assert!(pg.try_sql_in("postgres", "SELECT 1").is_err());
    pg.restart();

    assert_eq!(pg.sql("SELECT a FROM t"), "1");
    assert!(pg.log().contains("database system was interrupted"), "{}", pg.log());
}

#[test]
fn a_killed_postmaster_can_be_started_again() {
    let pg = Postgres::start();

    let pid = rustix::process::Pid::from_raw(pg.pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    pg.restart();

    assert_eq!(pg.sql("SELECT 1"), "1");
}

#[test]
fn over_tcp_a_password_is_asked_for() {
    let pg = Postgres::start();
    pg.sql("CREATE ROLE app LOGIN PASSWORD 'secret'");
    let dir = Sandbox::new();
    let psql = || {
        let uri = format!("postgresql://app@127.0.0.1:{}/postgres", pg.port());
        dir.program(pg.bin().join("psql")).args(["-XAtw", "-c", "SELECT current_user", &uri])
    };

    psql().run().stderr_has("no password supplied").code(2);
    psql().env("PGPASSWORD", "wrong").run().stderr_has("password authentication failed").code(2);
    psql().env("PGPASSWORD", "secret").run().stdout_is("app\n").code(0);
}

#[test]
fn settings_access_and_initdb_options_can_differ() {
    let pg = Postgres::builder()
        .conf("log_statement = 'all'")
        .hba("local all stranger reject")
        .initdb_args(["--locale=C", "-E", "LATIN1", "--data-checksums"])
        .start();
    pg.sql("CREATE ROLE stranger LOGIN");

    assert_eq!(pg.sql("SHOW log_statement; SHOW server_encoding; SHOW data_checksums"), "all\nLATIN1\non");
    Sandbox::new()
        .program(pg.bin().join("psql"))
        .envs(pg.env())
        .env("PGUSER", "stranger")
        .args(["-Xw", "-c", "", "postgres"])
        .run()
        .stderr_has("pg_hba.conf rejects")
        .code(2);
}

/// Runs itself once more, in a process that starts a server and is killed.
#[test]
fn a_server_dies_with_the_test_process_and_the_next_one_sweeps() {
    if let Ok(place) = std::env::var("HARNESS_TEST_PLACE") {
        return be_the_process_that_is_killed(&place);
    }
    let dir = Sandbox::new();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "postgres::tests::a_server_dies_with_the_test_process_and_the_next_one_sweeps"])
        .env("HARNESS_TEST_PLACE", dir.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let told = std::fs::read_to_string(dir.wait_for("started")).unwrap();
    let (pid, data) = told.split_once(' ').unwrap();
    assert!(Path::new("/proc").join(pid).exists(), "a server must outlive the thread that started it");

    other.kill().unwrap();
    assert_eq!(other.wait().unwrap().signal(), Some(9));

    let deadline = Instant::now() + Duration::from_secs(10);
    while Path::new("/proc").join(pid).exists() {
        assert!(Instant::now() < deadline, "postmaster {pid} still runs");
        std::thread::sleep(Duration::from_millis(5));
    }
    home::sweep();
    assert!(!Path::new(data).exists());
}

fn be_the_process_that_is_killed(place: &str) {
    let pg = std::thread::spawn(Postgres::start).join().unwrap();
    std::fs::write(format!("{place}/partial"), format!("{} {}", pg.pid(), pg.data_dir().display())).unwrap();
    std::fs::rename(format!("{place}/partial"), format!("{place}/started")).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}
