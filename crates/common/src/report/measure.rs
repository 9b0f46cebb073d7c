//! Numbers whose names are known only when the tool runs, and what a finding consists of.
//!
//! Users: healthprobe, for which a query or another plugin says what is measured; any tool whose thresholds belong into
//! performance data.

use crate::status::Status;
use crate::threshold::{self, Thresholds};
use crate::units;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What a number counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    #[default]
    Count,
    /// Parts of a hundred.
    Percent,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
    /// Things since some beginning; it only grows.
    Total,
}

impl Unit {
    /// The unit of performance data. Source: Monitoring Plugins guidelines, "Performance data".
    pub fn of_perfdata(self) -> &'static str {
        match self {
            Self::Count => "",
            Self::Percent => "%",
            Self::Bytes => "B",
            Self::Seconds => "s",
            Self::Total => "c",
        }
    }

    /// What a metric's name ends in, and its help.
    pub(super) fn of_metric(self) -> (&'static str, &'static str) {
        match self {
            Self::Count => ("measure", "A number that was measured"),
            Self::Percent => ("measure_ratio", "A share that was measured, 1 is all of it"),
            Self::Bytes => ("measure_bytes", "A size that was measured"),
            Self::Seconds => ("measure_seconds", "A length of time that was measured"),
            Self::Total => ("measure_total", "A number that only grows"),
        }
    }

    /// What a key of JSON ends in.
    fn of_key(self) -> &'static str {
        match self {
            Self::Count | Self::Total => "",
            Self::Percent => "_percent",
            Self::Bytes => "_bytes",
            Self::Seconds => "_seconds",
        }
    }

    /// A value for people: `12.3 %`, `4.0 GiB`, `2d 4h`.
    pub fn shown(self, value: f64) -> String {
        let sign = if value < 0.0 { "-" } else { "" };
        match self {
            Self::Count | Self::Total if value == value.trunc() && value.abs() < 1e15 => {
                format!("{sign}{}", units::count(value.abs() as u64))
            }
            Self::Count | Self::Total => threshold::decimal((value * 1000.0).round() / 1000.0),
            Self::Percent => format!("{} %", threshold::decimal((value * 10.0).round() / 10.0)),
            Self::Bytes => format!("{sign}{}", units::size(value.abs() as u64)),
            Self::Seconds => {
                let time = Duration::try_from_secs_f64(value.abs()).unwrap_or(Duration::MAX);
                format!("{sign}{}", units::duration(time))
            }
        }
    }
}

/// One number that was measured, and the thresholds it is judged by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measure {
    /// What it is called: `used`, `latency`, the name of a column.
    pub name: String,
    /// In the base unit. Not a number stands for "unknown".
    pub value: f64,
    /// What it counts.
    pub unit: Unit,
    /// When it alerts.
    pub thresholds: Thresholds,
    /// The least it can be.
    pub min: Option<f64>,
    /// The most it can be.
    pub max: Option<f64>,
    /// The thresholds are those of another program, which has judged by them, and are only handed on.
    pub is_judged: bool,
}

impl Measure {
    /// A measure that is never negative and alerts nobody.
    pub fn new(name: impl Into<String>, value: f64, unit: Unit) -> Self {
        Self { name: name.into(), value, unit, min: Some(0.0), ..Self::default() }
    }

    /// Judges it.
    pub fn judged(self, thresholds: Thresholds) -> Self {
        Self { thresholds, ..self }
    }

    /// Says what is the most it can be.
    pub fn of(self, most: f64) -> Self {
        Self { max: Some(most), ..self }
    }

    /// Says that it may be negative.
    pub fn signed(self) -> Self {
        Self { min: None, ..self }
    }

    /// Its status by its thresholds.
    pub fn status(&self) -> Status {
        if self.is_judged {
            return Status::Ok;
        }
        if self.value.is_nan() && self.thresholds != Thresholds::default() {
            return Status::Unknown;
        }
        self.thresholds.status(self.value)
    }

