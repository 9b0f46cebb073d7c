//! What one backup has to say.

use crate::expire::Expired;
use common::backup::catalog::archive_end;
use common::backup::manifest::{Lineage, Manifest};
use common::dirfd::{self, Dir};
use common::report::{Item, Key, Value};
use common::status::Status;
use common::units;
use std::time::Duration;

const PATH: Key = Key::new("path", "The archive");
const LABEL: Key = Key::new("label", "The backup's name");
const STORED: Key = Key::new("stored_bytes", "Size of the archive on disk");
const PLAIN: Key = Key::new("plain_bytes", "Size of the dump before compression");
const TABLES: Key = Key::new("tables", "Tables in the backup");
const ROWS: Key = Key::new("rows", "Rows in the backup");
const STARTED: Key = Key::new("started_at", "When the dump began");
const FINISHED: Key = Key::new("finished_at", "When the last byte was stored");
const DURATION: Key = Key::new("duration_seconds", "How long the backup took");
const EXPIRED: Key = Key::new("expired", "Older backups that were removed");
const NOTES: Key = Key::new("notes", "What a reader of the backup should know");
const SHA256: Key = Key::new("stored_sha256", "SHA-256 of the archive");

/// The item of a backup that was made.
pub fn item(
    dir: &Dir,
    manifest: &Manifest,
    warnings: &[String],
    expired: anyhow::Result<Expired>,
    took: Duration,
) -> Item {
    let archive = format!("{}{}", manifest.label, archive_end(manifest.kind, manifest.archive.codec));
    let path = dirfd::shown(&dir.join(&archive));
    let mut item = Item::new(&manifest.subject, Status::Ok, summary(manifest, took));
    item.fields = vec![
        (PATH, Value::Text(path.clone())),
        (LABEL, Value::Text(manifest.label.clone())),
        (STORED, Value::Bytes(manifest.archive.stored_bytes)),
        (PLAIN, Value::Bytes(manifest.archive.plain_bytes)),
        (SHA256, Value::Text(manifest.archive.stored_sha256.clone())),
    ];
    if let Some(content) = &manifest.content {
        item.fields.push((TABLES, Value::Count(content.tables)));
        item.fields.push((ROWS, Value::Count(content.rows)));
    }
    item.fields.push((STARTED, Value::At(manifest.started_at)));
    item.fields.push((FINISHED, Value::At(manifest.finished_at)));
    item.fields.push((DURATION, Value::Seconds(took)));
    item.result = Some(path);
    if !manifest.notes.is_empty() {
        item.fields.push((NOTES, Value::Texts(manifest.notes.clone())));
    }
    for warning in warnings {
        warn(&mut item, warning.clone());
    }
    lineage(&mut item, manifest);
    match expired {
        Ok(expired) => retention(&mut item, expired),
        Err(error) => {
            warn(&mut item, format!("nothing was expired: {error:#}"));
            item.hints.extend(common::hint::of(&error));
        }
    }
    item
}

fn summary(manifest: &Manifest, took: Duration) -> String {
    let stored = units::size(manifest.archive.stored_bytes);
    let plain = units::size(manifest.archive.plain_bytes);
    let what = match &manifest.content {
        Some(content) if content.tables > 0 => {
            format!("{} of {}, ", units::things(content.rows, "row"), units::things(content.tables, "table"))
        }
        Some(_) | None => String::new(),
    };
    format!("backed up {what}{plain} as {stored} in {}", units::duration(took))
}

fn lineage(item: &mut Item, manifest: &Manifest) {
    let (message, advice) = match manifest.lineage {
        Lineage::First | Lineage::Same | Lineage::Accepted => return,
        Lineage::Changed => (
            "another cluster than the one of the backups before, so nothing is expired",
            "if the server was replaced on purpose, run once with --accept-source; if two servers share the directory, \
             give each a --name",
        ),
        Lineage::Shrunk => (
            "fewer than half of the rows of the backup before, so nothing is expired",
            "if the rows were removed on purpose, run once with --accept-source",
        ),
    };
    warn(item, message.to_owned());
    item.hints.push(advice.to_owned());
}

fn retention(item: &mut Item, expired: Expired) {
    item.fields.push((EXPIRED, Value::Count(expired.removed.len() as u64)));
    for warning in expired.warnings {
        warn(item, warning);
    }
    for label in expired.future {
        warn(item, format!("{label} is from the future; it is not counted and not removed"));
        item.hints.push("is a clock wrong, or did somebody put the file there?".to_owned());
        item.status = Status::Critical;
    }
}

fn warn(item: &mut Item, message: String) {
    item.status = item.status.max(Status::Warning);
    item.message = format!("{}; {message}", item.message);
}
