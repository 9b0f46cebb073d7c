//! Names are data: no database, schema, table or sequence can lead a backup elsewhere by what it is called.

use std::collections::BTreeSet;

use harness::{Postgres, Ran, Sandbox};
use serde_json::Value;

use crate::round_trip::{self, Backup, identifier, literal, made, pgbackup, survives_the_round_trip};

/// Legal names of databases, as an owner with CREATEDB may choose them.
fn hostile_names() -> Vec<String> {
    let percents = "%".repeat(63);
    let umlauts = "ü".repeat(31);
    [
        "host=127.0.0.1 port=1 dbname=x",
        "postgresql://evil/x",
        "postgresql+asyncpg://u:p@evil/x",
        "../../etc/cron.d/x",
        ".",
        "..",
        "-rf",
        "--globals-only",
        "with space",
        " leading and trailing ",
        "it's \"quoted\" `twice` $(id)",
        "two\nlines",
        "two%0Alines",
        "tab\tand\rreturn",
        "back\\slash\\.",
        "a/b",
        "a%2Fb",
        "naïve-Ω-🦀",
        "\u{202e}gpj.exe",
        "\u{1b}[31mred",
        "globals",
        "Globals",
        "CamelCase",
        "app-20261120T020000Z",
        "app-20261120T020000Z.sql.gz",
        "null",
        "{\"a\":1}",
        percents.as_str(),
        umlauts.as_str(),
    ]
    .map(str::to_owned)
    .into()
}

fn create_databases(pg: &Postgres, names: &[String]) {
    let create = |name: &String| format!("CREATE DATABASE {} TEMPLATE template0;\n", identifier(name));
    pg.sql(&names.iter().map(create).collect::<String>());
}

/// The items of `--format json`, one a line.
#[track_caller]
fn items(ran: &Ran) -> Vec<Value> {
    ran.stdout_text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}\n{}", ran.picture())))
        .collect()
}

