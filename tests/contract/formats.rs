//! The five formats, for a good item, a bad one and both, character by character; and what others make of them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use harness::Sandbox;
use serde_json::Value;

use crate::places::{backup, made, out, place, still, verify};

const BAD: &str = "pg/y-20261120T020000Z";

/// What `backup-verify` prints in a format about a good backup, a missing one, or both.
fn printed(dir: &Sandbox, format: &str, paths: &[&str], code: i32) -> String {
    let ran = verify(dir, paths).args(["--format", format]).run().stderr_is("").code(code);
    // In the text of a report a label is a stamp; in what is read by a machine, too.
    out(&ran)
}

#[test]
fn text() {
    let dir = place();
    let good = made(&dir);
    let good_line = "OK pg/x-STAMP.data.gz: 4 B of plain bytes as recorded, content checked in TOOK\n";
    let bad_line = "CRITICAL pg/y-STAMP: cannot read \"pg/y-STAMP.manifest.json\": No such file or directory (os error 2)\n  \
                    hint: without its manifest a backup was never completed, or was removed\n";

    assert_eq!(printed(&dir, "text", &[&good], 0), good_line);
    assert_eq!(printed(&dir, "text", &[BAD], 2), bad_line);
    assert_eq!(printed(&dir, "text", &[BAD, &good], 2), format!("{bad_line}{good_line}"));
}

#[test]
fn json() {
    let dir = place();
    let good = made(&dir);

    assert_eq!(
        printed(&dir, "json", &[&good, BAD], 2),
        concat!(
            r#"{"tool":"backup-verify","time":"TIME","subject":"pg/x-STAMP.data.gz","status":"OK","#,
            r#""message":"4 B of plain bytes as recorded, content checked in TOOK","label":"x-STAMP","depth":"content","#,
            r#""stored_bytes":37,"plain_bytes":4,"started_at":"TIME","duration_seconds":TOOK}"#,
            "\n",
            r#"{"tool":"backup-verify","time":"TIME","subject":"pg/y-STAMP","status":"CRITICAL","#,
            r#""message":"cannot read \"pg/y-STAMP.manifest.json\": No such file or directory (os error 2)","#,
            r#""hints":["without its manifest a backup was never completed, or was removed"]}"#,
            "\n"
        )
    );
}

#[test]
fn json_of_a_backup_that_was_made() {
    let dir = place();

    let ran = backup(&dir).args(["--format", "json"]).run().stderr_is("").code(0);

    assert_eq!(
        out(&ran),
        concat!(
            r#"{"tool":"pgbackup","time":"TIME","subject":"x","status":"OK","message":"backed up 4 B as 37 B in TOOK","#,
            r#""path":"pg/x-STAMP.data.gz","label":"x-STAMP","stored_bytes":37,"plain_bytes":4,"#,
            r#""stored_sha256":"DIGEST","started_at":"TIME","finished_at":"TIME","duration_seconds":TOOK,"expired":0}"#,
            "\n"
        )
    );
}

