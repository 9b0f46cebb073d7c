//! Many logs at once, in one directory and in many; and what goes with a log besides its lines.

use crate::logs::Logs;
use harness::tool_path;
use rustix::fs::XattrFlags;
use std::fs::{self, File};
use std::process::Command;

#[test]
fn earlier_copies_of_many_logs_are_compressed_side_by_side() {
    for rules in [
        "rotate 3\ncreate\ncompress\ndelaycompress",
        "rotate 3\ncreate\ncompress\ndelaycompress\nsharedscripts\npostrotate\n true\nendscript",
        "rotate 3\ncreate\ncompress\ndelaycompress\npreremove\n case $1 in */7.log.1) exit 1;; esac\nendscript",
        "rotate 3\ncreate\ncompress\ndelaycompress\nprerotate\n true\nendscript",
    ] {
        let logs = Logs::with(rules);
        for number in 0..40 {
            logs.write(&format!("{number}.log"), format!("today {number}\n"));
            logs.write(&format!("{number}.log.1"), format!("yesterday {number}\n"));
        }

        let ran = logs.tool().arg("-f").run();

        let is_refused = rules.contains("preremove");
        assert_eq!(ran.code, Some(i32::from(is_refused)), "{ran:?}");
        for number in (0..40).filter(|number| !is_refused || *number != 7) {
            let unpacked =
                Command::new("gzip").arg("-dc").arg(logs.path(&format!("{number}.log.2.gz"))).output().unwrap();
            assert_eq!(unpacked.stdout, format!("yesterday {number}\n").into_bytes(), "{rules}");
            assert_eq!(logs.read(&format!("{number}.log.1")), format!("today {number}\n"), "{rules}");
        }
        if is_refused {
            assert_eq!([logs.read("7.log"), logs.read("7.log.1")], ["today 7\n", "yesterday 7\n"]);
        }
    }
}

#[test]
fn logs_in_more_directories_than_handles_are_rotated_and_scripts_keep_their_limit() {
    let logs = Logs::with("");
    for number in 0..400 {
        fs::create_dir(logs.path(&format!("{number}"))).unwrap();
        logs.write(&format!("{number}/a.log"), "x\n");
    }
    logs.configure(
        "{logs}/*/a.log {\n rotate 2\n create\n sharedscripts\n postrotate\n  ulimit -Sn >{logs}/limit\n endscript\n}\n",
    );
    let script = "ulimit -Sn 256; exec \"$0\" -s state -f conf";

    logs.dir.program("sh").args(["-c", script]).arg(tool_path("logrotate-lite")).run().stderr_is("").code(0);

    let rotated = (0..400).filter(|number| logs.path(&format!("{number}/a.log.1")).exists()).count();
    assert_eq!((rotated, logs.read("limit").as_str()), (400, "256\n"));
}

#[test]
fn what_appears_under_the_name_of_the_next_copy_is_moved_away_and_never_replaced() {
    for rules in ["rotate 3\ncreate", "rotate 3\nnocreate", "rotate 3\ncopytruncate"] {
        let logs = Logs::with(rules);
        logs.write("app.log", "log\n");
        let go = logs.dir.join("go");
        let run =
            logs.tool().arg("-f").env("NIGHTSHIFT_FAILPOINT", format!("copies-moved=pause:{}", go.display())).spawn();
        logs.dir.wait_for("go.reached");

        logs.write("app.log.1", "somebody's\n");
        fs::write(go, "").unwrap();
        run.wait().stderr_has("app.log.1 already exists, renaming to ").code(0);

        assert_eq!(logs.read("app.log.1"), "log\n", "{rules}");
        let backup = logs.names().into_iter().find(|name| name.ends_with(".backup")).unwrap();
        assert_eq!(logs.read(&backup), "somebody's\n", "{rules}");
    }
}

#[test]
fn the_selinux_label_of_a_log_goes_with_its_contents_and_to_the_new_log() {
    const LABEL: &str = "security.selinux";
    let label = b"system_u:object_r:httpd_log_t:s0\0";
    for (rules, copy) in [
        ("rotate 3\ncreate", "app.log.1"),
        ("rotate 3\ncreate 0640 root root\ncompress", "app.log.1.gz"),
        ("rotate 3\ncopytruncate", "app.log.1"),
        ("rotate 3\ncopy\ncompress", "app.log.1.gz"),
    ] {
        let logs = Logs::with(rules);
        logs.write("app.log", "x\n");
        let log = File::open(logs.path("app.log")).unwrap();
        rustix::fs::fsetxattr(&log, LABEL, label, XattrFlags::empty()).expect("root may label files");
        drop(log);

        logs.force();

        for name in ["app.log", copy] {
            let mut value = [0; 100];
            let length = rustix::fs::getxattr(logs.path(name), LABEL, &mut value).unwrap_or(0);
            assert_eq!(&value[..length], label, "{rules}: {name}");
        }
    }
}

#[test]
fn what_is_no_option_ends_as_with_logrotate() {
    let logs = Logs::with("");
    for (arguments, code) in [
        (vec!["--bogus", "conf"], 2),
        (vec!["-s"], 2),
        (vec!["-fvX", "conf"], 2),
        (vec!["--debug=3", "conf"], 2),
        (vec!["--skip-state-lock", "--wait-for-state-lock", "conf"], 1),
        (vec![], 1),
        (vec!["nosuch"], 1),
    ] {
        let ran = logs.dir.tool("logrotate-lite").args(&arguments).run();
        assert_eq!((ran.code, ran.stdout_text()), (Some(code), ""), "{arguments:?}: {ran:?}");
        let upstream = logs.dir.program("/usr/sbin/logrotate").args(&arguments).run();
        assert_eq!(upstream.code, Some(code), "{arguments:?}: {upstream:?}");
    }
}
