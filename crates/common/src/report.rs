//! What a run has to say: a list of items, in five formats.
//!
//! A format is a pure function of the report (`formats`); only `program` writes to the outside. Keys and metric names
//! keep their meaning within a major version.

mod formats;
mod measure;

pub use measure::{Measure, Part, Unit};

use crate::status::{Code, Status};
use crate::text;
use crate::units::Stamp;
use std::time::Duration;

/// A named fact of an item: `pgbackup_stored_bytes`, `"stored_bytes": …`.
///
/// The name ends in its unit (`_bytes`, `_seconds`, `_at`) unless it counts something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Lower case with underscores.
    pub name: &'static str,
    /// One constant sentence: Prometheus drops a metric whose help differs between two files.
    pub help: &'static str,
}

impl Key {
    /// A key with its help text.
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help }
    }
}

/// The value of a fact.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A name, a path, a digest.
    Text(String),
    /// Several names.
    Texts(Vec<String>),
    /// A number of things.
    Count(u64),
    /// A size in bytes.
    Bytes(u64),
    /// A length of time.
    Seconds(Duration),
    /// Seconds that are left, or have passed where they are negative.
    SecondsLeft(i64),
    /// A point in time.
    At(Stamp),
    /// Yes or no.
    Flag(bool),
    /// Several things of one kind, each with facts of its own.
    ///
    /// In Prometheus every number of a row is a series whose labels are the row's texts and `target`, the item's subject.
    Rows(Vec<Vec<(Key, Value)>>),
}

/// One subject, its status, one sentence, and facts.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// What was looked at or worked on: a database, a path, a target.
    pub subject: String,
    /// The verdict.
    pub status: Status,
    /// One sentence, lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hints: Vec<String>,
    /// Facts in the order they are shown.
    pub fields: Vec<(Key, Value)>,
    /// What an action made; printed on a line of its own, also with `-q`.
    pub result: Option<String>,
    /// The subject is locked by another run.
    pub busy: bool,
    /// Where it stands in the table that a terminal shows.
    pub row: Option<Row>,
    /// What it is shown under; empty where a tool has no groups.
    pub group: String,
    /// Numbers whose names are known only when the tool runs, with the thresholds they were judged by.
    pub measures: Vec<Measure>,
    /// What the finding consists of, where one subject has several things to judge.
    pub parts: Vec<Part>,
}

/// How an item is shown on a terminal, where lines are in columns and the most urgent come first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The lower, the higher up.
    pub rank: i64,
    /// What stands in short columns in front of the message.
    pub columns: Vec<String>,
    /// The message without what the columns say.
    pub message: String,
}

impl Item {
    /// An item without facts.
    pub fn new(subject: impl Into<String>, status: Status, message: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            status,
            message: message.into(),
            hints: Vec::new(),
            fields: Vec::new(),
            result: None,
            busy: false,
            row: None,
            group: String::new(),
            measures: Vec::new(),
            parts: Vec::new(),
        }
    }

    /// An item that says what went wrong, with the hints of the error.
    pub fn failed(subject: impl Into<String>, status: Status, error: &anyhow::Error) -> Self {
        let message = text::redact(&format!("{error:#}")).into_owned();
        let mut item = Self::new(subject, status, message);
        item.hints = crate::hint::of(error);
        item.busy = crate::lock::is_held(error);
        item
    }

    /// Adds a fact.
    pub fn with(mut self, key: Key, value: Value) -> Self {
        self.fields.push((key, value));
        self
    }
}

/// Who reads the text format: an action tool prints what it made, a check tool prints verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The path of each thing made, one a line; what failed is on standard error.
    Action,
    /// `STATUS subject: message`, one a line.
    Check,
    /// Nothing: the tool takes the place of another one, and has said all in that one's words while it worked.
    Told,
}

/// The formats of `--format` and `--write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people and pipes: a path a line (action tools), `STATUS subject: message` (check tools)
    Text,
    /// One object a line: tool, time, subject, status, message and facts with units in their names
    Json,
    /// `tool_key='value'` lines for eval in a shell
    Sh,
    /// Monitoring Plugins: one line with performance data, then one line an item
    Nagios,
    /// Prometheus text format, for the textfile collector of node_exporter
    Prometheus,
}

/// How much of a report is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// Every item.
    All,
    /// Only what is not OK (`-q`), and results.
    Trouble,
}

