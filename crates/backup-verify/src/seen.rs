//! What a reading of a dump sees beside what it compares: names of roles and tablespaces, extensions, required tables.

use crate::required::Required;
use common::backup::foreign;
use common::backup::index::Record;
use common::backup::names::Names;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared between the reading and whoever asks afterwards.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<Mutex<Sights>>);

#[derive(Debug, Default)]
struct Sights {
    names: Names,
    extensions: BTreeSet<String>,
    required: Required,
}

impl Seen {
    /// Nothing yet.
    pub fn new(required: &[String]) -> Self {
        Self(Arc::new(Mutex::new(Sights { required: Required::new(required), ..Sights::default() })))
    }

    /// Looks at a record.
    pub fn record(&self, record: &Record) {
        let mut sights = self.sights();
        if let Record::Entry(entry) = record
            && entry.kind == "EXTENSION"
        {
            sights.extensions.insert(entry.name.clone());
        }
        sights.required.look_at(record);
    }

    /// Looks at every statement, for [`common::backup::scan::Scanner::watch`].
    pub fn watch(&self) -> impl FnMut(&[u8]) + Send + use<> {
        let seen = self.clone();
        move |statement| seen.statement(statement)
    }

    fn statement(&self, statement: &[u8]) {
        let mut sights = self.sights();
        sights.names.look_at(statement);
        sights.required.look_at_statement(statement);
    }

    /// Looks at what a reading of a dump of others meets.
    pub fn foreign(&self, seen: &foreign::Seen<'_>) {
        match seen {
            foreign::Seen::Record(record) => self.record(record),
            foreign::Seen::Statement(statement) => self.statement(statement),
        }
    }

    /// The roles and tablespaces that were named.
    pub fn names(&self) -> Names {
        self.sights().names.clone()
    }

    /// The extensions that it makes.
    pub fn extensions(&self) -> BTreeSet<String> {
        self.sights().extensions.clone()
    }

    /// What is wrong with the required tables.
    pub fn complaints(&self) -> Vec<String> {
        self.sights().required.complaints()
    }

    fn sights(&self) -> MutexGuard<'_, Sights> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
