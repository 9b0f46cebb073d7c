//! Backups that others made: read to their end, and what they claim about themselves is not believed.

use crate::place::{Place, chmod};
use common::backup::catalog::{INDEX, MANIFEST};
use harness::{Ran, Tool, is_root};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// `backup-verify` with the client programs of the server.
fn verify(place: &Place) -> Tool {
    place.dir.tool("backup-verify").args(["--no-config", "--threads", "2", "--pg-bin"]).arg(place.pg.bin())
}

/// A server with a database that has rows, large objects and an index, and a directory that its programs can write to.
fn place() -> Place {
    let place = Place::new();
    place.pg.sql_in(
        "app",
        "CREATE TABLE notes AS SELECT n AS id, repeat(md5(n::text), 5) AS text FROM generate_series(1, 2000) AS n;
         SELECT lo_from_bytea(0, 'large');",
    );
    place
}

/// Runs a shell command with the server's programs in front of PATH; what it makes can be read by everybody.
fn shell(place: &Place, script: &str) {
    let path = format!("{}:/usr/bin:/bin", place.pg.bin().display());
    let options = ["-c", script];
    place.dir.program("bash").envs(place.pg.env()).env("PATH", path).args(options).run().stderr_is("").code(0);
}

fn good(place: &Place, name: &str) -> Ran {
    let ran = verify(place).arg(name).run().stderr_is("").code(0);
    assert!(ran.stdout_text().starts_with(&format!("OK {name}: ")), "{ran:?}");
    ran
}

/// It is found bad, for a reason that is one of these.
#[track_caller]
fn bad(place: &Place, name: &str, reasons: &[&str]) {
    let ran = verify(place).arg(name).run().stderr_is("").code(2);
    let line = ran.stdout_text();
    assert!(line.starts_with(&format!("CRITICAL {name}: ")), "{ran:?}");
    assert!(reasons.iter().any(|reason| line.contains(reason)), "none of {reasons:?}\n{ran:?}");
}

/// A copy of a file without its last part.
fn cut(place: &Place, name: &str, keep: impl Fn(usize) -> usize) -> String {
    let bytes = fs::read(place.dir.join(name)).unwrap();
    let copy = format!("cut-{name}");
    fs::write(place.dir.join(&copy), &bytes[..keep(bytes.len())]).unwrap();
    copy
}

/// A copy of a file with a few bytes in the middle overwritten.
fn damaged(place: &Place, name: &str) -> String {
    let mut bytes = fs::read(place.dir.join(name)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8].copy_from_slice(b"\0\xff\0\xffdead");
    let copy = format!("damaged-{name}");
    fs::write(place.dir.join(&copy), bytes).unwrap();
    copy
}

#[test]
fn every_form_of_a_dump_is_read_to_its_end() {
    let place = place();
    shell(
        &place,
        "pg_dump app >app.sql && gzip -k app.sql && zstd -q -k app.sql && bzip2 -k app.sql && xz -k app.sql
         pg_dump -Fc app >app.dump && pg_dump -Ft app >app.tar && pg_dump --inserts app >inserts.sql
         pg_dumpall >all.sql && pg_dumpall --globals-only >roles.sql && pg_dump --create --clean app >create.sql",
    );
    for (name, form, held) in [
        ("app.sql", "plain SQL", "2,300 rows of 2 tables"),
        ("app.sql.gz", "gzip", "2,300 rows of 2 tables"),
        ("app.sql.zst", "zstd", "2,300 rows of 2 tables"),
        ("app.sql.bz2", "bzip2", "2,300 rows of 2 tables"),
        ("app.sql.xz", "xz", "2,300 rows of 2 tables"),
        ("app.dump", "pg_dump custom format", "2,300 rows of 2 tables"),
        ("app.tar", "pg_dump tar format", "2,300 rows of 2 tables"),
        ("create.sql", "plain SQL", "2,300 rows of 2 tables"),
        ("all.sql", "plain SQL", "2,300 rows of 2 tables"),
        ("inserts.sql", "plain SQL", " objects"),
        ("roles.sql", "plain SQL", " objects"),
    ] {
        let ran = good(&place, name);
        let line = ran.stdout_text();
        assert!(line.contains(&format!(": {form}, complete by its end marker: ")) && line.contains(held), "{ran:?}");
        assert!(line.ends_with("; without a manifest nothing says what it should hold\n"), "{ran:?}");
    }
    for name in ["app.sql", "app.sql.gz", "app.sql.zst", "app.sql.bz2", "app.sql.xz", "all.sql", "roles.sql"] {
        let reasons =
            ["is damaged or cut off", "the dump is cut off", "failed with exit code", "\\unrestrict with a key"];
        bad(&place, &cut(&place, name, |length| length - 40), &reasons);
        bad(&place, &cut(&place, name, |length| length / 2), &reasons);
    }
    for name in ["app.sql.gz", "app.sql.zst", "app.sql.bz2", "app.sql.xz"] {
        bad(
            &place,
            &damaged(&place, name),
            &["is damaged or cut off", "failed with exit code", "line ", "not start as a dump"],
        );
    }
    bad(&place, &cut(&place, "app.dump", |length| length / 2), &["pg_restore failed with exit code"]);
    // pg_restore would never come back from it.
    bad(&place, &cut(&place, "app.tar", |length| length / 2), &["the pg_dump tar format is damaged or cut off: "]);
    bad(&place, &damaged(&place, "app.dump"), &["pg_restore failed with exit code"]);
    // Digests are nobody's to compare, so the shallower looks have nothing to say.
    let ran = verify(&place).args(["--depth", "stored", "app.sql.gz"]).run().code(3);
    assert!(ran.stdout_text().starts_with("UNKNOWN app.sql.gz: it has no manifest"), "{ran:?}");
}

