//! healthprobe and those who are slow, endless, hostile or broken: each costs its own finding, in time.

use std::fs;
use std::io::Write as _;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use harness::{Sandbox, app_user, stub};

use crate::healthprobe::{healthprobe, with_targets};

fn plugin(dir: &Sandbox, name: &str, script: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Longer than any limit in these tests, and far shorter than what hangs.
const SOON: Duration = Duration::from_secs(30);

#[test]
fn plugins_that_misbehave_are_unknown_and_gone() {
    let dir = Sandbox::new();
    let path = dir.path().display().to_string();
    let hangs = plugin(&dir, "hangs", &format!("echo $$ >{path}/hangs.pid; trap '' TERM; sleep 600 & wait; sleep 600"));
    let forks = plugin(&dir, "forks", &format!("sleep 600 & echo $! >{path}/forks.pid; echo fine"));
    let leaves = plugin(&dir, "leaves", "setsid sleep 3 & echo fine");
    let prints = plugin(&dir, "prints", "echo first line; head -c 1000000000 /dev/zero | tr '\\0' x; exit 1");
    let dies = plugin(&dir, "dies", "kill -KILL $$");
    let odd = plugin(&dir, "odd", "echo odd; exit 77");
    let lines = format!(
        "command:{hangs} name=hangs timeout=300ms\ncommand:{forks} name=forks timeout=20s\ncommand:{leaves} name=leaves timeout=20s\n\
         command:{prints} name=prints timeout=60s\ncommand:{dies} name=dies\ncommand:{odd} name=odd\n\
         command:/no/such name=missing\nvalue:1 name=well\n"
    );
    let began = Instant::now();

    let ran = with_targets(&dir, &lines).args(["--timeout", "100s"]).run().code(1);

    assert!(began.elapsed() < Duration::from_secs(90));
    let text = ran.stdout_text();
    for start in [
        "UNKNOWN hangs: hangs gave no answer within ",
        "OK forks: fine\n",
        "OK leaves: fine\n",
        "WARNING prints: first line\n",
        "UNKNOWN dies: it was killed by signal 9: \n",
        "UNKNOWN odd: it ended with exit status 77, which is none of a plugin: odd\n",
        "UNKNOWN missing: cannot run \"/no/such\": No such file",
        "OK well: 1\n",
    ] {
        assert!(text.contains(start), "{start}\n{}", ran.picture());
    }
    for file in ["hangs.pid", "forks.pid"] {
        let pid = fs::read_to_string(dir.join(file)).unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        assert!(matches!(state, None | Some('Z' | 'X')), "{file} still runs: {stat}");
    }
}

#[test]
fn servers_that_hang_drip_or_never_end_cost_their_time() {
    let dir = Sandbox::new();
    let silent = stub::silent();
    let drips = stub::answering(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(b"X")?;
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let headers = stub::answering(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
        loop {
            stream.write_all(
                b"X-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
            )?;
        }
    });
    let endless = stub::answering(|stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nbegin")?;
        loop {
            stream.write_all(&[b'x'; 4096])?;
        }
    });
    let deep = stub::answering(|stream: &mut TcpStream| {
        let body = "[".repeat(100_000);
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    });
    let lines = format!(
        "http://127.0.0.1:{}/ name=silent timeout=500ms\nhttp://127.0.0.1:{}/ name=drips timeout=500ms\n\
         http://127.0.0.1:{}/ name=headers\nhttp://127.0.0.1:{}/ name=endless body=begin\nhttp://127.0.0.1:{}/ name=deep json:/a\n\
         tcp:127.0.0.1:{} name=tcp timeout=500ms expect=hello\ntcp:127.0.0.1:{} name=open\ncert:127.0.0.1:{} name=cert timeout=500ms\n",
        silent.port(),
        drips.port(),
        headers.port(),
        endless.port(),
        deep.port(),
        silent.port(),
        silent.port(),
        silent.port()
    );
    let began = Instant::now();

    let ran = with_targets(&dir, &lines).run().stderr_is("").code(2);

    assert!(began.elapsed() < SOON);
    let text = ran.stdout_text();
    for start in [
        "CRITICAL silent: 127.0.0.1:",
        "CRITICAL drips: 127.0.0.1:",
        "CRITICAL headers: 127.0.0.1:",
        "OK endless: 200 in ",
        "CRITICAL deep: the body is no JSON; 200 in ",
        "CRITICAL tcp: it said nothing: no answer in time\n",
        "OK open: connected in ",
        "CRITICAL cert: ",
    ] {
        assert!(text.lines().any(|line| format!("{line}\n").starts_with(start)), "{start}\n{}", ran.picture());
    }
    assert!(text.contains("1.0 MiB and more"), "{}", ran.picture());
}

