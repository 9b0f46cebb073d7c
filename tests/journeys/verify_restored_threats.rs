//! `backup-verify --depth restored` and what is hostile: dumps, directories, other users, and whatever kills it.

use crate::place::{FAILPOINT, Place, chmod, make_directory, names_in};
use crate::verify_restored::{chown, is_gone, left, processes_in, proven, wait_for};
use harness::{app_user, is_root, verify_user};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

#[test]
fn a_server_runs_as_a_user_of_its_own_without_network_and_without_a_way_to_more_rights() {
    let place = Place::new();
    let path = format!("backups/{}", place.back_up());
    let (uid, _) = verify_user();
    let paused = place.dir.join("go-on");
    let wait = format!("cluster-ready=pause:{}", paused.display());
    let running = proven(&place).env(FAILPOINT, wait).arg(&path).spawn();
    let work = place.dir.join("work");
    wait_for("a postmaster", || place.dir.join("go-on.reached").exists());
    assert!(!processes_in(&work).is_empty());

    for pid in processes_in(&work) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        if status.is_empty() {
            continue;
        }
        let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        assert!(line("Uid:").split_whitespace().all(|id| id == uid.to_string()), "{status}");
        assert_eq!(line("Groups:").trim(), "", "{status}");
        assert_eq!(line("NoNewPrivs:").trim(), "1", "{status}");
        let listening = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
        assert!(!listening.contains(":1538 "), "{listening}");
        let run: Vec<_> = fs::read_dir(format!("/proc/{pid}/root/run")).into_iter().flatten().flatten().collect();
        assert!(run.is_empty(), "{run:?}");
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        let limit = |name: &str| {
            let line = limits.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.split_whitespace().next().unwrap_or_default().to_owned()
        };
        assert_eq!((limit("Max processes"), limit("Max core file size")), ("1024".into(), "0".into()), "{limits}");
    }
    assert!(fs::read_dir("/run").unwrap().count() > 0, "an empty /run proves nothing");
    fs::write(&paused, "").unwrap();
    running.wait().code(0);
    is_gone(&place.dir);
}

#[test]
fn the_user_has_to_exist_and_may_not_own_a_running_server_or_be_root() {
    let place = Place::new();
    let path = format!("backups/{}", place.back_up());
    let said = |user: &str| {
        let ran = proven(&place).args(["--run-as", user, &path]).run().code(3);
        ran.stdout_text().to_owned()
    };
    assert!(is_root());
    let owner = fs::metadata(place.pg.data_dir()).unwrap().uid();
    let owner = nix::unistd::User::from_uid(owner.into()).unwrap().unwrap().name;

    assert!(said("nobody-here").contains("no user \"nobody-here\""));
    assert!(said("root").contains("a throw-away server cannot run as root"));
    assert!(said(&owner).contains("owns a running PostgreSQL server"), "{}", said(&owner));
    is_gone(&place.dir);
}

#[test]
fn an_ordinary_user_needs_nothing_of_the_administrator() {
    let place = Place::new();
    let label = place.back_up();
    let (uid, gid) = verify_user();
    let home = place.dir.join("home");
    make_directory(&home, 0o700);
    for name in names_in(&place.backups()) {
        fs::copy(place.backups().join(&name), home.join(&name)).unwrap();
        chown(&home.join(&name), uid, gid);
    }
    chown(&home, uid, gid);

    let tool = place.dir.tool("backup-verify").args(["--no-config", "--depth", "restored"]).env("HOME", &home);
    let ran = tool.as_user(uid, gid).cwd(&home).arg("--pg-bin").arg(place.pg.bin()).arg(&label).run().code(0);

    assert!(ran.stdout_text().contains(" as recorded, restored in "), "{}", ran.picture());
    assert_eq!(names_in(&home.join(".cache/nightshift/verify")).into_iter().collect::<Vec<_>>(), [".lock"]);
    assert_eq!(processes_in(&home), Vec::<u32>::new());
}

#[test]
fn whatever_kills_it_the_server_ends_and_the_next_run_sweeps_every_row() {
    let place = Place::new();
    place.pg.sql_in("app", "CREATE TABLE secrets AS SELECT 'CANARY-' || n AS s FROM generate_series(1, 5000) AS n");
    let path = format!("backups/{}", place.back_up());
    let work = place.dir.join("work");
    for at in ["cluster-ready", "restored"] {
        let _ = proven(&place).env(FAILPOINT, format!("{at}=kill")).arg(&path).run().signalled(9);

        assert_eq!(left(&place.dir).len(), 1, "a killed run cannot clean up");
        wait_for("the server to end", || processes_in(&work).is_empty());
        if at == "restored" {
            assert!(holds(&work, b"CANARY-"), "the test looks in the wrong place");
        }

        let _ = proven(&place).arg(&path).run().code(0);
        is_gone(&place.dir);
        assert!(!holds(&work, b"CANARY-"));
    }
}