#[test]
fn a_directory_of_pg_dump_is_one_dump_and_no_link_in_it_is_followed() {
    let place = place();
    chmod(place.dir.path(), 0o755);
    shell(&place, "pg_dump -Fd -f directory app && chmod -R a+rX directory");

    let ran = good(&place, "directory");

    assert!(ran.stdout_text().contains("pg_dump directory format"), "{ran:?}");
    let data: PathBuf = fs::read_dir(place.dir.join("directory"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().ends_with(".dat.gz"))
        .unwrap();
    let bytes = fs::read(&data).unwrap();
    fs::write(&data, &bytes[..bytes.len() / 2]).unwrap();
    bad(&place, "directory", &["pg_restore failed with exit code", "the dump is cut off"]);
    fs::write(place.dir.join("elsewhere"), &bytes).unwrap();
    fs::remove_file(&data).unwrap();
    symlink(place.dir.join("elsewhere"), &data).unwrap();
    bad(&place, "directory", &["not a regular file"]);
    if is_root() {
        fs::remove_file(&data).unwrap();
        fs::write(&data, &bytes).unwrap();
        chmod(&place.dir.join("directory"), 0o700);
        verify(&place).arg("directory").run().stdout_has("name another with --run-as").code(3);
        verify(&place).args(["--run-as", "root", "directory"]).run().stdout_has("OK directory: ").code(0);
    }
}

#[test]
fn a_directory_that_names_files_elsewhere_shows_nothing_of_them() {
    let place = place();
    chmod(place.dir.path(), 0o755);
    shell(&place, "pg_dump -Fd -Z0 -f directory app && chmod -R a+rX directory");
    let inside = |name: &str| place.dir.join("directory").join(name);
    let toc = fs::read(inside("toc.dat")).unwrap();
    let data = fs::read_dir(inside("")).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    let data = data.filter(|name| name.len() == 8 && name.ends_with(".dat") && !name.starts_with("toc")).max().unwrap();
    // As good a piece of data as the one it takes the place of, but not of the dump.
    fs::copy(inside(&data), place.dir.join("z.dat")).unwrap();
    let canary = format!("CANARY\n{}", fs::read_to_string(inside(&data)).unwrap());
    fs::write(place.dir.join("y.dat"), canary).unwrap();
    let refused = |reason: &str| {
        let ran = verify(&place).arg("directory").run().stderr_is("").stdout_lacks("CANARY").code(2);
        let _ = ran.stdout_has("CRITICAL directory: ").stdout_has(reason);
    };

    for other in ["../z.dat", "../y.dat"] {
        fs::write(inside("toc.dat"), replaced(&toc, data.as_bytes(), other.as_bytes())).unwrap();
        refused(&format!("invalid file name in archive: \"{other}\""));
    }
    fs::write(inside("toc.dat"), &toc).unwrap();
    let blobs = fs::read_to_string(inside("blobs.toc")).unwrap();
    let blob = blobs.split_whitespace().nth(1).unwrap();
    fs::write(inside("blobs.toc"), blobs.replace(blob, "../y.dat")).unwrap();
    refused("invalid file name in archive");
    fs::write(inside("blobs.toc"), blobs).unwrap();
    good(&place, "directory");
}

/// Bytes in which every occurrence of some is another of the same length.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<_> =
        bytes.windows(from.len()).enumerate().filter(|(_, at)| *at == from).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    places.into_iter().for_each(|at| bytes[at..at + to.len()].copy_from_slice(to));
    bytes
}

#[test]
fn what_is_no_dump_or_no_regular_file_is_never_good() {
    let place = place();
    shell(
        &place,
        "echo 'SELECT 1;' >query.sql; : >empty.sql; head -c 100000 /dev/urandom >noise; gzip -c query.sql >query.sql.gz
         tar -cf other.tar query.sql; pg_dump app >app.sql; ln -s app.sql latest.sql; mkfifo fifo.sql
         (cat app.sql; echo 'DROP TABLE notes;') >longer.sql; (cat app.sql; echo '\\! touch pwned') >shell.sql",
    );
    for name in ["query.sql", "empty.sql", "noise", "query.sql.gz"] {
        bad(&place, name, &["it does not start as a dump of pg_dump or pg_dumpall does"]);
    }
    bad(&place, "other.tar", &["pg_restore failed with exit code"]);
    bad(&place, "latest.sql", &["cannot open \"latest.sql\": is a symbolic link"]);
    bad(&place, "fifo.sql", &["cannot open \"fifo.sql\": "]);
    bad(&place, "/dev/zero", &["cannot open \"/dev/zero\": "]);
    bad(&place, "longer.sql", &["the dump is cut off: its end marker is missing"]);
    bad(&place, "shell.sql", &["psql command"]);
    assert!(!place.dir.files().contains(&"pwned".to_owned()));
}

