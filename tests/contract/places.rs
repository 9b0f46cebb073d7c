//! What the tests of the contract start from: a backup that needs no server, good or damaged.

use std::fs;
use std::path::PathBuf;

use harness::{Ran, Sandbox, Tool};

/// A sandbox with a directory `pg`, in which `pgbackup --stdin` may put backups.
pub fn place() -> Sandbox {
    let dir = Sandbox::new();
    fs::create_dir(dir.join("pg")).unwrap();
    dir
}

/// `pgbackup --stdin x`, about to back up four bytes to `pg`.
pub fn backup(dir: &Sandbox) -> Tool {
    dir.tool("pgbackup").args(["--dir", "pg", "--stdin", "x"]).stdin_bytes("data")
}

/// Makes a backup and returns its archive, relative to the sandbox.
pub fn made(dir: &Sandbox) -> String {
    let ran = backup(dir).run().stderr_is("").code(0);
    ran.stdout_text().trim_end().to_owned()
}

/// `backup-verify PATHS`.
pub fn verify(dir: &Sandbox, paths: &[&str]) -> Tool {
    dir.tool("backup-verify").args(paths)
}

/// Turns a bit in the middle of a file.
pub fn damage(path: PathBuf) {
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Numbers that differ from run to run, made the same: times, lengths of time, stamps, digests.
pub fn still(text: &str) -> String {
    let mut still = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, instead) = [
            like(rest, "dddddddd'T'dddddd'Z'", "STAMP"),
            like(rest, "dddd-dd-dd'T'dd:dd:dd'Z'", "TIME"),
            like(rest, "17dddddddd", "SECONDS"),
        ]
        .into_iter()
        .flatten()
        .next()
        .or_else(|| took(&still, rest))
        .or_else(|| digest(rest))
        .unwrap_or((first.len_utf8(), ""));
        still.push_str(if instead.is_empty() { &rest[..length] } else { instead });
        rest = &rest[length..];
    }
    still
}

/// `d` is any digit, what stands between quotes or is no letter is itself.
fn like(text: &str, shape: &str, instead: &'static str) -> Option<(usize, &'static str)> {
    let mut bytes = text.bytes();
    let mut length = 0;
    for want in shape.bytes().filter(|byte| *byte != b'\'') {
        let is = bytes.next()?;
        length += 1;
        if if want == b'd' { !is.is_ascii_digit() } else { is != want } {
            return None;
        }
    }
    Some((length, instead))
}

/// The number behind `in ` and before `ms` or `s`, or of a key that ends in `duration_seconds`.
fn took(before: &str, text: &str) -> Option<(usize, &'static str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let ends = [
        "duration_seconds=",
        "duration_seconds='",
        "duration_seconds_1='",
        "duration_seconds\":",
        "duration_seconds'=",
    ];
    if digits > 0 && (ends.iter().any(|end| before.ends_with(end)) || is_sample(before)) {
        return Some((digits, "TOOK"));
    }
    let unit = if text[digits..].starts_with("ms") { 2 } else { 1 };
    let is_time = before.ends_with(" in ") && digits > 0 && text[digits..].starts_with(['m', 's']);
    is_time.then_some((digits + unit, "TOOK"))
}

/// Behind the labels of a series of seconds.
fn is_sample(before: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap_or_default();
    line.contains("_duration_seconds{") && line.ends_with("} ")
}

fn digest(text: &str) -> Option<(usize, &'static str)> {
    let length = text.bytes().take_while(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)).count();
    (length == 64).then_some((64, "DIGEST"))
}

/// The streams of a run, made still.
pub fn out(ran: &Ran) -> String {
    still(ran.stdout_text())
}

#[test]
fn what_differs_from_run_to_run_is_made_still() {
    let time = "x-20261120T020000Z at 2026-11-20T02:00:00Z, 1795136400";
    assert_eq!(still(time), "x-STAMP at TIME, SECONDS");
    assert_eq!(still("done in 12ms, in 1.5s, 12 B"), "done in TOOK, in TOOK, 12 B");
    assert_eq!(still("a_duration_seconds{subject=\"x\"} 0.5\n"), "a_duration_seconds{subject=\"x\"} TOOK\n");
    assert_eq!(still(&"ab".repeat(32)), "DIGEST");
}
