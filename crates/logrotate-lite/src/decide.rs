//! Whether a log is due: a pure function of its rules, its size and age, and of when it was rotated last.
//!
//! All dates are those of the clock on the wall: "daily" means another day of the calendar, not 24 hours.

use crate::config::{Every, Rules};
use common::units;
use jiff::civil::DateTime;
use jiff::{Unit, Zoned};
use std::time::Duration;

/// What is known of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its size in bytes.
    pub size: u64,
    /// When it was written to, in seconds since 1970.
    pub mtime: i64,
}

/// When it was rotated last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// At this time, by the state file.
    At(DateTime),
    /// The state file does not know it: it counts from now.
    New(DateTime),
}

impl Last {
    /// The date that counts.
    pub fn date(self) -> DateTime {
        match self {
            Self::At(date) | Self::New(date) => date,
        }
    }
}

/// Whether `-f` was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Force {
    /// Every log is due.
    Yes,
    /// The rules say which.
    No,
}

/// The decision, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether to rotate.
    pub due: bool,
    /// logrotate's own words, for `-v`.
    pub notes: Vec<String>,
    /// One sentence for people: "not due: rotated 3h ago, weekly".
    pub reason: String,
    /// What is odd: the last rotation lies in the future.
    pub trouble: Option<&'static str>,
}

impl Decision {
    fn due(reason: String) -> Self {
        Self { due: true, reason: format!("due: {reason}"), ..Self::default() }
    }

    fn not(mut self, note: &str, reason: &str) -> Self {
        self.due = false;
        self.notes.push(format!("  log does not need rotating ({note})"));
        self.reason = format!("not due: {reason}");
        self
    }
}

/// Decides on one log.
pub fn decide(rules: &Rules, look: Look, last: Last, now: &Zoned, force: Force) -> Decision {
    let mut decision = by_rule(rules, look, last, now, force);
    if decision.due && !rules.ifempty && look.size == 0 {
        decision = decision.not("log is empty", "it is empty");
    }
    if decision.due {
        decision.notes.push("  log needs rotating".to_owned());
    }
    decision
}

fn by_rule(rules: &Rules, look: Look, last: Last, now: &Zoned, force: Force) -> Decision {
    let is_large = rules.maxsize > 0 && look.size > rules.maxsize;
    if force == Force::Yes {
        return Decision::due("forced from the command line".to_owned());
    }
    if is_large {
        let sizes = (units::size(look.size), units::size(rules.maxsize));
        return Decision::due(format!("its {} are more than maxsize {}", sizes.0, sizes.1));
    }
    if let Every::Size(threshold) = rules.every {
        let sizes = (units::size(look.size), units::size(threshold));
        return match look.size >= threshold {
            true => Decision::due(format!("it has {}, size {}", sizes.0, sizes.1)),
            false => Decision::default()
                .not("log size is below the 'size' threshold", &format!("it has {}, size {}", sizes.0, sizes.1)),
        };
    }
    by_calendar(rules, look, last, now)
}

fn by_calendar(rules: &Rules, look: Look, last: Last, now: &Zoned) -> Decision {
    let (date, today) = (last.date(), now.datetime());
    // 25 hours allow for summer time and for a move to another zone.
    if seconds_between(today, date) > 25 * 3600 {
        let mut decision = Decision::due("its last rotation lies in the future".to_owned());
        decision.trouble = Some("last rotated in the future -- rotation forced");
        return decision;
    }
    let minute = |date: DateTime| (date.date(), date.hour(), date.minute());
    if minute(date) == minute(today) {
        return Decision::default().not("log has already been rotated", &rotated(rules, last, now));
    }
    let mut decision = match elapsed(rules.every, date, now) {
        None => Decision::due(rotated(rules, last, now)),
        Some(less) => {
            let at = date.strftime("%Y-%m-%d %H:%M").to_string();
            let at = at.strip_prefix('0').unwrap_or(&at);
            Decision::default()
                .not(&format!("log has been rotated at {at}, which is {less} ago"), &rotated(rules, last, now))
        }
    };
    if rules.minsize > 0 && look.size < rules.minsize {
        let note = "'minsize' directive is used and the log size is smaller than the minsize value";
        let sizes = (units::size(look.size), units::size(rules.minsize));
        decision = decision.not(note, &format!("it has {}, minsize {}", sizes.0, sizes.1));
    }
    let age = now.timestamp().as_second().saturating_sub(look.mtime);
    if rules.minage_days > 0 && i64::from(rules.minage_days) * 86_400 >= age {
        let note = "'minage' directive is used and the log age is smaller than the minage days";
        decision = decision.not(note, &format!("it was written to within minage {} days", rules.minage_days));
    }
    decision
}

