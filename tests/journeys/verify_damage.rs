//! Damage of every kind, in every file of a backup of every codec: all of it is found, and what changes stored bytes also by
//! the cheap look.

use crate::damage::{CODECS, Copies, Whole, back_up, cuts_are_found, name_of};
use crate::killed::Random;
use crate::place::names_in;
use common::backup::archive::Codec;
use common::backup::catalog::{INDEX, MANIFEST};
use common::backup::manifest::Manifest;
use std::collections::BTreeMap;
use std::fs;

fn flipped_bits_are_found(codec: Codec, rounds: u32) {
    let copies = Copies::new(codec, 50);
    let mut random = Random(20_261_120);
    let mut counts = BTreeMap::new();

    copies.are_good();
    for _ in 0..rounds {
        copies.flip(&mut random, &mut counts);
    }

    copies.are_good();
    assert!(counts.len() == 4 && counts.values().sum::<u32>() == 50 * rounds, "{counts:?}");
}

#[test]
fn every_flipped_bit_of_a_gzip_backup_is_found_by_both_looks() {
    flipped_bits_are_found(Codec::Gzip, 4);
}

#[test]
fn every_flipped_bit_of_a_zstd_backup_is_found_by_both_looks() {
    flipped_bits_are_found(Codec::Zstd, 4);
}

#[test]
fn every_flipped_bit_of_a_backup_that_is_not_compressed_is_found_by_both_looks() {
    flipped_bits_are_found(Codec::None, 4);
}

#[test]
fn every_kind_of_cut_and_every_missing_file_is_found_by_both_looks() {
    for codec in CODECS {
        let whole = Whole::new(codec);
        let cuts = whole.cuts();

        let found = cuts_are_found(&whole, |end, bytes| {
            // Inside a line and behind one, of the plain bytes as well where they are not compressed.
            let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(1) + 1;
            let mut places = vec![0, 1, line.min(bytes.len() - 1), line / 2, bytes.len() / 2, bytes.len() - 1];
            if end == whole.archive {
                // Between members, within the header and the trailer of one, and within what stands behind the last.
                let last = cuts[cuts.len() - 1];
                places.extend([cuts[1], cuts[2], cuts[2] + 10, cuts[2] - 4, cuts[cuts.len() - 2], last - 1]);
                places.extend((last..bytes.len()).step_by(5));
            }
            places
        });

        assert!(found >= 30, "{found}");
    }
}

#[test]
fn a_cut_whose_index_and_sums_were_made_to_fit_is_found_by_reading_the_content() {
    for codec in CODECS {
        let whole = Whole::new(codec);
        let last = whole.members().len() - 1;
        let archive = whole.archive_of(&(0..last).collect::<Vec<_>>());
        let index = whole.index_with(&whole.members()[..last]);

        whole.forge(&archive, &index, |manifest| manifest.archive.members -= 1);
        whole.is_found(&["content"], "the last member is missing");
        whole.forge(&archive, &index, |manifest| {
            manifest.archive.members -= 1;
            manifest.archive.plain_bytes -= whole.members()[last].1 as u64;
        });
        whole.is_found(&["content"], "the last member is missing, and nobody misses its bytes");
        whole.heal();
        assert_eq!(whole.code("content").0, 0);
    }
}

#[test]
fn files_of_another_database_or_of_an_older_backup_are_found_by_both_looks() {
    for codec in CODECS {
        let whole = Whole::new(codec);
        let place = &whole.place;
        place.pg.sql("CREATE DATABASE shop TEMPLATE app");
        let shop = back_up(place, codec, "shop");
        place.pg.sql_in("app", "UPDATE customers SET name = 'x' WHERE id = 1");
        let newer = back_up(place, codec, "app");
        for (other, what) in [(&shop, "another database"), (&newer, "a newer backup")] {
            let theirs = |end: &str| fs::read(place.backups().join(format!("{other}{end}"))).unwrap();
            // Every choice of files: with all but the manifest of the newer one, ours is the older archive under it.
            for chosen in 1..1 << whole.ends().len() {
                let ends: Vec<_> = whole.ends().into_iter().enumerate().filter(|(n, _)| chosen >> n & 1 == 1).collect();
                ends.iter().for_each(|(_, end)| whole.put(end, &theirs(end)));
                // The archives of a database and its copy may be the same.
                if ends.iter().any(|(_, end)| theirs(end) != whole.files[*end]) {
                    whole.is_found(&["stored", "content"], &format!("{ends:?} of {what}"));
                }
                whole.heal();
            }
        }
        assert!(names_in(&place.backups()).contains(&format!("{newer}{}", whole.archive)));
    }
}

#[test]
fn members_that_were_moved_doubled_or_taken_out_are_found_whether_the_index_fits_or_not() {
    for codec in CODECS {
        let whole = Whole::new(codec);
        let members = whole.members();
        let last = members.len() - 1;
        let order: [(&str, Vec<usize>); 4] = [
            ("moved", [vec![0, 2, 1], (3..=last).collect()].concat()),
            ("doubled", [vec![0, 1, 1], (2..=last).collect()].concat()),
            ("taken out", [vec![0], (2..=last).collect()].concat()),
            ("cut off at the end", (0..last).collect()),
        ];
        for (what, order) in order {
            let what = format!("{}: {what}", name_of(codec));
            let archive = whole.archive_of(&order);
            let fitting: Vec<_> = order.iter().map(|n| members[*n]).collect();

            whole.put(&whole.archive, &archive);
            whole.is_found(&["stored", "content"], &format!("{what}, nothing fits"));
            whole.forge(&archive, &whole.index_with(&members), |_| {});
            whole.is_found(&["content"], &format!("{what}, the index does not fit"));
            whole.forge(&archive, &whole.index_with(&fitting), |manifest| {
                manifest.archive.members = fitting.len() as u64;
                manifest.archive.plain_bytes = fitting.iter().map(|(_, plain)| *plain as u64).sum();
            });
            whole.is_found(&["content"], &format!("{what}, the index and every count fits"));
            whole.heal();
        }
    }
}

#[test]
fn edited_counts_and_digests_are_found_by_reading_the_content() {
    let whole = Whole::new(Codec::Gzip);
    let archive = whole.archive();
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
