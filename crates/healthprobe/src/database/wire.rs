//! The bytes between us and a server: a socket that stops reading when there were too many of them.

use super::login::{Endpoint, Host};
use anyhow::{Context as _, Result, anyhow, bail};
use common::hint::Hint as _;
use common::process::User;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::Uid;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// The most bytes that are taken from one server in one look: what it says of ten thousand sessions is a tenth of it.
const RECEIVED: usize = 16 << 20;

/// A connected socket.
#[derive(Debug)]
pub struct Wire {
    socket: Socket,
    left: usize,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Connects to a server, trying all addresses of its name in turn.
///
/// # Errors
///
/// "cannot connect to …", "cannot look up …".
pub async fn dial(endpoint: &Endpoint, run_as: Option<&User>, deadline: Instant) -> Result<Wire> {
    let socket = match &endpoint.host {
        Host::Socket(dir) => Socket::Unix(unix(dir, endpoint, run_as, deadline).await?),
        Host::Tcp(_, Some(ip)) => Socket::Tcp(tcp(&[SocketAddr::new(*ip, endpoint.port)], endpoint, deadline).await?),
        Host::Tcp(name, None) => {
            Socket::Tcp(tcp(&look_up(name, endpoint.port, deadline).await?, endpoint, deadline).await?)
        }
    };
    Ok(Wire { socket, left: RECEIVED })
}

/// All addresses of a name. getaddrinfo runs in a thread of its own, which is left alone when it takes too long.
async fn look_up(name: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>> {
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let shown = common::text::line(name);
    match timeout_at(deadline, lookup_host((name, port))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => {
            let text = error.to_string();
            let plain = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
            Err(anyhow!("cannot look up {shown}: {plain}")).hint("check the host name")
        }
        Err(_) => Err(anyhow!("cannot look up {shown}: no answer in time"))
            .hint("is the name server of this machine reachable?"),
    }
}

async fn tcp(addresses: &[SocketAddr], endpoint: &Endpoint, deadline: Instant) -> Result<TcpStream> {
    let mut last = None;
    for (number, address) in addresses.iter().enumerate() {
        // A first address that swallows all packets must leave time for the others.
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - number).unwrap_or(1);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                socket.set_nodelay(true).with_context(|| format!("cannot connect to {}", endpoint.shown()))?;
                return Ok(socket);
            }
            Ok(Err(error)) => last = Some(error),
            Err(_) => last = Some(io::ErrorKind::TimedOut.into()),
        }
    }
    let Some(error) = last else { bail!("cannot look up {}: it has no address", endpoint.shown()) };
    refused(error, endpoint)
}

fn refused<T>(error: io::Error, endpoint: &Endpoint) -> Result<T> {
    let shown = endpoint.shown();
    match error.kind() {
        io::ErrorKind::TimedOut => {
            Err(anyhow!("cannot connect to {shown}: no answer in time")).hint("check host, port and firewall")
        }
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot connect to {shown}")).hint(match endpoint.host {
                Host::Socket(_) => "is the server running there? check port and socket directory",
                Host::Tcp(..) => "is the server running there? check host and port",
            })
        }
        _ => Err(error).with_context(|| format!("cannot connect to {shown}")),
    }
}

/// A socket in the file system never waits to be connected, but its queue may be full.
async fn unix(dir: &Path, endpoint: &Endpoint, run_as: Option<&User>, deadline: Instant) -> Result<UnixStream> {
    let file = format!(".s.PGSQL.{}", endpoint.port);
    loop {
        match connect(dir, &file, run_as) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                sleep(Duration::from_millis(5)).await;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return refused(io::ErrorKind::TimedOut.into(), endpoint);
            }
            Err(error) => return refused(error, endpoint),
            Ok(socket) => return UnixStream::from_std(socket).context("cannot wait for a socket"),
        }
    }
}

fn connect(dir: &Path, file: &str, run_as: Option<&User>) -> io::Result<std::os::unix::net::UnixStream> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let text = dir.to_string_lossy();
    let address = match text.strip_prefix('@') {
        Some(name) => SocketAddrUnix::new_abstract_name(format!("{name}/{file}").as_bytes())?,
        None => SocketAddrUnix::new(dir.join(file))?,
    };
    as_user(run_as, || rustix::net::connect(&socket, &address))?;
    Ok(socket.into())
}

/// Connects in the place of another user, whom the server then sees as its peer.
///
/// Root's alone, for this one call and this one thread: real and saved user stay root, so nobody else may signal or trace
/// us meanwhile. Nothing else is done under that user: no file is opened, no program started (compare THREATS G6).
fn as_user(user: Option<&User>, connect: impl FnOnce() -> rustix::io::Result<()>) -> io::Result<()> {
    let Some(user) = user.filter(|user| Uid::from_raw(user.uid) != rustix::process::geteuid()) else {
        return Ok(connect()?);
    };
    let ours = rustix::process::geteuid();
    rustix::thread::set_thread_res_uid(None, Some(Uid::from_raw(user.uid)), None)?;
    let done = connect();
    // With another user's rights nothing may go on.
    if rustix::thread::set_thread_res_uid(None, Some(ours), None).is_err() {
        std::process::abort();
    }
    Ok(done?)
}

impl Wire {
    /// The user id of the process on the other side of a socket.
    pub fn peer(&self) -> Option<u32> {
        match &self.socket {
            Socket::Tcp(_) => None,
            Socket::Unix(socket) => socket.peer_cred().ok().map(|peer| peer.uid()),
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Socket::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
        })?;
        match self.left.checked_sub(buffer.filled().len() - before) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Err(io::Error::other("the server sends without end"))),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_write(cx, bytes),
            Socket::Unix(socket) => Pin::new(socket).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Socket::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
        }
    }
}
