//! initdb takes a second, a copy of what it made a few hundredths: so it runs once, and its work is kept.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::programs::{Programs, cache, clean_environment};
use super::run;
use crate::users::{give_to_server, server_user};

const INITDB: [&str; 8] = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"];

/// Puts a fresh data directory at `data`.
pub(super) fn copy(programs: &Programs, initdb_args: &[String], data: &Path) {
    let template = template(programs, initdb_args);
    let output = run(Command::new("cp").arg("-a").arg(template).arg(data));
    assert!(output.status.success(), "cp -a failed: {}", String::from_utf8_lossy(&output.stderr));
}

/// The data directory to copy: of the same program, the same options and the same owner.
fn template(programs: &Programs, initdb_args: &[String]) -> PathBuf {
    let templates = cache().join("templates");
    fs::create_dir_all(&templates).unwrap_or_else(|e| panic!("cannot create {templates:?}: {e}"));
    let version = run(programs.command("postgres").arg("--version")).stdout;
    let mut hasher = DefaultHasher::new();
    (&version, &programs.bin, INITDB, initdb_args, server_user().map(|ids| ids.uid)).hash(&mut hasher);
    let template = templates.join(format!("{}-{:016x}", programs.major, hasher.finish()));
    let lock = File::create(template.with_extension("lock")).expect("make a lock file");
    lock.lock().expect("lock it");
    if !template.exists() {
        make(programs, initdb_args, &template);
    }
    template
}

fn make(programs: &Programs, initdb_args: &[String], template: &Path) {
    let partial = template.with_extension("partial");
    drop(fs::remove_dir_all(&partial));
    fs::create_dir(&partial).unwrap_or_else(|e| panic!("cannot create {partial:?}: {e}"));
    give_to_server(&partial);
    let mut initdb = as_server_user(&programs.bin.join("initdb"));
    initdb.arg("-D").arg(&partial).args(INITDB).args(initdb_args);
    let output = run(&mut initdb);
    assert!(output.status.success(), "{initdb:?} failed\n{}", String::from_utf8_lossy(&output.stderr));
    fs::rename(&partial, template).unwrap_or_else(|e| panic!("cannot rename {partial:?}: {e}"));
}

/// A program about to run as the server's user; it dies with the thread that starts it.
pub(super) fn as_server_user(program: &Path) -> Command {
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--pdeathsig", "KILL"]);
    if let Some(ids) = server_user() {
        setpriv.args([format!("--reuid={}", ids.uid), format!("--regid={}", ids.gid), "--clear-groups".to_owned()]);
    }
    setpriv.arg(program).env_clear().envs(clean_environment()).current_dir("/");
    setpriv
}