    /// Which threshold it crosses, in words: `used is above 85 %`.
    pub fn crossed(&self) -> Option<String> {
        let range = match self.status() {
            Status::Critical => self.thresholds.critical,
            Status::Warning => self.thresholds.warning,
            Status::Ok | Status::Unknown => None,
        };
        let words = range?.words(|bound| self.unit.shown(bound))?;
        Some(format!("{} is {words}", self.name))
    }

    /// `'label'=value[UOM];warn;crit;min;max`, without what is missing at its end.
    pub(super) fn perfdata(&self, prefix: &str) -> String {
        let label = crate::text::nagios(&format!("{prefix}{}", self.name)).replace('=', "_");
        let number = |value: f64| if value.is_finite() { threshold::decimal(value) } else { "U".to_owned() };
        let range = |range: Option<threshold::Range>| {
            range.map_or_else(String::new, |range| range.perfdata(self.min.is_some_and(|least| least >= 0.0)))
        };
        let bound = |bound: Option<f64>| bound.map_or_else(String::new, number);
        let value = number(self.value);
        let unit = if value == "U" { "" } else { self.unit.of_perfdata() };
        let Thresholds { warning, critical } = self.thresholds;
        let rest = [range(warning), range(critical), bound(self.min), bound(self.max)].join(";");
        let text = format!("'{label}'={value}{unit};{rest}");
        text.trim_end_matches(';').to_owned()
    }

    /// Key and value of a JSON object.
    fn entry(&self) -> (String, Value) {
        // Whole numbers without a point, as long as they are exact; what is no number is null.
        let is_whole = self.value == self.value.trunc() && self.value.abs() < 9e15;
        let value = if is_whole { json!(self.value as i64) } else { json!((self.value * 1e6).round() / 1e6) };
        (format!("{}{}", self.name, self.unit.of_key()), value)
    }
}

/// One of several things that were judged of a subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// What it is called.
    pub name: String,
    /// The verdict.
    pub status: Status,
    /// One sentence.
    pub message: String,
    /// Its numbers.
    pub measures: Vec<Measure>,
}

/// The measures as a JSON object.
pub(super) fn object(measures: &[Measure]) -> Value {
    measures.iter().map(Measure::entry).collect::<Map<_, _>>().into()
}

/// The parts as a JSON array.
pub(super) fn array(parts: &[Part]) -> Value {
    let part = |part: &Part| {
        let mut object = Map::new();
        object.insert("name".into(), part.name.clone().into());
        object.insert("status".into(), part.status.word().into());
        object.insert("message".into(), part.message.clone().into());
        if !part.measures.is_empty() {
            object.insert("measures".into(), self::object(&part.measures));
        }
        Value::Object(object)
    };
    parts.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threshold::Range;

    #[test]
    fn performance_data_has_thresholds_and_no_empty_end() {
        let thresholds = Thresholds { warning: Some(Range::above(85.0)), critical: Some(Range::above(95.0)) };

        let used = Measure::new("used", 12.34, Unit::Percent).of(100.0).judged(thresholds);

        assert_eq!(used.perfdata(""), "'used'=12.34%;85;95;0;100");
        assert_eq!(Measure::new("n", 3.0, Unit::Count).signed().perfdata("a=b'c "), "'a_b_c n'=3");
        assert_eq!(Measure::new("n", f64::NAN, Unit::Bytes).signed().perfdata(""), "'n'=U");
    }

    #[test]
    fn a_crossed_threshold_is_told_with_its_unit() {
        let thresholds = Thresholds { warning: Some(Range::above(1.0)), critical: None };

        let late = Measure::new("latency", 2.0, Unit::Seconds).judged(thresholds);

        assert_eq!(late.crossed().as_deref(), Some("latency is above 1s"));
        assert_eq!(late.status(), Status::Warning);
    }

    #[test]
    fn what_is_unknown_is_not_ok_where_it_is_judged() {
        let thresholds = Thresholds { warning: Some(Range::above(1.0)), critical: None };

        assert_eq!(Measure::new("n", f64::NAN, Unit::Count).judged(thresholds).status(), Status::Unknown);
    }
}
