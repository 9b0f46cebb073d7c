//! healthprobe and the ways to a database: all forms of an address, servers that are away, silent or strange, pools, users.

use std::fs;
use std::process::Command;
use std::time::Duration;

use harness::{PgBouncer, Postgres, Sandbox, Tool, stub};
use postgres::{Client, NoTls};

use crate::healthprobe_postgres::{CHECKS, ENCODED, PASSWORD, healthprobe, look, socket, write};

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
