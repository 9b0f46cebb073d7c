//! The long way to look for faults: hours of what the other journeys do for seconds. `make campaign` runs it, and each
//! campaign adds a line to tests/CAMPAIGNS.md: when, what, how often, what was found.

use crate::damage::{CODECS, Copies, cut_at_random, name_of};
use crate::killed::{Random, Seen, kill_at_random, nothing_is_missing, seed};
use crate::place::{Place, days};
use crate::restore_killed;
use common::units::Stamp;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::{Instant, SystemTime};

/// Writes down what a campaign did and found.
pub fn record(name: &str, began: Instant, did: &str, found: &str) {
    let path = harness::workspace().join("tests/CAMPAIGNS.md");
    let date = &Stamp::from(SystemTime::now()).rfc3339()[..10];
    let took = common::units::duration(began.elapsed());
    let line = format!("| {date} | {name} | {did} | {found} | {took} |\n");
    let mut file = OpenOptions::new().append(true).open(&path).unwrap_or_else(|e| panic!("cannot open {path:?}: {e}"));
    file.write_all(line.as_bytes()).unwrap_or_else(|e| panic!("cannot write {path:?}: {e}"));
}

#[test]
#[ignore = "takes a quarter of an hour: make campaign"]
fn campaign_a_thousand_kills_at_random_moments_do_no_harm() {
    let began = Instant::now();
    let mut sum = Seen::default();
    let mut seeds = Vec::new();
    for kept in [1, 2, 3, 5] {
        let seed = seed();
        seeds.push(seed.to_string());
        let seen = kill_at_random(250, kept, seed);
        sum.runs += seen.runs;
        sum.killed += seen.killed;
        sum.killed_after_commit += seen.killed_after_commit;
        sum.left_something += seen.left_something;
        sum.finished += seen.finished;
        sum.read_back += seen.read_back;
    }
    let Seen { runs, killed, killed_after_commit, left_something, finished, read_back } = sum;
    let did = format!(
        "{runs} runs of `pgbackup --keep-last 1, 2, 3 or 5`, SIGKILL at a random moment: {killed} killed, \
         {killed_after_commit} of them after the commit, {left_something} left files to sweep, {finished} were quicker; \
         backups read back {read_back} times; seeds {}",
        seeds.join(", ")
    );
    record("kills", began, &did, "no bad backup listed, none missing, nothing left after the next run");
}

#[test]
#[ignore = "takes half an hour: make campaign"]
fn campaign_five_hundred_kills_of_restores_lose_nothing() {
    let began = Instant::now();
    let seed = seed();
    let seen = restore_killed::kill_at_random(500, seed);
    let restore_killed::Seen { runs, killed, left_something, behind_the_swap, finished } = seen;
    let did = format!(
        "{runs} runs of pgrestore-safe (restores, some with a failing check, --undo, --drop-old), SIGKILL at a random \
         moment: {killed} killed, {left_something} left something, {behind_the_swap} of these behind the swap, {finished} \
         were quicker; seed {seed}"
    );
    record(
        "restores killed",
        began,
        &did,
        "the name always led to a whole database, none was lost, --recover ended each",
    );
}

/// The system calls that change a directory or make it durable, and those that write.
const CHANGES: [&str; 4] = ["renameat,renameat2", "unlinkat", "fsync,fdatasync", "write"];

#[test]
#[ignore = "takes minutes, and needs strace: make campaign"]
fn campaign_killed_at_each_system_call_that_changes_a_file() {
    let began = Instant::now();
    let mut counts = Vec::new();
    for calls in &CHANGES[..3] {
        let stopped = at_each(calls, "signal=KILL", |code, signal| code.is_none() && signal == Some(9));
        assert!(stopped > 0, "{calls} was never called");
        counts.push(format!("{calls} {stopped}"));
    }
    let did = format!("`pgbackup --keep-last 2` with SIGKILL at the N-th call of: {}", counts.join(", "));
    record("kill at each call", began, &did, "no bad backup listed, none missing, nothing left after the next run");
}

