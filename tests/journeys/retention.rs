//! What stays and what goes, by real runs over directories that hold months of backups.

use crate::place::{FAILPOINT, Place, days, label_of, names_in};
use common::backup::catalog::{MANIFEST, VERIFIED, Verified};
use common::units::Stamp;
use harness::{Postgres, Tool};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

/// A place with one real backup and copies of it of these ages, oldest first; returns their labels too.
fn aged(ages: &[u64]) -> (Place, String, Vec<String>) {
    let place = Place::new();
    let made = place.back_up();
    let labels = ages.iter().map(|age| place.age(&made, days(*age))).collect();
    (place, made, labels)
}

/// Runs `pgbackup` with these options for `app`, which must go well, and returns the new label.
#[track_caller]
fn back_up(place: &Place, options: &[&str]) -> String {
    label_of(&place.pgbackup().args(options).arg("app").run().stderr_is("").code(0))
}

/// The label's time, so many days before today, at that hour.
fn stamp(days_ago: u64, hour: u32) -> String {
    let day = Stamp::from(SystemTime::now() - days(days_ago)).rfc3339()[..10].replace('-', "");
    format!("{day}T{hour:02}0000Z")
}

#[test]
fn keep_is_a_length_of_time_before_the_newest_backup() {
    let (place, made, old) = aged(&[400, 45, 31, 29, 10]);

    let new = back_up(&place, &["--keep", "30d"]);

    assert_eq!(place.labels(), [old[3].clone(), old[4].clone(), made, new]);
    place.is_sound();
}

#[test]
fn after_weeks_without_a_backup_nothing_that_is_young_enough_for_the_last_one_goes_at_once() {
    let (place, made, old) = aged(&[70, 45, 44]);
    for end in [".sql.gz", ".index.jsonl", ".sha256", MANIFEST] {
        fs::remove_file(place.backups().join(format!("{made}{end}"))).unwrap();
    }

    let new = back_up(&place, &["--keep-last", "2"]);

    assert_eq!(place.labels(), [old[2].clone(), new]);
    place.is_sound();
}

