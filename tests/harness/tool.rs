//! A program about to run: what it gets is what the test says, and nothing of the machine it runs on.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{Ran, Running};

const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// A program, its arguments and surroundings. Starts with [`Tool::run`] or [`Tool::spawn`].
///
/// Its environment is `PATH`, `HOME` (the sandbox), `LANG=C.UTF-8`, `TZ=UTC` and what the test adds; its stdin is
/// empty; it runs in the sandbox; after 120 s it is killed and the test fails.
#[must_use = "nothing runs before run() or spawn()"]
pub struct Tool {
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    cwd: PathBuf,
    stdin: Vec<u8>,
    user: Option<(u32, u32)>,
    timeout: Duration,
}

impl Tool {
    /// A program that will run in `home`.
    pub(crate) fn new(program: impl Into<PathBuf>, home: &Path) -> Self {
        let mut tool = Tool {
            program: program.into(),
            args: Vec::new(),
            envs: Vec::new(),
            cwd: home.to_path_buf(),
            stdin: Vec::new(),
            user: None,
            timeout: Duration::from_secs(120),
        };
        tool = tool.env("PATH", PATH).env("HOME", home).env("LANG", "C.UTF-8").env("TZ", "UTC");
        tool
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One more variable; it takes the place of an earlier one of that name.
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// More variables, such as those of [`crate::Postgres::env`].
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(mut self, envs: impl IntoIterator<Item = (K, V)>) -> Self {
        self.envs.extend(envs.into_iter().map(|(k, v)| (k.as_ref().to_owned(), v.as_ref().to_owned())));
        self
    }

    /// What it reads on stdin, through a pipe.
    pub fn stdin_bytes(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Nothing on stdin, which is the default.
    pub fn stdin_null(mut self) -> Self {
        self.stdin = Vec::new();
        self
    }

    /// Where it runs.
    pub fn cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = cwd.into();
        self
    }

    /// Who it runs as, without supplementary groups. For root only.
    pub fn as_user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// When it is killed and the test fails.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// If it cannot be started, or takes too long.
    #[track_caller]
    pub fn run(self) -> Ran {
        self.spawn().wait()
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[track_caller]
    pub fn spawn(self) -> Running {
        let shown = self.shown();
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(self.envs).current_dir(&self.cwd);
        // A group of its own: when time is up, its children go with it.
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if self.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
        if let Some((uid, gid)) = self.user {
            // std drops root's supplementary groups along with them.
            command.uid(uid).gid(gid);
        }
        let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {shown}: {e}"));
        Running::watch(child, self.stdin, self.timeout, shown, self.cwd)
    }

    /// The command as a person would type it, more or less.
    fn shown(&self) -> String {
        let mut shown = self.program.display().to_string();
        for arg in &self.args {
            let arg = arg.to_string_lossy();
            let plain = !arg.is_empty() && arg.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c));
            shown.push_str(&if plain { format!(" {arg}") } else { format!(" {arg:?}") });
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Sandbox, app_user};

    #[test]
    fn the_environment_is_the_one_promised() {
        let dir = Sandbox::new();

        let home = dir.path().display();
        dir.program("env")
            .env("ONE", "1")
            .run()
            .stdout_is(&format!("HOME={home}\nLANG=C.UTF-8\nONE=1\nPATH={PATH}\nTZ=UTC\n"))
            .stderr_is("")
            .code(0);
    }

    #[test]
    fn stdin_is_empty_or_what_the_test_gives() {
        let dir = Sandbox::new();

        dir.program("cat").run().stdout_is("").code(0);
        dir.program("cat").stdin_bytes("abc").run().stdout_is("abc").code(0);
        // A program that reads nothing closes the pipe: no reason to fail.
        dir.program("true").stdin_bytes(vec![b'x'; 1 << 20]).run().code(0);
    }

    #[test]
    fn another_user_has_no_groups_of_ours() {
        let dir = Sandbox::new();
        let (uid, gid) = app_user();

        dir.program("id").arg("-u").as_user(uid, gid).run().stdout_is(&format!("{uid}\n")).code(0);
        dir.program("id").arg("-G").as_user(uid, gid).run().stdout_is(&format!("{gid}\n")).code(0);
    }
}
