//! The grammar of thresholds: `used>85%,95%`, `age=~:26h`, `critical=500`.
//!
//! ```text
//! QUANTITY > NUMBER[,NUMBER]     (also < >= <=)  CRITICAL where it is so; of two numbers the first is for WARNING
//! QUANTITY = RANGE[,RANGE]       a range of Monitoring Plugins, [@][start:]end: alerts outside, with @ inside
//! warning=… critical=…           RANGE for the first quantity of a kind, or conditions for any: warning=used>80%,inodes>90%
//! ```
//!
//! Numbers carry the unit of their quantity. What is no number is a mistake of the target, and is never read as 0.

use anyhow::{Context as _, Result, bail, ensure};
use common::report::Unit;
use common::threshold::{self, Range, Thresholds};
use common::units;

/// How a quantity, or anything else of an option, is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    /// `key=value`
    Is,
    /// `key!=value`
    IsNot,
    /// `key~regex`
    Matches,
    /// `key!~regex`
    MatchesNot,
    /// `key>value`
    Above,
    /// `key>=value`
    From,
    /// `key<value`
    Below,
    /// `key<=value`
    UpTo,
    /// `key`
    Bare,
}

impl Operator {
    /// The operators in the order in which they are looked for.
    const ALL: [(&'static str, Self); 8] = [
        ("!=", Self::IsNot),
        ("!~", Self::MatchesNot),
        (">=", Self::From),
        ("<=", Self::UpTo),
        ("=", Self::Is),
        ("~", Self::Matches),
        (">", Self::Above),
        ("<", Self::Below),
    ];

    /// As it is written.
    pub(crate) fn sign(self) -> &'static str {
        Self::ALL.iter().find(|(_, operator)| *operator == self).map_or("", |(sign, _)| sign)
    }

    /// Splits a word at its first operator.
    pub(crate) fn split(word: &str) -> (&str, Self, &str) {
        let Some(at) = word.find(['!', '=', '~', '>', '<']) else { return (word, Self::Bare, "") };
        let (key, rest) = word.split_at(at);
        match Self::ALL.iter().find_map(|(sign, operator)| rest.strip_prefix(sign).map(|value| (*operator, value))) {
            Some((operator, value)) => (key, operator, value),
            None => (word, Self::Bare, ""),
        }
    }
}

/// Which of the two thresholds a condition sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// CRITICAL, or with two numbers WARNING and CRITICAL.
    Both,
    /// `warning=`
    Warning,
    /// `critical=`
    Critical,
}

/// One condition as it was written, without the name of its quantity.
pub(crate) struct Condition<'a> {
    pub(crate) level: Level,
    pub(crate) operator: Operator,
    pub(crate) value: &'a str,
}

impl Condition<'_> {
    /// The thresholds of a quantity after this condition.
    ///
    /// # Errors
    ///
    /// What is no range, or no number in this unit.
    pub(crate) fn apply(&self, before: Thresholds, unit: Unit) -> Result<Thresholds> {
        let range = |text: &str| self.range(text, unit);
        Ok(match self.level {
            Level::Both => Thresholds::parse(self.value, range)?,
            Level::Warning => Thresholds { warning: Some(range(self.value)?), ..before },
            Level::Critical => Thresholds { critical: Some(range(self.value)?), ..before },
        })
    }

    fn range(&self, text: &str, unit: Unit) -> Result<Range> {
        match self.operator {
            Operator::Is => Range::parse_with(text, |number| in_unit(number, unit)),
            Operator::Above => in_unit(text, unit).map(Range::above),
            Operator::From => in_unit(text, unit).map(Range::from),
            Operator::Below => in_unit(text, unit).map(Range::below),
            Operator::UpTo => in_unit(text, unit).map(Range::up_to),
            Operator::IsNot | Operator::Matches | Operator::MatchesNot | Operator::Bare => {
                bail!("a number is compared with > < >= <=, or with = and a range")
            }
        }
    }
}

