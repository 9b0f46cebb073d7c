//! What goes wrong with a server leaves no backup, no litter, and the earlier backups as they were.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use common::backup::catalog::VERIFIED;
use harness::{Postgres, Ran, Running, Sandbox, Tool, free_port, is_root, stub};
use rustix::process::{Pid, Signal, kill_process};

use crate::round_trip::{Backup, verify};

/// A directory for backups that holds a good one already, which every failing run could expire.
struct Store {
    outer: Sandbox,
    earlier: Backup,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Store {
    /// Takes the first backup of `app`.
    fn with_backup_of(pg: &Postgres) -> Self {
        let outer = Sandbox::new();
        fs::create_dir(outer.join("store")).unwrap();
        let ran = pgbackup(pg, &outer).args(["--compress", "zstd:1", "app"]).run().stderr_is("").code(0);
        let earlier = Backup::read(outer.join(ran.stdout_text().trim_end()));
        let before = files(&outer);
        Self { outer, earlier, before }
    }

    fn pgbackup(&self, pg: &Postgres) -> Tool {
        pgbackup(pg, &self.outer).args(["--keep-last", "1"])
    }

    /// A run that stands still in the middle of the dump, until [`Store::let_go`].
    fn paused(&self, pg: &Postgres) -> Running {
        let action = format!("dump-running=pause:{}", self.outer.join("go").display());
        let running = self.pgbackup(pg).arg("app").env("NIGHTSHIFT_FAILPOINT", action).spawn();
        self.outer.wait_for("go.reached");
        assert!(self.outer.files().iter().any(|file| file.ends_with(".partial")), "{:?}", self.outer.files());
        running
    }

    fn let_go(&self, running: Running) -> Ran {
        fs::write(self.outer.join("go"), "").unwrap();
        running.wait()
    }

    /// A failure as it has to be: exit code 2, one line that says all of it, a hint, and nothing touched.
    #[track_caller]
    fn is_untouched_after(&self, ran: Ran, says: &[&str], hint: &str) {
        let ran = ran.stdout_is("").code(2);
        let stderr = ran.stderr_text();
        let lines: Vec<_> = stderr.lines().collect();
        assert_eq!(lines.len(), 2, "one error and its hint\n{}", ran.picture());
        assert!(lines[0].starts_with("pgbackup: error: app: "), "{}", ran.picture());
        for part in says {
            assert!(lines[0].contains(part), "the error does not say {part:?}\n{}", ran.picture());
        }
        assert_eq!(lines[1], format!("pgbackup: hint: {hint}"), "{}", ran.picture());
        assert!(files(&self.outer) == self.before, "something was left or taken: {:?}", self.outer.files());
        verify(&self.outer, &self.earlier);
    }
}

fn pgbackup(pg: &Postgres, outer: &Sandbox) -> Tool {
    outer.tool("pgbackup").envs(pg.env()).args(["--dir", "store", "--pg-bin"]).arg(pg.bin())
}

/// All files of the store and their bytes, but for the locks.
fn files(outer: &Sandbox) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = outer.join("store").read_dir().unwrap().flatten().map(|entry| entry.path());
    let is_lock = |path: &PathBuf| path.extension().is_some_and(|end| end == "lock");
    // What backup-verify said when a test looked is no doing of pgbackup.
    let is_verdict = |path: &PathBuf| path.to_string_lossy().ends_with(VERIFIED);
    entries
        .filter(|path| !is_lock(path) && !is_verdict(path))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// A server with a database that takes more than the pipes between pg_dump and us to dump.
fn large() -> Postgres {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE app");
    pg.sql_in("app", "CREATE TABLE t AS SELECT n, repeat(md5(n::text), 8) AS a FROM generate_series(1, 60000) AS n");
    pg
}

/// A server with a small database and a role that may do nothing yet.
fn small() -> Postgres {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE app; CREATE ROLE reader LOGIN PASSWORD 'right'");
    pg.sql_in("app", "CREATE TABLE t AS SELECT 1 AS a; CREATE TABLE secret AS SELECT 2 AS a");
    pg
}

/// The server process that pg_dump talks to.
fn backend_of_pg_dump(pg: &Postgres) -> Pid {
    let pid = pg.sql("SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY public.t %' AND state = 'active'");
    Pid::from_raw(pid.parse().unwrap_or_else(|e| panic!("{pid:?}: {e}"))).unwrap()
}

/// The pg_dump that a run of ours has started.
fn pg_dump_of(running: &Running) -> Pid {
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(stat) = fs::read_to_string(process.path().join("stat")) else { continue };
        // PID (NAME) STATE PPID …
        let Some((front, rest)) = stat.rsplit_once(')') else { continue };
        let parent = rest.split_whitespace().nth(1).and_then(|parent| parent.parse().ok());
        if front.ends_with("(pg_dump") && parent == Some(running.pid()) {
            return Pid::from_raw(front.split(' ').next().unwrap().parse().unwrap()).unwrap();
        }
    }
    panic!("no pg_dump runs")
}

