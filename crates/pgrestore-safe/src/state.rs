//! The record of restores: what a run is about to do to which database, and what earlier ones have put aside.
//!
//! One JSON file a database, written before the act that it announces, so that a run which is killed leaves a record of
//! where to look. What it says is believed only together with what the server says: a name counts with its OID and owner.

use crate::app::Application;
use crate::database::Identity;
use crate::pool;
use crate::swap::Swap;
use anyhow::{Context as _, Result, anyhow, ensure};
use common::backup::catalog::lock_name;
use common::backup::label;
use common::dirfd::Dir;
use common::hint::{self, Hint as _};
use common::lock::{self, Lock, Wait};
use common::publish::{self, Partial};
use common::units::Stamp;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// The version of the format that this code writes and reads.
const FORMAT: u32 = 1;
/// The largest record that is read; ours have a few KiB.
const LIMIT: u64 = 4 << 20;
const SUFFIX: &str = ".json";

/// What is known of one database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    format: u32,
    /// The cluster's system identifier.
    pub cluster: String,
    /// The database's name.
    pub database: String,
    /// What the last swap left under the name.
    pub live: Option<Identity>,
    /// The run that is not over.
    pub run: Option<Run>,
    /// Databases that were put aside, oldest first.
    pub aside: Vec<Aside>,
}

/// A run that is not over, or was killed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When it began; part of the names it gives.
    pub stamp: Stamp,
    /// What it does.
    pub act: Act,
    /// How far it is.
    pub step: Step,
    /// The database that the name led to when it began.
    pub out: Identity,
    /// The name that this one gets.
    pub out_name: String,
    /// The database that takes its place; its OID is 0 until it is made.
    pub coming: Identity,
    /// The name that this one gets where it fails its check.
    pub failed_name: String,
    /// The temporary role that loads, and owns the side database until the load is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How the application is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Application>,
    /// The PgBouncer to resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<pool::Known>,
    /// What asks whether the application is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Vec<String>>,
    /// The connection limit of a database that is opened to be backed up before it is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_limit: Option<i32>,
}

impl Run {
    /// A run that has done nothing yet.
    pub fn new(stamp: Stamp, act: Act, out: Identity, out_name: String, coming: Identity, failed_name: String) -> Self {
        let step = if act == Act::Restore { Step::Making } else { Step::Loading };
        Self {
            stamp,
            act,
            step,
            out,
            out_name,
            coming,
            failed_name,
            role: None,
            application: None,
            pool: None,
            check: None,
            connection_limit: None,
        }
    }

    /// The two databases that change places.
    pub fn swap(&self) -> Swap {
        Swap { out: self.out.clone(), out_name: self.out_name.clone(), coming: self.coming.clone() }
    }

    /// The entry of a database that this run puts aside.
    pub fn put_aside(&self, aside: &Identity) -> Aside {
        // What --undo could not bring back is as good as it was.
        let failed = self.act == Act::Restore && aside.oid == self.coming.oid;
        Aside { identity: aside.clone(), since: self.stamp, failed }
    }
}

/// What a run does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Put a restored database in the place of the live one.
    Restore,
    /// Put back what was put aside.
    Undo,
    /// Remove what was put aside: `coming` is it.
    Drop,
}

/// How far a run is: what may have been done when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The side database is made; its OID is not known yet.
    Making,
    /// The side database is loaded and proven; the live one is untouched.
    Loading,
    /// The application is stopped, the pool paused, the names swapped: any of it.
    Swapping,
    /// The new database is live; the application is started and checked.
    Checking,
    /// The check failed, and the names are swapped back.
    SwappingBack,
    /// A database that was put aside is opened for its last backup, and dropped.
    Dropping,
}

/// A database that was put aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// The database.
    #[serde(flatten)]
    pub identity: Identity,
    /// Since when.
    pub since: Stamp,
    /// Whether it did not pass its check: then `--undo` never takes it.
    pub failed: bool,
}

impl State {
    fn new(cluster: &str, database: &str) -> Self {
        Self {
            format: FORMAT,
            cluster: cluster.to_owned(),
            database: database.to_owned(),
            live: None,
            run: None,
            aside: Vec::new(),
        }
    }

    /// Reads a record.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let state: Self = serde_json::from_slice(bytes)?;
        ensure!(state.format == FORMAT, "its format is {}, not {FORMAT}", state.format);
        Ok(state)
    }

    /// The database that `--undo` puts back: the last one put aside that had not failed.
    pub fn undoable(&self) -> Option<&Aside> {
        self.aside.iter().rev().find(|aside| !aside.failed)
    }
}

/// The directory of records.
#[derive(Debug)]
pub struct Store {
    dir: Dir,
}

