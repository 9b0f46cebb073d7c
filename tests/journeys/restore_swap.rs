//! A whole restore: what hangs on the database, what is refused, and what a kill at any place leaves.

use crate::place::{FAILPOINT, days, label_of, names_in};
use crate::restore_place::{RUIN, Ruined};
use harness::Postgres;
use std::collections::BTreeSet;
use std::fs;

/// All that hangs on a database, as the server has it, without its OID.
fn attributes(pg: &Postgres, name: &str) -> String {
    pg.sql(&format!(
        "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit, dattablespace, \
         to_jsonb(d) ->> 'datlocprovider', coalesce(to_jsonb(d) ->> 'datlocale', to_jsonb(d) ->> 'daticulocale'), \
         to_jsonb(d) ->> 'daticurules', shobj_description(oid, 'pg_database'), \
         datacl IS NULL, (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) AS a), \
         (SELECT json_agg(json_build_array(setrole::regrole, setconfig) ORDER BY setrole) \
          FROM pg_db_role_setting WHERE setdatabase = d.oid) \
         FROM pg_database AS d WHERE datname = '{name}'"
    ))
}

#[test]
fn a_restore_puts_the_backup_in_place_and_keeps_the_old_database() {
    let ruined = Ruined::new();

    let ran = ruined.restore().run().code(0);

    assert_eq!(ruined.live(), "whole", "{ran:?}");
    let databases = ruined.databases();
    assert_eq!(databases.len(), 2, "{databases:?}");
    assert!(databases[1].starts_with("app_before_") && databases[1].ends_with(" closed"), "{databases:?}");
    assert_eq!(ruined.loading_roles(), "");
    ruined.tool().args(["--undo", "--to", "app", "--yes"]).run().code(0);
    assert_eq!(ruined.live(), "ruined");
}

#[test]
fn whatever_hangs_on_the_database_hangs_on_the_restored_one() {
    for major in [15, 16, 18] {
        let sql = r#"
            CREATE ROLE "r"" ' \ ; --" LOGIN; CREATE ROLE b; CREATE ROLE c;
            ALTER DATABASE app CONNECTION LIMIT 77;
            COMMENT ON DATABASE app IS E'it''s "x" \\ ; -- \n $$ :y';
            REVOKE ALL ON DATABASE app FROM PUBLIC;
            GRANT CONNECT ON DATABASE app TO b WITH GRANT OPTION;
            SET ROLE b; GRANT CONNECT ON DATABASE app TO c; RESET ROLE;
            GRANT TEMPORARY, CREATE ON DATABASE app TO "r"" ' \ ; --";
            ALTER DATABASE app SET search_path TO "$user", 'a"b,c', public;
            ALTER DATABASE app SET application_name TO E'a''b"c\\d;--\n:e';
            ALTER DATABASE app SET "my.own" TO 'x=y';
            ALTER DATABASE app SET TimeZone TO 'Europe/Berlin';
            ALTER ROLE owner IN DATABASE app SET work_mem TO '5MB';
            ALTER ROLE "r"" ' \ ; --" IN DATABASE app SET search_path TO '';"#;
        let ruined = Ruined::with(Postgres::version(major), sql);
        let before = attributes(ruined.pg(), "app");

        ruined.restore().run().code(0);

        assert_eq!(ruined.live(), "whole");
        assert_eq!(attributes(ruined.pg(), "app"), before, "{major}");
    }
}

