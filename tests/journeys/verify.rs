//! What backup-verify says of directories and reports: depths, thresholds, expectations, verdicts.

use crate::place::{Place, chmod, days, label_of, make_directory, mode, names_in};
use common::backup::catalog::{INDEX, MANIFEST, VERIFIED};
use harness::{Postgres, Ran, Tool, app_user, is_root};
use serde_json::Value;
use std::fs;
use std::time::Duration;

/// `backup-verify --no-config`, about to run in the sandbox.
fn verify(place: &Place) -> Tool {
    place.dir.tool("backup-verify").args(["--no-config", "--threads", "1"])
}

/// What it says of the directory `backups`, without times.
#[track_caller]
fn said(place: &Place, options: &[&str], code: i32) -> String {
    let ran = verify(place).args(options).arg("backups").run().stderr_is("").code(code);
    ran.stdout_text().lines().map(|line| format!("{}\n", without_time(line))).collect()
}

/// A line without how long the check took.
fn without_time(line: &str) -> &str {
    line.split(" checked in ").next().unwrap()
}

/// The verdict beside a backup.
fn verdict(place: &Place, label: &str) -> Value {
    let bytes = fs::read(place.backups().join(format!("{label}{VERIFIED}"))).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Its depth and status.
fn verdict_in_short(place: &Place, label: &str) -> String {
    let verdict = verdict(place, label);
    format!("{} {}", verdict["depth"].as_str().unwrap(), verdict["status"].as_str().unwrap())
}

/// Flips a bit in the middle of a file of a backup.
fn damage(place: &Place, label: &str, end: &str) {
    let path = place.backups().join(format!("{label}{end}"));
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The items of a JSON report.
fn items(ran: &Ran) -> Vec<Value> {
    ran.stdout_text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_depth_that_needs_no_server_finds_a_good_backup_good() {
    let place = Place::new();
    let label = place.back_up();
    let size = common::units::size(place.manifest(&label).archive.stored_bytes);

    assert_eq!(said(&place, &["--depth", "list"], 0), format!("OK app: {size} by its manifest\n"));
    assert_eq!(said(&place, &[], 0), format!("OK app: {size} as recorded, stored\n"));
    assert_eq!(said(&place, &["--depth", "content"], 0), "OK app: 300 rows of 1 table as recorded, content\n");
}

#[test]
fn a_directory_stands_for_the_newest_backup_of_each_database_and_every_for_all() {
    let place = Place::new();
    place.pg.sql("CREATE DATABASE shop");
    let made = place.back_up();
    let old = place.age(&made, days(3));
    label_of(&place.pgbackup().arg("shop").run().code(0));
    damage(&place, &old, ".sql.gz");

    let newest = said(&place, &[], 0);
    let every = said(&place, &["--every"], 2);

    assert_eq!(newest.lines().count(), 2, "{newest}");
    assert!(newest.starts_with("OK app: ") && newest.contains("\nOK shop: "), "{newest}");
    assert_eq!(every.lines().count(), 3, "{every}");
    let found = format!("CRITICAL {old}: the archive is damaged: its SHA-256 is not the recorded one\n");
    assert!(every.contains(&found), "{every}");
    // Now that it is known to be bad it no longer counts; the newest is still good.
    assert_eq!(
        said(&place, &["--min-count", "2"], 2).lines().next().unwrap().split(';').next(),
        Some("CRITICAL app: 1 complete backup")
    );
}

#[test]
fn databases_of_two_clusters_and_of_two_directories_are_told_apart() {
    let place = Place::new();
    let other = Postgres::start();
    other.sql("CREATE DATABASE app");
    let mine = place.back_up();
    let theirs = label_of(&place.pgbackup().envs(other.env()).arg("app").run().code(1));
    place.pgbackup().args(["--stdin", "app"]).stdin_bytes("data").run().code(0);
    let cluster = |label: &str| place.manifest(label).source.unwrap().system_identifier;

    let text = said(&place, &[], 0);

    for subject in [
        format!("OK app of cluster {}: ", cluster(&mine)),
        format!("OK app of cluster {}: ", cluster(&theirs)),
        "OK app (stream): ".to_owned(),
    ] {
        assert_eq!(text.matches(&subject).count(), 1, "{subject}\n{text}");
    }
    make_directory(&place.dir.join("copy"), 0o700);
    for name in names_in(&place.backups()).into_iter().filter(|name| name.starts_with(&mine)) {
        fs::copy(place.backups().join(&name), place.dir.join("copy").join(&name)).unwrap();
    }
    let ran = verify(&place).args(["--format", "prometheus", "copy", "backups"]).run().code(0);
    assert!(ran.stdout_text().contains("backup_verify_status{subject=\"app in copy\"} 0\n"), "{ran:?}");
    assert_eq!(ran.stdout_text().matches("\nbackup_verify_status{").count(), 4, "{ran:?}");
}

#[test]
fn a_place_without_a_backup_is_critical_and_one_that_may_not_be_read_is_unknown() {
    let place = Place::new();

    assert_eq!(said(&place, &[], 2), "CRITICAL backups: no backup found\n");
    verify(&place).arg("nowhere").run().stdout_has("CRITICAL nowhere: cannot open \"nowhere\"").code(2);
    fs::write(place.dir.join("file"), "x").unwrap();
    verify(&place).arg("file/app-20261120T020000Z").run().stdout_has("CRITICAL").code(2);
    if is_root() {
        let (uid, gid) = app_user();
        let label = place.back_up();
        let line = "UNKNOWN backups: cannot open directory \"backups\": Permission denied (os error 13)\n";
        verify(&place).arg("backups").as_user(uid, gid).run().stdout_is(line).code(3);
        chmod(&place.backups(), 0o755);
        let ran = verify(&place).arg("backups").as_user(uid, gid).run().stderr_is("").code(2);
        // The catalog cannot read the manifest: as far as it goes, that is a damaged one.
        assert!(ran.stdout_text().contains(&label), "{ran:?}");
    }
}

#[test]
fn what_failed_to_dump_is_in_the_report_behind_the_pipe() {
    let place = Place::new();
    place.pg.sql("CREATE DATABASE broken; CREATE ROLE nobody_at_all NOLOGIN");
    place.pg.sql_in("broken", "CREATE TABLE t AS SELECT 1 AS a");
    place.pg.sql("ALTER DATABASE broken SET role = 'nobody_at_all'");
    let lines = place.pgbackup().args(["--all", "--format", "json"]).run().code(2);

    let ran =
        verify(&place).args(["--format", "json", "-"]).stdin_bytes(lines.stdout.clone()).run().stderr_is("").code(2);

    let items = items(&ran);
    assert_eq!(items.len(), lines.stdout_text().lines().count());
    let bad: Vec<_> = items.iter().filter(|item| item["status"] != "OK").collect();
    assert_eq!(bad.len(), 1, "{items:?}");
    assert_eq!(bad[0]["subject"], "broken");
    assert!(bad[0]["message"].as_str().unwrap().starts_with("pgbackup: no backup was made"), "{bad:?}");
    assert!(
        items.iter().any(|item| item["label"].as_str().is_some_and(|label| label.starts_with("app-"))),
        "{items:?}"
    );
    // What was made with a warning stays a warning, though its content is good.
    let warned = place.pgbackup().envs(Postgres::start().env()).args(["--format", "json", "postgres"]).run();
    if warned.code == Some(1) {
        verify(&place).arg("-").stdin_bytes(warned.stdout).run().stdout_has("; pgbackup: ").code(1);
    }
}

#[test]
fn standard_input_holds_paths_and_nothing_on_it_is_an_error() {
    let place = Place::new();
    let label = place.back_up();
    let lines = format!("# ours\nbackups/{label}.sql.gz\n\nbackups\n");

    let ran = verify(&place).arg("-").stdin_bytes(lines).run().stderr_is("").code(0);

    assert_eq!(ran.stdout_text().lines().count(), 2);
    verify(&place).arg("-").run().stderr_has("standard input names no backup").code(3);
    verify(&place).args(["-", "-"]).stdin_bytes("backups\n").run().stderr_has("- can be given only once").code(3);
    verify(&place).arg("-").stdin_bytes("{\n").run().stderr_has("cannot read line 1 of standard input").code(3);
}

#[test]
fn every_threshold_warns_and_alarms_and_is_quiet_when_well() {
    let place = Place::new();
    let made = place.back_up();
    place.age(&made, days(2));
    let bytes = place.manifest(&made).archive.stored_bytes;
    let [less, more, much_more] = [bytes - 1, bytes + 1, bytes + 2].map(|bytes| format!("{bytes}B"));
    let free = 1_u64 << 60;
    for (option, ok, warning, critical, told) in [
        ("--max-age", "1h".to_owned(), "@0:1h,2h".to_owned(), "@0:1h".to_owned(), " old; "),
        ("--min-size", less.clone(), format!("{more},{less}"), format!("{much_more},{more}"), "the archive has "),
        ("--min-count", "2".to_owned(), "3,2".to_owned(), "4,3".to_owned(), "2 complete backups; "),
        ("--min-free", "1B".to_owned(), format!("{free}B,1B"), format!("{free}B"), " left on its file system"),
    ] {
        assert!(said(&place, &[option, &ok], 0).lines().all(|line| line.starts_with("OK ")), "{option}");
        let text = said(&place, &[option, &warning], 1);
        assert!(text.contains("WARNING ") && text.contains(told), "{option}: {text}");
        let text = said(&place, &[option, &critical], 2);
        assert!(text.contains("CRITICAL ") && text.contains(told), "{option}: {text}");
        verify(&place).args(["-q", option, &ok, "backups"]).run().stdout_is("").stderr_is("").code(0);
    }
}

#[test]
fn age_is_measured_from_the_name_and_a_backup_from_the_future_is_none() {
    let place = Place::new();
    let made = place.back_up();
    let old = place.age(&made, days(2));
    for name in names_in(&place.backups()).into_iter().filter(|name| name.starts_with(&made)) {
        fs::remove_file(place.backups().join(name)).unwrap();
    }

    assert!(said(&place, &["--max-age", "26h"], 2).contains("CRITICAL app: 2d old; "), "{}", said(&place, &[], 0));
    assert!(said(&place, &["--max-age", "26h,50h"], 1).starts_with("WARNING app: 2d old; "));

    let planted = place.at(&old, "99991231T235959Z");
    let text = said(&place, &["--max-age", "26h"], 2);
    assert!(text.contains(&format!("CRITICAL {planted}: it is from the future\n")), "{text}");
    assert!(text.contains("CRITICAL app: 2d old; "), "{text}");
}

#[test]
fn a_table_that_lost_its_rows_is_named_from_depth_stored_on() {
    let place = Place::new();
    place.pg.sql_in("app", "CREATE TABLE pages AS SELECT repeat('x', 100) AS text FROM generate_series(1, 3000)");
    let made = place.back_up();
    let before = place.age(&made, days(1));
    place.pg.sql_in("app", "DELETE FROM customers WHERE id > 30");
    for name in names_in(&place.backups()).into_iter().filter(|name| name.starts_with(&made)) {
        fs::remove_file(place.backups().join(name)).unwrap();
    }
    let now = place.back_up();

    let lost = format!("lost 90 % since {before} (rows of table public.customers: 300 -> 30); ");
    assert!(said(&place, &["--shrink", "50%"], 2).starts_with(&format!("CRITICAL app: {lost}")));
    assert!(said(&place, &["--shrink", "50%,95%"], 1).starts_with(&format!("WARNING app: {lost}")));
    said(&place, &["--shrink", "95%"], 0);
    // By manifests alone only the totals are known: 8 percent.
    said(&place, &["--depth", "list", "--shrink", "50%"], 0);
    let text = said(&place, &["--depth", "list", "--shrink", "5%"], 2);
    assert!(text.contains(&format!("lost 8 % since {before} (rows: 3,300 -> 3,030); ")), "{text}");
    damage(&place, &now, INDEX);
    said(&place, &["--shrink", "50%"], 2);
}

#[test]
fn expected_databases_must_be_there_and_a_stream_is_none() {
    let place = Place::new();
    place.back_up();
    place.pgbackup().args(["--stdin", "uploads"]).stdin_bytes("data").run().code(0);

    said(&place, &["--expect", "app,stream:uploads"], 0);
    let text = said(&place, &["--expect", "app,uploads,shop,globals"], 2);

    for line in [
        "CRITICAL uploads: no backup of this database\n",
        "CRITICAL shop: no backup of this database\n",
        "CRITICAL globals: no backup of the globals\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(text.lines().count(), 5, "{text}");
}

#[test]
fn what_judges_directories_is_refused_without_one() {
    let place = Place::new();
    let label = place.back_up();
    let path = format!("backups/{label}.sql.gz");

    for option in [&["--max-age", "26h"][..], &["--every"], &["--expect", "app"], &["--shrink", "50%"]] {
        let expected = format!("error: {} judges the backups of a DIR, and none is given\n", option[0]);
        verify(&place).args(option).arg(&path).run().stdout_is("").stderr_has(&expected).code(3);
    }
    verify(&place).args(["--max-age", "26", "backups"]).run().stdout_is("").stderr_has("26 has no unit").code(3);
}

#[test]
fn the_verdict_is_kept_and_only_a_deeper_look_clears_a_finding() {
    let place = Place::new();
    let label = place.back_up();
    said(&place, &["--depth", "list"], 0);
    assert!(!names_in(&place.backups()).contains(&format!("{label}{VERIFIED}")));

    said(&place, &[], 0);
    assert_eq!(verdict_in_short(&place, &label), "stored OK");
    said(&place, &["--depth", "content"], 0);
    said(&place, &[], 0);
    assert_eq!(verdict_in_short(&place, &label), "content OK");
    let kept = verdict(&place, &label);
    assert_eq!(kept["stored_sha256"], place.manifest(&label).archive.stored_sha256.as_str());
    assert_eq!(mode(&place.backups().join(format!("{label}{VERIFIED}"))), 0o600);

    damage(&place, &label, ".sql.gz");
    said(&place, &[], 2);
    assert_eq!(verdict_in_short(&place, &label), "stored CRITICAL");
    // Somebody put the good archive back: the same look clears it.
    damage(&place, &label, ".sql.gz");
    said(&place, &["--depth", "list"], 2);
    said(&place, &[], 0);
    assert_eq!(verdict_in_short(&place, &label), "stored OK");

    // Of what a deeper look has found, a shallower one knows nothing.
    let forged = fs::read_to_string(place.backups().join(format!("{label}{VERIFIED}"))).unwrap();
    let forged = forged.replace("stored\"", "content\"").replace("\"OK\"", "\"CRITICAL\"");
    fs::write(place.backups().join(format!("{label}{VERIFIED}")), forged).unwrap();
    let text = said(&place, &[], 2);
    assert!(text.starts_with(&format!("CRITICAL app: {label}: backup-verify found it bad at 20")), "{text}");
    assert!(text.ends_with("  hint: read it again with --depth content\n"), "{text}");
    assert_eq!(verdict_in_short(&place, &label), "content CRITICAL");
    said(&place, &["--depth", "content"], 0);
    assert_eq!(verdict_in_short(&place, &label), "content OK");
    assert_eq!(names_in(&place.backups()).iter().filter(|name| name.ends_with(".partial")).count(), 0);
}

#[test]
fn a_place_that_may_only_be_read_is_checked_without_a_verdict() {
    assert!(is_root(), "needs root: a directory of another user");
    let place = Place::new();
    let label = place.back_up();
    let (uid, gid) = app_user();
    chmod(&place.backups(), 0o755);
    for name in names_in(&place.backups()) {
        chmod(&place.backups().join(name), 0o644);
    }

    let ran = verify(&place).args(["-v", "backups"]).as_user(uid, gid).run().code(0);

    let _ = ran.stderr_has("the verdict is not kept: cannot create ");
    assert!(!names_in(&place.backups()).contains(&format!("{label}{VERIFIED}")));
}

#[test]
fn by_a_path_the_shallowest_look_still_sees_that_a_file_is_missing() {
    let place = Place::new();
    let label = place.back_up();
    let path = format!("backups/{label}{MANIFEST}");
    verify(&place).args(["--depth", "list", &path]).run().stdout_has("by its manifest").code(0);
    fs::remove_file(place.backups().join(format!("{label}.sql.gz"))).unwrap();

    let ran = verify(&place).args(["--depth", "list", &path]).run().code(2);

    assert_eq!(ran.stdout_text(), format!("CRITICAL {path}: the archive is missing\n"));
}

#[test]
fn the_report_of_a_directory_suits_nagios_prometheus_and_cron() {
    let place = Place::new();
    let label = place.back_up();
    let options = ["--max-age", "26h", "--min-free", "1B", "--expect", "app", "backups"];

    let ran = verify(&place).args(["--format", "nagios"]).args(options).run().stderr_is("").code(0);

    assert!(ran.stdout_text().starts_with("BACKUP-VERIFY OK - 2 ok | 'app stored_bytes'="), "{ran:?}");
    assert_eq!(ran.stdout_text().matches('|').count(), 1);
    let ran = verify(&place).args(["-q", "--write", "prometheus:v.prom"]).args(options).run().stdout_is("").code(0);
    assert!(ran.wall < Duration::from_secs(20));
    let metrics = fs::read_to_string(place.dir.join("v.prom")).unwrap();
    for line in ["backup_verify_status{subject=\"app\"} 0\n", "backup_verify_backups{subject=\"app\"} 1\n"] {
        assert!(metrics.contains(line), "{metrics}");
    }
    damage(&place, &label, ".sql.gz");
    let ran = verify(&place).arg("-q").args(options).run().stderr_is("").code(2);
    let line = format!("CRITICAL app: {label}: the archive is damaged: its SHA-256 is not the recorded one\n");
    assert_eq!(ran.stdout_text(), line);
}
