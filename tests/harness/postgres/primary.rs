//! A copy of a running cluster, made to follow it: a standby with a slot of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::programs::Programs;
use super::template::as_server_user;
use super::{Postgres, run};
use crate::users::give_to_server;

/// The cluster that is followed, and by which slot.
pub(super) struct Primary {
    env: Vec<(String, String)>,
    slot: String,
}

impl Primary {
    pub(super) fn of(primary: &Postgres, slot: &str) -> Self {
        Primary { env: primary.env(), slot: slot.to_owned() }
    }

    /// Puts a copy at `data`; the slot is made with it, and is also what the standby calls itself.
    pub(super) fn copy(&self, programs: &Programs, data: &Path) {
        fs::create_dir(data).unwrap_or_else(|e| panic!("cannot create {data:?}: {e}"));
        fs::set_permissions(data, fs::Permissions::from_mode(0o700)).expect("chmod our own directory");
        give_to_server(data);
        let mut backup = as_server_user(&programs.bin.join("pg_basebackup"));
        backup.envs(self.env.clone()).args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf"]);
        backup.args(["--create-slot", "--slot", &self.slot, "-d", &format!("application_name={}", self.slot), "-D"]);
        let output = run(backup.arg(data));
        assert!(output.status.success(), "{backup:?} failed\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
