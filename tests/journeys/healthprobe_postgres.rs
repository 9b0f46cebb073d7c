//! healthprobe on real databases: what it says of them, by every way there is to reach one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Authority, PgBouncer, Postgres, Ran, Sandbox, Tool, app_user, sampler, stub};
use postgres::{Client, NoTls};

const PASSWORD: &str = "CANARY%/@#: p";
const ENCODED: &str = "CANARY%25%2F%40%23%3A%20p";
/// Autovacuum is off in servers for tests, which is a WARNING.
const CHECKS: &str = "checks=default,-vacuum";

pub(crate) fn healthprobe(dir: &Sandbox) -> Tool {
    dir.tool("healthprobe").arg("--no-config")
}

/// The address of a server's socket, as the superuser.
fn socket(pg: &Postgres) -> String {
    format!("'host={} port={} user=postgres dbname=postgres'", pg.socket_dir().display(), pg.port())
}

fn look(pg: &Postgres, words: &str) -> Ran {
    healthprobe(&Sandbox::new()).arg(format!("postgres:{} name=db {words}", socket(pg))).run().stderr_is("")
}

fn write(path: &std::path::Path, mode: u32, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn connect(pg: &Postgres, application: &str) -> Client {
    let address = format!(
        "host={} port={} user=postgres dbname=postgres application_name={application}",
        pg.socket_dir().display(),
        pg.port()
    );
    Client::connect(&address, NoTls).unwrap()
}

/// Waits until a query yields `t`.
#[track_caller]
fn until(pg: &Postgres, query: &str) {
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
fn every_way_of_writing_an_address_leads_there() {
    let pg = Postgres::start();
    pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE app OWNER app"));
    let (port, dir) = (pg.port(), Sandbox::new());
    let at = format!("app:{ENCODED}@127.0.0.1:{port}/app");
    write(&dir.join(".env"), 0o600, &format!("DATABASE_URL='postgresql+asyncpg://{at}'\n"));
    write(
        &dir.join("prisma.env"),
        0o600,
        &format!("DATABASE_URL='postgresql://x@pool.invalid/app?pgbouncer=true'\nDIRECT_URL='postgresql://{at}'\n"),
    );
    write(
        &dir.join("parts.env"),
        0o600,
        &format!("DB_HOST=127.0.0.1\nDB_PORT={port}\nDB_DATABASE=app\nDB_USERNAME=app\nDB_PASSWORD='{PASSWORD}'\n"),
    );
    let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    write(&dir.join("pgpass"), 0o600, &format!("*:*:*:nobody:wrong\n127.0.0.1:{port}:app:app:{escaped}\n"));
    write(
        &dir.join("services"),
        0o600,
        &format!("[app]\nhost=127.0.0.1\nport={port}\ndbname=app\nuser=app\npassword={PASSWORD}\n"),
    );
    let probe = || healthprobe(&dir);
    let is_app = |what: &str, tool: Tool| {
        let ran = tool.run().stdout_lacks("CANARY").stderr_is("");
        assert!(ran.code == Some(0), "{what}: {}", ran.picture());
        let answer: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!((&answer["database"], &answer["role"]), (&"app".into(), &"app".into()), "{what}");
    };
    let json = |what: &str| probe().args(["--format", "json"]).arg(format!("{what} checks=connections"));

    for file in [".env", "prisma.env", "parts.env"] {
        is_app(file, json(&format!("postgres: env-file={file}")));
    }
    let uri = format!("postgresql://app@127.0.0.1:{port}/app");
    is_app("pgpass", json(&uri).env("PGPASSFILE", dir.join("pgpass")));
    is_app("passfile=", json(&format!("'{uri}?passfile={}'", dir.join("pgpass").display())));
    is_app("PGPASSWORD", json(&format!("postgresql+psycopg2://app@127.0.0.1:{port}/app")).env("PGPASSWORD", PASSWORD));
    is_app("service", json("postgres: service=app").env("PGSERVICEFILE", dir.join("services")));
    is_app("PGSERVICE", json("postgres").env("PGSERVICE", "app").env("PGSERVICEFILE", dir.join("services")));
    let parts = [("PGHOST", "localhost".to_owned()), ("PGPORT", port.to_string()), ("PGUSER", "app".to_owned())];
    is_app("a name", json("postgres:app").envs(parts).env("PGPASSWORD", PASSWORD));
    is_app(
        "several hosts",
        json(&format!("postgres://app@127.0.0.1:1,127.0.0.1:{port}/app")).env("PGPASSWORD", PASSWORD),
    );
    is_app("the second is a primary", {
        let several = format!("'postgres://app@127.0.0.1:{port}/app?target_session_attrs=read-write'");
        json(&several).env("PGPASSWORD", PASSWORD)
    });
}

#[test]
fn what_is_no_address_is_told_at_once_and_without_its_password() {
    let dir = Sandbox::new();
    for (target, said) in [
        ("postgresql://app:CANARY@h/app", "a password does not belong into a target"),
        ("postgres:mysql://app:CANARY@h/app", "it is not PostgreSQL but mysql"),
        ("postgres:'host=h password=CANARY'", "a password does not belong into a target"),
        ("postgres:app checks=conections", "there is no check \"conections\""),
        ("postgres:app conections>80%", "unknown option \"conections\""),
        ("postgres:app connections>80MiB", "connections>80MiB"),
        ("postgres:app env-file=.env", "say the same thing twice"),
    ] {
        healthprobe(&dir).arg(target).run().stdout_is("").stderr_lacks("CANARY").stderr_has(said).code(3);
    }
    for (target, said) in [
        ("postgres: service=nowhere", "no service file has the service"),
        ("postgres: env-file=gone.env", "cannot open \"gone.env\""),
        ("'postgres://h/app?sslmode=verify-full'", "there are no roots to verify the server by"),
        ("'postgres://h/app?require_auth=scram-sha-256'", "require_auth cannot be kept to"),
    ] {
        healthprobe(&dir).arg(target).run().stdout_has("UNKNOWN ").stdout_has(said).code(3);
    }
}

#[test]
fn a_server_that_is_not_there_or_lets_nobody_in_is_critical() {
    let pg = Postgres::builder().conf("max_connections = 6").conf("superuser_reserved_connections = 3").start();
    pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE app OWNER app"));
    let dir = Sandbox::new();
    let tcp = |user: &str, name: &str| {
        let target = format!("postgres://{user}@127.0.0.1:{}/{name} name=db", pg.port());
        healthprobe(&dir).arg(target).env("PGPASSWORD", PASSWORD).run().stderr_is("")
    };

    tcp("app", "gone")
        .stdout_has("CRITICAL db: cannot connect to 127.0.0.1:")
        .stdout_has("\"gone\" does not exist")
        .code(2);
    tcp("nobody", "app")
        .stdout_has("password authentication failed")
        .stdout_has("hint: check user and password")
        .code(2);
    healthprobe(&dir)
        .arg(format!("postgres://app@127.0.0.1:{}/app name=db", pg.port()))
        .run()
        .stdout_has("UNKNOWN db: ")
        .stdout_has("the server asks for a password, and none was found")
        .stdout_has("hint: put the password into \"")
        .code(3);
    let full: Vec<Client> = (0..3).map(|_| connect_as(&pg, "app")).collect();
    tcp("app", "app")
        .stdout_has("CRITICAL db: ")
        .stdout_has("remaining connection slots are reserved")
        .stdout_has("hint: all connections are in use")
        .code(2);
    drop(full);

    pg.stop_fast();
    tcp("app", "app").stdout_has("Connection refused").stdout_has("hint: is the server running there?").code(2);
    look(&pg, "").stdout_has("CRITICAL db: cannot connect to /tmp/").stdout_has("No such file").code(2);
}

fn connect_as(pg: &Postgres, user: &str) -> Client {
    let address = format!("host={} port={} user={user} dbname={user}", pg.socket_dir().display(), pg.port());
    Client::connect(&address, NoTls).unwrap()
}

/// Stopped by a signal, a server accepts connections and says nothing; so does whatever else listens there.
#[test]
fn a_silent_server_holds_nobody_up() {
    let pg = Postgres::start();
    let silent = stub::silent();
    let stopped = Stopped::new(pg.pid());
    let by_socket = look(&pg, "timeout=1s");
    let by_tcp = healthprobe(&Sandbox::new())
        .arg(format!("postgres://u@127.0.0.1:{}/x name=db timeout=1s", silent.port()))
        .run()
        .stderr_is("");
    drop(stopped);

    for ran in [by_socket, by_tcp] {
        assert!(ran.wall < Duration::from_secs(20), "{}", ran.picture());
        ran.stdout_has("CRITICAL db: ").stdout_has("no answer in time").code(2);
    }
    assert_eq!(silent.connections(), 1);
}

/// A process that is stopped, until this is dropped: a stopped server could not be ended.
struct Stopped(String);

impl Stopped {
    fn new(pid: u32) -> Self {
        let stopped = Stopped(pid.to_string());
        stopped.signal("-STOP");
        stopped
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0]).status().unwrap().success());
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

#[test]
fn a_server_that_speaks_something_else_or_without_end_is_told() {
    let dir = Sandbox::new();
    let at = |stub: &stub::Stub| {
        let target = format!("'postgres://u@127.0.0.1:{}/x?sslmode=disable' name=db timeout=10s", stub.port());
        healthprobe(&dir).arg(target).run().stderr_is("")
    };
    let banner = stub::answering(|stream| std::io::Write::write_all(stream, b"220 mail.test ESMTP\r\n"));
    at(&banner).stdout_has("CRITICAL db: cannot connect to 127.0.0.1:").code(2);

    let endless = stub::answering(|stream| {
        // A notice of 1 GiB, of which we send as much as is taken.
        std::io::Write::write_all(stream, b"N\x40\0\0\0S")?;
        loop {
            std::io::Write::write_all(stream, &[b'x'; 65536])?;
        }
    });
    let ran = at(&endless).stdout_has("the server sends without end").code(2);
    assert!(ran.max_rss_kib.unwrap_or_default() < 128 * 1024, "{}", ran.picture());
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

/// No startup options, one transaction, no named statement: a pool lets that through.
#[test]
fn it_works_through_every_mode_of_pgbouncer() {
    let pg = Postgres::start();
    for mode in ["session", "transaction", "statement"] {
        let mode_line = format!("pool_mode = {mode}");
        let pool = PgBouncer::start(&pg, &[&mode_line, "default_pool_size = 2"]);
        let address = format!("postgres://postgres@127.0.0.1:{}/postgres", pool.port());
        let dir = Sandbox::new();
        for _ in 0..3 {
            let ran = healthprobe(&dir).arg(format!("{address} name=db {CHECKS}")).run();
            ran.stdout_has("OK db: PostgreSQL 15").stderr_is("").code(0);
            healthprobe(&dir)
                .arg(format!("'sql:SELECT 41 + 1' database={address} name=q as-superuser critical=42:42"))
                .run()
                .stdout_has(if mode == "statement" { "UNKNOWN q: " } else { "OK q: 42\n" })
                .code(if mode == "statement" { 3 } else { 0 });
        }
    }
}

#[test]
fn tls_is_as_strict_as_sslmode_says() {
    let dir = Sandbox::new();
    let files = Authority::shared().leaf("localhost").names(["DNS:localhost"]).write(dir.path(), "pg");
    let stranger = Authority::new("a stranger");
    let pg = Postgres::builder()
        .hba("hostssl all app 127.0.0.1/32 scram-sha-256")
        .hba("host all app 127.0.0.1/32 reject")
        .start();
    pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE app OWNER app"));
    for (from, name) in [(&files.chain, "server.crt"), (&files.key, "server.key")] {
        let to = pg.data_dir().join(name);
        fs::copy(from, &to).unwrap();
        let owner = fs::metadata(pg.data_dir()).unwrap();
        std::os::unix::fs::chown(&to, Some(std::os::unix::fs::MetadataExt::uid(&owner)), None).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
    }
    pg.sql("ALTER SYSTEM SET ssl = on");
    pg.sql("SELECT pg_reload_conf()");
    until(&pg, "SELECT current_setting('ssl') = 'on'");
    let look = |host: &str, words: &str| {
        let target = format!("'postgres://app@{host}:{}/app?{words}' name=db checks=connections", pg.port());
        healthprobe(&dir).arg(target).env("PGPASSWORD", PASSWORD).run().stderr_is("").stdout_lacks("CANARY")
    };
    let root = format!("sslrootcert={}", Authority::shared().root().display());
    let wrong = format!("sslrootcert={}", stranger.root().display());

    for words in ["sslmode=prefer", "sslmode=require", "sslmode=allow", "sslmode=require&channel_binding=require", ""] {
        look("127.0.0.1", words).stdout_has("OK db: ").code(0);
    }
    look("localhost", &format!("sslmode=verify-full&{root}")).stdout_has("OK db: ").code(0);
    look("127.0.0.1", &format!("sslmode=verify-ca&{root}")).stdout_has("OK db: ").code(0);
    look("127.0.0.1", &format!("sslmode=verify-full&{root}"))
        .stdout_has("CRITICAL db: ")
        .stdout_has("not valid for name")
        .code(2);
    for mode in ["verify-full", "verify-ca", "require"] {
        look("localhost", &format!("sslmode={mode}&{wrong}"))
            .stdout_has("CRITICAL db: ")
            .stdout_has("UnknownIssuer")
            .code(2);
    }
    look("127.0.0.1", "sslmode=disable").stdout_has("CRITICAL db: ").stdout_has("pg_hba.conf").code(2);
    look("127.0.0.1", "sslmode=require&ssl_min_protocol_version=TLSv1.3").stdout_has("OK db: ").code(0);
}

/// A role that logs in by a certificate, as libpq would show it.
#[test]
fn a_certificate_of_ours_is_shown_where_it_is_asked_for() {
    let dir = Sandbox::new();
    let authority = Authority::shared();
    let server = authority.leaf("localhost").names(["DNS:localhost"]).write(dir.path(), "pg");
    let client =
        authority.leaf("app").common_name("app").extensions("extendedKeyUsage=clientAuth\n").write(dir.path(), "app");
    let pg = Postgres::builder().hba("hostssl all app 127.0.0.1/32 cert").start();
    pg.sql("CREATE ROLE app LOGIN; CREATE DATABASE app OWNER app");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(pg.data_dir()).unwrap());
    let root = authority.root();
    for (from, name) in [(&server.chain, "server.crt"), (&server.key, "server.key"), (&root, "root.crt")] {
        let to = pg.data_dir().join(name);
        fs::copy(from, &to).unwrap();
        std::os::unix::fs::chown(&to, Some(owner), None).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
    }
    pg.sql("ALTER SYSTEM SET ssl_ca_file = 'root.crt'");
    pg.sql("ALTER SYSTEM SET ssl = on");
    pg.sql("SELECT pg_reload_conf()");
    until(&pg, "SELECT current_setting('ssl') = 'on'");
    let look = |words: &str| {
        let target =
            format!("'postgres://app@127.0.0.1:{}/app?sslmode=require{words}' name=db checks=connections", pg.port());
        healthprobe(&dir).arg(target).run().stderr_is("")
    };
    let key = dir.join("client.key");
    fs::copy(&client.key, &key).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let shown = format!("&sslcert={}&sslkey={}", client.chain.display(), key.display());

    look(&shown).stdout_has("OK db: ").code(0);
    look("").stdout_has("CRITICAL db: ").stdout_has("certificate").code(2);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    look(&shown)
        .stdout_has("UNKNOWN db: ")
        .stdout_has("can be read by others")
        .stdout_has("hint: run: chmod 600")
        .code(3);
    // A file of others may name what never ends.
    look("&sslrootcert=/dev/zero").stdout_has("UNKNOWN db: ").stdout_has("is not a regular file").code(3);
}

/// The recipe of PostgreSQL's documentation: a certificate that signs itself, its name in the common name only.
#[test]
fn a_self_signed_certificate_can_be_its_own_root() {
    let dir = Sandbox::new();
    let pg = Postgres::builder().hba("hostssl all app 127.0.0.1/32 scram-sha-256").start();
    pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE app OWNER app"));
    let (cert, key) = (pg.data_dir().join("server.crt"), pg.data_dir().join("server.key"));
    let made = Command::new("openssl")
        .args(["req", "-new", "-x509", "-days", "30", "-nodes", "-subj", "/CN=localhost", "-out"])
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let owner = fs::metadata(pg.data_dir()).unwrap();
    for path in [&cert, &key] {
        std::os::unix::fs::chown(path, Some(std::os::unix::fs::MetadataExt::uid(&owner)), None).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::copy(&cert, dir.join("root.crt")).unwrap();
    pg.sql("ALTER SYSTEM SET ssl = on");
    pg.sql("SELECT pg_reload_conf()");
    until(&pg, "SELECT current_setting('ssl') = 'on'");
    let look = |host: &str, mode: &str| {
        let root = dir.join("root.crt");
        let words = format!("sslmode={mode}&sslrootcert={}", root.display());
        let target = format!("'postgres://app@{host}:{}/app?{words}' name=db checks=connections", pg.port());
        healthprobe(&dir).arg(target).env("PGPASSWORD", PASSWORD).run()
    };

    look("localhost", "verify-full").stdout_has("OK db: ").code(0);
    look("127.0.0.1", "verify-ca").stdout_has("OK db: ").code(0);
    look("127.0.0.1", "verify-full").stdout_has("CRITICAL db: ").code(2);
}

/// THREATS G10: the address of a file that somebody else writes gets nothing of ours.
#[test]
fn a_foreign_env_file_gets_no_password_of_ours() {
    let asker = stub::cleartext_password_asker();
    let (uid, gid) = app_user();
    let dir = Sandbox::new();
    write(&dir.join(".pgpass"), 0o600, "*:*:*:*:CANARY\n");
    write(&dir.join(".env"), 0o644, &format!("DATABASE_URL=postgres://app@127.0.0.1:{}/app\n", asker.port()));
    std::os::unix::fs::chown(dir.join(".env"), Some(uid), Some(gid)).unwrap();

    healthprobe(&dir)
        .arg("postgres: env-file=.env name=db run-as=root")
        .env("PGPASSWORD", "CANARY")
        .run()
        .stdout_has("UNKNOWN db: ")
        .stdout_has("none was found")
        .code(3);
    assert!(!String::from_utf8_lossy(&asker.received()).contains("CANARY"));

    // Of our own it is sent: the stub does listen.
    let own = format!("'postgres://app@127.0.0.1:{}/app' name=db", asker.port());
    healthprobe(&dir).arg(own).env("PGPASSWORD", "CANARY").run().stdout_lacks("CANARY").code(2);
    assert!(String::from_utf8_lossy(&asker.received()).contains("CANARY"));
}

/// THREATS G3: who writes lines to our standard input chooses a server, and gets nothing of ours there.
#[test]
fn a_line_of_standard_input_gets_no_password_of_ours() {
    let asker = stub::cleartext_password_asker();
    let dir = Sandbox::new();
    write(&dir.join(".pgpass"), 0o600, "*:*:*:*:CANARY\n");
    let from_pipe = |line: String| {
        healthprobe(&dir)
            .arg("-")
            .stdin_bytes(line)
            .env("PGPASSWORD", "CANARY")
            .env("PGPASSFILE", dir.join(".pgpass"))
            .run()
    };

    from_pipe(format!("postgres://app@127.0.0.1:{}/app name=db\n", asker.port())).stdout_has("none was found").code(3);
    assert!(!String::from_utf8_lossy(&asker.received()).contains("CANARY"));
    for line in [
        "postgres: env-file=.env",
        "postgres: service=x",
        "postgres:app run-as=root",
        "'postgres://h/app?passfile=/etc/shadow'",
    ] {
        from_pipe(format!("{line}\n")).stderr_has("not ").code(3);
    }
}

#[test]
fn no_password_is_seen_anywhere() {
    let pg = Postgres::start();
    pg.sql(&format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'; CREATE DATABASE app OWNER app"));
    let dir = Sandbox::new();
    let url = format!("postgresql://app:{ENCODED}@127.0.0.1:{}/app", pg.port());
    write(&dir.join(".env"), 0o600, &format!("DATABASE_URL={url}\n"));
    write(&dir.join("wrong.env"), 0o600, &format!("DATABASE_URL={}\n", url.replace("p@127", "q@127")));

    let watch = sampler();
    for format in ["text", "json", "nagios", "prometheus", "sh"] {
        for file in [".env", "wrong.env"] {
            healthprobe(&dir)
                .args(["-vv", "--journal", "journal", "--format", format, "--write", "prometheus:out.prom"])
                .arg(format!("postgres: env-file={file}"))
                .run()
                .stdout_lacks("CANARY")
                .stderr_lacks("CANARY");
        }
    }
    let seen = watch.stop();

    assert!(!seen.iter().any(|line| line.contains("CANARY")), "{seen:#?}");
    for file in ["journal", "out.prom"] {
        assert!(!fs::read_to_string(dir.join(file)).unwrap().contains("CANARY"), "{file}");
    }
}

/// As root the socket's peer is whom we connect for, as it is for psql that runs as that user.
#[test]
fn root_connects_to_a_socket_in_the_place_of_another_user() {
    let pg = Postgres::builder().hba("local all postgres peer").start();
    let name = pg_owner(&pg);
    let target = |run_as: &str| {
        let address = socket(&pg);
        healthprobe(&Sandbox::new()).arg(format!("postgres:{address} name=db checks=connections {run_as}")).run()
    };
    if name == "postgres" {
        target("").stdout_has("OK db: ").code(0);
        target("run-as=postgres").stdout_has("OK db: ").code(0);
    }
    target("run-as=root").stdout_has("CRITICAL db: ").stdout_has("Peer authentication failed").code(2);
    target("run-as=nobody-of-that-name").stdout_has("UNKNOWN db: ").code(3);
    let address = socket(&pg).replace("dbname", "requirepeer=nobody dbname");
    healthprobe(&Sandbox::new())
        .arg(format!("postgres:{address} name=db"))
        .run()
        .stdout_has("the server belongs to user ")
        .code(2);
}

fn pg_owner(pg: &Postgres) -> String {
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(pg.data_dir()).unwrap());
    nix::unistd::User::from_uid(owner.into()).unwrap().unwrap().name
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
