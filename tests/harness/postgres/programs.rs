//! Where the programs of a version are: provisioned by `scripts/postgres-for-tests`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::workspace;

/// The programs of one version.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    /// The version that was found: not the one asked for, where Debian has none that old.
    pub(super) major: u32,
    pub(super) bin: PathBuf,
}

impl Programs {
    /// Those of that version, provisioned if need be.
    pub(super) fn of(major: u32) -> Self {
        static KNOWN: Mutex<BTreeMap<u32, Programs>> = Mutex::new(BTreeMap::new());
        // Held while the script runs: the others want its answer too. Poisoned means that it failed for another
        // test; this one then fails by itself.
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry(major).or_insert_with(|| provision(major)).clone()
    }

    /// One of them, about to run in an environment that says nothing of ours.
    pub(super) fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env_clear().envs(clean_environment()).stdin(Stdio::null());
        command
    }
}

/// What the programs of a server run in.
pub(super) fn clean_environment() -> [(&'static str, &'static str); 4] {
    [("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"), ("LANG", "C.UTF-8"), ("TZ", "UTC"), ("HOME", "/")]
}

/// The directory of the programs; what else is worth keeping lies there, too. Anybody may read it.
pub(crate) fn cache() -> PathBuf {
    PathBuf::from(ask("--cache-dir").trim_end())
}

/// The program PgBouncer, provisioned if need be.
pub(crate) fn pgbouncer() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    let find = || {
        let answer = ask("pgbouncer");
        let directory = answer.trim_end().split_once(' ').expect("postgres-for-tests prints a directory").1;
        PathBuf::from(directory).join("pgbouncer")
    };
    FOUND.get_or_init(find).clone()
}

fn provision(major: u32) -> Programs {
    let answer = ask(&major.to_string());
    let (major, bin) =
        answer.trim_end().split_once(' ').unwrap_or_else(|| panic!("postgres-for-tests says {answer:?}"));
    Programs { major: major.parse().expect("a major version is a number"), bin: PathBuf::from(bin) }
}

fn ask(question: &str) -> String {
    let script = workspace().join("scripts/postgres-for-tests");
    let output = Command::new(&script)
        .arg(question)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {script:?}: {e}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script:?} {question} failed ({}):\n{stderr}", output.status);
    String::from_utf8(output.stdout).expect("the script prints UTF-8")
}
