//! What a tool says on which stream, and how it ends.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::process::{Command, Stdio};

use harness::{Sandbox, Tool, tool_path};

use crate::places::{backup, damage, made, out, place, verify};
use crate::rendered::tools;

/// A message of one line in the place of its time.
fn stamped(line: &str) -> Option<&str> {
    let (stamp, rest) = line.split_once(' ')?;
    let shape: String = stamp.chars().map(|c| if c.is_ascii_digit() { 'd' } else { c }).collect();
    (shape == "dddd-dd-ddTdd:dd:ddZ").then_some(rest)
}

/// What a tool writes to a terminal, both streams.
fn on_a_terminal(dir: &Sandbox, tool: &str, args: &str, env: &[(&str, &str)]) -> String {
    let command = format!("{} {args}", tool_path(tool).display());
    let script = dir.program("script").args(["-qec", &command, "/dev/null"]).env("TERM", "xterm");
    let ran = script.envs(env.iter().copied()).run();
    ran.stdout_text().replace("\r\n", "\n")
}

#[test]
fn success_says_its_result_and_nothing_else() {
    let dir = place();
    let archive = made(&dir);
    assert!(archive.starts_with("pg/x-") && archive.ends_with(".data.gz"), "{archive}");

    let ran = verify(&dir, &[&archive]).run().stderr_is("").code(0);

    assert_eq!(out(&ran), "OK pg/x-STAMP.data.gz: 4 B of plain bytes as recorded, content checked in TOOK\n");
}

#[test]
fn stderr_in_a_pipe_bears_the_time_on_every_line() {
    let dir = place();

    let ran = dir.tool("pgbackup").args(["--dir", "nowhere", "app"]).run().stdout_is("").code(3);

    let text = String::from_utf8(ran.stderr.clone()).unwrap();
    let lines: Vec<_> = text.lines().map(|line| stamped(line).unwrap_or_else(|| panic!("{ran:?}"))).collect();
    assert_eq!(
        lines,
        [
            "pgbackup: error: cannot open directory \"nowhere\": No such file or directory (os error 2)",
            "pgbackup: hint: is its file system mounted? to create the directory: install -d -m 0700 DIR",
        ]
    );
}

#[test]
fn stderr_in_a_file_bears_the_time_too() {
    let dir = place();
    let file = File::create(dir.join("log")).unwrap();

    let status = Command::new(tool_path("pgbackup")).env_clear().stderr(file).status().unwrap();

    assert_eq!(status.code(), Some(3));
    let text = fs::read_to_string(dir.join("log")).unwrap();
    assert!(text.lines().count() == 2 && text.lines().all(|line| stamped(line).is_some()), "{text}");
}

#[test]
fn the_journal_of_systemd_gets_priorities_where_the_stream_is_its_own() {
    let dir = place();
    let said = |stream: &dyn Fn(&fs::Metadata) -> String| {
        let file = File::create(dir.join("stream")).unwrap();
        let name = stream(&file.metadata().unwrap());
        let mut tool = Command::new(tool_path("pgbackup"));
        tool.arg("-vv").current_dir(dir.path()).env_clear().env("JOURNAL_STREAM", name);
        assert_eq!(tool.stderr(file).status().unwrap().code(), Some(3));
        fs::read_to_string(dir.join("stream")).unwrap()
    };

    let own = said(&|file| format!("{}:{}", file.dev(), file.ino()));
    let others = said(&|file| format!("{}:{}", file.dev(), file.ino() + 1));

    assert_eq!(
        own,
        "<3>pgbackup: error: no directory for backups\n\
         <6>pgbackup: hint: name one with --dir or PGBACKUP_DIR, or use --stdout\n"
    );
    assert!(others.lines().all(|line| stamped(line).is_some()), "{others}");
}

