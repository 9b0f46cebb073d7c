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
    let candidates =
        [backup("2026-11-20T02").incomplete("archive is missing"), backup("2026-10-01T02"), backup("2026-09-30T02")];
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
    let candidates =
        [labelled("an hour and a second", at("2026-11-20T13:00:01Z")), labelled("an hour", at("2026-11-20T13:00:00Z"))];

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
#[test]
fn nights_with_a_wrong_source_push_no_good_backup_out() {
    let mut nights = nightly(6);
    for night in &mut nights[1..4] {
        night.state = State::Suspect;
    }

    let decisions = decide(&nights, &Keep { last: 3, ..Keep::default() }, at(NOW));

    assert_eq!(dropped(&decisions), BTreeSet::new(), "one good night, three wrong ones, two good ones");
}

#[test]
fn a_wrong_night_goes_when_all_good_ones_before_it_have_gone() {
    let mut nights = nightly(6);
    nights[4].state = State::Suspect;

    let decisions = decide(&nights, &Keep { last: 3, ..Keep::default() }, at(NOW));

    assert_eq!(kept(&decisions), ["2026-11-20T02", "2026-11-19T02", "2026-11-18T02"]);
}

#[test]
fn nothing_but_wrong_nights_all_stay() {
    let mut nights = nightly(4);
    for night in &mut nights {
        night.state = State::Suspect;
    }

    assert_eq!(dropped(&decide(&nights, &Keep { last: 1, ..Keep::default() }, at(NOW))), BTreeSet::new());
}

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
