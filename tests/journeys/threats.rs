//! What strangers on the machine, in the database and in the directory try, and what comes of it. Source: the rules that
//! every tool keeps (G1, G3, G4, G7, G11, G13).

use crate::place::{FAILPOINT, Place, chmod, label_of, make_directory, mode, names_in};
use common::backup::catalog::{MANIFEST, VERIFIED};
use harness::{Sandbox, app_user, tool_path};
use std::fs;
use std::os::unix::fs::chown;
use std::time::Duration;

// G1: modes

#[test]
fn whatever_the_umask_backups_are_for_their_owner_and_reports_for_everyone() {
    for umask in ["000", "777"] {
        let place = Place::new();
        let script = "umask $2; exec \"$0\" --no-config --dir backups --pg-bin \"$1\" --journal journal \
                      --write prometheus:report.prom --keep-last 1 app";
        let tool = place.dir.program("dash").args(["-c", script]).arg(tool_path("pgbackup")).arg(place.pg.bin());

        tool.arg(umask).envs(place.pg.env()).run().stderr_is("").code(0);

        for name in names_in(&place.backups()) {
            assert_eq!(mode(&place.backups().join(&name)), 0o600, "{name}");
        }
        assert_eq!(mode(&place.dir.join("journal")), 0o600);
        assert_eq!(mode(&place.dir.join("report.prom")), 0o644);
    }
}

// G3: what may command us

#[test]
fn a_configuration_that_others_can_write_is_refused_with_the_chmod() {
    let place = Place::new();
    let (uid, _) = app_user();
    let config = place.dir.join("pgbackup.conf");
    fs::write(&config, "dir backups\n").unwrap();
    let run = || place.dir.tool("pgbackup").arg("--config").arg(&config).arg("app").run().stdout_is("");

    for open in [0o664, 0o646, 0o666] {
        chmod(&config, open);
        run()
            .stderr_is(&format!(
                "pgbackup: error: {config:?} can be written by others (mode {open:04o})\n\
                 pgbackup: hint: run: chmod go-w {config:?}\n"
            ))
            .code(3);
    }

    chmod(&config, 0o644);
    chown(&config, Some(uid), None).unwrap();
    run()
        .stderr_is(&format!(
            "pgbackup: error: {config:?} belongs to another user (uid {uid})\npgbackup: hint: run: chown root {config:?}\n"
        ))
        .code(3);
    assert_eq!(names_in(&place.backups()).len(), 0);
}

#[test]
fn a_configuration_below_a_directory_that_others_can_write_is_refused() {
    let place = Place::new();
    make_directory(&place.dir.join("open"), 0o775);
    let config = place.dir.join("open/pgbackup.conf");
    fs::write(&config, "dir backups\n").unwrap();

    let run = place.dir.tool("pgbackup").arg("--config").arg(&config).arg("app").run().stdout_is("");

    let _ = run.stderr_has("which others can change\n").stderr_has("pgbackup: hint: run: chown root ").code(3);
}

#[test]
fn what_an_applications_environment_says_cannot_run_programs_or_accept_a_source() {
    let place = Place::new();
    let script = place.dir.join("evil");
    fs::write(&script, format!("#!/bin/sh\ntouch {}\n", place.dir.join("pwned").display())).unwrap();
    chmod(&script, 0o755);

    place
        .pgbackup()
        .env("PGBACKUP_CLIENT_PREFIX", &script)
        .env("PGBACKUP_PG_BIN", place.dir.path())
        .env("PGBACKUP_RUN_AS", "root")
        .env("PGBACKUP_ACCEPT_SOURCE", "1")
        .arg("app")
        .run()
        .stderr_is("")
        .code(0);

    assert!(!place.dir.join("pwned").exists());
}

// G4: locks

#[test]
fn another_user_can_neither_hold_the_lock_nor_read_a_backup() {
    let place = Place::new();
    place.pgbackup().args(["--keep-last", "3", "app"]).run().code(0);
    chmod(&place.backups(), 0o755);
    let (uid, gid) = app_user();

    for name in names_in(&place.backups()) {
        let held = place.dir.program("flock").args(["--nonblock", "--shared"]).arg(format!("backups/{name}"));
        held.arg("true").as_user(uid, gid).run().stderr_has("Permission denied").code(66);
    }
    place.pgbackup().args(["--keep-last", "3", "app"]).run().stderr_is("").code(0);
}

// G7: programs

