use super::*;

fn identity(name: &str, oid: u32) -> Identity {
    Identity { name: name.to_owned(), oid, owner: "owner".to_owned() }
}

fn at(day: u32) -> Stamp {
    Stamp::parse_compact(&format!("202611{day:02}T020000Z")).unwrap()
}

/// A restore of that day: the database with OID `day` goes, the one with the next OID comes.
fn run(day: u32) -> Run {
    let coming = identity("side", day + 1);
    Run::new(
        at(day),
        Act::Restore,
        identity("app", day),
        format!("app_before_{day}"),
        coming,
        format!("app_failed_{day}"),
    )
}

#[test]
fn a_record_is_what_the_next_run_finds() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(&temp.path().join("a/b")).unwrap();
    let mut held = store.take("7", "a/b", Wait::No).unwrap();

    held.change(|state| state.run = Some(run(1))).unwrap();
    held.step(Step::Swapping).unwrap();
    let written = held.state().clone();
    assert!(lock::is_held(&store.take("7", "a/b", Wait::No).unwrap_err()));
    drop(held);

    assert_eq!(*store.take("7", "a/b", Wait::No).unwrap().state(), written);
    assert_eq!(store.databases("7").unwrap(), ["a/b"]);
    assert_eq!(store.databases("8").unwrap(), Vec::<String>::new());
    assert_eq!(store.take("7", "other", Wait::No).unwrap().state().run, None);
}

#[test]
fn the_newest_that_did_not_fail_is_what_undo_takes_and_it_is_aside_no_more() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    let mut held = store.take("7", "app", Wait::No).unwrap();
    for day in [1, 2] {
        let swap = run(day).swap();
        held.end(swap.live(), Some(run(day).put_aside(&swap.aside()))).unwrap();
    }
    let failed = run(8).swap().back("app_failed_8");
    held.end(identity("app", 3), Some(run(8).put_aside(&failed.aside()))).unwrap();

    let undoable = held.state().undoable().unwrap().identity.clone();
    assert_eq!(undoable, identity("app_before_2", 2));
    held.end(Identity { name: "app".to_owned(), ..undoable }, None).unwrap();

    let aside: Vec<_> = held.state().aside.iter().map(|aside| aside.identity.oid).collect();
    assert_eq!(aside, [1, 9]);
    assert_eq!(held.state().undoable().unwrap().identity.oid, 1);
}

#[test]
fn a_record_of_another_version_or_database_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let store = Store::open(temp.path()).unwrap();
    store.take("7", "app", Wait::No).unwrap().change(|_| ()).unwrap();
    let path = temp.path().join("7-app.json");
    let text = std::fs::read_to_string(&path).unwrap();

    std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert!(format!("{:#}", store.take("7", "app", Wait::No).unwrap_err()).contains("format is 2"));
    std::fs::write(&path, text.replace("\"app\"", "\"other\"")).unwrap();
    assert!(format!("{:#}", store.take("7", "app", Wait::No).unwrap_err()).contains("is the record of database"));
}