#[test]
fn locale_provider_encoding_and_tablespace_are_those_of_the_old_database() {
    let kinds = [
        (15, "LOCALE_PROVIDER icu ICU_LOCALE 'de-DE' LC_COLLATE 'C' LC_CTYPE 'C.UTF-8'"),
        (15, "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'POSIX'"),
        (18, "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"),
    ];
    for (major, kind) in kinds {
        let ruined = Ruined::with(Postgres::version(major), "");
        let tablespace = ruined.pg().data_dir().join("elsewhere");
        ruined
            .pg()
            .sql(&format!("COPY (SELECT 1) TO PROGRAM 'cat >/dev/null; mkdir -m 0700 {}'", tablespace.display()));
        ruined.pg().sql(&format!("CREATE TABLESPACE elsewhere LOCATION '{}'", tablespace.display()));
        ruined.pg().sql(&format!("CREATE DATABASE other TEMPLATE template0 TABLESPACE elsewhere {kind}"));
        let before = attributes(ruined.pg(), "other");

        let restore = ruined.tool().args([&ruined.label, "--dir", "backups", "--from-other", "--to", "other", "--yes"]);
        restore.run().code(0);

        assert_eq!(attributes(ruined.pg(), "other"), before, "{kind}");
        assert_eq!(ruined.pg().sql_in("other", "SELECT count(*) FROM customers"), "300", "{kind}");
    }
}

#[test]
fn what_was_changed_while_the_backup_was_loaded_is_there_too() {
    let ruined = Ruined::new();
    let go_on = ruined.place.dir.join("go");
    // Behind the last look at the old one: what is changed from here on is caught up with after the swap.
    let running = ruined.restore().env(FAILPOINT, format!("proven=pause:{}", go_on.display())).spawn();
    ruined.place.dir.wait_for("go.reached");
    ruined.pg().sql("ALTER DATABASE app SET work_mem TO '9MB'; GRANT CREATE ON DATABASE app TO PUBLIC");
    fs::write(go_on, "").unwrap();
    running.wait().code(0);

    let last = attributes(ruined.pg(), "app");
    assert!(last.contains("work_mem=9MB") && last.contains("=CTc/"), "{last}");

    let other = Ruined::new();
    let go_on = other.place.dir.join("go");
    let running =
        other.restore().env("NIGHTSHIFT_FAILPOINT", format!("side-on-record=pause:{}", go_on.display())).spawn();
    other.place.dir.wait_for("go.reached");
    other.pg().sql("ALTER DATABASE app SET work_mem TO '7MB'; REVOKE CONNECT ON DATABASE app FROM PUBLIC");
    fs::write(go_on, "").unwrap();
    running.wait().code(0);

    let attributes = attributes(other.pg(), "app");
    assert!(attributes.contains("work_mem=7MB") && !attributes.contains("{=Tc/"), "{attributes}");
}

#[test]
fn the_owner_with_createdb_needs_no_superuser() {
    for major in [15, 16, 18] {
        let ruined = Ruined::with(Postgres::version(major), "REVOKE CONNECT ON DATABASE app FROM PUBLIC");
        let before = attributes(ruined.pg(), "app");

        ruined.restore().env("PGUSER", "owner").run().code(0);

        assert_eq!(ruined.live(), "whole", "{major}");
        assert_eq!(attributes(ruined.pg(), "app"), before, "{major}");
    }
}

#[test]
fn every_reason_to_refuse_is_said_at_once_and_nothing_is_made() {
    let pg = Postgres::builder().conf("max_prepared_transactions = 2").conf("wal_level = logical").start();
    let ruined = Ruined::with(pg, "CREATE ROLE weak LOGIN");
    ruined.pg().sql_in("app", "SELECT pg_create_logical_replication_slot('slot_x', 'pgoutput')");
    ruined.pg().sql_in("app", "BEGIN; INSERT INTO since VALUES (1); PREPARE TRANSACTION 'one'");
    let before = (ruined.databases(), names_in(&ruined.place.backups()));

    for tool in [ruined.restore(), ruined.restore().arg("--dry-run")] {
        let ran = tool.env("PGUSER", "weak").run().code(3);

        let said = format!("{}{}", ran.stdout_text(), ran.stderr_text());
        for part in
            ["prepared transactions: one", "slots: slot_x", "may not create databases", "not the owner", "no member of"]
        {
            assert!(said.contains(part), "{part}: {ran:?}");
        }
    }

    assert_eq!((ruined.databases(), names_in(&ruined.place.backups())), before);
    ruined.pg().sql_in("app", "ROLLBACK PREPARED 'one'");
}

