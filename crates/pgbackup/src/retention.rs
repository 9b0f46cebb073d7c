//! Says which backups stay and why; `expire` carries it out, `--dry-run` prints it.
//!
//! ```text
//! candidates (one cluster, one database) + Keep + now -> Decision for each, newest first
//! ```
//!
//! Pure: no clock, no files. The caller groups the catalog, holds back when the source has changed, and makes
//! Items of what is damaged or comes from the future.
//!
//! - A backup goes only if all rules agree that nothing wants it. Each rule adds, none takes away.
//! - Only complete backups are counted. A damaged one must not push a good one out, and is not deleted either:
//!   it may be all that is left, and somebody has to look at it.
//! - The newest complete and the newest proven one stay, whatever the rules say.
//! - Time alone takes nothing away. Ages are measured from the newest backup and not from now, and an hour, day or
//!   week counts only if it has a backup. So while backups fail for six weeks, all 30 days of `--keep 30d` stay; the
//!   first new one then makes them old, and `--keep-last 7` beside it holds seven of them all the same.
//! - A pin is beside the rules: a pinned backup stays and takes the place of no other in any rule. Pins come and
//!   go (a backup is pinned while it is being restored), and none may cost another backup its place.

use std::cmp::Reverse;
use std::time::Duration;

use common::backup::catalog::is_from_the_future;
use common::units::{self, Stamp};

/// What the operator asked to keep, counted over complete backups; nothing asked keeps everything.
///
/// The rules add up: `last: 3, daily: 7` keeps what either wants. A rule of 0 wants nothing.
#[derive(Default, Clone, Debug)]
pub struct Keep {
    /// All that are at most this much older than the newest complete one.
    pub within: Option<Duration>,
    /// The newest N.
    pub last: u32,
    /// The newest of each of the last N hours that have one. As all calendar rules: in UTC.
    pub hourly: u32,
    /// The newest of each of the last N days that have one.
    pub daily: u32,
    /// The newest of each of the last N ISO weeks (from Monday on) that have one.
    pub weekly: u32,
    /// The newest of each of the last N months that have one.
    pub monthly: u32,
    /// The newest of each of the last N years that have one.
    pub yearly: u32,
}

impl Keep {
    /// Whether nothing was asked for, so that nothing may go.
    pub fn is_unlimited(&self) -> bool {
        let Keep { within, last, hourly, daily, weekly, monthly, yearly } = self;
        within.is_none() && [last, hourly, daily, weekly, monthly, yearly].iter().all(|n| **n == 0)
    }
}

/// One backup of one cluster and database, as retention sees it.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Its name, which no other candidate has.
    pub label: String,
    /// When its snapshot was taken.
    pub at: Stamp,
    /// Whether all of it is there.
    pub state: State,
    /// Whether it has been restored and compared.
    pub proven: bool,
    /// Whether the operator, or a restore that is running, holds on to it.
    pub pinned: bool,
}

/// Whether a backup can be counted on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Manifest and archive are there and belong together.
    Complete,
    /// Not so, and why: `archive is missing`.
    Incomplete(String),
    /// Whole, but made of a source that looked like another one and was never accepted. It must not push out the
    /// backups of the right source; it goes when they have all gone that are older.
    Suspect,
}

impl Candidate {
    /// Why no rule counts it; empty if they do.
    fn objections(&self, now: Stamp) -> Vec<String> {
        let mut objections = Vec::new();
        match &self.state {
            State::Complete | State::Suspect => {}
            State::Incomplete(why) => objections.push(format!("incomplete, not counted: {why}")),
        }
        if is_from_the_future(self.at, now) {
            objections.push("in the future, not counted".to_owned());
        }
        objections
    }
}

/// What is to become of one backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The candidate's label.
    pub label: String,
    /// False: expire it.
    pub keep: bool,
    /// All that speaks for keeping it, or the one reason that it goes; never empty.
    pub reasons: Vec<String>,
}

/// Decides about every candidate; newest first, and by label from the end where times are equal.
///
/// Deciding again about those that stayed drops nothing more.
pub fn decide(candidates: &[Candidate], keep: &Keep, now: Stamp) -> Vec<Decision> {
    let mut newest_first: Vec<&Candidate> = candidates.iter().collect();
    newest_first.sort_by_key(|candidate| Reverse((candidate.at, &candidate.label)));

    let mut rules = Rules::new(keep);
    let mut wanted: Vec<_> = newest_first
        .iter()
        .map(|candidate| {
            let objections = candidate.objections(now);
            if objections.is_empty() && candidate.state == State::Complete {
                return rules.wanting(candidate);
            }
            objections
        })
        .collect();
    tolerate_suspects(&newest_first, &mut wanted);
    newest_first
        .into_iter()
        .zip(wanted)
        .map(|(candidate, mut reasons)| {
            if candidate.pinned {
                reasons.push("pinned".to_owned());
            }
            let keep = !reasons.is_empty();
            if !keep {
                reasons.push("no rule keeps it".to_owned());
            }
            Decision { label: candidate.label.clone(), keep, reasons }
        })
        .collect()
}

