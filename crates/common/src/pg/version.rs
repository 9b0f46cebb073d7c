//! Versions of servers and client programs.

/// A version of PostgreSQL 10 or later: major and minor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 15 of 15.20.
    pub major: u32,
    /// 20 of 15.20; 0 for a beta or a development version.
    pub minor: u32,
}

/// The first minor of each major in which pg_dump is safe against a hostile server and hostile names
/// (CVE-2025-8714, -8715, CVE-2026-6477, -15741). Source: PostgreSQL security page, releases of 2026.
const SAFE_CLIENTS: [Version; 5] = [
    Version { major: 14, minor: 25 },
    Version { major: 15, minor: 20 },
    Version { major: 16, minor: 16 },
    Version { major: 17, minor: 12 },
    Version { major: 18, minor: 7 },
];

impl Version {
    /// From `server_version_num`: 150020 is 15.20.
    pub fn from_number(number: u32) -> Self {
        Self { major: number / 10_000, minor: number % 10_000 }
    }

    /// From what a program prints for `--version`: `pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)`.
    pub fn from_banner(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("(PostgreSQL) ")?;
        let word = rest.split_whitespace().next()?;
        let digits = |text: &str| -> Option<u32> {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            text[..end].parse().ok()
        };
        let (major, minor) = match word.split_once('.') {
            Some((major, minor)) => (digits(major)?, digits(minor)?),
            None => (digits(word)?, 0),
        };
        Some(Self { major, minor })
    }

    /// The minor this client should be updated to, where it is older than one known to be safe.
    pub fn safe_minor(self) -> Option<Self> {
        match SAFE_CLIENTS.iter().find(|safe| safe.major == self.major) {
            Some(safe) => (self < *safe).then_some(*safe),
            // No updates are made any more for what is older than the list.
            None => (self.major < SAFE_CLIENTS[0].major).then_some(SAFE_CLIENTS[0]),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn banners_of_releases_and_betas_are_read() {
        let read = |text: &str| Version::from_banner(text).map(|version| version.to_string());

        assert_eq!(read("pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n").as_deref(), Some("15.20"));
        assert_eq!(read("psql (PostgreSQL) 19beta2\n").as_deref(), Some("19.0"));
        assert_eq!(read("docker: no such container"), None);
    }

    #[test]
    fn a_client_below_its_safe_minor_is_known() {
        let safe = |major, minor| Version { major, minor }.safe_minor().map(|version| version.to_string());

        assert_eq!(safe(15, 19).as_deref(), Some("15.20"));
        assert_eq!(safe(15, 20), None);
        assert_eq!(safe(13, 30).as_deref(), Some("14.25"));
        assert_eq!(safe(19, 0), None);
    }
}
