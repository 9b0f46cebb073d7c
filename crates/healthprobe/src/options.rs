//! The options of one target. A kind asks for those it knows; each is handed out once, and what nobody asked for is a
//! mistake that names the nearest that is known.
//!
//! A value that cannot be read is noted, and the kind goes on as if the option were missing: at the end all mistakes of a
//! line are told at once.

use crate::judge::{self, Condition, Level, Operator};
use anyhow::{Context as _, Result, anyhow, ensure};
use common::hint;
use common::report::Unit;
use common::threshold::Thresholds;
use common::units;
use std::path::PathBuf;
use std::time::Duration;

/// Who wrote a target: what comes through a pipe may neither run programs nor read local files. Source: THREATS G3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The command line, or a file that only root or we can write.
    Operator,
    /// Standard input.
    Pipe,
}

impl Origin {
    /// Refuses what only an operator may ask for; `what` is as it is written: `command:`, `query-file=`.
    ///
    /// # Errors
    ///
    /// Where the target came through a pipe.
    pub(crate) fn may(self, what: &str) -> Result<()> {
        match self {
            Self::Operator => Ok(()),
            Self::Pipe => Err(hint::with(
                anyhow!("{what} is not taken from standard input"),
                "put the line into a file for --targets, or give it as an argument",
            )),
        }
    }
}

/// One word behind the address.
struct Word {
    key: String,
    operator: Operator,
    value: String,
    level: Level,
    /// As it was written.
    whole: String,
    is_taken: bool,
}

/// The options of one target.
pub(crate) struct Options {
    words: Vec<Word>,
    /// What was asked for.
    known: Vec<String>,
    /// What is measured, and may stand in `warning=`.
    quantities: Vec<String>,
    mistakes: Vec<anyhow::Error>,
    origin: Origin,
}

impl Options {
    /// From the words behind an address.
    pub(crate) fn new(words: Vec<String>, origin: Origin) -> Self {
        let words = words.into_iter().flat_map(understood).collect();
        let known = ["warning", "critical"].map(str::to_owned).into();
        Self { words, known, quantities: Vec::new(), mistakes: Vec::new(), origin }
    }