#[test]
fn the_units_of_json_are_in_the_names() {
    let dir = place();
    made(&dir);
    let lines = backup(&dir).args(["--format", "json"]).run().stdout_text().to_owned();
    let object: Value = serde_json::from_str(&lines).unwrap();

    for (key, value) in object.as_object().unwrap() {
        assert!(key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{key}");
        let is_right = match key.rsplit('_').next() {
            Some("bytes") => value.is_u64(),
            Some("seconds") => value.is_number(),
            Some("at") => value.as_str().is_some_and(|text| still(text) == "TIME"),
            _ => true,
        };
        assert!(is_right, "{key} is {value}");
    }
}

#[test]
fn sh() {
    let dir = place();

    assert_eq!(
        printed(&dir, "sh", &[BAD], 2),
        "backup_verify_items=1\n\
         backup_verify_code=2\n\
         backup_verify_subject_1='pg/y-STAMP'\n\
         backup_verify_subject='pg/y-STAMP'\n\
         backup_verify_status_1='CRITICAL'\n\
         backup_verify_status='CRITICAL'\n\
         backup_verify_message_1='cannot read \"pg/y-STAMP.manifest.json\": No such file or directory (os error 2)'\n\
         backup_verify_message='cannot read \"pg/y-STAMP.manifest.json\": No such file or directory (os error 2)'\n\
         backup_verify_hints_1='without its manifest a backup was never completed, or was removed'\n\
         backup_verify_hints='without its manifest a backup was never completed, or was removed'\n"
    );
}

#[test]
fn sh_is_safe_to_evaluate_in_every_shell() {
    let dir = place();
    let good = made(&dir);
    let hostile = "a'; touch pwned; '$(touch pwned)`touch pwned`\"\\\nb-20261120T020000Z";
    let ran = verify(&dir, &[&good, hostile]).args(["--format", "sh"]).run().code(2);
    fs::write(dir.join("report.sh"), &ran.stdout).unwrap();

    for shell in ["bash", "dash"] {
        let script = "set -eu; eval \"$(cat report.sh)\"\n\
                      printf '%s|%s|%s|%s' \"$backup_verify_items\" \"$backup_verify_code\" \"$backup_verify_plain_bytes_1\" \
                      \"$backup_verify_subject_2\"";
        let said = dir.program(shell).args(["-c", script]).run().stderr_is("").code(0);
        assert_eq!(said.stdout_text(), format!("2|2|4|{hostile}"), "{shell}");
    }
    assert!(!dir.files().contains(&"pwned".to_owned()));
}

#[test]
fn sh_of_one_item_needs_no_number() {
    let dir = place();
    let tools = harness::tool_path("pgbackup").parent().unwrap().display().to_string();
    for shell in ["bash", "dash"] {
        let script = "eval \"$(echo data | pgbackup --dir pg --stdin x --format sh)\" && \
                      test \"$pgbackup_code\" -eq 0 && test -s \"$pgbackup_path\" && echo \"$pgbackup_status\"";
        let path = format!("{tools}:/usr/bin:/bin");
        dir.program(shell).args(["-c", script]).env("PATH", path).run().stdout_is("OK\n").stderr_is("").code(0);
    }
}

#[test]
fn nagios() {
    let dir = place();
    let good = made(&dir);

    assert_eq!(
        printed(&dir, "nagios", &[&good], 0),
        "BACKUP-VERIFY OK - pg/x-STAMP.data.gz: 4 B of plain bytes as recorded, content checked in TOOK | \
         'stored_bytes'=37B 'plain_bytes'=4B 'duration_seconds'=TOOKs\n"
    );
    assert_eq!(
        printed(&dir, "nagios", &[BAD], 2),
        "BACKUP-VERIFY CRITICAL - pg/y-STAMP: cannot read _pg/y-STAMP.manifest.json_: No such file or directory (os error 2)\n"
    );
    assert_eq!(
        printed(&dir, "nagios", &[&good, BAD], 2),
        "BACKUP-VERIFY CRITICAL - 1 critical, 1 ok | \
         'pg/x-STAMP.data.gz stored_bytes'=37B 'pg/x-STAMP.data.gz plain_bytes'=4B \
         'pg/x-STAMP.data.gz duration_seconds'=TOOKs\n\
         CRITICAL pg/y-STAMP: cannot read _pg/y-STAMP.manifest.json_: No such file or directory (os error 2)\n\
         OK pg/x-STAMP.data.gz: 4 B of plain bytes as recorded, content checked in TOOK\n"
    );
}

/// What is wrong with a Monitoring Plugins report. Source: Monitoring Plugins guidelines, "Plugin Output".
fn nagios_complaints(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let Some(first) = text.lines().next() else { return vec!["is empty".to_owned()] };
    let (said, data) = first.split_once(" | ").unwrap_or((first, ""));
    let states = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];
    if said.split(' ').nth(1).is_none_or(|state| !states.contains(&state)) {
        complaints.push(format!("no state in {said:?}"));
    }
    if text.matches('|').count() > usize::from(!data.is_empty()) {
        complaints.push("a second bar".to_owned());
    }
    if let Some(bad) = text.chars().find(|c| c.is_control() && *c != '\n') {
        complaints.push(format!("{bad:?}"));
    }
    let mut rest = data;
    while !rest.is_empty() {
        let item = rest.strip_prefix('\'').and_then(|rest| rest.split_once("'="));
        let Some((label, after)) = item else {
            complaints.push(format!("no quoted label at {rest:?}"));
            break;
        };
        let (value, next) = after.split_once(' ').unwrap_or((after, ""));
        let number = value.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%');
        let unit = &value[number.len()..];
        if label.contains(['=', '\'']) || number.parse::<f64>().is_err() || number.contains(['e', 'E']) {
            complaints.push(format!("{label}={value}"));
        }
        if !["", "s", "B", "%", "c"].contains(&unit) || (unit == "B" && number.contains('.')) {
            complaints.push(format!("{label} has the unit {unit:?}"));
        }
        rest = next;
    }
    complaints
}

