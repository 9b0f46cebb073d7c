//! A disk that is full, gone, read-only or not ours: the run says what and where, and earlier backups stay whole.

use crate::place::{FAILPOINT, Place, chmod, make_directory, mode, names_in, strays};
use harness::{Ran, Sandbox, app_user, tmpfs};
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::Path;
use std::process::Command;

/// A place whose backups go to a small disk: mounted over the directory `backups`.
fn with_disk(kib: u64) -> (tmpfs::Tmpfs, Place) {
    let place = Place::new();
    let disk = tmpfs::mount(&place.backups(), kib);
    chmod(disk.path(), 0o700);
    (disk, place)
}

/// `pgbackup` with the disk's own path, which may be another one than that of the directory.
fn on(disk: &tmpfs::Tmpfs, place: &Place) -> harness::Tool {
    place.bare().arg("--dir").arg(disk.path()).args(["--compress", "none"])
}

/// Fills a disk up but for that many KiB.
fn fill(disk: &Path, leave_kib: u64) {
    let ballast = disk.join("ballast");
    let full = fs::File::create(&ballast).and_then(|mut file| std::io::copy(&mut std::io::repeat(0), &mut file));
    assert!(full.is_err(), "the disk has no end");
    let size = fs::metadata(&ballast).unwrap().len();
    fs::OpenOptions::new().write(true).open(&ballast).unwrap().set_len(size - leave_kib * 1024).unwrap();
}

#[test]
fn a_disk_that_fills_up_in_mid_dump_keeps_the_earlier_backups_and_none_of_the_new_one() {
    for kib in [1024, 4096] {
        let (disk, place) = with_disk(kib);
        on(&disk, &place).arg("app").run().stderr_is("").code(0);
        let before = names_in(disk.path());
        place.pg.sql_in(
            "app",
            "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 10) AS x FROM generate_series(1, 40000) AS n",
        );

        let run = on(&disk, &place).args(["--keep-last", "1", "app"]).run();

        let run = run.stdout_is("").stderr_has("No space left on device (os error 28)\n").code(2);
        let said = run.stderr_text();
        let archive = format!("cannot write {:?}", disk.path().join(".app-2026")).trim_end_matches('"').to_owned();
        assert!(said.contains(&archive) && said.contains(".sql.partial\""), "{said}");
        assert!(said.contains("pgbackup: hint: free space there"), "{said}");
        assert_eq!(names_in(disk.path()), before);
        // Once there is room again, all is well.
        place.pg.sql_in("app", "DROP TABLE big");
        on(&disk, &place).args(["--keep-last", "1", "--accept-source", "app"]).run().stderr_is("").code(0);
        drop(disk);
    }
}

#[test]
fn a_disk_that_is_full_when_the_small_files_are_written_leaves_no_backup() {
    for stage in ["dump-proven", "locked"] {
        let (disk, place) = with_disk(1024);
        let run = on(&disk, &place).arg("app").env(FAILPOINT, format!("{stage}=pause:go")).spawn();
        place.dir.wait_for("go.reached");
        fill(disk.path(), 0);
        fs::write(place.dir.join("go"), "").unwrap();

        let run = run.wait().stdout_is("").stderr_has("No space left on device (os error 28)\n").code(2);

        let said = run.stderr_text();
        assert!(said.starts_with("pgbackup: error: app: ") && said.contains("cannot write \""), "{said}");
        assert!(said.contains("pgbackup: hint: free space there"), "{said}");
        assert_eq!(names_in(disk.path()).into_iter().collect::<Vec<_>>(), [".app.lock", "ballast"]);
        drop(disk);
    }
}

