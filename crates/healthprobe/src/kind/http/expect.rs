//! What an answer must be. Each expectation says what is wrong in a few words, and shows nothing of the body.

use super::answer::Answer;
use crate::judge::Operator;
use crate::options::Options;
use anyhow::{Context as _, Result, anyhow, bail};
use common::text;
use regex_lite::Regex;
use serde_json::Value;
use std::ops::RangeInclusive;

/// Statuses as they are written: `200,302,400-499`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statuses {
    text: String,
    ranges: Vec<RangeInclusive<u16>>,
}

impl Statuses {
    /// # Errors
    ///
    /// What is no status.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let status = |text: &str| {
            let number = text.trim().parse().ok().filter(|number| (100..600).contains(number));
            number.with_context(|| format!("{text:?} is no status: write 200,302 or 400-499"))
        };
        let range = |part: &str| match part.split_once('-') {
            Some((first, last)) => Ok(status(first)?..=status(last)?),
            None => status(part).map(|one| one..=one),
        };
        Ok(Self { text: text.to_owned(), ranges: text.split(',').map(range).collect::<Result<_>>()? })
    }

    /// What is wrong with a status.
    pub(crate) fn fault(&self, status: u16) -> Option<String> {
        let is_good = self.ranges.iter().any(|range| range.contains(&status));
        (!is_good).then(|| format!("status {status}, not {}", self.text))
    }
}

/// A value, and how it is compared with what came.
#[derive(Debug)]
enum Test {
    /// It is there.
    Present,
    Is(String),
    IsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
    /// A number, and how the one that came must lie to it.
    Number(Operator, f64),
}

/// All that an answer must be.
#[derive(Debug)]
pub(crate) struct Expect {
    status: Statuses,
    body: Vec<Test>,
    headers: Vec<(String, Test)>,
    absent: Vec<String>,
    cookies: Vec<(String, Test)>,
    json: Vec<(String, Test)>,
    redirect: Vec<Test>,
}

impl Expect {
    pub(crate) fn parse(options: &mut Options) -> Self {
        let body = tests(options, "body");
        let redirect = tests(options, "redirect");
        let usual = if redirect.is_empty() { "200-399" } else { "300-399" };
        let status = options.read("status", Statuses::parse);
        let headers = named(options, "header:").into_iter().map(|(name, test)| (name.to_ascii_lowercase(), test));
        Self {
            status: status.unwrap_or_else(|| Statuses {
                text: usual.to_owned(),
                ranges: vec![if redirect.is_empty() { 200..=399 } else { 300..=399 }],
            }),
            body,
            headers: headers.collect(),
            absent: options.list("no-header").into_iter().map(|name| name.to_ascii_lowercase()).collect(),
            cookies: named(options, "cookie:"),
            json: named(options, "json:"),
            redirect,
        }
    }

    /// What is wrong with the status of an answer.
    pub(crate) fn status_fault(&self, answer: &Answer) -> Option<String> {
        self.status.fault(answer.status)
    }

    /// All that is wrong with an answer.
    pub(crate) fn faults(&self, answer: &Answer) -> Vec<String> {
        let mut faults: Vec<String> = self.status_fault(answer).into_iter().collect();
        let body = answer.text();
        faults.extend(self.body.iter().filter_map(|test| in_body(test, &body)));
        for (name, test) in &self.headers {
            faults.extend(one_of(&format!("header {name}"), test, answer.headers_of(name)));
        }
        let present = self.absent.iter().filter(|name| answer.header(name).is_some());
        faults.extend(present.map(|name| format!("header {name} is there")));
        for (name, test) in &self.cookies {
            let of_name = answer.headers_of("set-cookie").filter(|text| text.split('=').next() == Some(name.as_str()));
            faults.extend(one_of(&format!("cookie {name}"), test, of_name));
        }
        faults.extend(self.redirect.iter().filter_map(|test| one_of("redirect", test, answer.headers_of("location"))));
        if !self.json.is_empty() {
            match answer.json() {
                Err(error) => faults.push(error.to_string()),
                Ok(json) => faults.extend(self.json.iter().filter_map(|(at, test)| in_json(at, test, &json))),
            }
        }
        faults
    }
}

/// `KEY=…`, `KEY~…` and so on, for one key.
fn tests(options: &mut Options, key: &str) -> Vec<Test> {
    let given = options.compared(key);
    given.into_iter().filter_map(|(operator, value)| test(options, key, operator, &value)).collect()
}

/// The same for keys that name something: `header:x-frame-options=DENY`.
fn named(options: &mut Options, prefix: &str) -> Vec<(String, Test)> {
    let given = options.compared_below(prefix);
    let mut named = Vec::new();
    for (name, operator, value) in given {
        if name.is_empty() || (prefix == "json:" && !name.starts_with('/')) {
            options.mistake(anyhow!(
                "{prefix}{name}: write {prefix}{}",
                if prefix == "json:" { "/POINTER" } else { "NAME" }
            ));
            continue;
        }
        named.extend(test(options, &format!("{prefix}{name}"), operator, &value).map(|test| (name, test)));
    }
    named
}

