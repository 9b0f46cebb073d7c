//! logrotate-lite as somebody meets it who has logrotate's files.

use crate::logs::Logs;
use std::fs;
use std::process::Command;

#[test]
fn what_is_due_is_rotated_and_nothing_is_said() {
    let logs = Logs::with("daily\nrotate 2\ncreate 0640");
    logs.write("app.log", "today\n");
    logs.write("app.log.1", "yesterday\n");
    logs.write("app.log.2", "before\n");
    logs.rotated_at("app.log", "2026-1-1");

    logs.tool().run().stdout_is("").stderr_is("").code(0);

    assert_eq!(logs.names(), ["app.log", "app.log.1", "app.log.2"]);
    assert_eq!([logs.read("app.log"), logs.read("app.log.1"), logs.read("app.log.2")], ["", "today\n", "yesterday\n"]);
    let state = fs::read_to_string(logs.dir.join("state")).unwrap();
    assert!(!state.contains("2026-1-1-0") && state.starts_with("logrotate state -- version 2\n"), "{state}");
    logs.tool().run().stdout_is("").stderr_is("").code(0);
    assert_eq!(logs.read("app.log.1"), "today\n");
}

#[test]
fn every_decision_has_a_reason() {
    let logs = Logs::with("weekly\nrotate 2");
    logs.write("app.log", "x\n");

    let ran = logs.tool().arg("-d").run().stdout_is("").code(0);

    ran.stderr_has("  not due: first seen now, weekly\n").stderr_has("considering log ");
    let dry = logs.tool().args(["-d", "-f", "--format", "json"]).run().code(0);
    assert!(dry.stdout_text().contains("\"due\":true,\"rotated\":false"), "{dry:?}");
    assert!(!logs.dir.join("state").exists());
    logs.tool()
        .args(["-d", "-f"])
        .run()
        .stderr_has("  due: forced from the command line\n")
        .stderr_has("renaming ")
        .code(0);
    assert_eq!(logs.names(), ["app.log"]);
}

#[test]
fn a_check_names_every_problem_with_its_line_and_touches_nothing() {
    let logs = Logs::with("daily");
    logs.write("app.log", "x\n");
    logs.configure(
        "{logs}/app.log {\n daily\n size 300x\n}\n{logs}/b.log {\n daily\n maxsize 1M\n missingok\n}\n\
         {logs}/b.log {\n missingok\n}\n",
    );

    let ran = logs.dir.tool("logrotate-lite").args(["--check", "conf"]).run().stdout_is("").code(1);

    ran.stderr_has("error: conf:3 unknown unit 'x'\n")
        .stderr_has("warning: conf:5 maxsize is finer than daily")
        .stderr_has("error: conf:10 duplicate log entry for ")
        .stderr_has("error: conf:10 it stays with conf:5, where it is named first");
    assert_eq!(logs.names(), ["app.log"]);
    assert!(!logs.dir.join("state").exists());
}

#[test]
fn a_duplicate_is_left_out_alone() {
    let logs = Logs::with("rotate 1");
    for name in ["a.log", "b.log", "c.log"] {
        logs.write(name, name);
    }
    logs.configure("{logs}/b.log {\n rotate 1\n}\n{logs}/*.log {\n rotate 1\n}\n");

    logs.tool().arg("-f").run().stderr_has("duplicate log entry").code(1);

    for name in ["a.log", "b.log", "c.log"] {
        assert_eq!(logs.read(&format!("{name}.1")), name);
    }
}

#[test]
fn a_broken_stanza_takes_no_other_down() {
    let logs = Logs::with("rotate 1");
    logs.write("a.log", "a");
    logs.write("b.log", "b");
    logs.configure("{logs}/a.log {\n weekly 9\n postrotate\n  if true; then { :; }; fi\n endscript\n}\n{logs}/b.log {\n rotate 1\n}\n");

    logs.tool().arg("-f").run().stderr_has("conf:2 bad weekly directive '9'").code(1);

    assert_eq!(logs.names(), ["a.log", "b.log.1"]);
}

#[test]
fn copies_that_a_wildcard_catches_are_left_alone() {
    let logs = Logs::with("rotate 5\ncompress\ndelaycompress");
    logs.configure("{logs}/* {\n rotate 5\n compress\n delaycompress\n create\n}\n");
    logs.write("app", "1\n");
    logs.write("other.1.txt", "x\n");

    for text in ["2\n", "3\n", "4\n"] {
        logs.tool().arg("-f").run().code(0);
        logs.write("app", text);
    }

    let of_app: Vec<_> = logs.names().into_iter().filter(|name| name.starts_with("app")).collect();
    assert_eq!(of_app, ["app", "app.1", "app.2.gz", "app.3.gz"]);
}