/// All findings of one run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The tool's name; prefix of shell variables and metrics.
    pub tool: &'static str,
    /// How the text format reads.
    pub style: Style,
    /// When the run began.
    pub time: Stamp,
    /// The findings, in the order of the work.
    pub items: Vec<Item>,
    /// Standard output carried a data stream, so the report may not go there.
    pub streamed: bool,
    /// A person reads the text on a terminal: columns, and colour where that is wanted.
    pub terminal: Option<Colour>,
    /// What stands under the table that a terminal shows.
    pub closing: Option<String>,
}

/// Whether colour is wanted on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// The status is coloured; the word stays.
    Yes,
    /// Words only.
    No,
}

impl Report {
    /// A report without findings; it counts as UNKNOWN until it has one.
    pub fn new(tool: &'static str, style: Style, time: Stamp) -> Self {
        Self { tool, style, time, items: Vec::new(), streamed: false, terminal: None, closing: None }
    }

    /// Adds a finding.
    pub fn push(&mut self, item: Item) {
        self.items.push(item);
    }

    /// The worst status; zero items are never OK.
    pub fn status(&self) -> Status {
        self.items.iter().map(|item| item.status).max().unwrap_or(Status::Unknown)
    }

    /// The exit code: the worst status, or 75 where all that is wrong is a lock held by another run.
    pub fn code(&self) -> Code {
        let mut trouble = self.items.iter().filter(|item| item.status != Status::Ok).peekable();
        if trouble.peek().is_some() && trouble.all(|item| item.busy) {
            return Code::Busy;
        }
        self.status().code()
    }