#[test]
fn a_terminal_gets_neither_time_nor_priority() {
    let dir = place();

    let plain = on_a_terminal(&dir, "pgbackup", "", &[("NO_COLOR", "1")]);

    assert_eq!(
        plain,
        "pgbackup: error: no directory for backups\n\
         pgbackup: hint: name one with --dir or PGBACKUP_DIR, or use --stdout\n"
    );
}

#[test]
fn colour_is_for_terminals_that_want_it() {
    let dir = place();
    let has_colour = |env: &[(&str, &str)]| on_a_terminal(&dir, "pgbackup", "", env).contains('\x1b');

    assert!(has_colour(&[]));
    assert!(has_colour(&[("NO_COLOR", "")]), "no-color.org: empty is not set");
    assert!(has_colour(&[("CLICOLOR", "1")]));
    for off in [("NO_COLOR", "1"), ("CLICOLOR", "0"), ("TERM", "dumb")] {
        assert!(!has_colour(&[off]), "{off:?}");
    }
    let shown = on_a_terminal(&dir, "pgbackup", "", &[]);
    assert!(shown.starts_with("pgbackup: \x1b[1;31merror:\x1b[0m no directory"), "{shown:?}");
    dir.tool("pgbackup").env("CLICOLOR_FORCE", "0").run().stderr_lacks("\x1b").code(3);
}

#[test]
fn help_and_version_are_results() {
    let dir = Sandbox::new();
    for (tool, command) in tools() {
        let version = format!("{tool} {}\n", command.get_version().unwrap());
        for flag in ["--version", "-V"] {
            dir.tool(tool).arg(flag).run().stdout_is(&version).stderr_is("").code(0);
        }
        for flag in ["--help", "-h"] {
            let ran = dir.tool(tool).arg(flag).run().stdout_has("Usage: ").stdout_has(tool).stderr_is("").code(0);
            assert!(!ran.stdout.contains(&0x1b), "{ran:?}");
        }
    }
}

#[test]
fn help_shows_no_value_of_the_environment() {
    let dir = Sandbox::new();
    for (tool, command) in tools() {
        let variables = command.get_arguments().filter_map(|arg| arg.get_env()).map(|name| (name.to_owned(), "CANARY"));
        let tool =
            dir.tool(tool).envs(variables).env("DATABASE_URL", "postgres://u:CANARY@h/d").env("PGPASSWORD", "CANARY");
        tool.arg("--help").run().stdout_lacks("CANARY").stderr_is("").code(0);
    }
}

#[test]
fn a_usage_error_is_one_line_a_hint_and_3() {
    let dir = Sandbox::new();
    let cases: [(&str, &[&str], &str); 8] = [
        ("pgbackup", &["--nosuch"], "unexpected argument '--nosuch' found"),
        ("pgbackup", &["--dri", "x"], "unexpected argument '--dri' found"),
        ("pgbackup", &["--jobs", "0"], "invalid value '0' for '--jobs <N>': 0 is not in 1..=64"),
        ("pgbackup", &["--format", "xml"], "invalid value 'xml' for '--format <FORMAT>'"),
        ("pgbackup", &["--stdout", "--dir", "x", "a"], "the argument '--stdout' cannot be used with '--dir <DIR>'"),
        ("pgbackup", &["--keep"], "a value is required for '--keep <DURATION>' but none was supplied"),
        ("backup-verify", &[], "the following required arguments were not provided: <PATH|DIR|->..."),
        ("backup-verify", &["--write", "json", "x"], "invalid value 'json' for '--write <FORMAT:FILE>': write it as"),
    ];
    for (tool, args, message) in cases {
        let ran = dir.tool(tool).args(args).run().stdout_is("").code(3);
        let text = ran.stderr_text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{ran:?}");
        assert!(lines[0].starts_with(&format!("{tool}: error: {message}")), "{ran:?}");
        assert!(
            lines[1].starts_with(&format!("{tool}: hint: ")) && lines[1].ends_with(&format!("see {tool} --help")),
            "{ran:?}"
        );
    }
}

