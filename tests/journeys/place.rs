//! A server with a database `app`, and a directory for its backups: what most journeys of pgbackup begin with.

use common::backup::catalog::{INDEX, MANIFEST, SHA256, VERIFIED, archive_end};
use common::backup::label::Label;
use common::backup::manifest::Manifest;
use common::units::Stamp;
use harness::{Postgres, Ran, Sandbox, Tool};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How a run's environment names what a test wants to happen between two stages.
pub const FAILPOINT: &str = "NIGHTSHIFT_FAILPOINT";

/// The server, and a sandbox with the directory `backups` in it.
pub struct Place {
    // Dropped first: nothing of the server shall look for the sandbox.
    pub pg: Postgres,
    pub dir: Sandbox,
}

impl Place {
    /// With a small table of every common kind in `app`.
    pub fn new() -> Self {
        Self::with(Postgres::start())
    }

    /// With a server that differs.
    pub fn with(pg: Postgres) -> Self {
        let place = Place { pg, dir: Sandbox::new() };
        make_directory(&place.backups(), 0o700);
        place.pg.sql("CREATE DATABASE app");
        place.pg.sql_in(
            "app",
            "CREATE TABLE customers (id serial PRIMARY KEY, name text);
             INSERT INTO customers (name) SELECT 'customer ' || n FROM generate_series(1, 300) AS n;
             CREATE INDEX ON customers (name);
             CREATE VIEW first_ones AS SELECT * FROM customers WHERE id < 10;",
        );
        place
    }

    /// The directory of backups.
    pub fn backups(&self) -> PathBuf {
        self.dir.join("backups")
    }

    /// `pgbackup --dir backups`, about to run against the server; the database comes from the test.
    pub fn pgbackup(&self) -> Tool {
        self.bare().args(["--dir", "backups"])
    }

    /// `pgbackup` with the server's address and programs alone.
    pub fn bare(&self) -> Tool {
        self.dir.tool("pgbackup").envs(self.pg.env()).arg("--no-config").arg("--pg-bin").arg(self.pg.bin())
    }

    /// Backs up `app` and returns the label.
    #[track_caller]
    pub fn back_up(&self) -> String {
        label_of(&self.pgbackup().arg("app").run().stderr_is("").code(0))
    }

    /// The labels in the directory, sorted: what has a manifest.
    pub fn labels(&self) -> Vec<String> {
        labels_in(&self.backups())
    }

    /// The same backup once more, as if it had been made that long before now; returns its label.
    pub fn age(&self, label: &str, by: Duration) -> String {
        let stamp = Stamp::from(SystemTime::now()).checked_sub(by).expect("a time long ago");
        self.restamp(label, stamp)
    }

    /// The same backup once more, as if it had been made at that time: `20260101T020000Z`.
    pub fn at(&self, label: &str, stamp: &str) -> String {
        self.restamp(label, Stamp::parse_compact(stamp).expect("a stamp in a test"))
    }

    fn restamp(&self, label: &str, stamp: Stamp) -> String {
        let copy = Label { prefix: Label::parse(label).expect("a label").prefix, stamp }.to_string();
        let mut manifest = self.manifest(label);
        (manifest.label, manifest.started_at, manifest.finished_at) = (copy.clone(), stamp, stamp);
        let archive = archive_end(manifest.kind, manifest.archive.codec);
        for end in [archive.as_str(), INDEX] {
            let from = self.backups().join(format!("{label}{end}"));
            fs::copy(from, self.backups().join(format!("{copy}{end}"))).expect("copy a file of a backup");
        }
        self.write(&manifest);
        copy
    }

    /// Reads a manifest.
    pub fn manifest(&self, label: &str) -> Manifest {
        let bytes = fs::read(self.backups().join(format!("{label}{MANIFEST}"))).expect("read a manifest");
        Manifest::from_bytes(&bytes, label).expect("a manifest that can be read")
    }

    /// Writes a manifest, and the checksum file that goes with it.
    pub fn write(&self, manifest: &Manifest) {
        let (label, bytes) = (&manifest.label, manifest.to_bytes());
        let archive = archive_end(manifest.kind, manifest.archive.codec);
        let sums = [
            (manifest.archive.stored_sha256.clone(), archive),
            (manifest.index.sha256.clone(), INDEX.to_owned()),
            (common::backup::sha256(&bytes), MANIFEST.to_owned()),
        ];
        let sums: String = sums.iter().map(|(sum, end)| format!("{sum}  {label}{end}\n")).collect();
        fs::write(self.backups().join(format!("{label}{SHA256}")), sums).expect("write a checksum file");
        fs::write(self.backups().join(format!("{label}{MANIFEST}")), bytes).expect("write a manifest");
    }

    /// Every backup in the directory is good, and there is nothing else in it but locks.
    #[track_caller]
    pub fn is_sound(&self) {
        self.is_good();
        assert_eq!(strays(&self.backups()), Vec::<String>::new(), "files that belong to no backup");
    }

    /// Every backup that is listed is good.
    #[track_caller]
    pub fn is_good(&self) {
        let labels = self.labels();
        if !labels.is_empty() {
            let paths = labels.iter().map(|label| format!("backups/{label}"));
            self.dir.tool("backup-verify").args(["--no-config", "--threads", "1"]).args(paths).run().code(0);
        }
    }
}

/// The label of the one backup whose path a run has printed.
#[track_caller]
pub fn label_of(ran: &Ran) -> String {
    let path = ran.stdout_text().trim_end();
    let name = Path::new(path).file_name().expect("a path was printed").to_string_lossy();
    let cut = name.find(".sql").or_else(|| name.find(".data")).expect("the path of an archive");
    name[..cut].to_owned()
}

/// What has a manifest in a directory, sorted.
pub fn labels_in(directory: &Path) -> Vec<String> {
    let names = names_in(directory).into_iter();
    names.filter_map(|name| Label::parse(name.strip_suffix(MANIFEST)?)).map(|label| label.to_string()).collect()
}

/// The names in a directory that are neither locks nor part of a whole backup.
pub fn strays(directory: &Path) -> Vec<String> {
    let names = names_in(directory);
    let mut known: BTreeSet<String> = BTreeSet::new();
    for label in labels_in(directory) {
        known.extend([".sql.gz", ".index.jsonl", ".sha256", ".manifest.json"].map(|end| format!("{label}{end}")));
    }
    let missing: Vec<_> = known.difference(&names).map(|name| format!("missing: {name}")).collect();
    let is_lock = |name: &&String| name.starts_with('.') && name.ends_with(".lock");
    // A verdict belongs to its backup, and there need be none.
    let is_verdict =
        |name: &&String| name.strip_suffix(VERIFIED).is_some_and(|label| known.contains(&format!("{label}{MANIFEST}")));
    names.difference(&known).filter(|name| !is_lock(name) && !is_verdict(name)).cloned().chain(missing).collect()
}

/// The names in a directory.
pub fn names_in(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|e| panic!("cannot read {directory:?}: {e}"));
    entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Makes a directory with exactly that mode.
pub fn make_directory(path: &Path, mode: u32) {
    fs::create_dir(path).unwrap_or_else(|e| panic!("cannot create {path:?}: {e}"));
    chmod(path, mode);
}

/// Changes a mode.
pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap_or_else(|e| panic!("chmod {path:?}: {e}"));
}

/// The permission bits of a path.
pub fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap_or_else(|e| panic!("stat {path:?}: {e}")).permissions().mode() & 0o7777
}

/// Days as a length of time.
pub fn days(n: u64) -> Duration {
    Duration::from_secs(n * 86_400)
}
