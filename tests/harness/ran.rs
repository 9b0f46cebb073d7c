//! A program that has ended, and what a test says about it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::sandbox::files_below;

/// The outcome of one run. Its assertions chain, and panic with all there is to know.
#[derive(Clone)]
pub struct Ran {
    /// The bytes of its stdout.
    pub stdout: Vec<u8>,
    /// The bytes of its stderr, with the time stamps.
    pub stderr: Vec<u8>,
    /// Its exit code, if it exited.
    pub code: Option<i32>,
    /// The signal that ended it, if one did.
    pub signal: Option<i32>,
    /// From start to end.
    pub wall: Duration,
    /// The most memory that it held, without its children. Looked at every millisecond, so none for the very quick.
    pub max_rss_kib: Option<u64>,
    pub(crate) pipe_left_open: bool,
    pub(crate) shown: String,
    pub(crate) cwd: PathBuf,
}

impl Ran {
    /// It exited with that code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        self.claim(|ran| ran.code == Some(code), || format!("expected exit code {code}"))
    }

    /// That signal ended it.
    #[track_caller]
    pub fn signalled(self, signal: i32) -> Self {
        self.claim(|ran| ran.signal == Some(signal), || format!("expected to be ended by signal {signal}"))
    }

    /// Its stdout is exactly that.
    #[track_caller]
    pub fn stdout_is(self, expected: &str) -> Self {
        self.claim(
            |ran| ran.stdout == expected.as_bytes(),
            || format!("expected stdout\n{}", framed(expected.as_bytes())),
        )
    }

    /// Its stderr, without time stamps, is exactly that.
    #[track_caller]
    pub fn stderr_is(self, expected: &str) -> Self {
        self.claim(
            |ran| without_stamps(&ran.stderr) == expected.as_bytes(),
            || format!("expected stderr (without times)\n{}", framed(expected.as_bytes())),
        )
    }

    /// Its stdout contains that.
    #[track_caller]
    pub fn stdout_has(self, part: &str) -> Self {
        self.claim(|ran| contains(&ran.stdout, part), || format!("expected in stdout: {part:?}"))
    }

    /// Its stderr, without time stamps, contains that.
    #[track_caller]
    pub fn stderr_has(self, part: &str) -> Self {
        self.claim(|ran| contains(&without_stamps(&ran.stderr), part), || format!("expected in stderr: {part:?}"))
    }

    /// Its stdout does not contain that.
    #[track_caller]
    pub fn stdout_lacks(self, part: &str) -> Self {
        self.claim(|ran| !contains(&ran.stdout, part), || format!("expected not in stdout: {part:?}"))
    }

    /// Its stderr does not contain that, with or without time stamps.
    #[track_caller]
    pub fn stderr_lacks(self, part: &str) -> Self {
        let absent = |ran: &Self| !contains(&ran.stderr, part) && !contains(&without_stamps(&ran.stderr), part);
        self.claim(absent, || format!("expected not in stderr: {part:?}"))
    }

    /// Its stdout as text.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    #[must_use]
    #[track_caller]
    pub fn stdout_text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap_or_else(|e| panic!("stdout is not UTF-8: {e}\n{}", self.picture()))
    }

    /// Its stderr as text, without time stamps.
    ///
    /// # Panics
    ///
    /// If it is not UTF-8.
    #[must_use]
    #[track_caller]
    pub fn stderr_text(&self) -> String {
        String::from_utf8(without_stamps(&self.stderr))
            .unwrap_or_else(|e| panic!("stderr is not UTF-8: {e}\n{}", self.picture()))
    }

    /// All there is to know: command, directory and its files, outcome, both streams.
    #[must_use]
    pub fn picture(&self) -> String {
        let files = files_below(&self.cwd);
        let shown_files = if files.len() > 40 { format!("{} files", files.len()) } else { files.join("  ") };
        let outcome = match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => "unknown".to_owned(),
        };
        let note = if self.pipe_left_open { " (something it started still holds its stdout or stderr)" } else { "" };
        format!(
            "command  {}\n     in  {}\n  files  {shown_files}\n\
             outcome  {outcome} after {:.3} s{note}\n stdout\n{} stderr\n{}",
            self.shown,
            self.cwd.display(),
            self.wall.as_secs_f64(),
            framed(&self.stdout),
            framed(&self.stderr),
        )
    }

    #[track_caller]
    fn claim(self, holds: impl FnOnce(&Self) -> bool, expected: impl FnOnce() -> String) -> Self {
        assert!(holds(&self), "{}\n{}", expected(), self.picture());
        self
    }
}

