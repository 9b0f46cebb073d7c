//! What is in a database is in its backup, all of it, and comes back by `gunzip | psql`.

use std::collections::BTreeMap;

use harness::{Postgres, Sandbox};

use crate::round_trip::{self, assert_same, every_kind, made, pgbackup, survives_the_round_trip, take};

#[test]
fn every_kind_of_object_comes_back() {
    let pg = every_kind(15, &["app"]);

    let backup = survives_the_round_trip(&pg, "app", &[]);

    let content = &backup.manifest["content"];
    assert_eq!(content["large_objects"], 3);
    assert_eq!(content["large_object_bytes"], 7 + 5000 * 17);
    assert_eq!(content["tables"], backup.rows().len());
    assert_eq!(backup.rows()[&("app".into(), "copy_ends".into())], 13);
    assert_eq!(backup.rows()[&("app".into(), "no_columns".into())], 2);
    assert_eq!(backup.rows()[&("app".into(), "parent".into())], 1, "without the rows of its children");
    for kind in [
        "TYPE",
        "DOMAIN",
        "COLLATION",
        "AGGREGATE",
        "OPERATOR",
        "OPERATOR FAMILY",
        "OPERATOR CLASS",
        "CAST",
        "TEXT SEARCH DICTIONARY",
        "TEXT SEARCH CONFIGURATION",
        "CONVERSION",
        "TEXT SEARCH PARSER",
        "TEXT SEARCH TEMPLATE",
        "PROCEDURAL LANGUAGE",
        "SHELL TYPE",
        "ACCESS METHOD",
        "DEFAULT",
        "CONSTRAINT",
        "TABLE ATTACH",
        "INDEX",
        "INDEX ATTACH",
        "STATISTICS",
        "SEQUENCE SET",
        "SEQUENCE OWNED BY",
        "MATERIALIZED VIEW",
        "MATERIALIZED VIEW DATA",
        "RULE",
        "TRIGGER",
        "EVENT TRIGGER",
        "POLICY",
        "ROW SECURITY",
        "FOREIGN DATA WRAPPER",
        "SERVER",
        "USER MAPPING",
        "FOREIGN TABLE",
        "PUBLICATION",
        "PUBLICATION TABLE",
        "PUBLICATION TABLES IN SCHEMA",
        "FK CONSTRAINT",
        "CHECK CONSTRAINT",
        "ACL",
        "DEFAULT ACL",
        "COMMENT",
        "BLOB",
        "BLOBS",
        "PROCEDURE",
    ] {
        assert!(!backup.entries(kind).is_empty(), "no entry of type {kind}");
    }
    let phantom = ("public".to_owned(), "phantom".to_owned());
    assert!(!backup.rows().contains_key(&phantom), "text of a function was taken for a table");
}

#[test]
fn every_codec_holds_the_same() {
    let pg = every_kind(15, &["app"]);
    let dir = Sandbox::new();
    let gzip = take(&pg, &dir, &[], "app");

    for codec in ["zstd", "none", "gzip:1", "zstd:9"] {
        let dir = Sandbox::new();
        let backup = take(&pg, &dir, &["--compress", codec, "--threads", "3"], "app");

        assert_same(&gzip, &backup);
        round_trip::verify(&dir, &backup);
    }
    for codec in ["zstd", "none"] {
        survives_the_round_trip(&pg, "app", &["--compress", codec]);
    }
}

#[test]
fn partitions_dumped_through_their_root_are_counted_under_its_name() {
    let pg = every_kind(15, &["app"]);
    let dir = Sandbox::new();
    let options = ["--", "--load-via-partition-root"];

    let backup = take(&pg, &dir, &options, "app");

    let in_leaves = round_trip::rows_in(&pg, "app");
    let sum = |names: &[&str]| names.iter().map(|name| in_leaves[&("app".to_owned(), (*name).to_owned())]).sum::<u64>();
    let rows = backup.rows();
    assert_eq!(rows[&("app".into(), "hashed".into())], sum(&["hashed_0", "hashed_1"]));
    assert_eq!(rows[&("app".into(), "log".into())], sum(&["log_2025_eu", "log_2025_rest", "log_2026"]));
    assert_eq!(rows.values().sum::<u64>(), in_leaves.values().sum::<u64>());
    round_trip::comes_back(&pg, &dir, &backup, &options);
}

#[test]
fn an_empty_database_has_a_backup_too() {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE empty TEMPLATE template0");

    let backup = survives_the_round_trip(&pg, "empty", &[]);

    assert_eq!(backup.manifest["content"]["tables"], 0);
    assert_eq!(backup.manifest["content"]["rows"], 0);
}

