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

/// A message bus of the session, as distributions bring it along.
const BUS: &str = r#"
cat >bus.conf <<'END'
<busconfig>
  <type>session</type><listen>unix:path=/run/user/0/bus</listen><auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
END
units=$XDG_RUNTIME_DIR/systemd/user
printf '[Socket]\nListenStream=%s/bus\n' "$XDG_RUNTIME_DIR" >$units/dbus.socket
printf '[Unit]\nRequires=dbus.socket\n[Service]\nType=notify\nExecStart=/usr/bin/dbus-daemon %s --config-file=%s/bus.conf\n' \
    '--nofork --nopidfile --systemd-activation --address=systemd:' "$PWD" >$units/dbus.service
systemctl --user daemon-reload
systemctl --user start dbus.service
for _ in $(seq 100); do busctl --user status org.freedesktop.systemd1 >bus.log 2>&1 && break; sleep 0.1; done
"#;

#[test]
fn every_way_to_ask_systemd_tells_the_same() {
    let dir = Sandbox::new();
    unit(&dir, "good.service", "[Service]\nExecStart=/bin/sleep 600\n[Install]\nAlias=other.service\n");
    unit(&dir, "bad.service", "[Service]\nExecStart=/bin/sh -c 'exit 3'\n");
    unit(&dir, "broken.service", "[Service]\nExecStart=no/absolute/path\n");
    unit(&dir, "held.service", "[Unit]\nConditionPathExists=/nowhere\n[Service]\nExecStart=/bin/sleep 600\n");
    unit(&dir, "7-odd@one\\x2dtwo.service", "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n");
    unit(&dir, "monthly.timer", "[Timer]\nOnCalendar=*-*-01 02:00:00\nUnit=good.service\n");
    unit(&dir, "boot.timer", "[Timer]\nOnActiveSec=50d\nUnit=held.service\n");

    let script = r#"
systemctl --user -q enable good
# The timer keeps the other unit from being forgotten.
systemctl --user start monthly.timer boot.timer
systemctl --user start good held '7-odd@one\x2dtwo.service'
systemctl --user start bad broken 2>/dev/null || true
until systemctl --user is-failed -q bad; do sleep 0.02; done
for unit in good other bad broken held monthly.timer boot.timer nosuch '7-odd@one\x2dtwo.service'; do
    echo "'systemd:$unit' user"
done >targets
look() { healthprobe --no-config -vv --targets targets >$1.out 2>$1.err || true; }
look socket
"#;
    let script = format!(
        r#"{script}{BUS}
NIGHTSHIFT_FAILPOINT=healthprobe.systemd.bus=error look systemctl
# Only now: with its own socket gone, systemctl takes the bus as well.
mv $XDG_RUNTIME_DIR/systemd/private $XDG_RUNTIME_DIR/systemd/hidden
look bus
for way in socket systemctl bus; do
    echo "$way: $(grep -c 'run "systemctl' $way.err || true)"
    # Times pass while we look.
    sed -E 's/[0-9]+(s|m|h|d)\b/N/g; s/( N)+/ N/g' $way.out >$way.plain
done
cmp socket.plain systemctl.plain && cmp socket.plain bus.plain && cat socket.plain
"#
    );
    let ran = with_systemd(&dir, &script).code(0);

    let expected = "\
socket: 0
systemctl: 1
bus: 0
";
    assert!(ran.stdout_text().starts_with(expected), "{}", ran.picture());
    for line in [
        "CRITICAL bad: it failed N ago: exit status 3",
        "CRITICAL broken: its file cannot be used (bad-setting): Unit broken.service has a bad unit file setting.",
        "CRITICAL held: it is not running: a condition in its file does not hold",
        "UNKNOWN nosuch: there is no such unit",
        "OK good: running for N",
        "OK other: running for N",
        "OK monthly.timer: it has not fired yet, next in N",
        "OK boot.timer: it has not fired yet, next in N",
        "OK 7-odd@one\\x2dtwo: exited for N",
    ] {
        assert!(ran.stdout_text().contains(line), "{line}\n{}", ran.picture());
    }
}

#[test]
fn a_manager_that_is_silent_costs_its_time_and_is_named() {
    let dir = Sandbox::new();
    std::fs::create_dir(dir.join("systemd")).unwrap();
    // It takes connections and says nothing: the queue of the listener.
    let _silent = std::os::unix::net::UnixListener::bind(dir.join("systemd/private")).unwrap();

    let look = dir.tool("healthprobe").args(["--no-config", "systemd:nginx user timeout=300ms"]);
    let ran = look.env("XDG_RUNTIME_DIR", dir.path()).run().code(3);

    ran.stdout_is(
        "UNKNOWN nginx: systemd gives no answer in time\n  \
         hint: systemctl waits for the same answer: is the machine overloaded, or is it being reloaded?\n",
    );
}

#[test]
fn what_is_no_manager_is_not_believed() {
    for says in ["", "HTTP/1.1 200 OK\r\n\r\n", "OK 0\r\nl\x02\x01\x01", "REJECTED EXTERNAL\r\n"] {
        let dir = Sandbox::new();
        std::fs::create_dir(dir.join("systemd")).unwrap();
        let listener = std::os::unix::net::UnixListener::bind(dir.join("systemd/private")).unwrap();
        let answer = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            // Who asks may have gone.
            drop(std::io::Write::write_all(&mut socket, says.as_bytes()));
        });

        let look = dir.tool("healthprobe").args(["--no-config", "systemd:nginx user"]);
        let ran = look.env("XDG_RUNTIME_DIR", dir.path()).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere").run();

        assert!(ran.code(3).stdout_text().starts_with("UNKNOWN nginx: "), "{says:?}");
        answer.join().unwrap();
    }
}

#[test]
fn without_systemd_nothing_is_said_to_be_well() {
    let dir = Sandbox::new();

    let ran = dir.tool("healthprobe").args(["--no-config", "systemd:nginx user"]).run().stderr_is("").code(3);

    assert!(ran.stdout_text().starts_with("UNKNOWN nginx: "), "{}", ran.picture());
}
