//! One item of the report for each target.

use crate::found::{self, Found};
use crate::schedule::Look;
use crate::target::Target;
use common::report::{Item, Key, Measure, Part, Row, Value};
use common::status::Status;
use common::units;
use std::time::Duration;

const KIND: Key = Key::new("kind", "What kind of target it is");
const TOOK: Key = Key::new("look_seconds", "How long the last look took");
const LOOKS: Key = Key::new("looks", "How often it was looked at");
const BLOCKED: Key = Key::new("blocked_by", "The target that is to blame");

/// How many parts that are not OK are told in the sentence.
const TOLD: usize = 5;

/// The item of a target.
pub(crate) fn of(target: &Target, look: Look) -> Item {
    let found = look.found;
    let (status, message) = match &look.blocked_by {
        Some(cause) => (Status::Unknown, format!("blocked by {cause}: {}", sentence(&found))),
        None => (found.verdict(), sentence(&found)),
    };
    let looked = match look.count {
        0 | 1 => String::new(),
        count => format!(" (looked {count} times)"),
    };
    // Of several parts a terminal shows each on its own line.
    let short = if found.parts.is_empty() || look.blocked_by.is_some() { message.clone() } else { found.sentence() };
    let row = Row { rank: 0, columns: Vec::new(), message: format!("{short}{looked}") };
    let message = format!("{message}{looked}");
    let mut item = Item::new(&target.subject, status, message)
        .with(KIND, Value::Text(target.kind.word().to_owned()))
        .with(TOOK, Value::Seconds(look.took));
    if look.count > 1 {
        item = item.with(LOOKS, Value::Count(look.count.into()));
    }
    if let Some(cause) = look.blocked_by {
        item = item.with(BLOCKED, Value::Text(cause));
    } else {
        item.hints = found.hints;
    }
    item.fields.extend(found.facts);
    item.row = Some(row);
    item.group.clone_from(&target.group);
    item.measures = found.measures;
    item.parts = found.parts.into_iter().map(judged).collect();
    item
}

/// A part with the verdict of its numbers, and the thresholds they cross.
fn judged(part: Part) -> Part {
    let status = found::of_part(&part);
    let message = part_sentence(&part);
    Part { status, message, ..part }
}

fn part_sentence(part: &Part) -> String {
    let crossed = part.measures.iter().filter_map(Measure::crossed);
    std::iter::once(part.message.clone()).chain(crossed).collect::<Vec<_>>().join("; ")
}

/// The sentence of a finding: of its parts, those that are not OK, the worst first.
fn sentence(found: &Found) -> String {
    let mut bad: Vec<_> = found.parts.iter().filter(|part| found::of_part(part) != Status::Ok).collect();
    bad.sort_by_key(|part| std::cmp::Reverse(found::of_part(part)));
    let more = bad.len().saturating_sub(TOLD);
    let told = bad.iter().take(TOLD).map(|part| format!("{}: {}", part.name, part_sentence(part)));
    let mut texts: Vec<String> = told.collect();
    if more > 0 {
        texts.push(format!("and {} more", units::count(more as u64)));
    }
    let own = found.sentence();
    if !own.is_empty() && (texts.is_empty() || found.status != Status::Ok) {
        texts.insert(0, own);
    }
    texts.join("; ")
}

/// What `--check-targets` says of a target.
pub(crate) fn understood(target: &Target) -> Item {
    let needs = if target.needs.is_empty() { String::new() } else { format!(", needs {}", target.needs.join(", ")) };
    let mut item = Item::new(&target.subject, Status::Ok, format!("{}: {}{needs}", target.place, target.kind.word()));
    item.group.clone_from(&target.group);
    item
}

/// The line under the table on a terminal: `8 looked at in 21ms: 1 critical, 7 ok`.
pub(crate) fn closing(items: &[Item], took: Duration) -> String {
    let counts = [Status::Critical, Status::Warning, Status::Unknown, Status::Ok].map(|status| {
        let count = items.iter().filter(|item| item.status == status).count();
        (count > 0).then(|| format!("{} {}", units::count(count as u64), status.word()))
    });
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    format!("{} looked at in {}: {}", units::count(items.len() as u64), units::duration(took), counts.join(", "))
}

/// Items as people read them: groups with the worst one first, and in each the worst first, else as they were written.
pub(crate) fn sorted(mut items: Vec<Item>) -> Vec<Item> {
    let mut groups: Vec<(String, Status)> = Vec::new();
    for item in &items {
        match groups.iter_mut().find(|(group, _)| *group == item.group) {
            Some((_, worst)) => *worst = item.status.max(*worst),
            None => groups.push((item.group.clone(), item.status)),
        }
    }
    groups.sort_by_key(|(_, worst)| std::cmp::Reverse(*worst));
    let rank = |item: &Item| groups.iter().position(|(group, _)| *group == item.group);
    items.sort_by_key(|item| (rank(item), std::cmp::Reverse(item.status)));
    items
}