    /// The report in a format, ending in a newline unless it is empty.
    pub fn render(&self, format: Format, show: Show) -> String {
        match format {
            Format::Text => self.text(show),
            Format::Json => self.json(show),
            Format::Sh => self.sh(),
            Format::Nagios => self.nagios(show),
            Format::Prometheus => self.prometheus(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Key = Key::new("stored_bytes", "Size on disk");
    const NEWEST: Key = Key::new("newest_at", "When the newest one was made");

    fn report(items: Vec<Item>) -> Report {
        let time = Stamp::parse_rfc3339("2026-11-20T02:00:00Z").unwrap();
        let mut report = Report::new("backup-verify", Style::Check, time);
        report.items = items;
        report
    }

    fn app() -> Item {
        let at = Stamp::parse_rfc3339("2026-11-20T01:00:00Z").unwrap();
        Item::new("app", Status::Ok, "3 tables").with(SIZE, Value::Bytes(42)).with(NEWEST, Value::At(at))
    }

    #[test]
    fn a_report_without_items_is_never_ok() {
        assert_eq!(report(vec![]).code(), Code::Unknown);
    }

    #[test]
    fn the_worst_item_decides() {
        let items = vec![app(), Item::new("b", Status::Warning, "old"), Item::new("c", Status::Unknown, "?")];

        assert_eq!(report(items).code(), Code::Warning);
    }

    #[test]
    fn a_held_lock_is_75_unless_something_worse_happened() {
        let mut busy = Item::new("b", Status::Unknown, "locked");
        busy.busy = true;

        assert_eq!(report(vec![app(), busy.clone()]).code(), Code::Busy);
        assert_eq!(report(vec![busy, Item::new("c", Status::Critical, "bad")]).code(), Code::Critical);
    }

    #[test]
    fn quiet_shows_trouble_only() {
        let items = vec![app(), Item::new("b", Status::Critical, "gone")];

        assert_eq!(report(items).render(Format::Text, Show::Trouble), "CRITICAL b: gone\n");
    }

    #[test]
    fn a_terminal_gets_columns() {
        let mut report = report(vec![app(), Item::new("b", Status::Critical, "gone")]);
        report.terminal = Some(Colour::No);

        assert_eq!(report.render(Format::Text, Show::All), "OK        app  3 tables\nCRITICAL  b    gone\n");
    }

    #[test]
    fn a_table_on_a_terminal_has_columns_and_the_lowest_rank_first() {
        let row = |rank, cell: &str| Some(Row { rank, columns: vec![cell.to_owned()], message: "short".to_owned() });
        let items = vec![
            Item { row: row(2, "2d"), ..app() },
            Item { row: row(1, "-100d"), ..Item::new("b", Status::Critical, "long") },
            Item::new("c", Status::Critical, "gone"),
        ];
        let mut report = report(items);

        let plain = report.render(Format::Text, Show::All);
        report.terminal = Some(Colour::No);
        let table = report.render(Format::Text, Show::All);

        assert_eq!(plain, "OK app: 3 tables\nCRITICAL b: long\nCRITICAL c: gone\n");
        assert_eq!(table, "CRITICAL  c    gone\nCRITICAL  b    -100d  short\nOK        app  2d     short\n");
    }

    #[test]
    fn a_terminal_shows_groups_and_the_parts_that_are_not_ok() {
        let part = |name: &str, status| Part { name: name.into(), status, message: "m".into(), measures: Vec::new() };
        let grouped = |item: Item, group: &str| Item { group: group.to_owned(), ..item };
        let items = vec![
            Item { parts: vec![part("/srv", Status::Critical), part("/", Status::Ok)], ..grouped(app(), "host") },
            grouped(Item::new("b", Status::Ok, "fine"), "host"),
            Item::new("c", Status::Ok, "fine"),
        ];
        let mut report = report(items);
        report.terminal = Some(Colour::No);
        report.closing = Some("3 looked at".into());

        let table = report.render(Format::Text, Show::All);

        assert_eq!(
            table,
            "host\n  OK        app  3 tables\n                 CRITICAL /srv: m\n  OK        b    fine\n\nother\n  OK        c    fine\n\n3 looked at\n"
        );
    }

    #[test]
    fn rows_are_objects_in_json_and_series_with_labels_in_prometheus() {
        const NAME: Key = Key::new("name", "A name");
        const ALL: Key = Key::new("all", "All of them");
        const LEFT: Key = Key::new("left_seconds", "What is left");
        let row = |name: &str| vec![(NAME, Value::Text(name.to_owned())), (LEFT, Value::SecondsLeft(-5))];
        let item = app().with(ALL, Value::Rows(vec![row("a\"b"), row("c"), row("c")]));

        let json = report(vec![item.clone()]).render(Format::Json, Show::All);
        let text = report(vec![item]).render(Format::Prometheus, Show::All);

        assert!(json.contains(r#""all":[{"name":"a\"b","left_seconds":-5},{"name":"c","left_seconds":-5}"#), "{json}");
        assert!(text.contains("backup_verify_left_seconds{target=\"app\",name=\"a\\\"b\"} -5\n"), "{text}");
        assert_eq!(text.matches("name=\"c\"").count(), 1, "{text}");
    }

    #[test]
    fn an_action_prints_what_it_made_even_when_quiet() {
        let mut item = app();
        item.result = Some("/srv/app.sql.gz".into());
        let mut report = report(vec![item]);
        report.style = Style::Action;

        assert_eq!(report.render(Format::Text, Show::Trouble), "/srv/app.sql.gz\n");
    }

    #[test]
    fn json_is_one_object_a_line_with_units_in_the_keys() {
        assert_eq!(
            report(vec![app()]).render(Format::Json, Show::All),
            "{\"tool\":\"backup-verify\",\"time\":\"2026-11-20T02:00:00Z\",\"subject\":\"app\",\"status\":\"OK\",\
             \"message\":\"3 tables\",\"stored_bytes\":42,\"newest_at\":\"2026-11-20T01:00:00Z\"}\n"
        );
    }

    #[test]
    fn sh_survives_a_hostile_name() {
        let item = Item::new("x'; touch pwned; '", Status::Ok, "m");

        let text = report(vec![item]).render(Format::Sh, Show::All);

        assert!(text.contains(r"backup_verify_subject='x'\''; touch pwned; '\'''"), "{text}");
    }

    #[test]
    fn nagios_has_one_bar_and_plain_perfdata() {
        let text = report(vec![Item::new("a|b", Status::Ok, "fine").with(SIZE, Value::Bytes(42))])
            .render(Format::Nagios, Show::All);

        assert_eq!(text, "BACKUP-VERIFY OK - a_b: fine | 'stored_bytes'=42B\n");
    }

    #[test]
    fn prometheus_families_stand_together_and_ages_are_timestamps() {
        let text = report(vec![app(), app()]).render(Format::Prometheus, Show::All);

        assert_eq!(text.matches("# TYPE backup_verify_stored_bytes gauge").count(), 1);
        assert!(text.contains("backup_verify_newest_timestamp_seconds{subject=\"app\"} 1795136400\n"), "{text}");
    }
}
