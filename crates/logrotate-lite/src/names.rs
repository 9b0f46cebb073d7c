//! The names of copies: which one the next copy gets, and which names are copies at all.
//!
//! ```text
//! app.log   app.log.1   app.log.2.gz                 numbers
//!           app.log-20261120   app.log-20261119.gz   dateext
//!           app-20261120.log                         extension .log
//! ```
//!
//! All pure. What is removed is only what [`Names::read`] takes apart without a rest (THREATS L10).

use crate::config::{Every, Rules};
use crate::glob;
use jiff::fmt::strtime;
use jiff::{ToSpan as _, Unit, Zoned, ZonedRound};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// How the copies of one log are called.
#[derive(Clone, Debug)]
pub struct Names {
    base: Vec<u8>,
    /// `extension` or `addextension`.
    extension: Vec<u8>,
    compressed: Vec<u8>,
    /// The first number.
    pub start: u32,
    /// The date, where `dateext` is on.
    pub date: Option<Dated>,
}

/// The date in the names.
#[derive(Clone, Debug)]
pub struct Dated {
    /// What a copy of today gets.
    pub suffix: String,
    format: String,
    /// What dates look like, as a pattern.
    pub pattern: String,
}

/// A name taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Older copies are smaller.
    pub age: Age,
    /// Whether it ends as compressed copies do.
    pub compressed: bool,
}

/// The place of a copy among its like.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Age {
    /// By its number: the greatest is the oldest.
    Number(std::cmp::Reverse<u32>),
    /// By its date, then by the number behind it.
    Date(i64, Vec<u8>, u32),
}

impl Names {
    /// The names of a log's copies.
    ///
    /// # Errors
    ///
    /// What is wrong with the format of the date.
    pub fn new(log: &OsStr, rules: &Rules, now: &Zoned) -> Result<Self, String> {
        let mut base = log.as_bytes().to_vec();
        let mut extension = Vec::new();
        if let Some(added) = &rules.addextension {
            if base.ends_with(added.as_bytes()) {
                base.truncate(base.len() - added.len());
            }
            extension = added.as_bytes().to_vec();
        }
        if let Some(kept) = rules.extension.as_ref().filter(|kept| base.ends_with(kept.as_bytes())) {
            base.truncate(base.len() - kept.len());
            extension = kept.as_bytes().to_vec();
        }
        let compressed = if rules.compress { rules.compressor.extension().into_vec() } else { Vec::new() };
        let date = rules.dateext.then(|| Dated::new(rules, now)).transpose()?;
        Ok(Self { base, extension, compressed, start: rules.start, date })
    }

    /// What the names of all copies begin with.
    pub fn begin(&self) -> &[u8] {
        &self.base
    }

    /// A plain copy by its number.
    pub fn number(&self, number: u64) -> OsString {
        OsString::from_vec([self.base.as_slice(), b".", number.to_string().as_bytes(), &self.extension].concat())
    }

    /// A plain copy of today, and the n-th one of that name.
    pub fn dated(&self, suffix: &str, again: u32) -> OsString {
        let again = if again == 0 { String::new() } else { format!(".{again}") };
        OsString::from_vec([self.base.as_slice(), suffix.as_bytes(), again.as_bytes(), &self.extension].concat())
    }

    /// The name that a plain copy has when it is compressed.
    pub fn compressed(&self, plain: &OsStr) -> OsString {
        OsString::from_vec([plain.as_bytes(), &self.compressed].concat())
    }

    /// Whether copies are compressed at all.
    pub fn compresses(&self) -> bool {
        !self.compressed.is_empty()
    }

    /// Takes a name apart; `None` where it is no copy of this log.
    pub fn read(&self, name: &OsStr) -> Option<Found> {
        let name = name.as_bytes();
        let plain = name.strip_suffix(self.compressed.as_slice()).filter(|_| self.compresses());
        let compressed = plain.and_then(|plain| self.read_plain(plain)).map(|age| Found { age, compressed: true });
        compressed.or_else(|| self.read_plain(name).map(|age| Found { age, compressed: false }))
    }

