//! Host names and addresses as they are typed: the grammar first, then A-labels. Source: RFC 1123, 5890; THREATS C3.

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::ServerName;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A host by its name, as ASCII, or by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// Lower case, without a dot at the end.
    Dns(String),
    /// IPv4 or IPv6.
    Ip(IpAddr),
}

impl Host {
    /// Reads a name, which may be international, or an address, IPv6 with or without brackets.
    ///
    /// # Errors
    ///
    /// What is neither: a blank, a control character, a quote, a label that starts with `-` or is too long.
    pub fn parse(text: &str) -> Result<Self> {
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        if let Some(bare) = bare {
            let address: Ipv6Addr = bare.parse().with_context(|| format!("{bare:?} is no IPv6 address"))?;
            return Ok(Self::Ip(address.into()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let name = idna::domain_to_ascii(name).with_context(|| not_a_host(text))?.to_ascii_lowercase();
        ensure!(name.len() <= 253 && name.split('.').all(is_label), "{}", not_a_host(text));
        // What ends in a number would be an address to some programs and a name to others.
        let ends_in_number = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
        ensure!(!ends_in_number, "{}", not_a_host(text));
        Ok(Self::Dns(name))
    }

    /// For SNI and for the comparison with a certificate.
    ///
    /// # Errors
    ///
    /// A name that TLS cannot carry.
    pub fn server_name(&self) -> Result<ServerName<'static>> {
        match self {
            Self::Dns(name) => ServerName::try_from(name.clone()).with_context(|| not_a_host(name)),
            Self::Ip(address) => Ok(ServerName::from(*address)),
        }
    }
}

/// The name, or the address without brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => write!(f, "{address}"),
        }
    }
}

fn not_a_host(text: &str) -> String {
    format!("{text:?} is no host name and no address")
}

fn is_label(label: &str) -> bool {
    // Underscores are no letters of a host name, but are found in DNS and in certificates.
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(is_letter) && !label.starts_with('-') && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_a_labels_and_addresses_stay() {
        for (typed, is) in [
            ("Example.TEST.", "example.test"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("192.0.2.1", "192.0.2.1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::1", "::1"),
            ("_dmarc.example", "_dmarc.example"),
        ] {
            assert_eq!(Host::parse(typed).unwrap().to_string(), is, "{typed}");
        }
    }

    #[test]
    fn what_could_mean_more_than_a_host_is_refused() {
        for bad in
            ["", ".", "a b", "-rf", "a\r\nRCPT TO:<x>", "a'b", "a\"b", "a..b", "[::1", "1.2.3", "a/b", "x@y", "a%b"]
        {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Host::parse(&"a".repeat(64)).is_err());
    }
}
