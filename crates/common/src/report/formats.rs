//! The five formats of a report, each a pure function.

use super::{Colour, Item, Key, Measure, Report, Show, Style, Value, measure};
use crate::status::Status;
use crate::{text, threshold, units};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// A longer subject moves its message to the right and nobody else's.
const SUBJECT_WIDTH: usize = 48;

impl Report {
    fn shown(&self, show: Show) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| show == Show::All || item.status != Status::Ok)
    }

    pub(super) fn text(&self, show: Show) -> String {
        match self.style {
            Style::Action => {
                self.items.iter().filter_map(|item| item.result.as_ref()).map(|result| format!("{result}\n")).collect()
            }
            Style::Told => String::new(),
            Style::Check => {
                let mut items: Vec<_> = self.shown(show).collect();
                if self.terminal.is_some() {
                    items.sort_by_key(|item| item.row.as_ref().map_or(i64::MIN, |row| row.rank));
                }
                let width = items.iter().map(|item| text::line(&item.subject).chars().count()).max().unwrap_or(0);
                let columns = widths(&items);
                let width = width.min(SUBJECT_WIDTH);
                if self.terminal.is_some() && items.iter().any(|item| !item.group.is_empty()) {
                    return self.groups(&items, width, &columns) + &self.closing_line(&items);
                }
                let lines: String = items.iter().map(|item| self.check_lines(item, width, &columns)).collect();
                lines + &self.closing_line(&items)
            }
        }
    }

    /// Items under the names of their groups, in the order in which these come.
    fn groups(&self, items: &[&Item], width: usize, columns: &[usize]) -> String {
        let mut out = String::new();
        let mut last: Option<&str> = None;
        for item in items {
            if last != Some(item.group.as_str()) {
                let gap = if last.is_some() { "\n" } else { "" };
                let name = if item.group.is_empty() { "other".to_owned() } else { text::line(&item.group) };
                match self.terminal {
                    Some(Colour::Yes) => push(&mut out, format_args!("{gap}\x1b[1m{name}\x1b[0m\n")),
                    Some(Colour::No) | None => push(&mut out, format_args!("{gap}{name}\n")),
                }
                last = Some(&item.group);
            }
            for line in self.check_lines(item, width, columns).lines() {
                push(&mut out, format_args!("  {line}\n"));
            }
        }
        out
    }

    /// What stands under a table; nothing under an empty one.
    fn closing_line(&self, items: &[&Item]) -> String {
        match &self.closing {
            Some(closing) if self.terminal.is_some() && !items.is_empty() => format!("\n{closing}\n"),
            Some(_) | None => String::new(),
        }
    }

    /// An item of a check tool, with its hints: in columns on a terminal, `STATUS subject: message` elsewhere.
    fn check_lines(&self, item: &Item, width: usize, columns: &[usize]) -> String {
        let (word, subject) = (item.status.word(), text::line(&item.subject));
        let message = if self.terminal.is_some() { in_columns(item, columns) } else { text::line(&item.message) };
        let mut lines = match self.terminal {
            None => format!("{word} {subject}: {message}\n"),
            Some(Colour::No) => format!("{word:8}  {subject:width$}  {message}\n"),
            Some(Colour::Yes) => {
                format!("\x1b[{}m{word:8}\x1b[0m  {subject:width$}  {message}\n", item.status.colour())
            }
        };
        if self.terminal.is_some() {
            for part in item.parts.iter().filter(|part| part.status != Status::Ok) {
                // Under the message of the item.
                let (word, gap) = (part.status.word(), " ".repeat(width + 12));
                let told = format!("{}: {}", text::line(&part.name), text::line(&part.message));
                match self.terminal {
                    Some(Colour::Yes) => {
                        push(&mut lines, format_args!("{gap}\x1b[{}m{word}\x1b[0m {told}\n", part.status.colour()));
                    }
                    Some(Colour::No) | None => push(&mut lines, format_args!("{gap}{word} {told}\n")),
                }
            }
        }
        for hint in &item.hints {
            push(&mut lines, format_args!("  hint: {}\n", text::line(hint)));
        }
        lines
    }

    pub(super) fn json(&self, show: Show) -> String {
        self.items
            .iter()
            .filter(|item| show == Show::All || item.status != Status::Ok || item.result.is_some())
            .map(|item| {
                let document = serde_json::Value::Object(self.object(item)).to_string();
                format!("{}\n", text::json(&document))
            })
            .collect()
    }

    /// The keys and values of an item's JSON object.
    pub fn object(&self, item: &Item) -> serde_json::Map<String, serde_json::Value> {
        let mut object = serde_json::Map::new();
        object.insert("tool".into(), self.tool.into());
        object.insert("time".into(), self.time.rfc3339().into());
        object.insert("subject".into(), item.subject.clone().into());
        object.insert("status".into(), item.status.word().into());
        object.insert("message".into(), item.message.clone().into());
        if !item.hints.is_empty() {
            object.insert("hints".into(), item.hints.clone().into());
        }
        if !item.group.is_empty() {
            object.insert("group".into(), item.group.clone().into());
        }
        for (key, value) in &item.fields {
            object.insert(key.name.into(), json_value(value));
        }
        if !item.measures.is_empty() {
            object.insert("measures".into(), measure::object(&item.measures));
        }
        if !item.parts.is_empty() {
            object.insert("parts".into(), measure::array(&item.parts));
        }
        object
    }

    /// Assignments for `eval`: numbered per item, and without a number where there is exactly one.
    pub(super) fn sh(&self) -> String {
        let tool = identifier(self.tool);
        let mut lines = String::new();
        push(&mut lines, format_args!("{tool}_items={}\n", self.items.len()));
        push(&mut lines, format_args!("{tool}_code={}\n", self.code() as u8));
        for (number, item) in self.items.iter().enumerate() {
            for (key, value) in self.object(item) {
                if key == "tool" || key == "time" {
                    continue;
                }
                let value = match value {
                    serde_json::Value::String(text) => text,
                    serde_json::Value::Array(list) => {
                        let words =
                            list.iter().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
                        words.collect::<Vec<_>>().join("\n")
                    }
                    other => other.to_string(),
                };
                // A shell variable cannot hold a NUL, and no name or path of ours may hold one.
                let value = text::sh(&value.replace('\0', ""));
                push(&mut lines, format_args!("{tool}_{key}_{}={value}\n", number + 1));
                if self.items.len() == 1 {
                    push(&mut lines, format_args!("{tool}_{key}={value}\n"));
                }
            }
        }
        lines
    }

    pub(super) fn nagios(&self, show: Show) -> String {
        let worst = self.status();
        let name = self.tool.to_uppercase();
        let summary = match self.items.as_slice() {
            [] => "nothing to report".to_owned(),
            [item] => format!("{}: {}", item.subject, item.message),
            items => summary(items),
        };
        let mut out = format!("{name} {} - {}", worst.word(), text::nagios(&summary));
        let data = self.performance_data();
        if !data.is_empty() {
            push(&mut out, format_args!(" | {data}"));
        }
        out.push('\n');
        if self.items.len() > 1 {
            // The worst first: monitoring cores cut long output.
            let mut items: Vec<_> = self.shown(show).collect();
            items.sort_by_key(|item| std::cmp::Reverse(item.status));
            for item in items {
                let line = format!("{} {}: {}", item.status.word(), item.subject, item.message);
                out.push_str(&text::nagios(&line));
                out.push('\n');
            }
        }
        out
    }

    fn performance_data(&self) -> String {
        let mut data = Vec::new();
        for item in &self.items {
            for (key, value) in &item.fields {
                let (number, unit) = match value {
                    Value::Count(count) => (count.to_string(), ""),
                    Value::Bytes(bytes) => (bytes.to_string(), "B"),
                    Value::Seconds(time) => (format!("{}", rounded(*time)), "s"),
                    Value::SecondsLeft(seconds) => (seconds.to_string(), "s"),
                    Value::Text(_) | Value::Texts(_) | Value::At(_) | Value::Flag(_) | Value::Rows(_) => continue,
                };
                let label = match self.items.len() {
                    1 => key.name.to_owned(),
                    _ => format!("{} {}", item.subject, key.name),
                };
                let label = text::nagios(&label).replace('=', "_");
                data.push(format!("'{label}'={number}{unit}"));
            }
            let subject = if self.items.len() == 1 { String::new() } else { format!("{} ", item.subject) };
            data.extend(item.measures.iter().map(|measure| measure.perfdata(&subject)));
            for part in &item.parts {
                // A part of one number is called after one of the two, not both.
                data.extend(part.measures.iter().map(|measure| match measure.name == part.name {
                    true => measure.perfdata(&subject),
                    false => measure.perfdata(&format!("{subject}{} ", part.name)),
                }));
            }
        }
        data.join(" ")
    }

    pub(super) fn prometheus(&self) -> String {
        let tool = identifier(self.tool);
        let mut out = String::new();
        family(
            &mut out,
            &format!("{tool}_last_run_timestamp_seconds"),
            "When the last run began",
            &[(String::new(), self.time.seconds().to_string())],
        );
        let measured = self.measured();
        let states: Vec<_> =
            measured.iter().map(|(label, item)| (label.clone(), (item.status.code() as u8).to_string())).collect();
        family(&mut out, &format!("{tool}_status"), "0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN", &states);
        // Series of one family must stand together, so collect by name first; the order of names is kept stable.
        let mut families: BTreeMap<String, (&str, Vec<Series>)> = BTreeMap::new();
        for (label, item) in &measured {
            for (label, key, value) in labelled(item, label) {
                let Some((name, number)) = metric(key, value) else { continue };
                let series = families.entry(format!("{tool}_{name}")).or_insert_with(|| (key.help, Vec::new()));
                add(&mut series.1, label, number);
            }
            for (label, measure) in measures(item, label) {
                let (name, help) = measure.unit.of_metric();
                let series = families.entry(format!("{tool}_{name}")).or_insert_with(|| (help, Vec::new()));
                add(&mut series.1, label, number(measure));
            }
            for part in &item.parts {
                let series = families.entry(format!("{tool}_part_status")).or_insert_with(|| {
                    ("Of one of several things: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN", Vec::new())
                });
                let label = with_label(label, "part", &part.name);
                add(&mut series.1, label, (part.status.code() as u8).to_string());
            }
        }
        for (name, (help, series)) in families {
            family(&mut out, &name, help, &series);
        }
        out
    }

    /// Each label once, with the worst item that has it: node_exporter drops a whole file for one series that is there
    /// twice.
    fn measured(&self) -> Vec<(String, &Item)> {
        let mut measured: Vec<(String, &Item)> = Vec::new();
        for item in &self.items {
            let label = format!("{{subject=\"{}\"}}", text::prometheus(&item.subject));
            let label = if item.group.is_empty() { label } else { with_label(&label, "group", &item.group) };
            match measured.iter_mut().find(|(taken, _)| *taken == label) {
                Some((_, other)) if item.status > other.status => *other = item,
                Some(_) => {}
                None => measured.push((label, item)),
            }
        }
        measured
    }
}