#[test]
fn a_taken_name_of_today_gets_a_number_where_that_is_wanted() {
    let logs = Logs::with("rotate 3\ndateext\ndateformat -today\ndateextunique\ncreate");
    for text in ["1\n", "2\n", "3\n", "4\n"] {
        logs.write("app.log", text);
        logs.force();
    }

    assert_eq!(logs.names(), ["app.log", "app.log-today.1", "app.log-today.2", "app.log-today.3"]);
    assert_eq!(logs.read("app.log-today.3"), "4\n");
}

#[test]
fn a_taken_name_of_today_is_an_error_otherwise_and_nothing_is_overwritten() {
    let logs = Logs::with("rotate 3\ndateext\ndateformat -today\ncreate");
    logs.write("app.log", "1\n");
    logs.force();
    logs.write("app.log", "2\n");

    logs.tool().arg("-f").run().stderr_has("app.log-today already exists, skipping rotation\n").code(1);

    assert_eq!([logs.read("app.log"), logs.read("app.log-today")], ["2\n", "1\n"]);
}

#[test]
fn all_copies_together_have_a_limit_where_that_is_wanted() {
    let logs = Logs::with("rotate 9\nmaxtotal 25\ncreate");
    for text in ["aaaaaaaaa\n", "bbbbbbbbb\n", "ccccccccc\n"] {
        logs.write("app.log", text);
        logs.force();
    }

    assert_eq!(logs.names(), ["app.log", "app.log.1", "app.log.2"]);
    assert_eq!(logs.read("app.log.1"), "ccccccccc\n");
}

#[test]
fn copies_whose_log_is_gone_are_pruned_where_that_is_wanted() {
    let logs = Logs::with("rotate 9\nmaxage 7\npruneorphans\nmissingok\ncompress");
    for name in ["gone.log.1.gz", "gone.log.x", "gone.log.2.gz", "here.log.1.gz", "here.log"] {
        logs.write(name, "x");
    }
    for name in ["gone.log.2.gz", "gone.log.x", "here.log.1.gz"] {
        let status = Command::new("touch").args(["-d", "30 days ago"]).arg(logs.path(name)).status().unwrap();
        assert!(status.success());
    }

    logs.tool().run().stderr_is("").code(0);

    assert_eq!(logs.names(), ["gone.log.1.gz", "gone.log.x", "here.log", "here.log.1.gz"]);
}

#[test]
fn a_rotation_that_failed_is_tried_again() {
    let logs = Logs::with("daily\nrotate 3\nolddir nowhere");
    logs.write("app.log", "x\n");
    logs.rotated_at("app.log", "2026-1-1");

    logs.tool().run().stderr_has("error verifying olddir path ").code(1);

    assert!(fs::read_to_string(logs.dir.join("state")).unwrap().contains(" 2026-1-1-0:0:0\n"));
    fs::create_dir(logs.path("nowhere")).unwrap();
    logs.tool().run().stderr_is("").code(0);
    assert_eq!(logs.read("nowhere/app.log.1"), "x\n");
}

#[test]
fn the_configuration_may_come_from_standard_input() {
    let logs = Logs::with("");
    logs.write("app.log", "x\n");
    let text = format!("{}/*.log {{\n rotate 3\n}}\n", logs.dir.join("logs").display());

    logs.dir.tool("logrotate-lite").args(["-f", "-s", "state", "-"]).stdin_bytes(text).run().stderr_is("").code(0);

    assert_eq!(logs.names(), ["app.log.1"]);
}

#[test]
fn two_runs_at_once_are_one() {
    let logs = Logs::with(
        "rotate 3\ncreate\nprerotate\n touch {logs}/../in; while ! test -e {logs}/../go; do sleep 0.05; done\nendscript",
    );
    let conf = fs::read_to_string(logs.dir.join("conf")).unwrap();
    fs::write(logs.dir.join("conf"), conf.replace("{logs}", logs.dir.join("logs").to_str().unwrap())).unwrap();
    logs.write("app.log", "x\n");
    let first = logs.tool().arg("-f").spawn();
    logs.dir.wait_for("in");

    logs.tool()
        .arg("-f")
        .run()
        .stderr_has("error: state file state is already locked\nlogrotate does not support")
        .code(3);
    let third = logs.tool().args(["-f", "--wait-for-state-lock"]).spawn();
    fs::write(logs.dir.join("go"), "").unwrap();

    first.wait().code(0);
    third.wait().code(0);
    assert_eq!([logs.read("app.log.2"), logs.read("app.log.1")], ["x\n", ""], "one after the other");
}

