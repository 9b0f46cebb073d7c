//! Killed at any instant, a run leaves no bad backup and takes away none; the next run sweeps.

use crate::place::{FAILPOINT, Place, days, names_in, strays};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// What retention keeps in these tests.
const KEPT: usize = 2;

/// Every place between two stages that the sources name: none is forgotten when one is added.
fn failpoints() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for directory in ["crates/pgbackup/src", "crates/common/src/backup"] {
        for entry in fs::read_dir(harness::workspace().join(directory)).unwrap().flatten() {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let ends = text.split("failpoint!(\"").skip(1);
            names.extend(ends.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    assert!(names.len() >= 12, "{names:?}");
    names
}

/// A place with three backups: two that `--keep-last 2` removes after the next one, and one that it keeps.
fn with_earlier_backups() -> Place {
    let place = Place::new();
    start_over(&place);
    place
}

/// The same three in an emptied directory: quicker than another server.
fn start_over(place: &Place) {
    for name in names_in(&place.backups()) {
        fs::remove_file(place.backups().join(name)).unwrap();
    }
    let made = place.back_up();
    place.age(&made, days(30));
    place.age(&made, days(20));
}

/// Compares the labels before and after a run that may have been killed: what is gone was for retention to take, and
/// it takes nothing before the new backup is there.
#[track_caller]
pub fn nothing_is_missing(before: &[String], after: &[String], kept: usize) {
    let is_new = after.iter().any(|label| !before.contains(label));
    let all: BTreeSet<_> = before.iter().chain(after).collect();
    let needed = if is_new { all.len().saturating_sub(kept) } else { 0 };
    for label in all.iter().skip(needed) {
        assert!(after.contains(label), "{label} is gone; before {before:?}, after {after:?}");
    }
}

#[test]
fn killed_between_any_two_stages_a_run_leaves_only_good_backups_and_the_next_one_sweeps() {
    let place = Place::new();
    for name in failpoints() {
        start_over(&place);
        let before = place.labels();
        let run = || place.pgbackup().args(["--keep-last", "2", "app"]);

        run().env(FAILPOINT, format!("{name}=kill")).run().stdout_is("").stderr_is("").signalled(9);

        place.is_good();
        nothing_is_missing(&before, &place.labels(), KEPT);
        run().run().stderr_is("").code(0);
        assert_eq!(place.labels().len(), KEPT, "{name}");
        place.is_sound();
    }
}

#[test]
fn killed_while_it_sweeps_a_run_leaves_the_rest_to_the_next_one() {
    let place = Place::new();
    for first in ["archive-named", "all-but-manifest-named", "expire-uncommitted"] {
        start_over(&place);
        let run = || place.pgbackup().args(["--keep-last", "2", "app"]);
        run().env(FAILPOINT, format!("{first}=kill")).run().signalled(9);

        run().env(FAILPOINT, "expire-removed=kill").run().signalled(9);

        place.is_good();
        run().run().stderr_is("").code(0);
        assert_eq!(place.labels().len(), KEPT, "{first}");
        place.is_sound();
    }
}

#[test]
fn a_stage_that_fails_before_the_commit_leaves_nothing_and_says_why() {
    let after_commit = ["manifest-named", "expiring", "expire-uncommitted", "expire-removed"];
    let place = Place::new();
    for name in failpoints().iter().filter(|name| !after_commit.contains(&name.as_str())) {
        start_over(&place);
        let before = place.labels();

        place
            .pgbackup()
            .args(["--keep-last", "2", "app"])
            .env(FAILPOINT, format!("{name}=error"))
            .run()
            .stdout_is("")
            .stderr_has("pgbackup: error: app: ")
            .stderr_has(&format!("failpoint {name}\n"))
            .code(2);

        assert_eq!(place.labels(), before, "{name}");
        place.is_sound();
    }
}

#[test]
fn a_commit_that_may_not_be_durable_is_a_failure() {
    let place = with_earlier_backups();

    let run = place.pgbackup().args(["--keep-last", "2", "app"]).env(FAILPOINT, "manifest-named=error").run();

    run.stdout_is("").stderr_is("pgbackup: error: app: failpoint manifest-named\n").code(2);
    place.is_sound();
}

#[test]
fn an_expiry_that_fails_is_a_warning_because_the_backup_is_made() {
    let place = Place::new();
    for name in ["expiring", "expire-uncommitted", "expire-removed"] {
        start_over(&place);
        let run = || place.pgbackup().args(["--keep-last", "2", "app"]);

        let first = run().env(FAILPOINT, format!("{name}=error")).run();

        let first = first.stdout_has("backups/app-").stderr_has("pgbackup: warning: app: ").code(1);
        assert!(first.stderr_text().contains(&format!("failpoint {name}")), "{first:?}");
        place.is_good();
        run().run().stderr_is("").code(0);
        assert_eq!(place.labels().len(), KEPT, "{name}");
        place.is_sound();
    }
}

#[test]
fn what_a_killed_run_left_of_a_database_that_is_gone_is_swept_with_the_next_one() {
    let place = Place::new();
    place.pg.sql("CREATE DATABASE gone");
    place.pgbackup().arg("gone").env(FAILPOINT, "archive-named=kill").run().signalled(9);
    place.pg.sql("DROP DATABASE gone");
    assert!(strays(&place.backups()).iter().any(|name| name.starts_with(".gone-")));

    place.back_up();

    assert_eq!(place.labels().len(), 1);
    place.is_sound();
}

#[test]
fn files_of_somebody_else_with_names_like_ours_are_never_touched() {
    let place = with_earlier_backups();
    let outside = place.dir.join("outside");
    fs::write(&outside, "outside").unwrap();
    let theirs = place.backups();
    for name in [
        "app-20200101T000000Z.sql.gz",
        "app-20200102T000000Z.index.jsonl",
        "app-20200103T000000Z.sha256",
        "app-20200104T000000Z.manifest.json.old",
        "app.sql.gz",
        "app.manifest.json",
        "app-backup-of-tuesday.sql.gz",
        ".app.partial",
        ".app-20200105T000000Z.tar.partial",
        "app-20200106T000000Z",
        "README",
    ] {
        fs::write(theirs.join(name), name).unwrap();
    }
    fs::create_dir(theirs.join("app-20200107T000000Z.sql.gz")).unwrap();
    fs::write(theirs.join("app-20200107T000000Z.sql.gz/inside"), "inside").unwrap();
    symlink(&outside, theirs.join("app-20200108T000000Z.sql.gz")).unwrap();
    let before = contents(&theirs);
    let run = || place.pgbackup().args(["--keep-last", "1", "app"]);

    run().env(FAILPOINT, "archive-named=kill").run().signalled(9);
    run().env(FAILPOINT, "expire-uncommitted=kill").run().signalled(9);
    run().run().stderr_is("").code(0);

    let after = contents(&theirs);
    for (name, content) in before.iter().filter(|(name, _)| is_theirs(name)) {
        assert_eq!(after.get(name), Some(content), "{name}");
    }
    assert_eq!(strays(&theirs).len(), before.keys().filter(|name| is_theirs(name)).count());
    assert_eq!(place.labels().len(), 1);
    place.is_good();
}

fn is_theirs(name: &str) -> bool {
    !name.starts_with("app-2026") && !name.ends_with(".lock")
}

/// Every name in a directory, and what is behind it.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |name: &String| {
        let path = directory.join(name);
        let inside = if path.is_dir() { path.join("inside") } else { path };
        fs::read(inside).unwrap()
    };
    names_in(directory).into_iter().map(|name| (name.clone(), read(&name))).collect()
}

