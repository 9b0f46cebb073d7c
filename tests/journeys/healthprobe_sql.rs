//! healthprobe asks the operator's questions: numbers, rows, and what is neither.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harness::{Postgres, Ran, Sandbox};

use crate::healthprobe_postgres::healthprobe;

/// A shop, and a role that may read it.
fn shop(major: u32) -> Postgres {
    let pg = Postgres::version(major);
    pg.sql("CREATE ROLE watch LOGIN; CREATE DATABASE shop");
    pg.sql_in(
        "shop",
        "CREATE SCHEMA s; CREATE TABLE s.orders (id int, paid numeric(10,2), at timestamptz DEFAULT now()); \
         INSERT INTO s.orders VALUES (1, 10.25), (2, 0), (3, NULL); \
         GRANT USAGE ON SCHEMA s TO watch; GRANT SELECT ON s.orders TO watch",
    );
    pg
}

fn ask(pg: &Postgres, query: &str, words: &str) -> Ran {
    let dir = Sandbox::new();
    let address = format!("'host={} port={} user=watch dbname=shop'", pg.socket_dir().display(), pg.port());
    healthprobe(&dir).arg(format!("\"sql:{query}\" database={address} name=q {words}")).run().stderr_is("")
}

#[test]
fn one_number_is_judged_in_every_version() {
    for major in [15, 16, 18] {
        let pg = shop(major);

        ask(&pg, "SELECT count(*) FROM s.orders", "").stdout_is("OK q: 3\n").code(0);
        ask(&pg, "SELECT count(*) FROM s.orders", "critical=2").stdout_is("CRITICAL q: 3; value is above 2\n").code(2);
        ask(&pg, "SELECT sum(paid) FROM s.orders", "value<10,5").stdout_is("OK q: 10.25\n").code(0);
        ask(&pg, "SELECT avg(id), max(id)::int2 AS top FROM s.orders", "top>2")
            .stdout_is("CRITICAL q: avg 2, top 3; top is above 2\n")
            .code(2);
        ask(&pg, "SELECT now() - min(at) AS age FROM s.orders", "age>1h").stdout_has("OK q: ").code(0);
        ask(&pg, "SELECT 1e3::float8 AS a, 7::bigint AS b, true AS c", "")
            .stdout_is("OK q: a 1,000, b 7, c 1\n")
            .code(0);
        ask(&pg, "SELECT 'WARNING' AS status, 'two shops are closed' AS message", "")
            .stdout_is("WARNING q: two shops are closed\n")
            .code(1);
        ask(&pg, "SELECT id FROM s.orders", "count-rows value>2")
            .stdout_is("CRITICAL q: 3 rows; value is above 2\n")
            .code(2);
    }
}

#[test]
fn measures_carry_their_names_and_units() {
    let pg = shop(15);
    let dir = Sandbox::new();
    let address = format!("'host={} port={} user=watch dbname=shop'", pg.socket_dir().display(), pg.port());
    let target = format!("\"sql:SELECT 3 AS orders, 90 AS lag_seconds\" database={address} name=q lag_seconds>1m,5m");

    healthprobe(&dir)
        .args(["--format", "nagios"])
        .arg(&target)
        .run()
        .stdout_has("orders'=3;;;0")
        .stdout_has("lag_seconds'=90s;60;300;0")
        .code(1);
    let json = healthprobe(&dir).args(["--format", "json"]).arg(&target).run().code(1);
    let answer: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(answer["measures"]["orders"], 3.0, "{answer}");
}