#[test]
fn a_directory_that_belongs_to_somebody_else_is_named_with_what_to_do() {
    let place = Place::new();
    let before = place.back_up();
    let (uid, gid) = app_user();
    chmod(&place.backups(), 0o755);

    place
        .pgbackup()
        .arg("app")
        .as_user(uid, gid)
        .run()
        .stdout_is("")
        .stderr_is(
            "pgbackup: error: app: cannot create \"backups/.app.lock\": Permission denied (os error 13)\n\
             pgbackup: hint: run as the user that owns the backup directory\n",
        )
        .code(2);

    chmod(&place.backups(), 0o700);
    place
        .pgbackup()
        .arg("app")
        .as_user(uid, gid)
        .run()
        .stderr_is(
            "pgbackup: error: cannot open directory \"backups\": Permission denied (os error 13)\n\
             pgbackup: hint: run as the user that owns the backup directory\n",
        )
        .code(3);
    assert_eq!(place.labels(), [before]);
    place.is_sound();
}

#[test]
fn an_unprivileged_user_backs_up_into_a_directory_of_its_own() {
    let place = Place::new();
    let (uid, gid) = app_user();
    chown(place.backups(), Some(uid), Some(gid)).unwrap();

    place.pgbackup().arg("app").as_user(uid, gid).run().stderr_is("").code(0);

    place.is_sound();
}

#[test]
fn a_disk_that_went_read_only_is_named() {
    let (disk, place) = with_disk(4096);
    on(&disk, &place).arg("app").run().code(0);
    let before = names_in(disk.path());
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(disk.path()).status().unwrap();
    assert!(remounted.success());

    let run = on(&disk, &place).arg("app").run().stdout_is("").code(2);

    let lock = disk.path().join(".app.lock");
    let _ = run.stderr_is(&format!(
        "pgbackup: error: app: cannot create {lock:?}: Read-only file system (os error 30)\n\
         pgbackup: hint: the kernel makes a disk with errors read-only; dmesg tells\n"
    ));
    assert_eq!(names_in(disk.path()), before);
    drop(disk);
}

#[test]
fn a_directory_that_was_moved_away_in_mid_run_is_followed_and_nothing_lands_in_its_place() {
    let place = Place::new();
    let run = place.pgbackup().arg("app").env(FAILPOINT, "dump-proven=pause:go").spawn();
    place.dir.wait_for("go.reached");
    fs::rename(place.backups(), place.dir.join("moved")).unwrap();
    make_directory(&place.dir.join("victim"), 0o755);
    symlink(place.dir.join("victim"), place.backups()).unwrap();
    fs::write(place.dir.join("go"), "").unwrap();

    let run = run.wait();

    assert_eq!(names_in(&place.dir.join("victim")).len(), 0);
    assert_eq!(strays(&place.dir.join("moved")), [] as [&str; 0], "{run:?}");
    assert!(run.code == Some(0) || run.code == Some(2), "{run:?}");
}

#[test]
fn a_directory_that_was_removed_in_mid_run_is_a_failure_that_says_so() {
    for stage in ["locked", "files-created", "dump-proven", "manifest-written"] {
        let place = Place::new();
        let run = place.pgbackup().arg("app").env(FAILPOINT, format!("{stage}=pause:go")).spawn();
        place.dir.wait_for("go.reached");
        fs::remove_dir_all(place.backups()).unwrap();
        fs::write(place.dir.join("go"), "").unwrap();

        let run = run.wait().stdout_is("").stderr_has("pgbackup: error: app: cannot ").code(2);

        assert!(run.stderr_text().contains("No such file or directory (os error 2)"), "{run:?}");
        assert!(!place.backups().exists());
    }
}

#[test]
fn a_directory_that_is_missing_is_not_made() {
    let place = Place::new();

    place
        .bare()
        .args(["--dir", "nowhere", "app"])
        .run()
        .stdout_is("")
        .stderr_is(
            "pgbackup: error: cannot open directory \"nowhere\": No such file or directory (os error 2)\n\
             pgbackup: hint: is its file system mounted? to create the directory: install -d -m 0700 DIR\n",
        )
        .code(3);

    assert!(!place.dir.join("nowhere").exists());
}

