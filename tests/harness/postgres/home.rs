//! The directory a cluster lives in: data, socket, log.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::users::give_to_server;

/// Short, whatever TMPDIR says: the path of a Unix socket ends at 107 bytes.
const PARENT: &str = "/tmp";
const PREFIX: &str = "nspg-";

/// `/tmp/nspg-PID-N`, removed when dropped.
pub(super) struct Home {
    path: PathBuf,
}

impl Home {
    /// Makes one, and the first time removes those of test processes that are no more.
    pub(super) fn make() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let path = loop {
            let n = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = Path::new(PARENT).join(format!("{PREFIX}{}-{n}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => panic!("cannot create {path:?}: {e}"),
            }
        };
        let home = Home { path };
        fs::set_permissions(&home.path, fs::Permissions::from_mode(0o755)).expect("chmod our own directory");
        fs::create_dir(home.socket_dir()).expect("make the socket's directory");
        give_to_server(&home.socket_dir());
        home
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.path.join("data")
    }

    pub(super) fn socket_dir(&self) -> PathBuf {
        self.path.join("socket")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(super) fn log(&self) -> String {
        fs::read(self.log_file()).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        free_shared_memory(&self.path);
        drop(fs::remove_dir_all(&self.path));
    }
}

/// A killed test process removes nothing, so the next one does. Its servers died with it.
pub(super) fn sweep() {
    for entry in fs::read_dir(PARENT).expect("read /tmp").flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        if let Some(owner) = owner
            && !Path::new("/proc").join(owner).exists()
        {
            free_shared_memory(&entry.path());
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

/// Frees the little System V segment by which a data directory is guarded: only a killed server leaves it behind, and
/// with it the file that names it.
fn free_shared_memory(home: &Path) {
    let Ok(pid_file) = fs::read_to_string(home.join("data/postmaster.pid")) else {
        return;
    };
    // Line 7 is "KEY ID". Source: src/include/utils/pidfile.h.
    if let Some(id) = pid_file.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
        // It complains when the segment is gone already: as wished.
        drop(Command::new("ipcrm").args(["-m", id]).output());
    }
}
