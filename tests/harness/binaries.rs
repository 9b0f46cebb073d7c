//! Builds the tools under test, once per test process, and says where they are.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::is_root;
use crate::postgres::cache;

/// The root of the workspace.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the suite lies in the workspace")
}

/// The program of that name, freshly built.
///
/// The whole workspace is built, suite included: only then is the feature `failpoints` of `common` on in the tools.
///
/// # Panics
///
/// When the build fails, or makes no such program.
#[must_use]
pub fn tool_path(name: &str) -> PathBuf {
    let path = built().join(name);
    assert!(path.is_file(), "the workspace builds no {name:?} (looked for {path:?})");
    path
}

/// The directory that holds the built tools.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let directory = profile_directory();
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--workspace", "--bins"]).current_dir(workspace()).stdin(Stdio::null());
        // What cargo tells a test of its own package would have build scripts run again, and with them half of the build.
        let is_ours = |name: &String| {
            name == "CARGO_CRATE_NAME" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
        };
        for name in env::vars_os().filter_map(|(name, _)| name.into_string().ok()).filter(is_ours) {
            cargo.env_remove(name);
        }
        if directory.ends_with("release") {
            cargo.arg("--release");
        }
        let output = cargo.output().unwrap_or_else(|e| panic!("cannot run {cargo:?}: {e}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{cargo:?} failed ({}):\n{stderr}", output.status);
        if is_root() && !is_open(&directory) { copy_to_open_place(&directory) } else { directory }
    })
}

/// `target/debug` or `target/release`: where the running test was built, so that `CARGO_TARGET_DIR` is honoured.
fn profile_directory() -> PathBuf {
    let test = env::current_exe().expect("a running program has a path");
    let deps = test.parent().expect("a program lies in a directory");
    let directory = if deps.ends_with("deps") { deps.parent().expect("deps has a parent") } else { deps };
    directory.to_path_buf()
}

/// Whether anybody may reach what lies in the directory.
fn is_open(directory: &Path) -> bool {
    let is_searchable = |path: &Path| fs::metadata(path).is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    directory.ancestors().all(is_searchable)
}

/// Copies the tools from a repository in, say, /root to where a test can run them as somebody else.
fn copy_to_open_place(directory: &Path) -> PathBuf {
    let place = cache().join("tools");
    fs::create_dir_all(&place).unwrap_or_else(|e| panic!("cannot create {place:?}: {e}"));
    let tools = fs::read_dir(workspace().join("crates")).expect("read crates").flatten().map(|entry| entry.file_name());
    for tool in tools.filter(|tool| directory.join(tool).is_file()) {
        // Renamed into place: another test process may be running the old one.
        let partial = place.join(format!(".{}-{}", tool.display(), std::process::id()));
        fs::copy(directory.join(&tool), &partial)
            .unwrap_or_else(|e| panic!("cannot copy {tool:?} to {partial:?}: {e}"));
        fs::rename(&partial, place.join(&tool)).unwrap_or_else(|e| panic!("cannot rename {partial:?}: {e}"));
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sandbox;

    #[test]
    fn a_directory_below_a_closed_one_is_closed() {
        let dir = Sandbox::new();
        let (outer, inner) = (dir.join("outer"), dir.join("outer/inner"));
        fs::create_dir_all(&inner).unwrap();
        assert!(is_open(&inner));

        fs::set_permissions(&outer, fs::Permissions::from_mode(0o700)).unwrap();

        assert!(!is_open(&inner));
    }
}