#[test]
fn a_file_in_the_place_of_the_directory_is_refused() {
    let place = Place::new();
    fs::write(place.dir.join("file"), "mine").unwrap();

    place
        .bare()
        .args(["--dir", "file", "app"])
        .run()
        .stdout_is("")
        .stderr_has("pgbackup: error: cannot open directory \"file\": Not a directory (os error 20)\n")
        .stderr_lacks("install -d")
        .code(3);

    assert_eq!(fs::read(place.dir.join("file")).unwrap(), b"mine");
}

#[test]
fn a_directory_for_everyone_is_refused_with_the_chmod() {
    let place = Place::new();
    for open in [0o777, 0o1777] {
        chmod(&place.backups(), open);

        let path = place.backups();
        refused(place.pgbackup().arg("app").run(), &path);
        place.pgbackup().args(["--allow-shared-dir", "app"]).run().stderr_is("").code(0);
    }
    chmod(&place.backups(), 0o700);
    make_directory(&place.dir.join("open"), 0o777);
    make_directory(&place.dir.join("open/inner"), 0o700);

    refused(place.bare().args(["--dir", "open/inner", "app"]).run(), &place.dir.join("open"));

    chmod(&place.dir.join("open"), 0o755);
    place.bare().args(["--dir", "open/inner", "app"]).run().stderr_is("").code(0);
}

fn refused(run: Ran, path: &Path) {
    run.stdout_is("")
        .stderr_is(&format!(
            "pgbackup: error: directory {path:?} is writable by every user\n\
             pgbackup: hint: in a container that has no other users: --allow-shared-dir\n\
             pgbackup: hint: run: chmod o-w {path:?}\n"
        ))
        .code(3);
}

#[test]
fn planted_links_are_swept_and_what_they_lead_to_is_never_opened() {
    let place = Place::new();
    let shadow = place.dir.join("shadow");
    fs::write(&shadow, "root:CANARY").unwrap();
    chmod(&shadow, 0o600);
    let plant = |name: &str| symlink(&shadow, place.backups().join(name)).unwrap();
    plant(".app-20261120T020000Z.sql.gz.partial");
    plant(".app-20261120T020000Z.manifest.json.partial");
    plant("app-20261120T020000Z.sql.gz");
    // The names of the next minute: whichever second the run takes, its files are there already.
    let now = std::time::SystemTime::now();
    for second in 0..60 {
        let stamp = common::units::Stamp::from(now + std::time::Duration::from_secs(second));
        plant(&format!(".app-{stamp}.sql.gz.partial"));
        plant(&format!(".app-{stamp}.manifest.json.partial"));
    }

    place.pgbackup().arg("app").run().stderr_is("").code(0);

    assert_eq!(fs::read_to_string(&shadow).unwrap(), "root:CANARY");
    assert_eq!(mode(&shadow), 0o600);
    assert_eq!(place.labels().len(), 1);
    place.is_good();
    // A final name without a manifest of ours is somebody else's file, link or not.
    assert_eq!(strays(&place.backups()), ["app-20261120T020000Z.sql.gz"]);
}

#[test]
fn a_link_planted_after_the_sweep_fails_the_run_and_is_not_followed() {
    let place = Place::new();
    let shadow = place.dir.join("shadow");
    fs::write(&shadow, "root:CANARY").unwrap();
    let run = place.pgbackup().arg("app").env(FAILPOINT, "files-created=pause:go").spawn();
    place.dir.wait_for("go.reached");
    let partial = names_in(&place.backups()).into_iter().find(|name| name.ends_with(".sql.gz.partial")).unwrap();
    let label = &partial[1..partial.len() - ".sql.gz.partial".len()];
    symlink(&shadow, place.backups().join(format!(".{label}.manifest.json.partial"))).unwrap();
    fs::write(place.dir.join("go"), "").unwrap();

    let run = run.wait().stdout_is("").stderr_has("cannot create \"backups/.app-").stderr_has("File exists").code(2);

    assert_eq!(fs::read_to_string(&shadow).unwrap(), "root:CANARY", "{run:?}");
    place.back_up();
    place.is_sound();
}

