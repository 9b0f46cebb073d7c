//! No line is lost and none is doubled, however and whenever a rotation is killed.

use crate::killed::{Random, seed};
use crate::logs::{Logs, Reopen, Writer, needs_collapse_range, numbered};
use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::time::Duration;

pub const RENAME: &str = "rotate -1\ncreate\ncompress\ndelaycompress\npostrotate\n touch {logs}/../reopen\nendscript";
pub const COPYTRUNCATE: &str = "rotate -1\ncopytruncate";

/// What a series of kills came to.
#[derive(Default)]
pub struct Seen {
    pub runs: u32,
    pub killed: u32,
    pub left_something: u32,
    pub lines: u64,
}

/// Rotates again and again under a writer, and kills most runs at a random moment.
pub fn kill_at_random(logs: &Logs, rules: &str, reopen: Reopen, runs: u32, seed: u64) -> Seen {
    let mut random = Random(seed);
    logs.configure(&format!("{{logs}}/app.log {{\n{rules}\n}}\n"));
    logs.write("app.log", "");
    let writer = Writer::start(logs, "app.log", reopen, 20_000);
    let mut seen = Seen { runs, ..Seen::default() };
    for _ in 0..runs {
        let run = logs.tool().arg("-f").spawn();
        std::thread::sleep(Duration::from_micros(random.below(40_000)));
        run.kill();
        let ran = run.wait();
        seen.killed += u32::from(ran.signal == Some(9));
        assert!(ran.code.is_none_or(|code| code == 0), "{ran:?}");
        // A daemon that is told opens its log again at once.
        while logs.dir.join("reopen").exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        seen.left_something += u32::from(logs.names().iter().any(|name| name.starts_with('.')));
    }
    logs.tool().arg("-f").run().code(0);
    // The writer looks for the signal before each line.
    std::thread::sleep(Duration::from_millis(100));
    seen.lines = writer.stop();
    logs.tool().arg("-f").run().stderr_is("").code(0);
    logs.holds_each_line_once(seen.lines);
    logs.is_tidy();
    seen
}

#[test]
fn killed_at_random_a_rename_loses_and_doubles_no_line() {
    let seen = kill_at_random(&Logs::with(""), RENAME, Reopen::When("reopen"), 30, seed());

    assert!(seen.killed > 0, "none was killed");
}

#[test]
fn killed_at_random_a_copytruncate_loses_and_doubles_no_line() {
    let logs = Logs::with("");
    needs_collapse_range(&logs);
    let seen = kill_at_random(&logs, COPYTRUNCATE, Reopen::Never, 30, seed());

    assert!(seen.killed > 0, "none was killed");
}