    fn read_plain(&self, name: &[u8]) -> Option<Age> {
        let middle = name.strip_prefix(self.base.as_slice())?.strip_suffix(self.extension.as_slice())?;
        match &self.date {
            Some(date) => date.read(middle),
            None => {
                let digits = middle.strip_prefix(b".").filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
                let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
                Some(Age::Number(std::cmp::Reverse(number)))
            }
        }
    }
}

impl Dated {
    fn new(rules: &Rules, now: &Zoned) -> Result<Self, String> {
        let (format, pattern) = match &rules.dateformat {
            Some(format) => {
                let format = format.to_str().ok_or("the dateformat is not UTF-8")?;
                if format.contains('/') {
                    return Err(format!("the dateformat {format:?} holds a slash"));
                }
                converted(format.trim_start_matches(' '))
            }
            None => {
                let format = match rules.every {
                    Every::Hour => "-%Y%m%d%H",
                    Every::Minutes(_) => "-%Y%m%d%H%M",
                    _ => "-%Y%m%d",
                };
                converted(format)
            }
        };
        let mut when = now.clone();
        let moved = |moved: Result<Zoned, jiff::Error>| moved.map_err(|error| format!("cannot name a copy: {error}"));
        if rules.dateyesterday {
            // Noon exists on every day, whatever is done to the clock.
            let noon = moved(when.checked_sub(1.day()))?.datetime().date().at(12, when.minute(), when.second(), 0);
            when = moved(noon.to_zoned(when.time_zone().clone()))?;
        }
        if rules.datehourago {
            when = moved(when.checked_sub(1.hour()))?;
        }
        let when = when.round(ZonedRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc)).unwrap_or(when);
        match strtime::format(&format, &when) {
            Ok(suffix) if !suffix.is_empty() => Ok(Self { suffix, format, pattern }),
            _ => Err(format!("failed to apply date format '{}'", common::text::visible(&format))),
        }
    }

    fn read(&self, middle: &[u8]) -> Option<Age> {
        if glob::matches(self.pattern.as_bytes(), middle) {
            return Some(self.age(middle, 0));
        }
        let dot = middle.iter().rposition(|byte| *byte == b'.')?;
        let again = std::str::from_utf8(&middle[dot + 1..]).ok()?.parse().ok()?;
        let is_ours = !middle[dot + 1..].starts_with(b"0") && glob::matches(self.pattern.as_bytes(), &middle[..dot]);
        is_ours.then(|| self.age(&middle[..dot], again))
    }

    /// By the date as far as it can be read, then by the letters.
    fn age(&self, date: &[u8], again: u32) -> Age {
        let text = String::from_utf8_lossy(date);
        let parsed = strtime::parse(&self.format, text.as_ref()).ok();
        let seconds = parsed.and_then(|parsed| {
            let stamp = parsed.to_timestamp().ok();
            let zoned = || parsed.to_datetime().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
            stamp.or_else(|| zoned().map(|zoned| zoned.timestamp()))
        });
        Age::Date(seconds.map_or(0, |stamp| stamp.as_second()), date.to_vec(), again)
    }
}

