//! Damage of every kind, in every file of a backup: all of it is found, and what changes stored bytes also by the cheap look.

use crate::killed::Random;
use crate::place::{Place, label_of, names_in};
use common::backup::catalog::{INDEX, MANIFEST, SHA256, VERIFIED};
use common::backup::manifest::Manifest;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

const ARCHIVE: &str = ".sql.gz";
const FILES: [&str; 4] = [ARCHIVE, INDEX, MANIFEST, SHA256];

/// A backup of some members, and the bytes of its files.
pub struct Whole {
    pub place: Place,
    pub label: String,
    files: BTreeMap<&'static str, Vec<u8>>,
}

impl Whole {
    /// Of a database whose dump has several members.
    pub fn new() -> Self {
        let place = Place::new();
        place.pg.sql_in(
            "app",
            "CREATE TABLE notes AS SELECT n AS id, repeat(md5(n::text), 8) AS text FROM generate_series(1, 14000) AS n;
             CREATE TABLE numbers AS SELECT n AS a, -n AS b FROM generate_series(1, 1000) AS n;
             SELECT lo_from_bytea(0, 'large');",
        );
        let label = place.back_up();
        let read = |end: &'static str| (end, fs::read(place.backups().join(format!("{label}{end}"))).unwrap());
        let files = FILES.into_iter().map(read).collect();
        Self { place, label, files }
    }

    /// Puts everything back as it was.
    pub fn heal(&self) {
        for (end, bytes) in &self.files {
            self.put(end, bytes);
        }
        self.forget();
    }

    fn forget(&self) {
        let verdict = self.place.backups().join(format!("{}{VERIFIED}", self.label));
        if verdict.exists() {
            fs::remove_file(verdict).unwrap();
        }
    }

    fn put(&self, end: &str, bytes: &[u8]) {
        fs::write(self.place.backups().join(format!("{}{end}", self.label)), bytes).unwrap();
    }

    fn bytes(&self, end: &str) -> Vec<u8> {
        self.files[end].clone()
    }

    fn manifest(&self) -> Manifest {
        Manifest::from_bytes(&self.files[MANIFEST], &self.label).unwrap()
    }

    /// What backup-verify ends with, and its report; nothing is known from a look before.
    fn code(&self, depth: &str) -> (i32, String) {
        self.forget();
        let path = format!("backups/{}", self.label);
        let tool =
            self.place.dir.tool("backup-verify").args(["--no-config", "--threads", "1", "--depth", depth, &path]);
        let ran = tool.run().stderr_is("");
        (ran.code.unwrap(), ran.stdout_text().to_owned())
    }

    /// It is found at these depths.
    #[track_caller]
    fn is_found(&self, depths: &[&str], what: &str) {
        for depth in depths {
            let (code, said) = self.code(depth);
            assert!(code == 2 && said.starts_with("CRITICAL "), "{what}: not found at {depth}: {code} {said}");
        }
    }

    /// Where members begin in the archive, by the index; the last is its length.
    fn cuts(&self) -> Vec<usize> {
        let mut at = 0;
        let mut cuts = vec![0];
        for (stored, _) in self.members() {
            at += stored;
            cuts.push(at);
        }
        assert!(cuts.len() > 4, "{cuts:?}");
        cuts
    }

    fn members(&self) -> Vec<(usize, usize)> {
        let line = self.index_lines().into_iter().find(|line| line.starts_with("{\"members\"")).unwrap();
        let members: serde_json::Value = serde_json::from_str(&line).unwrap();
        serde_json::from_value(members["members"].clone()).unwrap()
    }

    fn index_lines(&self) -> Vec<String> {
        String::from_utf8(self.bytes(INDEX)).unwrap().lines().map(str::to_owned).collect()
    }

    /// Writes archive and index, with a manifest and sums that fit them; what the plain bytes should be stays.
    fn forge(&self, archive: &[u8], index: &str, change: impl FnOnce(&mut Manifest)) {
        let mut manifest = self.manifest();
        manifest.archive.stored_bytes = archive.len() as u64;
        manifest.archive.stored_sha256 = common::backup::sha256(archive);
        manifest.index.bytes = index.len() as u64;
        manifest.index.sha256 = common::backup::sha256(index.as_bytes());
        change(&mut manifest);
        self.put(ARCHIVE, archive);
        self.put(INDEX, index.as_bytes());
        self.place.write(&manifest);
    }

    /// The index with other members.
    fn index_with(&self, members: &[(usize, usize)]) -> String {
        let members = serde_json::to_string(members).unwrap();
        let line =
            |line: String| if line.starts_with("{\"members\"") { format!("{{\"members\":{members}}}") } else { line };
        self.index_lines().into_iter().map(line).map(|line| line + "\n").collect()
    }
}

/// Copies of one backup, to be damaged side by side: a run of backup-verify for each flipped bit would be hours.
pub struct Copies {
    whole: Whole,
    labels: Vec<String>,
}