    /// The words that follow the address and are no options; a kind that takes them asks for them first.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        for word in &mut self.words {
            // The words of a command may hold an =, but no option has a blank in its name.
            let is_named = word.key.starts_with(|c: char| c.is_ascii_lowercase()) && !word.key.contains(' ');
            let is_option = word.operator != Operator::Bare && is_named;
            if is_option {
                break;
            }
            word.is_taken = true;
            rest.push(word.whole.clone());
        }
        rest
    }

    /// The value of `key=value`, which may be given once.
    pub(crate) fn text(&mut self, key: &str) -> Option<String> {
        let mut values = self.texts(key);
        if values.len() > 1 {
            self.mistake(anyhow!("{key}= is given {} times", values.len()));
        }
        values.pop()
    }

    /// The values of `key=value`, which may be given many times.
    pub(crate) fn texts(&mut self, key: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for (operator, value) in self.compared(key) {
            match (operator, value.is_empty()) {
                (Operator::Is, false) => texts.push(value),
                (Operator::Is, true) | (Operator::Bare, _) => {
                    self.mistake(anyhow!("{key} needs a value: {key}=…"));
                }
                (operator, _) => self.mistake(anyhow!("{key} is given with =, not with {}", operator.sign())),
            }
        }
        texts
    }

    /// Each `key`, its operator and value, in their order: for what is compared and is no quantity.
    pub(crate) fn compared(&mut self, key: &str) -> Vec<(Operator, String)> {
        self.known.push(key.to_owned());
        let words = self.words.iter_mut().filter(|word| word.key == key && word.level == Level::Both);
        let words = words.map(|word| {
            word.is_taken = true;
            (word.operator, word.value.clone())
        });
        words.collect()
    }

    /// As [`Options::compared`], for keys that begin with `prefix` and go on: `json:/status=ok`.
    pub(crate) fn compared_below(&mut self, prefix: &str) -> Vec<(String, Operator, String)> {
        self.known.push(format!("{prefix}…"));
        let words = self.words.iter_mut().filter(|word| word.level == Level::Both);
        let words = words.filter_map(|word| {
            let rest = word.key.strip_prefix(prefix)?.to_owned();
            word.is_taken = true;
            Some((rest, word.operator, word.value.clone()))
        });
        words.collect()
    }

    /// Whether `key` or `key=yes` is there; `key=no` says that it is not.
    pub(crate) fn flag(&mut self, key: &str) -> bool {
        let given = self.compared(key);
        let read = |(operator, value): &(Operator, String)| match (operator, value.as_str()) {
            (Operator::Bare, _) | (Operator::Is, "yes") => Some(true),
            (Operator::Is, "no") => Some(false),
            _ => None,
        };
        let Some(last) = given.last() else { return false };
        read(last).unwrap_or_else(|| {
            self.mistake(anyhow!("{key} is yes or no"));
            false
        })
    }

    /// The value of `key=value`, read by `read`.
    pub(crate) fn read<T>(&mut self, key: &str, read: impl FnOnce(&str) -> Result<T>) -> Option<T> {
        let text = self.text(key)?;
        match read(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistake(error.context(format!("{key}=")));
                None
            }
        }
    }

    /// `key=30s`
    pub(crate) fn duration(&mut self, key: &str) -> Option<Duration> {
        self.read(key, units::parse_duration)
    }

    /// `key=3`, a whole number.
    pub(crate) fn number(&mut self, key: &str, allowed: std::ops::RangeInclusive<u64>) -> Option<u64> {
        self.read(key, |text| {
            let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
            let number = number.with_context(|| format!("{text:?} is no whole number"))?;
            ensure!(allowed.contains(&number), "{number} is not between {} and {}", allowed.start(), allowed.end());
            Ok(number)
        })
    }

    /// `key=WORD`, one of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.read(key, |text| {
            let found = choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice);
            let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
            found.with_context(|| format!("{text:?} is none of {}", words.join(", ")))
        })
    }

    /// `key=a,b,c`; may be given many times.
    pub(crate) fn list(&mut self, key: &str) -> Vec<String> {
        let texts = self.texts(key);
        let parts = texts.iter().flat_map(|text| text.split(','));
        parts.map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }

    /// `key=FILE`, a local file that is read: not from a pipe.
    pub(crate) fn file(&mut self, key: &str) -> Option<PathBuf> {
        let path = self.text(key)?;
        if let Err(error) = self.origin.may(&format!("{key}=")) {
            self.mistake(error);
            return None;
        }
        Some(path.into())
    }

    /// The thresholds of a quantity; `default` is as [`judge::default_of`] reads it.
    pub(crate) fn thresholds(&mut self, quantity: &str, unit: Unit, default: &str) -> Thresholds {
        let default = judge::default_of(default, unit);
        let default = default.unwrap_or_else(|error| {
            self.mistake(error);
            Thresholds::default()
        });
        self.thresholds_from(quantity, unit, default).0
    }

    /// As [`Options::thresholds`], from a default of any shape; and whether the target says anything about the quantity.
    pub(crate) fn thresholds_from(&mut self, quantity: &str, unit: Unit, default: Thresholds) -> (Thresholds, bool) {
        self.known.push(quantity.to_owned());
        self.quantities.push(quantity.to_owned());
        let mut thresholds = default;
        let mut is_given = false;
        let mut mistakes = Vec::new();
        for word in self.words.iter_mut().filter(|word| word.key == quantity && !word.is_taken) {
            word.is_taken = true;
            is_given = true;
            let condition = Condition { level: word.level, operator: word.operator, value: &word.value };
            match condition.apply(thresholds, unit) {
                Ok(applied) => thresholds = applied,
                Err(error) => mistakes.push(error.context(word.whole.clone())),
            }
        }
        self.mistakes.extend(mistakes);
        (thresholds, is_given)
    }

    /// The thresholds of the first quantity of a kind: a bare range in `warning=` and `critical=` is for it, too.
    pub(crate) fn main_thresholds(&mut self, quantity: &str, unit: Unit, default: &str) -> Thresholds {
        for word in &mut self.words {
            if word.key.is_empty() && word.level != Level::Both {
                quantity.clone_into(&mut word.key);
            }
        }
        self.thresholds(quantity, unit, default)
    }

    /// The whole value of `warning=` or `critical=`, for a kind that hands it on to another program.
    pub(crate) fn level(&mut self, key: &str) -> Option<String> {
        let mut found = None;
        for word in self.words.iter_mut().filter(|word| word.level != Level::Both) {
            if let Some(value) = word.whole.strip_prefix(key).and_then(|rest| rest.strip_prefix('=')) {
                word.is_taken = true;
                found = Some(value.to_owned());
            }
        }
        found
    }

    /// The conditions that nobody has asked for, by the names of their quantities: those of columns that only the query knows.
    /// `unit` says by its name what a quantity is counted in.
    pub(crate) fn other_thresholds(&mut self, unit: impl Fn(&str) -> Unit) -> Vec<(String, Thresholds)> {
        let is_other = |word: &&Word| {
            let compares = !matches!(word.operator, Operator::Is | Operator::Bare | Operator::Matches);
            !word.is_taken && !word.key.is_empty() && (compares || word.level != Level::Both)
        };
        let mut names: Vec<_> = self.words.iter().filter(is_other).map(|word| word.key.clone()).collect();
        names.dedup();
        names.into_iter().map(|name| (name.clone(), self.thresholds(&name, unit(&name), ""))).collect()
    }

    /// Notes a mistake of this target.
    pub(crate) fn mistake(&mut self, error: impl Into<anyhow::Error>) {
        self.mistakes.push(error.into());
    }

    /// Who wrote the target.
    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// All mistakes: those that were noted, and options that nobody asked for.
    pub(crate) fn finish(mut self) -> Vec<anyhow::Error> {
        let mut mistakes = std::mem::take(&mut self.mistakes);
        for word in self.words.iter().filter(|word| !word.is_taken) {
            mistakes.push(self.unknown(word));
        }
        mistakes
    }

    fn unknown(&self, word: &Word) -> anyhow::Error {
        let known = self.known.join(", ");
        match (word.level, word.key.as_str()) {
            (Level::Both, "") => {
                anyhow!("{:?} is no option: an option is KEY=VALUE, without blanks around the =", word.whole)
            }
            (Level::Both, key) => match near(key, &self.known) {
                Some(near) => {
                    hint::with(anyhow!("unknown option {key:?}; did you mean {near}?"), format!("known: {known}"))
                }
                None => hint::with(anyhow!("unknown option {key:?}"), format!("known: {known}")),
            },
            (_, "") => anyhow!("{}: nothing here is one number; name the quantity", word.whole),
            (_, key) => hint::with(
                anyhow!("{}: {key:?} is not measured here", word.whole),
                format!("measured: {}", self.quantities.join(", ")),
            ),
        }
    }
}