fn test(options: &mut Options, key: &str, operator: Operator, value: &str) -> Option<Test> {
    let read = || -> Result<Test> {
        let pattern = || Regex::new(value).map_err(|error| anyhow!("{value:?} is no pattern: {error}"));
        Ok(match operator {
            Operator::Bare if key.contains(':') => Test::Present,
            Operator::Bare => bail!("it needs a value"),
            Operator::Is => Test::Is(value.to_owned()),
            Operator::IsNot => Test::IsNot(value.to_owned()),
            Operator::Matches => Test::Matches(pattern()?),
            Operator::MatchesNot => Test::MatchesNot(pattern()?),
            Operator::Above | Operator::From | Operator::Below | Operator::UpTo if key.starts_with("json:") => {
                Test::Number(operator, common::threshold::number(value)?)
            }
            Operator::Above | Operator::From | Operator::Below | Operator::UpTo => {
                bail!("only json: is compared as a number")
            }
        })
    };
    read().map_err(|error| options.mistake(error.context(key.to_owned()))).ok()
}

/// A body holds a text, and is not equal to it.
fn in_body(test: &Test, body: &str) -> Option<String> {
    match test {
        Test::Is(text) => (!body.contains(text)).then(|| format!("the body does not hold {text:?}")),
        Test::IsNot(text) => body.contains(text).then(|| format!("the body holds {text:?}")),
        Test::Matches(pattern) => {
            (!pattern.is_match(body)).then(|| format!("nothing in the body matches {:?}", pattern.as_str()))
        }
        Test::MatchesNot(pattern) => {
            pattern.is_match(body).then(|| format!("something in the body matches {:?}", pattern.as_str()))
        }
        Test::Present | Test::Number(..) => None,
    }
}

/// Of values of which there may be several, one must pass; where something is forbidden, all.
fn one_of<'a>(what: &str, test: &Test, values: impl Iterator<Item = &'a str>) -> Option<String> {
    let values: Vec<&str> = values.collect();
    let Some(first) = values.first() else { return Some(format!("{what} is missing")) };
    let is_forbidding = matches!(test, Test::IsNot(_) | Test::MatchesNot(_));
    let mut passes = values.iter().map(|value| passes(test, value));
    let is_good = if is_forbidding { passes.all(|pass| pass) } else { passes.any(|pass| pass) };
    // A cookie is a secret; the others are what the operator has asked about.
    let shown = if what.starts_with("cookie") { String::new() } else { format!(" {:?}", shown(first)) };
    (!is_good).then(|| format!("{what} is{shown}, not {}", wanted(test)))
}

fn in_json(pointer: &str, test: &Test, json: &Value) -> Option<String> {
    let Some(value) = json.pointer(pointer) else { return Some(format!("json {pointer} is missing")) };
    let text = plain(value);
    let is_good = match test {
        Test::Number(operator, bound) => value.as_f64().is_some_and(|number| compares(*operator, number, *bound)),
        other => passes(other, &text),
    };
    (!is_good).then(|| format!("json {pointer} is {:?}, not {}", shown(&text), wanted(test)))
}

fn passes(test: &Test, value: &str) -> bool {
    match test {
        Test::Present => true,
        Test::Is(text) => value == text,
        Test::IsNot(text) => value != text,
        Test::Matches(pattern) => pattern.is_match(value),
        Test::MatchesNot(pattern) => !pattern.is_match(value),
        Test::Number(operator, bound) => {
            common::threshold::number(value).is_ok_and(|number| compares(*operator, number, *bound))
        }
    }
}

fn compares(operator: Operator, number: f64, bound: f64) -> bool {
    match operator {
        Operator::Above => number > bound,
        Operator::From => number >= bound,
        Operator::Below => number < bound,
        Operator::UpTo => number <= bound,
        Operator::Is | Operator::IsNot | Operator::Matches | Operator::MatchesNot | Operator::Bare => false,
    }
}

fn wanted(test: &Test) -> String {
    match test {
        Test::Present => "there".to_owned(),
        Test::Is(text) => format!("{text:?}"),
        Test::IsNot(text) => format!("anything but {text:?}"),
        Test::Matches(pattern) => format!("like {:?}", pattern.as_str()),
        Test::MatchesNot(pattern) => format!("anything but {:?}", pattern.as_str()),
        Test::Number(operator, bound) => format!("{} {}", operator.sign(), common::threshold::decimal(*bound)),
    }
}

/// A value of JSON as text: a string without its quotes.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn shown(text: &str) -> String {
    let short: String = text.chars().take(100).collect();
    text::line(&short)
}
