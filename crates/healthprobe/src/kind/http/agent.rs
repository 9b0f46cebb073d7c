//! How a request reaches its server: names, connections, TLS, and the limits of an answer. The only file that knows ureq.

use super::Ours;
use super::answer::Answer;
use super::request::Filled;
use crate::net::{self, Endpoint};
use crate::options::Options;
use anyhow::{Result, anyhow};
use common::{dirfd, tls};
use std::fmt;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Timeout};

/// Source: THREATS G13.
const BODY: u64 = 1024 * 1024;
const HEADERS: usize = 64 * 1024;
/// The largest file of roots.
const ROOTS: u64 = 8 * 1024 * 1024;

/// The way to a server, where it is not the usual one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Way {
    /// Connect there instead of to the host of the URL.
    connect: Option<Endpoint>,
    /// Trust these roots instead of those of the system.
    roots: Option<PathBuf>,
    trust: Trust,
}

/// Whether the certificate of a server is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Trust {
    #[default]
    Yes,
    No,
}

impl Way {
    pub(crate) fn parse(options: &mut Options) -> Self {
        Self {
            connect: options.read("connect", |text| Endpoint::parse(text, Some(0))),
            roots: options.file("trust-roots"),
            trust: options.choice("trust", &[("yes", Trust::Yes), ("no", Trust::No)]).unwrap_or_default(),
        }
    }
}

/// The agents of a run. One serves all usual targets: what TLS needs is prepared once.
#[derive(Debug, Default)]
pub(crate) struct Agents {
    /// For http, and for https.
    usual: [OnceLock<Agent>; 2],
    roots: OnceLock<std::result::Result<RootCerts, String>>,
}

impl Agents {
    /// The agent for a way; one that sends many requests keeps its connection open.
    ///
    /// # Errors
    ///
    /// Roots that cannot be read.
    pub(crate) fn of(&self, way: &Way, scheme: &str, keeps_open: bool) -> Result<Agent> {
        if *way == Way::default() && !keeps_open {
            let usual = &self.usual[usize::from(scheme == "https")];
            if let Some(agent) = usual.get() {
                return Ok(agent.clone());
            }
            let agent = self.make(way, scheme, keeps_open)?;
            return Ok(usual.get_or_init(|| agent).clone());
        }
        self.make(way, scheme, keeps_open)
    }

    fn make(&self, way: &Way, scheme: &str, keeps_open: bool) -> Result<Agent> {
        let idle = usize::from(keeps_open);
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("healthprobe/", env!("CARGO_PKG_VERSION")))
            .accept("*/*")
            .accept_encoding("identity")
            .max_response_header_size(HEADERS)
            .input_buffer_size(16 * 1024)
            .output_buffer_size(16 * 1024)
            .max_idle_connections(idle)
            .max_idle_connections_per_host(idle)
            .tls_config(self.tls(way, scheme)?)
            .build();
        let names = Names { connect: way.connect.clone() };
        Ok(Agent::with_parts(config, DefaultConnector::default(), names))
    }

    fn tls(&self, way: &Way, scheme: &str) -> Result<TlsConfig> {
        let config = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(tls::provider())
            .disable_verification(way.trust == Trust::No);
        // Reading the roots takes longer than a request: only who needs them has to wait for that.
        let needs_roots = scheme == "https" && way.trust == Trust::Yes;
        let roots = if needs_roots { self.roots(way)? } else { RootCerts::new_with_certs(&[]) };
        Ok(config.root_certs(roots).build())
    }

    fn roots(&self, way: &Way) -> Result<RootCerts> {
        if let Some(path) = &way.roots {
            let text = dirfd::read_orders(path, ROOTS)?;
            let items = ureq::tls::parse_pem(text.as_bytes()).filter_map(std::result::Result::ok);
            let certs: Vec<Certificate<'static>> = items
                .filter_map(|item| match item {
                    ureq::tls::PemItem::Certificate(cert) => Some(cert),
                    _ => None,
                })
                .collect();
            if certs.is_empty() {
                return Err(Ours(format!("{path:?} holds no certificate")).into());
            }
            return Ok(RootCerts::new_with_certs(&certs));
        }
        let system = self.roots.get_or_init(|| {
            let ders = tls::system_roots().map_err(|error| format!("{error:#}"))?;
            let certs: Vec<_> = ders.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
            Ok(RootCerts::new_with_certs(&certs))
        });
        system.clone().map_err(|error| Ours(error).into())
    }
}