#[test]
fn without_the_program_or_with_an_unsafe_one_nothing_is_judged() {
    let place = place();
    shell(
        &place,
        "pg_dump -Fc app >app.dump; mkdir bin none; printf '#!/bin/sh\\necho \"pg_restore (PostgreSQL) 15.19\"\\n' >bin/pg_restore; chmod 755 bin/pg_restore",
    );
    let with = |bin: &str| place.dir.tool("backup-verify").args(["--no-config", "--pg-bin", bin, "app.dump"]).run();

    let ran = with("bin").stdout_has("UNKNOWN app.dump: pg_restore 15.19 has known holes").code(3);
    let _ = ran.stdout_has("  hint: update it to 15.20 or later\n");
    let _ = with("none").stdout_has("UNKNOWN app.dump: cannot find the program pg_restore").code(3);
}

/// A gzip file of many members of a MiB, each holding the same letter.
fn bomb(path: PathBuf, head: &str, mebibytes: usize) {
    let gzip = |text: &[u8]| {
        let mut child = Command::new("gzip")
            .arg("-c9")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let text = text.to_owned();
        let writer = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &text));
        let bytes = child.wait_with_output().unwrap().stdout;
        writer.join().unwrap().unwrap();
        bytes
    };
    let mut bytes = gzip(head.as_bytes());
    let member = gzip(&vec![b'0'; 1 << 20]);
    for _ in 0..mebibytes {
        bytes.extend_from_slice(&member);
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_bomb_costs_time_and_no_memory() {
    let place = place();
    let head = "--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.t (a text);\n";
    bomb(place.dir.join("row.sql.gz"), &format!("{head}COPY public.t (a) FROM stdin;\n"), 1024);
    bomb(place.dir.join("quote.sql.gz"), &format!("{head}INSERT INTO public.t VALUES ('"), 1024);
    bomb(place.dir.join("zeros.sql.gz"), "0", 1024);
    for name in ["row.sql.gz", "quote.sql.gz", "zeros.sql.gz"] {
        let ran = verify(&place).arg(name).run().code(2);
        assert!(ran.max_rss_kib.unwrap_or(0) < 64 << 10, "{ran:?}\n{:?} KiB", ran.max_rss_kib);
    }
}

#[test]
fn what_a_manifest_or_an_index_claims_is_not_allocated() {
    let place = place();
    let label = place.back_up();
    let path = place.backups().join(&label);
    let file = |end: &str| place.backups().join(format!("{label}{end}"));
    let honest = place.manifest(&label);
    let index = fs::read_to_string(file(INDEX)).unwrap();
    let refused = |told: &str| {
        let ran = verify(&place).arg(&path).run().stdout_has(told).code(2);
        assert!(ran.wall < Duration::from_secs(5), "{ran:?}");
        assert!(ran.max_rss_kib.unwrap_or(0) < 64 << 10, "{ran:?}\n{:?} KiB", ran.max_rss_kib);
    };
    // Members that lie about their length, with every digest made to fit.
    let claims = [
        ("[[4294967295,100]]", "claims to be 4294967295 bytes long"),
        ("[[100,4294967295]]", "claims to be 4294967295 bytes long"),
        ("[[4194304,4194304]]", "the archive is cut off in the member at byte 0"),
        ("[[100,100],[100,100]]", "more members than the manifest says"),
        ("[]", "behind the last member, at byte 0, stands what does not belong there"),
    ];
    for (members, told) in claims {
        let start = index.find("{\"members\":").unwrap();
        let forged = format!("{}{{\"members\":{members}}}\n", &index[..start]);
        fs::write(file(INDEX), &forged).unwrap();
        let mut manifest = honest.clone();
        manifest.index.bytes = forged.len() as u64;
        manifest.index.sha256 = common::backup::sha256(forged.as_bytes());
        place.write(&manifest);
        refused(told);
    }
    fs::write(file(INDEX), &index).unwrap();
    let mut manifest = honest.clone();
    (manifest.archive.stored_bytes, manifest.archive.plain_bytes) = (u64::MAX, u64::MAX);
    manifest.archive.members = u64::MAX;
    place.write(&manifest);
    refused("members, but the index lists ");
    // An index of a line that never ends, and one that is larger than it should be.
    place.write(&honest);
    fs::File::options().write(true).open(file(INDEX)).unwrap().set_len(1 << 40).unwrap();
    refused("the index has 1099511627776 bytes, but ");
    fs::write(file(MANIFEST), vec![b' '; 2 << 20]).unwrap();
    refused("is larger than 1.0 MiB");
}
