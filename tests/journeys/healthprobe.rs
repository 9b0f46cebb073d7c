//! healthprobe as an administrator runs it: files of targets, verdicts, formats.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use harness::{Postgres, Ran, Sandbox, Serving, Tool, stub, workspace};

pub fn healthprobe(dir: &Sandbox) -> Tool {
    dir.tool("healthprobe").arg("--no-config")
}

/// healthprobe with a file of targets.
pub fn with_targets(dir: &Sandbox, lines: &str) -> Tool {
    let path = dir.join("targets");
    fs::write(&path, lines).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    healthprobe(dir).args(["--targets", "targets"])
}

/// Standard output with TIME for lengths of time.
pub fn said(ran: &Ran) -> String {
    let is_time = |word: &str| {
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        end > 0 && ["ms", "s", "m", "h", "d"].contains(&&word[end..])
    };
    let mut said = String::new();
    for word in ran.stdout_text().split_inclusive([' ', '\n', ',', ';', ')']) {
        let bare = word.trim_end_matches([' ', '\n', ',', ';', ')']);
        said.push_str(&if is_time(bare) { word.replacen(bare, "TIME", 1) } else { word.to_owned() });
    }
    said
}

#[test]
fn the_cause_is_named_and_what_needs_it_is_blocked() {
    let dir = Sandbox::new();
    // An application that is well as long as its database is.
    let pg = Postgres::start();
    let ready = pg.bin().join("pg_isready");
    let app = format!("command:{} -q -h {} -p {}", ready.display(), pg.socket_dir().display(), pg.port());
    let lines = format!(
        "tcp:127.0.0.1:{} name=database\n{app} name=app needs=database\n{app} name=report needs=app\nvalue:1 name=one needs=database\n",
        // A port on which the server does not listen stands for a server that is down.
        1
    );
    let both = lines.replace(
        "tcp:127.0.0.1:1",
        &format!("command:{} -q -h {} -p {}", ready.display(), pg.socket_dir().display(), pg.port()),
    );

    with_targets(&dir, &both).run().stderr_is("").code(0);
    pg.stop_fast();
    let ran = with_targets(&dir, &lines).run().stderr_is("").code(2);

    assert_eq!(
        said(&ran),
        "CRITICAL database: cannot connect to 127.0.0.1:1: Connection refused (os error 111)\n\
         UNKNOWN app: blocked by database: it said nothing\n\
         UNKNOWN report: blocked by database: it said nothing\n\
         OK one: 1\n"
    );
}

#[test]
fn cron_hears_nothing_when_all_is_well() {
    let dir = Sandbox::new();
    let good = "mem used>100%\nvalue:5 critical=10\nfile:/etc/passwd\n";

    with_targets(&dir, good).arg("-q").run().stdout_is("").stderr_is("").code(0);
    with_targets(&dir, &format!("{good}value:11 name=queue critical=10\n"))
        .arg("-q")
        .run()
        .stdout_is("CRITICAL queue: 11; value is above 10\n")
        .stderr_is("")
        .code(2);
}

#[test]
fn every_mistake_of_a_file_is_told_at_once_and_nothing_is_looked_at() {
    let dir = Sandbox::new();
    let lines = "# fine\nvalue:1 name=a\nsystmd:nginx\nvalue:abc\nmem usde>80% used>80GiB\n\"x\nvalue:2 name=a\n\
                 disk needs=nothing\nfile:relative\nhttp://h/ body~(\ncommand:/bin/touch looked\nvalue:3 timeout=5\n";

    let ran = with_targets(&dir, lines).run().stdout_is("").code(3);

    let errors = ran.stderr_text();
    for said in [
        "line 3 of \"targets\": \"systmd\" is no kind of target; did you mean systemd?",
        "line 4 of \"targets\": \"abc\" is no number",
        "line 5 of \"targets\": unknown option \"usde\"; did you mean used?",
        "line 5 of \"targets\": used>80GiB: \"80GiB\" is no number",
        "line 6 of \"targets\": it has a \" without its partner",
        "line 7 of \"targets\": \"a\" is the name of line 2 of \"targets\", too",
        "line 8 of \"targets\": needs=nothing: no target has this name",
        "line 9 of \"targets\": \"relative\" is no absolute path",
        "line 10 of \"targets\": body: \"(\" is no pattern",
        "line 12 of \"targets\": timeout=: cannot read \"5\" as a duration: 5 has no unit",
        "10 mistakes in the targets; nothing was looked at",
    ] {
        assert!(errors.contains(said), "{said}\n{errors}");
    }
    assert!(!dir.join("looked").exists());
    ran.stderr_lacks("line 2 of \"targets\": ").stderr_lacks("line 11");
}

