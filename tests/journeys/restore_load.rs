//! What a load lets through, what it refuses, and that nothing of a hostile dump runs.

use crate::place::{Place, chmod, label_of};
use crate::restore_place::Ruined;
use common::backup::catalog::INDEX;
use harness::{Authority, Postgres, Ran, Tool};
use std::fs;
use std::path::PathBuf;

/// A file that only a statement of a dump could make.
const PWNED: &str = "pwned";

struct Server {
    place: Place,
}

impl Server {
    fn new() -> Self {
        let pg = Postgres::builder().conf("log_statement = all").start();
        Self { place: Place::with(pg) }
    }

    fn pg(&self) -> &Postgres {
        &self.place.pg
    }

    /// `pgrestore-safe --into fresh FILE`.
    fn load(&self, file: &str) -> Tool {
        let tool = self.place.dir.tool("pgrestore-safe").envs(self.pg().env()).arg("--no-config");
        tool.arg("--pg-bin").arg(self.pg().bin()).args(["--into", "fresh", file])
    }

    /// A plain dump of `app` with something put in front of its end.
    fn dump_with(&self, text: &str) -> PathBuf {
        let dump = String::from_utf8(self.pg().dump_plain("app")).unwrap();
        let end = "--\n-- PostgreSQL database dump complete\n--\n";
        assert!(dump.contains(end));
        let path = self.place.dir.join("hostile.sql");
        fs::write(&path, dump.replace(end, &format!("{text}\n\n{end}"))).unwrap();
        path
    }

    fn canary(&self) -> PathBuf {
        self.pg().data_dir().join(PWNED)
    }

