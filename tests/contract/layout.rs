//! Keeps the shape of the workspace: what lies where, who may import whom, who may print.
//!
//! Each rule is a function from text to complaints. One test applies it to the tree, another to something bad: a
//! rule that cannot complain keeps nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use harness::workspace;
use serde_json::{Value, json};
use walkdir::WalkDir;

const TOP_LEVEL: [&str; 14] = [
    "Cargo.toml",
    "Cargo.lock",
    "crates",
    "scripts",
    "man",
    "tests",
    "Makefile",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    ".ci",
    ".gitignore",
    "clippy.toml",
    "rustfmt.toml",
];

/// Not ours to judge: git's own, and what cargo builds.
const NOT_SOURCE: [&str; 2] = [".git", "target"];

/// The macros that write to the streams of the process, and where they may.
const PRINTS: [&str; 5] = ["print!", "println!", "eprint!", "eprintln!", "dbg!"];
const PRINTERS: [&str; 2] = ["crates/common/src/program.rs", "crates/common/src/log.rs"];

const MOST_LINES: usize = 500;

/// Longer ones, each with the reason.
const LONG_FILES: [(&str, &str); 0] = [];

// --- the rules

fn strangers(entries: &[String]) -> Vec<String> {
    let is_planned =
        |name: &str| TOP_LEVEL.contains(&name) || NOT_SOURCE.contains(&name) || name.starts_with("LICENSE");
    let strangers = entries.iter().filter(|name| !is_planned(name));
    strangers
        .map(|name| format!("{name}: not planned at the top level (see TOP_LEVEL in tests/contract/layout.rs)"))
        .collect()
}

/// `common` depends on no crate of the workspace, a tool on `common` only, `suite` on what it likes.
fn wrong_dependencies(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    let name_of = |value: &Value| value["name"].as_str().expect("a package has a name").to_owned();
    let ours: BTreeSet<String> = packages.iter().map(name_of).collect();
    let mut complaints = Vec::new();
    for package in packages.iter().filter(|package| package["name"] != "suite") {
        let package_name = name_of(package);
        for dependency in package["dependencies"].as_array().expect("a list").iter().map(name_of) {
            if ours.contains(&dependency) && !may_import(&package_name, &dependency) {
                complaints.push(format!("{package_name}: depends on {dependency}; tools meet as programs"));
            }
        }
    }
    complaints
}

fn wrong_imports(file: &str, source: &str, krate: &str, crates: &[String]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in code_lines(source) {
        for other in crates.iter().filter(|other| *other != krate && !may_import(krate, other)) {
            if has_word(&line, &format!("{}::", other.replace('-', "_"))) {
                complaints.push(format!("{file}:{number}: {krate} imports {other}"));
            }
        }
    }
    complaints
}

fn may_import(from: &str, to: &str) -> bool {
    from != "common" && to == "common"
}

fn long_main(file: &str, source: &str) -> Vec<String> {
    let lines = source.lines().count();
    if lines > 4 {
        vec![format!("{file}: {lines} lines; a program is four, the rest belongs into its lib")]
    } else {
        Vec::new()
    }
}

/// An `unsafe` needs a SAFETY comment above it, and a file that says why it may have one at all.
fn bare_unsafe(file: &str, source: &str) -> Vec<String> {
    let lines: Vec<&str> = source.lines().collect();
    let mut complaints = Vec::new();
    for (number, _) in code_lines(source).into_iter().filter(|(_, line)| has_word(line, "unsafe")) {
        let above = lines[..number - 1].iter().rev().map(|line| line.trim_start());
        let mut comment = above.take_while(|line| line.starts_with("//") || line.starts_with("#["));
        if !comment.any(|line| line.contains("SAFETY:")) {
            complaints.push(format!("{file}:{number}: unsafe without a SAFETY comment"));
        }
        if !source.contains("expect(unsafe_code, reason =") {
            complaints.push(format!("{file}:{number}: unsafe in a file that does not expect it"));
        }
    }
    complaints
}

