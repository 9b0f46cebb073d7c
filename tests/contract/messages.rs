//! How messages are worded: lower case, no full stop, the same words for the same act.

use std::fs;

use harness::workspace;
use walkdir::WalkDir;

/// What a message or a hint is given to.
const GIVEN_TO: [&str; 9] = [
    "anyhow!(",
    "bail!(",
    ".context(",
    ".with_context(|| format!(",
    ".hint(",
    ".hint(format!(",
    "error!(",
    "warn!(",
    "Error::other(",
];

/// Verbs for acts that have another one everywhere else.
const OTHER_WORDS: [(&str, &str); 8] = [
    ("failed to", "cannot"),
    ("could not", "cannot"),
    ("unable to", "cannot"),
    ("couldn't", "cannot"),
    ("can't", "cannot"),
    ("cannot delete", "cannot remove"),
    ("cannot load", "cannot read"),
    ("please ", ""),
];

/// Messages of logrotate, word for word: scripts and people look for them.
const OF_LOGROTATE: [&str; 10] = [
    "unable to open {} ({mode}) for compression",
    "failed to ",
    "Compressing program wrote",
    "{}: {}: the {keyword} directive is deprecated",
    "Potentially dangerous mode",
    "Failed to ",
    "error running preremove script",
    "state file {} is ",
    "skipping \"{}\" because parent directory",
    "logrotate in debug mode",
];

fn is_of_logrotate(file: &str, text: &str) -> bool {
    file.contains("/logrotate-lite/") && OF_LOGROTATE.iter().any(|message| text.starts_with(message))
}

/// Literals that stand right behind one of those, with their lines.
fn messages(source: &str) -> Vec<(usize, String)> {
    let source = source.split("\n#[cfg(test)]").next().unwrap_or_default();
    let mut found = Vec::new();
    for start in GIVEN_TO {
        for (at, _) in source.match_indices(start) {
            let rest = source[at + start.len()..].trim_start();
            let Some(literal) = rest.strip_prefix('"') else { continue };
            let mut text = String::new();
            let mut letters = literal.chars().peekable();
            while let Some(letter) = letters.next().filter(|letter| *letter != '"') {
                match (letter, letters.peek()) {
                    // A line that goes on.
                    ('\\', Some('\n')) => while letters.next_if(|next| next.is_whitespace()).is_some() {},
                    ('\\', Some(_)) => text.extend(letters.next()),
                    _ => text.push(letter),
                }
            }
            found.push((source[..at].matches('\n').count() + 1, text));
        }
    }
    found
}

fn complaints(text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let first = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let is_name = first.chars().count() == 1 || first.chars().skip(1).any(|c| c.is_uppercase() || c.is_ascii_digit());
    if first.starts_with(char::is_uppercase) && !is_name {
        complaints.push("begins with a capital".to_owned());
    }
    if text.ends_with(['.', '!', '\n']) {
        complaints.push("ends with a full stop".to_owned());
    }
    if text.contains('\n') {
        complaints.push("has more than one line".to_owned());
    }
    for (wrong, right) in OTHER_WORDS.iter().filter(|(wrong, _)| text.contains(wrong)) {
        complaints.push(format!("says {wrong:?}, elsewhere {right:?}"));
    }
    complaints
}

#[test]
fn messages_read_alike() {
    let mut seen = 0;
    let mut all = Vec::new();
    for entry in WalkDir::new(workspace().join("crates")).sort_by_file_name() {
        let path = entry.unwrap().into_path();
        let is_test = path.to_string_lossy().ends_with("tests.rs") || path.to_string_lossy().contains("/tests/");
        if path.extension().is_none_or(|end| end != "rs") || is_test {
            continue;
        }
        for (line, text) in messages(&fs::read_to_string(&path).unwrap()) {
            seen += 1;
            if is_of_logrotate(&path.to_string_lossy(), &text) {
                continue;
            }
            all.extend(complaints(&text).into_iter().map(|why| format!("{}:{line}: {why}: {text:?}", path.display())));
        }
    }
    assert!(seen > 100, "only {seen} messages found");
    assert!(all.is_empty(), "{}", all.join("\n"));
}

#[test]
fn a_message_that_reads_otherwise_is_told() {
    let source = "bail!(\"Cannot open {x:?}\");\nerror.context(\n    \"failed to \\\n     read\")\n.hint(\"do it.\")\n";
    let found: Vec<_> = messages(source).iter().map(|(line, text)| (*line, complaints(text).len())).collect();
    assert_eq!(found, [(1, 1), (2, 1), (5, 1)]);
    assert!(complaints("COPY without rows").is_empty() && complaints("SHA-256 differs").is_empty());
}