#[test]
fn a_bad_backup_is_2_and_its_verdict_is_on_stdout() {
    let dir = place();
    let archive = made(&dir);
    damage(dir.join(&archive));

    let ran = verify(&dir, &[&archive, "pg/nosuch-20261120T020000Z"]).run().stderr_is("").code(2);

    let text = out(&ran);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].starts_with("CRITICAL pg/x-STAMP.data.gz: the member at byte 0 is damaged: "), "{text}");
    assert_eq!(
        lines[1..],
        [
            "CRITICAL pg/nosuch-STAMP: cannot read \"pg/nosuch-STAMP.manifest.json\": No such file or directory (os error 2)",
            "  hint: without its manifest a backup was never completed, or was removed",
        ]
    );
}

#[test]
fn an_action_that_fails_says_so_on_stderr_and_prints_no_path() {
    let dir = place();

    backup(&dir)
        .env("NIGHTSHIFT_FAILPOINT", "dump-proven=error")
        .run()
        .stdout_is("")
        .stderr_is("pgbackup: error: x: failpoint dump-proven\n")
        .code(2);
}

#[test]
fn a_lock_that_is_held_is_75() {
    let dir = place();
    let running = backup(&dir).env("NIGHTSHIFT_FAILPOINT", "files-created=pause:go").spawn();
    dir.wait_for("go.reached");

    let ran = backup(&dir).run().stdout_is("").code(75);

    assert_eq!(
        ran.stderr_text(),
        "pgbackup: error: x: another run holds the lock \"pg/.x.lock\"\n\
         pgbackup: hint: wait for it with --wait DURATION, or let this run be\n"
    );
    fs::write(dir.join("go"), "").unwrap();
    running.wait().code(0);
}

#[test]
fn a_panic_is_3_and_no_file_keeps_the_good_news_of_yesterday() {
    let dir = place();
    let tool = |dir| -> Tool { backup(dir).args(["--write", "sh:last.sh", "--journal", "journal"]) };
    tool(&dir).run().code(0);
    assert!(fs::read_to_string(dir.join("last.sh")).unwrap().contains("pgbackup_code=0\n"));

    let ran = tool(&dir).env("NIGHTSHIFT_FAILPOINT", "dump-proven=panic").run().stdout_is("").code(3);

    let text = ran.stderr_text();
    assert!(text.starts_with("pgbackup: error: internal error: "), "{text}");
    assert!(text.contains("failpoint dump-proven") && text.contains("pgbackup: hint: please report this"), "{text}");
    assert!(text.lines().all(|line| line.starts_with("pgbackup: ")), "{text}");
    assert!(fs::read_to_string(dir.join("last.sh")).unwrap().contains("pgbackup_code=3\n"));
    let journal = fs::read_to_string(dir.join("journal")).unwrap();
    assert!(journal.lines().count() == 2 && journal.lines().last().unwrap().contains("\"code\":3"), "{journal}");
    assert!(!dir.files().iter().any(|file| file.ends_with(".partial")), "{:?}", dir.files());
}

#[test]
fn a_reader_that_goes_away_does_not_change_the_code() {
    let dir = place();
    let good = made(&dir);
    symlink(dir.join(&good), dir.join("pg/link")).unwrap();
    let missing = "pg/nosuch-20261120T020000Z";
    let verify = tool_path("backup-verify").display().to_string();
    for (tool, args, code) in [
        ("backup-verify", vec![good.as_str()], 0),
        ("backup-verify", vec![missing], 2),
        ("pgbackup", vec!["--help"], 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(tool_path(tool));
        let output =
            command.args(args).current_dir(dir.path()).env_clear().stdout(writer).stderr(Stdio::piped()).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(code));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }
    let script = format!("{verify} {missing} | head -n 0; echo ${{PIPESTATUS[0]}}");
    dir.program("bash").args(["-c", &script]).run().stdout_is("2\n").stderr_is("").code(0);
}