/// The picture, which is cut where a derived one would print every byte.
impl fmt::Debug for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.picture())
    }
}

fn contains(haystack: &[u8], needle: &str) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// Lines with a bar in front, so that blanks at the ends and a missing last newline show.
fn framed(bytes: &[u8]) -> String {
    const SHOWN: usize = 16 << 10;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    let mut framed: String =
        text.split_inclusive('\n').map(|line| format!("    | {}\n", line.trim_end_matches('\n'))).collect();
    if bytes.len() > SHOWN {
        framed.push_str(&format!("    … {} bytes in all\n", bytes.len()));
    } else if !bytes.is_empty() && !bytes.ends_with(b"\n") {
        framed.push_str("    (no newline at the end)\n");
    }
    framed
}

/// Takes the time off the front of each line: tools put it there where stderr is not a terminal.
fn without_stamps(stderr: &[u8]) -> Vec<u8> {
    stderr.split_inclusive(|byte| *byte == b'\n').flat_map(|line| &line[stamp_len(line)..]).copied().collect()
}

/// The length of a leading `2026-11-20T02:00:00Z ` or `2026-11-20T02:00:00.123Z `; 0 if there is none.
fn stamp_len(line: &[u8]) -> usize {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let is_like = |(shape, byte): (&u8, &u8)| {
        if *shape == b'd' { byte.is_ascii_digit() } else { shape == byte }
    };
    if line.len() < SHAPE.len() || !SHAPE.iter().zip(line).all(is_like) {
        return 0;
    }
    let rest = &line[SHAPE.len()..];
    let fraction = match rest {
        [b'.', digits @ ..] => 1 + digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    if rest[fraction..].starts_with(b"Z ") { SHAPE.len() + fraction + 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sandbox;

    fn said(stdout: &str, stderr: &str) -> Ran {
        let dir = Sandbox::new();
        dir.program("sh").args(["-c", "printf %s \"$1\"; printf %s \"$2\" >&2; exit 3", "sh", stdout, stderr]).run()
    }

    fn refused(claim: impl FnOnce() -> Ran + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(claim).expect_err("the claim was wrong and must panic");
        panic.downcast_ref::<String>().expect("assert! panics with a String").clone()
    }

    #[test]
    fn true_claims_chain() {
        let ran = said("out\n", "2026-11-20T02:00:00Z tool: error: a\n2026-11-20T02:00:00.123Z tool: hint: b\nbare\n")
            .stdout_is("out\n")
            .stdout_has("ut")
            .stdout_lacks("err")
            .stderr_is("tool: error: a\ntool: hint: b\nbare\n")
            .stderr_has("error: a\ntool")
            .stderr_lacks("warning")
            .code(3);

        assert_eq!(ran.stdout_text(), "out\n");
        assert_eq!(ran.stderr_text().lines().next(), Some("tool: error: a"));
        assert!(ran.stderr.starts_with(b"2026-"));
    }

    #[test]
    fn every_wrong_claim_panics_with_the_whole_picture() {
        let ran = said("out", "err");

        for message in [
            refused({
                let ran = ran.clone();
                || ran.code(0)
            }),
            refused({
                let ran = ran.clone();
                || ran.signalled(9)
            }),
            refused({
                let ran = ran.clone();
                || ran.stdout_is("ou")
            }),
            refused({
                let ran = ran.clone();
                || ran.stderr_is("")
            }),
            refused({
                let ran = ran.clone();
                || ran.stdout_has("x")
            }),
            refused({
                let ran = ran.clone();
                || ran.stderr_has("x")
            }),
            refused({
                let ran = ran.clone();
                || ran.stdout_lacks("u")
            }),
            refused({
                let ran = ran.clone();
                || ran.stderr_lacks("r")
            }),
        ] {
            assert!(message.contains("exit code 3"), "{message}");
            assert!(message.contains("    | out\n") && message.contains("    | err\n"), "{message}");
        }
    }

    #[test]
    fn only_a_whole_stamp_at_the_start_of_a_line_is_taken_off() {
        assert_eq!(without_stamps(b"2026-11-20T02:00:00 x"), b"2026-11-20T02:00:00 x");
        assert_eq!(without_stamps(b"at 2026-11-20T02:00:00Z x"), b"at 2026-11-20T02:00:00Z x");
        assert_eq!(without_stamps(b"2026-11-20T02:00:00.5Z x\n\xff"), b"x\n\xff");
    }
}
