//! One target: what to look at, and how its finding is told.

use crate::kind::Kind;
use crate::options::{Options, Origin};
use anyhow::anyhow;
use std::time::Duration;

/// One thing to look at.
#[derive(Debug)]
pub(crate) struct Target {
    /// What reports, `needs=` and everything that remembers call it; unique in a run.
    pub(crate) subject: String,
    /// What it is shown under.
    pub(crate) group: String,
    /// What to look at.
    pub(crate) kind: Kind,
    /// The targets without which this one cannot be well.
    pub(crate) needs: Vec<String>,
    /// For one look; `None` for that of the run.
    pub(crate) timeout: Option<Duration>,
    /// How often to look again while it is not OK.
    pub(crate) retries: u32,
    /// How long to wait before that.
    pub(crate) retry_after: Duration,
    /// Where it was written: `line 3 of "targets"`.
    pub(crate) place: String,
}

/// The names that read well on one line.
const LONGEST_NAME: usize = 200;

impl Target {
    /// Reads the words of a line.
    ///
    /// # Errors
    ///
    /// All mistakes of it.
    pub(crate) fn parse(words: Vec<String>, origin: Origin, place: &str) -> Result<Self, Vec<anyhow::Error>> {
        let mut words = words.into_iter();
        let what = words.next().unwrap_or_default();
        let mut options = Options::new(words.collect(), origin);
        // The kind is first, because what follows the address may be the words of a command.
        let kind = Kind::parse(&what, &mut options, origin);
        let name = options.text("name");
        if name.as_ref().is_some_and(|name| name.chars().count() > LONGEST_NAME) {
            options.mistake(anyhow!("name= is longer than {LONGEST_NAME} characters"));
        }
        let group = options.text("group").unwrap_or_default();
        let needs = options.list("needs");
        let timeout = options.read("timeout", |text| crate::cli::parse_timeout(text).map_err(|error| anyhow!(error)));
        let retries = options.number("retry", 0..=100).unwrap_or_default();
        let retry_after = options.duration("retry-after").unwrap_or(Duration::from_secs(1));
        match kind {
            // Without its kind nobody knows which options there are.
            Err(error) => Err(vec![error]),
            Ok(kind) => {
                let mistakes = options.finish();
                if !mistakes.is_empty() {
                    return Err(mistakes);
                }
                let subject = name.unwrap_or_else(|| kind.subject());
                let retries = u32::try_from(retries).unwrap_or(0);
                Ok(Self { subject, group, kind, needs, timeout, retries, retry_after, place: place.to_owned() })
            }
        }
    }
}
