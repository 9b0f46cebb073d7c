//! What the state of a unit means: a pure function of its properties.

use super::Rules;
use super::units::{Known, Properties};
use crate::found::Found;
use common::report::{Measure, Unit};
use common::units::{self, Stamp};
use std::time::Duration;

/// A timer may be late by its accuracy, one minute, and a busy machine.
const LATE: Duration = Duration::from_secs(300);

/// The time by both clocks that systemd has timers for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Now {
    pub(crate) at: Stamp,
    /// CLOCK_MONOTONIC.
    pub(crate) up: Duration,
}

/// Judges one unit of those that are known.
pub(crate) fn unit(known: &Known, name: &str, rules: &Rules, now: Now) -> Found {
    let unit = State { properties: known.unit(name), now };
    let load = unit.get("LoadState");
    match load {
        "not-found" | "" => {
            return Found::unknown("there is no such unit").hint("systemctl list-units --all shows all of them");
        }
        "masked" => return Found::unknown("it is masked, so nothing can start it"),
        "loaded" | "stub" | "merged" => {}
        other => {
            // The name of an error, and its words in quotes.
            let said = unit.get("LoadError").split_once(' ').map_or("", |(_, words)| words.trim_matches('"'));
            return Found::critical(format!("its file cannot be used ({other}): {said}"))
                .hint(format!("systemd-analyze verify {name} says what is wrong with it"));
        }
    }
    let found = match name.strip_suffix(".timer") {
        Some(_) => timer(&unit, known, rules),
        None => service(&unit, rules),
    };
    match unit.number("MemoryCurrent") {
        // Without accounting it is 2^64 - 1, or "[not set]".
        Some(bytes) if bytes < 1e18 => found.measure(Measure::new("memory", bytes, Unit::Bytes).judged(rules.memory)),
        _ => found,
    }
}

fn service(unit: &State<'_>, rules: &Rules) -> Found {
    let (active, sub) = (unit.get("ActiveState"), unit.get("SubState"));
    let restarts = unit.number("NRestarts").unwrap_or(0.0);
    let again = if restarts > 0.0 { format!(", restarted {}", times(restarts)) } else { String::new() };
    let found = match (active, sub) {
        ("failed", _) => {
            Found::critical(format!("it failed{}: {}{again}", unit.ago("InactiveEnterTimestamp"), unit.cause()))
        }
        ("activating", "auto-restart" | "auto-restart-queued") => {
            Found::critical(format!("it keeps ending and being restarted: {}{again}", unit.cause()))
        }
        ("activating", _) => Found::warning(format!("it is starting ({sub}){again}")),
        ("deactivating", _) => Found::warning(format!("it is stopping ({sub}){again}")),
        ("active" | "reloading" | "refreshing", _) => running(unit, rules, restarts),
        ("inactive", _) if unit.get("ConditionResult") == "no" && unit.at("ConditionTimestamp").is_some() => {
            Found::critical("it is not running: a condition in its file does not hold")
        }
        ("inactive", _) if unit.get("Type") == "oneshot" => job(unit),
        ("inactive", _) => Found::critical(format!("it is not running{}", unit.since("InactiveEnterTimestamp"))),
        (other, _) => Found::unknown(format!("it is {other} ({sub})")),
    };
    found.measure(Measure::new("restarts", restarts, Unit::Count).judged(rules.restarts))
}

/// A unit that runs now may be one that crashes every minute.
fn running(unit: &State<'_>, rules: &Rules, restarts: f64) -> Found {
    let since = unit.age("ActiveEnterTimestamp");
    let is_settled = since.is_none_or(|since| since >= rules.settled);
    let sub = unit.get("SubState");
    let for_time = since.map_or_else(String::new, |since| format!(" for {}", units::duration(since)));
    let said = format!("{sub}{for_time}");
    match restarts > 0.0 {
        true if !is_settled => Found::warning(format!("{said}, after it was restarted {}", times(restarts)))
            .hint("see why it ended: journalctl -e -u UNIT"),
        true => Found::ok(format!("{said}, restarted {}", times(restarts))),
        false => Found::ok(said),
    }
}

/// A unit that runs and ends.
fn job(unit: &State<'_>) -> Found {
    match (unit.get("Result"), unit.has_never_run()) {
        (_, true) => Found::ok("it has not run since the system was started"),
        ("success", false) => Found::ok(format!("it ran and succeeded{}", unit.ago("InactiveEnterTimestamp"))),
        (_, false) => {
            Found::critical(format!("its last run failed{}: {}", unit.ago("InactiveEnterTimestamp"), unit.cause()))
        }
    }
}