/// Looks names up before a deadline, and leads nowhere that only this machine should reach.
struct Names {
    connect: Option<Endpoint>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

impl Resolver for Names {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let other = |error: anyhow::Error| ureq::Error::Other(error.into_boxed_dyn_error());
        let usual = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(usual);
        let host = uri.host().unwrap_or_default();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let (host, port) = match &self.connect {
            Some(Endpoint { host, port: 0 }) => (host.as_str(), port),
            Some(Endpoint { host, port }) => (host.as_str(), *port),
            None => (host, port),
        };
        let time = if timeout.after.is_not_happening() { Duration::from_secs(3600) } else { *timeout.after };
        let found = net::addresses(host, port, Instant::now() + time).map_err(other)?;
        let mut addresses = self.empty();
        // ureq takes sixteen.
        for address in found.into_iter().take(16) {
            if is_link_local(&address) {
                return Err(other(anyhow!(
                    "{address} is an address of this link only (metadata of a cloud), and is not asked"
                )));
            }
            addresses.push(address);
        }
        Ok(addresses)
    }
}

/// Source: THREATS G15.
fn is_link_local(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            let mapped = address.to_ipv4_mapped().is_some_and(|address| address.is_link_local());
            mapped || address.is_unicast_link_local()
        }
    }
}

/// Sends a request, and reads the answer up to its limits.
///
/// # Errors
///
/// No connection, no answer in time, or one that is no HTTP.
pub(crate) fn send(agent: &Agent, request: &Filled, cookies: Option<String>, deadline: Instant) -> Result<Answer> {
    let time = net::left(deadline).map_err(|_| anyhow!("no answer in time"))?;
    let mut builder = ureq::http::Request::builder().method(request.method.as_str()).uri(request.url.text());
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    if let Some(cookies) = cookies {
        builder = builder.header("cookie", cookies);
    }
    // The words of the crate would quote a header that may be a secret.
    let invalid = || Ours("a header or the URL holds what cannot be sent".to_owned());
    let answered = match &request.body {
        Some(body) => {
            let request = builder.body(body.clone()).map_err(|_| invalid())?;
            agent.run(agent.configure_request(request).timeout_global(Some(time)).build())
        }
        None => {
            let request = builder.body(()).map_err(|_| invalid())?;
            agent.run(agent.configure_request(request).timeout_global(Some(time)).build())
        }
    };
    let response = answered.map_err(|error| words(&error, request))?;
    read(response).map_err(|error| anyhow!("the answer breaks off: {}", io_words(&error)))
}

fn read(response: ureq::http::Response<ureq::Body>) -> std::io::Result<Answer> {
    let (parts, body) = response.into_parts();
    let headers =
        parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), common::text::bytes(value.as_bytes())));
    let headers = headers.collect();
    let mut bytes = Vec::new();
    body.into_reader().take(BODY + 1).read_to_end(&mut bytes)?;
    let is_cut = bytes.len() as u64 > BODY;
    bytes.truncate(BODY as usize);
    Ok(Answer { status: parts.status.as_u16(), headers, body: bytes, is_cut })
}

/// The words for what went wrong; none of them quotes what was sent.
fn words(error: &ureq::Error, request: &Filled) -> anyhow::Error {
    let server = &request.url.authority;
    match error {
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            common::hint::with(anyhow!("cannot connect to {server}: {error}"), "does the server run, and listen there?")
        }
        ureq::Error::Io(error) => match rustls_words(error) {
            Some(why) => anyhow!("TLS with {server} fails: {why}"),
            None => anyhow!("{server}: {}", io_words(error)),
        },
        ureq::Error::Timeout(Timeout::Resolve) => anyhow!("cannot look up {server}: no answer in time"),
        ureq::Error::Timeout(Timeout::Connect) => anyhow!("cannot connect to {server}: no answer in time"),
        ureq::Error::Timeout(_) => anyhow!("{server} gives no answer in time"),
        ureq::Error::Rustls(error) => anyhow!("TLS with {server} fails: {error}"),
        ureq::Error::Other(error) => anyhow!("{error:#}"),
        ureq::Error::Protocol(error) => anyhow!("{server} does not speak HTTP as it should: {error}"),
        ureq::Error::ConnectionFailed => anyhow!("cannot connect to {server}"),
        other => anyhow!("{server}: {other}"),
    }
}

fn rustls_words(error: &std::io::Error) -> Option<String> {
    let cause = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(cause.to_string())
}

fn io_words(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|cause| cause.downcast_ref::<ureq::Error>()) {
        Some(ureq::Error::Timeout(_)) => "no answer in time".to_owned(),
        Some(other) => other.to_string(),
        None => net::why(error),
    }
}