#[test]
fn nagios_keeps_to_its_grammar_whatever_the_names() {
    let dir = place();
    let good = made(&dir);
    let hostile = "a|b='$x'\n|d=1-20261120T020000Z";
    for paths in [vec![good.as_str()], vec![hostile], vec![good.as_str(), hostile, "e"]] {
        let ran = verify(&dir, &paths).args(["--format", "nagios"]).run();
        assert_eq!(nagios_complaints(ran.stdout_text()), Vec::<String>::new(), "{ran:?}");
        assert!(!ran.stdout_text().contains(['$', '`', '"']), "{ran:?}");
    }

    for bad in [
        "",
        "x - y",
        "X OK - a | b | c",
        "X OK - a | b=1",
        "X OK - a | 'b'=1e9",
        "X OK - a | 'b'=1.5B",
        "X OK - a | 'b'=1KB",
    ] {
        assert!(!nagios_complaints(bad).is_empty(), "{bad}");
    }
}

#[test]
fn prometheus() {
    let dir = place();
    let good = made(&dir);

    assert_eq!(
        printed(&dir, "prometheus", &[&good, BAD], 2),
        "# HELP backup_verify_last_run_timestamp_seconds When the last run began\n\
         # TYPE backup_verify_last_run_timestamp_seconds gauge\n\
         backup_verify_last_run_timestamp_seconds SECONDS\n\
         # HELP backup_verify_status 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN\n\
         # TYPE backup_verify_status gauge\n\
         backup_verify_status{subject=\"pg/x-STAMP.data.gz\"} 0\n\
         backup_verify_status{subject=\"pg/y-STAMP\"} 2\n\
         # HELP backup_verify_duration_seconds How long the check took\n\
         # TYPE backup_verify_duration_seconds gauge\n\
         backup_verify_duration_seconds{subject=\"pg/x-STAMP.data.gz\"} TOOK\n\
         # HELP backup_verify_plain_bytes Size of the dump before compression\n\
         # TYPE backup_verify_plain_bytes gauge\n\
         backup_verify_plain_bytes{subject=\"pg/x-STAMP.data.gz\"} 4\n\
         # HELP backup_verify_started_timestamp_seconds When the dump began\n\
         # TYPE backup_verify_started_timestamp_seconds gauge\n\
         backup_verify_started_timestamp_seconds{subject=\"pg/x-STAMP.data.gz\"} SECONDS\n\
         # HELP backup_verify_stored_bytes Size of the archive on disk\n\
         # TYPE backup_verify_stored_bytes gauge\n\
         backup_verify_stored_bytes{subject=\"pg/x-STAMP.data.gz\"} 37\n"
    );
}

