//! Forms that a value can be asked to have.

use anyhow::{Result, anyhow};
use common::hint::Hint as _;
use common::pg::conninfo::Conninfo;
use std::net::IpAddr;

/// A form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Url,
    Https,
    Email,
    Number,
    Integer,
    Port,
    Boolean,
    Host,
    Ip,
    Uuid,
    Hex,
    Base64,
    Json,
    Path,
    Database,
}

/// Names, and what a value is not when it lacks the form.
const ALL: [(&str, Format, &str); 15] = [
    ("url", Format::Url, "is no URL"),
    ("https", Format::Https, "is no https:// URL"),
    ("email", Format::Email, "is no e-mail address"),
    ("number", Format::Number, "is no number"),
    ("integer", Format::Integer, "is no whole number"),
    ("port", Format::Port, "is no port (1 to 65535)"),
    ("boolean", Format::Boolean, "is neither true nor false"),
    ("host", Format::Host, "is no host name"),
    ("ip", Format::Ip, "is no IP address"),
    ("uuid", Format::Uuid, "is no UUID"),
    ("hex", Format::Hex, "is not hexadecimal"),
    ("base64", Format::Base64, "is not base64"),
    ("json", Format::Json, "is no JSON"),
    ("path", Format::Path, "is no absolute path"),
    ("database", Format::Database, "is no address of a PostgreSQL database"),
];

impl Format {
    /// By its name.
    ///
    /// # Errors
    ///
    /// A name that is not known.
    pub(super) fn named(name: &str) -> Result<Self> {
        let found = ALL.iter().find(|(known, ..)| *known == name).map(|(_, format, _)| *format);
        let names: Vec<_> = ALL.iter().map(|(name, ..)| *name).collect();
        found.ok_or_else(|| anyhow!("there is no format {name:?}")).hint(format!("formats: {}", names.join(", ")))
    }

    /// What is said of a value that lacks it.
    pub(super) fn objection(self) -> &'static str {
        ALL.iter().find(|(_, format, _)| *format == self).map_or("", |(.., words)| words)
    }

    /// Whether a value has the form.
    pub(super) fn fits(self, value: &str) -> bool {
        match self {
            Self::Url => url(value).is_some_and(|url| !url.host.is_empty()),
            Self::Https => url(value).is_some_and(|url| url.scheme.eq_ignore_ascii_case("https") && is_host(url.host)),
            Self::Email => is_email(value),
            Self::Number => {
                let is_plain = value.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
                is_plain && value.parse::<f64>().is_ok_and(f64::is_finite)
            }
            Self::Integer => value.parse::<i128>().is_ok(),
            Self::Port => value.parse::<u16>().is_ok_and(|port| port > 0) && !value.starts_with('+'),
            Self::Boolean => {
                const WORDS: [&str; 8] = ["true", "false", "1", "0", "yes", "no", "on", "off"];
                WORDS.iter().any(|word| value.eq_ignore_ascii_case(word))
            }
            Self::Host => is_host(value),
            Self::Ip => value.parse::<IpAddr>().is_ok(),
            Self::Uuid => is_uuid(value),
            Self::Hex => !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_hexdigit()),
            Self::Base64 => is_base64(value),
            Self::Json => serde_json::from_str::<serde::de::IgnoredAny>(value).is_ok(),
            Self::Path => value.starts_with('/') && !value.contains('\0'),
            Self::Database => value.contains("://") && Conninfo::parse(value).is_ok(),
        }
    }
}

/// The parts of a URL that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Url<'t> {
    pub(super) scheme: &'t str,
    pub(super) user: &'t str,
    pub(super) password: &'t str,
    pub(super) host: &'t str,
}

/// Takes a URL apart, as loosely as its readers do.
pub(super) fn url(text: &str) -> Option<Url<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    if !is_scheme || rest.contains(char::is_whitespace) || rest.contains(char::is_control) {
        return None;
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (userinfo, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let host = match host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        Some((inside, _)) => inside,
        None => host.split_once(':').map_or(host, |(host, _)| host),
    };
    Some(Url { scheme, user, password, host })
}

/// A name by RFC 1123, with the underscores of container networks; or an address.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    text.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(is_label))
}

/// `a@b.test` and `Shop <a@b.test>`, as mailers take both.
fn is_email(text: &str) -> bool {
    let address = match text.split_once('<') {
        Some((_, rest)) => match rest.strip_suffix('>') {
            Some(address) => address,
            None => return false,
        },
        None => text,
    };
    let Some((local, host)) = address.rsplit_once('@') else { return false };
    let is_local = !local.is_empty()
        && local.len() <= 64
        && !local.starts_with('.')
        && !local.ends_with('.')
        && local.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~.-".contains(&byte));
    is_local && is_host(host)
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<_> = text.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Both alphabets, with or without padding, and Laravel's `base64:` in front.
fn is_base64(text: &str) -> bool {
    let text = text.strip_prefix("base64:").unwrap_or(text);
    let bare = text.trim_end_matches('=');
    let is_padded = text.len() == bare.len() || (text.len().is_multiple_of(4) && text.len() - bare.len() <= 2);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
    !bare.is_empty() && bare.len() % 4 != 1 && is_padded && bare.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_takes_what_it_is_and_nothing_else() {
        for (name, good, bad) in [
            (
                "url",
                &["https://a.test/x?y", "redis://:p@r:6379/0", "http://[::1]:3000"][..],
                &["a.test", "http://", "x://a b", ""][..],
            ),
            ("https", &["https://a.test"], &["http://a.test", "https://", "https://-"]),
            ("email", &["a+b@c.test", "Shop <a@b.test>"], &["a@", "@b", "a b@c.test", "a@b@", "<a@b", "a..@-"]),
            ("number", &["1", "-1.5", "1e3"], &["", "x", "inf", "nan", "1,5", "0x10"]),
            ("integer", &["1", "-5"], &["1.5", ""]),
            ("port", &["1", "65535"], &["0", "65536", "+80", "x"]),
            ("boolean", &["true", "NO", "1"], &["2", "", "ja"]),
            ("host", &["db", "my_db", "a.test.", "10.0.0.1", "::1"], &["", "a b", "-a", "a..b", "http://a"]),
            ("ip", &["10.0.0.1", "::1"], &["db", "10.0.0"]),
            ("uuid", &["6f9619ff-8b86-d011-b42d-00cf4fc964ff"], &["6f9619ff", "6f9619ff-8b86-d011-b42d-00cf4fc964fg"]),
            ("hex", &["00ff"], &["", "0x00"]),
            ("base64", &["YWJj", "YQ==", "YQ", "base64:YWJj"], &["", "a", "YQ=", "a b"]),
            ("json", &["{}", "[1]", "\"x\""], &["{", "x"]),
            ("path", &["/srv"], &["srv", ""]),
            ("database", &["postgresql+asyncpg://u:p@h/db"], &["mysql://h/db", "app", "postgres://u:p/w@h/db"]),
        ] {
            let format = Format::named(name).unwrap();
            assert!(good.iter().all(|value| format.fits(value)), "{name}: {good:?}");
            assert_eq!(bad.iter().find(|value| format.fits(value)), None, "{name}");
        }
        assert!(Format::named("nonsense").is_err());
    }

    #[test]
    fn a_url_is_taken_apart() {
        let parts = url("amqp://u:p@w@mq.test:5672/v").unwrap();

        assert_eq!((parts.scheme, parts.user, parts.password, parts.host), ("amqp", "u", "p@w", "mq.test"));
    }
}
