//! Where the log of changes goes: standbys, slots, the archive.

use super::check::Check;
use super::facts::{Facts, Slot, Standby, StandbyOf};
use super::judge::{NAMED, told};
use super::limits::Limits;
use common::report::{Measure, Part, Unit};
use common::status::Status;
use common::text;

/// How far standbys are behind, and this server where it is one. What is ignored, such as a base backup, is no standby.
pub(super) fn replication(facts: &Facts, limits: &Limits, ignored: &[String]) -> Part {
    let is_standby = |one: &&StandbyOf| !one.name.as_ref().is_some_and(|name| ignored.contains(name));
    let mut standbys: Vec<&StandbyOf> = facts.standbys.iter().flatten().filter(is_standby).collect();
    standbys.sort_by(|a, b| missing(b).total_cmp(&missing(a)));
    let mut status = Status::Ok;
    let mut texts = Vec::new();
    let (mut seconds, mut bytes) = (0.0_f64, 0.0_f64);
    if let Some(own) = &facts.standby {
        let (verdict, words) = as_standby(own);
        status = verdict;
        texts.push(words);
        seconds = lag(own);
        bytes = own.bytes.unwrap_or_default().max(0.0);
    }
    for standby in &standbys {
        seconds = seconds.max(lag_of(standby).unwrap_or_default());
        bytes = bytes.max(missing(standby));
    }
    texts.extend(standbys.iter().take(NAMED).map(|standby| of_standby(standby)));
    if standbys.len() > NAMED {
        texts.push(format!("and {} more", standbys.len() - NAMED));
    }
    if texts.is_empty() {
        texts.push("no standby is connected".to_owned());
    }
    let count = limits.measure("standbys", standbys.len() as f64);
    let measures = vec![limits.measure("lag", seconds), limits.measure("lag-size", bytes), count];
    told(Check::Replication, status, texts.join("; "), measures)
}

/// The bytes that a standby lacks.
fn missing(standby: &StandbyOf) -> f64 {
    standby.bytes.unwrap_or_default().max(0.0)
}

/// What was measured last is shown on until the standby speaks again: who has everything is not behind.
fn lag_of(standby: &StandbyOf) -> Option<f64> {
    if standby.bytes.is_some_and(|bytes| bytes <= 0.0) { None } else { standby.seconds.map(|seconds| seconds.max(0.0)) }
}

/// Whether the time since the last transaction may be far more than the standby is behind: in the middle of a long one, such as
/// the load of a dump, it replays all the time and ends none.
pub(super) fn is_in_doubt(own: &Standby) -> bool {
    own.receiver == Some(true) && own.is_caught_up == Some(false) && !own.is_paused && lag(own) > 1.0
}

/// Time since the last change, unless there was none to replay.
fn lag(own: &Standby) -> f64 {
    let is_idle = own.receiver == Some(true) && own.is_caught_up == Some(true);
    if is_idle { 0.0 } else { own.seconds.unwrap_or_default().max(0.0) }
}

fn as_standby(own: &Standby) -> (Status, String) {
    let behind = format!("{} behind", Unit::Seconds.shown(lag(own)));
    match own.receiver {
        _ if own.is_paused => (Status::Warning, format!("a standby, {behind}, whose replay is paused")),
        Some(true) => (Status::Ok, format!("a standby, {behind}")),
        _ => (Status::Warning, "a standby that receives nothing from its primary".to_owned()),
    }
}

fn of_standby(standby: &StandbyOf) -> String {
    let name = standby.name.as_deref().filter(|name| !name.is_empty());
    let name = name.map_or_else(|| standby.pid.to_string(), |name| format!("{:?}", text::line(name)));
    let state = text::line(standby.state.as_deref().unwrap_or("in an unknown state"));
    let bytes = Unit::Bytes.shown(missing(standby));
    match lag_of(standby) {
        Some(seconds) => format!("{name} {state}, {bytes} and {} behind", Unit::Seconds.shown(seconds)),
        None => format!("{name} {state}, {bytes} behind"),
    }
}

/// What slots keep. A slot whose reader is gone fills the disk; one that lost its log is of no use any more.
pub(super) fn slots(facts: &Facts, limits: &Limits) -> Part {
    let slots = facts.slots.as_deref().unwrap_or_default();
    let status = slots.iter().map(verdict).max().unwrap_or(Status::Ok);
    let mut worst: Vec<&Slot> = slots.iter().collect();
    worst.sort_by(|a, b| {
        verdict(b).cmp(&verdict(a)).then(b.bytes.unwrap_or_default().total_cmp(&a.bytes.unwrap_or_default()))
    });
    let mut texts: Vec<_> = worst.iter().take(NAMED).map(|slot| of_slot(slot)).collect();
    if worst.len() > NAMED {
        texts.push(format!("and {} more", worst.len() - NAMED));
    }
    if texts.is_empty() {
        texts.push("none".to_owned());
    }
    let most = slots.iter().filter_map(|slot| slot.bytes).fold(0.0, f64::max);
    let inactive = slots.iter().filter(|slot| !slot.is_active).count() as f64;
    let inactive = Measure::new("inactive", inactive, Unit::Count);
    told(Check::Slots, status, texts.join("; "), vec![limits.measure("retained", most), inactive])
}

fn verdict(slot: &Slot) -> Status {
    match slot.wal.as_deref() {
        Some("lost") => Status::Critical,
        Some("unreserved") => Status::Warning,
        _ => Status::Ok,
    }
}