fn metric(key: &Key, value: &Value) -> Option<(String, String)> {
    match value {
        Value::Count(number) | Value::Bytes(number) => Some((key.name.to_owned(), number.to_string())),
        Value::Seconds(time) => Some((key.name.to_owned(), rounded(*time).to_string())),
        Value::SecondsLeft(seconds) => Some((key.name.to_owned(), seconds.to_string())),
        Value::At(stamp) => {
            let base = key.name.strip_suffix("_at").unwrap_or(key.name);
            Some((format!("{base}_timestamp_seconds"), stamp.seconds().to_string()))
        }
        Value::Flag(flag) => Some((key.name.to_owned(), u8::from(*flag).to_string())),
        Value::Text(_) | Value::Texts(_) | Value::Rows(_) => None,
    }
}

/// One series that is there twice, and node_exporter drops the whole file.
fn add(series: &mut Vec<Series>, label: String, number: String) {
    if series.iter().all(|(taken, _)| *taken != label) {
        series.push((label, number));
    }
}

/// The labels of a series with one more.
fn with_label(label: &str, name: &str, value: &str) -> String {
    format!("{},{name}=\"{}\"}}", label.trim_end_matches('}'), text::prometheus(value))
}

/// The measures of an item and of its parts, each with the labels of its series.
fn measures<'a>(item: &'a Item, label: &str) -> Vec<(String, &'a Measure)> {
    let mut measures: Vec<_> =
        item.measures.iter().map(|measure| (with_label(label, "measure", &measure.name), measure)).collect();
    for part in &item.parts {
        let label = with_label(label, "part", &part.name);
        measures.extend(part.measures.iter().map(|measure| (with_label(&label, "measure", &measure.name), measure)));
    }
    measures
}

