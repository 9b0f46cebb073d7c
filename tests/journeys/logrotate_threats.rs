//! Who owns the directory of a log gets nothing by it: THREATS L1 to L12. The tests run as root, as logrotate does.

use crate::logs::Logs;
use harness::{Tool, app_user};
use rustix::fs::{FileType, Mode};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::time::{Duration, Instant};

const CANARY: &str = "CANARY: only root reads this\n";

/// A place whose log directory belongs to the app, and a file of root's beside it.
fn of_app(rules: &str) -> Logs {
    let logs = Logs::with(rules);
    let (uid, gid) = app_user();
    logs.write("app.log", "a line\n");
    for path in [logs.path("app.log"), logs.dir.join("logs")] {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
    fs::create_dir(logs.dir.join("etc")).unwrap();
    logs
}

fn canary(logs: &Logs, name: &str) {
    let path = logs.dir.join(name);
    fs::write(&path, CANARY).unwrap();
    chmod(&path, 0o600);
}

#[track_caller]
fn is_safe(logs: &Logs, name: &str) {
    let path = logs.dir.join(name);
    let stat = fs::symlink_metadata(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), CANARY);
    assert_eq!((stat.uid(), stat.mode() & 0o777), (0, 0o600));
}

fn chmod(path: impl AsRef<std::path::Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn paused(logs: &Logs, failpoint: &str) -> Tool {
    let go = logs.dir.join("go");
    logs.tool().arg("-f").env("NIGHTSHIFT_FAILPOINT", format!("{failpoint}=pause:{}", go.display()))
}

#[test]
fn l1_a_directory_that_becomes_a_link_leads_no_step_elsewhere() {
    for (rules, failpoint) in [
        ("rotate 3\ncreate 0666\ncompress", "new-log-made"),
        ("rotate 3\ncreate 0666\ncompress", "logs-exchanged"),
        ("rotate 3\ncreate 0666\ncompress", "log-placed"),
        ("rotate 3\ncompress", "compressed"),
        ("rotate 3\ncopytruncate", "truncation-noted"),
        ("rotate 3\ncopytruncate", "copies-moved"),
    ] {
        let logs = of_app(rules);
        canary(&logs, "etc/app.log");
        let run = paused(&logs, failpoint).spawn();
        logs.dir.wait_for("go.reached");

        fs::rename(logs.dir.join("logs"), logs.dir.join("moved")).unwrap();
        symlink(logs.dir.join("etc"), logs.dir.join("logs")).unwrap();
        fs::write(logs.dir.join("go"), "").unwrap();
        run.wait();

        is_safe(&logs, "etc/app.log");
        assert_eq!(fs::read_dir(logs.dir.join("etc")).unwrap().count(), 1, "{failpoint}");
        let names: Vec<_> = fs::read_dir(logs.dir.join("moved")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(names.iter().any(|name| name.to_str().unwrap().starts_with("app.log.1")), "{failpoint}: {names:?}");
    }
}

#[test]
fn l2_a_directory_of_the_app_is_rotated_safely_whatever_its_mode() {
    for mode in [0o755, 0o700, 0o750, 0o777, 0o775] {
        let logs = of_app("rotate 3\ncreate");
        chmod(logs.dir.join("logs"), mode);

        let ran = logs.tool().arg("-f").run();

        if mode & 0o022 == 0 {
            assert_eq!((ran.code, logs.read("app.log.1")), (Some(0), "a line\n".to_owned()), "{mode:o}");
        } else {
            let ran =
                ran.stderr_has("parent directory has insecure permissions").stderr_has("this line would work: su ");
            assert_eq!((ran.code, logs.names().len()), (Some(1), 1), "{mode:o}");
        }
    }
}

#[test]
fn l3_what_is_no_plain_log_is_refused_and_the_others_rotate() {
    for rules in ["rotate 3\ncopytruncate", "rotate 3\ncreate\ncompress", "rotate 3\nallowhardlink\ncopy"] {
        let logs = of_app(rules);
        canary(&logs, "etc/shadow");
        fs::hard_link(logs.dir.join("etc/shadow"), logs.path("hard.log")).unwrap();
        symlink(logs.dir.join("etc/shadow"), logs.path("link.log")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, logs.path("fifo.log"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .unwrap();
        let began = Instant::now();

        let ran = logs.tool().arg("-f").run();

        assert!(began.elapsed() < Duration::from_secs(20), "{ran:?}");
        is_safe(&logs, "etc/shadow");
        let made: Vec<_> = logs.names().into_iter().filter(|name| name.starts_with("app.log.1")).collect();
        assert_eq!(made.len(), 1, "{rules}: {ran:?}");
        assert!(!logs.path("link.log.1").exists(), "{rules}");
    }
}

#[test]
fn l3_what_takes_the_place_of_a_copy_is_neither_compressed_nor_removed() {
    for way in ["link", "hard link"] {
        let logs = of_app("rotate 3\ncreate\ncompress");
        canary(&logs, "etc/shadow");
        let run = paused(&logs, "log-placed").spawn();
        logs.dir.wait_for("go.reached");

        fs::remove_file(logs.path("app.log.1")).unwrap();
        match way {
            "link" => symlink(logs.dir.join("etc/shadow"), logs.path("app.log.1")).unwrap(),
            _ => fs::hard_link(logs.dir.join("etc/shadow"), logs.path("app.log.1")).unwrap(),
        }
        fs::write(logs.dir.join("go"), "").unwrap();

        run.wait().stderr_has("app.log.1 (read-only) for compression: ").code(1);
        is_safe(&logs, "etc/shadow");
        assert_eq!(logs.names(), ["app.log", "app.log.1"], "{way}");
    }
}

#[test]
fn l4_a_copy_is_never_more_readable_than_its_log() {
    for (rules, failpoint) in [
        ("rotate 3\ncreate 0644 nobody root\ncompress", "compressed-open"),
        ("rotate 3\ncopytruncate\ncompress", "copy-open"),
        ("rotate 3\ncopytruncate\ncompress", "compressed"),
    ] {
        let logs = Logs::with(rules);
        logs.write("app.log", CANARY);
        chmod(logs.path("app.log"), 0o600);

        let run = paused(&logs, failpoint).spawn();
        logs.dir.wait_for("go.reached");
        for name in logs.names().iter().filter(|name| name.starts_with(".app") || name.starts_with("app.log.")) {
            assert_eq!(fs::metadata(logs.path(name)).unwrap().mode() & 0o777, 0o600, "{name}");
        }
        fs::write(logs.dir.join("go"), "").unwrap();
        run.wait().code(0);

        let copy = fs::metadata(logs.path("app.log.1.gz")).unwrap();
        assert_eq!((copy.uid(), copy.mode() & 0o777), (0, 0o600), "{rules}");
    }
}

#[test]
fn l5_su_gives_up_root_for_good_and_its_scripts_keep_it() {
    let (uid, gid) = app_user();
    let logs = of_app("");
    chmod(logs.dir.path(), 0o755);
    let out = logs.path("status");
    let compressor = logs.dir.join("compressor");
    let script = format!(
        "#!/bin/sh\ncat /proc/self/status >{0}\nsetpriv --reuid 0 true 2>>{0} && echo CAME-BACK >>{0}\n\
         cat {1} >>{0} 2>&1\ncat\n",
        out.display(),
        logs.dir.join("etc/secret").display()
    );
    fs::write(&compressor, script).unwrap();
    chmod(&compressor, 0o755);
    canary(&logs, "etc/secret");
    logs.configure(&format!(
        "{{logs}}/*.log {{\n su :{uid} :{gid}\n rotate 3\n create\n compress\n compresscmd {}\n postrotate\n  id -u >{}\n endscript\n}}\n",
        compressor.display(),
        logs.dir.join("by").display()
    ));
    chmod(logs.dir.join("logs"), 0o777);

    logs.tool().arg("-f").run().stderr_is("").code(0);

    let status = fs::read_to_string(&out).unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(field("Uid:").split_whitespace().collect::<Vec<_>>(), vec![uid.to_string(); 4]);
    assert_eq!(field("Gid:").split_whitespace().collect::<Vec<_>>(), vec![gid.to_string(); 4]);
    assert_eq!(field("Groups:"), gid.to_string());
    assert_eq!(field("CapEff:"), "0000000000000000");
    assert!(!status.contains("CAME-BACK") && !status.contains("CANARY"), "{status}");
    assert_eq!(fs::read_to_string(logs.dir.join("by")).unwrap(), "0\n");
    assert_eq!(fs::metadata(logs.path("app.log.1.gz")).unwrap().uid(), uid);
}

#[test]
fn l6_a_lock_on_what_others_can_open_holds_nobody_up() {
    let logs = Logs::with("rotate 3");
    logs.write("app.log", "x\n");
    fs::write(logs.dir.join("state"), "logrotate state -- version 2\n").unwrap();
    chmod(logs.dir.join("state"), 0o644);
    chmod(logs.dir.path(), 0o755);
    let (uid, gid) = app_user();
    let holder = logs.dir.program("flock").args(["state", "sleep", "60"]).as_user(uid, gid).spawn();
    std::thread::sleep(Duration::from_millis(300));

    logs.tool().arg("-f").run().stderr_has("is world-readable and thus can be locked").code(0);

    holder.kill();
    assert_eq!(fs::metadata(logs.dir.join("state")).unwrap().mode() & 0o777, 0o640);
    fs::remove_file(logs.dir.join("state")).unwrap();
    symlink("elsewhere", logs.dir.join("state")).unwrap();
    logs.tool().arg("-f").run().stderr_has("error opening state file state").code(3);
    assert!(!logs.dir.join("elsewhere").exists());
}

#[test]
fn l7_no_name_of_a_log_is_more_than_a_name() {
    let logs = Logs::with("rotate 3\ncreate\npostrotate\n test -e \"$1\" && echo \"$1\" >>{logs}/../seen\nendscript");
    let names = ["a\n\"b.log", ";touch pwned;.log", "$(touch pwned).log", "c\\n.log", "d\u{1b}[2J.log"];
    for name in names {
        logs.write(name, "x\n");
    }

    let ran = logs.tool().args(["-f", "-v"]).run().code(0);
    assert!(!ran.stderr.contains(&0x1b), "{ran:?}");
    logs.tool().run().stderr_is("").code(0);

    for name in names {
        assert_eq!(logs.read(&format!("{name}.1")), "x\n");
    }
    let state = fs::read_to_string(logs.dir.join("state")).unwrap();
    assert_eq!(state.lines().count(), names.len() + 1, "{state}");
    assert!(!logs.dir.join("pwned").exists() && !logs.path("pwned").exists());
}

#[test]
fn l8_shred_gets_a_file_and_no_path() {
    let logs = of_app("rotate 1\nshred\nshredcycles 1");
    canary(&logs, "etc/secret");
    logs.write("app.log.1", "old\n");
    let run = paused(&logs, "shredded").spawn();
    logs.dir.wait_for("go.reached");

    fs::remove_file(logs.path("app.log.2")).unwrap();
    fs::hard_link(logs.dir.join("etc/secret"), logs.path("app.log.2")).unwrap();
    fs::write(logs.dir.join("go"), "").unwrap();

    run.wait().stderr_has("another file has its name now").code(1);
    is_safe(&logs, "etc/secret");
    assert!(logs.path("app.log.2").exists());
}

#[test]
fn l9_a_configuration_of_others_commands_nobody_and_the_rest_counts() {
    let (uid, gid) = app_user();
    let logs = Logs::with("");
    fs::create_dir(logs.dir.join("conf.d")).unwrap();
    for name in ["good", "group", "owner"] {
        logs.write(&format!("{name}.log"), "x\n");
        let text = format!("{}/{name}.log {{\n rotate 1\n}}\n", logs.dir.join("logs").display());
        fs::write(logs.dir.join("conf.d").join(name), text).unwrap();
    }
    chmod(logs.dir.join("conf.d/group"), 0o664);
    chown(logs.dir.join("conf.d/owner"), Some(uid), Some(gid)).unwrap();
    logs.configure(&format!("include {}\n", logs.dir.join("conf.d").display()));

    let ran = logs.tool().arg("-f").run().code(1);

    ran.stderr_has("conf.d/group because it is writable by group or others.\n")
        .stderr_has("conf.d/owner because the file owner is wrong");
    assert_eq!(logs.names(), ["good.log.1", "group.log", "owner.log"]);

    // Nor one that somebody else can put another in the place of.
    chown(logs.dir.join("conf.d"), Some(uid), Some(gid)).unwrap();
    logs.tool().arg("-f").run().stderr_has("because others can change the directory").code(1);
}

#[test]
fn l10_no_link_and_no_stranger_is_matched_or_removed() {
    let logs = Logs::with("");
    let (uid, _) = app_user();
    fs::create_dir(logs.path("tree")).unwrap();
    fs::create_dir(logs.dir.join("etc")).unwrap();
    canary(&logs, "etc/x.log");
    symlink(logs.dir.join("etc"), logs.path("tree/evil")).unwrap();
    std::os::unix::fs::lchown(logs.path("tree/evil"), Some(uid), None).unwrap();
    logs.configure(
        "{logs}/tree/*/x.log {\n rotate 1\n missingok\n}\n{logs}/a.log {\n rotate 1\n maxtotal 1\n maxage 1\n}\n",
    );
    logs.write("a.log", "a\n");
    fs::create_dir(logs.path("a.log.7")).unwrap();
    symlink(logs.dir.join("etc/x.log"), logs.path("a.log.8")).unwrap();
    logs.write("a.log.09x", "stranger");
    logs.write("a.log.txt", "stranger");

    logs.tool().arg("-f").run().stderr_is("").code(0);

    is_safe(&logs, "etc/x.log");
    assert_eq!(logs.names(), ["a.log.09x", "a.log.1", "a.log.7", "a.log.8", "a.log.txt", "tree"]);
}

#[test]
fn l11_a_check_names_the_su_line_for_a_directory_of_others() {
    let logs = of_app("rotate 3");
    let (uid, gid) = app_user();

    let ran = logs.dir.tool("logrotate-lite").args(["--check", "conf"]).run().code(0);

    ran.stderr_has("others than root can rename in ").stderr_has(&format!("add the line: su :{uid} :{gid}"));
}

#[test]
fn l12_looking_for_writers_opens_nothing_and_shows_no_escape() {
    let logs = Logs::with("rotate 3\ncopytruncate");
    logs.write("app.log", "x\n");
    rustix::fs::mknodat(rustix::fs::CWD, logs.dir.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    fs::copy("/bin/sleep", logs.dir.join("e\u{1b}[2J")).unwrap();
    chmod(logs.dir.join("e\u{1b}[2J"), 0o755);
    let script = "exec \"$(printf './e\\033[2J')\" 60 1<>logs/app.log 3<>fifo";
    let holder = logs.dir.program("sh").args(["-c", script]).spawn();
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();

    let ran = logs.tool().arg("-f").run().code(0);

    holder.kill();
    assert!(began.elapsed() < Duration::from_secs(20));
    assert!(!ran.stderr.contains(&0x1b), "{ran:?}");
    ran.stderr_has("without O_APPEND");
}