/// Reads a number in the unit of its quantity: `85%`, `10GiB`, `26h`, `500`.
///
/// # Errors
///
/// Garbage, or another unit.
pub(crate) fn in_unit(text: &str, unit: Unit) -> Result<f64> {
    let text = text.trim();
    match unit {
        Unit::Count | Unit::Total => {
            ensure!(!text.ends_with('%'), "{text:?} is a share, but this is a number of things");
            threshold::number(text)
        }
        Unit::Percent => threshold::number(text),
        // A size is below 2^53 wherever anybody can store it.
        Unit::Bytes => units::parse_size(text).map(|bytes| bytes as f64),
        Unit::Seconds => {
            let (sign, time) = text.strip_prefix('-').map_or((1.0, text), |time| (-1.0, time));
            Ok(sign * units::parse_duration(time)?.as_secs_f64())
        }
    }
}

/// Thresholds as a kind has them by default: `>85%,95%`, or nothing.
///
/// # Errors
///
/// As [`Condition::apply`]; a unit test reads all defaults of all kinds.
pub(crate) fn default_of(text: &str, unit: Unit) -> Result<Thresholds> {
    if text.is_empty() {
        return Ok(Thresholds::default());
    }
    let (_, operator, value) = Operator::split(text);
    let condition = Condition { level: Level::Both, operator, value };
    condition.apply(Thresholds::default(), unit).with_context(|| format!("internal error: the default {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::status::Status;

    fn both(operator: Operator, value: &str, unit: Unit) -> Result<Thresholds> {
        Condition { level: Level::Both, operator, value }.apply(Thresholds::default(), unit)
    }

    #[test]
    fn a_word_is_split_at_its_first_operator() {
        for (word, key, operator, value) in [
            ("used>85%", "used", Operator::Above, "85%"),
            ("used>=85%", "used", Operator::From, "85%"),
            ("body!~a=b", "body", Operator::MatchesNot, "a=b"),
            ("json:/a/b!=x", "json:/a/b", Operator::IsNot, "x"),
            ("age=~:26h", "age", Operator::Is, "~:26h"),
            ("strict", "strict", Operator::Bare, ""),
            ("hey!", "hey!", Operator::Bare, ""),
        ] {
            assert_eq!(Operator::split(word), (key, operator, value));
        }
    }

    #[test]
    fn of_two_numbers_the_first_is_for_warning() {
        let used = both(Operator::Above, "85%,95%", Unit::Percent).unwrap();

        assert_eq!([85.0, 85.1, 95.1].map(|value| used.status(value)), [Status::Ok, Status::Warning, Status::Critical]);
        assert_eq!(both(Operator::Above, "85%", Unit::Percent).unwrap().status(90.0), Status::Critical);
    }

    #[test]
    fn every_operator_alerts_where_it_says() {
        for (operator, alerts) in [
            (Operator::Above, [false, false, true]),
            (Operator::From, [false, true, true]),
            (Operator::Below, [true, false, false]),
            (Operator::UpTo, [true, true, false]),
        ] {
            let thresholds = both(operator, "5", Unit::Count).unwrap();
            let found = [4.0, 5.0, 6.0].map(|value| thresholds.status(value) == Status::Critical);
            assert_eq!(found, alerts, "{operator:?}");
        }
    }

    #[test]
    fn a_number_needs_its_unit_and_garbage_is_never_zero() {
        for (text, unit) in [
            ("85", Unit::Bytes),
            ("85", Unit::Seconds),
            ("85%", Unit::Count),
            ("5GiB", Unit::Percent),
            ("foo", Unit::Count),
            ("", Unit::Count),
            ("nan", Unit::Count),
            ("1,5", Unit::Percent),
        ] {
            assert!(in_unit(text, unit).is_err(), "{text} {unit:?}");
        }
        assert_eq!(in_unit("-2s", Unit::Seconds).unwrap(), -2.0);
        assert_eq!(in_unit("2KiB", Unit::Bytes).unwrap(), 2048.0);
    }
}
