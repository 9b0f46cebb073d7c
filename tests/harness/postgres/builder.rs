//! What can differ from one cluster to the next.

use std::fs::{self, OpenOptions};
use std::io::Write;

use super::home::Home;
use super::primary::Primary;
use super::programs::Programs;
use super::server::Server;
use super::{Postgres, identity, template};

/// Cheap to start and to run: many of these live at once on two cores.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
max_connections = 100
shared_buffers = 16MB
fsync = off
full_page_writes = off
synchronous_commit = off
autovacuum = off
max_logical_replication_workers = 0
jit = off
# Lies in the data directory, so that a killed server leaves nothing in /dev/shm.
dynamic_shared_memory_type = mmap
log_line_prefix = '%m [%p] %u@%d '
";

const WHO_MAY: &str = "local all all trust\nlocal replication all trust\nhost all all 127.0.0.1/32 scram-sha-256\n";

/// A cluster to be. See [`Postgres::builder`].
#[must_use = "nothing runs before start()"]
pub struct Builder {
    major: u32,
    initdb_args: Vec<String>,
    conf: Vec<String>,
    hba: Vec<String>,
    primary: Option<Primary>,
}

impl Default for Builder {
    fn default() -> Self {
        Builder { major: 15, initdb_args: Vec::new(), conf: Vec::new(), hba: Vec::new(), primary: None }
    }
}

impl Builder {
    /// The major version: 15, 16 or 18.
    pub fn major(mut self, major: u32) -> Self {
        self.major = major;
        self
    }

    /// More arguments for initdb; they come last. Clusters with the same ones share a template.
    pub fn initdb_args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.initdb_args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A line for postgresql.conf, stronger than ours.
    pub fn conf(mut self, line: impl Into<String>) -> Self {
        self.conf.push(line.into());
        self
    }

    /// A line for `pg_hba.conf`, before ours: the first that matches decides.
    pub fn hba(mut self, line: impl Into<String>) -> Self {
        self.hba.push(line.into());
        self
    }

    /// A standby of that cluster, of its version and with its data: it follows by a physical slot that is made for it, and
    /// both have this name. It listens where it would anyway, and ends as others do.
    pub fn standby_of(mut self, primary: &Postgres, slot: &str) -> Self {
        self.major = primary.major();
        self.primary = Some(Primary::of(primary, slot));
        self
    }

    /// Starts the cluster; returns when it takes connections.
    ///
    /// # Panics
    ///
    /// If it cannot be had, with the server's log.
    #[must_use]
    pub fn start(self) -> Postgres {
        let programs = Programs::of(self.major);
        let home = Home::make();
        match &self.primary {
            Some(primary) => primary.copy(&programs, &home.data_dir()),
            None => {
                template::copy(&programs, &self.initdb_args, &home.data_dir());
                identity::renew(&home.data_dir());
            }
        }
        self.configure(&home);
        let server = Server::start(&programs, &home);
        Postgres { server, programs, home }
    }

    fn configure(&self, home: &Home) {
        let socket_dir = home.socket_dir();
        let lines = self.conf.join("\n");
        let conf = format!("{SETTINGS}unix_socket_directories = '{}'\n{lines}\n", socket_dir.display());
        // Written through the existing files, which belong to the server's user.
        let mut file =
            OpenOptions::new().append(true).open(home.data_dir().join("postgresql.conf")).expect("initdb made it");
        file.write_all(conf.as_bytes()).expect("write postgresql.conf");
        let hba: String = self.hba.iter().map(|line| format!("{line}\n")).collect();
        fs::write(home.data_dir().join("pg_hba.conf"), hba + WHO_MAY).expect("write pg_hba.conf");
    }
}
