//! `.env` files: no message shows a value, what is read can be written and read again, and where no warning names
//! dotenvy, dotenvy reads the same.

use common::envfile::{EnvFile, Parsed, parse};

/// The bytes are the file.
pub fn check(text: &[u8]) {
    let parsed = parse(text);
    lines_exist(&parsed, text);
    reads_back(&parsed);
    agrees_with_dotenvy(&parsed, text);
    silent(parsed);
}

fn lines_exist(parsed: &Parsed, text: &[u8]) {
    let most = 1 + text.iter().filter(|byte| b"\r\n".contains(byte)).count();
    assert!(parsed.vars.is_sorted_by_key(|var| var.line));
    assert!(parsed.warnings.len() <= 51, "a file of others fills the log");
    let lines = parsed.vars.iter().map(|var| var.line).chain(parsed.unreadable.iter().map(|line| line.line));
    assert!(lines.chain(parsed.warnings.iter().map(|warning| warning.line)).all(|line| (1..=most).contains(&line)));
    assert!(parsed.vars.iter().all(|var| is_name(&var.name)));
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// In single quotes every value without quotes, backslashes and line ends is itself.
fn reads_back(parsed: &Parsed) {
    let vars = parsed.vars.iter().map(|var| (var.name.as_str(), var.value.expose()));
    let plain: Vec<_> = vars.filter(|(_, value)| !value.contains(['\'', '\\', '\r', '\n'])).collect();
    let printed: String = plain.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();

    let again = parse(printed.as_bytes());

    assert!(again.unreadable.is_empty(), "{:?}", again.unreadable);
    let read: Vec<_> = again.vars.iter().map(|var| (var.name.as_str(), var.value.expose())).collect();
    assert_eq!(read, plain);
}

/// Where dotenvy refuses the file, no application runs on another value.
fn agrees_with_dotenvy(parsed: &Parsed, text: &[u8]) {
    let is_warned = parsed.warnings.iter().any(|warning| warning.text.contains("dotenvy"));
    // After fifty warnings there are no more, whoever they would name.
    if std::str::from_utf8(text).is_err() || parsed.warnings.len() > 50 || is_warned {
        return;
    }
    let Ok(theirs) = dotenvy::from_read_iter(text).collect::<Result<Vec<_>, _>>() else { return };
    let ours: Vec<_> = parsed.vars.iter().map(|var| (var.name.clone(), var.value.expose().to_owned())).collect();
    assert_eq!(ours, theirs, "dotenvy reads it differently, and no warning says so");
}

/// Whatever the file says and whoever owns it, the canary is in no message.
fn silent(parsed: Parsed) {
    let mut told = format!("{parsed:?}");
    for warning in &parsed.warnings {
        told += &warning.to_string();
    }
    let Parsed { vars, warnings, unreadable } = parsed;
    let path = "app.env".into();
    let file = EnvFile { path, vars, warnings, unreadable, foreign: true, mode: 0o600 };
    match file.database() {
        Ok(None) => {}
        Ok(Some(mut info)) => {
            told += &info.notes().join("\n");
            if let Err(error) = info.restrict_to_foreign() {
                told += &super::shown(&error);
            }
        }
        Err(error) => told += &super::shown(&error),
    }
    assert!(!told.contains(super::CANARY), "a value is in a message: {told}");
}
