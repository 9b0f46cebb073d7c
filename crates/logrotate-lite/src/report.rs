//! The run as a report, for `--format` and `--write`: one item a log, and one for all that belongs to none.

use crate::message::{self, Failed, Told, shown};
use crate::stanza::{Outcome, Result as Done};
use crate::state::Entry;
use common::report::{Item, Key, Report, Value};
use common::status::Status;
use common::units::Stamp;
use jiff::Zoned;
use std::path::Path;

const DUE: Key = Key::new("due", "Whether the log was due in this run");
const ROTATED: Key = Key::new("rotated", "Whether the log was rotated in this run");
const SIZE: Key = Key::new("size_bytes", "Size of the log when it was looked at");
const LAST: Key = Key::new("last_rotated_at", "When the log was rotated last, or first seen");

/// Collects what was found.
pub struct Findings<'a> {
    report: &'a mut Report,
}

impl<'a> Findings<'a> {
    /// Findings that go to a report.
    pub fn new(report: &'a mut Report) -> Self {
        Self { report }
    }

    /// What reading the configuration came to.
    pub fn configuration(&mut self, names: &str, read: Told) {
        let errors = message::take_errors();
        if read.is_err() {
            self.failed(names, &errors, "the configuration is wrong");
        }
    }

    /// Another run holds the lock, or there can be none: that alone is the answer.
    pub fn locked(&mut self, state: &str, _: Failed) {
        let mut item = Item::new(state, Status::Unknown, message::take_errors().join("; "));
        item.busy = true;
        self.report.items = vec![item];
    }

    /// What reading or writing the state file came to.
    pub fn state(&mut self, path: &str, result: Told) {
        let errors = message::take_errors();
        if result.is_err() {
            self.failed(path, &errors, "the state file is damaged");
        }
    }

    /// What came of a log.
    pub fn log(&mut self, path: &Path, outcome: &Outcome, entry: Option<Entry>, now: &Zoned) {
        let status = if outcome.failed { Status::Critical } else { Status::Ok };
        let message = match (outcome.failed, outcome.errors.as_slice(), outcome.rotated) {
            (true, [_, ..], _) => outcome.errors.join("; "),
            (true, [], _) => "failed".to_owned(),
            (false, _, true) => format!("rotated, {}", outcome.reason),
            (false, _, false) => outcome.reason.clone(),
        };
        let mut item = Item::new(shown(path).to_string(), status, message)
            .with(DUE, Value::Flag(outcome.due))
            .with(ROTATED, Value::Flag(outcome.rotated));
        if !outcome.failed {
            item.hints.clone_from(&outcome.errors);
        }
        if let Some(size) = outcome.size {
            item = item.with(SIZE, Value::Bytes(size));
        }
        let last = entry.and_then(|entry| entry.last.to_zoned(now.time_zone().clone()).ok());
        if let Some(stamp) = last.and_then(|last| Stamp::from_seconds(last.timestamp().as_second())) {
            item = item.with(LAST, Value::At(stamp));
        }
        self.report.push(item);
    }

    /// What failed in a stanza and belongs to none of its logs.
    pub fn stanza(&mut self, pattern: &str, done: &Done) {
        let is_told = done.outcomes.iter().any(|outcome| outcome.failed);
        if done.failed && (!done.errors.is_empty() || !is_told) {
            self.failed(pattern, &done.errors, "failed");
        }
    }

    /// A finding of `--check`.
    pub fn advice(&mut self, place: &str, what: &str, hint: &str) {
        let mut item = Item::new(place, Status::Ok, what);
        item.hints.push(hint.to_owned());
        self.report.push(item);
    }

    /// A signal came.
    pub fn stopped(&mut self, error: &anyhow::Error) {
        self.failed(self.report.tool, &[], &format!("{error:#}"));
    }

    /// Nothing is more to come: no findings are a finding, too.
    pub fn end(&mut self) {
        if self.report.items.is_empty() {
            self.report.push(Item::new(self.report.tool, Status::Ok, "no logs"));
        }
    }

    fn failed(&mut self, subject: &str, errors: &[String], otherwise: &str) {
        let message = if errors.is_empty() { otherwise.to_owned() } else { errors.join("; ") };
        self.report.push(Item::new(subject, Status::Critical, message));
    }
}