#[test]
fn what_is_no_number_is_unknown_with_a_reason() {
    let pg = shop(15);
    for (query, said) in [
        ("SELECT id FROM s.orders WHERE id > 99", "the query gives no row"),
        ("SELECT id FROM s.orders", "the query gives more than one row"),
        ("SELECT max(paid) FROM s.orders WHERE id > 99", "column \"max\" is NULL"),
        ("SELECT 'x'", "is text"),
        ("SELECT max(at) FROM s.orders", "column \"max\" is a point in time"),
        ("SELECT '{}'::jsonb AS j", "column \"j\" is no number"),
        ("SELECT 'NaN'::float8 AS n", "is no finite number"),
        (
            "SELECT count(*) FROM orders",
            "hint: names are looked up in no schema: write schema.table, or give schema=public",
        ),
        ("SELECT nonsense", "cannot ask the database: column \"nonsense\" does not exist"),
        ("SELEC 1", "syntax error"),
        ("SELECT pg_sleep(30)", "statement timeout"),
        ("SELECT setting FROM pg_catalog.pg_hba_file_rules", ""),
        ("COMMIT", "the query gives no row"),
        ("DELETE FROM s.orders", "cannot execute DELETE in a read-only transaction"),
    ] {
        ask(&pg, query, "timeout=2s").stdout_has("UNKNOWN q: ").stdout_has(said).code(3);
    }
    ask(&pg, "SELECT count(*) FROM orders", "schema=s").stdout_is("OK q: 3\n").code(0);
    ask(&pg, "SELECT 1 AS a", "b>1").stdout_has("UNKNOWN q: the query gives no column \"b\"").code(3);
    // A million rows are counted to a hundred thousand and no further, in little memory.
    let ran = ask(&pg, "SELECT repeat('x', 100) FROM generate_series(1, 1000000)", "count-rows timeout=30s");
    assert!(
        ran.stdout_text().contains("rows or more") || ran.stdout_text().contains("without end"),
        "{}",
        ran.picture()
    );
}

/// THREATS G9, H8: one statement is taken, and it cannot leave its transaction.
#[test]
fn a_second_statement_is_refused_and_nothing_is_lost() {
    let pg = shop(15);
    pg.sql_in("shop", "CREATE TABLE s.keep (a int); ALTER TABLE s.keep OWNER TO watch");

    for query in [
        "select 1; commit; drop table s.keep",
        "select 1; drop table s.keep",
        "commit; drop table s.keep",
        "drop table s.keep",
        "begin read write",
    ] {
        ask(&pg, query, "").stdout_has("UNKNOWN q: ").code(3);
    }

    assert_eq!(pg.sql_in("shop", "SELECT count(*) FROM s.keep"), "0");
}

#[test]
fn a_superuser_is_a_warning_unless_it_is_meant() {
    let pg = shop(15);
    let dir = Sandbox::new();
    let address = format!("'host={} port={} user=postgres dbname=shop'", pg.socket_dir().display(), pg.port());
    let target = format!("\"sql:SELECT 1\" database={address} name=q");

    healthprobe(&dir)
        .arg(&target)
        .run()
        .stdout_has("WARNING q: 1; asked as a superuser")
        .stdout_has("hint: give the query a role of its own")
        .code(1);
    healthprobe(&dir).arg(format!("{target} as-superuser")).run().stdout_is("OK q: 1\n").code(0);
}

#[test]
fn a_query_may_stand_in_a_file_that_only_we_can_write() {
    let pg = shop(15);
    let dir = Sandbox::new();
    let address = format!("'host={} port={} user=watch dbname=shop'", pg.socket_dir().display(), pg.port());
    let write = |mode| {
        fs::write(dir.join("q.sql"), "-- orders\nSELECT count(*)\nFROM s.orders;\n").unwrap();
        fs::set_permissions(dir.join("q.sql"), fs::Permissions::from_mode(mode)).unwrap();
    };
    let ran = || healthprobe(&dir).arg(format!("sql: query-file=q.sql database={address} name=q")).run();

    write(0o644);
    ran().stdout_is("OK q: 3\n").code(0);
    write(0o666);
    ran().stderr_has("can be written by others").code(3);
    healthprobe(&dir)
        .arg("-")
        .stdin_bytes("sql:'SELECT 1' database=app\n")
        .run()
        .stderr_has("sql: is not taken from standard input")
        .code(3);
    healthprobe(&dir).arg("sql: database=app").run().stderr_has("sql: needs one query").code(3);
}