const DIED: &str = "the server ended the connection: its log says why; then run this again";

#[test]
fn a_killed_server_process_leaves_no_backup() {
    let pg = large();
    let store = Store::with_backup_of(&pg);
    let running = store.paused(&pg);

    kill_process(backend_of_pg_dump(&pg), Signal::KILL).unwrap();
    let ran = store.let_go(running);

    store.is_untouched_after(ran, &["pg_dump failed with exit code 1", "\"t\"", "server closed the connection"], DIED);
}

#[test]
fn a_terminated_server_process_leaves_no_backup() {
    let pg = large();
    let store = Store::with_backup_of(&pg);
    let running = store.paused(&pg);

    assert_eq!(pg.sql(&format!("SELECT pg_terminate_backend({})", backend_of_pg_dump(&pg).as_raw_nonzero())), "t");
    let ran = store.let_go(running);

    store.is_untouched_after(ran, &["pg_dump failed with exit code 1", "\"t\""], DIED);
}

#[test]
fn a_server_that_is_shut_down_leaves_no_backup_however_it_goes() {
    let pg = large();
    let store = Store::with_backup_of(&pg);

    let running = store.paused(&pg);
    pg.stop_fast();
    let ran = store.let_go(running);
    store.is_untouched_after(ran, &["pg_dump failed with exit code 1"], DIED);

    pg.restart();
    fs::remove_file(store.outer.join("go")).unwrap();
    fs::remove_file(store.outer.join("go.reached")).unwrap();
    let running = store.paused(&pg);
    pg.stop_hard();
    let ran = store.let_go(running);
    store.is_untouched_after(ran, &["pg_dump failed with exit code 1"], DIED);

    pg.restart();
    store.pgbackup(&pg).arg("app").run().stderr_is("").code(0);
}

#[test]
fn a_killed_pg_dump_leaves_no_backup() {
    let pg = large();
    let by_kernel = "did the kernel end it, for lack of memory, or somebody by hand? see: journalctl -k";
    for (signal, says, hint) in [
        (Signal::KILL, "pg_dump was killed by signal 9", by_kernel),
        // pg_dump catches it.
        (Signal::TERM, "terminated by user", "somebody ended it by a signal: run this again"),
    ] {
        let store = Store::with_backup_of(&pg);
        let running = store.paused(&pg);

        kill_process(pg_dump_of(&running), signal).unwrap();
        let ran = store.let_go(running);

        store.is_untouched_after(ran, &[says], hint);
    }
}

#[test]
fn pg_dump_never_runs_as_root() {
    let pg = large();
    let store = Store::with_backup_of(&pg);
    let running = store.paused(&pg);

    let status = fs::read_to_string(format!("/proc/{}/status", pg_dump_of(&running).as_raw_nonzero())).unwrap();
    let ran = store.let_go(running);

    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().split_whitespace();
    let (uids, groups): (Vec<_>, Vec<_>) = (field("Uid:").collect(), field("Groups:").collect());
    assert!(uids.len() == 4 && !uids.contains(&"0"), "real, effective, saved and file system: {uids:?}");
    assert!(!is_root() || !groups.contains(&"0"), "{groups:?}");
    ran.stderr_is("").code(0);
}

#[test]
fn a_run_on_a_server_that_falls_silent_can_be_stopped() {
    let pg = large();
    let store = Store::with_backup_of(&pg);
    let running = store.paused(&pg);
    let (backend, pg_dump) = (backend_of_pg_dump(&pg), pg_dump_of(&running));
    kill_process(backend, Signal::STOP).unwrap();
    fs::write(store.outer.join("go"), "").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200)); // it reads what the pipes still hold, then waits
    assert!(running.is_running());

    running.term();
    let ran = running.wait();

    kill_process(backend, Signal::CONT).unwrap();
    let ran = ran.stdout_is("").signalled(15);
    assert!(ran.wall.as_secs() < 10, "{}", ran.picture());
    assert!(!PathBuf::from(format!("/proc/{}", pg_dump.as_raw_nonzero())).exists(), "pg_dump is left behind");
    assert!(files(&store.outer) == store.before, "{:?}", store.outer.files());
    verify(&store.outer, &store.earlier);
}

