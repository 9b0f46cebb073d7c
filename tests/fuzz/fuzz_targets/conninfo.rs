#![no_main]

mod libpq;

use common::pg::conninfo::Conninfo;
use std::collections::BTreeMap;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    properties::conninfo::check(data);
    agrees_with_libpq(data);
});

/// What we hand to libpq is read by it as meant, and what we read without a note is what libpq would have read.
fn agrees_with_libpq(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(info) = Conninfo::parse(text) else { return };

    let printed = info.to_keywords();
    let ours = libpq::read(&printed).unwrap_or_else(|| panic!("libpq refuses {printed}"));
    assert!(ours.iter().all(|(key, value)| info.get(key) == Some(value)), "{printed} is {ours:?} to libpq");
    assert_eq!(quoted(&ours), printed, "no keyword more or less");

    let is_address = text.contains('=') || text.contains("://");
    if is_address && info.notes().is_empty() {
        let mut theirs = libpq::read(text).unwrap_or_else(|| panic!("libpq refuses it, and no note says so"));
        let password = theirs.remove("password").unwrap_or_default();
        assert_eq!(info.password().map(|password| password.expose()).unwrap_or_default(), password);
        assert_eq!(normal(ours), normal(theirs));
    }
}

fn quoted(values: &BTreeMap<String, String>) -> String {
    let value = |value: &str| value.replace('\\', "\\\\").replace('\'', "\\'");
    values.iter().map(|(key, text)| format!("{key}='{}'", value(text))).collect::<Vec<_>>().join(" ")
}

/// libpq takes any case of an sslmode and refuses it when it connects; we know what was meant.
fn normal(mut values: BTreeMap<String, String>) -> BTreeMap<String, String> {
    if let Some(mode) = values.get_mut("sslmode") {
        *mode = mode.to_ascii_lowercase().replace('_', "-");
    }
    values
}
