//! What keeps a throw-away server apart from the rest of the machine.
//!
//! ```text
//! unshare --net --mount -- sh -c 'an empty /run' -- prlimit … setpriv … postgres
//! ```
//!
//! A dump is a program, and what it defines may find a hole in the server and become a process of the server's user. That
//! one reaches no network, no socket below /run (a production server, D-Bus, a container engine), gains no rights by
//! set-user-ID programs, cannot fill the table of processes, and dies with us. Only root can take network and /run away;
//! where the kernel lets nobody (a container without CAP_SYS_ADMIN), the rest still holds. Source: THREATS V1.

use anyhow::{Context as _, Result};
use common::hint::Hint as _;
use common::process::{self, Program, User};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// Covers /run, and becomes the program that the words behind it name. A constant: words are never part of a script.
const EMPTY_RUN: &str = "\"$0\" -t tmpfs -o ro,nosuid,nodev,noexec,size=4k,mode=755 none /run && exec \"$@\"";
/// More processes than one load on all connections takes. The limit counts those of all clusters of the user.
const PROCESSES: &str = "--nproc=1024:1024";

/// The program whose last words are a program to run, and its words, so that it runs kept apart; in `place` it has its
/// files.
///
/// # Errors
///
/// Where setpriv or prlimit is missing.
pub fn around(user: Option<&User>, place: &Path) -> Result<Program> {
    let util_linux = "install util-linux; it sees to it that the server ends with this program";
    let setpriv = process::find("setpriv").context("cannot find the program setpriv").hint(util_linux)?;
    let prlimit = process::find("prlimit").context("cannot find the program prlimit").hint(util_linux)?;
    // The processes of a user who also works here are none of our business.
    let processes = user.map(|_| PROCESSES.into());
    let limits = [prlimit.into(), "--core=0:0".into()].into_iter().chain(processes);
    let mut rights: Vec<OsString> = vec![setpriv.into(), "--no-new-privs".into(), "--pdeathsig=QUIT".into()];
    if let Some(user) = user {
        let ids = [format!("--reuid={}", user.uid), format!("--regid={}", user.gid), "--clear-groups".into()];
        rights.extend(ids.map(OsString::from));
    }
    rights.push("--".into());
    let words: Vec<OsString> = apart(place).into_iter().chain(limits).chain(rights).collect();
    Ok(Program::new(Path::new(&words[0])).args(&words[1..]))
}

/// The words that take network and /run away, as far as the kernel lets us.
fn apart(place: &Path) -> Vec<OsString> {
    let Some(unshare) = process::find("unshare").filter(|_| process::is_root()) else { return Vec::new() };
    let network: Vec<OsString> = vec![unshare.into(), "--net".into()];
    let behind = |words: &[OsString], last: &[OsString]| [words, &["--".into()][..], last].concat();
    if let (Some(mount), Some(sh)) = (process::find("mount"), process::find("sh"))
        && !is_below_run(place)
    {
        let run = [sh.into(), "-c".into(), EMPTY_RUN.into(), mount.into()];
        let words = behind(&[&network[..], &["--mount".into()]].concat(), &run);
        if can(&words) {
            return words;
        }
    }
    common::info!("the throw-away server sees /run: it cannot be taken away here");
    let words = behind(&network, &[]);
    if can(&words) {
        return words;
    }
    common::info!("the throw-away server keeps the network, which it does not listen on");
    Vec::new()
}

fn can(words: &[OsString]) -> bool {
    let tried = Program::new(Path::new(&words[0])).args(&words[1..]).arg("/bin/true");
    let tried = tried.output(Duration::from_secs(10), 1024);
    tried.inspect_err(|error| common::debug!("{error:#}")).is_ok()
}

/// Whether the server's own files would go, too.
fn is_below_run(place: &Path) -> bool {
    let real = std::fs::canonicalize(place);
    real.map_or(true, |real| ["/run", "/var/run"].iter().any(|run| real.starts_with(run)))
}
