//! The crontab that we hand out, run as cron runs it: silent while all is well, and loud when it is not.

use crate::place::{Place, chmod, days};
use common::backup::catalog::{INDEX, MANIFEST, SHA256};
use harness::{Ran, workspace};
use std::fs;

/// The commands of `scripts/crontab.example`, those behind a `#` as well.
fn commands() -> Vec<String> {
    let text = fs::read_to_string(workspace().join("scripts/crontab.example")).unwrap();
    let lines = text.lines().map(|line| line.trim_start_matches('#'));
    let commands: Vec<_> =
        lines.filter(|line| line.starts_with(|c: char| c.is_ascii_digit() || c == '*')).map(command).collect();
    assert!(commands.len() > 5, "{commands:?}");
    commands
}

/// What stands behind the five fields of a time.
fn command(line: &str) -> String {
    let fields: Vec<_> = line.split_whitespace().take(5).collect();
    assert!(fields.iter().all(|field| field.chars().all(|c| c.is_ascii_digit() || "*-,/".contains(c))), "{line}");
    let rest = fields.iter().fold(line, |rest, field| rest.trim_start().strip_prefix(field).unwrap());
    assert!(!rest.contains('%'), "a % is a newline to cron: {line}");
    rest.trim().to_owned()
}

/// The one command that has all of these words.
fn with(words: &[&str]) -> String {
    let mut found = commands();
    found.retain(|command| words.iter().all(|word| command.contains(word)));
    assert_eq!(found.len(), 1, "{words:?}: {found:?}");
    found.remove(0)
}

fn hourly() -> String {
    with(&["backup-verify", "--max-age"])
}

fn nightly() -> String {
    with(&["pgbackup -q", "--all"])
}

fn reading() -> String {
    with(&["--depth content /srv/pg"])
}

/// Runs a command as cron does, with the directories of the test in place of those of the example.
fn cron(place: &Place, command: &str) -> Ran {
    let here = |path: &str| place.dir.join(path).display().to_string();
    let command =
        command.replace("/srv/pg", &here("backups")).replace("/srv/app", &here("app")).replace("-C /srv", "-C .");
    // How much is free is the machine's business.
    let command = command.replace("20GiB", "1MiB");
    let tools = harness::tool_path("pgbackup").parent().unwrap().display().to_string();
    let path = format!("{tools}:{}:/usr/bin:/bin", place.pg.bin().display());
    place.dir.program("/bin/sh").envs(place.pg.env()).env("PATH", path).args(["-c", &command]).run()
}

#[track_caller]
fn is_silent(place: &Place, command: &str) {
    cron(place, command).stdout_is("").stderr_is("").code(0);
}

/// What cron would mail.
#[track_caller]
fn mailed(place: &Place, command: &str) -> String {
    let ran = cron(place, command);
    let mail = format!("{}{}", ran.stdout_text(), ran.stderr_text());
    assert!(!mail.is_empty() && ran.code != Some(0), "{}", ran.picture());
    mail
}

#[test]
fn every_line_of_the_crontab_is_silent_while_all_is_well() {
    if harness::is_root() {
        harness::verify_user();
    }
    let place = Place::new();
    fs::create_dir(place.dir.join("app")).unwrap();
    fs::create_dir(place.dir.join("uploads")).unwrap();
    fs::write(place.dir.join("uploads/photo"), "x").unwrap();
    fs::write(place.dir.join("app/.env"), "DATABASE_URL=postgresql:///app\n").unwrap();
    chmod(&place.dir.join("app/.env"), 0o600);

    // In the order of a day: what backs up before what looks at it.
    let (backs_up, looks): (Vec<_>, Vec<_>) = commands().into_iter().partition(|command| command.contains("pgbackup"));
    // Certificates of hosts elsewhere are not ours to ask for; journeys of certcheck have servers of their own.
    // Whether this machine is busy is not ours to say; journeys of healthprobe have thresholds of their own.
    let others = ["docker", "psql", "certcheck", "healthprobe"];
    let of_ours = |command: &&String| !others.iter().any(|other| command.contains(other));
    for command in backs_up.iter().filter(of_ours).chain(looks.iter().filter(of_ours)) {
        is_silent(&place, command);
    }
}

#[test]
fn what_went_wrong_overnight_is_mailed_within_the_hour() {
    let place = Place::new();
    is_silent(&place, &nightly());
    is_silent(&place, &hourly());
    let label = place.labels().into_iter().find(|label| label.starts_with("app-")).unwrap();
    let file = |end: &str| place.backups().join(format!("{label}{end}"));
    let archive = fs::read(file(".sql.gz")).unwrap();

    fs::write(file(".sql.gz"), &archive[..archive.len() - 1]).unwrap();
    assert!(mailed(&place, &hourly()).starts_with("CRITICAL "));
    assert!(mailed(&place, &reading()).starts_with("CRITICAL "));
    fs::write(file(".sql.gz"), &archive).unwrap();
    is_silent(&place, &reading());

    let old = place.age(&label, days(2));
    for end in [MANIFEST, INDEX, SHA256, ".sql.gz"] {
        fs::remove_file(file(end)).unwrap();
    }
    let mail = mailed(&place, &hourly());
    assert!(mail.starts_with("CRITICAL app: 2d old"), "{mail}");
    fs::remove_file(place.backups().join(format!("{old}{MANIFEST}"))).unwrap();
    assert!(mailed(&place, &hourly()).contains("app"));
}

#[test]
fn a_night_without_a_server_or_with_a_database_that_shrank_is_mailed() {
    let place = Place::new();
    place.pg.sql_in("app", "CREATE TABLE big AS SELECT generate_series(1, 10000) AS n");
    is_silent(&place, &nightly());

    place.pg.sql_in("app", "TRUNCATE big, customers");
    let mail = mailed(&place, &nightly());
    assert!(mail.contains("rows"), "{mail}");
    assert!(mailed(&place, &hourly()).contains("rows"));

    place.pg.stop_fast();
    assert!(mailed(&place, &nightly()).contains("cannot connect"));
    let both = commands().into_iter().filter(|command| command.contains("--format json | backup-verify -q -"));
    let both: Vec<_> = both.collect();
    assert_eq!(both.len(), 2, "read back, and restored: {both:?}");
    for command in both {
        assert!(mailed(&place, &command).contains("cannot connect"));
    }
}
