//! Does a database hold what a backup says? It is dumped once more, and the records of both are compared.
//!
//! ```text
//! backup -> index            \
//!                              Comparison -> differences, doubts, notes
//! database -> pg_dump -> scan /
//! ```
//!
//! The archive is not read: what it should hold is in its index, which the manifest seals. Only where entries read
//! differently is it looked at for what they said. A backup of others has no index; it is read to its end for it.

use crate::compare::{self, Comparison, Differences, Key, Rows, Rules, Side, Statements};
use crate::redump::{Database, Manner};
use crate::seen::Seen;
use crate::{asserts, content, keys, wording};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::backup::foreign;
use common::backup::found::{self, Found};
use common::backup::index::Record;
use common::backup::manifest::{Content, Kind, Manifest};
use common::backup::stored;
use common::dirfd;
use common::hint::Hint as _;
use common::pg::client::{Access, Clients, PINNED};
use common::pg::options;
use common::pg::version::Version;
use common::report::{Item, Value};
use common::status::Status;
use common::units;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

/// What the comparison came to.
#[derive(Debug)]
pub struct Compared {
    /// What is not equal.
    pub differences: Differences,
    /// What the database holds.
    pub content: Content,
    /// What to do about doubts.
    pub advice: Option<String>,
}

/// Why nothing was compared.
#[derive(Debug)]
pub enum Trouble {
    /// The backup is damaged.
    Backup(anyhow::Error),
    /// A server did not accept it.
    Restore(anyhow::Error),
    /// Something else stood in the way.
    Judging(anyhow::Error),
}

/// Compares a database with the backup that a path names, and says how it went.
pub fn item(path: &Path, seen: &Seen, asserts: &[String], clients: &Clients, access: Access) -> Item {
    let began = Instant::now();
    let subject = dirfd::shown(path);
    let (database, label, compared) = match Database::open(clients, access.clone()) {
        Err(error) => return Item::failed(subject, Status::Unknown, &error),
        Ok(database) if found::is_ours(path) => match Found::open(path) {
            Err(error) => return crate::failed(subject, &error),
            Ok(found) => {
                let compared = compare(&found, seen, &database);
                (database, Some(found.manifest.label), compared)
            }
        },
        Ok(database) => {
            let compared = compare_foreign(path, seen, clients, &database);
            (database, None, compared)
        }
    };
    let asked = |compared: Compared| asserts::ask(asserts, clients, &access).map(|said| (compared, said));
    match compared.and_then(|compared| asked(compared).map_err(Trouble::Judging)) {
        Err(Trouble::Backup(error) | Trouble::Restore(error)) => crate::failed(subject, &error),
        Err(Trouble::Judging(error)) => Item::failed(subject, Status::Unknown, &error),
        Ok((compared, complaints)) => {
            let place = Place { what: &format!("database {}", database.name()), depth: "against", done: "compared" };
            let mut item = compared.item(subject, &place, began.elapsed());
            item.fields.push((keys::DATABASE, Value::Text(database.name().to_owned())));
            item.fields.extend(label.map(|label| (keys::LABEL, Value::Text(label))));
            complain(&mut item, [seen.complaints(), complaints].concat());
            item
        }
    }
}

/// Makes an item CRITICAL by what else is wrong, which it then says first.
pub fn complain(item: &mut Item, complaints: Vec<String>) {
    if complaints.is_empty() {
        return;
    }
    item.status = Status::Critical;
    item.message = format!("{}; {}", wording::first(&complaints), item.message);
    item.fields.push((keys::COMPLAINTS, Value::Texts(complaints)));
}

/// Where something was compared, and how that is called.
#[derive(Debug)]
pub struct Place<'a> {
    /// `database app`, `the restored database`.
    pub what: &'a str,
    /// The depth in the report.
    pub depth: &'static str,
    /// `compared`, `restored`.
    pub done: &'static str,
}

impl Compared {
    /// What the comparison says of the backup.
    pub fn status(&self) -> Status {
        match (self.differences.found.is_empty(), self.differences.doubts.is_empty()) {
            (false, _) => Status::Critical,
            (true, false) => Status::Warning,
            (true, true) => Status::Ok,
        }
    }

