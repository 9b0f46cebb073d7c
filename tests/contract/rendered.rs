//! Files that are rendered from the definitions of the options: committed, and kept true by a test.

use std::fs;

use clap::Command;
use common::cli::{Tool, command};
use harness::workspace;

/// The definitions of all tools, by the names of their crates.
pub fn tools() -> Vec<(&'static str, Command)> {
    let tools = vec![
        definition::<pgbackup::Cli>(),
        definition::<pgrestore_safe::Cli>(),
        definition::<backup_verify::Cli>(),
        definition::<logrotate_lite::Cli>(),
        definition::<certcheck::Cli>(),
        definition::<healthprobe::Cli>(),
    ];
    let mut crates: Vec<String> = fs::read_dir(workspace().join("crates"))
        .expect("read crates")
        .map(|entry| entry.expect("read crates").file_name().into_string().expect("names are UTF-8"))
        .filter(|name| name != "common")
        .collect();
    crates.sort();
    let mut names: Vec<_> = tools.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(names, crates, "every tool has a line in tools() of tests/contract/rendered.rs");
    tools
}

fn definition<C: Tool>() -> (&'static str, Command) {
    let mut command = command::<C>();
    command.build();
    (C::NAME, command)
}

/// Compares a committed file with what it should be, or with `UPDATE=1` writes it.
pub fn keep(path: &str, text: &str) {
    let file = workspace().join(path);
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        fs::create_dir_all(file.parent().expect("below the workspace")).expect("make its directory");
        fs::write(&file, text).unwrap_or_else(|e| panic!("cannot write {path}: {e}"));
        return;
    }
    let committed = fs::read_to_string(&file).unwrap_or_else(|e| panic!("cannot read {path}: {e}; run: make man"));
    if let Some((number, (is, should))) = difference(&committed, text) {
        panic!("{path}:{number}: is no longer true; run: make man\n  is     {is}\n  should {should}");
    }
}

/// The first line that differs, by its number.
fn difference<'a>(is: &'a str, should: &'a str) -> Option<(usize, (&'a str, &'a str))> {
    let (mut left, mut right) = (is.split_inclusive('\n'), should.split_inclusive('\n'));
    (1..).find_map(|number| match (left.next(), right.next()) {
        (None, None) => Some(None),
        (a, b) if a == b => None,
        (a, b) => Some(Some((number, (a.unwrap_or("(end)"), b.unwrap_or("(end)"))))),
    })?
}

#[test]
fn a_difference_is_named_by_its_line() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    assert_eq!(difference("a\nb\n", "a\nc\n"), Some((2, ("b\n", "c\n"))));
    assert_eq!(difference("a\n", "a\nc\n"), Some((2, ("(end)", "c\n"))));
    assert_eq!(difference("a", "a\n"), Some((1, ("a", "a\n"))));
}