#[test]
fn a_journal_that_cannot_be_written_stops_the_run_before_it_does_anything() {
    let place = Place::new();
    std::os::unix::fs::symlink("elsewhere", place.dir.join("link")).unwrap();

    for (journal, said) in [
        ("nowhere/journal", "cannot open \"nowhere/journal\": No such file or directory (os error 2)"),
        ("backups", "cannot open \"backups\": Is a directory (os error 21)"),
        ("link", "cannot open \"link\": Too many levels of symbolic links (os error 40)"),
        ("/dev/full", "cannot open \"/dev/full\": is not a regular file"),
    ] {
        let run = place.pgbackup().args(["--journal", journal, "app"]).run().stdout_is("");
        run.stderr_is(&format!("pgbackup: error: {said}\n")).code(3);
    }

    assert_eq!(names_in(&place.backups()).len(), 0);
}

#[test]
fn a_report_or_a_journal_that_cannot_be_written_afterwards_is_a_warning_and_the_backup_is_there() {
    let place = Place::new();
    make_directory(&place.dir.join("small"), 0o755);
    let disk = tmpfs::mount(&place.dir.join("small"), 64);
    let journal = disk.path().join("journal");
    fs::write(&journal, "").unwrap();
    fill(disk.path(), 0);

    place
        .pgbackup()
        .arg("--journal")
        .arg(&journal)
        .args(["--write", "json:nowhere/report.json", "app"])
        .run()
        .stdout_has("backups/app-")
        .stderr_is(&format!(
            "pgbackup: error: cannot write {journal:?}: No space left on device (os error 28)\n\
             pgbackup: error: cannot open directory \"nowhere\": No such file or directory (os error 2)\n"
        ))
        .code(1);

    place.is_sound();
    drop(disk);
}

#[test]
fn a_standard_output_that_is_full_is_a_failure() {
    let place = Place::new();
    let script = "exec \"$0\" --no-config --pg-bin \"$1\" $2 app >/dev/full";
    for (where_to, said) in [
        ("--dir backups", "pgbackup: error: cannot write standard output: No space left on device (os error 28)\n"),
        ("--stdout", "pgbackup: error: app: cannot write standard output: No space left on device (os error 28)\n"),
    ] {
        let tool =
            place.dir.program("dash").args(["-c", script]).arg(harness::tool_path("pgbackup")).arg(place.pg.bin());
        tool.arg(where_to).envs(place.pg.env()).run().stderr_is(said).code(2);
    }

    assert_eq!(place.labels().len(), 1);
    place.is_sound();
}

#[test]
fn with_all_three_streams_closed_no_file_of_a_backup_takes_their_place() {
    let place = Place::new();
    let script = "\"$0\" --no-config --dir backups --pg-bin \"$1\" -vv app nosuch <&- >&- 2>&-; echo $?";
    let tool = place.dir.program("dash").args(["-c", script]).arg(harness::tool_path("pgbackup")).arg(place.pg.bin());

    tool.envs(place.pg.env()).run().stdout_is("2\n").stderr_is("").code(0);

    assert_eq!(place.labels().len(), 1);
    place.is_sound();
}

#[test]
fn a_database_with_the_longest_name_there_is_fits_into_a_file_name() {
    let place = Place::new();
    let longest = "é%".repeat(21); // 63 bytes, 9 characters each three of them in a label
    place.pg.sql(&format!("CREATE DATABASE \"{longest}\""));

    let name = "server-".repeat(40);
    place.pgbackup().args(["--name", &name, &longest]).run().stderr_is("").code(0);

    assert_eq!(place.manifest(&place.labels()[0]).subject, longest);
    place.is_sound();
}

#[test]
fn a_directory_with_a_name_that_no_terminal_should_see_is_escaped() {
    let dir = Sandbox::new();

    dir.tool("pgbackup")
        .args(["--no-config", "--dir", "a\u{1b}[2Jb", "app"])
        .run()
        .stderr_lacks("\u{1b}")
        .stderr_has("cannot open directory \"a\\u{1b}[2Jb\"")
        .code(3);
}