impl Copies {
    /// As many as that.
    pub fn new(count: u32) -> Self {
        let whole = Whole::new();
        let copy = |n| whole.place.at(&whole.label, &format!("20250101T{:02}{:02}00Z", n / 60, n % 60));
        let labels = (0..count).map(copy).collect();
        Self { whole, labels }
    }

    /// Flips one bit of one byte somewhere in the files of each copy; both looks must find all of them.
    #[track_caller]
    pub fn flip(&self, random: &mut Random, counts: &mut BTreeMap<&'static str, u32>) {
        let mut flipped = Vec::new();
        for label in &self.labels {
            let end = FILES[below(random, FILES.len())];
            let path = self.path(label, end);
            let whole = fs::read(&path).unwrap();
            let (at, bit) = (below(random, whole.len()), 1 << below(random, 8));
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            fs::write(&path, bytes).unwrap();
            flipped.push((label, format!("bit {bit:#x} of byte {at} of {end} flipped"), path, whole));
            *counts.entry(end).or_default() += 1;
        }
        for depth in ["stored", "content"] {
            let statuses = self.statuses(depth);
            for (label, what, _, _) in &flipped {
                assert_eq!(statuses[*label], "CRITICAL", "{label}: {what}: not found at {depth}");
            }
        }
        for (_, _, path, whole) in flipped {
            fs::write(path, whole).unwrap();
        }
    }

    /// Every copy is good again.
    #[track_caller]
    pub fn are_good(&self) {
        for depth in ["stored", "content"] {
            assert!(self.statuses(depth).values().all(|status| status == "OK"), "{depth}");
        }
    }

    /// The status of each label; nothing is known from a look before.
    #[track_caller]
    fn statuses(&self, depth: &str) -> BTreeMap<String, String> {
        for label in &self.labels {
            let verdict = self.path(label, VERIFIED);
            if verdict.exists() {
                fs::remove_file(verdict).unwrap();
            }
        }
        let options = ["--no-config", "--threads", "1", "--format", "json", "--depth", depth];
        let paths = self.labels.iter().map(|label| format!("backups/{label}"));
        let ran = self.whole.place.dir.tool("backup-verify").args(options).args(paths).run().stderr_is("");
        let status = |line: &str| {
            let item: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| item[key].as_str().unwrap().to_owned();
            (text("subject").trim_start_matches("backups/").to_owned(), text("status"))
        };
        ran.stdout_text().lines().map(status).collect()
    }

    fn path(&self, label: &str, end: &str) -> PathBuf {
        self.whole.place.backups().join(format!("{label}{end}"))
    }
}

fn below(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).unwrap()
}

#[test]
fn every_flipped_bit_is_found_by_both_looks() {
    let copies = Copies::new(50);
    let mut random = Random(20_261_120);
    let mut counts = BTreeMap::new();

    copies.are_good();
    for _ in 0..6 {
        copies.flip(&mut random, &mut counts);
    }

    copies.are_good();
    assert!(counts.len() == FILES.len() && counts.values().sum::<u32>() == 300, "{counts:?}");
}

#[test]
fn every_kind_of_cut_and_every_missing_file_is_found_by_both_looks() {
    let whole = Whole::new();
    let cuts = whole.cuts();
    for end in FILES {
        let bytes = whole.bytes(end);
        let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(1) + 1;
        let mut places = vec![0, 1, line.min(bytes.len() - 1), line / 2, bytes.len() / 2, bytes.len() - 1];
        if end == ARCHIVE {
            // Between members, and within the header and the trailer of one.
            places.extend([cuts[1], cuts[2], cuts[2] + 10, cuts[2] - 4, cuts[cuts.len() - 2]]);
        }
        for place in places {
            whole.put(end, &bytes[..place]);
            whole.is_found(&["stored", "content"], &format!("{end} cut at byte {place}"));
        }
        whole.put(end, &[&bytes[..], b"\n"].concat());
        whole.is_found(&["stored", "content"], &format!("{end} with a newline more"));
        fs::remove_file(whole.place.backups().join(format!("{}{end}", whole.label))).unwrap();
        whole.is_found(&["stored", "content"], &format!("no {end}"));
        whole.heal();
    }
}

#[test]
fn files_of_another_database_or_of_an_older_backup_are_found_by_both_looks() {
    let whole = Whole::new();
    let place = &whole.place;
    place.pg.sql("CREATE DATABASE shop TEMPLATE app");
    let shop = label_of(&place.pgbackup().arg("shop").run().code(0));
    place.pg.sql_in("app", "UPDATE customers SET name = 'x' WHERE id = 1");
    let newer = place.back_up();
    for (other, what) in [(&shop, "another database"), (&newer, "a newer backup")] {
        for end in FILES {
            let bytes = fs::read(place.backups().join(format!("{other}{end}"))).unwrap();
            if bytes == whole.files[end] {
                // The archives of a database and its copy may be the same.
                continue;
            }
            whole.put(end, &bytes);
            whole.is_found(&["stored", "content"], &format!("{end} of {what}"));
            whole.heal();
        }
    }
    assert!(names_in(&place.backups()).contains(&format!("{newer}{ARCHIVE}")));
}