#[test]
fn calendar_rules_keep_the_newest_of_each_day_week_and_month() {
    let place = Place::new();
    let made = place.back_up();
    for (days_ago, hour) in [(1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (400, 1), (401, 1), (800, 1)] {
        place.at(&made, &stamp(days_ago, hour));
    }

    let new = back_up(&place, &["--keep-daily", "3", "--keep-yearly", "2"]);

    let mut expected = vec![stamp(1, 2), stamp(2, 2)];
    // The year before this one that has a backup; it may be that of 400 days ago or, in January, that of yesterday.
    let this_year = &stamp(0, 0)[..4];
    let other_year = [(1, 2), (2, 2), (3, 1), (400, 1), (401, 1), (800, 1)].map(|(day, hour)| stamp(day, hour));
    expected.extend(other_year.into_iter().find(|stamp| &stamp[..4] != this_year));
    let mut expected: Vec<_> = expected.into_iter().map(|stamp| format!("app-{stamp}")).chain([new]).collect();
    expected.sort();
    expected.dedup();
    assert_eq!(place.labels(), expected);
    place.is_sound();
}

#[test]
fn hourly_weekly_and_monthly_rules_add_up() {
    let place = Place::new();
    let made = place.back_up();
    let ages = [7, 14, 21, 60, 61, 95, 96].map(|age| place.age(&made, days(age)));

    let new = back_up(&place, &["--keep-hourly", "1", "--keep-weekly", "3", "--keep-monthly", "4"]);

    let kept = place.labels();
    // Three weeks: this one and those of 7 and 14 days ago; the rest is what months want.
    for label in [&ages[0], &ages[1], &new] {
        assert!(kept.contains(label), "{label} of {kept:?}");
    }
    for label in [&made, &ages[4], &ages[6]] {
        assert!(!kept.contains(label) || label[..10] != new[..10], "{label} of {kept:?}");
    }
    let months: std::collections::BTreeSet<_> = kept.iter().map(|label| &label[..10]).collect();
    assert!(months.len() >= 3, "{kept:?}");
    place.is_sound();
}

#[test]
fn without_a_rule_nothing_goes() {
    let (place, made, mut labels) = aged(&[4000, 400, 40]);

    let new = back_up(&place, &[]);

    labels.extend([made, new]);
    assert_eq!(place.labels(), labels);
}

#[test]
fn a_pinned_and_the_newest_proven_backup_stay_and_cost_no_other_its_place() {
    let (place, made, old) = aged(&[50, 40, 30, 20]);
    fs::write(place.backups().join(format!("{}.pin", old[0])), "").unwrap();
    prove(&place, &old[1], "OK");
    prove(&place, &old[2], "OK");

    let new = back_up(&place, &["--keep-last", "2"]);

    assert_eq!(place.labels(), [old[0].clone(), old[2].clone(), made, new]);
    let names = names_in(&place.backups());
    assert!(!names.contains(&format!("{}{VERIFIED}", old[1])), "a verdict goes with its backup: {names:?}");
    assert!(names.contains(&format!("{}{VERIFIED}", old[2])));
    assert!(names.contains(&format!("{}.pin", old[0])));
}

#[test]
fn a_verdict_about_other_bytes_proves_nothing() {
    let (place, made, old) = aged(&[50, 30]);
    prove(&place, &old[0], "OK");
    let verdict = place.backups().join(format!("{}{VERIFIED}", old[0]));
    let forged = fs::read_to_string(&verdict).unwrap().replace(&place.manifest(&old[0]).archive.stored_sha256, "0");
    fs::write(&verdict, forged).unwrap();
    fs::write(place.backups().join(format!("{}{VERIFIED}", old[1])), "{ no JSON").unwrap();

    let new = back_up(&place, &["--keep-last", "2"]);

    assert_eq!(place.labels(), [made, new]);
}

#[test]
fn a_backup_that_was_found_bad_is_not_counted_and_not_taken_away() {
    let (place, made, old) = aged(&[50, 30]);
    prove(&place, &made, "CRITICAL");

    let run = place.pgbackup().args(["--keep-last", "2", "app"]).run().code(1);

    let new = label_of(&run);
    let _ = run.stderr_has(&format!("{made}: backup-verify found it bad at 20"));
    assert_eq!(place.labels(), [old[1].clone(), made, new]);
}

fn prove(place: &Place, label: &str, status: &str) {
    let verified = Verified {
        at: Stamp::from(SystemTime::now()),
        depth: "content".to_owned(),
        status: status.to_owned(),
        version: "0.1.0".to_owned(),
        stored_sha256: place.manifest(label).archive.stored_sha256,
    };
    let bytes = serde_json::to_vec(&verified).unwrap();
    fs::write(place.backups().join(format!("{label}{VERIFIED}")), bytes).unwrap();
}

#[test]
fn what_is_damaged_or_missing_is_not_counted_and_not_taken_away() {
    let (place, made, old) = aged(&[60, 50, 40, 30, 20]);
    let file = |label: &str, end: &str| place.backups().join(format!("{label}{end}"));
    fs::remove_file(file(&old[1], ".sql.gz")).unwrap();
    fs::File::options().write(true).open(file(&old[2], ".sql.gz")).unwrap().set_len(100).unwrap();
    fs::write(file(&old[3], MANIFEST), "{ \"format\": 1").unwrap();
    fs::remove_file(file(&old[4], ".index.jsonl")).unwrap();

    let run = place.pgbackup().args(["--keep-last", "2", "app"]).run().code(1);

    let new = label_of(&run);
    let said = run.stderr_text();
    for (label, why) in [
        (&old[1], "the archive is missing"),
        (&old[2], "the archive has 100 bytes, not "),
        (&old[3], "the manifest is damaged"),
        (&old[4], "the index is missing"),
    ] {
        assert!(said.contains(&format!("{label}: {why}")), "{label}: {why}\n{said}");
    }
    assert!(said.starts_with("pgbackup: warning: app: backed up "), "{said}");
    assert_eq!(place.labels(), [&old[1], &old[2], &old[3], &old[4], &made, &new].map(String::clone));
}

#[test]
fn when_only_damaged_ones_are_left_the_new_backup_is_all_there_is_and_they_stay() {
    let (place, made, old) = aged(&[60, 50]);
    for label in [&made, &old[0], &old[1]] {
        fs::remove_file(place.backups().join(format!("{label}.sql.gz"))).unwrap();
    }

    let run = place.pgbackup().args(["--keep-last", "1", "app"]).run().code(1);

    assert_eq!(place.labels(), [old[0].clone(), old[1].clone(), made, label_of(&run)]);
}

#[test]
fn a_backup_from_the_future_is_critical_never_counted_and_never_taken_away() {
    let (place, made, old) = aged(&[20]);
    let planted = place.at(&made, "99991231T235959Z");
    prove(&place, &planted, "OK");

    let run = place.pgbackup().args(["--keep-last", "1", "app"]).run().code(2);

    let new = label_of(&run);
    let _ = run
        .stderr_has(&format!("{planted} is from the future; it is not counted and not removed\n"))
        .stderr_has("pgbackup: hint: is a clock wrong, or did somebody put the file there?\n");
    assert_eq!(place.labels(), [new, planted]);
    assert!(!place.labels().contains(&made) && !place.labels().contains(&old[0]));
}

#[test]
fn a_backup_from_the_future_is_no_measure_for_lost_rows() {
    let (place, made, _) = aged(&[20]);
    let planted = place.at(&made, "99991231T235959Z");
    let mut forged = place.manifest(&planted);
    forged.content.as_mut().unwrap().rows = 0;
    place.write(&forged);
    place.pg.sql_in("app", "DELETE FROM customers");

    let run = place.pgbackup().args(["--keep-last", "1", "app"]).run();

    assert!(run.stderr_text().contains("fewer than half of the rows"), "{run:?}");
    assert!(place.labels().contains(&made), "{run:?}");
}

#[test]
fn no_manifest_leads_out_of_the_directory() {
    let (place, made, old) = aged(&[30, 20]);
    let victim = place.dir.join("victim.sql.gz");
    fs::write(&victim, "precious").unwrap();
    let manifest = place.backups().join(format!("{}{MANIFEST}", old[0]));
    let honest = fs::read_to_string(&manifest).unwrap();
    // A name of a file where there is none in the format, and a label that is a path.
    let extra = honest.replacen(
        "\"archive\": {",
        "\"file\": \"../victim.sql.gz\", \"archive\": {\"path\": \"../victim.sql.gz\",",
        1,
    );
    assert_ne!(extra, honest);
    fs::write(&manifest, extra).unwrap();
    let other = place.backups().join(format!("{}{MANIFEST}", old[1]));
    fs::write(&other, fs::read_to_string(&other).unwrap().replace(&old[1], "../victim")).unwrap();

    let run = place.pgbackup().args(["--keep-last", "1", "app"]).run().code(1);

    let _ = run.stderr_has(&format!("{}: the manifest belongs to \"../victim\", not to \"{}\"", old[1], old[1]));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(place.labels().contains(&old[1]) && !place.labels().contains(&made));
    // What the first one was made of is known by its own name alone, so it could go.
    assert!(!place.labels().contains(&old[0]));
}

/// The same runs against another server.
fn against(place: &Place, other: &Postgres) -> Tool {
    place.pgbackup().envs(other.env())
}

#[test]
fn another_cluster_under_the_same_name_pushes_out_nothing_in_five_nights() {
    let place = Place::new();
    let first = place.back_up();
    let stranger = Postgres::start();
    stranger.sql("CREATE DATABASE app");

    for _ in 0..5 {
        against(&place, &stranger)
            .args(["--keep-last", "2", "app"])
            .run()
            .stdout_has("backups/app-")
            .stderr_has("another cluster than the one of the backups before, so nothing is expired\n")
            .stderr_has("pgbackup: hint: if the server was replaced on purpose, run once with --accept-source")
            .code(1);
    }

    assert_eq!(place.labels().len(), 6);
    assert_eq!(place.labels()[0], first);
    place.is_sound();
}

#[test]
fn another_cluster_behind_the_same_name_option_pushes_out_nothing_until_it_is_accepted() {
    let place = Place::new();
    let named = |tool: Tool| tool.args(["--name", "prod", "--keep-last", "2", "app"]);
    let first = label_of(&named(place.pgbackup()).run().stderr_is("").code(0));
    // As full as the real one, and fuller.
    let stranger = Place::new();

    for _ in 0..2 {
        named(against(&place, &stranger.pg))
            .run()
            .stdout_has("backups/prod-app-")
            .stderr_has("another cluster than the one of the backups before, so nothing is expired")
            .code(1);
    }

    assert_eq!(place.labels().len(), 3);
    assert_eq!(place.labels()[0], first);
    named(against(&place, &stranger.pg)).arg("--accept-source").run().stderr_is("").code(0);
    assert_eq!(place.labels().len(), 2);
    named(against(&place, &stranger.pg)).run().stderr_is("").code(0);
    place.is_sound();
}

#[test]
fn when_half_of_the_rows_are_gone_nothing_is_expired_until_somebody_says_that_it_is_right() {
    let (place, made, old) = aged(&[30, 20]);
    place.pg.sql_in("app", "DELETE FROM customers WHERE id > 140");
    let run = || place.pgbackup().args(["--keep-last", "1", "app"]);

    for _ in 0..2 {
        run()
            .run()
            .stderr_has("fewer than half of the rows of the backup before, so nothing is expired\n")
            .stderr_has("pgbackup: hint: if the rows were removed on purpose, run once with --accept-source\n")
            .code(1);
    }
    for label in [&made, &old[0], &old[1]] {
        assert!(place.labels().contains(label), "{label}");
    }

    run().arg("--accept-source").run().stderr_is("").code(0);

    assert_eq!(place.labels().len(), 1);
    run().run().stderr_is("").code(0);
    assert_eq!(place.labels().len(), 1);
    place.is_sound();
}

#[test]
fn two_clusters_with_names_share_a_directory_and_expire_their_own() {
    let place = Place::new();
    let other = Postgres::start();
    other.sql("CREATE DATABASE app");
    let here = |keep: &str| place.pgbackup().args(["--name", "a", "--keep-last", keep, "app"]);
    let there = |keep: &str| against(&place, &other).args(["--name", "b", "--keep-last", keep, "app"]);
    for _ in 0..2 {
        here("9").run().stderr_is("").code(0);
        there("9").run().stderr_is("").code(0);
    }

    here("1").run().stderr_is("").code(0);

    let prefixes: Vec<_> = place.labels().iter().map(|label| label[..5].to_owned()).collect();
    assert_eq!(prefixes, ["a-app", "b-app", "b-app"]);
    place.is_sound();
}

#[test]
fn two_clusters_without_names_share_a_directory_once_each_is_accepted() {
    let place = Place::new();
    let other = Postgres::start();
    other.sql("CREATE DATABASE app");
    let here = || place.pgbackup().args(["--keep-last", "1", "app"]);
    let there = || against(&place, &other).args(["--keep-last", "1", "app"]);
    here().run().stderr_is("").code(0);
    there().run().stderr_has("give each a --name").code(1);
    there().arg("--accept-source").run().stderr_is("").code(0);

    let here_now = label_of(&here().run().stderr_is("").code(0));
    let there_now = label_of(&there().run().stderr_is("").code(0));

    // One backup of each cluster: neither pushed the other's out.
    assert_eq!(place.labels(), [here_now, there_now]);
    place.is_sound();
}

#[test]
fn a_dry_run_gives_reasons_and_changes_nothing() {
    let (place, made, old) = aged(&[30, 20, 10]);
    fs::write(place.backups().join(format!("{}.pin", old[0])), "").unwrap();
    fs::remove_file(place.backups().join(format!("{made}.index.jsonl"))).unwrap();
    let before = snapshot(&place);

    let run = place.pgbackup().args(["--dry-run", "--keep-last", "1", "app"]).run().stderr_is("");

    let program = place.pg.bin().join("pg_dump");
    let lines: Vec<_> = run.stdout_text().lines().collect();
    assert!(lines[0].starts_with("OK app: would be backed up to \"backups/app-STAMP\", by pg_dump "), "{run:?}");
    assert!(lines[0].ends_with(&format!("({})", program.display())), "{run:?}");
    assert_eq!(
        lines[1..],
        [
            format!("OK {made}: is kept: incomplete, not counted: the index is missing"),
            format!("OK {}: is kept: newest complete, last 1: 1st", old[2]),
            format!("OK {}: would be removed: no rule keeps it", old[1]),
            format!("OK {}: is kept: pinned", old[0]),
        ]
    );
    assert_eq!(run.code, Some(0));
    assert_eq!(snapshot(&place), before);
}

/// Every file of the directory with its bytes.
fn snapshot(place: &Place) -> BTreeMap<String, Vec<u8>> {
    let read = |name: String| (name.clone(), fs::read(place.backups().join(name)).unwrap());
    names_in(&place.backups()).into_iter().map(read).collect()
}

#[test]
fn a_database_whose_dump_fails_keeps_all_its_backups_while_the_others_expire_theirs() {
    let place = Place::new();
    place.pg.sql("CREATE DATABASE broken; CREATE ROLE nobody_at_all NOLOGIN");
    place.pg.sql_in("broken", "CREATE TABLE t AS SELECT 1 AS a");
    let all = || place.pgbackup().args(["--all", "--keep-last", "1"]);
    all().run().stderr_is("").code(0);
    let made: Vec<_> = place.labels();
    for label in &made {
        place.age(label, days(9));
    }
    // Every session in it becomes somebody who may read nothing.
    place.pg.sql("ALTER DATABASE broken SET role = 'nobody_at_all'");

    let run = all().run().stderr_has("pgbackup: error: broken: ").stderr_has("permission denied").code(2);

    assert_eq!(run.stdout_text().lines().count(), made.len() - 1);
    let count = |prefix: &str| place.labels().iter().filter(|label| label.starts_with(prefix)).count();
    assert_eq!((count("broken-"), count("app-"), count("postgres-"), count("globals-")), (2, 1, 1, 1));
    place.is_sound();
}

#[test]
fn a_run_that_fails_or_is_killed_expires_nothing() {
    let (place, made, old) = aged(&[40, 30]);
    for failpoint in ["dump-proven=error", "all-but-manifest-named=error", "all-but-manifest-named=kill"] {
        let run = place.pgbackup().args(["--keep-last", "1", "app"]).env(FAILPOINT, failpoint).run();
        assert!(run.code == Some(2) || run.signal == Some(9), "{run:?}");
    }

    assert_eq!(place.labels(), [old[0].clone(), old[1].clone(), made]);
}

#[test]
fn a_backup_that_is_being_expired_elsewhere_is_waited_for() {
    let place = Place::new();
    place.pg.sql("CREATE DATABASE shop");
    let run = |name: &str| place.pgbackup().args(["--keep-last", "1", name]);
    for name in ["app", "shop"] {
        let label = label_of(&run(name).run().code(0));
        place.age(&label, Duration::from_secs(3600));
    }
    let first = run("app").env(FAILPOINT, "expire-uncommitted=pause:go").spawn();
    place.dir.wait_for("go.reached");
    let second = run("shop").spawn();
    std::thread::sleep(Duration::from_millis(1500));
    assert!(second.is_running(), "only one run at a time removes from a directory");

    fs::write(place.dir.join("go"), "").unwrap();

    first.wait().stderr_is("").code(0);
    second.wait().stderr_is("").code(0);
    assert_eq!(place.labels().len(), 2);
    place.is_sound();
}
