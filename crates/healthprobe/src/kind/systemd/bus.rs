//! systemd asked by its own socket: what systemctl does, without the milliseconds of starting it.
//!
//! Source: org.freedesktop.systemd1(5); D-Bus Specification 0.43, "Authentication Protocol". The socket of a manager is for
//! its owner alone, and speaks D-Bus with nobody in between; others ask by the message bus.

use super::message::{self, Answer, Call};
use super::units::{PROPERTIES, Properties, Scope};
use crate::net::{self, Until};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

/// The longest line while we are being let in.
const LINE: u64 = 1024;
/// How many messages that are no answer to us may come before one is: signals of the bus.
const OTHERS: usize = 100;

/// A manager of units, connected.
pub(super) struct Bus {
    socket: BufReader<Until<UnixStream>>,
    /// What the manager is called on a message bus.
    destination: Option<&'static str>,
    serial: u32,
}

impl Bus {
    /// Connects to the manager of a scope.
    ///
    /// # Errors
    ///
    /// Of the last way that was tried; `TimedOut` where one of them is silent.
    pub(super) fn open(scope: Scope, deadline: Instant) -> io::Result<Self> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for (path, destination) in places(scope) {
            match Self::at(path, destination, deadline) {
                Ok(bus) => return Ok(bus),
                Err(error) if net::is_late(&error) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn at(path: PathBuf, destination: Option<&'static str>, deadline: Instant) -> io::Result<Self> {
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        // It is that of connecting, too, where the queue of the other side is full.
        sockopt::set_socket_timeout(&socket, Timeout::Send, Some(net::left(deadline)?))?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        let mut bus = Self { socket: BufReader::new(Until::new(socket.into(), deadline)), destination, serial: 0 };
        // Who we are the kernel tells.
        bus.send(b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n")?;
        bus.let_in()?;
        if destination.is_some() {
            bus.call(&Call {
                path: "/org/freedesktop/DBus",
                interface: "org.freedesktop.DBus",
                member: "Hello",
                destination: Some("org.freedesktop.DBus"),
                argument: None,
            })?;
        }
        Ok(bus)
    }

    /// The properties of a unit; of one that is not there, too.
    ///
    /// # Errors
    ///
    /// Where it does not answer, or not in time.
    pub(super) fn unit(&mut self, name: &str) -> io::Result<Properties> {
        let path = format!("/org/freedesktop/systemd1/unit/{}", label(name));
        let call = Call {
            path: &path,
            interface: "org.freedesktop.DBus.Properties",
            member: "GetAll",
            destination: self.destination,
            // Of all its interfaces.
            argument: Some(""),
        };
        let bytes = self.call(&call)?;
        let answer = message::read(&bytes)?.ok_or(io::ErrorKind::InvalidData)?;
        answer.properties(&PROPERTIES)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.get_mut().socket.write_all(bytes)
    }

    /// Reads what is said before messages may be sent.
    fn let_in(&mut self) -> io::Result<()> {
        loop {
            let mut line = Vec::new();
            (&mut self.socket).take(LINE).read_until(b'\n', &mut line)?;
            match line.split(|byte| b" \r".contains(byte)).next() {
                Some(b"DATA") => {}
                Some(b"OK") => return Ok(()),
                _ => return Err(io::ErrorKind::PermissionDenied.into()),
            }
        }
    }

    /// Calls a method and returns the message that answers it.
    fn call(&mut self, call: &Call<'_>) -> io::Result<Vec<u8>> {
        self.serial += 1;
        self.send(&call.bytes(self.serial))?;
        for _ in 0..OTHERS {
            let bytes = self.message()?;
            match message::read(&bytes)? {
                Some(Answer { serial, error: Some(error), .. }) if serial == self.serial => {
                    return Err(io::Error::other(error));
                }
                Some(Answer { serial, .. }) if serial == self.serial => return Ok(bytes),
                _ => {}
            }
        }
        Err(io::ErrorKind::InvalidData.into())
    }

    fn message(&mut self) -> io::Result<Vec<u8>> {
        let mut head = [0; message::HEAD];
        self.socket.read_exact(&mut head)?;
        let mut bytes = vec![0; message::length(head)?];
        bytes[..message::HEAD].copy_from_slice(&head);
        self.socket.read_exact(&mut bytes[message::HEAD..])?;
        Ok(bytes)
    }
}

/// Where the manager of a scope may be asked, and what it is called there.
fn places(scope: Scope) -> Vec<(PathBuf, Option<&'static str>)> {
    const NAME: Option<&str> = Some("org.freedesktop.systemd1");
    if scope == Scope::System {
        return vec![("/run/systemd/private".into(), None), ("/run/dbus/system_bus_socket".into(), NAME)];
    }
    let mut places = Vec::new();
    if let Some(dir) = std::env::var_os("XDG_RUNTIME_DIR") {
        places.push((PathBuf::from(dir).join("systemd/private"), None));
    }
    let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").unwrap_or_default();
    // Other transports and escaped bytes are for systemctl.
    let path = bus.strip_prefix("unix:path=").and_then(|rest| rest.split([',', ';']).next());
    places.extend(path.filter(|path| !path.contains('%')).map(|path| (path.into(), NAME)));
    places
}

/// A name as a part of a path on the bus: all but letters and digits as `_xx`, also a digit at its beginning.
fn label(name: &str) -> String {
    let mut label = String::with_capacity(name.len() * 3);
    for (number, byte) in name.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (number > 0 && byte.is_ascii_digit()) {
            label.push(char::from(byte));
        } else {
            label.push_str(&format!("_{byte:02x}"));
        }
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_escaped_as_systemd_does() {
        assert_eq!(label("nginx.service"), "nginx_2eservice");
        assert_eq!(label("7-a@b\\x2d.timer"), "_37_2da_40b_5cx2d_2etimer");
    }
}
