//! Ranges and thresholds in the syntax of Monitoring Plugins: `[@][start:]end`.
//!
//! `10` alerts below 0 and above 10, `10:` below 10, `~:10` above 10, `10:20` outside, `@10:20` inside; both ends belong to
//! the range. Numbers may carry a unit where the quantity has one. Source: Monitoring Plugins development guidelines,
//! "Threshold and Ranges"; where implementations disagree, tests/fixtures/range-vectors.tsv says what we take.

use crate::status::Status;
use anyhow::{Context as _, Result, bail, ensure};

/// A range; a value alerts outside of it, or inside where it is inverted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    start: f64,
    end: f64,
    inverted: bool,
}

impl Range {
    /// Reads a range of plain numbers; a trailing `%` is taken as decoration, as in `1:12%`.
    ///
    /// # Errors
    ///
    /// What is no range, or an empty one.
    pub fn parse(text: &str) -> Result<Self> {
        Self::parse_with(text, number)
    }

    /// Reads a range whose numbers are read by `unit`: `26h`, `10MiB:`.
    ///
    /// # Errors
    ///
    /// As [`Range::parse`].
    pub fn parse_with(text: &str, unit: impl Fn(&str) -> Result<f64>) -> Result<Self> {
        let trimmed = text.trim();
        let (inverted, bounds) = match trimmed.strip_prefix('@') {
            Some(rest) => (true, rest),
            None => (false, trimmed),
        };
        let (start, end) = match bounds.split_once(':') {
            None => (0.0, unit(bounds).with_context(|| not_a_range(text))?),
            Some(("", "")) => bail!("{}: both ends are missing", not_a_range(text)),
            Some((start, end)) => {
                let start = match start {
                    "" => 0.0,
                    "~" => f64::NEG_INFINITY,
                    start => unit(start).with_context(|| not_a_range(text))?,
                };
                let end = match end {
                    "" => f64::INFINITY,
                    end => unit(end).with_context(|| not_a_range(text))?,
                };
                (start, end)
            }
        };
        ensure!(start <= end, "{}: it is empty, because its start is above its end", not_a_range(text));
        Ok(Self { start, end, inverted })
    }

    /// Reads a lower bound: a bare number means "at least", anything else is a range.
    ///
    /// # Errors
    ///
    /// As [`Range::parse`].
    pub fn at_least(text: &str, unit: impl Fn(&str) -> Result<f64>) -> Result<Self> {
        let is_range = text.contains(':') || text.trim_start().starts_with('@');
        let start = if is_range { return Self::parse_with(text, unit) } else { unit(text.trim())? };
        Ok(Self { start, end: f64::INFINITY, inverted: false })
    }

    /// Reads a lower bound of plain numbers.
    ///
    /// # Errors
    ///
    /// As [`Range::parse`].
    pub fn parse_least(text: &str) -> Result<Self> {
        Self::at_least(text, number)
    }

    /// The range that alerts above a bound, where that is negative, too: `~:10`.
    pub fn above(bound: f64) -> Self {
        Self { start: f64::NEG_INFINITY, end: bound, inverted: false }
    }

    /// The range that alerts below a bound: `10:`.
    pub fn below(bound: f64) -> Self {
        Self { start: bound, end: f64::INFINITY, inverted: false }
    }

    /// The range that alerts at a bound and above it: `@10:`.
    pub fn from(bound: f64) -> Self {
        Self { start: bound, end: f64::INFINITY, inverted: true }
    }

    /// The range that alerts at a bound and below it: `@~:10`.
    pub fn up_to(bound: f64) -> Self {
        Self { start: f64::NEG_INFINITY, end: bound, inverted: true }
    }

    /// The range in a smaller unit: from milliseconds to seconds by 0.001.
    pub fn scaled(self, factor: f64) -> Self {
        Self { start: self.start * factor, end: self.end * factor, ..self }
    }

    /// Where a value alerts, in words: `above 85 %`, `below 10`, `outside 2 to 5`; `None` where none ever does.
    pub fn words(&self, shown: impl Fn(f64) -> String) -> Option<String> {
        let (start, end) = (self.start, self.end);
        Some(match (start.is_finite(), end.is_finite(), self.inverted) {
            (false, false, false) => return None,
            (false, false, true) => "anything".to_owned(),
            (false, true, false) => format!("above {}", shown(end)),
            (true, false, false) => format!("below {}", shown(start)),
            (false, true, true) => format!("at or below {}", shown(end)),
            (true, false, true) => format!("at or above {}", shown(start)),
            // What is never negative can only be above.
            (true, true, false) if start == 0.0 => format!("above {}", shown(end)),
            (true, true, false) => format!("outside {} to {}", shown(start), shown(end)),
            (true, true, true) => format!("within {} to {}", shown(start), shown(end)),
        })
    }