#[test]
fn name_servers_that_never_answer_hang_nobody() {
    let dir = Sandbox::new();
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let began = Instant::now();

    healthprobe(&dir)
        .arg(format!("dns:a.test server=127.0.0.1:{port} timeout=500ms name=direct"))
        .run()
        .stdout_is(&format!("CRITICAL direct: cannot ask 127.0.0.1:{port}: no answer in time\n"))
        .code(2);

    // The resolver of the system asks port 53 of an address that swallows everything, and knows no limit of ours.
    let tool = harness::tool_path("healthprobe");
    fs::write(dir.join("resolv.conf"), "nameserver 127.0.0.77\noptions timeout:30 attempts:5\n").unwrap();
    let script = format!(
        "mount --bind resolv.conf /etc/resolv.conf
         python3 -c 'import socket, time; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((\"127.0.0.77\", 53)); time.sleep(120)' &
         sleep 1
         {} --no-config 'dns:a.test timeout=500ms' 'http://b.test/ timeout=500ms' 'tcp:c.test:1 timeout=500ms' 'value:1'
         code=$?; kill $!; exit $code",
        tool.display()
    );
    let ran = dir.program("unshare").args(["-m", "bash", "-c", &script]).run().code(2);
    for start in [
        "CRITICAL dns a.test: cannot look up a.test: no answer in time\n",
        "CRITICAL http://b.test/: cannot look up b.test: no answer in time\n",
        "CRITICAL c.test:1: cannot look up c.test: no answer in time\n",
        "OK value: 1\n",
    ] {
        assert!(ran.stdout_text().contains(start), "{start}\n{}", ran.picture());
    }
    assert!(began.elapsed() < SOON, "{}", ran.picture());
}

#[test]
fn the_run_has_a_limit_of_its_own() {
    let dir = Sandbox::new();
    let silent = stub::silent();
    let lines: String =
        (0..5).map(|number| format!("http://127.0.0.1:{}/{number} timeout=50s\n", silent.port())).collect();
    let began = Instant::now();

    let ran = with_targets(&dir, &lines).args(["--timeout", "1s", "--concurrency", "2"]).run();

    assert!(began.elapsed() < SOON);
    assert_eq!(ran.stdout_text().matches("gives no answer in time").count(), 2, "{}", ran.picture());
    assert_eq!(ran.stdout_text().lines().filter(|line| !line.starts_with("  hint")).count(), 5, "{}", ran.picture());
}