/// What node_exporter would drop the whole file for, and what promtool would say. Source: Prometheus text format 0.0.4.
fn prometheus_complaints(text: &str) -> Vec<String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let (mut families, mut series) = (Vec::new(), BTreeSet::new());
    let mut complaints: Vec<String> = Vec::new();
    if !text.ends_with('\n') {
        complaints.push("no newline at the end".to_owned());
    }
    if text.contains('\r') {
        complaints.push("a CR, which belongs to a label".to_owned());
    }
    let mut pending = "";
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap_or((help, ""));
            if families.contains(&name) || !is_name(name) || words.is_empty() || words.contains('\\') {
                complaints.push(format!("HELP of {name}"));
            }
            complaints.extend(lint(name));
            families.push(name);
            pending = "TYPE";
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            if pending != "TYPE" || families.last().is_none_or(|name| kind != format!("{name} gauge")) {
                complaints.push(format!("TYPE {kind}"));
            }
            pending = "sample";
            continue;
        }
        let split = line.rsplit_once(' ').filter(|(key, _)| !key.is_empty());
        let Some((key, value)) = split else {
            complaints.push(format!("{line:?} is no sample"));
            continue;
        };
        let (name, labels) = key.split_once('{').map_or((key, None), |(name, rest)| (name, Some(rest)));
        if families.last() != Some(&name) || pending == "TYPE" {
            complaints.push(format!("{name} stands outside of its family"));
        }
        if labels.is_some_and(|labels| !are_labels(labels)) {
            complaints.push(format!("labels of {key}"));
        }
        if value.parse::<f64>().is_err() {
            complaints.push(format!("value {value:?}"));
        }
        if !series.insert(key) {
            complaints.push(format!("{key} is there twice"));
        }
        pending = "";
    }
    if !pending.is_empty() {
        complaints.push("a family without samples".to_owned());
    }
    complaints
}

/// What `promtool check metrics` has against the name of a gauge.
fn lint(name: &str) -> Option<String> {
    const OTHER_KINDS: [&str; 4] = ["total", "count", "sum", "bucket"];
    const NO_WORDS: [&str; 8] = ["gauge", "counter", "histogram", "summary", "metric", "kb", "mb", "gb"];
    const NO_UNITS: [&str; 12] =
        ["ms", "us", "ns", "s", "sec", "milliseconds", "minutes", "hours", "days", "kilobytes", "megabytes", "percent"];
    let mut words = name.split('_');
    let last = name.rsplit('_').next().unwrap_or_default();
    let is_wrong =
        OTHER_KINDS.contains(&last) || words.any(|word| NO_WORDS.contains(&word) || NO_UNITS.contains(&word));
    is_wrong.then(|| format!("{name} has a name that no gauge should have"))
}

/// `subject="…"}` with backslash, quote and newline escaped.
fn are_labels(text: &str) -> bool {
    let Some(value) = text.strip_prefix("subject=\"").and_then(|rest| rest.strip_suffix("\"}")) else { return false };
    let mut letters = value.chars();
    while let Some(letter) = letters.next() {
        let is_right = match letter {
            '\\' => letters.next().is_some_and(|next| "\\\"n".contains(next)),
            '"' => false,
            _ => true,
        };
        if !is_right {
            return false;
        }
    }
    true
}