/// A suspect stays as long as a backup that is counted, is older, and stays for more than a pin.
fn tolerate_suspects(newest_first: &[&Candidate], wanted: &mut [Vec<String>]) {
    let is_counted = |place: &usize| newest_first[*place].state == State::Complete;
    let counted = || (0..newest_first.len()).filter(is_counted);
    let oldest = counted().rfind(|place| !wanted[*place].is_empty());
    let places: Vec<_> = (0..newest_first.len())
        .filter(|place| newest_first[*place].state == State::Suspect && wanted[*place].is_empty())
        .filter(|place| counted().next().is_none() || oldest.is_some_and(|oldest| *place < oldest))
        .collect();
    for place in places {
        wanted[place].push("its source looked like another one, not counted".to_owned());
    }
}

/// The rules on their way from the newest backup to the oldest.
struct Rules<'a> {
    keep: &'a Keep,
    newest: Option<Stamp>,
    has_proven: bool,
    last_used: u32,
    calendar: [CalendarRule; 5],
}

impl<'a> Rules<'a> {
    fn new(keep: &'a Keep) -> Rules<'a> {
        Rules {
            keep,
            newest: None,
            has_proven: false,
            last_used: 0,
            calendar: [
                CalendarRule::new(Period::Hour, keep.hourly),
                CalendarRule::new(Period::Day, keep.daily),
                CalendarRule::new(Period::Week, keep.weekly),
                CalendarRule::new(Period::Month, keep.monthly),
                CalendarRule::new(Period::Year, keep.yearly),
            ],
        }
    }

    /// The rules that want this backup, which is older than all those asked about before, and may be counted.
    fn wanting(&mut self, candidate: &Candidate) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.newest.is_none() {
            reasons.push("newest complete".to_owned());
        }
        if candidate.proven && !self.has_proven {
            self.has_proven = true;
            reasons.push("newest proven".to_owned());
        }
        if self.keep.is_unlimited() {
            reasons.push("nothing is to expire".to_owned());
        }
        let newest = *self.newest.get_or_insert(candidate.at);
        if let Some(within) = self.keep.within
            && newest.since(candidate.at) <= within
        {
            reasons.push(format!("within {}", units::duration(within)));
        }
        if !candidate.pinned {
            reasons.extend(self.last());
            reasons.extend(self.calendar.iter_mut().filter_map(|rule| rule.wanting(candidate.at)));
        }
        reasons
    }

    fn last(&mut self) -> Option<String> {
        if self.last_used == self.keep.last {
            return None;
        }
        self.last_used += 1;
        Some(format!("last {}: {}", self.keep.last, ordinal(self.last_used)))
    }
}

/// Keeps the newest backup of each period, for as many periods as were asked for.
///
/// As restic does it, except that restic also keeps the very oldest backup while there are too few periods.
struct CalendarRule {
    period: Period,
    wanted: u32,
    used: u32,
    current: Option<String>,
}

#[derive(Clone, Copy)]
enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl CalendarRule {
    fn new(period: Period, wanted: u32) -> CalendarRule {
        CalendarRule { period, wanted, used: 0, current: None }
    }

    fn wanting(&mut self, at: Stamp) -> Option<String> {
        let current = Some(self.period.holding(at));
        if self.used == self.wanted || self.current == current {
            return None;
        }
        self.used += 1;
        self.current = current;
        Some(format!("{} {}: {}", self.period.rule(), self.wanted, self.period.holding(at)))
    }
}

impl Period {
    fn rule(self) -> &'static str {
        match self {
            Period::Hour => "hourly",
            Period::Day => "daily",
            Period::Week => "weekly",
            Period::Month => "monthly",
            Period::Year => "yearly",
        }
    }

    /// The name of the period that a time is in: `2026-11-20T02`, `2026-11-20`, `2026-W47`, `2026-11`, `2026`.
    fn holding(self, at: Stamp) -> String {
        let first = |chars| at.rfc3339().chars().take(chars).collect();
        match self {
            Period::Hour => first(13),
            Period::Day => first(10),
            Period::Week => at.iso_week(),
            Period::Month => first(7),
            Period::Year => first(4),
        }
    }
}

fn ordinal(n: u32) -> String {
    let suffix = match (n % 10, n % 100) {
        (1..=3, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
