//! Asked to stop, a run stops: soon, by that signal, saying so, with nothing left behind.

use crate::place::{FAILPOINT, Place, strays};
use harness::{Postgres, Running, Sandbox};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// Somebody who holds a lock in `app` until this is dropped.
pub struct Holder {
    _psql: Running,
    _home: Sandbox,
}

/// Keeps pg_dump waiting before its first byte.
pub fn hold_table(pg: &Postgres) -> Holder {
    hold(pg, "LOCK TABLE customers IN ACCESS EXCLUSIVE MODE")
}

/// Keeps pg_dump waiting when it has written megabytes of rows: the values of sequences come after them, and
/// pg_dump does not lock sequences when it begins.
pub fn hold_after_the_rows(pg: &Postgres) -> Holder {
    pg.sql_in(
        "app",
        "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 10) AS x FROM generate_series(1, 12000) AS n;
         CREATE SEQUENCE slow",
    );
    hold(pg, "DROP SEQUENCE slow")
}

fn hold(pg: &Postgres, statement: &str) -> Holder {
    let home = Sandbox::new();
    // The server notices within 50 ms when the holder is killed.
    let script = format!(
        "SET client_connection_check_interval = 50; SET application_name = 'holder'; BEGIN; {statement}; \
         SELECT pg_sleep(300)"
    );
    let psql = home.program(pg.bin().join("psql")).envs(pg.env()).args(["-X", "-d", "app", "-c", &script]).spawn();
    until("the holder holds its lock", || {
        pg.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holder' AND wait_event = 'PgSleep'")
            == "1"
    });
    Holder { _psql: psql, _home: home }
}

/// Waits until pg_dump waits for a lock, and returns the process id of its server process.
pub fn backend_of_dump(pg: &Postgres) -> String {
    let mut pid = String::new();
    until("pg_dump waits for a lock", || {
        pid =
            pg.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'pgbackup' AND wait_event_type = 'Lock'");
        !pid.is_empty()
    });
    pid
}

/// Whether the server has a process of that id for a client.
pub fn is_backend(pg: &Postgres, pid: &str) -> bool {
    pg.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}")) == "1"
}