fn timer(unit: &State<'_>, known: &Known, rules: &Rules) -> Found {
    match unit.get("ActiveState") {
        "active" => {}
        "failed" => return Found::critical(format!("the timer failed: {}", unit.cause())),
        _ => return Found::critical("the timer is not active, so it never fires").hint("systemctl enable --now UNIT"),
    }
    let started = State { properties: known.unit(unit.get("Unit")), now: unit.now };
    let last = unit.age("LastTriggerUSec");
    let fired =
        last.map_or_else(|| "has not fired yet".to_owned(), |age| format!("fired {} ago", units::duration(age)));
    let found = match (unit.next(), unit.get("SubState")) {
        (Some(Next::Overdue(late)), "waiting") if late > LATE => {
            Found::critical(format!("it should have fired {} ago; it {fired}", units::duration(late)))
        }
        (_, "elapsed") => Found::warning(format!("it {fired}, and never will again")),
        _ if started.has_failed() => {
            Found::critical(format!("it {fired}, and what it started failed: {}", started.cause()))
        }
        (Some(Next::In(left)), _) => Found::ok(format!("it {fired}, next in {}", units::duration(left))),
        _ => Found::ok(format!("it {fired}")),
    };
    // What has never fired is as old as can be where its age is judged.
    let age = last.map_or(f64::NAN, |age| age.as_secs_f64());
    found.measure(Measure::new("age", age, Unit::Seconds).judged(rules.age))
}

/// When a timer fires next.
#[derive(Clone, Copy, Debug)]
enum Next {
    In(Duration),
    /// It should have, so long ago.
    Overdue(Duration),
}

fn times(count: f64) -> String {
    if count == 1.0 { "once".to_owned() } else { format!("{} times", Unit::Count.shown(count)) }
}

/// The properties of one unit; those that are missing are empty.
struct State<'a> {
    properties: Option<&'a Properties>,
    now: Now,
}

impl<'a> State<'a> {
    fn get(&self, key: &str) -> &'a str {
        self.properties.and_then(|unit| unit.get(key)).map_or("", String::as_str)
    }

    fn number(&self, key: &str) -> Option<f64> {
        common::threshold::number(self.get(key)).ok()
    }

    /// A time: microseconds since 1970, or as systemctl writes it in UTC, `Sun 2026-11-22 02:00:00 UTC`.
    fn at(&self, key: &str) -> Option<Stamp> {
        if let Ok(microseconds) = self.get(key).parse::<u64>() {
            // 0 is never, and so is the largest number.
            let seconds = i64::try_from(microseconds).ok().filter(|microseconds| *microseconds > 0)? / 1_000_000;
            return Stamp::from_seconds(seconds);
        }
        let mut words = self.get(key).split(' ');
        let (_weekday, date, time) = (words.next()?, words.next()?, words.next()?);
        Stamp::parse_rfc3339(&format!("{date}T{time}Z")).ok()
    }

    fn age(&self, key: &str) -> Option<Duration> {
        self.at(key).filter(|at| *at <= self.now.at).map(|at| self.now.at.since(at))
    }

    /// The earlier of both clocks: a timer may have conditions for each.
    fn next(&self) -> Option<Next> {
        let by_calendar = self.at("NextElapseUSecRealtime").map(|at| match at <= self.now.at {
            true => Next::Overdue(self.now.at.since(at)),
            false => Next::In(at.since(self.now.at)),
        });
        let since_start = self.since_start("NextElapseUSecMonotonic").map(|at| match at.checked_sub(self.now.up) {
            None => Next::Overdue(self.now.up.saturating_sub(at)),
            Some(left) => Next::In(left),
        });
        match (by_calendar, since_start) {
            (Some(Next::In(one)), Some(Next::In(other))) => Some(Next::In(one.min(other))),
            (overdue @ Some(Next::Overdue(_)), _) | (_, overdue @ Some(Next::Overdue(_))) => overdue,
            (one, other) => one.or(other),
        }
    }

    /// A time since the start of the machine: microseconds, or as systemctl writes it, `1d 14min 3.5s`.
    fn since_start(&self, key: &str) -> Option<Duration> {
        match self.get(key).parse() {
            // 0 is never, and so is the largest number.
            Ok(microseconds) => {
                Some(Duration::from_micros(microseconds)).filter(|_| (1..u64::MAX).contains(&microseconds))
            }
            Err(_) => units::parse_duration(self.get(key)).ok().filter(|at| !at.is_zero()),
        }
    }

    fn ago(&self, key: &str) -> String {
        self.age(key).map_or_else(String::new, |age| format!(" {} ago", units::duration(age)))
    }

    fn since(&self, key: &str) -> String {
        self.age(key).map_or_else(String::new, |age| format!(", for {}", units::duration(age)))
    }

    fn has_never_run(&self) -> bool {
        self.at("InactiveEnterTimestamp").is_none() && self.get("ExecMainCode") == "0"
    }

    fn has_failed(&self) -> bool {
        self.get("ActiveState") == "failed" || !["", "success"].contains(&self.get("Result"))
    }

    /// Why it ended: `exit-code, status 1`.
    fn cause(&self) -> String {
        match (self.get("Result"), self.get("ExecMainStatus")) {
            ("signal" | "core-dump", number) => format!("killed by signal {number}"),
            ("exit-code", status) => format!("exit status {status}"),
            ("start-limit-hit", _) => "it was restarted too often".to_owned(),
            ("" | "success", _) => "it ended".to_owned(),
            (result, _) => result.to_owned(),
        }
    }
}

/// Verdicts in words for tests.
#[cfg(test)]
fn judged(text: &str, name: &str, rules: &Rules) -> (common::status::Status, String) {
    let now = Now { at: Stamp::from_seconds(1_000_000).expect("a time"), up: Duration::from_secs(500_000) };
    let found = unit(&Known::parse(text), name, rules, now);
    (found.verdict(), found.sentence())
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