    /// What is said of it; all differences are in the fields, the first in the message.
    pub fn item(self, subject: String, place: &Place<'_>, took: Duration) -> Item {
        let status = self.status();
        let Self { differences: Differences { found, doubts, notes, reworded }, content, advice } = self;
        let Place { what, depth, done } = place;
        let rows = crate::rows_of_tables(&content);
        let message = match status {
            Status::Critical | Status::Unknown => format!("{what} differs: {}", wording::first(&found)),
            Status::Warning => format!("{what}: {}", wording::first(&doubts)),
            Status::Ok if notes.is_empty() => format!("{rows} as recorded, {done} in {}", units::duration(took)),
            Status::Ok => {
                let noted = wording::first(&notes);
                format!("{rows} as recorded, {done} in {}; but note: {noted}", units::duration(took))
            }
        };
        let mut item = Item::new(subject, status, message)
            .with(keys::DEPTH, Value::Text((*depth).to_owned()))
            .with(keys::TABLES, Value::Count(content.tables))
            .with(keys::ROWS, Value::Count(content.rows))
            .with(keys::DIFFERENT, Value::Count(found.len() as u64))
            .with(keys::DURATION, Value::Seconds(took));
        item.hints.extend(advice.filter(|_| status == Status::Warning));
        let lists =
            [(keys::DIFFERENCES, found), (keys::DOUBTS, doubts), (keys::NOTES, notes), (keys::REWORDED, reworded)];
        for (key, list) in lists {
            if !list.is_empty() {
                item = item.with(key, Value::Texts(list));
            }
        }
        item
    }
}

/// Compares a database with the index of a backup.
///
/// # Errors
///
/// See [`Trouble`].
pub fn compare(found: &Found, seen: &Seen, database: &Database<'_>) -> Result<Compared, Trouble> {
    compare_by(manner(&found.manifest).map_err(Trouble::Judging)?, found, seen, database)
}

/// Compares a database that the backup was restored into, as its superuser.
///
/// # Errors
///
/// See [`Trouble`].
pub fn compare_restored(found: &Found, database: &Database<'_>) -> Result<Compared, Trouble> {
    let mut manner = manner(&found.manifest).map_err(Trouble::Judging)?;
    // Whose rights were borrowed for the first dump does not matter to a superuser.
    manner.options.retain(|word| !word.starts_with("--role="));
    compare_by(manner, found, &Seen::default(), database)
}

fn compare_by(manner: Manner, found: &Found, seen: &Seen, database: &Database<'_>) -> Result<Compared, Trouble> {
    stored::check_small(found).map_err(Trouble::Backup)?;
    let mut index = found.index().map_err(Trouble::Backup)?;
    let mut next = || index.next_record().context("the index is damaged");
    let client = database.client(&manner).map_err(Trouble::Judging)?;
    let rules = Rules {
        statements: statements(&found.manifest, client.version, database.version()),
        rows: Rows::Exact,
        configuration: database.configuration(),
    };
    let mut comparison = Comparison::default();
    let mut damage = None;
    let content = database.dump(&manner, seen, |record| {
        comparison.take(Side::Found, record)?;
        // By turns, so that equal records meet soon.
        match next() {
            Ok(Some(record)) => comparison.take(Side::Recorded, record),
            Ok(None) => Ok(()),
            Err(error) => {
                damage = Some(error);
                bail!("the index is damaged")
            }
        }
    });
    if let Some(damage) = damage {
        return Err(Trouble::Backup(damage));
    }
    let content = content.map_err(Trouble::Judging)?;
    while let Some(record) = next().map_err(Trouble::Backup)? {
        comparison.take(Side::Recorded, record).map_err(Trouble::Judging)?;
    }
    let advice = Some(advice(&found.manifest, client.version, database.version()));
    let unclear = comparison.unclear(&rules);
    let same = loosely_equal(unclear, &manner, found, database)?;
    Ok(Compared { differences: comparison.finish(&rules, &same), content, advice })
}