#[test]
fn prometheus_keeps_to_its_grammar_whatever_the_names() {
    let dir = place();
    let good = made(&dir);
    let long = "x".repeat(600);
    let (long_a, long_b) = (format!("{long}a"), format!("{long}b"));
    let hostile = "a\\b\"c\nd{} 1";
    let runs = [
        vec![good.as_str()],
        vec![BAD],
        vec![hostile, good.as_str(), BAD],
        // The same subject twice, and two that are the same once they are cut.
        vec![good.as_str(), good.as_str()],
        vec![long_a.as_str(), long_b.as_str()],
    ];
    for paths in runs {
        let ran = verify(&dir, &paths).args(["--format", "prometheus"]).run().stderr_is("");
        assert_eq!(prometheus_complaints(ran.stdout_text()), Vec::<String>::new(), "{ran:?}");
        promtool(&dir, &ran.stdout);
    }
    let ran = dir.tool("pgbackup").args(["--format", "prometheus"]).run().code(3);
    assert_eq!(prometheus_complaints(ran.stdout_text()), Vec::<String>::new(), "{ran:?}");
    assert!(ran.stdout_text().contains("pgbackup_status{subject=\"pgbackup\"} 3\n"), "{ran:?}");

    let head = "# HELP a b\n# TYPE a gauge\n";
    for bad in ["a 1", "a 1\n", head, &format!("{head}b 1\n"), &format!("{head}a x\n"), &format!("{head}a 1\na 1\n")] {
        assert!(!prometheus_complaints(bad).is_empty(), "{bad}");
    }
    for bad in ["a{x=\"1\"} 1\n", "a{subject=\"\"\"} 1\n", "a{subject=\"\\x\"} 1\n", "A 1\n", "\n"] {
        assert!(!prometheus_complaints(&format!("{head}{bad}")).is_empty(), "{bad}");
    }
    for bad in ["# HELP a_total b\n# TYPE a_total gauge\na_total 1\n", "# HELP a_ms b\n# TYPE a_ms gauge\na_ms 1\n"] {
        assert!(!prometheus_complaints(bad).is_empty(), "{bad}");
    }
    // A family comes once, in one piece; HELP and TYPE once, in that order; no timestamps, which the textfile collector refuses.
    for bad in [
        "# TYPE a gauge\n# HELP a b\na 1\n",
        "# HELP a b\n# TYPE a gauge\n# TYPE a gauge\na 1\n",
        "# HELP a b\n# TYPE a gauge\na 1\n# HELP a b\n# TYPE a gauge\na{subject=\"x\"} 1\n",
        "# HELP a b\n# TYPE a gauge\na 1\n# HELP c d\n# TYPE c gauge\nc 1\na{subject=\"x\"} 1\n",
        "# HELP a b\n# TYPE a gauge\na 1 1700000000000\n",
        "# HELP a b\n# TYPE a counter\na 1\n",
        "# HELP a \\x\n# TYPE a gauge\na 1\n",
        "# HELP a b\r\n# TYPE a gauge\na 1\n",
    ] {
        assert!(!prometheus_complaints(bad).is_empty(), "{bad}");
    }
    assert!(prometheus_complaints(&format!("{head}a{{subject=\"\\\\\"}} 1\n")).is_empty());
}

/// Prometheus' own word on it, where it is installed.
fn promtool(dir: &Sandbox, text: &[u8]) {
    if std::path::Path::new("/usr/bin/promtool").exists() {
        dir.program("promtool").args(["check", "metrics"]).stdin_bytes(text).run().stdout_is("").stderr_is("").code(0);
    }
}

#[test]
fn a_directory_is_reported_in_the_same_grammars() {
    let dir = place();
    made(&dir);
    dir.tool("pgbackup").args(["--dir", "pg", "--name", "a b|'c=", "--stdin", "x"]).stdin_bytes("y").run().code(0);
    let options = ["pg", "--max-age", "26h", "--min-free", "1B", "--min-count", "1:", "--expect", "d|\"\\e"];

    let ran = verify(&dir, &options).args(["--format", "nagios"]).run().stderr_is("").code(2);
    assert_eq!(nagios_complaints(ran.stdout_text()), Vec::<String>::new(), "{ran:?}");
    let ran = verify(&dir, &options).args(["--format", "prometheus"]).run().stderr_is("").code(2);
    assert_eq!(prometheus_complaints(ran.stdout_text()), Vec::<String>::new(), "{ran:?}");
    assert_eq!(ran.stdout_text().matches("\nbackup_verify_status{").count(), 4, "{ran:?}");
    assert!(ran.stdout_text().contains("backup_verify_age_seconds{subject=\"x\"} "), "{ran:?}");
    promtool(&dir, &ran.stdout);
}

#[test]
fn of_two_items_with_one_subject_the_worse_is_measured() {
    let dir = place();
    let good = made(&dir);
    let once = printed(&dir, "prometheus", &[&good], 0);

    assert_eq!(printed(&dir, "prometheus", &[&good, &good], 0), once);
}

