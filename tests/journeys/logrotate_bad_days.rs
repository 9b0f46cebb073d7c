//! Days on which disks are full, clocks go back, and logs are not what they should be.

use crate::logs::{Logs, numbered};
use harness::tmpfs;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::{Duration, Instant};

/// A place whose logs lie on a small disk.
fn small_disk(rules: &str, size_kib: u64) -> (tmpfs::Tmpfs, Logs) {
    let logs = Logs::with(rules);
    let disk = tmpfs::mount(&logs.dir.join("logs"), size_kib);
    (disk, logs)
}

#[test]
fn on_a_full_disk_nothing_is_lost_and_the_next_day_all_is_well() {
    for rules in ["rotate 3\ncopytruncate", "rotate 3\ncreate\ncompress"] {
        let (disk, logs) = small_disk(rules, 400);
        let text: String = (0..2_000).map(numbered).collect();
        logs.write("app.log", &text);
        let stopper = logs.path("stopper");
        fs::write(&stopper, vec![b'x'; 400 * 1024]).unwrap_err();

        let ran = logs.tool().arg("-f").run();
        assert!(ran.code == Some(1) && ran.stderr_text().contains("No space left on device"), "{rules}: {ran:?}");
        fs::remove_file(&stopper).unwrap();
        logs.holds_each_line_once(2_000);
        assert!(!logs.names().iter().any(|name| name.ends_with(".gz")), "{rules}: {:?}", logs.names());

        // The next day there is room; what lies uncompressed is compressed then.
        logs.tool().arg("-f").run().stderr_is("").code(0);
        logs.holds_each_line_once(2_000);
        logs.is_tidy();
        drop(disk);
    }
}

#[test]
fn a_full_disk_under_the_state_file_keeps_the_old_one() {
    let logs = Logs::with("daily\nrotate 3");
    logs.write("app.log", "x\n");
    fs::create_dir(logs.dir.join("var")).unwrap();
    let disk = tmpfs::mount(&logs.dir.join("var"), 16);
    let state = logs.dir.join("var/state");
    let old = format!("logrotate state -- version 2\n\"{}\" 2026-1-1\n", logs.path("app.log").display());
    fs::write(&state, &old).unwrap();
    fs::write(logs.dir.join("var/full"), vec![b'x'; 64 * 1024]).unwrap_err();

    logs.tool().args(["-s", "var/state"]).run().stderr_has("No space left on device").code(1);

    assert_eq!(fs::read_to_string(&state).unwrap(), old);
    assert_eq!(logs.read("app.log.1"), "x\n");
    drop(disk);
}

#[test]
fn a_damaged_state_file_stops_nothing_and_is_whole_again() {
    let logs = Logs::with("daily\nrotate 3\ncreate");
    logs.write("app.log", "x\n");
    logs.rotated_at("app.log", "2026-1-1");
    let mut file = OpenOptions::new().append(true).open(logs.dir.join("state")).unwrap();
    file.write_all(b"\"/cut off").unwrap();

    logs.tool().run().stderr_is("error: bad line 3 in state file state\n").code(1);

    assert_eq!(logs.read("app.log.1"), "x\n");
    logs.tool().run().stderr_is("").code(0);
}

#[test]
fn where_nothing_can_be_written_the_log_stays_and_it_is_said() {
    let (disk, logs) = small_disk("rotate 3\ncreate", 400);
    logs.write("app.log", "x\n");
    let remount = |how: &str| {
        let ran = logs.dir.program("mount").args(["-o", &format!("remount,{how}")]).arg(logs.dir.join("logs")).run();
        ran.code(0);
    };
    remount("ro");

    logs.tool().arg("-f").run().stderr_has("Read-only file system").code(1);

    remount("rw");
    assert_eq!(logs.read("app.log"), "x\n");
    drop(disk);
}

#[test]
fn a_clock_that_went_back_forces_one_rotation() {
    let logs = Logs::with("daily\nrotate 3\ncreate");
    logs.write("app.log", "x\n");
    logs.rotated_at("app.log", "2036-1-1");

    logs.tool().run().stderr_has("last rotated in the future -- rotation forced\n").code(0);
    logs.write("app.log", "y\n");
    logs.tool().run().stderr_is("").code(0);

    assert_eq!([logs.read("app.log"), logs.read("app.log.1")], ["y\n", "x\n"]);
}

#[test]
fn a_log_that_was_replaced_in_between_is_not_emptied() {
    let logs = Logs::with("rotate 3\ncopytruncate\nprerotate\n mv \"$1\" \"$1.moved\"; echo new >\"$1\"\nendscript");
    logs.write("app.log", "old\n");

    logs.tool().arg("-f").run().stderr_has("it was replaced by another file").code(1);

    assert_eq!([logs.read("app.log"), logs.read("app.log.moved")], ["new\n", "old\n"]);
}

#[test]
fn a_log_that_vanished_in_between_is_an_error_of_its_own() {
    let logs = Logs::with("rotate 3\nprerotate\n case \"$1\" in */a.log) rm \"$1\";; esac\nendscript");
    logs.write("a.log", "a\n");
    logs.write("b.log", "b\n");

    logs.tool().arg("-f").run().stderr_has("failed to rename ").code(1);

    assert_eq!(logs.names(), ["b.log.1"]);
}

