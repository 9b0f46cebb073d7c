//! logrotate-lite on the file systems that servers have: they differ in how a log can be cut off, and in whether two names
//! can change places. Campaigns, because they need loop devices and a kernel that knows the file systems.

use crate::campaign::record;
use crate::killed::seed;
use crate::logrotate_killed::{COPYTRUNCATE, RENAME, kill_at_random};
use crate::logs::{Logs, Reopen, Writer, needs_collapse_range, numbered};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::{Duration, Instant};

/// Ten rotations under a writer of 20,000 lines a second; returns how many lines it wrote.
fn ten_rotations(logs: &Logs, reopen: Reopen, way: Option<&str>) -> u64 {
    logs.write("app.log", "");
    let writer = Writer::start(logs, "app.log", reopen, 20_000);
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(150));
        let ran = logs.tool().args(["-f", "-v"]).run().code(0);
        if let Some(way) = way {
            ran.stderr_has(way);
        }
    }
    // The writer looks for the signal before each line.
    std::thread::sleep(Duration::from_millis(100));
    writer.stop()
}

#[test]
#[ignore = "needs loop devices, and a kernel with xfs: make campaign"]
fn campaign_on_xfs_no_line_is_lost() {
    let began = Instant::now();
    let (disk, logs) = Logs::on("xfs", COPYTRUNCATE);
    needs_collapse_range(&logs);

    let copied = ten_rotations(&logs, Reopen::Never, Some("cut off its head by collapse range"));

    logs.holds_each_line_once(copied);
    drop((disk, logs));
    let (disk, logs) = Logs::on("xfs", RENAME);
    let renamed = ten_rotations(&logs, Reopen::When("reopen"), None);
    logs.holds_each_line_once(renamed);
    drop((disk, logs));
    let mut kills = Vec::new();
    for (rules, reopen) in [(RENAME, Reopen::When("reopen")), (COPYTRUNCATE, Reopen::Never)] {
        let (disk, mut logs) = Logs::on("xfs", "");
        // SIGKILL within fallocate(2): xfs has shifted the contents, but does not come to setting the size. The record and
        // the contents tell the next run what happened; the NULs stay.
        logs.nuls_are_blank = rules == COPYTRUNCATE;
        let seen = kill_at_random(&logs, rules, reopen, 100, seed());
        kills.push(format!("{} killed, {} left something", seen.killed, seen.left_something));
        drop((disk, logs));
    }
    record(
        "logrotate-lite on xfs",
        began,
        &format!(
            "ten rotations under 20,000 lines/s each, copytruncate ({copied} lines, all by collapse range) and rename \
             ({renamed} lines); then 100 runs of each killed at random: {}",
            kills.join("; ")
        ),
        "every line once over all files, nothing left after the next run (a cut that SIGKILL interrupts may leave NULs in \
         the log on xfs; seen once in some hundred kills)",
    );
}

#[test]
#[ignore = "needs loop devices, and a kernel with btrfs: make campaign"]
fn campaign_on_btrfs_a_rename_loses_no_line_and_copytruncate_says_what_it_may() {
    let began = Instant::now();
    let (disk, logs) = Logs::on("btrfs", RENAME);
    let renamed = ten_rotations(&logs, Reopen::When("reopen"), None);
    logs.holds_each_line_once(renamed);
    drop((disk, logs));

    let (disk, logs) = Logs::on("btrfs", COPYTRUNCATE);
    let copied =
        ten_rotations(&logs, Reopen::Never, Some("in tight order: a line written in that instant may be lost"));
    let held = logs.all_text().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    let lost = copied.saturating_sub(held as u64);
    assert!(lost * 1000 < copied, "{lost} of {copied} lines are lost: far more than those of ten instants");
    drop((disk, logs));

    // Nobody has it open: nothing can be lost.
    let (disk, logs) = Logs::on("btrfs", COPYTRUNCATE);
    logs.write("app.log", (0..2_000).map(numbered).collect::<String>());
    logs.tool().args(["-f", "-v"]).run().stderr_has("cut off under a lease").code(0);
    logs.holds_each_line_once(2_000);
    drop((disk, logs));

    let (disk, logs) = Logs::on("btrfs", "");
    let seen = kill_at_random(&logs, RENAME, Reopen::When("reopen"), 100, seed());
    drop((disk, logs));
    record(
        "logrotate-lite on btrfs",
        began,
        &format!(
            "ten rotations under 20,000 lines/s each: rename ({renamed} lines), copytruncate in tight order ({copied} \
             lines); then 100 runs with rename killed at random: {} killed, {} left something",
            seen.killed, seen.left_something
        ),
        &format!("rename: every line once, nothing left after the next run; tight order: {lost} lines lost"),
    );
}

#[test]
#[ignore = "writes some gigabytes: make campaign"]
fn campaign_a_line_of_a_gigabyte_is_cut_off_whole_and_compressed() {
    let began = Instant::now();
    let logs = Logs::with("rotate 3\ncopytruncate\ncompress");
    needs_collapse_range(&logs);
    let log = File::create(logs.path("app.log")).unwrap();
    let mut open = OpenOptions::new().append(true).open(logs.path("app.log")).unwrap();
    let block: Vec<u8> = (0..1_u32 << 20).map(|at| b'a' + (at.wrapping_mul(2_654_435_761) >> 24) as u8 % 26).collect();
    for number in 0..1024 {
        log.write_all_at(&block, number << 20).unwrap();
    }
    open.write_all(b"end\nlast\n").unwrap();

    let ran = logs.tool().args(["-f", "-v"]).run().stderr_has("cut off its head by collapse range").code(0);

    let rss_mib = ran.max_rss_kib.unwrap_or(0) >> 10;
    assert!(rss_mib < 64, "{rss_mib} MiB");
    assert_eq!(logs.read("app.log").trim(), "last");
    assert!(fs::metadata(logs.path("app.log")).unwrap().size() < 8192);
    let unpacked = logs.dir.program("sh").args(["-c", "gzip -dc logs/app.log.1.gz | sha256sum"]).run().code(0);
    let expected = (0..1024).map(|_| "cat block; ").collect::<String>() + "printf 'end\\n'";
    fs::write(logs.dir.join("block"), &block).unwrap();
    let expected = logs.dir.program("sh").args(["-c", &format!("({expected}) | sha256sum")]).run().code(0);
    assert_eq!(unpacked.stdout_text(), expected.stdout_text());
    record(
        "a line of a gigabyte",
        began,
        "`logrotate-lite -f` with copytruncate and compress on 1 GiB without a line end and without holes, then one end and \
         another line; somebody has it open",
        &format!(
            "the line is whole in the copy, byte for byte, the other one in the log; at most {rss_mib} MiB of memory"
        ),
    );
}
