//! What is to be checked, as it is typed: an endpoint or a path, with its own settings.
//!
//! ```text
//! host[:port]  starttls:PROTOCOL:host[:port]  unix:PATH  starttls:PROTOCOL:unix:PATH  file:PATH  PATH
//! ```

use crate::limit::Limit;
use crate::name::Host;
use crate::starttls::Protocol;
use anyhow::{Context as _, Result, bail, ensure};
use common::units;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// One thing to check.
#[derive(Clone, Debug)]
pub struct Target {
    /// As it was typed: the subject of the report.
    pub shown: String,
    /// What it is.
    pub what: What,
    /// How it is checked.
    pub settings: Settings,
}

/// What a target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A server that speaks TLS.
    Endpoint(Endpoint),
    /// A file, a directory, or a pattern for such.
    Path(PathBuf),
}

/// A server that speaks TLS, at once or when it is asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// How it is asked for TLS.
    pub starttls: Option<Protocol>,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A port of a host.
    Tcp(Host, u16),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Whether the chain has to lead to a trusted root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Trust {
    /// It has to
    Yes,
    /// Dates, names, keys and order are judged, trust is not
    No,
}

/// How a target is checked; each line of a list may say otherwise for itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Warn below this.
    pub warning: Limit,
    /// CRITICAL below this.
    pub critical: Limit,
    /// The name that the certificate must be for, and that is asked for.
    pub host: Option<Host>,
    /// Where to connect instead of where the target says.
    pub connect: Option<Connect>,
    /// Who should be serving a file's certificate.
    pub served_by: Option<Endpoint>,
    /// The private key of a file's certificate.
    pub key: Option<PathBuf>,
    /// The password of a PKCS#12 file.
    pub password_file: Option<PathBuf>,
    /// Whether the chain has to lead to a trusted root; by default that of a server has to, that of a file has not.
    pub trust: Option<Trust>,
    /// For all of one target: looking up its name, connecting, the handshake.
    pub timeout: Duration,
}

/// Where to connect: a host with the target's port or its own, or a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connect {
    /// A host, and its port where it differs.
    Host(Host, Option<u16>),
    /// A socket in the file system.
    Unix(PathBuf),
}

/// Who wrote a line: what comes through a pipe may not make us read secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The command line, or a file that only root or we can write.
    Operator,
    /// Standard input.
    Pipe,
}

impl Target {
    /// Reads an operand, or the first word of a line.
    ///
    /// # Errors
    ///
    /// What is no path and no endpoint.
    pub fn parse(text: &str, settings: Settings) -> Result<Self> {
        let what = match text.strip_prefix("file:") {
            Some(path) => What::Path(path.into()),
            None if is_path(text) => What::Path(text.into()),
            None => What::Endpoint(Endpoint::parse(text)?),
        };
        Ok(Self { shown: text.to_owned(), what, settings })
    }
}

/// A path has a slash, or is there, or ends as files with certificates do.
fn is_path(text: &str) -> bool {
    const ENDS: [&str; 8] = [".pem", ".crt", ".cer", ".der", ".p12", ".pfx", ".json", ".key"];
    let is_endpoint = text.starts_with("starttls:") || text.starts_with("unix:");
    let looks_like_one = text.contains('/') || ENDS.iter().any(|end| text.ends_with(end));
    !is_endpoint && (looks_like_one || Path::new(text).exists())
}

impl Endpoint {
    /// Reads `host[:port]`, `starttls:PROTOCOL:host[:port]` or `unix:PATH`.
    ///
    /// # Errors
    ///
    /// A protocol that is not known, a bad host or port.
    pub fn parse(text: &str) -> Result<Self> {
        let (starttls, rest) = match text.strip_prefix("starttls:") {
            None => (None, text),
            Some(rest) => {
                let (protocol, rest) = rest.split_once(':').with_context(|| format!("{text:?} names no host"))?;
                (Some(Protocol::parse(protocol)?), rest)
            }
        };
        if let Some(path) = rest.strip_prefix("unix:") {
            ensure!(!path.is_empty(), "{text:?} names no socket");
            return Ok(Self { address: Address::Unix(path.into()), starttls });
        }
        let (host, port) = host_and_port(rest)?;
        let port = port.unwrap_or_else(|| starttls.map_or(443, Protocol::port));
        Ok(Self { address: Address::Tcp(host, port), starttls })
    }

    /// The host, where it has one.
    pub fn host(&self) -> Option<&Host> {
        match &self.address {
            Address::Tcp(host, _) => Some(host),
            Address::Unix(_) => None,
        }
    }
}

impl Connect {
    /// Reads `ADDRESS`, `ADDRESS:PORT` or `unix:PATH`.
    ///
    /// # Errors
    ///
    /// What is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Self::Unix(path.into())),
            None => host_and_port(text).map(|(host, port)| Self::Host(host, port)),
        }
    }

    /// The address to connect to in place of another.
    pub fn instead_of(&self, address: &Address) -> Result<Address> {
        Ok(match (self, address) {
            (Self::Unix(path), _) => Address::Unix(path.clone()),
            (Self::Host(host, Some(port)), _) | (Self::Host(host, None), Address::Tcp(_, port)) => {
                Address::Tcp(host.clone(), *port)
            }
            (Self::Host(host, None), Address::Unix(_)) => bail!("connect={host} needs a port here"),
        })
    }
}

fn host_and_port(text: &str) -> Result<(Host, Option<u16>)> {
    // An IPv6 address without brackets has no port behind it.
    if let Ok(address) = text.parse() {
        return Ok((Host::Ip(address), None));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = port.map(|port| {
        let number = port.parse().ok().filter(|number| *number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()));
        number.with_context(|| format!("{port:?} is no port"))
    });
    Ok((Host::parse(host)?, port.transpose()?))
}

impl Settings {
    /// Takes an option of a line.
    ///
    /// # Errors
    ///
    /// An option or a value that is not known; one that reads a secret, where a pipe asks for it.
    pub fn set(&mut self, key: &str, value: &str, author: Author) -> Result<()> {
        ensure!(!value.is_empty(), "option {key:?} needs a value: {key}=…");
        if author == Author::Pipe && ["key", "password-file"].contains(&key) {
            bail!("{key}= is not taken from standard input; put the line into a file for --targets");
        }
        match key {
            "warning" => self.warning = Limit::parse(value)?,
            "critical" => self.critical = Limit::parse(value)?,
            "host" => self.host = Some(Host::parse(value)?),
            "connect" => self.connect = Some(Connect::parse(value)?),
            "served-by" => self.served_by = Some(Endpoint::parse(value)?),
            "key" => self.key = Some(value.into()),
            "password-file" => self.password_file = Some(value.into()),
            "trust" => {
                self.trust = Some(match value {
                    "yes" => Trust::Yes,
                    "no" => Trust::No,
                    _ => bail!("trust is yes or no, not {value:?}"),
                });
            }
            "timeout" => self.timeout = parse_timeout(value)?,
            _ => bail!(
                "unknown option {key:?}; there are warning, critical, host, connect, served-by, key, password-file, trust \
                 and timeout"
            ),
        }
        Ok(())
    }
}

/// Reads a time limit: at least 100 ms, at most an hour.
///
/// # Errors
///
/// Anything else.
pub fn parse_timeout(text: &str) -> Result<Duration> {
    let time = units::parse_duration(text)?;
    let allowed = Duration::from_millis(100)..=Duration::from_secs(3600);
    ensure!(allowed.contains(&time), "a time limit is between 100ms and 1h");
    Ok(time)
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