/// Whether any file below holds these bytes.
fn holds(directory: &Path, bytes: &[u8]) -> bool {
    let files = walkdir::WalkDir::new(directory).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    let has =
        |path: PathBuf| fs::read(path).is_ok_and(|content| content.windows(bytes.len()).any(|window| window == bytes));
    files.map(walkdir::DirEntry::into_path).any(has)
}

#[test]
fn a_planted_directory_kills_no_server_and_removes_no_file() {
    let place = Place::new();
    let path = format!("backups/{}", place.back_up());
    let work = place.dir.join("work");
    make_directory(&work, 0o711);
    // A pid file that names the live server, and a directory of somebody else.
    make_directory(&work.join("verify-planted"), 0o711);
    make_directory(&work.join("verify-planted/data"), 0o700);
    fs::copy(place.pg.data_dir().join("postmaster.pid"), work.join("verify-planted/data/postmaster.pid")).unwrap();
    std::os::unix::fs::symlink(place.pg.data_dir(), work.join("verify-planted/socket")).unwrap();
    make_directory(&work.join("verify-theirs"), 0o755);
    let (uid, gid) = app_user();
    std::os::unix::fs::chown(work.join("verify-theirs"), Some(uid), Some(gid)).unwrap();
    let before = place.pg.pid();

    let ran = proven(&place).arg(&path).run().code(0);

    assert_eq!(left(&place.dir), ["verify-theirs"]);
    let _ = ran.stderr_has("is no directory of ours, and stays");
    assert_eq!(place.pg.pid(), before);
    assert_eq!(place.pg.sql("SELECT 1"), "1");
    assert!(place.pg.data_dir().join("PG_VERSION").exists());
}

#[test]
fn a_hostile_dump_becomes_no_superuser_and_reaches_nothing_outside() {
    let place = Place::new();
    let canary = place.dir.join("canary");
    fs::write(&canary, "CANARY").unwrap();
    chmod(&canary, 0o600);
    let backups = place.backups().display().to_string();
    let work = place.dir.join("work").display().to_string();
    // A CHECK that tries all it can when rows are loaded.
    place.pg.sql("CREATE ROLE evil");
    place.pg.sql_in(
        "app",
        &format!(
            "CREATE FUNCTION f(int) RETURNS bool LANGUAGE plpgsql AS $$
             BEGIN
               IF current_setting('data_directory', true) LIKE '%work%' OR true THEN
                 BEGIN EXECUTE 'RESET ROLE'; EXECUTE 'ALTER ROLE evil SUPERUSER'; EXCEPTION WHEN OTHERS THEN NULL; END;
                 BEGIN EXECUTE 'COPY (SELECT 1) TO PROGRAM ''touch {work}/pwned /tmp/nightshift-pwned''';
                   EXCEPTION WHEN OTHERS THEN NULL; END;
                 BEGIN EXECUTE 'CREATE TEMP TABLE x (t text)'; EXECUTE 'COPY x FROM ''{backups}/../canary''';
                   RAISE 'read the canary'; EXCEPTION WHEN insufficient_privilege OR undefined_file THEN NULL; END;
               END IF;
               RETURN true;
             END $$;
             CREATE TABLE t (n int);
             INSERT INTO t VALUES (1), (2);
             ALTER TABLE t ADD CONSTRAINT c CHECK (f(n)) NOT VALID;
             ALTER TABLE t OWNER TO evil"
        ),
    );
    drop(fs::remove_file("/tmp/nightshift-pwned"));
    let path = format!("backups/{}", place.back_up());

    let options = ["--assert", "SELECT count(*) = 1 FROM pg_catalog.pg_roles WHERE rolsuper"];
    let _ = proven(&place).args(options).arg(&path).run().code(0);

    assert!(!Path::new("/tmp/nightshift-pwned").exists());
    is_gone(&place.dir);
}

#[test]
fn names_of_roles_are_data() {
    let place = Place::new();
    place.pg.sql(
        "CREATE ROLE \"x\"\"; DROP DATABASE app; --\" SUPERUSER; CREATE ROLE \"a' \\ b\"; CREATE ROLE \"new\nline\"",
    );
    place.pg.sql_in(
        "app",
        "GRANT SELECT ON customers TO \"x\"\"; DROP DATABASE app; --\", \"a' \\ b\", \"new\nline\", pg_monitor;
         ALTER TABLE customers OWNER TO \"x\"\"; DROP DATABASE app; --\"",
    );
    let path = format!("backups/{}", place.back_up());

    let options = ["--assert", "SELECT count(*) = 1 FROM pg_catalog.pg_roles WHERE rolsuper"];
    let ran = proven(&place).args(options).arg(&path).run();

    assert!(ran.stdout_text().starts_with("OK "), "{}", ran.picture());
}