#[test]
fn a_report_has_an_item_for_every_log() {
    let logs = Logs::with("daily\nrotate 3");
    logs.write("a.log", "xyz\n");
    logs.write("b.log", "");
    logs.rotated_at("a.log", "2026-1-1");

    let ran = logs.tool().args(["--format", "json"]).run().stderr_is("").code(0);
    let items: Vec<serde_json::Value> =
        ran.stdout_text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(items.len(), 2);
    assert_eq!((items[0]["due"].as_bool(), items[0]["rotated"].as_bool()), (Some(true), Some(true)), "{items:?}");
    assert_eq!((items[1]["status"].as_str(), items[1]["rotated"].as_bool()), (Some("OK"), Some(false)));
    assert!(items[1]["message"].as_str().unwrap().starts_with("not due: first seen now, daily"));

    let ran = logs.tool().args(["--format", "prometheus"]).run().code(0);
    assert!(ran.stdout_text().contains("logrotate_lite_last_rotated_timestamp_seconds{subject="), "{ran:?}");
    logs.tool().args(["--format", "text"]).run().stdout_is("").code(0);
}

#[test]
fn a_broken_log_is_critical_in_the_report_and_1_for_cron() {
    let logs = Logs::with("");
    logs.configure("{logs}/none.log {\n daily\n}\n");

    let ran = logs.tool().args(["--format", "json"]).run().stderr_has("error: stat of ").code(1);

    assert!(ran.stdout_text().contains("\"status\":\"CRITICAL\""), "{ran:?}");
}

#[test]
fn gzip_reads_what_was_compressed_on_all_cores() {
    let logs = Logs::with("rotate 3\ncompress\ncreate");
    let text: String = (0..60_000).map(crate::logs::numbered).collect();
    logs.write("a.log", &text);
    logs.write("b.log", "");
    logs.force();

    for name in ["a.log.1.gz", "b.log.1.gz"] {
        assert!(Command::new("gzip").arg("-t").arg(logs.path(name)).status().unwrap().success());
    }
    logs.holds_each_line_once(60_000);
}

#[test]
fn a_compressor_of_the_configuration_is_run_with_its_options() {
    let logs = Logs::with("rotate 3\ncompress\ncompresscmd /usr/bin/tr\ncompressoptions a-z A-Z\ncompressext .up");
    logs.write("a.log", "abc\n");

    logs.force();

    assert_eq!(logs.read("a.log.1.up"), "ABC\n");
    assert_eq!(logs.names(), ["a.log.1.up"]);
}

/// The kind of stanzas that stand on servers of small web applications.
#[test]
fn stanzas_of_gunicorn_and_traefik_do_what_they_say() {
    let logs = Logs::with("");
    logs.configure(
        "{logs}/flask/*.log {\n    daily\n    rotate 30\n    missingok\n    notifempty\n    compress\n    delaycompress\n    \
         create 0640 root root\n    sharedscripts\n    postrotate\n        echo USR1 >>{logs}/signals\n    endscript\n}\n\
         {logs}/traefik/access.log {\n    daily\n    rotate 14\n    maxsize 100M\n    missingok\n    notifempty\n    compress\n    \
         create 0640 root root\n    postrotate\n        echo traefik >>{logs}/signals\n    endscript\n}\n\
         {logs}/backup.log {\n    weekly\n    rotate 12\n    missingok\n    copytruncate\n}\n",
    );
    for dir in ["flask", "traefik"] {
        fs::create_dir(logs.path(dir)).unwrap();
    }
    for name in ["flask/access.log", "flask/error.log", "traefik/access.log", "backup.log"] {
        logs.write(name, format!("{name}\n"));
    }

    logs.force();
    logs.write("flask/access.log", "more\n");
    logs.force();

    let below = |dir: &str| {
        let mut names: Vec<_> = fs::read_dir(logs.path(dir)).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(below("flask"), ["access.log", "access.log.1", "access.log.2.gz", "error.log", "error.log.1"]);
    assert_eq!(below("traefik"), ["access.log", "access.log.1.gz"]);
    assert_eq!(logs.read("signals"), "USR1\ntraefik\nUSR1\n");
    assert_eq!([logs.read("backup.log.2"), logs.read("backup.log.1")], ["backup.log\n", ""]);
}
