//! Names of backups: `[NAME-]DATABASE-STAMP`, safe as a file name and one line, whatever the database is called.

use crate::units::Stamp;
use std::fmt::Write as _;

/// Length of `-20261120T020000Z`.
const STAMP: usize = 17;
/// The longest prefix: NAME_MAX is 255, and the longest name built from a label is `.LABEL.manifest.json.partial`.
const PREFIX: usize = 200;

/// A label in its two parts; sorts by prefix, then by time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// `[NAME-]DATABASE`, encoded.
    pub prefix: String,
    /// When the backup was begun, UTC.
    pub stamp: Stamp,
}

impl Label {
    /// Reads a label from its right end; `None` where it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let cut = text.len().checked_sub(STAMP)?;
        let (prefix, stamp) = (text.get(..cut)?, text.get(cut..)?);
        let stamp = Stamp::parse_compact(stamp.strip_prefix('-')?).ok()?;
        let is_ours = is_encoded(prefix) && prefix.len() <= PREFIX;
        is_ours.then(|| Self { prefix: prefix.to_owned(), stamp })
    }
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.prefix, self.stamp)
    }
}

/// The prefix of a database's labels, below the name of its server where one was given.
///
/// Two different inputs never share a prefix by encoding; what is too long is cut and told apart by a digest.
pub fn prefix(name: Option<&str>, subject: &str) -> String {
    let mut prefix = match name {
        Some(name) => format!("{}-{}", encode(name), encode(subject)),
        None => encode(subject),
    };
    if prefix.len() > PREFIX {
        let digest = super::sha256(prefix.as_bytes());
        prefix.truncate(PREFIX - 17);
        // Not in the middle of %NN.
        let cut = prefix.rfind('%').filter(|at| prefix.len() - at < 3).unwrap_or(prefix.len());
        prefix.truncate(cut);
        prefix.push('.');
        prefix.push_str(&digest[..16]);
    }
    prefix
}

/// Percent-encodes all but `[A-Za-z0-9_.-]`, and a leading `.` or `-`.
fn encode(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        let is_plain = byte.is_ascii_alphanumeric() || byte == b'_' || (place > 0 && (byte == b'.' || byte == b'-'));
        if is_plain {
            safe.push(char::from(byte));
        } else {
            write!(safe, "%{byte:02X}").expect("writing to a String cannot fail");
        }
    }
    safe
}

fn is_encoded(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-%".contains(&byte);
    !text.is_empty() && !text.starts_with(['.', '-']) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_from_its_right_end() {
        let label = Label::parse("web-1-app-20261120T020000Z").unwrap();

        assert_eq!(label.prefix, "web-1-app");
        assert_eq!(label.to_string(), "web-1-app-20261120T020000Z");
    }

    #[test]
    fn what_is_not_a_label_is_none() {
        for text in
            ["", "app", "-20261120T020000Z", "app-20261320T020000Z", "é-20261120T020000Z", "a/b-20261120T020000Z"]
        {
            assert_eq!(Label::parse(text), None, "{text}");
        }
    }

    #[test]
    fn no_database_name_leads_out_of_the_directory_or_into_a_second_line() {
        for name in
            ["../../etc/cron.d/x", ".", "..", "-rf", "a\nb", "a b", "%", "a/b", "é", &"%".repeat(63), &"x".repeat(300)]
        {
            let prefix = prefix(Some("web"), name);

            assert!(is_encoded(&prefix), "{prefix}");
            assert!(prefix.len() <= PREFIX, "{prefix}");
            let label = format!("{prefix}-20261120T020000Z");
            assert_eq!(Label::parse(&label).unwrap().prefix, prefix);
        }
    }

    #[test]
    fn different_names_have_different_prefixes() {
        assert_ne!(prefix(None, "a%2Fb"), prefix(None, "a/b"));
        assert_ne!(prefix(None, &"é".repeat(150)), prefix(None, &format!("{}x", "é".repeat(150))));
    }

    #[test]
    fn an_ordinary_name_stays_as_it_is() {
        assert_eq!(prefix(None, "app_prod.v2-1"), "app_prod.v2-1");
    }
}
