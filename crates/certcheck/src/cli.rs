//! What certcheck accepts.

use crate::limit::Limit;
use crate::name::Host;
use crate::target::{Connect, Endpoint, Trust, parse_timeout};
use clap::Parser;
use common::cli::{CommonArgs, Tool};
use common::report::Style;
use common::units::Stamp;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Say how long certificates last, on servers and on disk
///
/// A TARGET is a server, a file, a directory or a pattern. `example.com` and `example.com:8443` are asked by TLS;
/// `starttls:smtp:mail.example.com:587` is asked for TLS first (smtp, imap, pop3, ftp, ldap, postgres, mysql); `unix:PATH`
/// stands for a socket wherever a host and port may. A file holds certificates as PEM, DER or PKCS#12, or is the acme.json
/// of Traefik. Of a directory all certificates are looked at, and of a directory of certbot each lineage once. What has a
/// slash, or is there, is a path; `file:NAME` says so.
///
/// All targets are looked at at once, each within its time limit. What is judged: the time left of the leaf and of every
/// certificate above it, whether it is for the host, whether the chain leads to a root that is trusted and is complete and
/// in order, keys and signatures that are too weak, and for a file whether the private key beside it belongs to it and is
/// closed to others. The dates are told also where all else fails.
#[derive(Parser, Clone, Debug)]
#[command(version, max_term_width = 100, after_long_help = AFTER)]
pub struct Cli {
    /// Servers, files, directories and patterns to check; `-` reads them from standard input
    ///
    /// One a line. Behind a target there may be options for it alone: warning=, critical=, host=, connect=, served-by=,
    /// key=, password-file=, trust=, timeout=, each like the option of its name here. Empty lines and what follows a # are
    /// skipped. From standard input, key= and password-file= are not taken.
    #[arg(value_name = "TARGET|-", required_unless_present = "targets")]
    pub operands: Vec<OsString>,

    /// Read targets from this file as well
    ///
    /// It must belong to root or to the user who runs certcheck, and nobody else may be able to write it.
    #[arg(long, value_name = "FILE", help_heading = WHAT)]
    pub targets: Option<PathBuf>,

    /// The name that the certificate must be for, and that is asked for [default: the host of the target]
    #[arg(long, value_name = "NAME", value_parser = parse_host, help_heading = WHAT)]
    pub host: Option<Host>,

    /// Connect to this host, HOST:PORT or unix:PATH instead of to the one of the target
    #[arg(long, value_name = "ADDRESS", value_parser = parse_connect, help_heading = WHAT)]
    pub connect: Option<Connect>,

    /// Compare the certificate of a file with the one that this server serves
    ///
    /// A certificate that was renewed on disk does nothing until the server is told to read it.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_endpoint, help_heading = WHAT)]
    pub served_by: Option<Endpoint>,

    /// The private key of a file [default: one beside it of a usual name]
    #[arg(long, value_name = "FILE", help_heading = WHAT)]
    pub key: Option<PathBuf>,

    /// Read the password of a PKCS#12 file from the first line of this file [default: an empty password]
    #[arg(long, value_name = "FILE", help_heading = WHAT)]
    pub password_file: Option<PathBuf>,

    /// Warn when less than this is left [default: 21d,33.3%]
    ///
    /// A duration (14d), a share of the lifetime (25%), or both (14d,25%), of which the smaller counts. A 90-day certificate
    /// is usually renewed with a third of its life left, so fewer than 21 days mean that renewal has been failing for over a
    /// week; one of 45 days or 6 needs the share.
    #[arg(long, short, value_name = "LIMIT", value_parser = parse_limit, help_heading = THRESHOLDS)]
    pub warning: Option<Limit>,

    /// Be CRITICAL when less than this is left [default: 7d,10%]
    #[arg(long, short, value_name = "LIMIT", value_parser = parse_limit, help_heading = THRESHOLDS)]
    pub critical: Option<Limit>,

    /// Trust these roots instead of those of the system
    #[arg(long, value_name = "FILE", help_heading = TRUST)]
    pub trust_roots: Option<PathBuf>,

    /// Whether the chain must lead to a trusted root [default: yes for servers, no for files]
    #[arg(long, value_enum, value_name = "WHETHER", help_heading = TRUST)]
    pub trust: Option<Trust>,

    /// Judge as of this time, such as 2026-11-20T02:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = TRUST)]
    pub at: Option<Stamp>,