/// `None` where the interval is over, else what it is "less than".
fn elapsed(every: Every, last: DateTime, now: &Zoned) -> Option<String> {
    let today = now.datetime();
    let days = || days_between(last, today);
    let (is_over, less) = match every {
        Every::Hour => ((last.date(), last.hour()) != (today.date(), today.hour()), "less than an hour".to_owned()),
        Every::Minutes(minutes) => {
            let seconds = seconds_between(last, today);
            (seconds / 60 > i64::from(minutes), format!("less than or equal {minutes} minutes"))
        }
        Every::Day => (last.date() != today.date(), "less than a day".to_owned()),
        Every::Week(weekday) => {
            let is_the_day = u8::try_from(today.weekday().to_sunday_zero_offset()) == Ok(weekday);
            (days() >= 7 || (days() >= 1 && is_the_day), "less than a week".to_owned())
        }
        Every::Month(0) => {
            ((last.year(), last.month()) != (today.year(), today.month()), "less than a month".to_owned())
        }
        Every::Month(day) => {
            let is_last = today.day() == today.date().days_in_month();
            let is_the_day = u8::try_from(today.day()) == Ok(day) || is_last;
            (days() >= 31 || (days() >= 1 && is_the_day), "less than a month".to_owned())
        }
        Every::Year => (last.year() != today.year(), "less than a year".to_owned()),
        Every::Size(_) => (false, "below its size".to_owned()),
    };
    (!is_over).then_some(less)
}

/// "rotated 3h ago, weekly".
fn rotated(rules: &Rules, last: Last, now: &Zoned) -> String {
    let every = rules.every.keyword();
    match last {
        Last::New(_) => format!("first seen now, {every}"),
        Last::At(date) => {
            let seconds = u64::try_from(seconds_between(date, now.datetime())).unwrap_or(0);
            format!("rotated {} ago, {every}", units::duration(Duration::from_secs(coarse(seconds))))
        }
    }
}

/// Nobody wants to read seconds behind days.
fn coarse(seconds: u64) -> u64 {
    let unit = match seconds {
        0..60 => 1,
        60..3600 => 60,
        3600..172_800 => 3600,
        _ => 86_400,
    };
    seconds / unit * unit
}

fn days_between(from: DateTime, to: DateTime) -> i64 {
    from.date().until((Unit::Day, to.date())).map_or(0, |span| i64::from(span.get_days()))
}

