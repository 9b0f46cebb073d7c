//! A directory of the test's own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use walkdir::WalkDir;

use crate::{Tool, pattern, tool_path};

const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// A fresh directory, mode 0755, outside the repository; gone when dropped.
///
/// With `KEEP=1` in the environment, that of a test that panics stays and its path is printed.
pub struct Sandbox {
    directory: TempDir,
}

impl Sandbox {
    /// Makes one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a directory: not a value to be had by default")]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("nightshift-").tempdir().expect("make a temporary directory");
        // Servers and apps run as other users and must get in; what has to be closed, the test closes.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("chmod our own directory");
        Sandbox { directory }
    }

    /// Where it is: absolute, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path inside it.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// One of our tools, about to run here.
    pub fn tool(&self, name: &str) -> Tool {
        Tool::new(tool_path(name), self.path())
    }

    /// Any other program, by path or as found in the PATH that tools get, about to run here.
    pub fn program(&self, program: impl AsRef<Path>) -> Tool {
        Tool::new(program.as_ref(), self.path())
    }

    /// Waits until something here has a relative path of that shape, and returns the first.
    ///
    /// `*` and `?` stay within one name, and match a leading dot.
    ///
    /// # Panics
    ///
    /// After ten seconds.
    #[track_caller]
    pub fn wait_for(&self, shape: &str) -> PathBuf {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.entries().into_iter().find(|(name, _)| pattern::matches(shape, name)) {
                return self.join(found.0);
            }
            assert!(Instant::now() < deadline, "no {shape:?} after {PATIENCE:?}, but {:#?}", self.files());
            thread::sleep(POLL);
        }
    }

    /// Relative paths of all that lies here, at any depth, sorted.
    ///
    /// A directory is named only if it is empty, as `name/`.
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        files_below(self.path())
    }

    fn entries(&self) -> Vec<(String, bool)> {
        entries_below(self.path())
    }
}

impl Drop for Sandbox {
    #[expect(clippy::print_stderr, reason = "the path is for whoever looks into the failure")]
    fn drop(&mut self) {
        if thread::panicking() && std::env::var_os("KEEP").is_some_and(|keep| keep == "1") {
            self.directory.disable_cleanup(true);
            eprintln!("kept: {}", self.path().display());
        }
    }
}

/// See [`Sandbox::files`].
pub(crate) fn files_below(root: &Path) -> Vec<String> {
    let entries = entries_below(root);
    let empty = |name: &str| !entries.iter().any(|(other, _)| other.starts_with(&format!("{name}/")));
    let mut files: Vec<String> = entries
        .iter()
        .filter(|(name, is_directory)| !is_directory || empty(name))
        .map(|(name, is_directory)| if *is_directory { format!("{name}/") } else { name.clone() })
        .collect();
    files.sort();
    files
}

/// Relative path and whether it is a directory. What vanishes while we look is left out.
fn entries_below(root: &Path) -> Vec<(String, bool)> {
    WalkDir::new(root)
        .min_depth(1)
        .sort_by_file_name()
        .into_iter()
        .flatten()
        .map(|entry| {
            let relative = entry.path().strip_prefix(root).expect("walked below the root");
            (relative.to_string_lossy().into_owned(), entry.file_type().is_dir())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_listed_sorted_with_empty_directories() {
        let dir = Sandbox::new();
        fs::create_dir_all(dir.join("b/empty")).unwrap();
        fs::write(dir.join("b/file"), "").unwrap();
        fs::write(dir.join("a"), "").unwrap();

        assert_eq!(dir.files(), ["a", "b/empty/", "b/file"]);
    }

    #[test]
    fn a_dropped_sandbox_is_gone() {
        let dir = Sandbox::new();
        fs::write(dir.join("a"), "").unwrap();
        let path = dir.path().to_path_buf();

        drop(dir);

        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_comes_later_is_waited_for() {
        let dir = Sandbox::new();

        let running = dir.program("sh").args(["-c", "sleep 0.1; : > .x.partial"]).spawn();

        assert_eq!(dir.wait_for(".*.partial"), dir.join(".x.partial"));
        running.wait().code(0);
    }
}