#[test]
fn a_data_stream_without_a_reader_is_a_failure() {
    let dir = place();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    // No server is needed to find that nobody reads, but pgbackup --stdout takes a database only.
    let pg = harness::Postgres::start();
    let mut command = Command::new(tool_path("pgbackup"));
    command.args(["--stdout", "postgres", "--pg-bin"]).arg(pg.bin());

    let output = command.current_dir(dir.path()).envs(pg.env()).stdout(writer).stderr(Stdio::piped()).output().unwrap();

    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("cannot write standard output: Broken pipe"),
        "{output:?}"
    );
}

#[test]
fn a_full_stdout_is_a_failure() {
    let dir = place();
    let archive = made(&dir);
    let full = File::options().write(true).open("/dev/full").unwrap();

    let mut command = Command::new(tool_path("backup-verify"));
    let output = command.arg(archive).current_dir(dir.path()).stdout(full).stderr(Stdio::piped()).output().unwrap();

    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("backup-verify: error: cannot write standard output: No space left on device"), "{text}");
}

#[test]
fn a_closed_stderr_does_not_stop_a_run() {
    let dir = place();

    let script = format!("{} --dir pg --stdin x <&- 2>&-", tool_path("pgbackup").display());
    let ran = dir.program("bash").args(["-c", &script]).run().stderr_is("");

    // An input that is closed is an empty one or an error, and never a crash.
    assert!(matches!(ran.code, Some(0 | 2)), "{ran:?}");
}

#[test]
fn a_run_leaves_no_core_and_no_file_for_others() {
    let dir = place();
    let running = backup(&dir).env("NIGHTSHIFT_FAILPOINT", "files-created=pause:go").spawn();
    dir.wait_for("go.reached");

    let limits = fs::read_to_string(format!("/proc/{}/limits", running.pid())).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();

    let core: Vec<_> = limits.lines().find(|line| line.starts_with("Max core")).unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{limits}");
    assert!(status.contains("\nUmask:\t0077\n"), "{status}");
    fs::write(dir.join("go"), "").unwrap();
    running.wait().code(0);
    for file in fs::read_dir(dir.join("pg")).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn verbose_says_more_and_quiet_says_less() {
    let dir = place();
    let good = made(&dir);

    verify(&dir, &["-q", &good]).run().stdout_is("").stderr_is("").code(0);
    let ran = verify(&dir, &["-q", &good, "nosuch-20261120T020000Z"]).run().stderr_is("").code(2);
    assert!(ran.stdout_text().starts_with("CRITICAL nosuch-"), "{ran:?}");
    let ran = backup(&dir).arg("-q").run().stderr_is("").code(0);
    assert!(ran.stdout_text().ends_with(".data.gz\n"), "{ran:?}");

    fs::write(dir.join("pg/.x-20261120T020000Z.data.gz.partial"), "half").unwrap();
    backup(&dir)
        .arg("-v")
        .run()
        .stderr_has("pgbackup: info: swept what a killed run left of x-20261120T020000Z\n")
        .code(0);
}

#[test]
fn nothing_foreign_reaches_a_terminal_as_it_is() {
    let dir = place();
    let hostile = "a\x1b[2Jb\u{202e}c\nOK d";

    let ran = dir.tool("backup-verify").arg(hostile).run().code(2);
    let text = ran.stdout_text();
    assert!(!text.contains('\x1b') && !text.contains('\u{202e}'), "{ran:?}");
    assert_eq!(text.lines().filter(|line| line.starts_with("OK")).count(), 0, "{ran:?}");

    let ran = dir.tool("pgbackup").args(["--dir", hostile, "--stdin", "x"]).run().code(3);
    let text = ran.stderr_text();
    assert!(!text.contains('\x1b') && !text.contains('\u{202e}') && text.lines().count() == 2, "{ran:?}");
}