#[test]
fn missing_roles_and_a_full_disk_are_known_before_anything_is_loaded() {
    let ruined = Ruined::with(Postgres::start(), "CREATE ROLE gone");
    ruined.pg().sql_in("app", "CREATE TABLE of_gone (); ALTER TABLE of_gone OWNER TO gone");
    let label = label_of(&ruined.place.pgbackup().args(["--accept-source", "app"]).run().code(0));
    ruined.pg().sql_in("app", "DROP OWNED BY gone; DROP ROLE gone");
    let mut manifest = ruined.place.manifest(&label);
    manifest.source.as_mut().unwrap().size_bytes = 1 << 60;
    ruined.place.write(&manifest);

    let ran = ruined.tool().args([&label, "--dir", "backups", "--to", "app", "--yes"]).run().stdout_is("").code(3);

    ran.stderr_has("missing: gone").stderr_has("gunzip -c globals").stderr_has("the database had 1");
    assert_eq!(ruined.databases(), ["app"]);
}

#[test]
fn a_backup_of_a_newer_server_is_refused() {
    let ruined = Ruined::new();
    let mut manifest = ruined.place.manifest(&ruined.label);
    manifest.source.as_mut().unwrap().version_num = 180_001;
    ruined.place.write(&manifest);

    ruined.restore().run().stdout_is("").stderr_has("newer server (18.1)").code(3);
}

#[test]
fn a_failed_check_leads_back_to_the_old_database() {
    let ruined = Ruined::new();

    let ran = ruined.restore().args(["--check", "false"]).run().code(2);

    ran.stderr_has("the check of the application failed");
    assert_eq!(ruined.live(), "ruined");
    let databases = ruined.databases();
    assert!(databases.len() == 2 && databases[1].starts_with("app_failed_"), "{databases:?}");
    ruined.tool().args(["--undo", "--to", "app", "--yes"]).run().stderr_has("has put a database aside").code(3);
    ruined.restore().run().code(0);
    assert_eq!(ruined.live(), "whole");
}

#[test]
fn the_safety_backup_applies_nobodys_retention() {
    let ruined = Ruined::new();
    let old = [ruined.place.age(&ruined.label, days(300)), ruined.place.age(&ruined.label, days(200))];

    ruined.restore().env("PGBACKUP_KEEP_LAST", "1").env("PGBACKUP_KEEP", "1d").run().code(0);

    let labels = ruined.place.labels();
    assert_eq!(labels.len(), 4, "{labels:?}");
    assert!(old.iter().all(|label| labels.contains(label)));
}

#[test]
fn two_at_once_are_one_and_a_75() {
    let ruined = Ruined::new();
    let go_on = ruined.place.dir.join("go");
    let running = ruined.restore().env("NIGHTSHIFT_FAILPOINT", format!("side-made=pause:{}", go_on.display())).spawn();
    ruined.place.dir.wait_for("go.reached");

    ruined.restore().run().stdout_is("").stderr_has("another run holds the lock").code(75);
    ruined.tool().args(["--undo", "--to", "app", "--yes"]).run().stdout_is("").code(75);
    ruined.tool().arg("--recover").run().stdout_is("").code(75);

    fs::write(go_on, "").unwrap();
    running.wait().code(0);
    assert_eq!(ruined.live(), "whole");
}

#[test]
fn a_name_that_is_taken_is_passed_over() {
    let ruined = Ruined::new();
    for ahead in 0..8 {
        for part in ["nightshift", "before", "failed", "undone"] {
            let stamp = "to_char(now() AT TIME ZONE 'UTC' + interval '1 s' * ";
            let name =
                ruined.pg().sql(&format!("SELECT 'app_{part}_' || {stamp} {ahead}, 'YYYYMMDD\"T\"HH24MISS\"Z\"')"));
            if part == ["nightshift", "before", "failed", "undone"][ahead % 4] {
                ruined.pg().sql(&format!("CREATE DATABASE \"{name}\""));
            }
        }
    }

    ruined.restore().run().code(0);

    assert_eq!((ruined.live(), ruined.databases().len()), ("whole", 10));
}