fn number(measure: &Measure) -> String {
    match measure.unit {
        super::Unit::Percent => threshold::decimal(measure.value / 100.0),
        _ if measure.value.is_nan() => "NaN".to_owned(),
        _ => threshold::decimal(measure.value),
    }
}

/// The facts of an item and of its rows, each with the labels of its series.
fn labelled<'a>(item: &'a Item, label: &str) -> Vec<(String, &'a Key, &'a Value)> {
    let mut facts = Vec::new();
    for (key, value) in &item.fields {
        let Value::Rows(rows) = value else {
            facts.push((label.to_owned(), key, value));
            continue;
        };
        for row in rows {
            let mut labels = vec![format!("target=\"{}\"", text::prometheus(&item.subject))];
            labels.extend(row.iter().filter_map(|(key, value)| match value {
                Value::Text(text) => Some(format!("{}=\"{}\"", key.name, text::prometheus(text))),
                _ => None,
            }));
            let label = format!("{{{}}}", labels.join(","));
            facts.extend(row.iter().map(|(key, value)| (label.clone(), key, value)));
        }
    }
    facts
}

fn json_value(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => text.clone().into(),
        Value::Texts(texts) => texts.clone().into(),
        Value::Count(number) | Value::Bytes(number) => (*number).into(),
        Value::Seconds(time) => rounded(*time).into(),
        Value::SecondsLeft(seconds) => (*seconds).into(),
        Value::At(stamp) => stamp.rfc3339().into(),
        Value::Flag(flag) => (*flag).into(),
        Value::Rows(rows) => rows
            .iter()
            .map(|row| {
                let facts = row.iter().map(|(key, value)| (key.name.to_owned(), json_value(value)));
                serde_json::Value::Object(facts.collect())
            })
            .collect(),
    }
}