/// A word as options: `warning=used>80%,inodes>90%` is one for each quantity.
fn understood(whole: String) -> Vec<Word> {
    let (key, operator, value) = Operator::split(&whole);
    let level = match (key, operator) {
        ("warning", Operator::Is) => Level::Warning,
        ("critical", Operator::Is) => Level::Critical,
        _ => {
            let (key, value) = (key.to_owned(), value.to_owned());
            return vec![Word { key, operator, value, level: Level::Both, whole, is_taken: false }];
        }
    };
    let word = |part: &str| {
        let (key, operator, value) = Operator::split(part);
        // `~:5` and `5:` are ranges, not the name of a quantity.
        let is_named = key.starts_with(|c: char| c.is_ascii_alphabetic()) && operator != Operator::Bare;
        let (key, operator, value) = if is_named { (key, operator, value) } else { ("", Operator::Is, part) };
        Word { key: key.to_owned(), operator, value: value.to_owned(), level, whole: whole.clone(), is_taken: false }
    };
    // A range has no comma, so a value without a name is one range, or a mistake.
    let has_names = value.split(',').any(|part| part.starts_with(|c: char| c.is_ascii_alphabetic()));
    if has_names { value.split(',').map(word).collect() } else { vec![word(value)] }
}

/// The name among those that are known which is nearest to one that is not.
pub(crate) fn near<'a>(name: &str, known: &'a [String]) -> Option<&'a String> {
    let distance = |other: &String| (strsim::jaro(name, other) * 1000.0) as u32;
    known.iter().filter(|other| distance(other) > 750).max_by_key(|other| distance(other))
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