#[test]
fn mistakes_between_lines_are_told() {
    let dir = Sandbox::new();

    with_targets(&dir, "value:1 name=a needs=b\nvalue:2 name=b needs=c\nvalue:3 name=c needs=a\n")
        .run()
        .stderr_has("line 1 of \"targets\": what it needs needs this target, too: a, b, c")
        .code(3);
    with_targets(&dir, "http://h/{t} group=g\nhttp://h/ save=t:body:x group=g\n")
        .run()
        .stderr_has("{t} is saved by no line before it in its group")
        .code(3);
    with_targets(&dir, "# nothing\n").run().stderr_has("\"targets\" names no target").code(3);
    healthprobe(&dir).args(["--targets", "nosuch"]).run().stderr_has("cannot open \"nosuch\": No such file").code(3);
    healthprobe(&dir).run().stderr_has("required").code(3);
    healthprobe(&dir).args(["-", "-"]).run().stderr_has("standard input names no target").code(3);
}

#[test]
fn numbers_are_judged_as_the_guidelines_say() {
    let dir = Sandbox::new();
    let vectors = fs::read_to_string(workspace().join("tests/fixtures/range-vectors.tsv")).unwrap();
    let (mut count, mut valid, mut expected) = (0, String::new(), String::new());
    for line in vectors.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        let (range, value, answer) = (fields[0], fields[1], fields[2]);
        // An empty range stands for an option without a value.
        let quoted = format!("'{}'", range.replace('\'', "'\"'\"'"));
        let target = format!("value:{value} critical={quoted} name=n{count}");
        if answer == "invalid" {
            let ran = healthprobe(&dir).arg(&target).run().code(3);
            assert!(ran.stdout_text().is_empty(), "{line}: {}", ran.picture());
        } else {
            valid += &format!("{target}\n");
            expected += &format!("n{count} {answer}\n");
        }
        count += 1;
    }
    let ran = with_targets(&dir, &valid).args(["--format", "json"]).run().code(2);

    let found = ran.stdout_text().lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let answer = |item: &serde_json::Value| if item["status"] == "OK" { "no" } else { "yes" };
    let mut found: Vec<_> =
        found.map(|item| format!("{} {}", item["subject"].as_str().unwrap(), answer(&item))).collect();
    let mut expected: Vec<_> = expected.lines().map(str::to_owned).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    assert!(count > 90, "{count}");
}

#[test]
fn a_target_is_looked_at_again_before_it_is_bad() {
    let dir = Sandbox::new();
    let path = dir.path().display();
    // Well only from the third look on.
    fs::write(
        dir.join("third"),
        format!("#!/bin/sh\necho x >>{path}/looks; [ $(wc -l <{path}/looks) -ge 3 ] || exit 2; echo ok\n"),
    )
    .unwrap();
    fs::set_permissions(dir.join("third"), fs::Permissions::from_mode(0o755)).unwrap();

    let ran = with_targets(&dir, &format!("command:{path}/third retry=5 retry-after=10ms name=third\n")).run().code(0);
    assert_eq!(ran.stdout_text(), "OK third: ok (looked 3 times)\n");

    fs::remove_file(dir.join("looks")).unwrap();
    with_targets(&dir, &format!("command:{path}/third retry=1 retry-after=10ms\n")).run().code(2);
}

#[test]
fn plugins_of_debian_keep_their_words_and_numbers() {
    let dir = Sandbox::new();

    let ran = healthprobe(&dir)
        .args(["--format", "nagios", "command:check_load -w 100,100,100 -c 200,200,200"])
        .run()
        .code(0);
    assert!(ran.stdout_text().contains("'load1'=") && ran.stdout_text().contains(";100;200;0"), "{}", ran.picture());

    let ran =
        healthprobe(&dir).args(["command:check_tcp -H 127.0.0.1 -p 1", "command:check_dummy 1 'a b'"]).run().code(2);
    assert!(ran.stdout_text().contains("WARNING check_dummy 1 a b: WARNING: a b"), "{}", ran.picture());
}

#[test]
fn all_formats_hold_groups_measures_and_thresholds() {
    let dir = Sandbox::new();
    let lines = "value:91 unit=percent warning=80 critical=95 name=used group=\"a \\\"b\"\nvalue:1 name=x|y\n";
    let run = |format: &str| {
        with_targets(&dir, lines).args(["--format", format]).run().stderr_is("").code(1).stdout_text().to_owned()
    };

    let json: serde_json::Value = serde_json::from_str(run("json").lines().next().unwrap()).unwrap();
    assert_eq!(json["group"], "a \"b");
    assert_eq!(json["measures"]["value_percent"], 91);
    assert_eq!(run("text"), "WARNING used: 91 %; value is above 80 %\nOK x|y: 1\n");
    let nagios = run("nagios");
    assert!(nagios.starts_with("HEALTHPROBE WARNING - 1 warning, 1 ok | "), "{nagios}");
    assert!(nagios.contains("'used value'=91%;80;95;0") && nagios.contains("'x_y value'=1;;;0"), "{nagios}");
    let prometheus = run("prometheus");
    assert!(
        prometheus.contains("healthprobe_measure_ratio{subject=\"used\",group=\"a \\\"b\",measure=\"value\"} 0.91\n"),
        "{prometheus}"
    );
    assert!(prometheus.contains("healthprobe_status{subject=\"used\",group=\"a \\\"b\"} 1\n"), "{prometheus}");
}

