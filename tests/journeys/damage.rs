//! Backups to be damaged: one whose files can be put back, and many copies of it for bits to be flipped in.

use crate::killed::Random;
use crate::place::{Place, label_of};
use common::backup::archive::Codec;
use common::backup::catalog::{INDEX, MANIFEST, SHA256, VERIFIED, archive_end};
use common::backup::manifest::{Kind, Manifest};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// All that an archive may be compressed by.
pub const CODECS: [Codec; 3] = [Codec::Gzip, Codec::Zstd, Codec::None];

/// A codec as `--compress` names it.
pub fn name_of(codec: Codec) -> &'static str {
    match codec {
        Codec::Gzip => "gzip",
        Codec::Zstd => "zstd",
        Codec::None => "none",
    }
}

/// A backup of some members, and the bytes of its files.
pub struct Whole {
    pub place: Place,
    pub label: String,
    codec: Codec,
    /// The end of the archive's name.
    pub archive: String,
    pub files: BTreeMap<String, Vec<u8>>,
}

impl Whole {
    /// Of a database whose dump has several members.
    pub fn new(codec: Codec) -> Self {
        let place = Place::new();
        place.pg.sql_in(
            "app",
            "CREATE TABLE notes AS SELECT n AS id, repeat(md5(n::text), 8) AS text FROM generate_series(1, 14000) AS n;
             CREATE TABLE numbers AS SELECT n AS a, -n AS b FROM generate_series(1, 1000) AS n;
             SELECT lo_from_bytea(0, 'large');",
        );
        let label = back_up(&place, codec, "app");
        let archive = archive_end(Kind::Database, codec);
        let ends = [archive.clone(), INDEX.to_owned(), MANIFEST.to_owned(), SHA256.to_owned()];
        let read = |end: String| (end.clone(), fs::read(place.backups().join(format!("{label}{end}"))).unwrap());
        let files = ends.into_iter().map(read).collect();
        Self { place, label, codec, archive, files }
    }

    /// The ends of its files' names.
    pub fn ends(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
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

    pub fn put(&self, end: &str, bytes: &[u8]) {
        fs::write(self.place.backups().join(format!("{}{end}", self.label)), bytes).unwrap();
    }

    pub fn bytes(&self, end: &str) -> Vec<u8> {
        self.files[end].clone()
    }

    pub fn archive(&self) -> Vec<u8> {
        self.bytes(&self.archive)
    }

    fn manifest(&self) -> Manifest {
        Manifest::from_bytes(&self.files[MANIFEST], &self.label).unwrap()
    }

    /// What backup-verify ends with, and its report; nothing is known from a look before.
    pub fn code(&self, depth: &str) -> (i32, String) {
        self.forget();
        let path = format!("backups/{}", self.label);
        let tool =
            self.place.dir.tool("backup-verify").args(["--no-config", "--threads", "1", "--depth", depth, &path]);
        let ran = tool.run().stderr_is("");
        (ran.code.unwrap(), ran.stdout_text().to_owned())
    }

    /// It is found at these depths.
    #[track_caller]
    pub fn is_found(&self, depths: &[&str], what: &str) {
        for depth in depths {
            let (code, said) = self.code(depth);
            assert!(code == 2 && said.starts_with("CRITICAL "), "{what}: not found at {depth}: {code} {said}");
        }
    }

    /// Where members begin in the archive, by the index; the last is its length.
    pub fn cuts(&self) -> Vec<usize> {
        let mut at = 0;
        let mut cuts = vec![0];
        for (stored, _) in self.members() {
            at += stored;
            cuts.push(at);
        }
        assert!(cuts.len() > 4, "{cuts:?}");
        cuts
    }

    pub fn members(&self) -> Vec<(usize, usize)> {
        let line = self.index_lines().into_iter().find(|line| line.starts_with("{\"members\"")).unwrap();
        let members: serde_json::Value = serde_json::from_str(&line).unwrap();
        serde_json::from_value(members["members"].clone()).unwrap()
    }

    pub fn index_lines(&self) -> Vec<String> {
        String::from_utf8(self.bytes(INDEX)).unwrap().lines().map(str::to_owned).collect()
    }

    /// Writes archive and index, with a manifest and sums that fit them; what the plain bytes should be stays.
    pub fn forge(&self, archive: &[u8], index: &str, change: impl FnOnce(&mut Manifest)) {
        let mut manifest = self.manifest();
        manifest.archive.stored_bytes = archive.len() as u64;
        manifest.archive.stored_sha256 = common::backup::sha256(archive);
        manifest.index.bytes = index.len() as u64;
        manifest.index.sha256 = common::backup::sha256(index.as_bytes());
        change(&mut manifest);
        self.put(&self.archive, archive);
        self.put(INDEX, index.as_bytes());
        self.place.write(&manifest);
    }

    /// An archive of these members of ours, in this order, with all that its codec wants behind them.
    pub fn archive_of(&self, order: &[usize]) -> Vec<u8> {
        let (bytes, members, cuts) = (self.archive(), self.members(), self.cuts());
        let mut archive: Vec<u8> = order.iter().flat_map(|n| bytes[cuts[*n]..cuts[n + 1]].to_vec()).collect();
        if self.codec == Codec::Zstd {
            seek_table(&mut archive, order.iter().map(|n| members[*n]));
        }
        archive
    }

    /// The index with other members.
    pub fn index_with(&self, members: &[(usize, usize)]) -> String {
        let members = serde_json::to_string(members).unwrap();
        let line =
            |line: String| if line.starts_with("{\"members\"") { format!("{{\"members\":{members}}}") } else { line };
        self.index_lines().into_iter().map(line).map(|line| line + "\n").collect()
    }
}

/// Ends a zstd archive as the seekable format wants it, so that nothing but the content tells of an edit.
fn seek_table(archive: &mut Vec<u8>, members: impl ExactSizeIterator<Item = (usize, usize)>) {
    let count = members.len() as u32;
    let mut put = |word: u32| archive.extend_from_slice(&word.to_le_bytes());
    put(0x184D_2A5E);
    put(8 * count + 9);
    members.for_each(|(stored, plain)| [stored, plain].into_iter().for_each(|length| put(length as u32)));
    put(count);
    archive.push(0);
    archive.extend_from_slice(&0x8F92_EAB1_u32.to_le_bytes());
}

/// Backs a database up with a codec and returns the label.
pub fn back_up(place: &Place, codec: Codec, database: &str) -> String {
    label_of(&place.pgbackup().args(["--compress", name_of(codec), database]).run().stderr_is("").code(0))
}

/// Copies of one backup, to be damaged side by side: a run of backup-verify for each flipped bit would be hours.
pub struct Copies {
    whole: Whole,
    labels: Vec<String>,
}

impl Copies {
    /// As many as that.
    pub fn new(codec: Codec, count: u32) -> Self {
        let whole = Whole::new(codec);
        let copy = |n| whole.place.at(&whole.label, &format!("20250101T{:02}{:02}00Z", n / 60, n % 60));
        let labels = (0..count).map(copy).collect();
        Self { whole, labels }
    }

