//! Sizes, durations and points in time: reads them from people, prints them for people.
//!
//! Numbers carry units. A bare `90` is refused with a hint, because nobody can say later whether it meant
//! seconds or days. What a parser takes is narrower than what its library would take: a spelling that two
//! readers understand differently is an error, not a guess.
//!
//! Nobody else needs to know a calendar, so jiff is named here only.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use humantime::DurationError;
use jiff::SignedDuration;
use jiff::civil::DateTime;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::hint::Hint as _;

/// A point in time: whole seconds, UTC, in the years 1970 to 9999.
///
/// Both of its texts have a fixed width, so names that hold one sort by time. Nothing here reads the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(i64);

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const COMPACT: &str = "%Y%m%dT%H%M%SZ";
const RFC3339: &str = "%Y-%m-%dT%H:%M:%SZ";

impl Stamp {
    /// 1970-01-01T00:00:00Z
    pub const MIN: Stamp = Stamp(0);
    /// 9999-12-31T23:59:59Z
    pub const MAX: Stamp = Stamp(253_402_300_799);

    const SECONDS: RangeInclusive<i64> = Self::MIN.0..=Self::MAX.0;

    /// From seconds since the epoch; `None` outside of the years 1970 to 9999.
    pub fn from_seconds(seconds: i64) -> Option<Stamp> {
        Self::SECONDS.contains(&seconds).then_some(Stamp(seconds))
    }

    /// Seconds since the epoch, never negative.
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// The same moment for the standard library.
    pub fn to_system_time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.unsigned_abs())
    }

    /// Reads `20261120T020000Z`, and no other way of writing it.
    ///
    /// # Errors
    ///
    /// Anything else, such as a missing digit, the 30th of February, a leap second or a year before 1970.
    pub fn parse_compact(text: &str) -> anyhow::Result<Stamp> {
        Self::parse_as(COMPACT, text).ok_or_else(|| anyhow!("cannot read {text:?} as a time like 20261120T020000Z"))
    }

    /// Reads `2026-11-20T02:00:00Z`, and no other way of writing it: a subset of RFC 3339.
    ///
    /// # Errors
    ///
    /// As for `parse_compact`; also RFC 3339's fractions of a second and offsets other than `Z`.
    pub fn parse_rfc3339(text: &str) -> anyhow::Result<Stamp> {
        Self::parse_as(RFC3339, text)
            .ok_or_else(|| anyhow!("cannot read {text:?} as a time like 2026-11-20T02:00:00Z"))
            .hint("write whole seconds in UTC, with a Z at the end")
    }

    fn parse_as(format: &str, text: &str) -> Option<Stamp> {
        let time = DateTime::strptime(format, text).ok()?;
        let stamp = Self::from_seconds(time.duration_since(EPOCH).as_secs())?;
        // strptime takes missing zeros, signs and second 60. One stamp has one text, else two labels could
        // name the same backup.
        (stamp.civil().strftime(format).to_string() == text).then_some(stamp)
    }

    /// `2026-11-20T02:00:00Z`
    pub fn rfc3339(self) -> String {
        self.civil().strftime(RFC3339).to_string()
    }

    /// The ISO 8601 week, `2026-W47`. Its year is the week's: 2027-01-01 is in `2026-W53`.
    pub fn iso_week(self) -> String {
        let week = self.civil().iso_week_date();
        format!("{:04}-W{:02}", week.year(), week.week())
    }

    /// Later by `duration`, cut to whole seconds; `None` after the year 9999.
    pub fn checked_add(self, duration: Duration) -> Option<Stamp> {
        let seconds = i64::try_from(duration.as_secs()).ok()?;
        Self::from_seconds(self.0.checked_add(seconds)?)
    }

    /// Earlier by `duration`, cut to whole seconds; `None` before 1970.
    pub fn checked_sub(self, duration: Duration) -> Option<Stamp> {
        let seconds = i64::try_from(duration.as_secs()).ok()?;
        Self::from_seconds(self.0.checked_sub(seconds)?)
    }

    /// As `checked_add`, but stops at `Stamp::MAX`.
    pub fn saturating_add(self, duration: Duration) -> Stamp {
        self.checked_add(duration).unwrap_or(Self::MAX)
    }

    /// As `checked_sub`, but stops at `Stamp::MIN`.
    pub fn saturating_sub(self, duration: Duration) -> Stamp {
        self.checked_sub(duration).unwrap_or(Self::MIN)
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Stamp) -> Duration {
        Duration::from_secs(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    // A civil time and not jiff's Timestamp: that one ends a day before the year 9999 does.
    fn civil(self) -> DateTime {
        EPOCH.saturating_add(SignedDuration::from_secs(self.0))
    }
}

/// Cut to whole seconds. A time before 1970 becomes `Stamp::MIN`, one after 9999 `Stamp::MAX`: that is a broken
/// clock, and rules about the age of a thing must bear one anyway.
impl From<SystemTime> for Stamp {
    fn from(time: SystemTime) -> Stamp {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Stamp::MIN.saturating_add(since_epoch)
    }
}

/// `20261120T020000Z`, as in file names.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.civil().strftime(COMPACT).to_string())
    }
}