impl Store {
    /// Opens the directory, made with mode 0700 where it is not there.
    ///
    /// # Errors
    ///
    /// Where it cannot be made, or other users can write to it.
    pub fn open(path: &Path) -> Result<Self> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot create {path:?}"))
            .hint("name another directory for the record of restores with --state-dir")?;
        let dir = Dir::open(path)?;
        dir.refuse_strangers()?;
        Ok(Self { dir })
    }

    /// Takes the lock of a database, and reads its record.
    ///
    /// # Errors
    ///
    /// Where another run has the lock, or a record cannot be read.
    pub fn take(&self, cluster: &str, database: &str, wait: Wait) -> Result<Held<'_>> {
        let key = label::prefix(Some(cluster), database);
        let lock = Lock::take(&self.dir, &lock_name(&key), wait).map_err(|error| {
            let advice = "wait for it with --wait DURATION, or let this run be";
            if lock::is_held(&error) { hint::with(error, advice) } else { error }
        })?;
        let name = format!("{key}{SUFFIX}");
        let state = self.read(&name)?.unwrap_or_else(|| State::new(cluster, database));
        ensure!(
            state.cluster == cluster && state.database == database,
            "cannot use {:?}: it is the record of database {:?} of cluster {}",
            self.dir.join(&name),
            state.database,
            state.cluster
        );
        Ok(Held { dir: &self.dir, name, state, lock })
    }

    /// The databases of a cluster that have a record, sorted.
    ///
    /// # Errors
    ///
    /// Where the directory or a record cannot be read.
    pub fn databases(&self, cluster: &str) -> Result<Vec<String>> {
        let names = self.dir.names().with_context(|| format!("cannot read directory {:?}", self.dir.path()))?;
        let mut found = Vec::new();
        for name in names.iter().filter(|name| name.ends_with(SUFFIX) && !name.starts_with('.')) {
            let state = self.read(name)?;
            found.extend(state.filter(|state| state.cluster == cluster).map(|state| state.database));
        }
        found.sort();
        Ok(found)
    }

    fn read(&self, name: &str) -> Result<Option<State>> {
        let path = self.dir.join(name);
        match self.dir.read(name, LIMIT) {
            Ok(bytes) => State::parse(&bytes)
                .map(Some)
                .with_context(|| format!("cannot read {path:?}"))
                .hint("it is the record of restores; a newer version may have written it"),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {path:?}")),
        }
    }
}

/// The record of a database, under its lock.
#[derive(Debug)]
pub struct Held<'a> {
    dir: &'a Dir,
    name: String,
    state: State,
    #[expect(dead_code, reason = "held, never read")]
    lock: Lock,
}

impl Held<'_> {
    /// What the record says.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The run that is not over.
    ///
    /// # Errors
    ///
    /// Where none is.
    pub fn run(&self) -> Result<&Run> {
        self.state.run.as_ref().ok_or_else(|| anyhow!("no run is on record"))
    }

    /// Refuses to begin while another run is not over.
    ///
    /// # Errors
    ///
    /// With `--recover` as a hint.
    pub fn refuse_unfinished(&self) -> Result<()> {
        match &self.state.run {
            None => Ok(()),
            Some(run) => Err(anyhow!("the run of {} was cut off and not put right", run.stamp.rfc3339()))
                .hint("run: pgrestore-safe --recover; with --dry-run it only says what it would do"),
        }
    }

    /// Changes the record, and makes the change durable before it returns.
    ///
    /// # Errors
    ///
    /// Where it cannot be written: then nothing that it announces may be done.
    pub fn change(&mut self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut next = self.state.clone();
        change(&mut next);
        let bytes = serde_json::to_vec_pretty(&next).context("cannot write the record of restores")?;
        // Under the lock, a partial file can only be what a killed run left.
        let partial = publish::partial_name(&self.name);
        self.dir.remove(&partial).with_context(|| format!("cannot remove {:?}", self.dir.join(&partial)))?;
        let mut file = Partial::create(self.dir, &self.name)?;
        file.write(&bytes)?;
        file.sync()?;
        file.commit()?;
        self.dir.sync().with_context(|| format!("cannot write {:?}", self.dir.join(&self.name)))?;
        self.state = next;
        Ok(())
    }

    /// Notes how far the run is.
    ///
    /// # Errors
    ///
    /// As [`Held::change`].
    pub fn step(&mut self, step: Step) -> Result<()> {
        self.change(|state| {
            if let Some(run) = &mut state.run {
                run.step = step;
            }
        })
    }

    /// Ends the run: what is live now, and what was put aside by it.
    ///
    /// # Errors
    ///
    /// As [`Held::change`].
    pub fn end(&mut self, live: Identity, put_aside: Option<Aside>) -> Result<()> {
        self.change(|state| {
            // What came back is no longer aside, and what went aside again is not so twice.
            let again = put_aside.as_ref().map(|aside| aside.identity.oid);
            state.aside.retain(|aside| aside.identity.oid != live.oid && Some(aside.identity.oid) != again);
            state.aside.extend(put_aside);
            state.live = Some(live);
            state.run = None;
        })
    }

    /// Ends the run that changed nothing.
    ///
    /// # Errors
    ///
    /// As [`Held::change`].
    pub fn abandon(&mut self) -> Result<()> {
        self.change(|state| state.run = None)
    }
}

/// Where records are kept unless `--state-dir` says otherwise.
///
/// # Errors
///
/// Where there is no home directory to keep them in.
pub fn default_dir(home: Option<PathBuf>, state_home: Option<PathBuf>) -> Result<PathBuf> {
    if common::process::is_root() {
        return Ok("/var/lib/nightshift/pgrestore-safe".into());
    }
    let base = state_home.filter(|path| path.is_absolute()).or_else(|| home.map(|home| home.join(".local/state")));
    base.map(|base| base.join("nightshift/pgrestore-safe"))
        .ok_or_else(|| anyhow!("no place for the record of restores"))
        .hint("name a directory with --state-dir, or set HOME")
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
