//! healthprobe and a real systemd.

use std::fs;

use harness::{Sandbox, with_systemd};

fn unit(dir: &Sandbox, name: &str, text: &str) {
    fs::write(dir.join(name), text).unwrap();
}

/// What is said of each unit, without times.
fn verdicts(stdout: &str) -> Vec<String> {
    let line = |line: &str| {
        let words = line.split(' ').map(|word| word.trim_end_matches([',', ';']));
        let is_time =
            |word: &str| word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(['s', 'm', 'h', 'd']);
        words.map(|word| if is_time(word) { "TIME" } else { word }).collect::<Vec<_>>().join(" ")
    };
    stdout.lines().map(line).collect()
}

#[test]
fn units_are_told_as_they_are() {
    let dir = Sandbox::new();
    unit(&dir, "good.service", "[Service]\nExecStart=/bin/sleep 600\n");
    unit(&dir, "bad.service", "[Service]\nExecStart=/bin/sh -c 'exit 3'\n");
    unit(&dir, "stopped.service", "[Service]\nExecStart=/bin/sleep 600\n");
    unit(&dir, "job.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n");
    unit(&dir, "badjob.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n");
    // It starts again for ever, so it is "activating" nearly always, and never failed.
    unit(
        &dir,
        "loop.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/sh -c 'exit 1'\nRestart=always\nRestartSec=60\n",
    );
    unit(&dir, "again.service", "[Service]\nExecStart=/bin/sleep 600\nRestart=always\nRestartSec=0\n");
    unit(&dir, "nightly.timer", "[Timer]\nOnCalendar=*-*-* 02:00:00\nUnit=job.service\n");
    unit(&dir, "bad.timer", "[Timer]\nOnCalendar=*-*-* 02:00:00\nUnit=badjob.service\n");
    unit(&dir, "off.timer", "[Timer]\nOnCalendar=*-*-* 02:00:00\nUnit=job.service\n");

    let ran = with_systemd(
        &dir,
        "systemctl --user start good again loop nightly.timer bad.timer job 2>/dev/null || true
         systemctl --user start bad badjob 2>/dev/null || true
         systemctl --user kill -s KILL again
         for _ in $(seq 100); do
             [ $(systemctl --user show -P SubState loop) = auto-restart ] &&
             [ $(systemctl --user show -P ActiveState bad) = failed ] &&
             [ $(systemctl --user show -P NRestarts again) = 1 ] && [ $(systemctl --user is-active again) = active ] && break
             sleep 0.1
         done
         set +e
         for unit in good bad stopped job badjob loop again nightly.timer bad.timer off.timer nosuch; do
             units=\"$units systemd:$unit\"; lines=\"$lines
systemd:$unit user\"
         done
         echo \"$lines\" | healthprobe --no-config -
         echo \"code $?\"",
    );

    let ran = ran.stderr_lacks("error").code(0);
    let mut found = verdicts(ran.stdout_text());
    found.retain(|line| !line.starts_with("  hint:"));
    let mut expected = vec![
        "CRITICAL bad: it failed TIME ago: exit status 3",
        "CRITICAL stopped: it is not running",
        "CRITICAL badjob: it failed TIME ago: exit status 1",
        "CRITICAL loop: it keeps ending and being restarted: exit status 1",
        "CRITICAL off.timer: the timer is not active so it never fires",
        "CRITICAL bad.timer: it has not fired yet and what it started failed: exit status 1",
        "WARNING again: running for TIME after it was restarted once",
        "UNKNOWN nosuch: there is no such unit",
        "OK good: running for TIME",
        "OK job: it ran and succeeded TIME ago",
        "OK nightly.timer: it has not fired yet next in TIME TIME",
        "code 2",
    ];
    // Hours and minutes, or minutes alone; and a clock of whole seconds may say 0s of what has just begun.
    let plain = |line: &str| line.replace(" TIME TIME", " TIME").replace("for 0s", "for TIME");
    let mut found: Vec<_> = found.iter().map(|line| plain(line)).collect();
    let mut expected: Vec<_> = expected.drain(..).map(plain).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected, "{}", ran.picture());
}

#[test]
fn without_systemd_nothing_is_said_to_be_well() {
    let dir = Sandbox::new();

    let ran = dir.tool("healthprobe").args(["--no-config", "systemd:nginx user"]).run().stderr_is("").code(3);

    assert!(ran.stdout_text().starts_with("UNKNOWN nginx: "), "{}", ran.picture());
}
