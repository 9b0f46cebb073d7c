use super::*;

const MANIFEST_OF_A: &str = include_str!("../../../../tests/fixtures/manifest.json");

/// A directory with these files; a manifest of `A` is a good one, all else holds one byte.
fn directory(names: &[&str]) -> (tempfile::TempDir, Dir) {
    let temp = tempfile::tempdir().unwrap();
    for name in names {
        let is_manifest = name.contains(A) && name.contains(MANIFEST);
        std::fs::write(temp.path().join(name), if is_manifest { MANIFEST_OF_A } else { "x" }).unwrap();
    }
    let dir = Dir::open(temp.path()).unwrap();
    (temp, dir)
}

fn left(dir: &Dir) -> Vec<String> {
    let mut names = dir.names().unwrap();
    names.sort();
    names
}

const A: &str = "app-20261120T020000Z";

#[test]
fn a_run_killed_while_naming_its_files_is_swept_whole() {
    let (_temp, dir) = directory(&[
        &format!("{A}.sql.gz"),
        &format!("{A}.index.jsonl"),
        &format!(".{A}.sha256.partial"),
        &format!(".{A}.manifest.json.partial"),
    ]);

    let swept = sweep(&dir, "app").unwrap();

    assert_eq!(swept.len(), 1);
    assert_eq!(left(&dir), Vec::<String>::new());
}

#[test]
fn a_file_of_somebody_else_with_a_name_like_ours_is_not_touched() {
    // An old script's backup: our name, but no partial manifest beside it.
    let theirs = format!("{A}.sql.gz");
    let (_temp, dir) = directory(&[&theirs, &format!(".{A}.sql.gz.partial"), "notes.txt"]);

    sweep(&dir, "app").unwrap();

    assert_eq!(left(&dir), [theirs, "notes.txt".to_owned()]);
}

#[test]
fn a_manifest_that_was_never_finished_takes_no_final_name_with_it() {
    let theirs = format!("{A}.sql.gz");
    let partial = format!(".{A}.manifest.json.partial");
    let (temp, dir) = directory(&[&theirs, &partial]);
    std::fs::write(temp.path().join(&partial), &MANIFEST_OF_A[..100]).unwrap();

    sweep(&dir, "app").unwrap();

    assert_eq!(left(&dir), [theirs]);
}

#[test]
fn another_database_is_left_to_its_own_lock() {
    let theirs = ".app2-20261120T020000Z.sql.gz.partial";
    let (_temp, dir) = directory(&[theirs]);

    assert!(sweep(&dir, "app").unwrap().is_empty());
    assert_eq!(left(&dir), [theirs]);
    assert!(leftover_prefixes(&dir).unwrap().contains("app2"));
}

#[test]
fn a_removed_backup_takes_all_that_is_its_own_and_nothing_else() {
    let (_temp, dir) = directory(&[
        &format!("{A}.manifest.json"),
        &format!("{A}.sql.gz"),
        &format!("{A}.index.jsonl"),
        &format!("{A}.sha256"),
        &format!("{A}.verified.json"),
        &format!("{A}.sql.gz.bak"),
        &format!("{A}.sql"),
    ]);

    remove(&dir, &Label::parse(A).unwrap()).unwrap();

    assert_eq!(left(&dir), [format!("{A}.sql"), format!("{A}.sql.gz.bak")]);
}

#[test]
fn a_damaged_manifest_is_a_damaged_backup_and_not_an_error() {
    let (temp, dir) = directory(&[]);
    std::fs::write(temp.path().join(format!("{A}.manifest.json")), "{").unwrap();

    let catalog = Catalog::read(&dir).unwrap();

    assert_eq!(catalog.backups.len(), 1);
    assert!(catalog.backups[0].incomplete.as_deref().unwrap().starts_with("the manifest is damaged"));
}

#[test]
fn a_verdict_about_other_bytes_proves_nothing() {
    let verified = Verified {
        at: Stamp::parse_compact("20261120T020000Z").unwrap(),
        depth: "content".into(),
        status: "OK".into(),
        version: "0.1.0".into(),
        stored_sha256: "aa".into(),
    };

    assert!(verified.proves("aa"));
    assert!(!verified.proves("bb"));
}