#[test]
fn a_terminal_shows_groups_with_the_worst_first() {
    let dir = Sandbox::new();
    let lines = "value:1 name=fine group=good\nvalue:2 name=well group=bad\nvalue:3 name=ill critical=1 group=bad\n";
    drop(with_targets(&dir, lines));
    let command = format!("{} --no-config --targets targets", harness::tool_path("healthprobe").display());

    let ran =
        dir.program("script").args(["-qec", &command, "/dev/null"]).env("TERM", "dumb").env("NO_COLOR", "1").run();

    let table = ran.stdout_text().replace("\r\n", "\n");
    let (table, closing) = table.trim_end().rsplit_once("\n\n").unwrap();
    assert_eq!(table, "bad\n  CRITICAL  ill   3; value is above 1\n  OK        well  2\n\ngood\n  OK        fine  1");
    assert!(closing.starts_with("3 looked at in ") && closing.ends_with(": 1 CRITICAL, 2 OK"), "{closing}");
}

#[test]
fn the_other_tools_are_asked() {
    let dir = Sandbox::new();
    fs::create_dir(dir.join("pg")).unwrap();
    let journal = dir.join("journal");
    dir.tool("pgbackup")
        .args(["--dir", "pg", "--stdin", "x", "--journal"])
        .arg(&journal)
        .stdin_bytes("data")
        .run()
        .code(0);
    let authority = harness::Authority::shared();
    let _files = authority.leaf("a.test").names(["DNS:a.test"]).write(dir.path(), "good");
    let here = dir.path().display();
    let lines = format!(
        "backup:{here}/pg expect=stream:x name=young\nbackup:{here}/pg expect=other name=missing\n\
         cert:{here}/good.pem name=cert\ncert:{here}/good.pem warning=90d name=short\ncert:127.0.0.1:1 name=refused\n\
         journal:{here}/journal tool=pgbackup name=journal\njournal:{here}/journal tool=pgrestore-safe name=never\n"
    );

    let ran = with_targets(&dir, &lines).run().stderr_is("").code(2);

    let text = ran.stdout_text();
    for start in [
        "OK young: ",
        "CRITICAL missing: ",
        "OK cert: 60d left",
        "WARNING short: 60d left",
        "CRITICAL refused: cannot connect to 127.0.0.1:1",
        "OK journal: pgbackup: ended well ",
        "CRITICAL never: pgrestore-safe: never ended well",
    ] {
        assert!(text.lines().any(|line| line.starts_with(start)), "{start}\n{}", ran.picture());
    }
}

#[test]
fn a_report_of_another_tool_is_taken_from_a_pipe() {
    let dir = Sandbox::new();
    let report =
        dir.tool("certcheck").args(["--no-config", "--format", "json", "127.0.0.1:1", "127.0.0.1:2"]).run().code(2);

    let ran = healthprobe(&dir).arg("report:-").stdin_bytes(report.stdout_text()).run().stderr_is("").code(2);
    assert!(ran.stdout_text().starts_with("CRITICAL report: 127.0.0.1:1: cannot connect"), "{}", ran.picture());

    healthprobe(&dir)
        .arg("report:-")
        .stdin_bytes("nonsense\n")
        .run()
        .stdout_has("UNKNOWN report: line 1: it is no JSON")
        .code(3);
}

#[test]
fn targets_are_understood_without_a_look() {
    let dir = Sandbox::new();

    let ran = with_targets(&dir, "command:/bin/touch looked name=t\nhttp://h/ name=h needs=t\n")
        .arg("--check-targets")
        .run()
        .code(0);

    assert_eq!(ran.stdout_text(), "OK t: line 1 of \"targets\": command\nOK h: line 2 of \"targets\": http, needs t\n");
    assert!(!dir.join("looked").exists());
}

#[test]
fn five_hundred_targets_and_one_that_is_silent() {
    let dir = Sandbox::new();
    let server = Serving::nginx(&dir, "server { listen 127.0.0.1:PORT backlog=1024; location / { return 200 fine; } }");
    let silent = stub::silent();
    let mut lines: String =
        (0..500).map(|number| format!("http://127.0.0.1:{}/{number} timeout=60s\n", server.port())).collect();
    lines += &format!("http://127.0.0.1:{}/ timeout=300ms name=silent\n", silent.port());

    let ran = with_targets(&dir, &lines).run().stderr_is("").code(2);

    let text = ran.stdout_text();
    assert_eq!(text.lines().filter(|line| line.starts_with("OK http://127.0.0.1:")).count(), 500, "{}", ran.picture());
    assert!(
        text.starts_with(&format!("CRITICAL silent: 127.0.0.1:{} gives no answer in time\n", silent.port())),
        "{text:.300}"
    );
}