#[test]
fn a_directory_of_the_path_that_others_can_write_is_skipped() {
    let (place, marks) = (Place::new(), Sandbox::new());
    // Whoever the programs run as can leave a mark here.
    chmod(marks.path(), 0o777);
    let (evil, pwned) = (place.dir.join("evil"), marks.join("pwned"));
    make_directory(&evil, 0o755);
    for program in ["psql", "pg_dump", "ionice"] {
        let script =
            format!("#!/bin/sh\n: >{}\necho '{program} (PostgreSQL) {}.999'\n", pwned.display(), place.pg.major());
        fs::write(evil.join(program), script).unwrap();
        chmod(&evil.join(program), 0o755);
    }
    let run = |first: &str| {
        let path = format!("{first}:{}:/usr/bin:/bin", place.pg.bin().display());
        let tool = place.dir.tool("pgbackup").envs(place.pg.env()).env("PATH", path);
        tool.args(["--no-config", "--nice", "--dir", "../backups", "app"]).cwd(&evil).run()
    };
    let absolute = evil.display().to_string();
    let trusted = run(&absolute);
    assert!(pwned.exists(), "the trap itself does not work\n{trusted:?}");
    fs::remove_file(&pwned).unwrap();

    let skipped = |first: &str| {
        let ran = run(first);
        assert!(!pwned.exists(), "{ran:?}");
        let _ = ran.stderr_is("").code(0);
    };
    chmod(&evil, 0o777);
    skipped(&absolute);
    chmod(&evil, 0o775);
    chown(&evil, None, Some(app_user().1)).unwrap();
    skipped(&absolute);
    chmod(&evil, 0o755);
    for relative in [".", "", "../evil"] {
        skipped(relative);
    }
    chown(&evil, Some(app_user().0), None).unwrap();
    skipped(&absolute);
}

// G11: names that are read by people, shells and monitoring

/// Moves the cursor, turns the reading direction, ends a line, and is three commands in a shell.
const NAME: &str = "x'; touch pwned; '\u{1b}[2J\u{202e}\n`touch pwned`$(touch pwned)|\\\"";

fn hostile() -> Place {
    assert!(NAME.len() <= 63, "the server would cut it");
    let place = Place::new();
    place.pg.sql(&format!("CREATE DATABASE \"{}\"", NAME.replace('"', "\"\"")));
    place
}

/// No character that acts on a terminal; newlines end lines.
#[track_caller]
fn is_tame(text: &str) {
    let is_wild = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    assert!(!text.chars().any(is_wild), "{text:?}");
}

