//! Who runs what: PostgreSQL refuses to run as root, and a test of privileges needs somebody without any.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use nix::unistd::User;

/// Belongs to nobody on an ordinary Debian (its ranges end at 60,000 and begin again at 65,534).
const APP_ID: u32 = 61_234;

/// Made when there is no `postgres`: initdb looks its caller up in passwd, so a bare number is not enough.
const MADE_FOR_TESTS: &str = "nightshift-test";

/// Whom backup-verify runs throw-away servers as.
const VERIFY: &str = "nightshift-verify";

/// A user id and its group id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ids {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Whether the tests run as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `(uid, gid)` of somebody who owns nothing and belongs to no group: the app of a threat.
///
/// # Panics
///
/// When the tests do not run as root: they could not become that user.
#[must_use]
pub fn app_user() -> (u32, u32) {
    assert!(is_root(), "a test that changes users must run as root: `sudo make test`, or the root container of CI");
    (APP_ID, APP_ID)
}

/// Who clusters run as: `None` is whoever runs the tests.
pub(crate) fn server_user() -> Option<Ids> {
    static USER: OnceLock<Option<Ids>> = OnceLock::new();
    *USER.get_or_init(|| is_root().then(|| find("postgres").or_else(|| find(MADE_FOR_TESTS)).unwrap_or_else(make)))
}

fn find(name: &str) -> Option<Ids> {
    let user = User::from_name(name).expect("read the user database")?;
    Some(Ids { uid: user.uid.as_raw(), gid: user.gid.as_raw() })
}

/// `(uid, gid)` of the user whom backup-verify runs throw-away servers as; made where there is none.
///
/// # Panics
///
/// When the tests do not run as root, or it cannot be made.
pub fn verify_user() -> (u32, u32) {
    static USER: OnceLock<Ids> = OnceLock::new();
    assert!(is_root(), "a test that changes users must run as root: `sudo make test`, or the root container of CI");
    let ids = USER.get_or_init(|| find(VERIFY).unwrap_or_else(|| make_user(VERIFY)));
    (ids.uid, ids.gid)
}

fn make() -> Ids {
    make_user(MADE_FOR_TESTS)
}

#[expect(clippy::print_stderr, reason = "whoever runs the tests is told that they add a user")]
fn make_user(name: &str) -> Ids {
    eprintln!("tests: PostgreSQL refuses to run as root, so a system user {name:?} is made now");
    let status = Command::new("useradd")
        .args(["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", name])
        .status()
        .expect("run useradd");
    // It also fails when another test process made the user a moment ago; then there is one.
    find(name).unwrap_or_else(|| panic!("useradd {name} failed ({status}): make the user by hand"))
}

/// Gives `path` to the server's user, if it is not us.
pub(crate) fn give_to_server(path: &Path) {
    if let Some(ids) = server_user() {
        std::os::unix::fs::chown(path, Some(ids.uid), Some(ids.gid)).unwrap_or_else(|e| panic!("chown {path:?}: {e}"));
    }
}