fn prints(file: &str, source: &str) -> Vec<String> {
    if PRINTERS.contains(&file) {
        return Vec::new();
    }
    let lines = code_lines(without_tests(source)).into_iter();
    let printing = lines.filter(|(_, line)| PRINTS.iter().any(|print| has_word(line, print)));
    printing
        .map(|(number, line)| format!("{file}:{number}: only program.rs and log.rs print: {}", line.trim()))
        .collect()
}

fn too_long(file: &str, source: &str) -> Vec<String> {
    let lines = without_tests(source).lines().count();
    let is_listed = LONG_FILES.iter().any(|(listed, _)| *listed == file);
    match lines > MOST_LINES && !is_listed {
        true => vec![format!(
            "{file}: {lines} lines without its tests, more than {MOST_LINES}: split it, or list it in LONG_FILES"
        )],
        false => Vec::new(),
    }
}

fn without_lints(file: &str, manifest: &str) -> Vec<String> {
    let mut after = manifest.lines().skip_while(|line| line.trim() != "[lints]").skip(1);
    match after.find(|line| !line.trim().is_empty()).is_some_and(|line| line.trim() == "workspace = true") {
        true => Vec::new(),
        false => vec![format!("{file}: lacks [lints] workspace = true")],
    }
}

fn undocumented(tools: &[String], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let wanted = tools.iter().flat_map(|tool| [format!("man/{tool}.8"), format!("scripts/completion/{tool}.bash")]);
    wanted.filter(|path| !exists(path)).map(|path| format!("{path}: missing; `make man` makes it")).collect()
}

// --- reading Rust without a parser: good enough for lines that rustfmt has laid out

/// Numbered lines without their comments.
fn code_lines(source: &str) -> Vec<(usize, String)> {
    source.lines().enumerate().map(|(index, line)| (index + 1, without_comment(line).to_owned())).collect()
}

fn without_comment(line: &str) -> &str {
    // Slashes after an odd number of quotes are inside a string.
    let comment = line.match_indices("//").find(|(at, _)| line[..*at].matches('"').count().is_multiple_of(2));
    comment.map_or(line, |(at, _)| &line[..at])
}

fn without_tests(source: &str) -> &str {
    source.find("\n#[cfg(test)]\nmod ").map_or(source, |at| &source[..at])
}

/// Whether `word` stands in the line by itself and not as a part of a longer name or in quotes.
fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        let ends = !word.ends_with(is_name) || !after.starts_with(is_name);
        ends && !before.ends_with(is_name) && before.matches('"').count().is_multiple_of(2)
    })
}

// --- the tree

fn crates() -> Vec<String> {
    let mut crates = names_in(&workspace().join("crates"));
    crates.sort();
    assert!(crates.len() > 1, "no crates found: {crates:?}");
    crates
}

fn tools() -> Vec<String> {
    crates().into_iter().filter(|name| name != "common").collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap_or_else(|e| panic!("cannot read {directory:?}: {e}"));
    entries
        .map(|entry| entry.expect("read the workspace").file_name().into_string().expect("names are UTF-8"))
        .collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|e| panic!("cannot read {path}: {e}"))
}

/// Path from the root of the workspace, and text, of the Rust files below a directory.
fn rust_files(below: &str) -> Vec<(String, String)> {
    let files = WalkDir::new(workspace().join(below))
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.file_name() != "target");
    let files = files
        .map(|entry| entry.expect("walk the workspace").into_path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let relative = |path: &Path| {
        path.strip_prefix(workspace()).expect("walked below it").to_str().expect("names are UTF-8").to_owned()
    };
    let files: Vec<_> = files.map(|path| relative(&path)).map(|path| (path.clone(), read(&path))).collect();
    assert!(!files.is_empty(), "no Rust files below {below}");
    files
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("tests.rs") || path.contains("/tests/")
}

#[track_caller]
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "{} complaints\n{}", complaints.len(), complaints.join("\n"));
}

#[test]
fn the_top_level_holds_what_is_planned() {
    none(strangers(&names_in(workspace())));

    assert_eq!(strangers(&["Cargo.toml", "LICENSE-MIT", "notes.txt"].map(str::to_owned)).len(), 1);
}