#[test]
fn a_hostile_name_is_one_tame_line_in_messages_and_in_the_path_of_its_backup() {
    let place = hostile();

    let good = place.pgbackup().args(["-vv", NAME]).run().code(0);
    let bad = place.pgbackup().args(["-q", NAME]).env(FAILPOINT, "dump-proven=error").run().stdout_is("").code(2);
    let dry = place.pgbackup().args(["--dry-run", "--keep-last", "1", NAME]).run().stderr_is("").code(0);

    is_tame(good.stdout_text());
    is_tame(&good.stderr_text());
    assert_eq!(good.stdout_text().lines().count(), 1);
    is_tame(&bad.stderr_text());
    assert_eq!(
        bad.stderr_text(),
        "pgbackup: error: x'; touch pwned; '\\u001b[2J\\u202e\\n`touch pwned`$(touch pwned)|\\\": failpoint dump-proven\n"
    );
    is_tame(dry.stdout_text());
    assert_eq!(dry.stdout_text().lines().count(), 2, "{dry:?}");
    let label = label_of(&good);
    assert!(label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-%".contains(&byte)), "{label}");
    assert_eq!(place.manifest(&label).subject, NAME);
    is_tame(&fs::read_to_string(place.backups().join(format!("{label}{MANIFEST}"))).unwrap());
    place.is_sound();
}

#[test]
fn a_hostile_name_passes_through_eval_in_two_shells_unchanged() {
    let place = hostile();
    for shell in ["bash", "dash"] {
        for failpoint in ["none", "dump-proven=error"] {
            let script = "eval \"$(\"$0\" --no-config --dir backups --pg-bin \"$1\" --format sh \"$2\")\"; \
                          printf '%s\\n%s' \"$pgbackup_status\" \"$pgbackup_subject\"";
            let tool = place.dir.program(shell).args(["-c", script]).arg(tool_path("pgbackup")).arg(place.pg.bin());
            let status = if failpoint == "none" { "OK" } else { "CRITICAL" };

            let tool = tool.arg(NAME).envs(place.pg.env()).env(FAILPOINT, failpoint);
            tool.run().stdout_is(&format!("{status}\n{NAME}")).code(0);

            assert!(!place.dir.files().iter().any(|file| file.ends_with("pwned")), "{shell}");
        }
    }
}

#[test]
fn a_hostile_name_is_whole_in_json_and_in_the_journal_and_acts_on_no_terminal() {
    let place = hostile();

    let run = place.pgbackup().args(["--format", "json", "--journal", "journal", NAME]).run().stderr_is("").code(0);

    let journal = fs::read_to_string(place.dir.join("journal")).unwrap();
    for text in [run.stdout_text(), &journal] {
        is_tame(text);
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let item: serde_json::Value = serde_json::from_str(run.stdout_text()).unwrap();
    let line: serde_json::Value = serde_json::from_str(&journal).unwrap();
    assert_eq!(item["subject"], NAME);
    assert_eq!(line["items"][0]["subject"], NAME);
}

#[test]
fn a_hostile_name_does_not_leave_its_place_in_a_nagios_line() {
    let place = hostile();

    let one = place.pgbackup().args(["--format", "nagios", NAME]).run().code(0);
    let two = place.pgbackup().args(["--format", "nagios", NAME, "app"]).run().code(0);

    for run in [&one, &two] {
        is_tame(run.stdout_text());
        let first = run.stdout_text().lines().next().unwrap();
        assert_eq!(first.matches('|').count(), 1, "{first}");
        assert!(!first.contains(['`', '$', '<', '>', '"', '&']), "{first}");
        // Labels of performance data stand in quotes, and no quote comes from the name.
        let (said, data) = first.split_once(" | ").unwrap();
        assert!(!said.contains('\''), "{said}");
        let outside: String = data.split('\'').step_by(2).collect();
        assert!(outside.bytes().all(|byte| byte.is_ascii_digit() || b" =.Bs".contains(&byte)), "{data}");
    }
    assert_eq!(one.stdout_text().lines().count(), 1);
    assert_eq!(two.stdout_text().lines().count(), 3);
}

#[test]
fn a_hostile_name_keeps_the_metrics_readable() {
    let place = hostile();

    place.pgbackup().args(["--write", "prometheus:all.prom", NAME, "app"]).run().stderr_is("").code(0);

    let text = fs::read_to_string(place.dir.join("all.prom")).unwrap();
    is_tame(&text);
    let subjects = is_prometheus_text(&text);
    assert!(subjects.contains(&"app".to_owned()), "{subjects:?}");
    assert!(subjects.iter().any(|subject| subject.starts_with("x'; touch pwned; '")), "{subjects:?}");
    if std::path::Path::new("/usr/bin/promtool").exists() {
        let promtool = place.dir.program("/usr/bin/promtool").args(["check", "metrics"]).stdin_bytes(text);
        promtool.run().code(0);
    }
}

/// Every line is HELP, TYPE or a sample as the text format 0.0.4 wants it; families stand together, each described once
/// before its samples, and no series comes twice. Returns the values of the label `subject`.
#[track_caller]
fn is_prometheus_text(text: &str) -> Vec<String> {
    assert!(text.ends_with('\n'));
    let (mut families, mut series, mut subjects) = (Vec::<String>::new(), Vec::<String>::new(), Vec::new());
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && !name.as_bytes()[0].is_ascii_digit()
    };
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, sentence) = help.split_once(' ').expect("HELP name text");
            assert!(is_name(name) && !sentence.is_empty(), "{line}");
            assert!(!families.contains(&name.to_owned()), "described twice: {name}");
            families.push(name.to_owned());
            assert_eq!(lines.next(), Some(format!("# TYPE {name} gauge").as_str()));
            continue;
        }
        let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line:?}"));
        value.parse::<f64>().unwrap_or_else(|_| panic!("no number: {line:?}"));
        let (name, labels) = key.split_once('{').unwrap_or((key, ""));
        assert_eq!(Some(&name.to_owned()), families.last(), "a sample away from its family: {line}");
        assert!(!series.contains(&key.to_owned()), "twice: {key}");
        series.push(key.to_owned());
        if !labels.is_empty() {
            let value = labels.strip_prefix("subject=\"").and_then(|rest| rest.strip_suffix("\"}"));
            subjects.push(unescaped(value.unwrap_or_else(|| panic!("not one label: {line:?}"))));
        }
    }
    subjects
}

/// A label value as Prometheus reads it: only `\\`, `\"` and `\n` are escapes, and a bare quote would end it.
#[track_caller]
fn unescaped(value: &str) -> String {
    let (mut text, mut characters) = (String::new(), value.chars());
    while let Some(character) = characters.next() {
        match character {
            '"' => panic!("a quote in the middle: {value:?}"),
            '\\' => match characters.next() {
                Some('\\') => text.push('\\'),
                Some('"') => text.push('"'),
                Some('n') => text.push('\n'),
                other => panic!("no such escape {other:?}: {value:?}"),
            },
            other => text.push(other),
        }
    }
    text
}

#[test]
fn what_the_server_says_is_tame_too() {
    let place = Place::new();
    place.pg.sql_in(
        "app",
        "CREATE TABLE t (a int); CREATE ROLE r LOGIN; GRANT pg_read_all_data TO r;
         ALTER TABLE t ENABLE ROW LEVEL SECURITY; ALTER TABLE t RENAME TO \"evil\u{1b}]0;x\u{7}\u{202e}\u{9b}\"",
    );

    let run = place.pgbackup().env("PGUSER", "r").arg("app").run().stdout_is("").code(2);

    is_tame(&run.stderr_text());
    let _ = run.stderr_has("evil\\u001b]0;x\\u0007\\u202e\\u009b");
}

