//! How little time may be left: a time, a share of the lifetime, or the smaller of both.

use anyhow::{Context as _, Result, bail, ensure};
use common::units;

/// A limit on the time that is left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// In seconds.
    time: Option<i64>,
    /// Of the lifetime, from 0 to 1.
    share: Option<f64>,
}

impl Limit {
    /// Alerts below the smaller of 21 days and a third: a 90-day certificate is usually renewed with 30 days left.
    pub const WARNING: Limit = Limit { time: Some(21 * 86_400), share: Some(1.0 / 3.0) };
    /// Alerts below the smaller of 7 days and a tenth.
    pub const CRITICAL: Limit = Limit { time: Some(7 * 86_400), share: Some(0.1) };

    /// Reads `14d`, `25%`, or both as `14d,25%`, of which the smaller counts.
    ///
    /// # Errors
    ///
    /// Anything else; a share above 100 %.
    pub fn parse(text: &str) -> Result<Self> {
        let mut limit = Self { time: None, share: None };
        for part in text.split(',') {
            match part.trim().strip_suffix('%') {
                Some(percent) if limit.share.is_none() => limit.share = Some(share(percent)?),
                None if limit.time.is_none() => {
                    let time = units::parse_duration(part.trim()).with_context(|| not_a_limit(text))?;
                    limit.time = Some(i64::try_from(time.as_secs()).context("too long")?);
                }
                Some(_) | None => bail!(not_a_limit(text)),
            }
        }
        Ok(limit)
    }

    /// The seconds below which a certificate of this lifetime alerts.
    pub fn seconds(&self, lifetime: i64) -> i64 {
        // A lifetime is below 2^53, so nothing is lost.
        let share = self.share.map(|share| (share * lifetime.max(0) as f64) as i64);
        self.time.into_iter().chain(share).min().unwrap_or(0)
    }
}

fn not_a_limit(text: &str) -> String {
    format!("cannot read {text:?}: write a duration (14d), a share of the lifetime (25%), or both (14d,25%)")
}

fn share(percent: &str) -> Result<f64> {
    let is_plain = percent.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent: f64 =
        percent.parse().ok().filter(|_| is_plain).with_context(|| format!("{percent:?} is no number"))?;
    ensure!(percent <= 100.0, "{percent} % is more than the whole lifetime");
    Ok(percent / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    #[test]
    fn the_smaller_of_time_and_share_counts() {
        assert_eq!([398, 90, 45, 6].map(|days| Limit::WARNING.seconds(days * DAY) / DAY), [21, 21, 15, 2]);
        assert_eq!(Limit::CRITICAL.seconds(47 * DAY), 47 * DAY / 10);
    }

    #[test]
    fn a_limit_is_a_duration_a_share_or_both() {
        assert_eq!(Limit::parse("14d").unwrap().seconds(10 * DAY), 14 * DAY);
        assert_eq!(Limit::parse("25%").unwrap().seconds(100 * DAY), 25 * DAY);
        assert_eq!(Limit::parse("14d,25%").unwrap().seconds(8 * DAY), 2 * DAY);
        for bad in ["", "14", "101%", "-1%", "nan%", "1d,2d", "1%,2%", "d"] {
            assert!(Limit::parse(bad).is_err(), "{bad}");
        }
    }
}