    /// Only verify one file: whether its first certificate is trusted, and is for --host
    ///
    /// Ends with 0 or 2. The other certificates of the file may be used to find a root.
    #[arg(long, conflicts_with_all = ["targets", "connect", "served_by", "key", "password_file", "trust"], help_heading = TRUST)]
    pub verify: bool,

    /// With --verify, more certificates that may be used to find a root
    #[arg(long, value_name = "FILE", requires = "verify", help_heading = TRUST)]
    pub untrusted: Option<PathBuf>,

    /// The time for all of one target: looking up its name, connecting, the handshake
    #[arg(long, short, value_name = "DURATION", default_value = "10s", value_parser = parse_timeout, help_heading = HOW)]
    pub timeout: Duration,

    /// Look at this many targets at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = HOW)]
    pub concurrency: u16,

    #[command(flatten)]
    pub common: CommonArgs,
}

const WHAT: &str = "What to check; each may stand behind a target in a list, too";
const THRESHOLDS: &str = "Thresholds";
const TRUST: &str = "Trust";
const HOW: &str = "How";

fn parse_host(text: &str) -> Result<Host, String> {
    Host::parse(text).map_err(|error| format!("{error:#}"))
}

fn parse_connect(text: &str) -> Result<Connect, String> {
    Connect::parse(text).map_err(|error| format!("{error:#}"))
}

fn parse_endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text).map_err(|error| format!("{error:#}"))
}

fn parse_limit(text: &str) -> Result<Limit, String> {
    Limit::parse(text).map_err(|error| format!("{error:#}"))
}

fn parse_time(text: &str) -> Result<Stamp, String> {
    Stamp::parse_rfc3339(text).map_err(|error| format!("{error:#}"))
}

const AFTER: &str = "\
EXAMPLES
  A server, what certbot keeps, and what Traefik keeps:
      certcheck example.com /etc/letsencrypt/live /srv/traefik/acme.json
  Every morning, silent when well:
      15 7 * * *  certcheck -q --targets /etc/nightshift/certificates
  Such a file:
      www.example.com
      starttls:smtp:mail.example.com:587
      starttls:postgres:db.example.com  host=db.internal
      /etc/letsencrypt/live/example.com/fullchain.pem  served-by=example.com:443
      printer.lan:443  trust=no warning=14d critical=2d
  One host of many behind an address, before its name is public:
      certcheck --connect 192.0.2.7 new.example.com
  After a renewal, whether the server uses it:
      certcheck --served-by localhost:443 --host example.com /etc/letsencrypt/live/example.com/fullchain.pem
  For Nagios, and for Prometheus:
      certcheck --format nagios --warning 14d --critical 3d www.example.com
      certcheck -q --write prometheus:/var/lib/prometheus/node-exporter/certcheck.prom --targets hosts.txt
  A chain against the roots of a private authority:
      certcheck --verify --trust-roots root.pem --untrusted intermediates.pem --host db.internal server.pem

EXIT STATUS
  0   every certificate is good
  1   a warning threshold is crossed, or something deserves a look: an old TLS version, a key that others can read
  2   a certificate is expired, not trusted, not for its host, about to expire, or cannot be had
  3   could not start or judge: usage, configuration, what is no target, a file that may not be read
";

impl Tool for Cli {
    const NAME: &'static str = "certcheck";
    const STYLE: Style = Style::Check;
    const NEVER_FROM_ENVIRONMENT: &'static [&'static str] = &["verify", "key", "password-file", "untrusted", "at"];

    fn common(&self) -> &CommonArgs {
        &self.common
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        common::cli::command::<Cli>().debug_assert();
    }

    #[test]
    fn every_example_of_the_manual_is_accepted() {
        let mut examples = 0;
        for line in
            AFTER.lines().take_while(|line| *line != "EXIT STATUS").filter_map(|line| line.strip_prefix("      "))
        {
            let words = common::words::split(line.trim_start_matches(|c: char| c.is_ascii_digit() || " *".contains(c)))
                .unwrap();
            match words[0].as_str() {
                "certcheck" => drop(Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{line}\n{error}"))),
                // A line of a list of targets.
                _ => {
                    let (target, author) = (&words[0], crate::target::Author::Operator);
                    let mut settings = crate::settings(&Cli::parse_from(["certcheck", "x"]));
                    for (key, value) in words[1..].iter().map(|word| word.split_once('=').unwrap()) {
                        settings.set(key, value, author).unwrap();
                    }
                    crate::target::Target::parse(target, settings).unwrap();
                }
            }
            examples += 1;
        }
        assert!(examples > 10, "{examples}");
    }
}
