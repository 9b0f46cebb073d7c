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
//! - A night without a backup uses nothing up. Ages are measured from the newest backup and not from now, and an
//!   hour, day or week counts only if it has a backup. So when a machine comes back after six weeks, or when
//!   backups have been failing for six weeks, `--keep 30d` still finds its 30 days.
//! - A pin is beside the rules: a pinned backup stays and takes the place of no other in any rule. Pins come and
//!   go (a backup is pinned while it is being restored), and none may cost another backup its place.

use std::cmp::Reverse;
use std::time::Duration;

use common::units::{self, Stamp};

/// How far ahead of our clock a backup may be. A drifting clock is no attack; a label of the year 9999 is one,
/// or a mistake, and must not make all real backups look old (THREATS B5).
pub const CLOCK_SLACK: Duration = Duration::from_secs(3600);

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
}

impl Candidate {
    /// Whether it is so far ahead of the clock that it is never counted, picked or deleted.
    pub fn is_from_the_future(&self, now: Stamp) -> bool {
        self.at > now.saturating_add(CLOCK_SLACK)
    }

    /// Why no rule counts it; empty if they do.
    fn objections(&self, now: Stamp) -> Vec<String> {
        let mut objections = Vec::new();
        match &self.state {
            State::Complete => {}
            State::Incomplete(why) => objections.push(format!("incomplete, not counted: {why}")),
        }
        if self.is_from_the_future(now) {
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
    newest_first
        .into_iter()
        .map(|candidate| {
            let mut reasons = candidate.objections(now);
            if reasons.is_empty() {
                reasons = rules.wanting(candidate);
            }
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
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    const NOW: &str = "2026-11-20T12:00:00Z";
    const DAY: Duration = Duration::from_secs(86_400);

    fn at(text: &str) -> Stamp {
        Stamp::parse_rfc3339(text).expect("a time in a test")
    }

    fn labelled(label: impl Into<String>, at: Stamp) -> Candidate {
        Candidate { label: label.into(), at, state: State::Complete, proven: false, pinned: false }
    }

    /// A complete backup, labelled by its time: `2026-11-20T02`.
    fn backup(hour: &str) -> Candidate {
        labelled(hour, at(&format!("{hour}:00:00Z")))
    }

    impl Candidate {
        fn proven(self) -> Candidate {
            Candidate { proven: true, ..self }
        }

        fn pinned(self) -> Candidate {
            Candidate { pinned: true, ..self }
        }

        fn incomplete(self, why: &str) -> Candidate {
            Candidate { state: State::Incomplete(why.to_owned()), ..self }
        }
    }

    /// One backup a night at two o'clock, the newest `nights` before 2026-11-20.
    fn nightly(nights: u32) -> Vec<Candidate> {
        let newest = at("2026-11-20T02:00:00Z");
        (0..nights).map(|n| newest.saturating_sub(DAY * n)).map(|at| labelled(&at.rfc3339()[..13], at)).collect()
    }

    fn kept(decisions: &[Decision]) -> Vec<&str> {
        decisions.iter().filter(|d| d.keep).map(|d| d.label.as_str()).collect()
    }

    fn dropped(decisions: &[Decision]) -> BTreeSet<String> {
        decisions.iter().filter(|d| !d.keep).map(|d| d.label.clone()).collect()
    }

    /// What a dry run shows: a line for each backup.
    fn told(decisions: &[Decision]) -> Vec<String> {
        decisions
            .iter()
            .map(|d| format!("{} {} {}", if d.keep { "keep" } else { "drop" }, d.label, d.reasons.join(", ")))
            .collect()
    }

    #[test]
    fn without_any_rule_everything_stays() {
        let keep = Keep::default();

        let decisions = decide(&nightly(2), &keep, at(NOW));

        assert!(keep.is_unlimited());
        assert_eq!(
            told(&decisions),
            ["keep 2026-11-20T02 newest complete, nothing is to expire", "keep 2026-11-19T02 nothing is to expire"]
        );
    }

    #[test]
    fn the_newest_backup_stays_even_when_no_rule_wants_it() {
        let candidates = [backup("2026-11-20T02"), backup("2026-11-19T02").pinned(), backup("2026-11-18T02")];
        let keep = Keep { within: Some(Duration::ZERO), ..Keep::default() };

        let decisions = decide(&candidates, &keep, at(NOW));

        assert_eq!(
            told(&decisions),
            [
                "keep 2026-11-20T02 newest complete, within 0s",
                "keep 2026-11-19T02 pinned",
                "drop 2026-11-18T02 no rule keeps it",
            ]
        );
    }

    #[test]
    fn the_newest_proven_backup_stays_even_when_no_rule_wants_it() {
        let candidates = [
            backup("2026-11-20T02"),
            backup("2026-11-19T02"),
            backup("2026-11-18T02").proven(),
            backup("2026-11-17T02").proven(),
        ];

        let decisions = decide(&candidates, &Keep { last: 1, ..Keep::default() }, at(NOW));

        assert_eq!(
            told(&decisions),
            [
                "keep 2026-11-20T02 newest complete, last 1: 1st",
                "drop 2026-11-19T02 no rule keeps it",
                "keep 2026-11-18T02 newest proven",
                "drop 2026-11-17T02 no rule keeps it",
            ]
        );
    }

    #[test]
    fn last_keeps_so_many_and_says_which_each_is() {
        let decisions = decide(&nightly(5), &Keep { last: 3, ..Keep::default() }, at(NOW));

        assert_eq!(
            told(&decisions),
            [
                "keep 2026-11-20T02 newest complete, last 3: 1st",
                "keep 2026-11-19T02 last 3: 2nd",
                "keep 2026-11-18T02 last 3: 3rd",
                "drop 2026-11-17T02 no rule keeps it",
                "drop 2026-11-16T02 no rule keeps it",
            ]
        );
    }

    #[test]
    fn ordinals_are_written_as_in_english() {
        let all = [1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 101, 111, 112].map(ordinal);

        assert_eq!(
            all,
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "101st", "111th", "112th"]
        );
    }

    #[test]
    fn hourly_keeps_the_newest_of_each_hour() {
        let candidates = [
            labelled("b", at("2026-11-20T02:50:00Z")),
            labelled("a", at("2026-11-20T02:10:00Z")),
            labelled("z", at("2026-11-20T01:59:59Z")),
        ];

        let decisions = decide(&candidates, &Keep { hourly: 2, ..Keep::default() }, at(NOW));

        assert_eq!(
            told(&decisions),
            [
                "keep b newest complete, hourly 2: 2026-11-20T02",
                "drop a no rule keeps it",
                "keep z hourly 2: 2026-11-20T01",
            ]
        );
    }

    #[test]
    fn daily_keeps_the_newest_of_each_day_in_utc() {
        let candidates = [
            backup("2026-11-20T23"),
            backup("2026-11-20T00"),
            backup("2026-11-19T23"),
            backup("2026-11-19T01"),
            backup("2026-11-18T02"),
        ];

        let decisions = decide(&candidates, &Keep { daily: 2, ..Keep::default() }, at("2026-11-21T00:00:00Z"));

        assert_eq!(
            told(&decisions),
            [
                "keep 2026-11-20T23 newest complete, daily 2: 2026-11-20",
                "drop 2026-11-20T00 no rule keeps it",
                "keep 2026-11-19T23 daily 2: 2026-11-19",
                "drop 2026-11-19T01 no rule keeps it",
                "drop 2026-11-18T02 no rule keeps it",
            ]
        );
    }

    #[test]
    fn weekly_counts_iso_weeks_across_the_turn_of_the_year() {
        let candidates = [
            backup("2027-01-04T02"), // Monday
            backup("2027-01-03T02"),
            backup("2026-12-28T02"),
            backup("2026-12-27T02"),
        ];

        let decisions = decide(&candidates, &Keep { weekly: 3, ..Keep::default() }, at("2027-01-05T00:00:00Z"));

        assert_eq!(
            told(&decisions),
            [
                "keep 2027-01-04T02 newest complete, weekly 3: 2027-W01",
                "keep 2027-01-03T02 weekly 3: 2026-W53",
                "drop 2026-12-28T02 no rule keeps it",
                "keep 2026-12-27T02 weekly 3: 2026-W52",
            ]
        );
    }

    #[test]
    fn monthly_and_yearly_add_up() {
        let candidates = [
            backup("2026-11-20T02"),
            backup("2026-11-01T02"),
            backup("2026-10-31T02"),
            backup("2025-11-30T02"),
            backup("2024-12-31T02"),
        ];
        let keep = Keep { monthly: 2, yearly: 2, ..Keep::default() };

        let decisions = decide(&candidates, &keep, at(NOW));

        assert_eq!(
            told(&decisions),
            [
                "keep 2026-11-20T02 newest complete, monthly 2: 2026-11, yearly 2: 2026",
                "drop 2026-11-01T02 no rule keeps it",
                "keep 2026-10-31T02 monthly 2: 2026-10",
                "keep 2025-11-30T02 yearly 2: 2025",
                "drop 2024-12-31T02 no rule keeps it",
            ]
        );
    }

    #[test]
    fn nights_without_a_backup_use_no_day_up() {
        let candidates = [backup("2026-11-20T02"), backup("2026-10-01T02"), backup("2026-09-30T02")];

        let decisions = decide(&candidates, &Keep { daily: 2, ..Keep::default() }, at(NOW));

        assert_eq!(kept(&decisions), ["2026-11-20T02", "2026-10-01T02"]);
    }

    #[test]
    fn a_machine_that_was_away_for_weeks_finds_its_backups_again() {
        let keep = Keep { within: Some(DAY * 30), ..Keep::default() };

        let decisions = decide(&nightly(40), &keep, at("2027-02-01T12:00:00Z"));

        assert_eq!(kept(&decisions).len(), 31);
        assert_eq!(told(&decisions)[30], "keep 2026-10-21T02 within 30d");
        assert_eq!(told(&decisions)[31], "drop 2026-10-20T02 no rule keeps it");
    }

    #[test]
    fn age_is_not_measured_from_a_damaged_backup() {
        let candidates = [
            backup("2026-11-20T02").incomplete("archive is missing"),
            backup("2026-10-01T02"),
            backup("2026-09-30T02"),
        ];
        let keep = Keep { within: Some(DAY * 7), ..Keep::default() };

        let decisions = decide(&candidates, &keep, at(NOW));

        assert_eq!(
            told(&decisions),
            [
                "keep 2026-11-20T02 incomplete, not counted: archive is missing",
                "keep 2026-10-01T02 newest complete, within 7d",
                "keep 2026-09-30T02 within 7d",
            ]
        );
    }

    #[test]
    fn a_damaged_backup_stays_and_takes_no_place() {
        let candidates = [
            backup("2026-11-20T02").incomplete("archive is cut off").proven(),
            backup("2026-11-19T02"),
            backup("2026-11-18T02"),
            backup("2026-11-17T02").incomplete("archive is missing").pinned(),
        ];
        let keep = Keep { last: 1, daily: 1, ..Keep::default() };

        let decisions = decide(&candidates, &keep, at(NOW));

        assert_eq!(
            told(&decisions),
            [
                "keep 2026-11-20T02 incomplete, not counted: archive is cut off",
                "keep 2026-11-19T02 newest complete, last 1: 1st, daily 1: 2026-11-19",
                "drop 2026-11-18T02 no rule keeps it",
                "keep 2026-11-17T02 incomplete, not counted: archive is missing, pinned",
            ]
        );
    }

    #[test]
    fn a_backup_of_the_year_9999_pushes_no_real_one_out() {
        let candidates = [
            labelled("forged", Stamp::MAX).proven(),
            labelled("forged too", Stamp::MAX).incomplete("unsigned"),
            backup("2026-11-20T02").proven(),
            backup("2026-11-19T02"),
        ];

        let decisions = decide(&candidates, &Keep { last: 1, ..Keep::default() }, at(NOW));

        assert_eq!(
            told(&decisions),
            [
                "keep forged too incomplete, not counted: unsigned, in the future, not counted",
                "keep forged in the future, not counted",
                "keep 2026-11-20T02 newest complete, newest proven, last 1: 1st",
                "drop 2026-11-19T02 no rule keeps it",
            ]
        );
    }

    #[test]
    fn a_clock_that_drifts_by_up_to_an_hour_is_no_future() {
        let candidates = [
            labelled("an hour and a second", at("2026-11-20T13:00:01Z")),
            labelled("an hour", at("2026-11-20T13:00:00Z")),
        ];

        let decisions = decide(&candidates, &Keep { last: 1, ..Keep::default() }, at(NOW));

        assert_eq!(
            told(&decisions),
            ["keep an hour and a second in the future, not counted", "keep an hour newest complete, last 1: 1st"]
        );
    }

    #[test]
    fn a_clock_that_is_set_back_drops_nothing() {
        let decisions = decide(&nightly(9), &Keep { last: 1, ..Keep::default() }, Stamp::MIN);

        assert_eq!(kept(&decisions).len(), 9);
    }

    #[test]
    fn a_pinned_backup_takes_no_place_in_any_rule() {
        let candidates = [
            backup("2026-11-20T02").pinned(),
            backup("2026-11-20T01"),
            backup("2026-11-19T02").pinned(),
            backup("2026-11-18T02"),
            backup("2026-11-17T02"),
        ];
        let keep = Keep { last: 1, daily: 2, ..Keep::default() };

        let decisions = decide(&candidates, &keep, at(NOW));

        assert_eq!(
            told(&decisions),
            [
                "keep 2026-11-20T02 newest complete, pinned",
                "keep 2026-11-20T01 last 1: 1st, daily 2: 2026-11-20",
                "keep 2026-11-19T02 pinned",
                "keep 2026-11-18T02 daily 2: 2026-11-18",
                "drop 2026-11-17T02 no rule keeps it",
            ]
        );
    }

    #[test]
    fn backups_of_the_same_second_are_decided_by_label() {
        let moment = at("2026-11-20T02:00:00Z");
        let candidates = [labelled("a", moment), labelled("c", moment), labelled("b", moment)];

        let decisions = decide(&candidates, &Keep { last: 2, ..Keep::default() }, at(NOW));

        assert_eq!(
            told(&decisions),
            ["keep c newest complete, last 2: 1st", "keep b last 2: 2nd", "drop a no rule keeps it"]
        );
    }

    #[test]
    fn of_no_backups_nothing_is_decided() {
        assert_eq!(decide(&[], &Keep { last: 1, ..Keep::default() }, at(NOW)), []);
    }

    /// Up to 40 backups of the last 500 days, often in the same hour, sometimes damaged, pinned or of tomorrow.
    fn any_candidates() -> impl Strategy<Value = Vec<Candidate>> {
        let one = (
            prop_oneof![8 => 0..12_000_u32, 8 => 0..72_u32],
            prop_oneof![9 => Just(0_u32), 1 => 1..10_000_000_u32],
            any::<bool>(),
            prop::bool::weighted(0.2),
            prop::bool::weighted(0.2),
        );
        prop::collection::vec(one, 0..40).prop_map(|all| {
            let numbered = all.into_iter().enumerate();
            numbered
                .map(|(n, (hours_ago, hours_ahead, proven, pinned, incomplete))| Candidate {
                    label: format!("app-{:02}", (n * 7) % 40),
                    at: at(NOW)
                        .saturating_sub(Duration::from_secs(3600) * hours_ago)
                        .saturating_add(Duration::from_secs(3600) * hours_ahead),
                    state: if incomplete { State::Incomplete("damaged".to_owned()) } else { State::Complete },
                    proven,
                    pinned,
                })
                .collect()
        })
    }

    fn any_keep() -> impl Strategy<Value = Keep> {
        let within = prop::option::of((0..100_u32).prop_map(|days| DAY * days));
        (within, 0..6_u32, 0..6_u32, 0..6_u32, 0..4_u32, 0..4_u32, 0..3_u32).prop_map(
            |(within, last, hourly, daily, weekly, monthly, yearly)| Keep {
                within,
                last,
                hourly,
                daily,
                weekly,
                monthly,
                yearly,
            },
        )
    }

    fn countable(candidates: &[Candidate]) -> impl Iterator<Item = &Candidate> {
        let latest = at("2026-11-20T13:00:00Z");
        candidates.iter().filter(move |c| c.state == State::Complete && c.at <= latest)
    }

    fn newest<'a>(candidates: impl Iterator<Item = &'a Candidate>) -> Option<&'a str> {
        candidates.max_by_key(|c| (c.at, &c.label)).map(|c| c.label.as_str())
    }

    proptest! {
        #[test]
        fn what_must_stay_always_stays(candidates in any_candidates(), keep in any_keep()) {
            let decisions = decide(&candidates, &keep, at(NOW));

            let dropped = dropped(&decisions);
            let may_be_dropped: BTreeSet<String> = countable(&candidates)
                .filter(|c| !c.pinned)
                .filter(|c| newest(countable(&candidates)) != Some(&c.label))
                .filter(|c| newest(countable(&candidates).filter(|c| c.proven)) != Some(&c.label))
                .map(|c| c.label.clone())
                .collect();
            prop_assert!(dropped.is_subset(&may_be_dropped), "{dropped:?}");
        }

        #[test]
        fn every_candidate_gets_one_decision_with_a_reason(candidates in any_candidates(), keep in any_keep()) {
            let decisions = decide(&candidates, &keep, at(NOW));

            let of: BTreeSet<_> = decisions.iter().map(|d| &d.label).collect();
            prop_assert_eq!(of, candidates.iter().map(|c| &c.label).collect());
            prop_assert_eq!(decisions.len(), candidates.len());
            for decision in decisions {
                prop_assert_eq!(decision.keep, decision.reasons != ["no rule keeps it"]);
                prop_assert!(!decision.reasons.is_empty());
            }
        }

        #[test]
        fn asking_for_more_never_drops_more(
            candidates in any_candidates(),
            keep in any_keep().prop_filter("from keeping everything, a rule does drop", |keep| !keep.is_unlimited()),
            more in any_keep(),
        ) {
            let both = Keep {
                within: keep.within.max(more.within),
                last: keep.last + more.last,
                hourly: keep.hourly + more.hourly,
                daily: keep.daily + more.daily,
                weekly: keep.weekly + more.weekly,
                monthly: keep.monthly + more.monthly,
                yearly: keep.yearly + more.yearly,
            };

            let less = dropped(&decide(&candidates, &both, at(NOW)));

            prop_assert!(less.is_subset(&dropped(&decide(&candidates, &keep, at(NOW)))));
        }

        #[test]
        fn deciding_again_drops_nothing_more(candidates in any_candidates(), keep in any_keep()) {
            let decisions = decide(&candidates, &keep, at(NOW));
            let kept = kept(&decisions);
            let survivors: Vec<_> = candidates.into_iter().filter(|c| kept.contains(&c.label.as_str())).collect();

            let again = decide(&survivors, &keep, at(NOW));

            let stayed: Vec<_> = decisions.iter().filter(|d| d.keep).cloned().collect();
            prop_assert_eq!(again, stayed);
        }

        #[test]
        fn the_order_of_the_candidates_does_not_matter(
            (candidates, shuffled) in any_candidates().prop_flat_map(|c| (Just(c.clone()), Just(c).prop_shuffle())),
            keep in any_keep(),
        ) {
            prop_assert_eq!(decide(&candidates, &keep, at(NOW)), decide(&shuffled, &keep, at(NOW)));
        }

        #[test]
        fn without_a_rule_nothing_is_dropped(candidates in any_candidates()) {
            prop_assert!(dropped(&decide(&candidates, &Keep::default(), at(NOW))).is_empty());
        }

        #[test]
        fn time_alone_drops_nothing(candidates in any_candidates(), keep in any_keep(), days in 0..10_000_u32) {
            let past: Vec<_> = candidates.into_iter().filter(|c| c.at <= at(NOW)).collect();

            let later = decide(&past, &keep, at(NOW).saturating_add(DAY * days));

            prop_assert_eq!(later, decide(&past, &keep, at(NOW)));
        }

        #[test]
        fn pinning_one_drops_no_other(candidates in any_candidates(), keep in any_keep(), n in any::<prop::sample::Index>()) {
            prop_assume!(!candidates.is_empty());
            let mut pinned = candidates.clone();
            pinned[n.index(candidates.len())].pinned = true;

            let after = dropped(&decide(&pinned, &keep, at(NOW)));

            prop_assert!(after.is_subset(&dropped(&decide(&candidates, &keep, at(NOW)))));
        }

        #[test]
        fn what_is_not_counted_changes_nothing_for_the_others(candidates in any_candidates(), keep in any_keep()) {
            let good: Vec<_> = countable(&candidates).cloned().collect();

            let with = dropped(&decide(&candidates, &keep, at(NOW)));

            prop_assert_eq!(with, dropped(&decide(&good, &keep, at(NOW))));
        }

        #[test]
        fn daily_on_nightly_backups_keeps_as_many_as_asked(nights in 1..60_u32, daily in 1..90_u32) {
            let decisions = decide(&nightly(nights), &Keep { daily, ..Keep::default() }, at(NOW));

            prop_assert_eq!(kept(&decisions).len(), nights.min(daily) as usize);
        }

        #[test]
        fn daily_keeps_the_newest_of_the_newest_days(candidates in any_candidates(), daily in 1..9_usize) {
            let mut days: BTreeMap<String, Vec<&Candidate>> = BTreeMap::new();
            for candidate in countable(&candidates).filter(|c| !c.pinned) {
                days.entry(candidate.at.rfc3339()[..10].to_owned()).or_default().push(candidate);
            }
            let expected: BTreeSet<_> =
                days.values().rev().take(daily).filter_map(|day| newest(day.iter().copied())).collect();

            let decisions = decide(&candidates, &Keep { daily: daily as u32, ..Keep::default() }, at(NOW));

            let by_rule = |d: &&Decision| d.reasons.iter().any(|r| r.starts_with("daily "));
            let daily: BTreeSet<_> = decisions.iter().filter(by_rule).map(|d| d.label.as_str()).collect();
            prop_assert_eq!(daily, expected);
        }
    }
}