/// The text of `rfc3339`.
impl Serialize for Stamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

/// Takes what `parse_rfc3339` takes.
impl<'de> Deserialize<'de> for Stamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Stamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        Stamp::parse_rfc3339(&text).map_err(serde::de::Error::custom)
    }
}

/// Reads a duration as humantime writes them: `30d`, `36h`, `1h 30m`, `1.5h`; a bare `0` needs no unit.
///
/// Units: `ns us ms s m h d w months y`, and their longer names (`min`, `hours`, …). A month is 30.44 days,
/// a year 365.25. Unlike humantime, `M` is refused (to it, a month; to a hurried reader, minutes), and so is
/// a blank within a number (to it, `3 0d` is thirty days).
///
/// # Errors
///
/// A number without a unit, an unknown unit, anything that is not numbers with units, or overflow.
pub fn parse_duration(text: &str) -> anyhow::Result<Duration> {
    sum_of_terms(text).or_else(|refusal| refusal.of(text, "duration"))
}

fn sum_of_terms(text: &str) -> Result<Duration, Refusal> {
    let mut rest = text.trim();
    if rest == "0" {
        return Ok(Duration::ZERO);
    }

    let mut sum = Duration::ZERO;
    loop {
        let (term, after) = Term::first_of(rest).ok_or_else(not_a_duration)?;
        sum = sum.checked_add(term.duration()?).ok_or_else(|| Refusal::new("it is too long", DURATION_EXAMPLES))?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(sum);
        }
    }
}

const DURATION_EXAMPLES: &str = "write a unit: 30d, 12h, 90m, 45s";

fn not_a_duration() -> Refusal {
    Refusal::new("it is not numbers with units", DURATION_EXAMPLES)
}

/// Reads a size in bytes as coreutils do: `10GiB`, `512MiB`, `4k`, `10M`, `1GB`, `1.5GiB`, `123B`.
///
/// A letter alone (`K M G T P`) and `KiB MiB …` count in 1024s, `KB MB …` in 1000s; case does not matter. That
/// is what `ls`, `du`, `dd` and logrotate mean by these letters, and what stands beside them in a crontab.
/// PostgreSQL's configuration differs: its `MB` is 1024². A part of a byte is cut off.
///
/// # Errors
///
/// A number without a unit other than 0, an unknown unit, more than `u64::MAX` bytes, or so small a fraction
/// that nothing would be left: for a limit, 0 often means "none".
pub fn parse_size(text: &str) -> anyhow::Result<u64> {
    one_size(text.trim()).or_else(|refusal| refusal.of(text, "size"))
}

fn one_size(text: &str) -> Result<u64, Refusal> {
    if text == "0" {
        return Ok(0);
    }
    match Term::first_of(text) {
        Some((term, "")) => term.bytes(),
        Some(_) | None => Err(Refusal::new("it is not one number with a unit", SIZE_EXAMPLES)),
    }
}

const SIZE_EXAMPLES: &str = "write a unit: 10GiB, 512MiB, 4096B";

/// A decimal number, and the letters after it.
struct Term<'a> {
    number: &'a str,
    unit: &'a str,
}

impl<'a> Term<'a> {
    /// Splits the first term off; `None` if the text does not begin with one.
    fn first_of(text: &'a str) -> Option<(Term<'a>, &'a str)> {
        let (number, rest) = split_while(text, |c| c.is_ascii_digit() || c == '.');
        let (unit, rest) = split_while(rest.trim_start(), char::is_alphabetic);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let is_decimal = !whole.is_empty() && !fraction.is_empty() && !fraction.contains('.');
        is_decimal.then_some((Term { number, unit }, rest))
    }

    fn duration(&self) -> Result<Duration, Refusal> {
        let Term { number, unit } = *self;
        match unit {
            "" => Err(Refusal::new(format!("{number} has no unit"), DURATION_EXAMPLES)),
            "M" => Err(Refusal::new("M may be months or minutes", "write months, or m for minutes")),
            // One term at a time: humantime 2.4 can panic when a sum of several overflows.
            _ => humantime::parse_duration(&format!("{number}{unit}")).map_err(|error| match error {
                DurationError::UnknownUnit { .. } => {
                    Refusal::new(format!("{unit:?} is no unit of time"), "units of time are ms s m h d w months y")
                }
                DurationError::NumberOverflow => Refusal::new("a number is too large or too fine", DURATION_EXAMPLES),
                DurationError::InvalidCharacter(_) | DurationError::NumberExpected(_) | DurationError::Empty => {
                    not_a_duration()
                }
            }),
        }
    }

