//! Killed at random moments, restores, undos and removals lose nothing, and `--recover` ends what they began.

use crate::killed::{Random, seed};
use crate::restore_place::{RUIN, Ruined};
use std::collections::BTreeSet;
use std::time::Duration;

/// What happened to the runs of [`kill_at_random`].
#[derive(Debug, Default)]
pub struct Seen {
    /// Runs that were begun.
    pub runs: usize,
    /// Runs that ended by the kill.
    pub killed: usize,
    /// … and left something for `--recover`.
    pub left_something: usize,
    /// … behind the swap.
    pub behind_the_swap: usize,
    /// Runs that were quicker.
    pub finished: usize,
}

/// The tools of one turn, each with what it may cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    Restore,
    RestoreThatFailsItsCheck,
    Undo,
    DropOld,
}

fn turn(random: &mut Random) -> Turn {
    match random.below(10) {
        0..=4 => Turn::Restore,
        5 | 6 => Turn::RestoreThatFailsItsCheck,
        7 | 8 => Turn::Undo,
        _ => Turn::DropOld,
    }
}

/// Runs that often, kills each at a random moment, and checks after each that nothing is lost and `--recover` ends it.
pub fn kill_at_random(runs: usize, seed: u64) -> Seen {
    let ruined = Ruined::new();
    ruined.pg().sql("ALTER SYSTEM SET max_connections = 100");
    let stopped = ruined.place.dir.join("stopped");
    let stop = ["--stop".to_owned(), format!("touch {}", stopped.display())];
    let start = ["--start".to_owned(), format!("rm -f {}", stopped.display())];
    let around = |tool: harness::Tool| tool.args(&stop).args(&start);
    let restore = || around(ruined.restore().arg("--no-safety-backup"));
    let undo = || around(ruined.tool().args(["--undo", "--to", "app", "--yes"]));
    let drop_old = || ruined.tool().args(["--drop-old", "--yes", "--no-safety-backup"]);
    let (by_restore, by_undo) = (restore().run().code(0).wall, undo().run().code(0).wall);
    let mut random = Random(seed);
    let mut seen = Seen { runs, ..Seen::default() };
    for number in 0..runs {
        let at = format!("run {number} of seed {seed}");
        if random.below(2) == 0 {
            ruined.pg().sql_in("app", RUIN);
        }
        let turn = turn(&mut random);
        let before = kept(&ruined);
        let (tool, usual) = match turn {
            Turn::Restore => (restore().args(["--check", "true"]), by_restore),
            Turn::RestoreThatFailsItsCheck => (restore().args(["--check", "false"]), by_restore),
            Turn::Undo => (undo(), by_undo),
            Turn::DropOld => (drop_old(), by_undo),
        };
        let running = tool.spawn();
        std::thread::sleep(moment(&mut random, usual));
        running.kill();
        let ran = running.wait();

        assert!(["whole", "ruined"].contains(&ruined.live()), "{at}");
        let after: BTreeSet<_> = kept(&ruined);
        assert!(turn == Turn::DropOld || before.is_subset(&after), "{at}: {before:?}, then {after:?}");
        let step = ruined.state()["run"]["step"].as_str().unwrap_or_default().to_owned();
        seen.killed += usize::from(ran.signal.is_some());
        seen.finished += usize::from(ran.signal.is_none());
        seen.left_something += usize::from(!step.is_empty());
        seen.behind_the_swap += usize::from(step == "checking" || step == "swapping_back");
        let recovered = ruined.tool().arg("--recover").run();
        let may_fail = turn == Turn::RestoreThatFailsItsCheck;
        assert!(recovered.code == Some(0) || (may_fail && recovered.code == Some(2)), "{at}, {step}: {recovered:?}");
        is_clean(&ruined, &at);
        assert!(!stopped.exists(), "{at}, {step}: the application does not run");
        if ruined.databases().len() > 12 {
            drop_old().run().code(0);
        }
    }
    drop_old().run().code(0);
    assert_eq!(ruined.databases(), ["app"]);
    seen
}

/// The OIDs of all databases but those that are being loaded.
fn kept(ruined: &Ruined) -> BTreeSet<String> {
    let oids = ruined.pg().sql("SELECT oid FROM pg_database WHERE datname !~ '_nightshift_'");
    oids.lines().map(str::to_owned).collect()
}

/// Nothing is unfinished, and every database that is there is live or on record as put aside.
#[track_caller]
fn is_clean(ruined: &Ruined, at: &str) {
    let state = ruined.state();
    assert_eq!(state["run"], serde_json::Value::Null, "{at}");
    let aside = state["aside"].as_array().unwrap().iter().map(|aside| aside["name"].as_str().unwrap());
    let mut expected: Vec<_> = aside.map(|name| format!("{name} closed")).chain(["app".to_owned()]).collect();
    expected.sort();
    assert_eq!(ruined.databases(), expected, "{at}");
}

/// Anywhere in a run, and as often in its last third, where the swap is.
fn moment(random: &mut Random, usual: Duration) -> Duration {
    let micros = u64::try_from(usual.as_micros()).expect("a short time");
    let chosen = match random.below(2) {
        0 => random.below(micros),
        _ => micros * 65 / 100 + random.below(micros * 45 / 100),
    };
    Duration::from_micros(chosen)
}

#[test]
fn twenty_kills_at_random_moments_lose_nothing() {
    let seen = kill_at_random(20, seed());

    assert!(seen.killed > 0, "{seen:?}");
}