#[test]
fn no_name_of_a_database_leads_a_backup_elsewhere() {
    let pg = Postgres::start();
    let mut names = hostile_names();
    create_databases(&pg, &names);
    names.push("postgres".to_owned());
    let (outer, cron) = (Sandbox::new(), std::path::Path::new("/etc/cron.d"));
    let in_cron =
        || cron.read_dir().map(|entries| entries.flatten().map(|e| e.file_name()).collect::<BTreeSet<_>>()).ok();
    let before = in_cron();
    std::fs::create_dir(outer.join("dir")).unwrap();

    let ran = pgbackup(&pg, &outer)
        .cwd(outer.join("dir"))
        .args(["--jobs", "2", "--all", "--no-globals", "--format", "json"])
        .run();

    let ran = ran.stderr_is("").code(0);
    let items = items(&ran);
    let subjects: BTreeSet<_> = items.iter().map(|item| item["subject"].as_str().unwrap().to_owned()).collect();
    assert_eq!(subjects, names.iter().cloned().collect());
    assert_eq!(items.len(), names.len());
    assert!(!ran.stdout_text().contains(['\r', '\t', '\u{1b}', '\u{202e}']), "what moves a cursor is escaped");
    for item in &items {
        let backup = Backup::read(outer.join("dir").join(item["path"].as_str().unwrap()));
        assert_eq!(backup.manifest["subject"], item["subject"]);
        assert_eq!(backup.path.parent().unwrap(), outer.join("dir/."), "{:?}", backup.path);
    }
    let archives = items.iter().map(|item| item["path"].as_str().unwrap());
    outer.tool("backup-verify").args(archives).cwd(outer.join("dir")).run().stderr_is("").code(0);
    // Archive, index, checksums, manifest, verdict, lock.
    let files: Vec<_> = outer.join("dir").read_dir().unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(files.len(), names.len() * 6, "{files:#?}");
    for file in &files {
        let file = file.to_str().expect("ASCII");
        assert!(file.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-%".contains(&b)), "{file:?}");
        assert!(!file.starts_with('-'), "{file:?}");
    }
    assert_eq!(outer.files().iter().filter(|file| !file.starts_with("dir/")).count(), 0, "{:?}", outer.files());
    assert_eq!(in_cron(), before);
    // Every file is where sha256sum finds it.
    let sums = outer.program("sh").args(["-c", "cat ./*.sha256 | sha256sum --check --quiet"]).cwd(outer.join("dir"));
    sums.run().stdout_is("").stderr_is("").code(0);
}

#[test]
fn each_path_is_one_line_whatever_the_database_is_called() {
    let pg = Postgres::start();
    let names = ["two\nlines", "it's \"quoted\"", "back\\slash", "a/b"].map(str::to_owned);
    create_databases(&pg, &names);
    let dir = Sandbox::new();

    let ran = pgbackup(&pg, &dir).args(["--all"]).run().stderr_is("").code(0);

    let paths: Vec<_> = ran.stdout_text().lines().collect();
    assert_eq!(paths.len(), names.len() + 2, "databases, postgres, globals");
    for path in &paths {
        assert!(dir.join(path).is_file(), "{path:?}");
    }
    dir.tool("backup-verify").args(&paths).run().stderr_is("").code(0);
}

#[test]
fn a_name_as_an_operand_is_never_taken_apart() {
    let pg = Postgres::start();
    let names = ["-rf", ".", "../../x", "with space", "two\nlines", "it's", "%", "globals", "naïve"].map(str::to_owned);
    create_databases(&pg, &names);
    let dir = Sandbox::new();

    for name in &names {
        let backup = made(&dir, pgbackup(&pg, &dir).arg(operand(name)).run());
        assert_eq!(backup.manifest["subject"], *name);
    }
    // What looks like an address has to be written as one.
    create_databases(&pg, &["host=127.0.0.1 port=1 dbname=x".to_owned()]);
    let keywords = "dbname='host=127.0.0.1 port=1 dbname=x'";
    assert_eq!(take_keywords(&pg, &dir, &[], keywords).manifest["subject"], "host=127.0.0.1 port=1 dbname=x");
}

/// What begins with a dash is an option, so such a name has to be written as keywords.
fn operand(name: &str) -> String {
    if name.starts_with('-') { format!("dbname={name}") } else { name.to_owned() }
}

fn take_keywords(pg: &Postgres, dir: &Sandbox, options: &[&str], keywords: &str) -> Backup {
    made(dir, pgbackup(pg, dir).args(options).arg(keywords).run())
}

#[test]
fn the_globals_are_asked_from_the_server_that_was_named_even_through_a_database_named_like_an_address() {
    let pg = Postgres::start();
    create_databases(&pg, &["host=127.0.0.1 port=1 dbname=x".to_owned()]);
    let dir = Sandbox::new();

    let ran = pgbackup(&pg, &dir).args(["--globals", "dbname='host=127.0.0.1 port=1 dbname=x'"]).run();

    let ran = ran.stderr_is("").code(0);
    assert_eq!(ran.stdout_text().lines().count(), 2);
}

#[test]
fn a_database_called_globals_and_the_globals_do_not_mix() {
    let pg = Postgres::start();
    create_databases(&pg, &["globals".to_owned()]);
    let dir = Sandbox::new();

    for _ in 0..2 {
        let ran = pgbackup(&pg, &dir).args(["--all", "--keep-last", "1", "--format", "json"]).run();
        let ran = ran.stderr_is("").code(0);
        let kinds: Vec<_> = items(&ran)
            .iter()
            .filter(|item| item["subject"] == "globals")
            .map(|item| Backup::read(dir.join(item["path"].as_str().unwrap())).manifest["kind"].to_string())
            .collect();
        assert_eq!(kinds, ["\"database\"", "\"globals\""]);
    }

    let manifests = dir.files().into_iter().filter(|file| file.ends_with(".manifest.json"));
    assert_eq!(manifests.count(), 3, "the last one of each, of postgres too: {:?}", dir.files());
}

#[test]
fn objects_may_be_called_anything() {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE app");
    let mut sql = String::new();
    let mut names = hostile_names();
    names.extend(
        [
            "; Type: TABLE; Schema: x; Owner: y",
            "a; Tablespace: b",
            "Name: x",
            "\\.",
            "\\connect x",
            "--",
            "/*",
            "*/",
            "$$",
            "COPY x FROM stdin;",
            "x\n\\.\n",
            "x\n--\n-- PostgreSQL database dump complete\n--\n",
            "(a, b)",
            ".",
            "\"",
            "\"\"",
            "'",
            ";",
            "begin",
            "end",
            "case",
            "atomic",
            "E",
            "\r",
        ]
        .map(str::to_owned),
    );
    let names: BTreeSet<_> = names.into_iter().collect();
    for (number, name) in names.iter().enumerate() {
        let (quoted, text) = (identifier(name), literal(name));
        sql += &format!(
            "CREATE SCHEMA {quoted};
            CREATE TABLE {quoted}.{quoted} ({quoted} text DEFAULT {text} CHECK ({quoted} <> ''), n int);
            INSERT INTO {quoted}.{quoted} SELECT {text}, n FROM generate_series(1, {number}) AS n;
            CREATE INDEX {index} ON {quoted}.{quoted} ({quoted}) WHERE n > 0;
            CREATE SEQUENCE {quoted}.{sequence}; SELECT setval({literal}, {number} + 1) \\g /dev/null
            COMMENT ON TABLE {quoted}.{quoted} IS {text};
            CREATE TYPE {quoted}.{kind} AS ENUM ({text});
            CREATE VIEW {quoted}.{view} AS SELECT {text}::text AS {quoted};
            CREATE ROLE {role}; GRANT SELECT ON {quoted}.{quoted} TO {role};\n",
            sequence = identifier(&cut(&format!("s {name}"))),
            literal = literal(&format!("{quoted}.{}", identifier(&cut(&format!("s {name}"))))),
            index = identifier(&cut(&format!("i {name}"))),
            kind = identifier(&cut(&format!("k {name}"))),
            view = identifier(&cut(&format!("v {name}"))),
            role = identifier(&cut(&format!("r {name}"))),
        );
    }
    pg.sql_in("app", &sql);

    let backup = survives_the_round_trip(&pg, "app", &[]);

    let rows = backup.rows();
    for (number, name) in names.iter().enumerate() {
        let found = rows.get(&(name.clone(), name.clone()));
        assert_eq!(found, Some(&(number as u64)), "{name:?}");
    }
    let globals = Sandbox::new();
    let ran = pgbackup(&pg, &globals).args(["--globals", "app"]).run().stderr_is("").code(0);
    for path in ran.stdout_text().lines() {
        round_trip::verify(&globals, &Backup::read(globals.join(path)));
    }
}

/// PostgreSQL keeps 63 bytes of a name.
fn cut(name: &str) -> String {
    let end = (0..=name.len().min(63)).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    name[..end].to_owned()
}

/// psql takes the name for the start of a body, so no psql could restore the dump.
#[test]
fn a_function_called_begin_is_refused_with_the_way_out() {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE app");
    pg.sql_in("app", "CREATE FUNCTION begin() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TABLE t (a int)");
    let dir = Sandbox::new();

    let refused = pgbackup(&pg, &dir).arg("app").run();
    let quoted = survives_the_round_trip(&pg, "app", &["--", "--quote-all-identifiers"]);

    refused
        .stdout_is("")
        .stderr_is(
            "pgbackup: error: app: no backup was made in \".\": the dump is not what pg_dump writes: line 52: a backslash \
             outside quotes and rows, in the statement that begins in line 25\n\
             pgbackup: hint: psql cannot read a dump with a function, schema or type called begin either; have names \
             quoted: pgbackup … -- --quote-all-identifiers\n",
        )
        .code(2);
    assert_eq!(dir.files(), [".app.lock"]);
    assert_eq!(quoted.entries("FUNCTION"), ["begin()"]);
}

#[test]
fn a_database_whose_name_is_no_utf8_does_not_keep_the_others_from_their_backup() {
    let pg = Postgres::start();
    let dir = Sandbox::new();
    pg.sql("CREATE DATABASE old TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'; CREATE DATABASE app");
    std::fs::write(dir.join("create.sql"), b"CREATE DATABASE \"caf\xe9\" TEMPLATE template0").unwrap();
    pg.load_file("old", dir.join("create.sql"));

    let ran = pgbackup(&pg, &dir).arg("--all").run();

    let ran = ran.code(2);
    assert_eq!(ran.stdout_text().lines().count(), 4, "app, old, postgres, globals\n{}", ran.picture());
    assert_eq!(ran.stderr_text().lines().count(), 2, "one error and its hint\n{}", ran.picture());
}