#[test]
fn extensions_come_back_by_name() {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE app");
    pg.sql_in(
        "app",
        "CREATE EXTENSION hstore; CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION postgres_fdw;
        CREATE TABLE t (h hstore, c ext.citext PRIMARY KEY);
        INSERT INTO t VALUES ('a => \"b\\\\n\", \"\"=>NULL', 'Key');
        CREATE SERVER self FOREIGN DATA WRAPPER postgres_fdw OPTIONS (dbname 'app');
        CREATE FOREIGN TABLE far (c text) SERVER self OPTIONS (table_name 't');",
    );

    let backup = survives_the_round_trip(&pg, "app", &[]);

    assert_eq!(backup.entries("EXTENSION"), ["citext", "hstore", "postgres_fdw"]);
}

#[test]
fn an_extensions_configuration_tables_hold_only_what_the_user_added() {
    let extensions = Sandbox::new();
    let place = extensions.join("extension");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("shop.control"), "default_version = '1'\nrelocatable = true\n").unwrap();
    std::fs::write(
        place.join("shop--1.sql"),
        "CREATE TABLE setting (key text, own bool);
        INSERT INTO setting VALUES ('shipped', false), ('also shipped', false);
        SELECT pg_catalog.pg_extension_config_dump('setting', 'WHERE own');",
    )
    .unwrap();
    let path = format!("extension_control_path = '$system:{}'", extensions.path().display());
    let pg = Postgres::builder().major(18).conf(path).start();
    pg.sql("CREATE DATABASE app");
    pg.sql_in(
        "app",
        "CREATE EXTENSION shop; INSERT INTO setting VALUES ('mine', true); CREATE TABLE t AS SELECT 1 AS a",
    );
    let dir = Sandbox::new();

    let backup = made_with_old_client(&pg, &dir, "app");

    assert_eq!(backup.rows()[&("public".into(), "setting".into())], 1);
    round_trip::verify(&dir, &backup);
    round_trip::restore(&pg, &dir, &backup, "copy");
    assert_eq!(pg.sql_in("copy", "SELECT count(*) FROM setting"), "3");
    assert_same(&backup, &made_with_old_client(&pg, &dir, "copy"));
}

/// A backup by a pg_dump that is not the newest minor of its major, which is worth a warning.
fn made_with_old_client(pg: &Postgres, dir: &Sandbox, database: &str) -> round_trip::Backup {
    let ran = pgbackup(pg, dir).arg(database).run().stderr_has("has known holes; update it to 18.7 or later").code(1);
    round_trip::Backup::read(dir.join(ran.stdout_text().trim_end()))
}

/// Bytes that are no UTF-8, in rows, names, comments and functions.
fn latin1(encoding: &str) -> String {
    format!(
        "SET client_encoding = '{encoding}';
        CREATE TABLE \"caf\u{1}\" (\"na\u{2}ve\" text DEFAULT '\u{1}');
        INSERT INTO \"caf\u{1}\" VALUES ('\u{1}t\u{1}'), (E'\u{2}\\n\\\\.\\n'), ('plain');
        COMMENT ON TABLE \"caf\u{1}\" IS '\u{1}; \u{2}';
        CREATE FUNCTION \"f\u{1}\"() RETURNS text LANGUAGE sql AS $t\u{1}$ SELECT '\u{1}$$'::text; $t\u{1}$;
        CREATE SEQUENCE \"s\u{1}\"; SELECT setval('\"s\u{1}\"', 9) \\g /dev/null
        SELECT lo_from_bytea(7, '\\xe900ff') \\g /dev/null\n"
    )
}

/// Feeds psql the text with é and ï as LATIN1 has them: one byte each, which no UTF-8 text holds.
fn load_latin1(pg: &Postgres, dir: &Sandbox, database: &str, sql: &str) {
    let bytes: Vec<u8> =
        sql.bytes().map(|byte| [byte, 0xe9, 0xef][usize::from(byte) * usize::from(byte < 3)]).collect();
    std::fs::write(dir.join("latin1.sql"), bytes).unwrap();
    pg.load_file(database, dir.join("latin1.sql"));
    std::fs::remove_file(dir.join("latin1.sql")).unwrap();
}

#[test]
fn a_latin1_database_comes_back_byte_for_byte() {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE old TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    let dir = Sandbox::new();
    load_latin1(&pg, &dir, "old", &latin1("LATIN1"));

    let backup = take(&pg, &dir, &[], "old");

    assert_eq!(backup.manifest["source"]["encoding"], "LATIN1");
    assert_eq!(backup.manifest["content"]["rows"], 3);
    assert_eq!(backup.rows()[&("public".into(), r"caf\xe9".into())], 3);
    assert_eq!(backup.entries("FUNCTION"), [r"f\xe9()"]);
    round_trip::comes_back(&pg, &dir, &backup, &[]);
}

