//! Servers that answer wrongly, or not at all. They listen on a free port of 127.0.0.1 and end when dropped.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A server that misbehaves.
pub struct Stub {
    port: u16,
    over: Arc<AtomicBool>,
    received: Arc<Mutex<Vec<u8>>>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    acceptor: Option<JoinHandle<()>>,
}

/// Accepts, and never says a word.
#[must_use]
pub fn silent() -> Stub {
    start(|_, _| Ok(()))
}

/// Does with each connection what the test says; the connection stays open until the stub goes, unless it is shut down.
#[must_use]
pub fn answering(answer: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Stub {
    start(move |mut stream, _| answer(&mut stream))
}

/// Speaks PostgreSQL just far enough to be told a password in clear text, then refuses it.
///
/// What arrives after the startup packet is in [`Stub::received`]. TLS is declined.
#[must_use]
pub fn cleartext_password_asker() -> Stub {
    start(ask_for_password)
}

impl Stub {
    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The bytes that clients have sent so far, one client's after another's.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many clients have come.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes accept(); it looks at the flag before it takes the connection in.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(acceptor) = self.acceptor.take() {
            drop(acceptor.join());
        }
        for connection in self.connections.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            drop(connection.shutdown(Shutdown::Both));
        }
    }
}

type Received = Arc<Mutex<Vec<u8>>>;

fn start(serve: impl Fn(TcpStream, &Received) -> io::Result<()> + Send + Sync + 'static) -> Stub {
    let serve = Arc::new(serve);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind 127.0.0.1:0");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    let over = Arc::new(AtomicBool::new(false));
    let received = Received::default();
    let connections = Arc::new(Mutex::new(Vec::new()));
    let acceptor = thread::spawn({
        let (over, received, connections) = (Arc::clone(&over), Arc::clone(&received), Arc::clone(&connections));
        move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                // Kept open until the stub goes: a closed connection would be an answer.
                let kept = stream.try_clone().expect("dup");
                connections.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
                let (received, serve) = (Arc::clone(&received), Arc::clone(&serve));
                // A client that hangs up early is what some tests are about.
                thread::spawn(move || drop(serve(stream, &received)));
            }
        }
    });
    Stub { port, over, received, connections, acceptor: Some(acceptor) }
}

/// The protocol's own numbers. Source: PostgreSQL documentation, 55.7 Message Formats.
const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CLEARTEXT_PASSWORD: [u8; 9] = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];

fn ask_for_password(mut client: TcpStream, received: &Received) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(60)))?;
    loop {
        let mut head = [0; 8];
        client.read_exact(&mut head)?;
        let [length, code] =
            [&head[..4], &head[4..]].map(|word| word.iter().fold(0, |n, byte| n << 8 | u32::from(*byte)));
        if code == SSL_REQUEST || code == GSS_REQUEST {
            client.write_all(b"N")?;
            continue;
        }
        let mut startup = Vec::new();
        (&mut client).take(u64::from(length.saturating_sub(8))).read_to_end(&mut startup)?;
        break;
    }
    client.write_all(&CLEARTEXT_PASSWORD)?;
    let mut head = [0; 5];
    client.read_exact(&mut head)?;
    let length = u64::from(u32::from_be_bytes([head[1], head[2], head[3], head[4]]));
    let mut password = head.to_vec();
    (&mut client).take(length.saturating_sub(4)).read_to_end(&mut password)?;
    received.lock().unwrap_or_else(PoisonError::into_inner).extend(password);
    let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0";
    let length = u32::try_from(fields.len() + 4).expect("a short message");
    client.write_all(&[b"E", &length.to_be_bytes()[..], fields].concat())?;
    client.shutdown(Shutdown::Both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Postgres, Sandbox};

    #[test]
    fn the_asker_is_told_the_password_by_psql() {
        let (stub, dir) = (cleartext_password_asker(), Sandbox::new());
        let uri = format!("postgresql://app:CANARY-7@127.0.0.1:{}/app", stub.port());

        let psql = Postgres::start().bin().join("psql");
        dir.program(psql).args(["-Xw", "-c", "", &uri]).run().stderr_has("password authentication failed").code(2);

        assert_eq!(stub.received(), b"p\0\0\0\x0dCANARY-7\0");
    }

    #[test]
    fn the_silent_one_takes_connections_and_says_nothing() {
        let stub = silent();
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, stub.port())).unwrap();
        client.set_read_timeout(Some(Duration::from_millis(100))).unwrap();

        let answer = client.read(&mut [0]);

        assert_eq!(answer.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(stub.connections(), 1);
    }
}