#[test]
fn where_the_head_cannot_be_cut_off_it_is_done_in_tight_order_and_said() {
    let (disk, logs) = small_disk("rotate 3\ncopytruncate", 4000);
    logs.write("app.log", (0..2_000).map(numbered).collect::<String>());
    let open = OpenOptions::new().append(true).open(logs.path("app.log")).unwrap();

    let ran = logs.tool().args(["-f", "-v"]).run().code(0);

    ran.stderr_has("copied and truncated in tight order: a line written in that instant may be lost\n");
    assert_eq!((logs.read("app.log").len(), logs.read("app.log.1").len()), (0, 200_000));
    drop((open, disk));
}

#[test]
fn a_run_that_is_asked_to_stop_leaves_the_other_logs_and_owes_nothing() {
    let logs = Logs::with("rotate 3\ncreate\npostrotate\n touch {logs}/../in; sleep 60\nendscript");
    logs.write("a.log", "a\n");
    logs.write("b.log", "b\n");
    let run = logs.tool().arg("-f").spawn();
    logs.dir.wait_for("in");

    run.term();
    let ran = run.wait();

    assert_eq!((ran.signal, logs.read("b.log")), (Some(15), "b\n".to_owned()), "{ran:?}");
    assert_eq!(logs.read("a.log.1"), "a\n");
    assert!(logs.dir.join("state.interrupted").exists(), "the script of a.log did not end");
}

#[test]
fn a_user_rotates_logs_of_its_own() {
    let (uid, gid) = harness::app_user();
    let logs = Logs::with("rotate 3\ncreate\ncompress");
    logs.write("app.log", "x\n");
    for path in [logs.dir.path().to_path_buf(), logs.dir.join("logs"), logs.path("app.log")] {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).unwrap();
    }

    logs.tool().arg("-f").as_user(uid, gid).run().stderr_is("").code(0);

    assert_eq!(logs.names(), ["app.log", "app.log.1.gz"]);
    assert_eq!(fs::metadata(logs.path("app.log")).unwrap().uid(), uid);
}

#[test]
fn a_line_of_many_megabytes_stays_one_line() {
    let logs = Logs::with("rotate 3\ncopytruncate");
    let log = File::create(logs.path("app.log")).unwrap();
    log.write_all_at(b"first\n", 0).unwrap();
    // A gigabyte without a line end, of which the disk holds little; somebody has the log open.
    log.write_all_at(b"end\nlast", 1 << 30).unwrap();
    let began = Instant::now();

    logs.tool().args(["-f", "-v"]).run().stderr_has("cut off its head by collapse range").code(0);

    let copy = fs::metadata(logs.path("app.log.1")).unwrap();
    assert_eq!(copy.len(), (1 << 30) + 4);
    assert!(copy.blocks() * 512 < 1 << 20, "the holes stay holes");
    assert_eq!(logs.read("app.log").trim_start(), "last");
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn nuls_and_sparse_files_of_more_than_4_gib_are_copied_as_they_are() {
    let logs = Logs::with("rotate 3\ncopytruncate");
    let mut log = File::create(logs.path("app.log")).unwrap();
    log.write_all(b"a\0\0\0b\n").unwrap();
    log.seek(SeekFrom::Start(5 << 30)).unwrap();
    log.write_all(b"c\0d\n").unwrap();
    drop(log);

    logs.force();

    let copy = File::open(logs.path("app.log.1")).unwrap();
    let mut ends = ([0; 6], [0; 4]);
    copy.read_exact_at(&mut ends.0, 0).unwrap();
    copy.read_exact_at(&mut ends.1, 5 << 30).unwrap();
    assert_eq!((&ends.0, &ends.1), (b"a\0\0\0b\n", b"c\0d\n"));
    assert_eq!(copy.metadata().unwrap().len(), (5 << 30) + 4);
    assert_eq!(fs::metadata(logs.path("app.log")).unwrap().len(), 0);
}

#[test]
fn a_writer_that_does_not_append_is_named() {
    let logs = Logs::with("rotate 3\ncopytruncate");
    logs.write("app.log", "x\n".repeat(10));
    let writer = logs.dir.program("sh").args(["-c", "exec sleep 60 1<>logs/app.log"]).spawn();
    std::thread::sleep(Duration::from_millis(300));

    let ran = logs.tool().arg("-f").run().code(0);

    writer.kill();
    ran.stderr_has("(sleep) writes to ").stderr_has("without O_APPEND");
}

#[test]
fn ten_thousand_logs_are_rotated_in_one_run() {
    let logs = Logs::with("daily\nrotate 3\ncreate");
    for number in 0..10_000 {
        logs.write(&format!("{number}.log"), "x\n");
    }

    let ran = logs.tool().arg("-f").run().stderr_is("").code(0);

    assert_eq!(logs.names().len(), 20_000);
    assert!(ran.max_rss_kib.unwrap_or(0) < 64 * 1024, "{:?}", ran.max_rss_kib);
    assert_eq!(fs::read_to_string(logs.dir.join("state")).unwrap().lines().count(), 10_001);
}

#[test]
fn a_script_that_hangs_is_ended() {
    let logs = Logs::with("rotate 3\npostrotate\n sleep 1000\nendscript");
    logs.write("app.log", "x\n");

    let ran = logs.tool().args(["-f", "--script-timeout", "300ms"]).run().code(1);

    ran.stderr_has("error running non-shared postrotate script for ").stderr_has("child did not end within");
    assert_eq!(logs.read("app.log.1"), "x\n");
}