#[test]
fn a_sql_ascii_database_may_hold_any_bytes() {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE old TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
    let dir = Sandbox::new();
    load_latin1(&pg, &dir, "old", &latin1("SQL_ASCII"));
    pg.sql_in("old", "CREATE TABLE \"café\" (a text); INSERT INTO \"café\" VALUES ('ü')");

    let backup = take(&pg, &dir, &[], "old");

    let rows = BTreeMap::from([(("public".into(), r"caf\xe9".into()), 3), (("public".into(), "café".into()), 1)]);
    assert_eq!(backup.rows(), rows);
    round_trip::comes_back(&pg, &dir, &backup, &[]);
}

#[test]
fn a_databases_own_settings_do_not_change_what_its_backup_holds() {
    let pg = every_kind(15, &["app", "tuned"]);
    for setting in [
        "timezone = 'Asia/Kathmandu'",
        "bytea_output = 'escape'",
        "lc_monetary = 'en_US.UTF-8'",
        "standard_conforming_strings = off",
        "escape_string_warning = off",
        "search_path = app, public",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'iso_8601'",
        "extra_float_digits = -10",
        "quote_all_identifiers = on",
        "client_encoding = 'LATIN1'",
        "default_transaction_read_only = on",
        "statement_timeout = '1ms'",
        "row_security = off",
        "xmlbinary = 'hex'",
    ] {
        // A locale that this machine lacks is refused; then there is nothing to test.
        if let Err(error) = pg.try_sql_in("postgres", &format!("ALTER DATABASE tuned SET {setting}")) {
            assert!(setting.starts_with("lc_monetary"), "{error}");
        }
    }
    let dir = Sandbox::new();

    let plain = take(&pg, &dir, &[], "app");
    let tuned = take(&pg, &dir, &[], "tuned");

    assert_same(&plain, &tuned);
    round_trip::comes_back(&pg, &dir, &tuned, &[]);
}

#[test]
fn a_client_encoding_of_the_callers_does_not_reach_the_dump() {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE app");
    pg.sql_in("app", "CREATE TABLE t AS SELECT 'é'::text AS a UNION ALL SELECT 'Ж'");
    let dir = Sandbox::new();
    let plain = take(&pg, &dir, &[], "app");

    let other = made(&dir, pgbackup(&pg, &dir).env("PGCLIENTENCODING", "LATIN1").arg("app").run());
    let named = made(&dir, pgbackup(&pg, &dir).arg("dbname=app client_encoding=LATIN1").run());

    assert_same(&plain, &other);
    assert_same(&plain, &named);
}

#[test]
fn a_row_of_a_hundred_megabytes_passes_in_little_memory() {
    let pg = Postgres::start();
    pg.sql("CREATE DATABASE app");
    pg.sql_in(
        "app",
        r"CREATE TABLE t (id int, a text);
        ALTER TABLE t ALTER a SET STORAGE EXTERNAL;
        INSERT INTO t VALUES (1, 'before');
        INSERT INTO t SELECT 2, repeat(E'\\.\n0123456789\t', 7000000);
        INSERT INTO t VALUES (3, 'after');",
    );
    let dir = Sandbox::new();

    let ran = pgbackup(&pg, &dir).args(["--compress", "zstd:1", "app"]).run();
    let (rss, wall) = (ran.max_rss_kib.unwrap(), ran.wall);
    let backup = made(&dir, ran);

    assert!(rss < 64 << 10, "{rss} KiB after {wall:?}");
    let members = backup.manifest["archive"]["members"].as_u64().unwrap();
    assert!(members > 100, "only {members} members: the row was not cut");
    let checked = dir.tool("backup-verify").arg(&backup.path).run().stderr_is("").code(0);
    assert!(checked.max_rss_kib.unwrap() < 64 << 10, "{}", checked.picture());
    assert_eq!(backup.rows()[&("public".into(), "t".into())], 3);
    round_trip::comes_back(&pg, &dir, &backup, &["--compress", "zstd:1"]);
}

#[test]
fn two_thousand_tables_are_all_there() {
    let pg = Postgres::builder().conf("max_locks_per_transaction = 256").start();
    pg.sql("CREATE DATABASE app");
    pg.sql_in(
        "app",
        "SELECT format('CREATE TABLE %I (a int)', 't' || n), format('INSERT INTO %I SELECT generate_series(1, %s)', 't' || n, n % 7)
         FROM generate_series(1, 2000) AS n \\gexec",
    );

    let backup = survives_the_round_trip(&pg, "app", &[]);

    assert_eq!(backup.manifest["content"]["tables"], 2000);
}
