//! How differences are told to a person.

use crate::compare::Key;
use common::backup::index::Record;
use common::units;

/// How many differences the text shows; JSON has all of them.
const SHOWN: usize = 10;

/// `table public.orders`, `INDEX public.orders_pkey`, `ACL on TABLE orders in public`.
pub(crate) fn name(key: &Key) -> String {
    match key {
        Key::Table { schema, name } => format!("table {schema}.{name}"),
        Key::Sequence { schema, name } => format!("sequence {schema}.{name}"),
        Key::LargeObject(oid) => format!("large object {oid}"),
        Key::Entry { kind, schema, name } => entry(kind, schema, name),
    }
}

fn entry(kind: &str, schema: &str, name: &str) -> String {
    // The names of these begin with the type of what they belong to.
    let link = match kind {
        "ACL" | "COMMENT" | "SECURITY LABEL" => " on",
        _ => "",
    };
    match (schema, name) {
        (_, "") => "what stands before the first entry (SETTINGS)".to_owned(),
        ("-" | "", name) => format!("{kind}{link} {name}"),
        (schema, name) if !link.is_empty() => format!("{kind}{link} {name} in {schema}"),
        (schema, name) => format!("{kind} {schema}.{name}"),
    }
}

/// What is in the backup only.
pub(crate) fn missing(what: &str) -> String {
    format!("{what} is missing")
}

/// A sequence or a large object that is another one.
pub(crate) fn other(what: &str, recorded: &Record, found: &Record) -> String {
    match (recorded, found) {
        (Record::Sequence(before), Record::Sequence(now)) if before.value != now.value => {
            format!("{what} stands at {}, not {}", now.value, before.value)
        }
        (Record::Sequence(_), Record::Sequence(now)) => {
            let not = if now.called { "" } else { "not " };
            format!("{what} stands at {} as recorded, but has {not}handed it out", now.value)
        }
        (Record::LargeObject(before), Record::LargeObject(now)) if before.bytes != now.bytes => {
            format!("{what} has {}, but {} were recorded", units::things(now.bytes, "byte"), units::count(before.bytes))
        }
        _ => format!("{what} differs"),
    }
}

/// The first of a list, and how many more there are.
pub(crate) fn first(list: &[String]) -> String {
    let shown = list.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {} more", units::count(more as u64)),
    }
}
