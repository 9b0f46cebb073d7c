//! What the fuzzer found worth keeping, on every run of the tests: each file of `corpus` against the properties.
//!
//! `scripts/fuzz` looks for more of it, for hours. A file `found-…` once was a fault.

mod properties;

use std::fs;
use std::path::{Path, PathBuf};

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = fs::read_dir(&directory).unwrap_or_else(|e| panic!("cannot read {directory:?}: {e}"));
    let read = |path: PathBuf| (path.clone(), fs::read(&path).unwrap_or_else(|e| panic!("cannot read {path:?}: {e}")));
    entries.map(|entry| read(entry.expect("list the corpus").path())).collect()
}

#[track_caller]
fn replay(target: &str, check: fn(&[u8])) {
    let corpus = corpus(target);
    assert!(corpus.len() > 10, "{target}: only {} cases", corpus.len());
    for (path, case) in corpus {
        // A property says what does not hold; which bytes it was, only we know.
        let held = std::panic::catch_unwind(|| check(&case));
        assert!(held.is_ok(), "{path:?} breaks a property of {target}, see above");
    }
}

#[test]
fn the_scanner_does_not_depend_on_how_a_dump_is_cut() {
    replay("scanner", properties::scanner::check);
}

#[test]
fn what_can_be_read_of_a_backups_files_is_printed_and_read_back() {
    replay("manifest", properties::manifest::check);
}

#[test]
fn members_hold_what_gunzip_and_zstd_read_of_them() {
    replay("members", properties::members::check);
}

#[test]
fn env_files_are_read_as_others_read_them_and_never_shown() {
    replay("envfile", properties::envfile::check);
}

#[test]
fn addresses_are_never_shown_and_read_back_from_what_libpq_gets() {
    replay("conninfo", properties::conninfo::check);
}

#[test]
fn every_target_has_a_property_a_corpus_and_a_dictionary() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let targets: Vec<_> = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")).collect();
    assert_eq!(targets.len(), 5, "{targets:?}");
    for target in targets.iter().filter_map(|target| target.strip_suffix(".rs\"")) {
        for file in [format!("properties/{target}.rs"), format!("dictionaries/{target}"), format!("corpus/{target}")] {
            assert!(fuzz.join(&file).exists(), "tests/fuzz/{file} is missing");
        }
    }
}

/// Crates and versions of a table of a Cargo.toml: `zstd`, `0.14`.
fn versions(manifest: &Path, table: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(manifest).unwrap_or_else(|e| panic!("cannot read {manifest:?}: {e}"));
    let lines = text.lines().skip_while(|line| *line != table).skip(1).take_while(|line| !line.starts_with('['));
    let versions = lines.filter_map(|line| {
        let (name, rest) = line.split_once(" = ")?;
        let version = rest.strip_prefix("{ version = ").unwrap_or(rest).strip_prefix('"')?.split('"').next()?;
        Some((name.to_owned(), version.to_owned()))
    });
    versions.collect()
}

#[test]
fn the_fuzzer_has_its_crates_in_the_versions_of_the_workspace() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ours = versions(&tests.join("../Cargo.toml"), "[workspace.dependencies]");

    let theirs = versions(&tests.join("fuzz/Cargo.toml"), "[dependencies]");

    let shared: Vec<_> = theirs.iter().filter(|(name, _)| ours.iter().any(|(our, _)| our == name)).collect();
    assert!(shared.len() > 4, "{theirs:?}");
    assert!(shared.iter().all(|pinned| ours.contains(pinned)), "{shared:?}\n{ours:?}");
}
