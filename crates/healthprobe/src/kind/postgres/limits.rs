//! What is measured, in which unit, and when it alerts unless the target says otherwise.

use super::check::Check;
use crate::options::Options;
use common::report::{Measure, Unit};
use common::threshold::{Range, Thresholds};
use std::collections::BTreeMap;

/// Name, check, unit, and the thresholds by default: `WARNING,CRITICAL` or `WARNING` alone.
///
/// Where they come from: autovacuum's failsafe begins at 1.6 of 2.1 thousand million transactions (75 %); the rest is where
/// operators of the peers set them.
const QUANTITIES: [(&str, Check, Unit, &str); 19] = [
    ("connections", Check::Connections, Unit::Percent, ">80%,95%"),
    ("queries", Check::Queries, Unit::Seconds, ">5m,1h"),
    ("blocked", Check::Blocked, Unit::Seconds, ">30s,5m"),
    ("idle", Check::Idle, Unit::Seconds, ">5m,1h"),
    ("prepared", Check::Prepared, Unit::Seconds, ">5m,1h"),
    ("standbys", Check::Replication, Unit::Count, ""),
    ("lag", Check::Replication, Unit::Seconds, ">1m,10m"),
    ("lag-size", Check::Replication, Unit::Bytes, ""),
    ("retained", Check::Slots, Unit::Bytes, ">1GiB,10GiB"),
    ("wraparound", Check::Wraparound, Unit::Percent, ">50%,75%"),
    ("unarchived", Check::Archive, Unit::Seconds, ">5m,1h"),
    ("corrupt", Check::Checksums, Unit::Count, ">0,0"),
    ("dead", Check::Vacuum, Unit::Percent, ">40%"),
    ("overdue", Check::Vacuum, Unit::Seconds, ">1d"),
    ("hit", Check::Cache, Unit::Percent, "<90%"),
    ("unused", Check::Indexes, Unit::Count, ">0"),
    ("missing", Check::Indexes, Unit::Count, ">0"),
    ("slowest", Check::Statements, Unit::Seconds, ">1s"),
    ("size", Check::Size, Unit::Bytes, ""),
];

/// The thresholds of one target.
#[derive(Debug)]
pub(super) struct Limits(BTreeMap<&'static str, (Unit, Thresholds)>);

impl Limits {
    /// Asks the options for all quantities; beside them the checks that they name.
    pub(super) fn parse(options: &mut Options) -> (Self, Vec<Check>) {
        let mut limits = BTreeMap::new();
        let mut asked_for = Vec::new();
        for (name, check, unit, text) in QUANTITIES {
            let (thresholds, is_given) = options.thresholds_from(name, unit, default_of(text, unit));
            if is_given {
                asked_for.push(check);
            }
            limits.insert(name, (unit, thresholds));
        }
        (Self(limits), asked_for)
    }

    /// A measured number with its thresholds.
    pub(super) fn measure(&self, name: &'static str, value: f64) -> Measure {
        let (unit, thresholds) = self.0.get(name).copied().unwrap_or_default();
        let measure = Measure::new(name, value, unit).judged(thresholds);
        if unit == Unit::Percent { measure.of(100.0) } else { measure }
    }
}

/// A default of the table above; a unit test reads all of them.
fn default_of(text: &str, unit: Unit) -> Thresholds {
    let Some((operator, rest)) = text.split_at_checked(1) else { return Thresholds::default() };
    let bound = |text: &str| {
        let value = crate::judge::in_unit(text, unit).ok()?;
        Some(if operator == ">" { Range::above(value) } else { Range::below(value) })
    };
    match rest.split_once(',') {
        Some((warning, critical)) => Thresholds { warning: bound(warning), critical: bound(critical) },
        None => Thresholds { warning: bound(rest), critical: None },
    }
}

#[cfg(test)]
impl Default for Limits {
    fn default() -> Self {
        Self::parse(&mut Options::new(Vec::new(), crate::options::Origin::Operator)).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Origin;
    use common::status::Status;

    #[test]
    fn every_default_can_be_read() {
        for (name, _, unit, text) in QUANTITIES {
            let default = default_of(text, unit);
            assert_eq!(default.warning.is_some(), !text.is_empty(), "{name}");
            assert_eq!(default.critical.is_some(), text.contains(','), "{name}");
        }
    }

    #[test]
    fn one_level_alone_leaves_the_other_as_it_is() {
        let words = vec!["warning=connections>10%".to_owned(), "lag>1h".to_owned()];
        let (limits, asked_for) = Limits::parse(&mut Options::new(words, Origin::Operator));

        let status = |name, value| limits.measure(name, value).status();

        assert_eq!([50.0, 96.0].map(|value| status("connections", value)), [Status::Warning, Status::Critical]);
        assert_eq!([600.0, 3601.0].map(|value| status("lag", value)), [Status::Ok, Status::Critical]);
        assert_eq!(asked_for, [Check::Connections, Check::Replication]);
    }
}