#[test]
fn a_stopped_run_leaves_no_plugin_behind() {
    let dir = Sandbox::new();
    let path = dir.path().display();
    let hangs = plugin(&dir, "hangs", &format!("echo $$ >{path}/pid; exec sleep 600"));

    let running = healthprobe(&dir).arg(format!("command:{hangs} timeout=500s")).arg("--timeout=600s").spawn();
    dir.wait_for("pid");
    running.term();
    running.wait().signalled(15);

    let pid = fs::read_to_string(dir.join("pid")).unwrap();
    let deadline = Instant::now() + SOON;
    while fs::read_to_string(format!("/proc/{}/comm", pid.trim())).is_ok_and(|name| name == "sleep\n") {
        assert!(Instant::now() < deadline, "it still runs");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn who_may_not_command_us_does_not() {
    let dir = Sandbox::new();
    let run = |lines: &str, mode: u32, owner: Option<u32>| {
        let tool = with_targets(&dir, lines);
        fs::set_permissions(dir.join("targets"), fs::Permissions::from_mode(mode)).unwrap();
        std::os::unix::fs::chown(dir.join("targets"), owner, None).unwrap();
        tool.run()
    };
    let line = "command:/usr/bin/touch looked\n";

    run(line, 0o664, None).stdout_is("").stderr_has("run: chmod go-w").code(3);
    run(line, 0o644, Some(app_user().0)).stdout_is("").stderr_has("belongs to another user").code(3);
    for refused in [
        "command:/usr/bin/touch looked",
        "backup:/srv",
        "journal:/x",
        "report:/x",
        "cert:/etc/ssl/key.pem",
        "https://h/ secret=a:/etc/shadow",
        "https://h/ basic-file=/etc/shadow",
        "https://h/ data-file=/etc/shadow",
        "https://h/ trust-roots=/etc/x",
        "cert:h key=/etc/shadow",
    ] {
        let ran = healthprobe(&dir).arg("-").stdin_bytes(format!("{refused}\n")).run().stdout_is("").code(3);
        assert!(ran.stderr_text().contains("is not taken from standard input"), "{refused}\n{}", ran.picture());
    }
    assert!(!dir.join("looked").exists());
    // The control: an operator may.
    run(line, 0o600, Some(0)).code(0);
    assert!(dir.join("looked").exists());
}

#[test]
fn foreign_text_is_made_safe_for_every_sink() {
    let dir = Sandbox::new();
    let hostile = "\u{1b}[2J $(touch x) | 'a'=1 ` \u{202e} \"><script> \r\n<0>Bcc: x";
    let banner = hostile.to_owned();
    let server = stub::answering(move |stream| stream.write_all(banner.as_bytes()));
    let echo = plugin(&dir, "echo", "printf '%s' \"$(cat text)\"; exit 2");
    fs::write(dir.join("text"), hostile.replace("\r\n", " ")).unwrap();
    let lines =
        format!("tcp:127.0.0.1:{} expect=never timeout=2s name=banner\ncommand:{echo} name=plugin\n", server.port());

    for format in ["text", "json", "nagios", "prometheus", "sh"] {
        let ran = with_targets(&dir, &lines).args(["--format", format]).run().code(2);
        let text = ran.stdout_text();
        let is_control = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        // What a shell evaluates is quoted, and never seen by a terminal.
        assert!(format == "sh" || !text.contains(is_control), "{format}: {text:?}");
        assert!(!text.lines().any(|line| line.starts_with('<')), "{format}: {text:?}");
        if format == "nagios" {
            let message = text.split(" | ").next().unwrap();
            assert!(!message.contains(['`', '$', '<', '>', '"', '\'']), "{text:?}");
        }
        if format == "sh" {
            fs::write(dir.join("assignments"), text).unwrap();
            dir.program("sh").args(["-c", ". ./assignments"]).run().stderr_is("").code(0);
        }
    }
    assert!(!dir.join("x").exists());
}

#[test]
fn the_metrics_are_taken_by_a_strict_reader() {
    let dir = Sandbox::new();
    let lines = "mem\nload\nvalue:-1.5 name=a\\\\b\"c\nvalue:1e3 unit=bytes name=big group='x \"y\"'\ndisk:/\n";

    let ran = with_targets(&dir, lines).args(["--write", "prometheus:all.prom"]).run();

    let text = fs::read_to_string(dir.join("all.prom")).unwrap();
    let (mut family, mut families, mut seen) =
        (String::new(), std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap().to_owned();
            assert!(families.insert(family.clone()), "{family} twice\n{text}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest, format!("{family} gauge"));
        } else {
            let end = line.find(['{', ' ']).unwrap();
            assert_eq!(line[..end], family, "{}", ran.picture());
            let (series, number) = line.rsplit_once(' ').unwrap();
            assert!(number.parse::<f64>().is_ok(), "{line}");
            assert!(seen.insert(series.to_owned()), "{series} twice");
        }
    }
    assert_eq!(fs::metadata(dir.join("all.prom")).unwrap().permissions().mode() & 0o777, 0o644);
}
