//! Names, connections and answers of servers, all before a deadline.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::hint::Hint as _;
use rustix::net::sockopt::{self, Timeout};
use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A host and a port, as they are written: `db.internal:5432`, `[::1]:443`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Endpoint {
    /// Reads `HOST:PORT`, or `HOST` where there is a usual port.
    ///
    /// # Errors
    ///
    /// What is no host and no port.
    pub(crate) fn parse(text: &str, usual: Option<u16>) -> Result<Self> {
        let is_bare = text.parse::<IpAddr>().is_ok() || text.ends_with(']');
        let (host, port) = match text.rsplit_once(':').filter(|_| !is_bare) {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let port = match port {
            None => usual.with_context(|| format!("{text:?} names no port: write HOST:PORT"))?,
            Some(port) => {
                let number = port.parse().ok().filter(|port| *port > 0);
                number.filter(|_| !port.starts_with('+')).with_context(|| format!("{port:?} is no port"))?
            }
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        ensure!(is_host(host), "{host:?} is no name of a host, and no address");
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Whether this is a name that DNS can have, or an address.
pub(crate) fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        !label.is_empty() && label.len() <= 63 && is_plain && !label.starts_with('-')
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.trim_end_matches('.').split('.').all(is_label))
}

/// The time until a deadline.
///
/// # Errors
///
/// Where it is over: zero would mean "no limit" to a socket.
pub(crate) fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Whether a server did not answer in time.
pub(crate) fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// A socket that reads until a deadline, however slowly the bytes come.
pub(crate) struct Until<S> {
    pub(crate) socket: S,
    deadline: Instant,
}

impl<S> Until<S> {
    pub(crate) fn new(socket: S, deadline: Instant) -> Self {
        Self { socket, deadline }
    }
}

impl<S: io::Read + AsFd> io::Read for Until<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        sockopt::set_socket_timeout(&self.socket, Timeout::Recv, Some(left(self.deadline)?))?;
        self.socket.read(buffer)
    }
}

/// All addresses of a host. The look-up of the system knows no time limit, so it is left alone when it takes too long.
///
/// # Errors
///
/// "cannot look up …".
pub(crate) fn addresses(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (sender, receiver) = mpsc::channel();
    let asked = host.to_owned();
    let work = move || drop(sender.send((asked.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(work)
        .with_context(|| format!("cannot look up {host}: no thread"))?;
    let silent = || anyhow!("cannot look up {host}: no answer in time");
    match receiver.recv_timeout(left(deadline).map_err(|_| silent())?) {
        Ok(Ok(mut addresses)) => {
            addresses.dedup();
            ensure!(!addresses.is_empty(), "cannot look up {host}: it has no address");
            Ok(addresses)
        }
        Ok(Err(error)) => {
            let text = error.to_string();
            bail!(
                "cannot look up {host}: {}",
                text.strip_prefix("failed to lookup address information: ").unwrap_or(&text)
            )
        }
        Err(_) => Err(silent()).hint("is the name server of this machine reachable? see /etc/resolv.conf"),
    }
}

/// Connects, trying all addresses of a name in turn.
///
/// # Errors
///
/// "cannot look up …", "cannot connect to …".
pub(crate) fn connect(endpoint: &Endpoint, deadline: Instant) -> Result<TcpStream> {
    let addresses = addresses(&endpoint.host, endpoint.port, deadline)?;
    let mut last = None;
    for (number, address) in addresses.iter().enumerate() {
        // A first address that swallows all packets must leave time for the others.
        let others = u32::try_from(addresses.len() - number).unwrap_or(1);
        let share = left(deadline).map(|left| left / others);
        match share.and_then(|share| TcpStream::connect_timeout(address, share)) {
            Ok(socket) => {
                drop(socket.set_nodelay(true));
                return Ok(socket);
            }
            Err(error) => last = Some((address, error)),
        }
    }
    let Some((address, error)) = last else { bail!("cannot look up {}: it has no address", endpoint.host) };
    bail!("cannot connect to {address}: {}", why(&error))
}

/// The words for what went wrong while connecting, reading or writing.
pub(crate) fn why(error: &io::Error) -> String {
    match error.kind() {
        _ if is_late(error) => "no answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the server cut the connection off".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        let parse = |text| Endpoint::parse(text, Some(53)).map(|endpoint| (endpoint.host, endpoint.port)).ok();

        assert_eq!(parse("db:5432"), Some(("db".into(), 5432)));
        assert_eq!(parse("[::1]:443"), Some(("::1".into(), 443)));
        assert_eq!(parse("::1"), Some(("::1".into(), 53)));
        assert_eq!(parse("192.0.2.1"), Some(("192.0.2.1".into(), 53)));
        for bad in ["", ":1", "a:0", "a:65536", "a:+1", "a b:1", "-a:1", "a\r\nb:1", "a..b:1"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
        assert!(Endpoint::parse("a", None).is_err());
    }
}
