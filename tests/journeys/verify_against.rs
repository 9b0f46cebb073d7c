//! `backup-verify --against`: a database that is no longer what a backup says is found out, and one that is, is not.

use crate::place::{Place, chmod, label_of};
use crate::round_trip::{Backup, every_kind, pgbackup};
use harness::{Postgres, Ran, Sandbox, Tool};
use serde_json::Value;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// `backup-verify --against DATABASE`, about to run against the server of the place.
fn against(place: &Place, database: &str) -> Tool {
    against_at(&place.dir, &place.pg, database)
}

fn against_at(dir: &Sandbox, pg: &Postgres, database: &str) -> Tool {
    let tool = dir.tool("backup-verify").envs(pg.env()).arg("--no-config").arg("--pg-bin").arg(pg.bin());
    tool.args(["--against", database])
}

/// The one item of a JSON report.
#[track_caller]
fn item(ran: &Ran) -> Value {
    serde_json::from_str(ran.stdout_text()).unwrap_or_else(|e| panic!("{e}\n{}", ran.picture()))
}

fn texts(item: &Value, key: &str) -> Vec<String> {
    let list = item[key].as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A place whose `app` was backed up and then copied to `copy`; the path of the archive.
fn with_copy(change: &str) -> (Place, String) {
    let place = Place::new();
    place.pg.sql("CREATE ROLE reader; CREATE ROLE owner");
    place.pg.sql_in(
        "app",
        "CREATE TABLE orders (id int PRIMARY KEY, total numeric);
         INSERT INTO orders SELECT n, n * 2 FROM generate_series(1, 42) AS n;
         CREATE INDEX i ON orders (total);
         GRANT SELECT ON orders TO reader;
         CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
         SELECT lo_from_bytea(16401, 'large')",
    );
    let path = format!("backups/{}.sql.gz", place.back_up());
    place.pg.sql("CREATE DATABASE copy TEMPLATE app");
    place.pg.sql_in("copy", change);
    (place, path)
}

/// All that `--format json` lists after that change of the copy.
#[track_caller]
fn differences_after(change: &str) -> Vec<String> {
    let (place, path) = with_copy(change);
    let ran = against(&place, "copy").args(["--format", "json", &path]).run().stderr_is("").code(2);
    let item = item(&ran);
    assert_eq!(item["status"], "CRITICAL");
    assert_eq!(item["different"], texts(&item, "differences").len());
    texts(&item, "differences")
}

#[test]
fn a_database_that_holds_what_was_recorded_is_equal_with_every_kind_of_object_in_it() {
    for major in [15, 16, 18] {
        let dir = Sandbox::new();
        let pg = every_kind(major, &["app"]);
        // pg_dump of 16 and 18 come from a wheel and are a few minors old, which pgbackup warns of.
        let ran = pgbackup(&pg, &dir).args(["-q", "app"]).run();
        let backup = Backup::read(dir.join(ran.stdout_text().trim_end()));

        let ran = against_at(&dir, &pg, "app").args(["--format", "json"]).arg(&backup.path).run().stderr_is("").code(0);

        let item = item(&ran);
        assert_eq!(item["rows"], backup.manifest["content"]["rows"]);
        assert_eq!(item["different"], 0);
        assert_eq!(texts(&item, "notes"), Vec::<String>::new());
    }
}

#[test]
fn a_lost_row_index_sequence_value_large_object_function_and_grant_are_each_named() {
    for (change, difference) in [
        ("DELETE FROM orders WHERE id = 7", "table public.orders holds 41 rows, but 42 were recorded"),
        (
            "UPDATE orders SET total = 0 WHERE id = 7",
            "table public.orders holds 42 rows as recorded, but not the same ones",
        ),
        ("DROP INDEX i", "INDEX public.i is missing"),
        ("SELECT setval('customers_id_seq', 7)", "sequence public.customers_id_seq stands at 7, not 300"),
        ("SELECT lo_put(16401, 0, 'L')", "large object 16401 differs"),
        ("SELECT lo_unlink(16401)", "large object 16401 is missing"),
        (
            "CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 2'",
            "FUNCTION public.f(integer) differs",
        ),
        ("REVOKE SELECT ON orders FROM reader", "ACL on TABLE orders in public is missing"),
        ("ALTER VIEW first_ones OWNER TO owner", "VIEW public.first_ones belongs to owner, not to postgres"),
        ("CREATE VIEW evil AS SELECT 1", "VIEW public.evil was not recorded"),
    ] {
        let found = differences_after(change);
        assert!(found.contains(&difference.to_owned()), "{change}: {found:#?}");
        // A large object that is gone takes its entry with it.
        assert!(found.len() == 1 || change.contains("lo_unlink"), "{change}: {found:#?}");
    }
}

#[test]
fn the_text_shows_the_first_differences_and_json_has_all_of_them() {
    let (place, path) = with_copy(
        "DO $$ BEGIN FOR n IN 10..30 LOOP EXECUTE format('CREATE VIEW v%s AS SELECT 1', n); END LOOP; END $$",
    );

    let text = against(&place, "copy").arg(&path).run().stderr_is("").code(2);
    let json = against(&place, "copy").args(["--format", "json", &path]).run().code(2);

    let start = format!("CRITICAL {path}: database copy differs: VIEW public.v10 was not recorded; VIEW public.v11 ");
    assert!(text.stdout_text().starts_with(&start), "{}", text.picture());
    assert!(text.stdout_text().ends_with("VIEW public.v19 was not recorded; and 11 more\n"), "{}", text.picture());
    assert_eq!(texts(&item(&json), "differences").len(), 21);
}

#[test]
fn the_second_dump_has_the_options_of_the_first() {
    let place = Place::new();
    place.pg.sql_in("app", "CREATE SCHEMA logs; CREATE TABLE logs.lines AS SELECT generate_series(1, 9) AS n");
    let ran = place.pgbackup().args(["app", "--", "--exclude-schema=logs", "--no-owner"]).run().code(0);
    let path = format!("backups/{}.sql.gz", label_of(&ran));
    place.pg.sql_in("app", "DELETE FROM logs.lines");

    let _ = against(&place, "app").arg(&path).run().stderr_is("").code(0);
    place.pg.sql_in("app", "DELETE FROM customers");
    let _ = against(&place, "app").arg(&path).run().stderr_is("").code(2);
}

#[test]
fn a_newer_server_may_word_statements_its_own_way_but_must_hold_every_row_and_value() {
    let old = Place::new();
    let path = format!("backups/{}.sql.gz", old.back_up());
    for major in [16, 18] {
        let new = Postgres::version(major);
        new.sql("CREATE DATABASE app");
        fs::write(old.dir.join("dump.sql"), old.pg.dump_plain("app")).unwrap();
        new.load_file("app", old.dir.join("dump.sql"));

        let equal = against_at(&old.dir, &new, "app").args(["--format", "json", &path]).run().stderr_is("").code(0);
        new.sql_in("app", "SELECT setval('customers_id_seq', 7); DROP INDEX customers_name_idx");
        let lost = against_at(&old.dir, &new, "app").args(["--format", "json", &path]).run().stderr_is("").code(2);

        assert_eq!(item(&equal)["different"], 0, "{}", equal.picture());
        assert_eq!(
            texts(&item(&lost), "differences"),
            ["sequence public.customers_id_seq stands at 7, not 300", "INDEX public.customers_name_idx is missing"],
            "{major}"
        );
    }
}

#[test]
fn what_cannot_be_compared_is_unknown_with_the_reason() {
    let place = Place::new();
    let label = place.back_up();
    let _ = place.pgbackup().args(["--globals", "app"]).run().code(0);
    let globals = place.labels().into_iter().find(|label| label.starts_with("globals")).unwrap();
    let stream =
        label_of(&place.pgbackup().args(["--stdin", "uploads"]).stdin_bytes("data").run().stderr_is("").code(0));
    let said = |tool: Tool| {
        let ran = tool.run().code(3);
        format!("{}{}", ran.stdout_text(), ran.stderr_text())
    };

    let of = |label: &str| said(against(&place, "app").arg(format!("backups/{label}")));
    assert!(of(&globals).contains("UNKNOWN backups/globals"), "{}", of(&globals));
    assert!(of(&globals).contains("globals belong to a server"), "{}", of(&globals));
    assert!(of(&stream).contains("a stream cannot be compared with a database"), "{}", of(&stream));
    let nowhere = said(against(&place, "nowhere").arg(format!("backups/{label}")));
    assert!(nowhere.contains("database \"nowhere\" does not exist"), "{nowhere}");
    assert!(said(against(&place, "app").arg("backups")).contains("--against compares one backup"));
    let with_password = "postgresql://u:CANARY@localhost/app";
    let refused = said(against(&place, with_password).arg(format!("backups/{label}")));
    assert!(refused.contains("a password in an argument") && !refused.contains("CANARY"), "{refused}");
}

#[test]
fn a_forged_manifest_cannot_hand_options_of_its_own_to_pg_dump() {
    let place = Place::new();
    let label = place.back_up();
    let mut manifest = place.manifest(&label);
    manifest.client.as_mut().unwrap().options = vec!["--file=/tmp/nightshift-forged".into()];
    place.write(&manifest);

    let ran = against(&place, "app").arg(format!("backups/{label}")).run().code(3);

    assert!(ran.stdout_text().contains("cannot dump as the manifest says: pg_dump option"), "{}", ran.picture());
    assert!(!std::path::Path::new("/tmp/nightshift-forged").exists());
}

#[test]
fn a_damaged_index_is_damage_of_the_backup_and_not_of_the_database() {
    let place = Place::new();
    let label = place.back_up();
    let index = place.backups().join(format!("{label}.index.jsonl"));
    let text = fs::read_to_string(&index).unwrap().replacen("300", "301", 1);
    fs::write(&index, text).unwrap();

    let ran = against(&place, "app").arg(format!("backups/{label}")).run().code(2);

    assert!(ran.stdout_text().contains("the index is damaged"), "{}", ran.picture());
}

#[test]
fn a_dump_of_something_else_is_compared_as_far_as_it_can_be() {
    let place = Place::new();
    place.pg.sql_in("app", "ALTER VIEW first_ones OWNER TO postgres; COMMENT ON TABLE customers IS 'c'");
    fs::write(place.dir.join("by-hand.sql"), place.pg.dump_plain("app")).unwrap();
    let compare = || against(&place, "app").args(["--format", "json", "by-hand.sql"]);

    let equal = compare().run().stderr_is("").code(0);
    place.pg.sql_in("app", "UPDATE customers SET name = 'x' WHERE id = 1");
    let changed = compare().run().code(1);
    place.pg.sql_in("app", "DELETE FROM customers WHERE id = 1; DROP INDEX customers_name_idx");
    let lost = compare().run().code(2);

    assert_eq!(item(&equal)["different"], 0);
    assert_eq!(
        texts(&item(&changed), "doubts"),
        ["table public.customers holds 300 rows, which may not be the same ones"]
    );
    assert_eq!(
        texts(&item(&lost), "differences"),
        ["table public.customers holds 299 rows, but 300 were recorded", "INDEX public.customers_name_idx is missing"]
    );
}

#[test]
fn a_role_that_row_security_hides_rows_from_is_told_so() {
    let place = Place::new();
    place.pg.sql("CREATE ROLE app_reader LOGIN; GRANT pg_read_all_data TO app_reader");
    place
        .pg
        .sql_in("app", "ALTER TABLE customers ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON customers USING (id < 10)");
    let label = place.back_up();

    let ran = against(&place, "user=app_reader dbname=app").arg(format!("backups/{label}")).run().code(3);

    assert!(ran.stdout_text().contains("row-level security"), "{}", ran.picture());
}

#[test]
fn an_applications_own_file_says_where_the_server_is() {
    let place = Place::new();
    let path = format!("backups/{}", place.back_up());
    place.pg.sql("CREATE ROLE reader LOGIN PASSWORD 'secret' IN ROLE pg_read_all_data");
    let address = format!("postgresql://reader:secret@127.0.0.1:{}/postgres", place.pg.port());
    fs::write(place.dir.join(".env"), format!("DATABASE_URL={address}\n")).unwrap();
    chmod(&place.dir.join(".env"), 0o600);

    let tool = place.dir.tool("backup-verify").args(["--no-config", "--env-file", ".env", "--against", "app"]);
    let many = "SELECT count(*) = 300 FROM public.customers";
    let tool = tool.arg("--pg-bin").arg(place.pg.bin()).args(["--assert", many, "--require-table", "customers"]);
    let ran = tool.arg(&path).run().stderr_is("").code(0);

    assert!(ran.stdout_text().starts_with("OK "), "{}", ran.picture());
}

#[test]
fn a_superuser_asks_no_assert_and_nothing_is_written_by_one() {
    let place = Place::new();
    let path = format!("backups/{}", place.back_up());
    place.pg.sql("CREATE ROLE app_reader LOGIN; GRANT pg_read_all_data TO app_reader");
    place.pg.sql_in("app", "GRANT ALL ON customers TO app_reader");
    let ask = |user: &str, query: &str| {
        let ran = against(&place, &format!("user={user} dbname=app")).args(["--assert", query]).arg(&path).run();
        ran.stdout_text().to_owned()
    };

    let superuser = ask("postgres", "SELECT true");
    let writing =
        ask("app_reader", "WITH gone AS (DELETE FROM public.customers RETURNING id) SELECT count(*) > 0 FROM gone");

    assert!(superuser.contains("UNKNOWN") && superuser.contains("not asked as a superuser"), "{superuser}");
    assert!(writing.starts_with("CRITICAL"), "{writing}");
    assert_eq!(place.pg.sql_in("app", "SELECT count(*) FROM customers"), "300");
}

/// A function that makes the role of the application a superuser, where it runs as one.
const TRAP: &str = "CREATE ROLE app_role; CREATE FUNCTION trap() RETURNS bigint LANGUAGE plpgsql AS $$BEGIN
    EXECUTE 'ALTER ROLE app_role SUPERUSER'; RETURN 1; END$$";

#[test]
fn what_becomes_a_view_between_two_looks_of_the_dump_runs_nothing() {
    let place = Place::new();
    place.pg.sql_in("app", &format!("{TRAP}; CREATE SEQUENCE bait"));
    let path = format!("backups/{}.sql.gz", place.back_up());
    let count = |what: &str| place.pg.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE {what}"));
    let wait_for = |what: &str| {
        let began = Instant::now();
        while count(what) == "0" {
            assert!(began.elapsed() < Duration::from_secs(60), "{what}");
            thread::sleep(Duration::from_millis(20));
        }
    };

    // pg_dump has listed all objects, and waits to lock a table, while the sequence becomes a view.
    let (is_locked, is_waiting) =
        ("query LIKE '%pg_sleep(55)%' AND state = 'active' AND pid <> pg_backend_pid()", "wait_event_type = 'Lock'");
    let ran = thread::scope(|scope| {
        scope.spawn(|| {
            let held = "BEGIN; LOCK TABLE customers IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(55)";
            place.pg.try_sql_in("app", held).unwrap_err();
        });
        wait_for(is_locked);
        let running = against(&place, "app").arg(&path).spawn();
        wait_for(is_waiting);
        place.pg.sql_in(
            "app",
            "DROP SEQUENCE bait; CREATE VIEW bait AS SELECT public.trap() AS last_value, 1::bigint AS log_cnt, true AS is_called",
        );
        place.pg.sql(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {is_locked}"));
        running.wait()
    });

    assert_eq!(place.pg.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app_role'"), "f", "{}", ran.picture());
    assert!(!ran.stdout_text().starts_with("OK"), "{}", ran.picture());
    // The trap is one: whoever reads the view without a guard falls into it.
    place.pg.sql_in("app", "SELECT last_value, is_called FROM public.bait");
    assert_eq!(place.pg.sql("SELECT rolsuper FROM pg_roles WHERE rolname = 'app_role'"), "t");
}