    /// The range as performance data has it; where values are `never_negative` a plain number if that is the same.
    ///
    /// Icinga drops what is no plain number.
    pub fn perfdata(&self, never_negative: bool) -> String {
        let inverted = if self.inverted { "@" } else { "" };
        let (start, end) = (self.start, self.end);
        let plain = !self.inverted && end.is_finite() && (start == 0.0 || (never_negative && start < 0.0));
        if plain {
            return decimal(end);
        }
        let start = if start.is_finite() { decimal(start) } else { "~".to_owned() };
        let end = if end.is_finite() { decimal(end) } else { String::new() };
        format!("{inverted}{start}:{end}")
    }

    /// Whether a value alerts.
    pub fn alerts(&self, value: f64) -> bool {
        let is_inside = self.start <= value && value <= self.end;
        is_inside == self.inverted
    }
}

/// A number without an exponent, and with no more digits than are needed.
pub fn decimal(number: f64) -> String {
    let text = format!("{number:.6}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn not_a_range(text: &str) -> String {
    format!("cannot read {text:?} as a range")
}

/// Reads a plain number; a trailing `%` is decoration.
///
/// # Errors
///
/// Anything else, also `inf` and `nan`.
pub fn number(text: &str) -> Result<f64> {
    let digits = text.strip_suffix('%').unwrap_or(text);
    // f64 also reads `inf` and `nan`, which are no bounds.
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let value = digits.parse().ok().filter(|value: &f64| is_plain && value.is_finite());
    value.with_context(|| format!("{text:?} is no number"))
}

/// When a value is a WARNING and when CRITICAL.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Thresholds {
    /// Alerts with WARNING.
    pub warning: Option<Range>,
    /// Alerts with CRITICAL; asked first.
    pub critical: Option<Range>,
}

impl Thresholds {
    /// Reads `CRITICAL` or `WARNING,CRITICAL`.
    ///
    /// # Errors
    ///
    /// What `range` says, or a third part.
    pub fn parse(text: &str, range: impl Fn(&str) -> Result<Range>) -> Result<Self> {
        match text.split(',').collect::<Vec<_>>()[..] {
            [critical] => Ok(Self { warning: None, critical: Some(range(critical)?) }),
            [warning, critical] => Ok(Self { warning: Some(range(warning)?), critical: Some(range(critical)?) }),
            _ => bail!("cannot read {text:?}: write CRITICAL or WARNING,CRITICAL"),
        }
    }

    /// The status of a value.
    pub fn status(&self, value: f64) -> Status {
        let alerts = |range: Option<Range>| range.is_some_and(|range| range.alerts(value));
        if alerts(self.critical) {
            Status::Critical
        } else if alerts(self.warning) {
            Status::Warning
        } else {
            Status::Ok
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vector_gives_the_answer_of_the_guidelines() {
        let vectors = include_str!("../../../tests/fixtures/range-vectors.tsv");
        let mut count = 0;
        for line in vectors.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<_> = line.split('\t').collect();
            let value: f64 = fields[1].parse().unwrap();

            let found = match Range::parse(fields[0]) {
                Err(_) => "invalid",
                Ok(range) if range.alerts(value) => "yes",
                Ok(_) => "no",
            };

            assert_eq!(found, fields[2], "{line}");
            count += 1;
        }
        assert!(count > 90, "{count}");
    }

    #[test]
    fn a_range_is_told_in_words_and_as_performance_data() {
        let shown = |number: f64| number.to_string();
        for (range, words, data) in [
            (Range::above(85.0), Some("above 85"), "85"),
            (Range::below(1.5), Some("below 1.5"), "1.5:"),
            (Range::from(3.0), Some("at or above 3"), "@3:"),
            (Range::up_to(3.0), Some("at or below 3"), "@~:3"),
            (Range::parse("10").unwrap(), Some("above 10"), "10"),
            (Range::parse("2:5").unwrap(), Some("outside 2 to 5"), "2:5"),
            (Range::parse("@2:5").unwrap(), Some("within 2 to 5"), "@2:5"),
            (Range::parse("~:").unwrap(), None, "~:"),
        ] {
            assert_eq!(range.words(shown).as_deref(), words);
            assert_eq!(range.perfdata(true), data);
        }
        assert_eq!(Range::above(85.0).perfdata(false), "~:85");
    }

    #[test]
    fn a_bare_lower_bound_alerts_below_it() {
        let range = Range::at_least("10", number).unwrap();

        assert!(range.alerts(9.9));
        assert!(!range.alerts(10.0));
        assert!(Range::at_least("@0:5", number).unwrap().alerts(3.0));
    }

    #[test]
    fn critical_is_asked_first_and_one_part_is_critical() {
        let both = Thresholds::parse("10,20", Range::parse).unwrap();

        assert_eq!([5.0, 15.0, 25.0].map(|value| both.status(value)), [Status::Ok, Status::Warning, Status::Critical]);
        assert_eq!(Thresholds::parse("10", Range::parse).unwrap().status(15.0), Status::Critical);
        assert!(Thresholds::parse("1,2,3", Range::parse).is_err());
    }
}
