//! healthprobe on real databases: what it says of them. How it gets there is in `healthprobe_postgres_ways.rs`, whom it
//! trusts on the way in `healthprobe_postgres_trust.rs`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Postgres, Ran, Sandbox, Tool};
use postgres::{Client, NoTls};

pub(crate) const PASSWORD: &str = "CANARY%/@#: p";
pub(crate) const ENCODED: &str = "CANARY%25%2F%40%23%3A%20p";
/// Autovacuum is off in servers for tests, which is a WARNING.
pub(crate) const CHECKS: &str = "checks=default,-vacuum";

pub(crate) fn healthprobe(dir: &Sandbox) -> Tool {
    dir.tool("healthprobe").arg("--no-config")
}

/// The address of a server's socket, as the superuser.
pub(crate) fn socket(pg: &Postgres) -> String {
    format!("'host={} port={} user=postgres dbname=postgres'", pg.socket_dir().display(), pg.port())
}

pub(crate) fn look(pg: &Postgres, words: &str) -> Ran {
    healthprobe(&Sandbox::new()).arg(format!("postgres:{} name=db {words}", socket(pg))).run().stderr_is("")
}

pub(crate) fn write(path: &std::path::Path, mode: u32, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn connect(pg: &Postgres, application: &str) -> Client {
    let address = format!(
        "host={} port={} user=postgres dbname=postgres application_name={application}",
        pg.socket_dir().display(),
        pg.port()
    );
    Client::connect(&address, NoTls).unwrap()
}

/// Waits until a query yields `t`.
#[track_caller]
pub(crate) fn until(pg: &Postgres, query: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while pg.sql(query) != "t" {
        assert!(Instant::now() < deadline, "never true: {query}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_server_where_all_is_well_is_ok_in_every_version() {
    for major in [15, 16, 18] {
        let pg = Postgres::version(major);
        pg.sql("CREATE ROLE watch LOGIN; GRANT pg_monitor TO watch");
        let address = socket(&pg).replace("user=postgres", "user=watch");

        healthprobe(&Sandbox::new())
            .arg(format!("postgres:{address} name=db checks=all,-vacuum"))
            .run()
            .stdout_has(&format!("OK db: PostgreSQL {major}."))
            .stdout_has(" of 97 connections used\n")
            .stderr_is("")
            .code(0);
        // A superuser sees the same, and a word of advice.
        look(&pg, CHECKS).stdout_has("hint: it logs in as a superuser").code(0);
        look(&pg, "checks=vacuum").stdout_has("WARNING db: vacuum: autovacuum is off").code(1);
    }
}

#[test]
fn who_blocks_whom_is_told() {
    let pg = Postgres::start();
    pg.sql("CREATE TABLE t AS SELECT 1 AS a");
    let mut holder = connect(&pg, "web");
    holder.batch_execute("BEGIN; LOCK TABLE t").unwrap();
    let mut waiting = connect(&pg, "report");
    let cancel = waiting.cancel_token();
    let waits = thread::spawn(move || waiting.batch_execute("SELECT 'CANARY' FROM t"));
    until(&pg, "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");

    let now = look(&pg, "checks=blocked blocked>0s,1h");
    let by_default = look(&pg, CHECKS);

    now.stdout_has("WARNING db: blocked: ")
        .stdout_has("(postgres, \"report\") has been waiting for ")
        .stdout_has("(postgres, \"web\") (idle in transaction for ")
        .stdout_has("hint: end the one that blocks with: SELECT pg_terminate_backend(PID)")
        .stdout_lacks("CANARY")
        .code(1);
    by_default.stdout_has("OK db: ").code(0);
    cancel.cancel_query(NoTls).unwrap();
    waits.join().unwrap().unwrap_err();
}

#[test]
fn long_queries_idle_and_prepared_transactions_are_told() {
    let pg = Postgres::builder().conf("max_prepared_transactions = 2").start();
    let mut idle = connect(&pg, "forgetful");
    idle.batch_execute("BEGIN; SELECT 1").unwrap();
    let mut long = connect(&pg, "report");
    let mut dump = connect(&pg, "pg_dump");
    let cancels = [long.cancel_token(), dump.cancel_token()];
    let threads = [
        thread::spawn(move || long.batch_execute("SELECT pg_sleep(600)")),
        thread::spawn(move || dump.batch_execute("SELECT pg_sleep(600)")),
    ];
    pg.sql("CREATE TABLE t AS SELECT 1 AS a; BEGIN; DELETE FROM t; PREPARE TRANSACTION 'forgotten'");
    until(&pg, "SELECT count(*) = 2 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'");

    let ran = look(&pg, "checks=reachable queries>0s,1h idle>0s,1h prepared>0s,1h");
    let ignored = look(&pg, "ignore=report,pg_dump queries>0s,1h");

    ran.stdout_has("WARNING db: queries: ")
        .stdout_has("(postgres, \"report\") running for ")
        .stdout_lacks("pg_dump\") running")
        .stdout_has("idle: ")
        .stdout_has("(postgres, \"forgetful\") idle in a transaction for ")
        .stdout_has("prepared: \"forgotten\" for ")
        .code(1);
    ignored.stdout_lacks("queries:");
    for cancel in cancels {
        cancel.cancel_query(NoTls).unwrap();
    }
    for thread in threads {
        thread.join().unwrap().unwrap_err();
    }
}

#[test]
fn connections_and_wraparound_have_thresholds_of_their_own() {
    let pg = Postgres::builder().conf("max_connections = 20").start();
    let _five: Vec<_> = (0..5).map(|_| connect(&pg, "pool")).collect();

    look(&pg, "checks=connections").stdout_has("OK db: ").code(0);
    look(&pg, "checks=connections connections>10%,90%")
        .stdout_has("WARNING db: connections: 6 of 17 used; connections is above 10 %")
        .code(1);
    look(&pg, "checks=reachable warning=connections>10% critical=connections>20%").stdout_has("CRITICAL db: ").code(2);
    look(&pg, "checks=wraparound wraparound>0%,50%")
        .stdout_has("WARNING db: wraparound: database \"")
        .stdout_has(" transactions old; wraparound is above 0 %")
        .code(1);
    let nagios = healthprobe(&Sandbox::new())
        .args(["--format", "nagios"])
        .arg(format!("postgres:{} name=db checks=connections", socket(&pg)))
        .run();
    nagios.stdout_has("connections'=35.").stdout_has("%;80;95;0;100").code(0);
}

#[test]
fn slots_standbys_and_a_failing_archive_are_told() {
    let pg = Postgres::builder()
        .conf("wal_level = logical")
        .conf("archive_mode = on")
        .conf("archive_command = 'false'")
        .start();
    pg.sql(
        "SELECT pg_create_physical_replication_slot('gone', true); CREATE TABLE t AS SELECT generate_series(1, 100000)",
    );
    let mut receiver = receive(&pg);
    until(&pg, "SELECT count(*) = 1 FROM pg_stat_replication WHERE state = 'streaming'");
    pg.sql("SELECT pg_switch_wal()");
    until(&pg, "SELECT failed_count > 0 FROM pg_stat_archiver");

    let ran = look(&pg, "checks=reachable retained>1MiB,1GiB unarchived>0s,100y standbys<2,0");
    let slots = look(&pg, "checks=slots");

    ran.stdout_has("WARNING db: ")
        .stdout_has("slots: slot \"gone\" keeps ")
        .stdout_has("MiB, not in use")
        .stdout_has("archive: archiving fails, nothing was archived for ")
        .stdout_has("replication: \"away\" streaming")
        .stdout_has("standbys is below 2")
        .code(1);
    slots.stdout_has("OK db: ").code(0);
    receiver.kill().unwrap();
    receiver.wait().unwrap();
}

/// A standby, as far as the server can tell.
fn receive(pg: &Postgres) -> Child {
    let dir = pg.socket_dir();
    let mut command = Command::new(pg.bin().join("pg_receivewal"));
    command.envs(pg.env()).args(["-D", dir.to_str().unwrap(), "-d", "application_name=away"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn tables_with_dead_rows_and_a_cold_cache_are_told() {
    let pg = Postgres::start();
    pg.sql("CREATE TABLE t AS SELECT generate_series(1, 50000) AS a");
    pg.sql("DELETE FROM t WHERE a > 10000");
    pg.sql("ANALYZE t");
    until(&pg, "SELECT n_dead_tup >= 40000 FROM pg_stat_user_tables WHERE relname = 't'");

    look(&pg, "checks=vacuum dead>40%,90%")
        .stdout_has("WARNING db: vacuum: autovacuum is off; public.t has 40,000 dead rows, 80 %; dead is above 40 %")
        .code(1);
    look(&pg, "checks=cache").stdout_has("OK db: ").code(0);
    look(&pg, "checks=size size>1MiB,1TiB").stdout_has("WARNING db: size: ").stdout_has("public.t (").code(1);
    look(&pg, "checks=indexes").stdout_has("OK db: ").code(0);
}

#[test]
fn slow_statements_are_told_where_the_extension_is() {
    let pg = Postgres::builder().conf("shared_preload_libraries = 'pg_stat_statements'").start();

    look(&pg, "checks=statements")
        .stdout_has("UNKNOWN db: statements: the extension pg_stat_statements is not in")
        .code(3);
    look(&pg, "checks=all,-vacuum").stdout_has("OK db: ").code(0);
    // Who makes a view of that name is not believed.
    pg.sql("CREATE SCHEMA \"a b\"; CREATE VIEW pg_stat_statements AS SELECT 1/0 AS a");
    pg.sql("DROP VIEW pg_stat_statements; CREATE EXTENSION pg_stat_statements SCHEMA \"a b\"");
    pg.sql("CREATE TABLE t AS SELECT 'CANARY' AS a");
    for _ in 0..10 {
        pg.sql("SELECT pg_sleep(0.01) FROM t WHERE a = 'CANARY'");
    }

    look(&pg, "checks=statements").stdout_has("OK db: ").code(0);
    look(&pg, "checks=reachable slowest>1ms,1h")
        .stdout_has("WARNING db: statements: \"SELECT pg_sleep($1) FROM t WHERE a = $2\" takes ")
        .stdout_has("(10 calls)")
        .stdout_lacks("CANARY")
        .code(1);
}

/// What a role may not see is told, and never OK by silence.
#[test]
fn a_role_without_rights_is_told_what_it_cannot_see() {
    for major in [15, 18] {
        let pg = Postgres::version(major);
        pg.sql("CREATE ROLE app LOGIN; CREATE DATABASE app OWNER app");
        let address = socket(&pg).replace("user=postgres dbname=postgres", "user=app dbname=app");
        let look = |words: &str| {
            healthprobe(&Sandbox::new()).arg(format!("postgres:{address} name=db {words}")).run().stderr_is("")
        };

        look(CHECKS)
            .stdout_has("UNKNOWN db: rights: queries, blocked, idle and replication cannot be judged: role \"app\"")
            .stdout_has("hint: GRANT pg_monitor TO app; or choose what it may see: checks=default,-queries,-blocked")
            .code(3);
        look("checks=default,-queries,-blocked,-idle,-replication,-vacuum").stdout_has("OK db: ").code(0);
        pg.sql("GRANT pg_monitor TO app");
        look(CHECKS).stdout_has("OK db: ").code(0);
    }
}

/// THREATS G9, H8: an owner of the database makes things that are called like the server's own.
#[test]
fn nothing_that_a_hostile_database_defines_is_called() {
    let pg = Postgres::start();
    pg.sql("CREATE ROLE app LOGIN; CREATE DATABASE app OWNER app");
    pg.sql_in(
        "app",
        "SET ROLE app; CREATE SCHEMA evil; \
         CREATE FUNCTION evil.gain() RETURNS int LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'RESET ROLE'; \
            EXECUTE 'ALTER ROLE app SUPERUSER'; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 0; END $$; \
         CREATE FUNCTION evil.pg_database_size(name) RETURNS int8 LANGUAGE sql AS 'SELECT evil.gain(); SELECT 1::int8'; \
         CREATE FUNCTION evil.count(int4) RETURNS int8 LANGUAGE sql AS 'SELECT evil.gain(); SELECT 1::int8'; \
         CREATE FUNCTION evil.eq(name, name) RETURNS bool LANGUAGE sql AS 'SELECT evil.gain(); SELECT true'; \
         CREATE OPERATOR evil.= (FUNCTION = evil.eq, LEFTARG = name, RIGHTARG = name)",
    );
    pg.sql_in("app", "CREATE TABLE evil.pg_class (oid int); CREATE VIEW evil.pg_database AS SELECT evil.gain()");
    pg.sql("ALTER DATABASE app SET search_path = evil, public, pg_catalog; ALTER DATABASE app SET default_transaction_read_only = off");
    let address = socket(&pg).replace("dbname=postgres", "dbname=app");

    // The trap is real: who asks carelessly falls into it.
    pg.sql_in("app", "SELECT pg_database_size('app'::name)");
    assert_eq!(pg.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app'"), "t");
    pg.sql("ALTER ROLE app NOSUPERUSER");

    healthprobe(&Sandbox::new())
        .arg(format!("postgres:{address} name=db checks=all,-vacuum"))
        .run()
        .stdout_has("OK db: ")
        .code(0);
    healthprobe(&Sandbox::new())
        .arg(format!("\"sql:SELECT pg_database_size('app'::name)\" database={address} name=q as-superuser"))
        .run()
        .stdout_has("OK q: ")
        .code(0);

    assert_eq!(pg.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app'"), "f");
}

#[test]
fn stopping_the_database_names_the_database_and_shows_the_application_as_blocked() {
    let pg = Postgres::start();
    let dir = Sandbox::new();
    // An application that asks its database for every answer.
    let (psql, host) = (pg.bin().join("psql"), pg.socket_dir());
    let at = format!("-h {} -p {} -U postgres postgres", host.display(), pg.port());
    let app = format!("command:{} -XAtwc 'SELECT 1' {at} name=app needs=db", psql.display());
    let targets = format!("postgres:{} name=db checks=reachable\n{app}\nvalue:1 name=else\n", socket(&pg));
    write(&dir.join("targets"), 0o600, &targets);
    let look = || healthprobe(&dir).args(["--targets", "targets"]).run();
    look().stdout_has("OK db: ").stdout_has("OK app: ").code(0);

    pg.stop_fast();

    let ran = look().code(2).stdout_has("CRITICAL db: cannot connect to ").stdout_has("UNKNOWN app: blocked by db: ");
    assert!(ran.stdout_text().starts_with("CRITICAL db: "), "the cause comes first: {}", ran.picture());
    ran.stdout_has("OK else: ");
}