/// Waits for something that is sure to come.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Process ids of the pg_dump that reach this server.
pub fn dumps_of(pg: &Postgres) -> Vec<u32> {
    let socket = pg.socket_dir().to_string_lossy().into_owned();
    let of_ours = |pid: &u32| {
        let proc = Path::new("/proc").join(pid.to_string());
        let is_dump = fs::read(proc.join("cmdline"))
            .is_ok_and(|argv| argv.split(|b| *b == 0).next().is_some_and(|p| p.ends_with(b"pg_dump")));
        is_dump && fs::read(proc.join("environ")).is_ok_and(|env| String::from_utf8_lossy(&env).contains(&socket))
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(of_ours).collect()
}

fn stopped_in_mid_dump(signal: i32, name: &str) {
    let place = Place::new();
    let before = place.back_up();
    let holder = hold_after_the_rows(&place.pg);
    let run = place.pgbackup().arg("app").spawn();
    let backend = backend_of_dump(&place.pg);
    assert_eq!(dumps_of(&place.pg).len(), 1);

    let asked = Instant::now();
    run.signal(signal);

    let ran = run.wait();
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    ran.stdout_is("")
        .stderr_is(&format!("pgbackup: error: app: no backup was made in \"backups\": stopped by {name}\n"))
        .signalled(signal);
    assert_eq!(dumps_of(&place.pg), [] as [u32; 0]);
    until("the server process is gone", || !is_backend(&place.pg, &backend));
    assert_eq!(place.labels(), [before]);
    place.is_sound();
    drop(holder);
}

#[test]
fn sigterm_in_mid_dump_ends_the_run_and_all_that_it_started() {
    stopped_in_mid_dump(SIGTERM, "SIGTERM");
}

#[test]
fn sigint_in_mid_dump_ends_the_run_and_all_that_it_started() {
    stopped_in_mid_dump(SIGINT, "SIGINT");
}

#[test]
fn sighup_in_mid_dump_ends_the_run_and_all_that_it_started() {
    stopped_in_mid_dump(SIGHUP, "SIGHUP");
}

#[test]
fn a_shell_sees_128_and_the_number_of_the_signal() {
    let place = Place::new();
    let holder = hold_table(&place.pg);
    let pgbackup = harness::tool_path("pgbackup");
    // `kill` is a program's name in no PATH of ours: the shell's own.
    let script = "\"$0\" --no-config --dir backups --pg-bin \"$1\" app & pid=$!; echo $pid; wait $pid; echo $?";
    let shell = place.dir.program("dash").args(["-c", script]).arg(&pgbackup).arg(place.pg.bin());
    let shell = shell.envs(place.pg.env()).spawn();
    backend_of_dump(&place.pg);
    let pid = pid_of(&pgbackup, &place.dir);

    signal(pid, SIGTERM);

    shell.wait().stdout_is(&format!("{pid}\n143\n")).stderr_has("stopped by SIGTERM").code(0);
    drop(holder);
}

#[test]
fn a_second_signal_ends_a_run_that_hangs_at_once() {
    let place = Place::new();
    // A stage that never looks whether it should stop.
    let run = place.pgbackup().arg("app").env(FAILPOINT, "dump-proven=pause:never").spawn();
    place.dir.wait_for("never.reached");
    run.term();
    std::thread::sleep(Duration::from_millis(300));
    assert!(run.is_running());

    run.term();

    run.wait().stdout_is("").signalled(SIGTERM);
    assert_eq!(place.labels(), [] as [&str; 0]);
    place.back_up();
    place.is_sound();
}

#[test]
fn sigterm_ends_a_run_that_waits_for_the_lock() {
    let place = Place::new();
    let first = place.pgbackup().arg("app").env(FAILPOINT, "files-created=pause:go").spawn();
    place.dir.wait_for("go.reached");
    let second = place.pgbackup().args(["--wait", "1h", "app"]).spawn();
    std::thread::sleep(Duration::from_millis(800));

    let asked = Instant::now();
    second.term();

    second.wait().stdout_is("").stderr_has("pgbackup: error: app: stopped by SIGTERM\n").signalled(SIGTERM);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    fs::write(place.dir.join("go"), "").unwrap();
    first.wait().stderr_is("").code(0);
    place.is_sound();
}

#[test]
fn sigterm_ends_a_run_whose_standard_input_says_nothing_and_stays_open() {
    let dir = Sandbox::new();
    crate::place::make_directory(&dir.join("backups"), 0o700);
    let pgbackup = harness::tool_path("pgbackup");
    let script = "sleep 61 | \"$0\" --no-config --dir backups --stdin uploads; echo $?";
    let shell = dir.program("dash").args(["-c", script]).arg(&pgbackup).spawn();
    dir.wait_for("backups/.uploads-*.partial");
    let pid = pid_of(&pgbackup, &dir);

    let asked = Instant::now();
    signal(pid, SIGTERM);
    until("pgbackup is gone", || !Path::new("/proc").join(pid.to_string()).exists());

    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(strays(&dir.join("backups")), [] as [&str; 0]);
    drop(shell);
}

#[test]
fn sigterm_ends_a_run_that_waits_for_the_servers_first_word() {
    let (place, silent) = (Place::new(), harness::stub::silent());
    let run = place.pgbackup().arg(format!("host=127.0.0.1 port={} dbname=app", silent.port())).spawn();
    until("psql has connected", || silent.connections() > 0);

    let asked = Instant::now();
    run.term();

    run.wait().stdout_is("").stderr_is("pgbackup: error: app: stopped by SIGTERM\n").signalled(SIGTERM);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[test]
fn sigterm_after_the_commit_leaves_the_backup_and_expires_nothing() {
    let place = Place::new();
    let first = place.back_up();
    let run = place.pgbackup().args(["--keep-last", "1", "app"]);
    let run = run.env(FAILPOINT, "manifest-named=pause:go").spawn();
    place.dir.wait_for("go.reached");
    run.term();
    std::thread::sleep(Duration::from_millis(100));

    fs::write(place.dir.join("go"), "").unwrap();

    let run = run.wait().stdout_has("backups/app-").signalled(SIGTERM);
    assert!(run.stderr_text().ends_with("; nothing was expired: stopped by SIGTERM\n"), "{run:?}");
    assert_eq!(place.labels()[0], first);
    assert_eq!(place.labels().len(), 2);
    place.is_sound();
}

#[test]
fn under_nohup_a_hangup_is_not_heard() {
    let place = Place::new();
    let script = "trap '' HUP; exec \"$0\" --no-config --dir backups --pg-bin \"$1\" app";
    let tool = place.dir.program("dash").args(["-c", script]).arg(harness::tool_path("pgbackup")).arg(place.pg.bin());
    let run = tool.envs(place.pg.env()).env(FAILPOINT, "files-created=pause:go").spawn();
    place.dir.wait_for("go.reached");

    run.signal(SIGHUP);
    std::thread::sleep(Duration::from_millis(200));
    fs::write(place.dir.join("go"), "").unwrap();

    run.wait().stdout_has("backups/app-").stderr_is("").code(0);
    place.is_sound();
}

#[test]
fn after_a_signal_the_databases_that_are_left_are_not_begun() {
    let place = Place::new();
    place.pg.sql("CREATE DATABASE b; CREATE DATABASE c");
    let holder = hold_table(&place.pg);
    let run = place.pgbackup().args(["--journal", "journal", "app", "b", "c"]).spawn();
    backend_of_dump(&place.pg);

    run.term();

    run.wait()
        .stdout_is("")
        .stderr_is(
            "pgbackup: error: app: no backup was made in \"backups\": stopped by SIGTERM\n\
             pgbackup: error: b: stopped by SIGTERM\n\
             pgbackup: error: c: stopped by SIGTERM\n",
        )
        .signalled(SIGTERM);
    let journal = fs::read_to_string(place.dir.join("journal")).unwrap();
    assert!(journal.contains("stopped by SIGTERM"), "{journal}");
    drop(holder);
}

#[test]
fn a_reader_of_the_stream_that_goes_away_is_a_failure() {
    let place = Place::new();
    place.pg.sql_in("app", "CREATE TABLE big AS SELECT n, md5(n::text) AS x FROM generate_series(1, 100000) AS n");
    let script = "{ \"$0\" --no-config --pg-bin \"$1\" --stdout app; echo $? >code; } | head -c 10 >start";
    let shell = place.dir.program("bash").args(["-c", script]).arg(harness::tool_path("pgbackup")).arg(place.pg.bin());

    shell
        .envs(place.pg.env())
        .run()
        .stdout_is("")
        .stderr_is("pgbackup: error: app: cannot write standard output: Broken pipe (os error 32)\n")
        .code(0);

    assert_eq!(fs::read_to_string(place.dir.join("code")).unwrap(), "2\n");
    until("pg_dump is gone", || dumps_of(&place.pg).is_empty());
}

#[test]
fn a_reader_of_a_report_that_has_read_enough_does_not_change_the_code() {
    let place = Place::new();
    let script = "{ \"$0\" --no-config --dir backups --pg-bin \"$1\" --format json app nosuch; echo $? >code; } | true";
    let shell = place.dir.program("bash").args(["-c", script]).arg(harness::tool_path("pgbackup")).arg(place.pg.bin());

    shell.envs(place.pg.env()).run().stderr_lacks("Broken pipe").stderr_has("nosuch").code(0);

    assert_eq!(fs::read_to_string(place.dir.join("code")).unwrap(), "2\n");
    assert_eq!(place.labels().len(), 1);
    place.is_sound();
}

/// The process that runs the program and stands in the sandbox.
fn pid_of(program: &Path, dir: &Sandbox) -> u32 {
    let is_it = |pid: &u32| {
        let proc = Path::new("/proc").join(pid.to_string());
        fs::read_link(proc.join("exe")).is_ok_and(|exe| exe == program)
            && fs::read_link(proc.join("cwd")).is_ok_and(|cwd| cwd == dir.path())
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut found = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_it);
    found.next().expect("it runs")
}

/// Signals a process that is no child of ours.
pub fn signal(pid: u32, number: i32) {
    use rustix::process::{Pid, Signal, kill_process};
    let signal = Signal::from_named_raw(number).expect("a signal with a name");
    kill_process(Pid::from_raw(pid.cast_signed()).expect("not 0"), signal).expect("signal a process of ours");
}
