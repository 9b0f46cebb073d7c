//! `backup-verify --depth restored` and extensions: those that are not there, and those that bring rows of their own.

use crate::place::{Place, label_of, make_directory};
use crate::verify_restored::{proven, verdict};
use harness::{Postgres, Sandbox};
use std::fs;

#[test]
fn an_extension_that_is_not_there_or_not_trusted_has_its_own_verdict() {
    let place = Place::new();
    place.pg.sql_in("app", "CREATE EXTENSION hstore; CREATE EXTENSION dblink");
    let label = place.back_up();
    let path = format!("backups/{label}");

    let ran = proven(&place).arg(&path).run().code(3);
    assert!(ran.stdout_text().contains("UNKNOWN"), "{}", ran.picture());
    assert!(
        ran.stdout_text().contains("extension dblink is not a trusted one, and not allowed here"),
        "{}",
        ran.picture()
    );
    assert_eq!(verdict(&place, &label).as_deref(), Some("content OK"));

    let ran = proven(&place).args(["--allow-extension", "dblink"]).arg(&path).run();
    assert!(ran.stdout_text().starts_with("OK "), "{}", ran.picture());
}

/// A server with the extension `shop`, which no other server has, and two tables of configuration in it.
fn with_shop(dir: &Sandbox) -> Place {
    let place = dir.join("extension");
    make_directory(&place, 0o755);
    fs::write(place.join("shop.control"), "default_version = '1'\nrelocatable = true\n").unwrap();
    fs::write(
        place.join("shop--1.sql"),
        "CREATE TABLE setting (key text, own bool);
         INSERT INTO setting VALUES ('shipped', false), ('also shipped', false);
         SELECT pg_catalog.pg_extension_config_dump('setting', 'WHERE own');
         CREATE TABLE rate (country text, percent int);
         INSERT INTO rate VALUES ('DE', 19);
         SELECT pg_catalog.pg_extension_config_dump('rate', '');",
    )
    .unwrap();
    let path = format!("extension_control_path = '$system:{}'", dir.path().display());
    let place = Place::with(Postgres::builder().major(18).conf(path).start());
    place.pg.sql_in("app", "CREATE EXTENSION shop; INSERT INTO setting VALUES ('mine', true)");
    place
}

#[test]
fn an_extension_of_another_machine_is_named_with_its_package_and_says_nothing_about_the_backup() {
    let extensions = Sandbox::new();
    let place = with_shop(&extensions);
    let label = label_of(&place.pgbackup().arg("app").run());

    let ran = proven(&place).arg(format!("backups/{label}")).run().code(3);

    assert!(
        ran.stdout_text().contains("extension shop is not installed on this machine for PostgreSQL 18"),
        "{}",
        ran.picture()
    );
    assert!(ran.stdout_text().contains("hint: on Debian: apt install postgresql-18-shop"), "{}", ran.picture());
    assert_eq!(verdict(&place, &label).as_deref(), Some("content OK"));
}

#[test]
fn what_an_extension_fills_itself_is_told_from_what_was_lost() {
    let extensions = Sandbox::new();
    let place = with_shop(&extensions);
    let label = label_of(&place.pgbackup().arg("app").run());
    let server = format!("host={} port={} user=postgres", place.pg.socket_dir().display(), place.pg.port());
    let tool = || place.dir.tool("backup-verify").args(["--no-config", "--pg-bin"]).arg(place.pg.bin());

    let ran = tool()
        .args(["--depth", "restored", "--server", &server, "--allow-extension", "shop"])
        .arg(format!("backups/{label}"))
        .run();

    // Its script has filled it once more than the dump.
    assert!(
        ran.stdout_text()
            .contains("table public.rate is configuration that extension shop fills itself: 2 rows, 1 recorded"),
        "{}",
        ran.picture()
    );
    assert!(!ran.stdout_text().contains("public.setting"), "{}", ran.picture());
    assert!(!ran.stdout_text().starts_with("CRITICAL"), "{}", ran.picture());

    place.pg.sql_in("app", "DELETE FROM setting WHERE own");
    let ran = tool().args(["--against", &format!("{server} dbname=app")]).arg(format!("backups/{label}")).run().code(2);
    assert!(ran.stdout_text().contains("public.setting"), "{}", ran.picture());
}