    /// Flips one bit of one byte somewhere in the files of each copy; both looks must find all of them.
    #[track_caller]
    pub fn flip(&self, random: &mut Random, counts: &mut BTreeMap<String, u32>) {
        let mut flipped = Vec::new();
        for label in &self.labels {
            let ends = self.whole.ends();
            let end = ends[below(random, ends.len())];
            let path = self.path(label, end);
            let whole = fs::read(&path).unwrap();
            let (at, bit) = (below(random, whole.len()), 1 << below(random, 8));
            let mut bytes = whole.clone();
            bytes[at] ^= bit;
            fs::write(&path, bytes).unwrap();
            flipped.push((label, format!("bit {bit:#x} of byte {at} of {end} flipped"), path, whole));
            *counts.entry(end.to_owned()).or_default() += 1;
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

/// Cuts each file at these places, and takes it away; what was found.
pub fn cuts_are_found(whole: &Whole, places: impl Fn(&str, &[u8]) -> Vec<usize>) -> u32 {
    let mut found = 0;
    for end in whole.ends() {
        let bytes = whole.bytes(end);
        for place in places(end, &bytes) {
            whole.put(end, &bytes[..place]);
            whole.is_found(&["stored", "content"], &format!("{end} cut at byte {place}"));
            found += 1;
        }
        whole.put(end, &[&bytes[..], b"\n"].concat());
        whole.is_found(&["stored", "content"], &format!("{end} with a newline more"));
        fs::remove_file(whole.place.backups().join(format!("{}{end}", whole.label))).unwrap();
        whole.is_found(&["stored", "content"], &format!("no {end}"));
        whole.heal();
    }
    found
}

/// Cuts each file of a backup at as many places as that; how many cuts were found, in how many files.
pub fn cut_at_random(codec: Codec, times: usize, random: &mut Random) -> (u32, usize) {
    let whole = Whole::new(codec);
    let random = std::cell::RefCell::new(random);
    let found =
        cuts_are_found(&whole, |_, bytes| (0..times).map(|_| below(*random.borrow_mut(), bytes.len())).collect());
    (found, whole.ends().len())
}