// Names that are addresses, options and paths (B1, B2)

#[test]
fn names_that_look_like_addresses_options_or_paths_are_names() {
    let place = Place::new();
    let names = [
        "host=127.0.0.1 port=1 dbname=x",
        "postgresql://127.0.0.1:1/x",
        "../../etc/cron.d/x",
        ".",
        "-rf",
        "a\nb",
        "%2e%2e",
        "globals",
    ];
    for name in names {
        place.pg.sql(&format!("CREATE DATABASE \"{name}\""));
    }

    place.pgbackup().args(["--all", "--jobs", "2"]).run().stderr_is("").code(0);

    let subjects: Vec<_> = place.labels().iter().map(|label| place.manifest(label).subject).collect();
    for name in names {
        assert!(subjects.iter().any(|subject| subject == name), "{name} of {subjects:?}");
    }
    assert_eq!(subjects.len(), names.len() + 3);
    assert!(place.dir.files().iter().all(|file| file.starts_with("backups/") && file.matches('/').count() == 1));
    place.is_sound();
}

// G13: limits

#[test]
fn an_env_file_that_is_huge_a_link_or_a_pipe_is_refused_at_once() {
    let dir = Sandbox::new();
    make_directory(&dir.join("backups"), 0o700);
    fs::write(dir.join("huge"), vec![b'A'; (1 << 20) + 1]).unwrap();
    fs::write(dir.join("env"), "DATABASE_URL=postgresql://h/d\n").unwrap();
    std::os::unix::fs::symlink("env", dir.join("link")).unwrap();
    dir.program("mkfifo").arg("pipe").run().code(0);

    for (file, said) in [
        ("huge", "cannot read \"huge\": is larger than 1 MiB"),
        ("link", "cannot open \"link\": is a symbolic link"),
        ("pipe", "cannot read \"pipe\": is not a regular file"),
        ("backups", "cannot read \"backups\": is not a regular file"),
        ("missing", "cannot open \"missing\": No such file or directory (os error 2)"),
    ] {
        let run = dir.tool("pgbackup").args(["--no-config", "--dir", "backups", "--env-file", file]);
        let run = run.timeout(Duration::from_secs(10)).run().stdout_is("").code(3);
        assert!(run.stderr_text().starts_with(&format!("pgbackup: error: {said}\n")), "{run:?}");
    }
}

#[test]
fn manifests_that_are_huge_or_deep_are_damaged_and_cost_neither_memory_nor_the_stack() {
    let place = Place::new();
    let made = place.back_up();
    let (huge, deep, pipe) = ("app-20260101T020000Z", "app-20260102T020000Z", "app-20260103T020000Z");
    let file = |label: &str, end: &str| place.backups().join(format!("{label}{end}"));
    fs::File::create(file(huge, MANIFEST)).unwrap().set_len(1 << 40).unwrap();
    fs::write(file(deep, MANIFEST), "[".repeat(1_000_000)).unwrap();
    place.dir.program("mkfifo").arg(file(pipe, MANIFEST)).run().code(0);
    fs::File::create(file(&made, VERIFIED)).unwrap().set_len(1 << 40).unwrap();

    let run = place.pgbackup().args(["--keep-last", "1", "app"]).timeout(Duration::from_secs(20)).run().code(1);

    assert!(run.max_rss_kib.is_some_and(|kib| kib < 128 << 10), "{run:?}");
    for (label, why) in [(huge, "is larger than"), (deep, "the manifest is damaged"), (pipe, "is not a regular file")] {
        let said = run.stderr_text();
        assert!(said.contains(label) && said.contains(why), "{label}: {why}\n{said}");
        assert!(file(label, MANIFEST).exists(), "{label}");
    }
    assert!(!place.labels().contains(&made));
}

#[test]
fn a_server_that_accepts_and_says_nothing_ends_by_the_time_limit() {
    let (dir, silent) = (Sandbox::new(), harness::stub::silent());
    make_directory(&dir.join("backups"), 0o700);
    let pg = harness::Postgres::start();

    let run = dir
        .tool("pgbackup")
        .args(["--no-config", "--dir", "backups", "--pg-bin"])
        .arg(pg.bin())
        .arg(format!("host=127.0.0.1 port={} user=app dbname=app connect_timeout=2", silent.port()))
        .run();

    assert!(run.wall < Duration::from_secs(8), "{run:?}");
    let _ = run
        .stdout_is("")
        .stderr_has("timeout expired")
        .stderr_has("pgbackup: hint: the server does not answer in time: check host, port and firewall")
        .code(2);
}