    fn bytes(&self) -> Result<u64, Refusal> {
        let Term { number, unit } = *self;
        if unit.is_empty() {
            return Err(Refusal::new(format!("{number} has no unit"), SIZE_EXAMPLES));
        }
        let unit_bytes = unit_bytes(unit).ok_or_else(|| {
            Refusal::new(
                format!("{unit:?} is no unit of size"),
                "units of size are B, K M G T P or KiB MiB GiB TiB PiB (1024s), KB MB GB TB PB (1000s)",
            )
        })?;
        let bytes = times(number, unit_bytes)
            .ok_or_else(|| Refusal::new("it is too large or has too many digits", SIZE_EXAMPLES))?;
        if bytes == 0 && number.contains(|c| ('1'..='9').contains(&c)) {
            return Err(Refusal::new("it is less than a byte", SIZE_EXAMPLES));
        }
        Ok(bytes)
    }
}

/// A decimal number of units in bytes, exact but for the last cut; `None` on overflow.
fn times(number: &str, unit_bytes: u128) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let scaled: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    u64::try_from(scaled.checked_mul(unit_bytes)? / scale).ok()
}

fn unit_bytes(unit: &str) -> Option<u128> {
    let unit = unit.to_ascii_uppercase();
    if unit == "B" {
        return Some(1);
    }
    let mut letters = unit.chars();
    let power = match letters.next()? {
        'K' => 1,
        'M' => 2,
        'G' => 3,
        'T' => 4,
        'P' => 5,
        _ => return None,
    };
    match letters.as_str() {
        "" | "IB" => Some(1024_u128.pow(power)),
        "B" => Some(1000_u128.pow(power)),
        _ => None,
    }
}

fn split_while(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !wanted(c)).unwrap_or(text.len()))
}

/// Why a text is not taken, and what to write instead.
struct Refusal {
    cause: String,
    hint: &'static str,
}

impl Refusal {
    fn new(cause: impl Into<String>, hint: &'static str) -> Refusal {
        Refusal { cause: cause.into(), hint }
    }

    // One message and no chain of causes: clap prints only the outermost.
    fn of<T>(self, text: &str, what: &str) -> anyhow::Result<T> {
        Err(anyhow!("cannot read {text:?} as a {what}: {}", self.cause)).hint(self.hint)
    }
}

/// A duration in its two largest units, the rest cut off: `2d 4h`, `3h 12m`, `5m`, `12s`, `4.2s`, `850ms`.
///
/// Cut and not rounded, so that nothing is said to be older, or to last longer, than it does.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0 if duration.is_zero() => "0s".to_owned(),
        0 => format!("{}ms", duration.subsec_millis()),
        1..10 => match duration.subsec_millis() / 100 {
            0 => format!("{seconds}s"),
            tenths => format!("{seconds}.{tenths}s"),
        },
        10..60 => format!("{seconds}s"),
        60..3600 => two_units(minutes, "m", seconds % 60, "s"),
        3600..86_400 => two_units(hours, "h", minutes % 60, "m"),
        86_400.. => two_units(days, "d", hours % 24, "h"),
    }
}

fn two_units(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    match small {
        0 => format!("{large}{large_unit}"),
        _ => format!("{large}{large_unit} {small}{small_unit}"),
    }
}

/// A size for people, in 1024s and rounded to one decimal: `1.4 GiB`, `812 B`. `parse_size` reads it.
pub fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let tenths_of = |unit_bytes: u128| (u128::from(bytes) * 10 + unit_bytes / 2) / unit_bytes;

    let (mut unit, mut tenths) = ("KiB", tenths_of(1024));
    for (larger, power) in [("MiB", 2), ("GiB", 3), ("TiB", 4), ("PiB", 5)] {
        // Asked after rounding: 1023.96 KiB is 1.0 MiB, not 1024.0 KiB.
        if tenths < 10_240 {
            break;
        }
        (unit, tenths) = (larger, tenths_of(1024_u128.pow(power)));
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// A number of things in words: `1 table`, `1,234 rows`.
pub fn things(number: u64, thing: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {thing}{ending}", count(number))
}

/// A count with thousands separated: `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
#[path = "units_tests.rs"]
mod tests;
