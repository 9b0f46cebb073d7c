//! What one look at a target found.

use common::report::{Key, Measure, Part, Value};
use common::status::Status;

/// What was found: a verdict in one sentence, numbers, and parts where there is more than one thing to judge.
///
/// Thresholds of measures and the status of parts only ever make the verdict worse.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The verdict of the kind itself, before thresholds and parts.
    pub(crate) status: Status,
    /// One sentence, lower case, no full stop. May hold foreign text: it is made safe where it is shown.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hints: Vec<String>,
    /// Its numbers, with the thresholds they are judged by.
    pub(crate) measures: Vec<Measure>,
    /// The things it consists of.
    pub(crate) parts: Vec<Part>,
    /// More facts for JSON.
    pub(crate) facts: Vec<(Key, Value)>,
}

impl Found {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            hints: Vec::new(),
            measures: Vec::new(),
            parts: Vec::new(),
            facts: Vec::new(),
        }
    }

    pub(crate) fn ok(message: impl Into<String>) -> Self {
        Self::new(Status::Ok, message)
    }

    pub(crate) fn warning(message: impl Into<String>) -> Self {
        Self::new(Status::Warning, message)
    }

    pub(crate) fn critical(message: impl Into<String>) -> Self {
        Self::new(Status::Critical, message)
    }

    pub(crate) fn unknown(message: impl Into<String>) -> Self {
        Self::new(Status::Unknown, message)
    }

    /// What an error says, with its hints.
    pub(crate) fn failed(status: Status, error: &anyhow::Error) -> Self {
        let message = common::text::redact(&format!("{error:#}")).into_owned();
        Self { hints: common::hint::of(error), ..Self::new(status, message) }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn measure(mut self, measure: Measure) -> Self {
        self.measures.push(measure);
        self
    }

    pub(crate) fn part(mut self, part: Part) -> Self {
        self.parts.push(part);
        self
    }

    pub(crate) fn fact(mut self, key: Key, value: Value) -> Self {
        self.facts.push((key, value));
        self
    }

    /// The verdict of all of it.
    pub(crate) fn verdict(&self) -> Status {
        let parts = self.parts.iter().map(of_part);
        let measures = self.measures.iter().map(Measure::status);
        parts.chain(measures).fold(self.status, Status::max)
    }

    /// Whether the thresholds that were crossed are told in the message, so that nobody has to look them up.
    pub(crate) fn sentence(&self) -> String {
        let crossed = self.measures.iter().filter_map(Measure::crossed);
        std::iter::once(self.message.clone()).chain(crossed).collect::<Vec<_>>().join("; ")
    }
}

/// The verdict of a part: its own, or a worse one by its numbers.
pub(crate) fn of_part(part: &Part) -> Status {
    part.measures.iter().map(Measure::status).fold(part.status, Status::max)
}
