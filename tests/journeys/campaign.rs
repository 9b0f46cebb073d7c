//! The long way to look for faults: hours of what the other journeys do for seconds. `make campaign` runs it, and each
//! campaign adds a line to tests/CAMPAIGNS.md: when, what, how often, what was found.

use crate::killed::{Seen, kill_at_random, seed};
use common::units::Stamp;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::{Instant, SystemTime};

/// Writes down what a campaign did and found.
fn record(name: &str, began: Instant, did: &str, found: &str) {
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