    #[track_caller]
    fn is_untouched(&self, ran: &Ran) {
        assert!(!self.canary().exists(), "{ran:?}");
        assert_eq!(self.pg().sql("SELECT count(*) FROM pg_database WHERE datname = 'fresh'"), "0", "{ran:?}");
        assert_eq!(self.pg().sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'nightshift%'"), "0", "{ran:?}");
    }
}

#[test]
fn what_pg_dump_does_not_write_is_refused_before_anything_is_made() {
    let server = Server::new();
    for hostile in [
        "COPY public.customers FROM PROGRAM 'touch pwned';",
        "COPY public.customers FROM '/etc/passwd';",
        "ALTER SYSTEM SET archive_command = 'touch pwned';",
        "CREATE ROLE evil SUPERUSER LOGIN;",
        "ALTER ROLE postgres PASSWORD 'x';",
        "GRANT postgres TO PUBLIC;",
        "DO $$BEGIN COPY (SELECT 1) TO PROGRAM 'touch pwned'; END$$;",
        "LOAD 'evil';",
        "SELECT public.evil();",
        "SELECT 1 \\! touch pwned",
        "\\! touch pwned",
        "\\copy customers to program 'touch pwned'",
        "\\i /etc/passwd",
        "\\connect postgres",
        "\\unrestrict `touch pwned; echo key`",
        "SET standard_conforming_strings = off;",
        "SET client_encoding = 'SJIS';",
        "DROP TABLE public.customers;",
        "CREATE DATABASE evil;",
    ] {
        let path = server.dump_with(hostile);

        let ran = server.load(path.to_str().unwrap()).run().code(2).stderr_has("hostile.sql");

        assert!(ran.stderr_text().contains("line "), "{hostile}: {ran:?}");
        server.is_untouched(&ran);
        let log = server.pg().log();
        assert!(!log.contains("pwned") && !log.contains("evil"), "{hostile}: {log}");
    }
}

#[test]
fn backslashes_inside_of_quotes_are_text() {
    let server = Server::new();
    server.pg().sql_in(
        "app",
        r"CREATE TABLE odd (x text DEFAULT E'\\! touch pwned' CHECK (x ~ '^\\d*' OR x <> $$\!$$));
          INSERT INTO odd VALUES (E'\\.'), (E'\\! touch pwned'), (E'a\nCOPY x FROM stdin;\n\\.\n')",
    );
    let path = server.dump_with("");

    server.load(path.to_str().unwrap()).run().code(0);

    let all = "SELECT string_agg(x, '|' ORDER BY x) FROM odd";
    assert_eq!(server.pg().sql_in("fresh", all), server.pg().sql_in("app", all));
    assert!(!server.canary().exists());
}

/// The code of the application's role: as superuser it would make itself one, and run a program.
const TRAP: &str = "CREATE ROLE app_role LOGIN; \
    CREATE FUNCTION public.trap(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'; \
    ALTER FUNCTION public.trap OWNER TO app_role; \
    CREATE DOMAIN public.trapped AS text CHECK (public.trap(VALUE)); ALTER DOMAIN public.trapped OWNER TO app_role; \
    CREATE FUNCTION public.calm(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1'; \
    CREATE TABLE public.bait \
        (x text CHECK (public.trap(x)), y public.trapped, z text GENERATED ALWAYS AS (public.calm(x)) STORED); \
    ALTER TABLE public.bait OWNER TO app_role; \
    CREATE INDEX bait_i ON public.bait ((public.calm(x))); INSERT INTO public.bait VALUES ('a', 'b'); \
    CREATE OR REPLACE FUNCTION public.trap(text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN \
        BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'ALTER ROLE app_role SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END; \
        BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch pwned'''; EXCEPTION WHEN OTHERS THEN NULL; END; \
        RETURN true; END$$;";

#[test]
fn the_code_of_an_application_never_runs_as_superuser() {
    let server = Server::new();
    server.pg().sql_in("app", TRAP);
    let label = server.place.back_up();
    assert_eq!(server.pg().sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app_role'"), "f");

    for jobs in ["1", "2"] {
        server.load(&label).args(["--dir", "backups", "--jobs", jobs]).run().code(0);

        assert_eq!(server.pg().sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app_role'"), "f");
        assert!(!server.canary().exists());
        assert_eq!(server.pg().sql_in("fresh", "SELECT x, y, z FROM public.bait"), "a|b|a");
        let owner = server.pg().sql_in("fresh", "SELECT relowner::regrole FROM pg_class WHERE relname = 'bait'");
        assert_eq!(owner, "app_role");
        assert_eq!(server.pg().sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'nightshift%'"), "0");
        server.pg().sql("DROP DATABASE fresh");
    }
}

#[test]
fn as_superuser_the_same_code_would_run_so_the_test_above_can_fail() {
    let server = Server::new();
    server.pg().sql_in("app", TRAP);
    let label = server.place.back_up();

    server.load(&label).args(["--dir", "backups", "--as-superuser"]).run().code(0);

    assert_eq!(server.pg().sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app_role'"), "t");
}

#[test]
fn what_takes_a_superuser_is_named_and_left_undone() {
    let server = Server::new();
    server.pg().sql_in("app", "CREATE FUNCTION f(cstring) RETURNS text LANGUAGE internal STRICT AS 'textin'");
    let label = server.place.back_up();

    let ran = server.load(&label).args(["--dir", "backups"]).run().code(2).stderr_has("--as-superuser");

    server.is_untouched(&ran);
    server.load(&label).args(["--dir", "backups", "--as-superuser"]).run().code(0);
}

#[test]
fn a_check_that_looks_into_another_table_is_loaded_in_the_order_of_the_dump() {
    let server = Server::new();
    server.pg().sql_in(
        "app",
        "CREATE TABLE a_currency (code text PRIMARY KEY); INSERT INTO a_currency VALUES ('EUR'); \
         CREATE FUNCTION known(text) RETURNS boolean LANGUAGE sql STABLE AS \
            'SELECT EXISTS (SELECT FROM public.a_currency WHERE code = $1)'; \
         CREATE TABLE b_price (code text CHECK (public.known(code)), x text); \
         INSERT INTO b_price SELECT 'EUR', repeat('x', 1000) FROM generate_series(1, 3000); \
         CREATE TABLE c_other AS SELECT * FROM b_price",
    );
    let label = server.place.back_up();

    let ran = server.load(&label).args(["--dir", "backups", "--jobs", "2", "-v"]).run().code(0);

    assert_eq!(server.pg().sql_in("fresh", "SELECT count(*) FROM b_price"), "3000", "{ran:?}");
    assert!(ran.stderr_text().contains("in the order of the dump"), "{ran:?}");
}

#[test]
fn a_big_table_goes_over_several_connections_and_keeps_every_row() {
    let server = Server::new();
    server.pg().sql_in(
        "app",
        // A row that is longer than a member stands in the middle of them.
        "CREATE TABLE big (id int, x text); \
         INSERT INTO big SELECT n, md5(n::text) || CASE n WHEN 200000 THEN repeat('long', 700000) ELSE '' END \
         FROM generate_series(1, 1200000) AS n; CREATE INDEX ON big (id); ALTER TABLE big ADD PRIMARY KEY (id)",
    );
    let label = server.place.back_up();

    server.load(&label).args(["--dir", "backups", "--jobs", "3"]).run().code(0);

    let all = "SELECT count(*), sum(hashtext(x)::bigint * id) FROM big";
    assert_eq!(server.pg().sql_in("fresh", all), server.pg().sql_in("app", all));
}

#[test]
fn dumps_of_every_form_are_loaded_and_a_cut_one_is_not() {
    let server = Server::new();
    let dir = server.place.dir.path().to_owned();
    let dump = |arguments: &[&str]| {
        server
            .place
            .dir
            .program(server.pg().bin().join("pg_dump"))
            .envs(server.pg().env())
            .args(arguments)
            .arg("app")
            .run()
            .code(0)
    };
    let plain = server.pg().dump_plain("app");
    fs::write(dir.join("a.sql"), &plain).unwrap();
    for (form, name) in [("-Fc", "b.dump"), ("-Ft", "c.tar"), ("-Fd", "d")] {
        dump(&[form, "-f", dir.join(name).to_str().unwrap()]);
    }
    dump(&["--no-owner", "--no-acl", "-f", dir.join("e.sql").to_str().unwrap()]);
    // pg_restore does not run as root.
    chmod(&dir, 0o755);
    chmod(&dir.join("d"), 0o755);
    for file in fs::read_dir(dir.join("d")).unwrap() {
        chmod(&file.unwrap().path(), 0o644);
    }
    for name in ["a.sql", "b.dump", "c.tar", "d", "e.sql"] {
        let ran = server.load(name).run().code(0);

        assert_eq!(server.pg().sql_in("fresh", "SELECT count(*) FROM customers"), "300", "{name}: {ran:?}");
        server.pg().sql("DROP DATABASE fresh");
    }
    let rows = plain.windows(17).position(|window| window.starts_with(b"COPY public.custo")).unwrap();
    fs::write(dir.join("cut.sql"), &plain[..rows + 200]).unwrap();
    let ran = server.load("cut.sql").run().code(2).stderr_has("cut off");
    server.is_untouched(&ran);
    for (option, advice) in [("--clean", "without"), ("--create", "without")] {
        dump(&[option, "-f", dir.join("f.sql").to_str().unwrap()]);
        let ran = server.load("f.sql").run().code(2).stderr_has(option).stderr_has(advice);
        server.is_untouched(&ran);
    }
}

#[test]
fn one_table_comes_back_from_its_place_and_into_nothing_but_an_empty_one() {
    let ruined = Ruined::new();
    let table = |name: &str| ruined.tool().args([&ruined.label, "--dir", "backups", "--to", "app", "--table", name]);

    table("public.customers").run().code(2).stderr_has("not empty");
    assert_eq!(ruined.live(), "ruined");
    ruined.pg().sql_in("app", "TRUNCATE customers");
    table("public.customers").run().code(0).stdout_is("");
    assert_eq!(ruined.pg().sql_in("app", "SELECT count(*) FROM customers"), "300");
    table("public.no_such").run().code(3).stderr_has("no rows of table");
    assert_eq!(ruined.loading_roles(), "");
}

#[test]
fn a_stream_comes_back_byte_for_byte_and_a_damaged_one_without_its_end() {
    let place = Place::new();
    let bytes: Vec<u8> = (0..3_000_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    place.pgbackup().args(["--stdin", "uploads"]).stdin_bytes(bytes.clone()).run().code(0);
    let archive = place.dir.wait_for("backups/uploads-*.gz");
    let stdout = || place.dir.tool("pgrestore-safe").args(["--no-config", "--stdout"]).arg(&archive).run();

    assert_eq!(stdout().code(0).stdout, bytes);

    let mut damaged = fs::read(&archive).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&archive, &damaged).unwrap();
    let ran = stdout().code(2);
    assert!(ran.stdout.len() < bytes.len() && bytes.starts_with(&ran.stdout), "{} bytes", ran.stdout.len());
}

#[test]
fn an_archive_that_is_written_to_while_it_is_loaded_is_not_loaded() {
    let server = Server::new();
    server.pg().sql_in("app", "CREATE TABLE big AS SELECT n, md5(n::text) FROM generate_series(1, 200000) AS n");
    let label = server.place.back_up();
    let go_on = server.place.dir.join("go");
    let running = server
        .load(&label)
        .args(["--dir", "backups"])
        .env("NIGHTSHIFT_FAILPOINT", format!("rows-begin=pause:{}", go_on.display()))
        .spawn();
    server.place.dir.wait_for("go.reached");
    let archive = server.place.dir.wait_for(&format!("backups/{label}.sql.gz"));
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    // Into the same file: a new one under its name would not be seen at all.
    fs::write(&archive, &bytes).unwrap();
    fs::write(go_on, "").unwrap();

    let ran = running.wait().code(2).stderr_has("since it was verified");

    server.is_untouched(&ran);
}

/// Changes every table of an index, and seals it again, as whoever can write to the directory could.
fn forge_index(place: &Place, label: &str, change: impl Fn(&mut serde_json::Value)) {
    let path = place.backups().join(format!("{label}{INDEX}"));
    let mut forged = String::new();
    for line in fs::read_to_string(&path).unwrap().lines() {
        let mut record: serde_json::Value = serde_json::from_str(line).unwrap();
        if let Some(table) = record.get_mut("table") {
            change(table);
        }
        forged += &format!("{record}\n");
    }
    fs::write(&path, &forged).unwrap();
    let mut manifest = place.manifest(label);
    manifest.index.bytes = forged.len() as u64;
    manifest.index.sha256 = common::backup::sha256(forged.as_bytes());
    place.write(&manifest);
}

#[test]
fn an_index_that_lies_about_where_rows_are_is_refused() {
    let server = Server::new();
    server
        .pg()
        .sql_in("app", "CREATE TABLE second AS SELECT 'DROP TABLE customers;'::text AS x FROM generate_series(1, 9)");
    let label = server.place.back_up();
    for lie in ["moved", "huge", "overlap"] {
        let label = server.place.at(&label, &format!("2026010{}T020000Z", lie.len()));
        forge_index(&server.place, &label, |table| {
            let offset = table["offset"].as_u64().unwrap();
            match lie {
                "moved" => table["offset"] = (offset + 2).into(),
                "huge" => table["bytes"] = u64::MAX.into(),
                _ => table["offset"] = 5.into(),
            }
        });

        let ran = server.load(&label).args(["--dir", "backups"]).run().code(2);

        server.is_untouched(&ran);
    }
}

#[test]
fn every_kind_of_object_survives_also_into_a_newer_server() {
    for (from, to) in [(15, 15), (15, 16), (16, 18), (15, 18)] {
        let source = Place::with(Postgres::version(from));
        source.pg.load_file("postgres", harness::workspace().join("tests/fixtures/every-object-roles.sql"));
        source.pg.load_file("app", harness::workspace().join("tests/fixtures/every-object.sql"));
        // An old client of the test's servers is a warning.
        let label = label_of(&source.pgbackup().arg("app").run());
        let target = Postgres::version(to);
        target.load_file("postgres", harness::workspace().join("tests/fixtures/every-object-roles.sql"));
        let restore =
            source.dir.tool("pgrestore-safe").envs(target.env()).arg("--no-config").arg("--pg-bin").arg(target.bin());

        restore.args([&label, "--dir", "backups", "--into", "app", "--as-superuser", "--jobs", "2"]).run().code(0);
        let counts = "SELECT count(*) FROM app.all_types";
        assert_eq!(target.sql_in("app", counts), source.pg.sql_in("app", counts), "{from} -> {to}");
    }
}

/// A server that lets the operator in by its socket, and everybody else over the loopback interface as `hba` says.
fn with_tls(hba: &[&str]) -> Server {
    let mut builder =
        Postgres::builder().conf("log_connections = on").hba("local all postgres trust").hba("local all all reject");
    for line in hba {
        builder = builder.hba(*line);
    }
    let server = Server { place: Place::with(builder.start()) };
    let data = server.pg().data_dir();
    let files = Authority::shared().leaf("a.test").names(["DNS:a.test"]).write(server.place.dir.path(), "tls");
    for (from, to) in [(&files.chain, "server.crt"), (&files.key, "server.key")] {
        fs::copy(from, data.join(to)).unwrap();
        let chown = server.place.dir.program("chown").arg(format!("--reference={}", data.display()));
        chown.arg(data.join(to)).run().code(0);
    }
    server.pg().sql("ALTER SYSTEM SET ssl = on");
    server.pg().restart();
    server
}

#[test]
fn where_only_tls_is_let_in_rows_travel_by_tls() {
    let server = with_tls(&["hostnossl all all all reject", "hostssl all all 127.0.0.1/32 scram-sha-256"]);
    let label = server.place.back_up();

    server.load(&label).args(["--dir", "backups", "--jobs", "2"]).run().code(0).stdout_is("fresh\n");

    assert_eq!(server.pg().sql_in("fresh", "SELECT count(*) FROM customers"), "300");
    let log = server.pg().log();
    let logins: Vec<_> =
        log.lines().filter(|line| line.contains("connection authorized: user=nightshift_load_")).collect();
    assert!(!logins.is_empty() && logins.iter().all(|line| line.contains("SSL enabled")), "{logins:?}");
}

#[test]
fn a_server_that_asks_for_no_password_cannot_prove_itself_and_gets_no_rows() {
    // Its certificate says nothing that we can judge; without SCRAM, somebody in the middle would look just like this.
    let server = with_tls(&["hostnossl all all all reject", "hostssl all all 127.0.0.1/32 trust"]);
    let label = server.place.back_up();

    let ran = server.load(&label).args(["--dir", "backups"]).run().code(2).stderr_has("cannot connect to");

    server.is_untouched(&ran);
}
