//! What a run leaves in the journal.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use harness::Sandbox;
use serde_json::Value;

use crate::places::{backup, made, place, still, verify};

fn lines(dir: &Sandbox) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("journal")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn every_run_is_one_line_whatever_came_of_it() {
    let dir = place();
    let journal = ["--journal", "journal"];

    backup(&dir).args(journal).run().code(0);
    verify(&dir, &["nosuch-20261120T020000Z"]).args(journal).run().code(2);
    dir.tool("pgbackup").args(journal).args(["--dir", "nowhere", "app"]).run().code(3);

    let found = lines(&dir);
    let short: Vec<_> =
        found.iter().map(|line| (line["tool"].as_str().unwrap(), line["code"].as_u64().unwrap())).collect();
    assert_eq!(short, [("pgbackup", 0), ("backup-verify", 2), ("pgbackup", 3)]);
    assert_eq!(found[2]["status"], "UNKNOWN");
    assert_eq!(found[1]["items"][0]["subject"], "nosuch-20261120T020000Z");
    assert_eq!(fs::metadata(dir.join("journal")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_line_says_who_when_what_and_the_result() {
    let dir = place();

    backup(&dir).args(["--journal", "journal"]).env("SUDO_USER", "ada\x1b[2J").run().code(0);

    let text = fs::read_to_string(dir.join("journal")).unwrap();
    assert!(text.is_ascii() && !text.contains('\x1b'), "{text}");
    let line = &lines(&dir)[0];
    let keys: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let expected =
        ["time", "tool", "version", "host", "user", "pid", "status", "code", "duration_seconds", "items", "sudo_user"];
    assert_eq!(keys, expected);
    assert_eq!(still(line["time"].as_str().unwrap()), "TIME");
    assert_eq!(line["user"], if harness::is_root() { "root" } else { line["user"].as_str().unwrap() });
    assert_eq!(line["sudo_user"], "ada\x1b[2J");
    assert_eq!(line["items"][0]["stored_bytes"], 37);
}

#[test]
fn runs_side_by_side_do_not_mix_their_lines() {
    let dir = place();
    let good = made(&dir);

    let running: Vec<_> = (0..16).map(|_| verify(&dir, &[&good]).args(["--journal", "journal"]).spawn()).collect();
    for run in running {
        run.wait().code(0);
    }

    let found = lines(&dir);
    assert_eq!(found.len(), 16);
    let mut pids: Vec<_> = found.iter().map(|line| line["pid"].as_u64().unwrap()).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 16);
}

#[test]
fn a_journal_that_somebody_keeps_locked_does_not_keep_the_run() {
    let dir = place();
    fs::write(dir.join("journal"), "").unwrap();
    let _holder = dir.program("flock").args(["journal", "sleep", "60"]).spawn();
    while dir.program("flock").args(["-n", "journal", "true"]).run().code == Some(0) {}

    let ran = backup(&dir).args(["--journal", "journal"]).run().code(1);

    let message = "pgbackup: error: cannot write \"journal\": another program holds a lock on it\n";
    assert_eq!(ran.stderr_text(), message);
    assert!(ran.stdout_text().ends_with(".data.gz\n"), "{ran:?}");
}

#[test]
fn a_torn_last_line_is_closed() {
    let dir = place();
    fs::write(dir.join("journal"), "{\"time\":\"2026-").unwrap();

    backup(&dir).args(["--journal", "journal"]).run().stderr_is("").code(0);

    let text = fs::read_to_string(dir.join("journal")).unwrap();
    let (torn, rest) = text.split_once('\n').unwrap();
    assert_eq!(torn, "{\"time\":\"2026-");
    assert!(serde_json::from_str::<Value>(rest).is_ok(), "{text}");
}

#[test]
fn no_password_gets_into_it() {
    let dir = place();
    let nowhere = "postgres://u:CANARY%2f@127.0.0.1:1/d";
    for args in [vec![nowhere], vec!["host=127.0.0.1 port=1 password='CANARY x'"], vec!["--all"]] {
        let tool = dir.tool("pgbackup").args(["--dir", "pg", "--journal", "journal", "-vv"]).args(args);
        let tool = tool.env("PGPASSWORD", "CANARY").env("DATABASE_URL", nowhere);
        let ran = tool.run().stdout_lacks("CANARY").stderr_lacks("CANARY");
        assert!(matches!(ran.code, Some(2 | 3)), "{ran:?}");
    }

    let text = fs::read_to_string(dir.join("journal")).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(!text.contains("CANARY"), "{text}");
}

#[test]
fn a_journal_that_cannot_be_opened_stops_the_run_before_any_work() {
    let dir = place();
    fs::write(dir.join("victim"), "").unwrap();
    symlink(dir.join("victim"), dir.join("link")).unwrap();
    dir.program("mkfifo").arg("fifo").run().code(0);
    for (journal, why) in [
        ("nowhere/journal", "No such file or directory"),
        ("pg", "Is a directory"),
        ("link", "Too many levels of symbolic links"),
        ("fifo", "is not a regular file"),
        ("/dev/null", "is not a regular file"),
    ] {
        let ran = backup(&dir).args(["--journal", journal]).run().stdout_is("").code(3);

        let text = ran.stderr_text();
        assert!(text.starts_with(&format!("pgbackup: error: cannot open {journal:?}: {why}")), "{ran:?}");
        assert_eq!(text.lines().count(), 1, "{ran:?}");
        assert!(dir.files().contains(&"pg/".to_owned()), "nothing may be made: {:?}", dir.files());
    }
    assert_eq!(fs::read(dir.join("victim")).unwrap(), b"");
}

#[test]
fn a_journal_that_is_full_at_the_end_is_a_warning() {
    let dir = place();

    // A limit on the size of files stands in for a full disk: the backup fits, the line does not.
    fs::write(dir.join("journal"), "\n".repeat(8192)).unwrap();
    let tool = harness::tool_path("pgbackup");
    let script =
        format!("ulimit -f 8; trap '' XFSZ; echo data | {} --dir pg --stdin x --journal journal", tool.display());
    let ran = dir.program("bash").args(["-c", &script]).run().code(1);

    assert_eq!(ran.stderr_text(), "pgbackup: error: cannot write \"journal\": File too large (os error 27)\n");
    assert!(ran.stdout_text().ends_with(".data.gz\n"), "{ran:?}");
}