/// Every place between two steps that the sources name.
fn failpoints() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(harness::workspace().join("crates/logrotate-lite/src")).unwrap().flatten() {
        let text = fs::read_to_string(entry.path()).unwrap_or_default();
        names.extend(text.split("failpoint!(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert!(names.len() >= 10, "{names:?}");
    names
}

/// Rotates 2,000 lines with a run that dies (or fails) at the place, then with one that does not.
fn twice(rules: &str, failpoint: &str, is_open: bool) -> bool {
    let logs = Logs::with(rules);
    let lines: String = (0..2_000).map(numbered).collect();
    logs.write("app.log", &lines);
    logs.write("app.log.1", "");
    let open = is_open.then(|| OpenOptions::new().append(true).open(logs.path("app.log")).unwrap());
    let (name, _) = failpoint.split_once('=').unwrap();

    let ran = logs.tool().arg("-f").env("NIGHTSHIFT_FAILPOINT", failpoint).run();
    let is_hit = ran.signal == Some(9) || ran.stderr_text().contains(&format!("failpoint {name}"));
    if let Some(mut open) = open {
        // Whoever has the log open goes on writing to it.
        open.write_all((2_000..2_100).map(numbered).collect::<String>().as_bytes()).unwrap();
    } else {
        let mut file = OpenOptions::new().append(true).create(true).open(logs.path("app.log")).unwrap();
        file.write_all((2_000..2_100).map(numbered).collect::<String>().as_bytes()).unwrap();
    }
    let next = logs.tool().arg("-f").run();
    let more = logs.tool().arg("-f").run().code(0);

    assert!(next.code == Some(0), "{rules} {failpoint}: {next:?} {more:?}");
    logs.holds_each_line_once(2_100);
    logs.is_tidy();
    assert!(!logs.dir.join("state.interrupted").exists() && !logs.dir.join("state.tmp").exists());
    is_hit
}

#[test]
fn killed_or_failing_between_any_two_steps_a_run_is_taken_up_by_the_next() {
    let post = "\nlastaction\n true\nendscript";
    let ways = [
        (format!("rotate -1\ncreate{post}"), false),
        (format!("rotate -1\nnocreate\nmissingok{post}"), false),
        ("rotate -1\ncreate\ncompress".to_owned(), false),
        ("rotate -1\ncreate\ndateext\ndateextunique\ncompress".to_owned(), false),
        ("rotate -1\ncopytruncate".to_owned(), true),
        ("rotate -1\ncopytruncate\ncompress".to_owned(), false),
        ("rotate -1\ncopytruncate\ndateext\ndateextunique".to_owned(), true),
    ];
    for name in failpoints() {
        let mut hits = 0;
        for (rules, is_open) in &ways {
            for action in ["kill", "error"] {
                hits += u32::from(twice(rules, &format!("{name}={action}"), *is_open));
            }
        }
        assert!(hits > 0 || name == "shredded", "{name} is never reached");
    }
}

#[test]
fn a_killed_run_owes_its_scripts_and_the_next_one_runs_them() {
    let logs = Logs::with("daily\nrotate 3\ncreate\npostrotate\n echo told >>{logs}/../told\nendscript");
    logs.write("app.log", "one\n");
    logs.rotated_at("app.log", "2026-1-1");

    let ran = logs.tool().env("NIGHTSHIFT_FAILPOINT", "log-placed=kill").run();
    assert_eq!(ran.signal, Some(9));
    assert!(!logs.dir.join("told").exists());
    // Whatever the next run thinks of the log: its daemon still writes to the copy.
    logs.rotated_at("app.log", "2036-1-1");
    fs::write(logs.dir.join("conf"), fs::read_to_string(logs.dir.join("conf")).unwrap().replace("daily", "size 1G"))
        .unwrap();
    logs.tool().run().stderr_is("").code(0);

    assert_eq!(fs::read_to_string(logs.dir.join("told")).unwrap(), "told\n");
    assert_eq!(logs.read("app.log.1"), "one\n");
    logs.tool().run().stderr_is("").code(0);
    assert_eq!(fs::read_to_string(logs.dir.join("told")).unwrap(), "told\n", "once is enough");
}

#[test]
fn ten_rotations_under_a_fast_writer_lose_no_line() {
    let logs = Logs::with("rotate 20\ncopytruncate");
    needs_collapse_range(&logs);
    logs.write("app.log", "");
    let writer = Writer::start(&logs, "app.log", Reopen::Never, 20_000);

    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(150));
        logs.force();
    }
    let count = writer.stop();

    logs.holds_each_line_once(count);
    assert_eq!(logs.names().len(), 11);
}

#[test]
#[ignore = "takes some minutes: make campaign"]
fn campaign_five_hundred_kills_of_each_way_lose_and_double_no_line() {
    let began = std::time::Instant::now();
    let mut did = Vec::new();
    for (name, rules, reopen) in
        [("rename and create", RENAME, Reopen::When("reopen")), ("copytruncate", COPYTRUNCATE, Reopen::Never)]
    {
        let seed = seed();
        let logs = Logs::with("");
        needs_collapse_range(&logs);
        let seen = kill_at_random(&logs, rules, reopen, 500, seed);
        did.push(format!(
            "{name}: {} runs, {} killed, {} left something, {} lines, seed {seed}",
            seen.runs, seen.killed, seen.left_something, seen.lines
        ));
    }
    crate::campaign::record(
        "kills of logrotate-lite",
        began,
        &format!(
            "`logrotate-lite -f` under a writer of 20,000 lines/s, SIGKILL at a random moment; {}",
            did.join("; ")
        ),
        "every line once over all files, nothing left after the next run",
    );
}