/// Which of the entries say the same, leaving out what a server may word differently when it is asked a second time.
fn loosely_equal(
    unclear: BTreeSet<Key>,
    manner: &Manner,
    found: &Found,
    database: &Database<'_>,
) -> Result<BTreeSet<Key>, Trouble> {
    if unclear.is_empty() {
        return Ok(unclear);
    }
    common::info!("{} read differently; they are looked at again", units::things(unclear.len() as u64, "entry"));
    let mut digests: BTreeMap<Key, [Vec<String>; 2]> =
        unclear.into_iter().map(|key| (key, Default::default())).collect();
    let mut take = |side: usize, mut record: Record| {
        let Some(key) = compare::key_of(&mut record) else { return };
        if let (Record::Entry(entry), Some(sides)) = (record, digests.get_mut(&key)) {
            sides[side].push(entry.digest);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    content::entries_loosely(found, threads, |record| take(0, record)).map_err(Trouble::Backup)?;
    let taken = database.entries_loosely(manner, |record| {
        take(1, record);
        Ok(())
    });
    taken.map_err(Trouble::Judging)?;
    let is_same = |sides: &mut [Vec<String>; 2]| {
        sides.iter_mut().for_each(|side| side.sort());
        !sides[0].is_empty() && sides[0] == sides[1]
    };
    Ok(digests.into_iter().filter_map(|(key, mut sides)| is_same(&mut sides).then_some(key)).collect())
}

/// How the dump of a backup was made.
///
/// # Errors
///
/// Where the backup is not one of a database, or was made as we would not make one.
fn manner(manifest: &Manifest) -> Result<Manner> {
    match manifest.kind {
        Kind::Database => {}
        Kind::Globals => bail!("globals belong to a server, and cannot be compared with a database"),
        Kind::Stream => bail!("a stream cannot be compared with a database"),
    }
    let client = manifest.client.as_ref().context("the manifest names no pg_dump")?;
    let major = client.version.split('.').next().and_then(|major| major.parse().ok());
    for (name, value) in PINNED {
        let recorded = manifest.settings.get(name).map(String::as_str);
        ensure!(recorded == Some(value), "the backup was made with {name} = {recorded:?}, and not {value:?}");
    }
    Ok(Manner {
        client_major: major.with_context(|| format!("the manifest names pg_dump {:?}", client.version))?,
        client_version: Some(client.version.clone()),
        options: options::once_more(&client.options).context("cannot dump as the manifest says")?,
    })
}

/// The same pg_dump words the same server in the same way; other minor versions nearly so; other majors not.
///
/// pg_dump 15.18 writes options of columns that 15.20 knows to be the server's own.
fn statements(manifest: &Manifest, client: Version, server: Version) -> Statements {
    let source = manifest.source.as_ref().map(|source| Version::from_number(source.version_num));
    let recorded = manifest.client.as_ref().map(|client| client.version.as_str()).unwrap_or_default();
    let majors = (source.map(|version| version.major), recorded.split('.').next());
    if majors != (Some(server.major), Some(&client.major.to_string())) {
        Statements::Present
    } else if source == Some(server) && recorded == client.to_string() {
        Statements::Exact
    } else {
        Statements::Likely
    }
}

/// What to do about doubts that other versions raise.
fn advice(manifest: &Manifest, client: Version, server: Version) -> String {
    let of = |version: Option<&str>| version.unwrap_or("an unknown version").to_owned();
    let recorded = of(manifest.client.as_ref().map(|client| client.version.as_str()));
    let source = of(manifest.source.as_ref().and_then(|source| source.version.split(' ').next()));
    format!(
        "the backup was made by pg_dump {recorded} of server {source}, and this is pg_dump {client} of server {server}; \
         with the same versions there is no doubt (--pg-bin)"
    )
}

/// Compares a database with a dump that something else made; its options are guessed from what it holds.
///
/// # Errors
///
/// See [`Trouble`].
pub fn compare_foreign(
    path: &Path,
    seen: &Seen,
    clients: &Clients,
    database: &Database<'_>,
) -> Result<Compared, Trouble> {
    let mut comparison = Comparison::default();
    let mut traits = Traits::default();
    let mut failure = None;
    let mut each = |seen: foreign::Seen<'_>| {
        let foreign::Seen::Record(record) = seen else { return };
        traits.look_at(&record);
        failure = failure.take().or_else(|| comparison.take(Side::Recorded, record).err());
    };
    let judged = foreign::judge(path, clients, &mut each).map_err(Trouble::Judging)?.map_err(Trouble::Backup)?;
    if judged.kind == Kind::Globals {
        return Err(Trouble::Judging(anyhow!("a dump of a whole server cannot be compared with a database")));
    }
    if let Some(failure) = failure {
        return Err(Trouble::Judging(failure));
    }
    let client_major = judged
        .client
        .ok_or_else(|| anyhow!("it does not say which pg_dump made it"))
        .hint("its line \"-- Dumped by pg_dump version\" is needed")
        .map_err(Trouble::Judging)?;
    let manner = Manner { client_major, client_version: None, options: traits.options() };
    let taken = database.dump(&manner, seen, |record| comparison.take(Side::Found, record));
    let content = taken.map_err(Trouble::Judging)?;
    let rules = Rules { statements: Statements::Present, rows: Rows::Number, configuration: database.configuration() };
    let mut differences = comparison.finish(&rules, &BTreeSet::new());
    if judged.content.tables == 0 && content.tables > 0 {
        differences.doubts.push("its rows are no COPY blocks, so they were not compared".to_owned());
    }
    Ok(Compared { differences, content, advice: None })
}

/// What a dump without a manifest lets see of the options it was made with.
#[derive(Debug, Default)]
struct Traits {
    has_owners: bool,
    has_grants: bool,
    has_comments: bool,
}

impl Traits {
    fn look_at(&mut self, record: &Record) {
        if let Record::Entry(entry) = record {
            self.has_owners |= !["", "-"].contains(&entry.owner.as_str());
            self.has_grants |= ["ACL", "DEFAULT ACL"].contains(&entry.kind.as_str());
            self.has_comments |= entry.kind == "COMMENT";
        }
    }

    fn options(&self) -> Vec<String> {
        let given = [
            (self.has_owners, "--no-owner"),
            (self.has_grants, "--no-privileges"),
            (self.has_comments, "--no-comments"),
        ];
        given.into_iter().filter(|(has, _)| !has).map(|(_, option)| option.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(change: impl Fn(&mut serde_json::Value)) -> Manifest {
        let text = include_str!("../../../tests/fixtures/manifest.json");
        let mut document: serde_json::Value = serde_json::from_str(text).unwrap();
        document["client"] = serde_json::json!({ "program": "pg_dump", "version": "15.20", "options": [] });
        document["settings"] =
            PINNED.iter().copied().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect();
        change(&mut document);
        Manifest::from_bytes(document.to_string().as_bytes(), "app-20261120T020000Z").unwrap()
    }

    #[test]
    fn a_second_dump_is_made_as_the_first_one_was() {
        let manner = manner(&manifest(|document| {
            document["client"]["options"] = serde_json::json!(["--schema=a", "--snapshot=1", "--encoding=UTF8"]);
        }));

        let manner = manner.unwrap();
        assert_eq!(manner.client_major, 15);
        assert_eq!(manner.options, ["--schema=a", "--encoding=UTF8"]);
    }

    #[test]
    fn a_manifest_cannot_make_pg_dump_write_a_file() {
        let error = manner(&manifest(|document| {
            document["client"]["options"] = serde_json::json!(["--file=/etc/passwd"]);
        }));

        assert!(format!("{:#}", error.unwrap_err()).contains("cannot be handed on"));
    }

    #[test]
    fn what_was_dumped_with_other_settings_is_not_compared() {
        let error = manner(&manifest(|document| document["settings"]["TimeZone"] = "Europe/Berlin".into()));

        assert!(error.unwrap_err().to_string().contains("TimeZone"));
    }

    #[test]
    fn statements_must_be_equal_to_the_letter_only_where_the_versions_are() {
        let version = |major, minor| Version { major, minor };
        let manifest = manifest(|_| {});

        assert_eq!(statements(&manifest, version(15, 20), version(15, 20)), Statements::Exact);
        assert_eq!(statements(&manifest, version(15, 18), version(15, 20)), Statements::Likely);
        assert_eq!(statements(&manifest, version(15, 20), version(15, 18)), Statements::Likely);
        assert_eq!(statements(&manifest, version(16, 20), version(15, 20)), Statements::Present);
        assert_eq!(statements(&manifest, version(16, 20), version(16, 20)), Statements::Present);
    }
}