#[test]
fn tools_depend_on_common_only() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    none(wrong_dependencies(&serde_json::from_slice(&output.stdout).unwrap()));

    let package = |name, on| json!({"name": name, "dependencies": [{"name": on}]});
    let bad =
        json!({"packages": [package("common", "a"), package("a", "b"), package("b", "common"), package("suite", "a")]});
    assert_eq!(wrong_dependencies(&bad).len(), 2);
}

#[test]
fn tools_import_common_only() {
    let crates = crates();
    for krate in &crates {
        none(
            rust_files(&format!("crates/{krate}"))
                .iter()
                .flat_map(|(file, source)| wrong_imports(file, source, krate, &crates))
                .collect(),
        );
    }

    let names = ["common", "pgbackup", "backup-verify"].map(str::to_owned);
    let bad = "use common::log;\nuse backup_verify::run;\n// use backup_verify::x\nlet x = my_backup_verify::y;\n";
    assert_eq!(wrong_imports("f", bad, "pgbackup", &names), ["f:2: pgbackup imports backup-verify"]);
    assert_eq!(wrong_imports("f", "pgbackup::run()", "common", &names).len(), 1);
    assert_eq!(wrong_imports("f", "pgbackup::run()", "pgbackup", &names).len(), 0);
}

#[test]
fn a_program_is_four_lines() {
    let mains = tools().into_iter().map(|tool| format!("crates/{tool}/src/main.rs"));
    none(mains.flat_map(|main| long_main(&main, &read(&main))).collect());

    assert_eq!(long_main("main.rs", "1\n2\n3\n4\n5\n").len(), 1);
}

#[test]
fn unsafe_code_says_why_it_is_safe() {
    let files = [rust_files("crates"), rust_files("tests")].concat();
    none(files.iter().flat_map(|(file, source)| bare_unsafe(file, source)).collect());

    let keyword = "unsafe";
    let good =
        format!("#![expect({keyword}_code, reason = \"r\")]\n// SAFETY: because\n#[inline]\n{keyword} {{ f() }}\n");
    assert_eq!(bare_unsafe("f", &good).len(), 0);
    assert_eq!(bare_unsafe("f", &format!("// why not\n{keyword} {{ f() }}\n")).len(), 2);
}

#[test]
fn only_the_program_and_the_log_print() {
    let files = rust_files("crates").into_iter().filter(|(path, _)| !is_test_file(path));
    none(files.flat_map(|(file, source)| prints(&file, &source)).collect());

    let bad = [
        "fn f() {",
        "    println!(\"x\");",
        "    std::eprint!(\"//\");",
        "    // dbg!(x)",
        "    let s = \"print!\";",
        "}",
        "#[cfg(test)]",
        "mod tests { println!() }",
    ]
    .join("\n");
    assert_eq!(prints("crates/a/src/lib.rs", &bad).len(), 2);
    assert_eq!(prints(PRINTERS[0], &bad).len(), 0);
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    let files = rust_files("crates").into_iter().filter(|(path, _)| !is_test_file(path));
    none(files.flat_map(|(file, source)| too_long(&file, &source)).collect());
    none(
        LONG_FILES
            .iter()
            .filter(|(file, reason)| reason.is_empty() || !workspace().join(file).exists())
            .map(|(file, _)| file.to_string())
            .collect(),
    );

    assert_eq!(too_long("f", &"x\n".repeat(MOST_LINES + 1)).len(), 1);
    assert_eq!(too_long("f", &"x\n".repeat(MOST_LINES)).len(), 0);
}

#[test]
fn every_crate_keeps_the_lints_of_the_workspace() {
    let manifests =
        crates().into_iter().map(|name| format!("crates/{name}/Cargo.toml")).chain(["tests/Cargo.toml".to_owned()]);
    none(manifests.flat_map(|file| without_lints(&file, &read(&file))).collect());

    assert_eq!(without_lints("f", "[lints]\n\n[features]\nworkspace = true\n").len(), 1);
    assert_eq!(without_lints("f", "[package]\n").len(), 1);
    assert_eq!(without_lints("f", "[lints]\nworkspace = true\n").len(), 0);
}

#[test]
fn every_tool_is_documented() {
    none(undocumented(&tools(), |path| workspace().join(path).is_file()));

    assert_eq!(undocumented(&["a".to_owned()], |path| path == "man/a.8").len(), 1);
}
