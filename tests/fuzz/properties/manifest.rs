//! Manifest, index, verdict and label: what can be read is printed and read back as the same.

use common::backup::catalog::Verified;
use common::backup::index::{Reader, Record};
use common::backup::label::Label;
use common::backup::manifest::Manifest;
use serde_json::Value;
use std::io::BufReader;

/// First byte: which of the files the rest is.
pub fn check(data: &[u8]) {
    let Some((which, text)) = super::case(data) else { return };
    match which % 4 {
        0 => manifest(text),
        1 => index(text),
        2 => verdict(text),
        _ => label(text),
    }
}

fn manifest(text: &[u8]) {
    let own: Option<Value> = serde_json::from_slice(text).ok();
    let label = own.as_ref().and_then(|value| value.get("label")?.as_str()).unwrap_or("app-20260101T000000Z");
    let Ok(manifest) = Manifest::from_bytes(text, label) else { return };

    let printed = manifest.to_bytes();
    let again = Manifest::from_bytes(&printed, label).expect("what was printed can be read");

    assert_eq!(again, manifest);
    assert_eq!(again.to_bytes(), printed);
    assert_eq!(again.group(), manifest.group());
    super::shows_nothing_that_acts(std::str::from_utf8(&printed).expect("JSON is UTF-8"));
    let error = Manifest::from_bytes(&printed, "another-20260101T000000Z").map(drop);
    assert!(error.is_err() || label == "another-20260101T000000Z");
}

fn index(text: &[u8]) {
    let whole = read(BufReader::with_capacity(1 << 16, text));
    let pieces = read(BufReader::with_capacity(3, text));
    assert_eq!(pieces, whole, "through another buffer");

    let (records, _) = whole;
    let printed: String = records.iter().map(Record::line).collect();
    super::shows_nothing_that_acts(&printed);
    assert_eq!(printed.lines().count(), records.len());
    assert_eq!(read(printed.as_bytes()), (records, None));
}

/// All records up to the end or the first error.
fn read(input: impl std::io::BufRead) -> (Vec<Record>, Option<String>) {
    let mut reader = Reader::new(input);
    let mut records = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return (records, None),
            Err(error) => return (records, Some(super::shown(&error))),
        }
    }
}

fn verdict(text: &[u8]) {
    let Ok(verdict) = serde_json::from_slice::<Verified>(text) else { return };
    let printed = serde_json::to_vec(&verdict).expect("a verdict of strings is always JSON");
    assert_eq!(serde_json::from_slice::<Verified>(&printed).expect("what was printed can be read"), verdict);
    let of = verdict.stored_sha256.as_str();
    assert!(!(verdict.proves(of) && verdict.condemns(of)), "good and bad at once");
}

fn label(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Some(label) = Label::parse(text) else { return };
    assert_eq!(label.to_string(), text);
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/'), "it is the name of a file");
    assert!(!text.starts_with('.'), "a backup that is not seen");
}