/// A dateformat with only the conversions that have a pattern left in it, and that pattern.
fn converted(format: &str) -> (String, String) {
    let (mut kept, mut pattern) = (String::new(), String::new());
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        let rest = letters.as_str();
        let digits = match (letter, rest.chars().next()) {
            ('%', Some('Y' | 'G')) => "[0-9][0-9][0-9][0-9]",
            ('%', Some('y' | 'g' | 'm' | 'd' | 'H' | 'M' | 'S' | 'V' | 'U' | 'W')) => "[0-9][0-9]",
            ('%', Some('j')) => "[0-9][0-9][0-9]",
            ('%', Some('u' | 'w')) => "[0-9]",
            ('%', Some('s')) => "[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]",
            ('%', Some('z')) => "[-+][0-9][0-9][0-9][0-9]",
            ('%', _) => {
                kept.push_str("%%");
                pattern.push('%');
                continue;
            }
            (letter, _) => {
                kept.push(letter);
                if "*?[\\".contains(letter) {
                    pattern.push('\\');
                }
                pattern.push(letter);
                continue;
            }
        };
        kept.push('%');
        kept.extend(letters.next());
        pattern.push_str(digits);
    }
    (kept, pattern)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;
    use jiff::tz::TimeZone;

    fn names(log: &str, rules: &Rules) -> Names {
        let now = date(2026, 11, 20).at(5, 10, 7, 0).to_zoned(TimeZone::UTC).unwrap();
        Names::new(log.as_ref(), rules, &now).unwrap()
    }

    fn dated(format: Option<&str>) -> Rules {
        Rules { dateext: true, dateformat: format.map(OsString::from), ..Rules::default() }
    }

    #[test]
    fn an_extension_stays_at_the_end() {
        let plain = names("app.log", &Rules::default());
        let kept = names("app.log", &Rules { extension: Some(".log".into()), ..Rules::default() });
        let added = names("app.log", &Rules { addextension: Some(".old".into()), compress: true, ..Rules::default() });

        assert_eq!(plain.number(1), "app.log.1");
        assert_eq!(kept.number(1), "app.1.log");
        assert_eq!(added.number(1), "app.log.1.old");
        assert_eq!(added.compressed(&added.number(1)), "app.log.1.old.gz");
    }

    #[test]
    fn a_date_follows_the_schedule_or_the_format() {
        assert_eq!(names("a", &dated(None)).date.unwrap().suffix, "-20261120");
        let hourly = Rules { every: Every::Hour, ..dated(None) };
        assert_eq!(names("a", &hourly).date.unwrap().suffix, "-2026112005");
        let yesterday = Rules { dateyesterday: true, ..dated(Some(".%Y-%m-%d %% %q %s")) };
        assert_eq!(names("a", &yesterday).date.unwrap().suffix, ".2026-11-19 %% %q 1795090207");
        assert_eq!(names("a", &dated(Some("%H%z"))).date.unwrap().suffix, "05+0000");
    }

    #[test]
    fn only_a_name_without_a_rest_is_a_copy() {
        let numbers = names("a.log", &Rules { compress: true, ..Rules::default() });
        let is_copy = |name: &str| numbers.read(name.as_ref()).is_some();

        assert!(is_copy("a.log.1") && is_copy("a.log.12.gz"));
        for stranger in
            ["a.log", "a.log.", "a.log.x", "a.log.1.bz2", "a.log.1x", "a.log.-1", "b.log.1", "a.log.1.gz.gz"]
        {
            assert!(!is_copy(stranger), "{stranger}");
        }
        let dates = names("a.log", &dated(None));
        for stranger in ["a.log-2026112", "a.log-20261120x", "a.log-20261120.01", "a.log-20261120.gz", "a.log.1"] {
            assert!(dates.read(stranger.as_ref()).is_none(), "{stranger}");
        }
        assert!(dates.read("a.log-20261120".as_ref()).is_some() && dates.read("a.log-20261120.2".as_ref()).is_some());
    }

    #[test]
    fn the_oldest_comes_first() {
        let numbers = names("a", &Rules::default());
        let days = names("a", &dated(Some("-%d-%m-%Y")));
        let age = |names: &Names, name: &str| names.read(name.as_ref()).unwrap().age;

        assert!(age(&numbers, "a.10") < age(&numbers, "a.9"));
        assert!(age(&days, "a-31-10-2026") < age(&days, "a-01-11-2026"));
        assert!(age(&days, "a-01-11-2026") < age(&days, "a-01-11-2026.1"));
    }

    #[test]
    fn a_name_that_is_not_utf8_keeps_its_bytes() {
        let names = names("a", &Rules::default());
        let names = Names { base: b"caf\xe9".to_vec(), ..names };

        assert_eq!(names.number(1).as_bytes(), b"caf\xe9.1");
        assert!(names.read(OsStr::from_bytes(b"caf\xe9.1")).is_some());
    }
}