#[test]
fn a_name_as_long_as_a_name_can_be_keeps_its_suffix() {
    let ruined = Ruined::new();
    let long = "é".repeat(31);
    ruined.pg().sql(&format!("ALTER DATABASE app RENAME TO \"{long}\""));

    ruined.tool().args([&ruined.label, "--dir", "backups", "--from-other", "--yes", "--to", &long]).run().code(0);

    let databases = ruined.databases();
    assert!(databases.iter().any(|name| name.contains("_before_2") && name.ends_with("Z closed")), "{databases:?}");
}

/// Every place between two stages that these sources name.
fn failpoints(files: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(harness::workspace().join("crates/pgrestore-safe/src").join(file)).unwrap();
        names.extend(text.split("failpoint!(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    names
}

#[test]
fn killed_anywhere_a_restore_leaves_one_of_the_two_and_recover_ends_it() {
    let names = failpoints(&["restore.rs", "side.rs", "exchange.rs", "swap.rs"]);
    assert!(names.len() >= 14, "{names:?}");
    let ruined = Ruined::new();
    for name in &names {
        let check = if name.ends_with("back") { "false" } else { "true" };
        let backup = ruined.place.backups().join(&ruined.label);
        let restore = || ruined.tool().arg(&backup).args(["--to", "app", "--yes", "--check", check]);
        // What is dropped is dropped because something failed before.
        let restore =
            || if name == "side-dropped" { restore().args(["--stop", "false", "--start", "true"]) } else { restore() };
        assert_eq!(ruined.live(), "ruined");

        ruined.killed_at(restore().arg("--no-safety-backup"), name);

        let found = ruined.live();
        let step = ruined.state()["run"]["step"].as_str().unwrap_or_default().to_owned();
        if step.starts_with("swapping") || step == "checking" {
            restore().run().stdout_is("").stderr_has("--recover").code(3);
        }
        let recovered = ruined.tool().arg("--recover").run();
        let code = if name == "swapping-back" { 2 } else { 0 };
        assert_eq!(recovered.code, Some(code), "{name}: {recovered:?}");
        let expected = if name.ends_with("back") { "ruined" } else { found };
        assert_eq!(ruined.live(), expected, "{name}");
        let databases = ruined.databases();
        let beside = if expected == "whole" || name.ends_with("back") { 2 } else { 1 };
        assert_eq!(databases.len(), beside, "{name}: {databases:?}");
        assert_eq!(ruined.state()["run"], serde_json::Value::Null, "{name}");
        let drop_old = ruined.tool().args(["--drop-old", "--yes", "--no-safety-backup"]);
        drop_old.run().code(0);
        assert_eq!(ruined.databases(), ["app"], "{name}");
        ruined.pg().sql_in("app", RUIN);
    }
    ruined.restore().run().code(0);
    assert_eq!((ruined.live(), ruined.loading_roles().as_str()), ("whole", ""));
}

#[test]
fn what_a_killed_load_left_does_not_stop_the_next_restore() {
    let ruined = Ruined::new();
    ruined.killed_at(ruined.restore().arg("--no-safety-backup"), "side-on-record");
    assert_eq!(ruined.databases().len(), 2);

    ruined.restore().run().stderr_has("was cut off; what it left in \"app_nightshift_").code(0);

    assert_eq!((ruined.live(), ruined.databases().len()), ("whole", 2));
}

#[test]
fn a_signal_while_it_loads_leaves_nothing_behind() {
    for at in ["side-on-record", "adopting", "proven"] {
        let ruined = Ruined::new();
        let go_on = ruined.place.dir.join("go");
        let running = ruined.restore().env("NIGHTSHIFT_FAILPOINT", format!("{at}=pause:{}", go_on.display())).spawn();
        ruined.place.dir.wait_for("go.reached");

        running.term();
        fs::write(go_on, "").unwrap();

        running.wait().stdout_is("").signalled(15);
        assert_eq!((ruined.live(), ruined.databases().as_slice()), ("ruined", ["app".to_owned()].as_slice()), "{at}");
        assert_eq!(ruined.loading_roles(), "", "{at}");
        assert_eq!(ruined.state()["run"], serde_json::Value::Null, "{at}");
    }
}

#[test]
fn a_database_may_be_called_whatever_it_likes() {
    for name in ["a\"b'; \\ --\n:x", "host=evil", "-rf", "../../etc", "postgresql://x"] {
        let ruined = Ruined::new();
        let quoted = name.replace('"', "\"\"");
        ruined.pg().sql(&format!("ALTER DATABASE app RENAME TO \"{quoted}\""));
        let keywords = format!("dbname='{}'", name.replace('\\', "\\\\").replace('\'', "\\'"));
        let tool = || ruined.tool().args(["--yes", "--to", &keywords]);

        tool().args([&ruined.label, "--dir", "backups", "--from-other"]).run().code(0);

        let databases = ruined.pg().sql("SELECT count(*) FROM pg_database WHERE datname !~ '^(postgres|template.)$'");
        assert_eq!(databases, "2", "{name:?}");
        tool().arg("--undo").run().code(0);
        let dropped = tool().args(["--drop-old", "--dir", "backups"]).run().code(0);
        ruined.pg().sql(&format!("ALTER DATABASE \"{quoted}\" RENAME TO app"));
        let left = ruined.databases();
        assert_eq!((ruined.live(), left.len()), ("ruined", 1), "{name:?}: {left:?}\n{}", dropped.picture());
    }
}

#[test]
fn a_database_in_heavy_use_is_replaced_and_no_transaction_sees_a_mix() {
    let ruined = Ruined::with(Postgres::builder().conf("max_connections = 120").start(), "");
    let script = ruined.place.dir.join("script");
    fs::write(&script, "BEGIN; SELECT count(*) FROM customers; UPDATE customers SET name = 'x' WHERE id = 5; COMMIT;")
        .unwrap();
    let bench = || {
        let bench = ruined.place.dir.program("pgbench").envs(ruined.pg().env()).env("PATH", path_of(ruined.pg()));
        bench.args(["-n", "-c", "8", "-T", "60", "-f"]).arg(&script).arg("app").spawn()
    };
    let load = bench();
    while ruined.pg().sql("SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'") != "8" {}

    ruined.restore().run().code(0);

    assert_eq!(ruined.live(), "whole");
    load.wait().stderr_has("terminating connection");
}

fn path_of(pg: &Postgres) -> String {
    format!("{}:/usr/bin:/bin", pg.bin().display())
}

#[test]
fn a_loaded_subscription_does_not_keep_a_side_database_alive() {
    let subscribe = "CREATE SUBSCRIPTION s_1 CONNECTION 'dbname=nowhere' PUBLICATION p WITH (connect = false)";
    let ruined = Ruined::new();
    ruined.pg().sql_in("app", subscribe);
    let label = label_of(&ruined.place.pgbackup().arg("app").run());
    // Restoring over a database with a subscription is refused.
    let gone = "ALTER SUBSCRIPTION s_1 SET (slot_name = NONE); DROP SUBSCRIPTION s_1";
    ruined.pg().sql_in("app", &gone.replace("; ", ";\n"));

    let tool = ruined.tool().args([&label, "--dir", "backups", "--to", "app", "--yes"]);
    tool.env(FAILPOINT, "proven=error").run().code(2).stderr_has("proven");

    assert_eq!(ruined.databases(), ["app"]);
    assert_eq!(ruined.live(), "ruined");
    assert_eq!(ruined.pg().sql("SELECT count(*) FROM pg_subscription"), "0");
    let tool = ruined.tool().args([&label, "--dir", "backups", "--to", "app", "--yes"]);
    let ran = tool.run();
    assert_eq!(ruined.pg().sql("SELECT subname FROM pg_subscription WHERE NOT subenabled"), "s_1", "{}", ran.picture());
}