fn seconds_between(from: DateTime, to: DateTime) -> i64 {
    to.duration_since(from).as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;

    fn at(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    fn now(text: &str) -> Zoned {
        at(text).to_zoned(TimeZone::UTC).unwrap()
    }

    fn is_due(every: Every, last: &str, today: &str) -> bool {
        let rules = Rules { every, ..Rules::default() };
        decide(&rules, Look { size: 1, mtime: 0 }, Last::At(at(last)), &now(today), Force::No).due
    }

    #[test]
    fn an_interval_is_over_when_the_calendar_says_so() {
        for (every, last, today, due) in [
            (Every::Hour, "2026-11-20T01:59:00", "2026-11-20T02:00:00", true),
            (Every::Hour, "2026-11-20T02:00:00", "2026-11-20T02:59:00", false),
            (Every::Day, "2026-11-20T23:59:00", "2026-11-21T00:00:00", true),
            (Every::Day, "2026-11-20T00:00:00", "2026-11-20T23:59:00", false),
            (Every::Week(0), "2026-11-21T10:00:00", "2026-11-22T00:01:00", true), // a Sunday
            (Every::Week(0), "2026-11-22T00:01:00", "2026-11-22T10:00:00", false),
            (Every::Week(1), "2026-11-20T10:00:00", "2026-11-22T10:00:00", false),
            (Every::Week(1), "2026-11-15T10:00:00", "2026-11-22T09:00:00", true), // seven days
            (Every::Week(7), "2026-11-15T10:00:00", "2026-11-22T09:00:00", true),
            (Every::Week(7), "2026-11-16T10:00:00", "2026-11-22T09:00:00", false),
            (Every::Month(0), "2026-10-31T23:00:00", "2026-11-01T00:00:00", true),
            (Every::Month(31), "2026-10-31T10:00:00", "2026-11-30T00:01:00", true), // its last day
            (Every::Month(15), "2026-11-01T10:00:00", "2026-11-15T00:01:00", true),
            (Every::Month(15), "2026-11-15T10:00:00", "2026-11-16T00:01:00", false),
            (Every::Year, "2025-12-31T23:00:00", "2026-01-01T00:00:00", true),
            (Every::Minutes(5), "2026-11-20T10:00:00", "2026-11-20T10:06:00", true),
            (Every::Minutes(5), "2026-11-20T10:00:00", "2026-11-20T10:05:59", false),
        ] {
            assert_eq!(is_due(every, last, today), due, "{every:?} {last} {today}");
        }
    }

    #[test]
    fn a_week_over_a_change_of_the_clock_has_seven_days() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        let today = at("2026-04-04T10:00:00").to_zoned(berlin).unwrap();
        let rules = Rules { every: Every::Week(7), ..Rules::default() };

        let look = Look { size: 1, mtime: 0 };
        assert!(decide(&rules, look, Last::At(at("2026-03-28T10:00:00")), &today, Force::No).due);
    }

    #[test]
    fn the_reason_is_one_sentence() {
        let rules = Rules { every: Every::Week(1), ..Rules::default() };
        let look = Look { size: 1, mtime: 0 };
        let on = |last| decide(&rules, look, last, &now("2026-11-20T05:10:00"), Force::No);

        assert_eq!(on(Last::At(at("2026-11-20T02:05:00"))).reason, "not due: rotated 3h ago, weekly");
        assert_eq!(on(Last::New(at("2026-11-20T05:00:00"))).reason, "not due: first seen now, weekly");
        assert_eq!(
            on(Last::At(at("2026-11-20T02:05:00"))).notes,
            ["  log does not need rotating (log has been rotated at 2026-11-20 02:05, which is less than a week ago)"]
        );
    }

    #[test]
    fn a_clock_that_went_back_rotates_once() {
        let rules = Rules { every: Every::Day, ..Rules::default() };
        let look = Look { size: 1, mtime: 0 };

        let far = decide(&rules, look, Last::At(at("2026-12-20T02:05:00")), &now("2026-11-20T05:10:00"), Force::No);
        let near = decide(&rules, look, Last::At(at("2026-11-20T06:05:00")), &now("2026-11-20T05:10:00"), Force::No);

        assert!(far.due && far.trouble.is_some());
        assert!(!near.due && near.trouble.is_none());
    }

    #[test]
    fn sizes_come_before_the_calendar_and_emptiness_after_all() {
        let rules = Rules { every: Every::Day, maxsize: 10, minsize: 5, ifempty: false, ..Rules::default() };
        let on = |size, force| {
            let last = Last::At(at("2026-11-19T02:05:00"));
            decide(&rules, Look { size, mtime: 0 }, last, &now("2026-11-20T05:10:00"), force)
        };

        assert!(on(11, Force::No).due);
        assert!(!on(4, Force::No).due && on(4, Force::No).reason.contains("minsize"));
        assert!(on(4, Force::Yes).due);
        assert!(!on(0, Force::Yes).due);
        assert_eq!(on(0, Force::Yes).reason, "not due: it is empty");
    }

    #[test]
    fn a_young_log_is_left_alone() {
        let rules = Rules { every: Every::Day, minage_days: 5, ..Rules::default() };
        let today = now("2026-11-20T05:10:00");
        let on = |days: i64| {
            let look = Look { size: 1, mtime: today.timestamp().as_second() - days * 86_400 };
            decide(&rules, look, Last::At(at("2026-01-01T00:00:00")), &today, Force::No).due
        };

        assert!(!on(4) && on(6));
    }
}
