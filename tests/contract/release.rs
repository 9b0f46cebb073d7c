//! What a shipped program must not hold: the places where a test may kill it. Source: THREATS G1.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{tool_path, workspace};
use walkdir::WalkDir;

use crate::rendered::tools;

const VARIABLE: &str = "NIGHTSHIFT_FAILPOINT";

/// The names of all failpoints in the source.
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

fn holds(program: &Path, text: &str) -> bool {
    let bytes = fs::read(program).unwrap_or_else(|e| panic!("cannot read {program:?}: {e}"));
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[test]
fn a_shipped_program_knows_no_failpoint() {
    let (names, shipped) = (failpoints(), shipped());
    for (tool, _) in tools() {
        let program = shipped.join(tool);
        assert!(holds(&program, tool), "{program:?} is no program of ours");
        assert!(!holds(&program, VARIABLE), "{program:?} reads {VARIABLE}");
        for name in &names {
            assert!(!holds(&program, name), "{program:?} holds the failpoint {name}");
        }
    }
}

#[test]
fn the_programs_under_test_know_them() {
    let pgbackup = tool_path("pgbackup");

    assert!(holds(&pgbackup, VARIABLE));
    for name in failpoints() {
        assert!(holds(&pgbackup, &name), "{name}");
    }
}