#[test]
fn members_that_were_moved_doubled_or_taken_out_are_found_whether_the_index_fits_or_not() {
    let whole = Whole::new();
    let (bytes, members, cuts) = (whole.bytes(ARCHIVE), whole.members(), whole.cuts());
    let last = members.len() - 1;
    let order: [(&str, Vec<usize>); 4] = [
        ("moved", [vec![0, 2, 1], (3..=last).collect()].concat()),
        ("doubled", [vec![0, 1, 1], (2..=last).collect()].concat()),
        ("taken out", [vec![0], (2..=last).collect()].concat()),
        ("cut off at the end", (0..last).collect()),
    ];
    for (what, order) in order {
        let archive: Vec<u8> = order.iter().flat_map(|n| bytes[cuts[*n]..cuts[n + 1]].to_vec()).collect();
        let fitting: Vec<_> = order.iter().map(|n| members[*n]).collect();

        whole.put(ARCHIVE, &archive);
        whole.is_found(&["stored", "content"], &format!("{what}, nothing fits"));
        whole.forge(&archive, &whole.index_with(&members), |_| {});
        whole.is_found(&["content"], &format!("{what}, the index does not fit"));
        whole.forge(&archive, &whole.index_with(&fitting), |manifest| manifest.archive.members = fitting.len() as u64);
        whole.is_found(&["content"], &format!("{what}, the index fits"));
        whole.heal();
    }
}

#[test]
fn edited_counts_and_digests_are_found_by_reading_the_content() {
    let whole = Whole::new();
    let archive = whole.bytes(ARCHIVE);
    let index = String::from_utf8(whole.bytes(INDEX)).unwrap();
    let number = |text: &str, key: &str| {
        let at = text.find(key).unwrap() + key.len();
        let digits: String = text[at..].chars().take_while(char::is_ascii_digit).collect();
        (at, digits)
    };
    // One more in each count of the manifest, whose sum in the checksum file is made to fit.
    let text = String::from_utf8(whole.bytes(MANIFEST)).unwrap();
    let keys = [
        "members",
        "stored_bytes",
        "plain_bytes",
        "bytes",
        "entries",
        "tables",
        "rows",
        "row_bytes",
        "sequences",
        "large_objects",
        "large_object_bytes",
    ];
    for key in keys {
        let (at, digits) = number(&text, &format!("\"{key}\": "));
        let more = (digits.parse::<u64>().unwrap() + 1).to_string();
        let edited = format!("{}{more}{}", &text[..at], &text[at + digits.len()..]);
        whole.place.write(&Manifest::from_bytes(edited.as_bytes(), &whole.label).unwrap());
        whole.is_found(&["content"], &format!("{key} of the manifest edited"));
        whole.heal();
    }
    // One more in each number of each kind of record of the index, with all sums made to fit.
    for (kind, keys) in [
        ("{\"entry\"", &["offset", "statements"][..]),
        ("{\"table\"", &["rows", "bytes", "offset"]),
        ("{\"sequence\"", &["value"]),
        ("{\"large_object\"", &["oid", "bytes"]),
    ] {
        for key in keys {
            let start = index.find(kind).unwrap();
            let (at, digits) = number(&index[start..], &format!("\"{key}\":"));
            let more = (digits.parse::<u64>().unwrap() + 1).to_string();
            let edited = format!("{}{more}{}", &index[..start + at], &index[start + at + digits.len()..]);
            whole.forge(&archive, &edited, |_| {});
            whole.is_found(&["content"], &format!("{key} of {kind} edited"));
            whole.heal();
        }
    }
    // Each line of the index taken out, doubled, or with another digest.
    let lines = whole.index_lines();
    for (number, line) in lines.iter().enumerate() {
        let joined = |lines: Vec<&str>| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let all = || lines.iter().map(String::as_str);
        let without = all().take(number).chain(all().skip(number + 1)).collect();
        let doubled = all().take(number + 1).chain(all().skip(number)).collect();
        let mut variants = vec![("taken out", joined(without)), ("doubled", joined(doubled))];
        if let Some(at) = line.find("\"digest\":\"") {
            let at = at + 10;
            let digit = if line.as_bytes()[at] == b'0' { "1" } else { "0" };
            let other = format!("{}{digit}{}", &line[..at], &line[at + 1..]);
            let edited = all().map(|each| if each == line.as_str() { other.as_str() } else { each }).collect();
            variants.push(("with another digest", joined(edited)));
        }
        for (what, edited) in variants {
            whole.forge(&archive, &edited, |_| {});
            whole.is_found(&["content"], &format!("line {} of the index {what}: {line}", number + 1));
        }
    }
    whole.heal();
    assert_eq!(whole.code("content").0, 0);
}
