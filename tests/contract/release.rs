//! What a shipped program must not hold: the places where a test may kill it. Source: THREATS G1.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{tool_path, workspace};
use walkdir::WalkDir;

use crate::rendered::tools;

const VARIABLE: &str = "NIGHTSHIFT_FAILPOINT";

/// The names of all failpoints in the source that are no ordinary words: a message may hold such a one.
fn failpoints() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in WalkDir::new(workspace().join("crates")) {
        let path = entry.unwrap().into_path();
        if path.extension().is_some_and(|end| end == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            let calls = source.split("failpoint!(\"").skip(1).filter_map(|rest| rest.split_once('"'));
            names.extend(calls.map(|(name, _)| name.to_owned()));
        }
    }
    names.retain(|name| name.contains('-'));
    assert!(names.len() > 5, "where are the failpoints? {names:?}");
    names
}

/// The tools as `make build` makes them, in `target/release`.
fn shipped() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo).args(["build", "--quiet", "--release"]).current_dir(workspace()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from);
    target.join("release")
}

/// The readable strings of a program, one a line.
fn strings(program: &Path) -> String {
    let bytes = fs::read(program).unwrap_or_else(|e| panic!("cannot read {program:?}: {e}"));
    let is_text = |byte: &u8| (b' '..=b'~').contains(byte);
    let runs = bytes.split(|byte| !is_text(byte)).filter(|run| run.len() >= 4);
    runs.map(|run| std::str::from_utf8(run).expect("ASCII")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_shipped_program_knows_no_failpoint() {
    let (names, shipped) = (failpoints(), shipped());
    for (tool, _) in tools() {
        let strings = strings(&shipped.join(tool));
        assert!(strings.contains(tool), "{tool} is no program of ours");
        assert!(!strings.contains(VARIABLE), "{tool} reads {VARIABLE}");
        for name in &names {
            assert!(!strings.contains(name), "{tool} holds the failpoint {name}");
        }
    }
}

#[test]
fn the_programs_under_test_know_them() {
    let strings: String = tools().into_iter().map(|(tool, _)| strings(&tool_path(tool))).collect();

    assert!(strings.contains(VARIABLE));
    for name in failpoints() {
        assert!(strings.contains(&name), "{name}");
    }
}
