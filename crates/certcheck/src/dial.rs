//! Connects to a server before a deadline, and reads and writes until then: no server can hold us longer.

use crate::name::Host;
use crate::target::Address;
use anyhow::{Context as _, Result, anyhow, bail};
use common::hint::Hint as _;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// The most bytes that are taken from one server: a handshake with the longest chain has a tenth of it.
const RECEIVED: usize = 1024 * 1024;
/// How much of the first answer is kept, to say what speaks there if it is not TLS.
const HEAD: usize = 80;

/// A connection with a deadline.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    deadline: Instant,
    received: usize,
    /// The first bytes that came.
    pub head: Vec<u8>,
    /// What was connected to.
    pub peer: String,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects, trying all addresses of a name in turn.
///
/// # Errors
///
/// "cannot connect to …", "cannot look up …".
pub fn dial(address: &Address, deadline: Instant) -> Result<Wire> {
    let (socket, peer) = match address {
        Address::Unix(path) => {
            let socket = UnixStream::connect(path).with_context(|| format!("cannot connect to {path:?}"))?;
            (Socket::Unix(socket), path.display().to_string())
        }
        Address::Tcp(host, port) => {
            let (socket, peer) = tcp(host, *port, deadline)?;
            (Socket::Tcp(socket), peer.to_string())
        }
    };
    Ok(Wire { socket, deadline, received: 0, head: Vec::new(), peer })
}

fn tcp(host: &Host, port: u16, deadline: Instant) -> Result<(TcpStream, SocketAddr)> {
    let addresses = look_up(host, port, deadline)?;
    let mut last = None;
    for (number, address) in addresses.iter().enumerate() {
        // A first address that swallows all packets must leave time for the others.
        let share = left(deadline)? / u32::try_from(addresses.len() - number).unwrap_or(1);
        match TcpStream::connect_timeout(address, share) {
            Ok(socket) => {
                drop(socket.set_nodelay(true));
                return Ok((socket, *address));
            }
            Err(error) => last = Some((address, error)),
        }
    }
    let Some((address, error)) = last else { bail!("cannot look up {host}: it has no address") };
    if error.kind() == io::ErrorKind::TimedOut {
        bail!("cannot connect to {address}: no answer in time");
    }
    Err(anyhow!(error).context(format!("cannot connect to {address}")))
}

/// All addresses of a host. The look-up of the system knows no time limit, so it is left alone when it takes too long.
fn look_up(host: &Host, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>> {
    let name = match host {
        Host::Ip(address) => return Ok(vec![SocketAddr::new(*address, port)]),
        Host::Dns(name) => name.clone(),
    };
    let (sender, receiver) = mpsc::channel();
    let asked = name.clone();
    let work = move || drop(sender.send((asked.as_str(), port).to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
    std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(work)
        .with_context(|| format!("cannot look up {name}: no thread"))?;
    match receiver.recv_timeout(left(deadline)?) {
        Ok(Ok(mut addresses)) => {
            addresses.dedup();
            Ok(addresses)
        }
        Ok(Err(error)) => Err(anyhow!("cannot look up {name}: {}", plain(&error))),
        Err(_) => Err(anyhow!("cannot look up {name}: no answer in time"))
            .hint("is the name server of this machine reachable?"),
    }
}

/// The words of getaddrinfo without those that std puts in front.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").unwrap_or(&text).to_owned()
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    // Zero would mean "no limit" to the socket.
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

impl Wire {
    /// The address of the other side, where it is one of the network.
    pub fn ip(&self) -> Option<IpAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.peer_addr().ok().map(|address| address.ip()),
            Socket::Unix(_) => None,
        }
    }

    /// Forgets what came so far: what follows is another protocol.
    pub fn begin_tls(&mut self) {
        self.head.clear();
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.received > RECEIVED {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the server sends without end"));
        }
        let left = left(self.deadline)?;
        let count = match &mut self.socket {
            Socket::Tcp(socket) => {
                socket.set_read_timeout(Some(left))?;
                socket.read(buffer)
            }
            Socket::Unix(socket) => {
                socket.set_read_timeout(Some(left))?;
                socket.read(buffer)
            }
        };
        let count = count.map_err(in_time)?;
        self.received += count;
        let room = HEAD.saturating_sub(self.head.len());
        self.head.extend_from_slice(&buffer[..count.min(room)]);
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let left = left(self.deadline)?;
        let count = match &mut self.socket {
            Socket::Tcp(socket) => {
                socket.set_write_timeout(Some(left))?;
                socket.write(buffer)
            }
            Socket::Unix(socket) => {
                socket.set_write_timeout(Some(left))?;
                socket.write(buffer)
            }
        };
        count.map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A socket whose time is over says "would block".
fn in_time(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

/// The words for what went wrong while reading or writing.
pub fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "no answer in time".to_owned(),
        io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "the server cut the connection off".to_owned(),
        _ => error.to_string(),
    }
}
