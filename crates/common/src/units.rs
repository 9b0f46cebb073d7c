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
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Stamp {
        Stamp::parse_rfc3339(text).expect("a time in a test")
    }

    /// The message of a refusal and its hint, as they are printed.
    fn refusal<T: fmt::Debug>(result: anyhow::Result<T>) -> String {
        let error = result.expect_err("refused");
        format!("{error:#}; {}", crate::hint::of(&error).join("; "))
    }

    #[test]
    fn a_stamp_has_one_compact_text_and_one_of_rfc_3339() {
        let stamp = Stamp::parse_compact("20261120T020000Z").expect("a stamp");

        assert_eq!(stamp.to_string(), "20261120T020000Z");
        assert_eq!(stamp.rfc3339(), "2026-11-20T02:00:00Z");
        assert_eq!(stamp.seconds(), 1_795_140_000);
        assert_eq!(stamp, at("2026-11-20T02:00:00Z"));
    }

    #[test]
    #[rustfmt::skip] // a table
    fn a_stamp_written_in_any_other_way_is_refused() {
        for text in [
            "", "20261120T020000", "20261120T020000z", " 20261120T020000Z", "20261120T020000Z\n", "2026112T020000Z",
            "20260230T020000Z", "20261120T240000Z", "20261231T235960Z", "+20261120T020000Z", "19691231T235959Z",
            "00000101T000000Z", "２０２６1120T020000Z",
        ] {
            assert!(Stamp::parse_compact(text).is_err(), "{text:?}");
        }
        for text in [
            "2026-11-20", "2026-11-20T02:00Z", "2026-11-20 02:00:00Z", "2026-11-20T02:00:00.5Z",
            "2026-11-20T02:00:00+00:00", "2026-11-20T2:00:00Z", "20261120T020000Z", "12026-11-20T02:00:00Z",
        ] {
            assert!(Stamp::parse_rfc3339(text).is_err(), "{text:?}");
        }
        assert_eq!(
            refusal(Stamp::parse_rfc3339("2026-11-20T02:00:00+01:00")),
            "cannot read \"2026-11-20T02:00:00+01:00\" as a time like 2026-11-20T02:00:00Z; \
             write whole seconds in UTC, with a Z at the end"
        );
    }

    #[test]
    fn stamps_reach_from_1970_to_the_last_second_of_9999() {
        assert_eq!(Stamp::MIN.rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(Stamp::MAX.to_string(), "99991231T235959Z");
        assert_eq!(at("9999-12-31T23:59:59Z"), Stamp::MAX);
        assert_eq!(Stamp::from_seconds(-1), None);
        assert_eq!(Stamp::from_seconds(Stamp::MAX.seconds() + 1), None);
    }

    #[test]
    fn a_broken_clock_gives_the_nearest_stamp() {
        let early = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let late = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);

        assert_eq!(Stamp::from(early), Stamp::MIN);
        assert_eq!(Stamp::from(late), Stamp::MAX);
    }

    #[test]
    fn arithmetic_with_stamps_stops_at_their_ends() {
        let day = Duration::from_secs(86_400);

        assert_eq!(at("2028-02-28T12:00:00Z").checked_add(day), Some(at("2028-02-29T12:00:00Z")));
        assert_eq!(at("2027-01-01T00:00:00Z").checked_sub(day), Some(at("2026-12-31T00:00:00Z")));
        assert_eq!(Stamp::MAX.checked_add(day), None);
        assert_eq!(Stamp::MIN.checked_sub(Duration::MAX), None);
        assert_eq!(Stamp::MIN.saturating_add(Duration::MAX), Stamp::MAX);
        assert_eq!(Stamp::MAX.saturating_sub(Duration::MAX), Stamp::MIN);
        assert_eq!(at("2026-01-02T00:00:00Z").since(at("2026-01-01T00:00:00Z")), day);
        assert_eq!(Stamp::MIN.since(Stamp::MAX), Duration::ZERO);
    }

    #[test]
    fn the_first_days_of_a_year_may_be_in_a_week_of_the_last() {
        assert_eq!(at("2026-11-20T02:00:00Z").iso_week(), "2026-W47");
        assert_eq!(at("2027-01-01T00:00:00Z").iso_week(), "2026-W53");
        assert_eq!(at("2024-12-30T00:00:00Z").iso_week(), "2025-W01");
        assert_eq!(Stamp::MIN.iso_week(), "1970-W01");
        assert_eq!(Stamp::MAX.iso_week(), "9999-W52");
    }

    #[test]
    fn a_stamp_is_an_rfc_3339_string_in_json() {
        let json = serde_json::to_string(&at("2026-11-20T02:00:00Z")).expect("json");
        assert_eq!(json, "\"2026-11-20T02:00:00Z\"");

        let back: Stamp = serde_json::from_str(&json).expect("a stamp");
        assert_eq!(back, at("2026-11-20T02:00:00Z"));

        let error = serde_json::from_str::<Stamp>("\"tomorrow\"").expect_err("refused");
        assert!(error.to_string().starts_with("cannot read \"tomorrow\" as a time like"), "{error}");
    }

    #[test]
    #[rustfmt::skip] // a table
    fn durations_are_numbers_with_units() {
        for (text, seconds) in [
            ("30d", 30 * 86_400), ("36h", 36 * 3600), ("1h 30m", 5400), ("1h30m", 5400), ("1.5h", 5400),
            (" 90 min ", 5400), ("2weeks", 14 * 86_400), ("1months", 2_630_016), ("1y", 31_557_600), ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text).expect(text), Duration::from_secs(seconds), "{text:?}");
        }
        assert_eq!(parse_duration("250ms").expect("ms"), Duration::from_millis(250));
        assert_eq!(parse_duration("5ns").expect("ns"), Duration::from_nanos(5));
    }

    #[test]
    fn a_duration_without_a_unit_is_refused_with_a_hint() {
        assert_eq!(
            refusal(parse_duration("30")),
            "cannot read \"30\" as a duration: 30 has no unit; write a unit: 30d, 12h, 90m, 45s"
        );
        assert_eq!(
            refusal(parse_duration("1h 30")),
            "cannot read \"1h 30\" as a duration: 30 has no unit; write a unit: 30d, 12h, 90m, 45s"
        );
    }

    #[test]
    fn a_capital_m_is_refused_because_it_may_be_months_or_minutes() {
        for text in ["3M", "3 M", "1y 3M", "3M 2d"] {
            assert_eq!(
                refusal(parse_duration(text)),
                format!(
                    "cannot read {text:?} as a duration: M may be months or minutes; \
                     write months, or m for minutes"
                )
            );
        }
    }

    #[test]
    #[rustfmt::skip] // a table
    fn what_is_no_duration_is_refused() {
        for text in [
            "", " ", "d", "-1d", "+1d", "3 0d", "1.2.3h", ".5h", "1.h", "5 fortnights", "1d,2h", "30D", "1e3s",
            "d30", "99999999999999999999d", "18446744073709551615s 1000ms", "9999999999999y", "0.5ns", "1é", "٣d",
            "0 0",
        ] {
            let error = refusal(parse_duration(text));
            assert!(error.starts_with(&format!("cannot read {text:?} as a duration: ")), "{error}");
        }
    }

    #[test]
    #[rustfmt::skip] // a table
    fn sizes_follow_coreutils() {
        const KIB: u64 = 1024;
        for (text, bytes) in [
            ("123B", 123), ("4k", 4 * KIB), ("4K", 4 * KIB), ("4KiB", 4 * KIB), ("4KB", 4000), ("4kB", 4000),
            ("10M", 10 * KIB * KIB), ("512MiB", 512 * KIB * KIB), ("10MB", 10_000_000),
            ("10GiB", 10 * KIB * KIB * KIB), ("1GB", 1_000_000_000), ("1T", KIB.pow(4)), ("1PiB", KIB.pow(5)),
            ("1PB", 1_000_000_000_000_000), ("1.5GiB", 3 * KIB * KIB * KIB / 2), ("0.1K", 102),
            ("10 GiB", 10 * KIB * KIB * KIB), ("0", 0), ("0.0G", 0),
        ] {
            assert_eq!(parse_size(text).expect(text), bytes, "{text:?}");
        }
    }

    #[test]
    fn a_size_without_a_unit_is_refused_with_a_hint() {
        assert_eq!(
            refusal(parse_size("4096")),
            "cannot read \"4096\" as a size: 4096 has no unit; write a unit: 10GiB, 512MiB, 4096B"
        );
    }

    #[test]
    #[rustfmt::skip] // a table
    fn what_is_no_size_is_refused() {
        for text in [
            "", "G", "-1G", "1GiBs", "1Ki", "1Gb/s", "1X", "1,5G", "1.G", ".5G", "1G 5M", "0x10K", "1e3K", "00",
            "٣K", "16384PiB", "99999999999999999999999999999999999999999K",
            "0.00000000000000000000000000000000000000001P", "0.0001K", "0.5B",
        ] {
            let error = refusal(parse_size(text));
            assert!(error.starts_with(&format!("cannot read {text:?} as a size: ")), "{error}");
        }
        assert_eq!(parse_size("16383PiB").expect("fits"), 16_383 << 50);
    }

    #[test]
    #[rustfmt::skip] // a table
    fn durations_read_short() {
        for (millis, text) in [
            (0, "0s"), (850, "850ms"), (1000, "1s"), (4250, "4.2s"), (12_900, "12s"), (59_999, "59s"),
            (300_000, "5m"), (90_000, "1m 30s"), (11_520_000, "3h 12m"), (86_400_000, "1d"), (187_200_000, "2d 4h"),
            (2_592_000_000, "30d"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    #[rustfmt::skip] // a table
    fn sizes_read_short() {
        for (bytes, text) in [
            (0, "0 B"), (812, "812 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_503_238_554, "1.4 GiB"),
            (1_048_524, "1023.9 KiB"), (1_048_525, "1.0 MiB"), (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn counts_have_their_thousands_separated() {
        for (n, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), text);
        }
    }

    proptest! {
        #[test]
        fn every_stamp_reads_back_and_its_texts_sort_as_it_does(
            a in 0..=Stamp::MAX.0,
            b in 0..=Stamp::MAX.0,
        ) {
            let (a, b) = (Stamp(a), Stamp(b));

            prop_assert_eq!(Stamp::parse_compact(&a.to_string()).ok(), Some(a));
            prop_assert_eq!(Stamp::parse_rfc3339(&a.rfc3339()).ok(), Some(a));
            prop_assert_eq!(Stamp::from(a.to_system_time()), a);
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
            prop_assert_eq!(a.cmp(&b), a.rfc3339().cmp(&b.rfc3339()));
        }

        #[test]
        fn no_text_makes_a_parser_panic(text in "[0-9.]{0,22}[ A-Za-zµé]{0,4}[0-9.]{0,22}[a-zA-Z]{0,3}|.*") {
            let _ = (parse_duration(&text).is_ok(), parse_size(&text).is_ok());
            let _ = (Stamp::parse_compact(&text).is_ok(), Stamp::parse_rfc3339(&text).is_ok());
        }

        #[test]
        fn a_printed_size_reads_back_as_nearly_the_same(bytes in 0..u64::MAX / 2) {
            let back = parse_size(&size(bytes)).expect("a size");

            prop_assert!(back.abs_diff(bytes) <= bytes / 20, "{bytes} {back}");
        }

        #[test]
        fn a_printed_duration_reads_back_as_no_longer(millis in 0..u64::MAX / 1000) {
            let printed = Duration::from_millis(millis);
            let back = parse_duration(&duration(printed)).expect("a duration");

            prop_assert!(back <= printed && printed - back <= printed / 10, "{printed:?} {back:?}");
        }
    }
}