#[test]
fn a_run_that_could_not_start_is_a_report_in_every_format() {
    let dir = place();
    let said = |format: &str| {
        let ran = dir.tool("pgbackup").args(["--dir", "nowhere", "--stdin", "x", "--format", format]).run().code(3);
        still(ran.stdout_text())
    };
    let why = "cannot open directory \"nowhere\": No such file or directory (os error 2)";

    assert_eq!(said("text"), "", "an action prints what it made; the error is on stderr");
    assert!(
        said("json")
            .starts_with("{\"tool\":\"pgbackup\",\"time\":\"TIME\",\"subject\":\"pgbackup\",\"status\":\"UNKNOWN\"")
    );
    assert!(said("sh").contains("pgbackup_code=3\n") && said("sh").contains(why));
    assert_eq!(said("nagios"), format!("PGBACKUP UNKNOWN - pgbackup: {}\n", why.replace('"', "_")));
}

#[test]
fn written_files_are_for_others_and_whole() {
    let dir = place();
    let write = |dir: &Sandbox| {
        let formats = ["text:t", "json:j", "sh:s", "nagios:n", "prometheus:metrics.prom", "json:pg/second.json"];
        let ran = backup(dir).args(formats.iter().flat_map(|write| ["--write", write])).arg("-q").run();
        ran.stderr_is("").code(0)
    };
    fs::write(dir.join("j"), "old\n".repeat(1000)).unwrap();
    fs::set_permissions(dir.join("j"), fs::Permissions::from_mode(0o600)).unwrap();

    let ran = write(&dir);

    for name in ["t", "j", "s", "n", "metrics.prom", "pg/second.json"] {
        assert_eq!(fs::metadata(dir.join(name)).unwrap().mode() & 0o777, 0o644, "{name}");
    }
    let read = |name: &str| still(&fs::read_to_string(dir.join(name)).unwrap());
    assert_eq!(read("t"), out(&ran));
    assert_eq!(read("j"), read("pg/second.json"));
    assert_eq!(read("j").lines().count(), 1);
    assert!(read("s").starts_with("pgbackup_items=1\npgbackup_code=0\n"));
    assert!(
        read("n").starts_with("PGBACKUP OK - x: backed up 4 B as 37 B in TOOK | 'stored_bytes'=37B"),
        "{}",
        read("n")
    );
    assert_eq!(prometheus_complaints(&fs::read_to_string(dir.join("metrics.prom")).unwrap()), Vec::<String>::new());
    let hidden = dir.files().into_iter().filter(|file| file.starts_with('.') && !file.ends_with(".lock"));
    assert_eq!(hidden.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_file_that_cannot_be_written_is_a_warning_and_the_backup_stays() {
    let dir = place();
    fs::create_dir(dir.join("taken")).unwrap();
    for (write, message) in [
        ("json:nowhere/r.json", "cannot open directory \"nowhere\": No such file or directory (os error 2)"),
        ("json:taken", "cannot write \"taken\": Is a directory (os error 21)"),
        ("json:pg/..", "cannot write \"pg/..\": not a file name"),
    ] {
        let ran = backup(&dir).args(["--write", write, "--write", "sh:good"]).run().code(1);

        assert_eq!(ran.stderr_text(), format!("pgbackup: error: {message}\n"));
        assert!(ran.stdout_text().ends_with(".data.gz\n"), "{ran:?}");
        assert!(fs::read_to_string(dir.join("good")).unwrap().contains("pgbackup_status='OK'"));
    }
    verify(&dir, &[BAD, "--write", "json:nowhere/r.json"]).run().code(2);
}

#[test]
fn a_reader_sees_the_old_file_or_the_new_one() {
    let dir = place();
    let good = made(&dir);
    fs::write(dir.join("r.prom"), "old\n").unwrap();
    let before = fs::metadata(dir.join("r.prom")).unwrap().ino();

    verify(&dir, &[&good, "--write", "prometheus:r.prom"]).run().code(0);

    // Renamed over it: whoever has the old one open reads the old one to its end.
    assert_ne!(fs::metadata(dir.join("r.prom")).unwrap().ino(), before);
}