#[test]
#[ignore = "takes minutes, and needs strace: make campaign"]
fn campaign_each_system_call_that_changes_a_file_fails() {
    let began = Instant::now();
    let mut counts = Vec::new();
    for calls in CHANGES {
        let error = if calls == "write" { "error=ENOSPC" } else { "error=EIO" };
        let stopped = at_each(calls, error, |code, signal| matches!(code, Some(1..=3)) && signal.is_none());
        assert!(stopped > 0, "{calls} never failed");
        counts.push(format!("{calls} {error} {stopped}"));
    }
    let did = format!("`pgbackup --keep-last 2` whose N-th call fails, and the run with it: {}", counts.join(", "));
    record("fail each call", began, &did, "no bad backup listed, none missing, nothing left after the next run");
}

/// Runs pgbackup again and again under strace, which does something to its N-th call of these (counted per thread), until
/// nothing is done for five N in a row. Returns how many runs ended as the fault wants it.
fn at_each(calls: &str, fault: &str, is_stopped: impl Fn(Option<i32>, Option<i32>) -> bool) -> usize {
    let place = Place::new();
    let mut made = place.back_up();
    let (mut stopped, mut quiet) = (0, 0);
    for when in 1.. {
        place.age(&made, days(30));
        place.age(&made, days(20));
        let before = place.labels();
        let strace = place.dir.program("strace").args(["--follow-forks", "--output=trace"]);
        let strace = strace.arg(format!("--trace={calls}")).arg(format!("--inject={calls}:{fault}:when={when}"));
        let tool =
            strace.arg(harness::tool_path("pgbackup")).args(["--no-config", "--dir", "backups", "--keep-last", "2"]);

        let ran = tool.arg("--pg-bin").arg(place.pg.bin()).arg("app").envs(place.pg.env()).run();

        place.is_good();
        nothing_is_missing(&before, &place.labels(), 2);
        let is_ok = ran.code == Some(0);
        assert!(is_ok || is_stopped(ran.code, ran.signal), "{calls} {fault} at {when}: {ran:?}");
        place.pgbackup().args(["--keep-last", "2", "app"]).run().stderr_is("").code(0);
        place.is_sound();
        made = place.labels().pop().expect("one was just made");
        stopped += usize::from(!is_ok);
        quiet = if is_ok { quiet + 1 } else { 0 };
        if quiet == 5 {
            break;
        }
    }
    stopped
}

#[test]
#[ignore = "takes some minutes: make campaign"]
fn campaign_ten_thousand_flipped_bits_are_all_found() {
    for codec in CODECS {
        let began = Instant::now();
        let copies = Copies::new(codec, 100);
        let seed = seed();
        let mut random = Random(seed);
        let mut counts = BTreeMap::new();
        for _ in 0..100 {
            copies.flip(&mut random, &mut counts);
        }
        copies.are_good();
        let counts: Vec<_> =
            counts.iter().map(|(end, count)| format!("{count} in {}", end.trim_start_matches('.'))).collect();
        let did = format!(
            "10,000 times one bit of one byte of a backup flipped: {}; `backup-verify --depth stored` and `--depth content` \
             after each; seed {seed}",
            counts.join(", ")
        );
        record(&format!("damage, {}", name_of(codec)), began, &did, "every one found, at both depths");
    }
}

#[test]
#[ignore = "takes some minutes: make campaign"]
fn campaign_cuts_at_a_thousand_places_are_all_found() {
    for codec in CODECS {
        let began = Instant::now();
        let seed = seed();
        let (found, files) = cut_at_random(codec, 250, &mut Random(seed));
        let did = format!(
            "each of the {files} files of a backup cut at 250 random places, {found} in all; `backup-verify --depth stored` and \
             `--depth content` after each; seed {seed}"
        );
        record(&format!("cuts, {}", name_of(codec)), began, &did, "every one found, at both depths");
    }
}