/// A psql that holds a lock on table `t` and then does `then`, when told to.
fn holder(pg: &Postgres, store: &Store, then: &str) -> Running {
    let place = store.outer.path().display();
    let script = format!(
        "BEGIN;\nLOCK TABLE t;\n\\! touch {place}/locked\n\\! while [ ! -e {place}/release ]; do sleep 0.01; done\n{then};\nCOMMIT;\n"
    );
    let psql = store.outer.program(pg.bin().join("psql")).envs(pg.env());
    let running = psql.args(["-Xq", "-d", "app"]).stdin_bytes(script).spawn();
    store.outer.wait_for("locked");
    running
}

fn release(store: &Store, holder: Running) {
    fs::write(store.outer.join("release"), "").unwrap();
    holder.wait().stderr_is("").code(0);
}

fn wait_until_pg_dump_waits_for_a_lock(pg: &Postgres) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'LOCK TABLE %'";
    while pg.sql(waiting) == "0" {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_table_that_goes_after_the_snapshot_leaves_no_backup() {
    let pg = small();
    let store = Store::with_backup_of(&pg);
    let holder = holder(&pg, &store, "DROP TABLE t");

    let running = store.pgbackup(&pg).arg("app").spawn();
    wait_until_pg_dump_waits_for_a_lock(&pg);
    release(&store, holder);

    let hint = "did a migration change tables meanwhile? run this again when it is over";
    store.is_untouched_after(
        running.wait(),
        &["pg_dump failed with exit code 1", "relation \"public.t\" does not exist"],
        hint,
    );
}

#[test]
fn a_table_that_changes_while_pg_dump_waits_for_it_is_dumped_as_it_is_then() {
    let pg = small();
    let store = Store::with_backup_of(&pg);
    let holder = holder(&pg, &store, "INSERT INTO t VALUES (7)");

    let running = store.pgbackup(&pg).arg("app").spawn();
    wait_until_pg_dump_waits_for_a_lock(&pg);
    release(&store, holder);

    let ran = running.wait().stderr_is("").code(0);
    let backup = Backup::read(store.outer.join(ran.stdout_text().trim_end()));
    // The snapshot is older than the insert.
    assert_eq!(backup.rows()[&("public".into(), "t".into())], 1);
    verify(&store.outer, &backup);
}

#[test]
fn a_lock_that_is_held_too_long_is_told() {
    let pg = small();
    let store = Store::with_backup_of(&pg);
    let holder = holder(&pg, &store, "SELECT");

    let ran = store.pgbackup(&pg).args(["app", "--", "--lock-wait-timeout=200ms"]).run();
    let who = pg.sql("SELECT count(*) FROM pg_locks WHERE NOT granted");
    release(&store, holder);

    let hint =
        "somebody holds a lock on a table: see pg_locks and pg_stat_activity, or give --lock-wait-timeout more time";
    store.is_untouched_after(
        ran,
        &["pg_dump failed with exit code 1", "statement timeout", "LOCK TABLE public.t"],
        hint,
    );
    assert_eq!(who, "0", "nobody waits any more");
}

#[test]
fn a_server_that_accepts_and_is_silent_is_given_up() {
    let pg = small();
    let store = Store::with_backup_of(&pg);
    let stub = stub::silent();

    let ran = store
        .pgbackup(&pg)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", stub.port().to_string())
        .env("PGCONNECT_TIMEOUT", "2")
        .arg("app")
        .run();

    assert!(ran.wall.as_secs() < 10, "{:?}", ran.wall);
    let hint = "the server does not answer in time: check host, port and firewall; PGCONNECT_TIMEOUT sets the limit";
    store.is_untouched_after(ran, &["cannot connect", "timeout expired"], hint);
}

#[test]
fn a_server_that_cannot_be_reached_is_told_with_what_to_check() {
    let pg = small();
    let store = Store::with_backup_of(&pg);

    let refused =
        store.pgbackup(&pg).env("PGHOST", "127.0.0.1").env("PGPORT", free_port().to_string()).arg("app").run();
    let hint = "is the server running there? check host and port, or the socket directory";
    store.is_untouched_after(refused, &["cannot connect", "Connection refused"], hint);

    let no_socket = store.pgbackup(&pg).env("PGHOST", "/nowhere").arg("app").run();
    store.is_untouched_after(no_socket, &["cannot connect", "No such file or directory"], hint);

    let unknown = store.pgbackup(&pg).env("PGHOST", "no-such-host.invalid").arg("app").run();
    store.is_untouched_after(unknown, &["cannot connect", "no-such-host.invalid"], "check the host name");
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let pg = small();
    let store = Store::with_backup_of(&pg);
    let over_tcp = || store.pgbackup(&pg).env("PGHOST", "127.0.0.1").env("PGUSER", "reader").arg("app");

    let wrong = over_tcp().env("PGPASSWORD", "CANARY-8").run().stderr_lacks("CANARY");
    let hint = "check user and password: in ~/.pgpass, PGPASSWORD, or the file that holds DATABASE_URL";
    store.is_untouched_after(wrong, &["cannot connect", "password authentication failed for user \"reader\""], hint);

    // As root it would name the .pgpass of the user that client programs run as.
    let none = over_tcp().args(if is_root() { &["--run-as", "root"][..] } else { &[] }).run();
    let hint = "put the password into ~/.pgpass (mode 0600) or PGPASSWORD";
    store.is_untouched_after(none, &["cannot connect", "no password supplied"], hint);
}

#[test]
fn a_database_or_role_that_does_not_exist_is_told() {
    let pg = small();
    let store = Store::with_backup_of(&pg);

    let ran = store.pgbackup(&pg).env("PGUSER", "nobody-here").arg("app").run();
    let hint = "check the user name: the server has no such role, or it may not log in";
    store.is_untouched_after(ran, &["cannot connect", "role \"nobody-here\" does not exist"], hint);

    let ran = store.pgbackup(&pg).arg("ap").run().stdout_is("").code(2);
    assert_eq!(
        ran.stderr_text(),
        format!(
            "pgbackup: error: ap: cannot connect: connection to server on socket \"{}/.s.PGSQL.{}\" failed: FATAL:  \
             database \"ap\" does not exist\npgbackup: hint: list the databases with: psql -l\n",
            pg.socket_dir().display(),
            pg.port()
        )
    );
    assert!(files(&store.outer) == store.before);
}

#[test]
fn a_role_without_rights_on_one_table_makes_no_backup() {
    let pg = small();
    let store = Store::with_backup_of(&pg);
    pg.sql_in("app", "GRANT SELECT ON t TO reader");

    let ran = store.pgbackup(&pg).env("PGUSER", "reader").arg("app").run();

    let hint = "give the role what it lacks; pg_read_all_data and pg_monitor are enough for a dump";
    store.is_untouched_after(ran, &["pg_dump failed with exit code 1", "permission denied for table secret"], hint);
}

#[test]
fn a_role_that_would_see_only_some_rows_makes_no_backup() {
    let pg = small();
    let store = Store::with_backup_of(&pg);
    pg.sql_in(
        "app",
        "GRANT pg_read_all_data TO reader; ALTER TABLE t ENABLE ROW LEVEL SECURITY;
        CREATE POLICY none ON t FOR SELECT USING (false)",
    );

    let ran = store.pgbackup(&pg).env("PGUSER", "reader").arg("app").run();

    let hint = "row security hides rows from this role: use one with BYPASSRLS, or the owner of the tables";
    store.is_untouched_after(ran, &["query would be affected by row-level security policy for table \"t\""], hint);
}

#[test]
fn a_server_with_too_few_locks_for_its_tables_is_told_what_to_raise() {
    let pg = Postgres::builder().conf("max_locks_per_transaction = 10").conf("max_connections = 10").start();
    pg.sql("CREATE DATABASE app");
    pg.sql_in("app", "CREATE TABLE t (a int)");
    let store = Store::with_backup_of(&pg);
    pg.sql_in("app", "SELECT format('CREATE TABLE t%s (a int)', n) FROM generate_series(1, 1500) AS n \\gexec");

    let ran = store.pgbackup(&pg).arg("app").run();

    let hint = "raise max_locks_per_transaction of the server: pg_dump locks every table";
    store.is_untouched_after(ran, &["pg_dump failed with exit code 1", "out of shared memory"], hint);
}

#[test]
fn one_database_that_fails_does_not_keep_the_others_from_their_backup() {
    let pg = small();
    pg.sql("CREATE DATABASE other; ALTER DATABASE app CONNECTION LIMIT 0; ALTER ROLE reader SUPERUSER; ALTER ROLE reader NOSUPERUSER");
    pg.sql("GRANT pg_read_all_data TO reader");
    let outer = Sandbox::new();
    fs::create_dir(outer.join("store")).unwrap();

    let ran = pgbackup(&pg, &outer).env("PGUSER", "reader").args(["--all", "--no-globals"]).run().code(2);

    assert_eq!(ran.stdout_text().lines().count(), 2, "other and postgres\n{}", ran.picture());
    let ran = ran
        .stderr_has("pgbackup: error: app: cannot connect: ")
        .stderr_has("too many connections for database \"app\"");
    assert_eq!(ran.stderr_text().lines().count(), 2, "{}", ran.picture());
}
