//! The facts that a report has, with their constant help texts.

use common::report::Key;

pub const STORED: Key = Key::new("stored_bytes", "Size of the archive on disk");
pub const PLAIN: Key = Key::new("plain_bytes", "Size of the dump before compression");
pub const TABLES: Key = Key::new("tables", "Tables in the backup");
pub const ROWS: Key = Key::new("rows", "Rows in the backup");
pub const STARTED: Key = Key::new("started_at", "When the dump began");
pub const DURATION: Key = Key::new("duration_seconds", "How long the check took");
pub const DEPTH: Key = Key::new("depth", "How deep it went");
pub const LABEL: Key = Key::new("label", "The backup's name");
pub const AGE: Key = Key::new("age_seconds", "How long ago the newest dump began");
pub const COUNT: Key = Key::new("backups", "Complete backups of the database");
pub const FREE: Key = Key::new("free_bytes", "Space left on the file system");
pub const DATABASE: Key = Key::new("database", "The database that was compared with it");
pub const DIFFERENT: Key = Key::new("different", "Things that are not as recorded");
pub const DIFFERENCES: Key = Key::new("differences", "What is not as recorded");
pub const DOUBTS: Key = Key::new("doubts", "What could not be told");
pub const NOTES: Key = Key::new("notes", "What differs and is as it should be");
pub const COMPLAINTS: Key = Key::new("complaints", "Tables and asserts that are not as required");
pub const REWORDED: Key = Key::new("reworded", "Entries that the server words differently and that say the same");