fn of_slot(slot: &Slot) -> String {
    let name = text::line(&slot.name);
    let state = if slot.is_active { "in use" } else { "not in use" };
    let bytes = Unit::Bytes.shown(slot.bytes.unwrap_or_default().max(0.0));
    match (slot.wal.as_deref(), &slot.why) {
        (Some("lost"), Some(why)) => format!("slot {name:?} has lost what it needs ({})", text::line(why)),
        (Some("lost"), None) => format!("slot {name:?} has lost what it needs"),
        (Some("unreserved"), _) => format!("slot {name:?} is about to lose what it needs, {state}"),
        _ => format!("slot {name:?} keeps {bytes}, {state}"),
    }
}

/// Whether the archive takes what it is given.
pub(super) fn archive(facts: &Facts, limits: &Limits) -> Part {
    let off = |message: &str| told(Check::Archive, Status::Ok, message.to_owned(), Vec::new());
    let Some(archive) = facts.archive.as_ref().filter(|archive| archive.mode != "off" && !archive.mode.is_empty())
    else {
        return off("off");
    };
    let since = archive.since_seconds.unwrap_or_default().max(0.0);
    let is_failing = archive.is_failing == Some(true);
    let message = match is_failing {
        true => format!("archiving fails, nothing was archived for {}", Unit::Seconds.shown(since)),
        false => "works".to_owned(),
    };
    // A failure that the next try put right is none.
    let measure = limits.measure("unarchived", if is_failing { since } else { 0.0 });
    let failed = Measure::new("failed", archive.failed, Unit::Total);
    told(Check::Archive, Status::Ok, message, vec![measure, failed])
}

#[cfg(test)]
mod tests {
    use super::super::facts::Archive;
    use super::*;

    fn status(part: &Part) -> Status {
        crate::found::of_part(part)
    }

    #[test]
    fn a_standby_with_nothing_to_replay_is_not_behind() {
        let own = |caught_up, receiver| Standby {
            receiver: Some(receiver),
            is_caught_up: Some(caught_up),
            seconds: Some(7200.0),
            ..Standby::default()
        };
        let judged = |own| replication(&Facts { standby: Some(own), ..Facts::default() }, &Limits::default(), &[]);

        assert_eq!(status(&judged(own(true, true))), Status::Ok);
        assert_eq!(status(&judged(own(false, true))), Status::Critical);
        assert_eq!(status(&judged(own(true, false))), Status::Critical);
        let paused = Standby { is_paused: true, ..own(true, true) };
        assert_eq!(status(&judged(paused)), Status::Warning);
        assert_eq!(
            [own(false, true), own(true, true), own(false, false)].map(|own| is_in_doubt(&own)),
            [true, false, false]
        );
        assert!(!is_in_doubt(&Standby { is_paused: true, ..own(false, true) }));
    }

    #[test]
    fn a_standby_that_has_everything_is_not_behind_and_a_base_backup_is_none() {
        let standby = |name: &str, bytes, seconds| StandbyOf {
            name: Some(name.to_owned()),
            state: Some("streaming".to_owned()),
            bytes: Some(bytes),
            seconds: Some(seconds),
            ..StandbyOf::default()
        };
        let judged = |standbys| {
            let facts = Facts { standbys: Some(standbys), ..Facts::default() };
            replication(&facts, &Limits::default(), &["pg_basebackup".to_owned()])
        };

        let part = judged(vec![standby("a", 0.0, 7200.0), standby("pg_basebackup", 1.0, 7200.0)]);
        assert_eq!((status(&part), part.message.as_str()), (Status::Ok, "\"a\" streaming, 0 B behind"));
        assert_eq!(part.measures.last().map(|standbys| standbys.value), Some(1.0));
        assert_eq!(status(&judged(vec![standby("a", 1.0, 7200.0)])), Status::Critical);
    }

    #[test]
    fn the_slot_that_keeps_most_is_told_first() {
        let slot = |name: &str, bytes| Slot { name: name.to_owned(), bytes: Some(bytes), ..Slot::default() };
        let lost = Slot { wal: Some("lost".to_owned()), ..slot("gone", 0.0) };
        let judged = |slots| slots_of(slots);

        let part = judged(vec![slot("small", 10.0), slot("big", 2.0 * f64::from(1 << 30))]);
        assert_eq!(status(&part), Status::Warning);
        assert!(part.message.starts_with("slot \"big\" keeps 2.0 GiB, not in use; slot \"small\""), "{}", part.message);
        assert_eq!(status(&judged(vec![slot("a", 1.0), lost])), Status::Critical);
        assert_eq!(judged(Vec::new()).message, "none");
    }

    fn slots_of(slots: Vec<Slot>) -> Part {
        super::slots(&Facts { slots: Some(slots), ..Facts::default() }, &Limits::default())
    }

    #[test]
    fn an_archive_that_failed_once_and_works_again_is_well() {
        let archive = |is_failing| {
            let mode = "on".to_owned();
            let archive = Archive { mode, failed: 3.0, is_failing: Some(is_failing), since_seconds: Some(600.0) };
            super::archive(&Facts { archive: Some(archive), ..Facts::default() }, &Limits::default())
        };

        assert_eq!((status(&archive(true)), status(&archive(false))), (Status::Warning, Status::Ok));
        assert_eq!(super::archive(&Facts::default(), &Limits::default()).message, "off");
    }
}
