//! What is asked of a file: which variables, of which form, and for whom.

use super::format::Format;
use crate::options::Options;
use anyhow::{Context as _, Result, anyhow, ensure};
use common::envfile::Readers;
use common::hint::Hint as _;
use std::path::PathBuf;

/// What is asked.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Variables that have to be set to something.
    pub(super) required: Vec<String>,
    /// Every variable of this file has to be set as well.
    pub(super) example: Option<PathBuf>,
    pub(super) formats: Vec<(Names, Format)>,
    pub(super) choices: Vec<(Names, Vec<String>)>,
    pub(super) lengths: Vec<(Names, usize)>,
    ignored: Vec<Names>,
    /// Development flags and unprotected ways are objected to.
    pub(super) production: bool,
    pub(super) is_strict: bool,
    /// The widest mode that is allowed.
    pub(super) mode: u32,
    /// The programs that read the file.
    pub(super) readers: Readers,
}

/// A name, or a shape of names with one `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names(String);

impl Names {
    pub(super) fn fit(&self, name: &str) -> bool {
        match self.0.split_once('*') {
            None => self.0 == name,
            Some((start, end)) => {
                name.len() >= start.len() + end.len() && name.starts_with(start) && name.ends_with(end)
            }
        }
    }
}

impl Wanted {
    /// Asks the options of a target.
    pub(super) fn parse(options: &mut Options) -> Self {
        let required = options.list("required");
        for name in required.iter().filter(|name| !is_name(name)) {
            options.mistake(anyhow!("required=: {name:?} is no name of a variable"));
        }
        let formats = each(options, "format", Format::named);
        let choices = each(options, "oneof", |text| Ok(text.split('|').map(str::to_owned).collect()));
        let lengths = each(options, "min-length", |text| {
            let number = text.parse().ok().filter(|number| (1..=100_000).contains(number));
            number.with_context(|| format!("{text:?} is no length"))
        });
        let readers = options.list("readers");
        let readers = read_readers(&readers).unwrap_or_else(|error| {
            options.mistake(error);
            everybody()
        });
        Self {
            required,
            example: options.file("example"),
            formats,
            choices,
            lengths,
            ignored: options.list("ignore").into_iter().map(Names).collect(),
            production: options.choice("production", &[("yes", true), ("no", false)]).unwrap_or(true),
            is_strict: options.flag("strict"),
            mode: options.read("mode", read_mode).unwrap_or(0o640),
            readers,
        }
    }

    /// Whether a variable is left alone.
    pub(super) fn ignores(&self, name: &str) -> bool {
        self.ignored.iter().any(|names| names.fit(name))
    }
}

/// `KEY=NAME:VALUE,NAME:VALUE`; may be given many times.
fn each<T>(options: &mut Options, key: &str, read: impl Fn(&str) -> Result<T>) -> Vec<(Names, T)> {
    let mut all = Vec::new();
    for text in options.list(key) {
        let one = text.split_once(':').filter(|(name, value)| is_name(name) && !value.is_empty());
        let one = one.with_context(|| format!("write it as {key}=NAME:…, not {text:?}"));
        match one.and_then(|(name, value)| Ok((Names(name.to_owned()), read(value)?))) {
            Ok(one) => all.push(one),
            Err(error) => options.mistake(error.context(format!("{key}="))),
        }
    }
    all
}

fn is_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-*".contains(c);
    !text.is_empty() && text.chars().all(is_plain) && text.matches('*').count() <= 1
}

fn read_mode(text: &str) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o777 == 0);
    let mode = mode.with_context(|| format!("{text:?} is no mode, such as 0640"))?;
    ensure!(mode & 0o400 != 0, "with mode {text} nobody could read it");
    Ok(mode)
}

fn read_readers(names: &[String]) -> Result<Readers> {
    if names.is_empty() {
        return Ok(everybody());
    }
    names.iter().try_fold(Readers::default(), |readers, name| {
        let known: Vec<_> = Readers::names().collect();
        let reader = Readers::named(name).ok_or_else(|| anyhow!("readers=: {name:?} is none of them"));
        Ok(readers | reader.hint(format!("known: {}", known.join(", ")))?)
    })
}

fn everybody() -> Readers {
    Readers::names().filter_map(Readers::named).fold(Readers::default(), std::ops::BitOr::bitor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Origin;

    fn mistakes(words: &[&str]) -> Vec<String> {
        let mut options = Options::new(words.iter().map(|&word| word.to_owned()).collect(), Origin::Operator);
        Wanted::parse(&mut options);
        options.finish().iter().map(|mistake| format!("{mistake:#}")).collect()
    }

    #[test]
    fn all_mistakes_are_told() {
        let found =
            mistakes(&["required=A B", "format=A:nonsense", "oneof=A", "min-length=A:x", "mode=9", "readers=fish"]);

        assert_eq!(found.len(), 6, "{found:#?}");
        assert!(
            mistakes(&["required=A,B", "format=*_URL:url,PORT:port", "oneof=E:a|b", "min-length=S:32", "strict"])
                .is_empty()
        );
    }

    #[test]
    fn a_star_stands_for_any_part_of_a_name() {
        let fit = |names: &str, name| Names(names.to_owned()).fit(name);

        assert!(fit("*_URL", "APP_URL") && fit("SMTP_*", "SMTP_HOST") && fit("A*Z", "AZ") && fit("A", "A"));
        assert!(!fit("*_URL", "URL") && !fit("A", "AB") && !fit("AB*BA", "ABA"));
    }
}