#[test]
fn thirty_kills_at_random_moments_do_no_harm() {
    let seen = kill_at_random(30, 3, seed());

    assert_eq!(seen.runs, 30);
    assert!(seen.killed > 0, "{seen:?}");
}

/// What happened to the runs of [`kill_at_random`].
#[derive(Debug, Default)]
pub struct Seen {
    /// Runs that were begun.
    pub runs: usize,
    /// Runs that ended by the kill.
    pub killed: usize,
    /// … and had committed their backup before.
    pub killed_after_commit: usize,
    /// … and had left something for the next run to sweep.
    pub left_something: usize,
    /// Runs that were quicker.
    pub finished: usize,
    /// Backups that were read back and found good, counted each time.
    pub read_back: usize,
}

/// Runs `pgbackup --keep-last KEPT` that often, kills each at a random moment, and checks after each that every listed
/// backup is good and that none is missing; at the end, that one more run leaves whole backups only.
pub fn kill_at_random(runs: usize, kept: usize, seed: u64) -> Seen {
    let place = Place::new();
    place.pg.sql_in(
        "app",
        "CREATE TABLE big AS SELECT n, md5(n::text) AS x FROM generate_series(1, 40000) AS n; \
         SELECT lo_from_bytea(0, 'large object')",
    );
    let kept_text = kept.to_string();
    let run = || place.pgbackup().args(["--threads", "2", "--keep-last", &kept_text, "app"]);
    let usual = run().run().code(0).wall;
    let mut random = Random(seed);
    let mut seen = Seen { runs, ..Seen::default() };
    for number in 0..runs {
        let before = place.labels();
        let running = run().spawn();
        std::thread::sleep(random.moment(usual));

        running.kill();

        let ran = running.wait();
        let after = place.labels();
        if ran.signal.is_some() {
            seen.killed += 1;
            seen.killed_after_commit += usize::from(after.iter().any(|label| !before.contains(label)));
            seen.left_something += usize::from(!strays(&place.backups()).is_empty());
        } else {
            assert_eq!(ran.code, Some(0), "run {number} of seed {seed}: {ran:?}");
            seen.finished += 1;
        }
        nothing_is_missing(&before, &after, kept);
        place.is_good();
        seen.read_back += after.len();
    }
    run().run().stderr_is("").code(0);
    assert_eq!(place.labels().len(), kept.min(seen.finished + seen.killed_after_commit + 2), "seed {seed}: {seen:?}");
    place.is_sound();
    seen
}

/// Another one each time; a failure prints it.
pub fn seed() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").subsec_nanos().into()
}

/// Numbers that look random. Source: G. Marsaglia, Xorshift RNGs (2003).
pub struct Random(pub u64);

impl Random {
    /// The next number below this one.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 |= 1;
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Anywhere in a run, and as often near its end, where names are given and old backups go.
    fn moment(&mut self, usual: Duration) -> Duration {
        let micros = u64::try_from(usual.as_micros()).expect("a short time");
        let chosen = match self.below(2) {
            0 => self.below(micros),
            _ => micros * 7 / 10 + self.below(micros * 4 / 10),
        };
        Duration::from_micros(chosen)
    }
}