/// How wide each column of the table is.
fn widths(items: &[&Item]) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in items.iter().filter_map(|item| item.row.as_ref()) {
        for (number, cell) in row.columns.iter().enumerate() {
            let width = cell.chars().count();
            match widths.get_mut(number) {
                Some(widest) => *widest = width.max(*widest),
                None => widths.push(width),
            }
        }
    }
    widths
}

/// The message of an item on a terminal, behind its columns.
fn in_columns(item: &Item, widths: &[usize]) -> String {
    let Some(row) = &item.row else { return text::line(&item.message) };
    let cells = widths.iter().enumerate().map(|(number, width)| {
        let cell = row.columns.get(number).map_or("", String::as_str);
        format!("{:width$}  ", text::line(cell))
    });
    format!("{}{}", cells.collect::<String>(), text::line(&row.message)).trim_end().to_owned()
}

/// The labels of one series, and its value.
type Series = (String, String);

fn family(out: &mut String, name: &str, help: &str, series: &[Series]) {
    if series.is_empty() {
        return;
    }
    push(out, format_args!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
    for (label, number) in series {
        push(out, format_args!("{name}{label} {number}\n"));
    }
}

fn summary(items: &[Item]) -> String {
    let mut parts = Vec::new();
    for status in [Status::Critical, Status::Warning, Status::Unknown, Status::Ok] {
        let count = items.iter().filter(|item| item.status == status).count();
        if count > 0 {
            parts.push(format!("{} {}", units::count(count as u64), status.word().to_lowercase()));
        }
    }
    parts.join(", ")
}

fn identifier(tool: &str) -> String {
    tool.replace('-', "_")
}

/// Seconds with milliseconds: more digits would only be noise in a report.
fn rounded(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("writing to a String cannot fail");
}
