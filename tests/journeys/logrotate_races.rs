//! THREATS L1 unpaused: the directory of a log becomes a link at any instant, again and again.

use crate::campaign::record;
use crate::logs::Logs;
use harness::{Sandbox, app_user};
use std::fs;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const CANARY: &str = "CANARY: of root\n";

/// Swaps a directory and a link to the victim's, as fast as it can.
struct Racer {
    stop: Arc<AtomicBool>,
    swaps: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Racer {
    fn start(dir: &Sandbox) -> Self {
        let (stop, swaps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stops, counts) = (Arc::clone(&stop), Arc::clone(&swaps));
        let [logs, moved, link] = ["logs", "moved", "link"].map(|name| dir.join(name));
        // A link of root's would be followed: it must never be one, not for an instant.
        let (uid, gid) = app_user();
        symlink(dir.join("victim.d"), &link).unwrap();
        lchown(&link, Some(uid), Some(gid)).unwrap();
        let thread = std::thread::spawn(move || {
            while !stops.load(Ordering::SeqCst) {
                swap(&logs, &moved, &link);
                counts.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, swaps, thread: Some(thread) }
    }

    /// Stops it with the directory in its place, and says how often it swapped.
    fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.swaps.load(Ordering::SeqCst)
    }
}

fn swap(logs: &Path, moved: &Path, link: &Path) {
    fs::rename(logs, moved).unwrap();
    fs::rename(link, logs).unwrap();
    std::thread::sleep(Duration::from_micros(150));
    fs::rename(logs, link).unwrap();
    fs::rename(moved, logs).unwrap();
    std::thread::sleep(Duration::from_micros(350));
}

/// A directory of the app with a log in it, and one of root's that holds a file of the same name.
fn place(rules: &str) -> Logs {
    let logs = Logs::with(rules);
    let (uid, gid) = app_user();
    make_victim(&logs);
    logs.write("app.log", "a line\n".repeat(100));
    chown(logs.path("app.log"), Some(uid), Some(gid)).unwrap();
    chown(logs.dir.join("logs"), Some(uid), Some(gid)).unwrap();
    logs
}

fn make_victim(logs: &Logs) {
    fs::create_dir(logs.dir.join("victim.d")).unwrap();
    fs::write(logs.dir.join("victim.d/app.log"), CANARY).unwrap();
}

/// Whether anything in the victim's directory has changed.
fn is_hit(logs: &Logs) -> bool {
    let names: Vec<_> = fs::read_dir(logs.dir.join("victim.d")).unwrap().map(|e| e.unwrap().file_name()).collect();
    let text = fs::read_to_string(logs.dir.join("victim.d/app.log")).unwrap_or_default();
    names != ["app.log"] || text != CANARY
}

const RULES: [&str; 3] = [
    "rotate 2\ncreate 0666\ncompress",
    "rotate 2\ncopytruncate\ncompress",
    "rotate 2\ncreate\ndateext\ndateformat -%s",
];

/// Rotates under the racer; returns how often it swapped, and how many runs rotated.
fn race(runs: u32) -> (u64, u32) {
    let (mut swaps, mut rotated) = (0, 0);
    for rules in RULES {
        let logs = place(rules);
        let racer = Racer::start(&logs.dir);
        for _ in 0..runs {
            let ran = logs.tool().arg("-f").run();
            rotated += u32::from(ran.code == Some(0));
            assert!(!is_hit(&logs), "{rules}: {ran:?}");
        }
        swaps += racer.stop();
    }
    (swaps, rotated)
}

#[test]
fn l1_a_directory_that_flips_leads_no_run_elsewhere() {
    let (swaps, _) = race(15);

    assert!(swaps > 10, "{swaps}");
}

#[test]
#[ignore = "takes some minutes: make campaign"]
fn campaign_a_thousand_races_lead_no_run_elsewhere() {
    let began = Instant::now();
    let runs = 334;

    let (swaps, rotated) = race(runs);

    // The control: what is raced against here is no chimera.
    let mut hits = 0;
    for rules in RULES {
        let logs = place(rules);
        let racer = Racer::start(&logs.dir);
        for _ in 0..runs {
            let program = logs.dir.program("/usr/sbin/logrotate").args(["-s", "state", "-f", "conf"]);
            drop(program.run());
            if is_hit(&logs) {
                hits += 1;
                fs::remove_dir_all(logs.dir.join("victim.d")).unwrap();
                make_victim(&logs);
            }
        }
        racer.stop();
    }
    record(
        "races of directories",
        began,
        &format!(
            "{} runs of `logrotate-lite -f`, {rotated} of which rotated, while the log's directory and a link to one of \
             root's changed places {swaps} times; then as many of Debian's logrotate",
            RULES.len() as u32 * runs
        ),
        &format!("no file of root's touched; logrotate was led there {hits} times"),
    );
    assert!(hits > 0, "the race is too slow to show anything");
}
