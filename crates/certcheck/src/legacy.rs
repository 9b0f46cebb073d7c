//! Reads the certificates of a server with which no client of today can speak.
//!
//! Up to TLS 1.2 they come in clear text right after the hello, so no cryptography is needed: a ClientHello with all that
//! was ever usual, then ServerHello and Certificate are read. It proves nothing, not even that the server has the key; it
//! tells "only TLS 1.0" from "down". Source: RFC 5246, 7.4; RFC 6066, 3.

use crate::dial::{self, Wire};
use crate::fetch::{Possession, Served};
use crate::name::Host;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use rustls::pki_types::CertificateDer;
use std::io::{Read as _, Write as _};

/// The most that the messages up to the certificates may hold.
const MESSAGES: usize = 256 * 1024;

const RECORD_ALERT: u8 = 21;
const RECORD_HANDSHAKE: u8 = 22;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_HELLO_DONE: u8 = 14;

/// Asks by a hello of TLS 1.2 that also takes 1.1 and 1.0.
///
/// # Errors
///
/// What is no such answer.
pub fn fetch(wire: &mut Wire, host: Option<&Host>) -> Result<Served> {
    wire.write_all(&hello(host)).map_err(|error| anyhow!(dial::why(&error)))?;
    let mut messages = Messages { wire, bytes: Vec::new() };
    let (version, cipher) = server_hello(&messages.next(SERVER_HELLO)?)?;
    let certs = certificates(&messages.next(CERTIFICATE)?)?;
    ensure!(!certs.is_empty(), "the server shows no certificate");
    Ok(Served {
        certs,
        ocsp: Vec::new(),
        possession: Possession::NotShown,
        version,
        cipher: name(cipher),
        is_legacy: true,
        peer: wire.peer.clone(),
    })
}

/// A ClientHello in one record.
fn hello(host: Option<&Host>) -> Vec<u8> {
    let mut body = vec![3, 3];
    // A random that is none: nothing is ever encrypted with it.
    body.extend([0x2a; 32]);
    body.push(0);
    let ciphers: Vec<u8> = CIPHERS.iter().flat_map(|(code, _)| code.to_be_bytes()).collect();
    body.extend(prefixed(&ciphers));
    body.extend([1, 0]);
    body.extend(prefixed(&extensions(host)));
    let mut message = vec![1, 0];
    message.extend(prefixed(&body));
    let mut record = vec![RECORD_HANDSHAKE, 3, 1];
    record.extend(prefixed(&message));
    record
}

fn extensions(host: Option<&Host>) -> Vec<u8> {
    const GROUPS: [u8; 8] = [0, 29, 0, 23, 0, 24, 0, 25];
    const SCHEMES: [u8; 18] = [4, 3, 5, 3, 6, 3, 8, 4, 8, 5, 8, 6, 4, 1, 5, 1, 2, 1];
    let mut all = Vec::new();
    let mut add = |kind: u16, content: &[u8]| {
        all.extend(kind.to_be_bytes());
        all.extend(prefixed(content));
    };
    if let Some(Host::Dns(name)) = host {
        let mut entry = vec![0];
        entry.extend(prefixed(name.as_bytes()));
        add(0, &prefixed(&entry));
    }
    add(10, &prefixed(&GROUPS));
    add(11, &[1, 0]);
    add(13, &prefixed(&SCHEMES));
    all
}

/// The bytes behind their length, in two bytes: nothing here comes near 64 KiB.
fn prefixed(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

/// Handshake messages out of records.
struct Messages<'a> {
    wire: &'a mut Wire,
    bytes: Vec<u8>,
}

impl Messages<'_> {
    /// The next message of a kind; others before it are passed over.
    fn next(&mut self, kind: u8) -> Result<Vec<u8>> {
        loop {
            while let Some((found, body)) = self.whole() {
                if found == kind {
                    return Ok(body);
                }
                ensure!(found != SERVER_HELLO_DONE, "the server shows no certificate");
            }
            self.record()?;
        }
    }

    /// A message that is there whole.
    fn whole(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.bytes.get(..4)?;
        let (kind, length) = (head[0], length(&head[1..]));
        let body = self.bytes.get(4..4 + length)?.to_vec();
        self.bytes.drain(..4 + length);
        Some((kind, body))
    }

    fn record(&mut self) -> Result<()> {
        let mut head = [0; 5];
        self.exactly(&mut head)?;
        let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
        self.exactly(&mut body)?;
        match head[0] {
            RECORD_HANDSHAKE => self.bytes.extend(body),
            RECORD_ALERT => bail!("the server refuses (alert {})", body.last().copied().unwrap_or_default()),
            _ => bail!("the answer is no TLS"),
        }
        ensure!(self.bytes.len() <= MESSAGES, "the server's messages are larger than {MESSAGES} bytes");
        Ok(())
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.wire.read_exact(buffer).map_err(|error| anyhow!(dial::why(&error)))
    }
}

fn length(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
}

fn server_hello(body: &[u8]) -> Result<(String, u16)> {
    let cut = || anyhow!("the server's hello is cut off");
    let version = match body.get(..2).with_context(cut)? {
        [3, 0] => "SSL 3.0",
        [3, 1] => "TLS 1.0",
        [3, 2] => "TLS 1.1",
        [3, 3] => "TLS 1.2",
        _ => bail!("the server's version is not known"),
    };
    let session = usize::from(*body.get(34).with_context(cut)?);
    let cipher = body.get(35 + session..37 + session).with_context(cut)?;
    Ok((version.to_owned(), u16::from_be_bytes([cipher[0], cipher[1]])))
}

fn certificates(body: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let (list, _) = counted(body).context("the list of certificates is cut off")?;
    let (mut rest, mut certs) = (list, Vec::new());
    while !rest.is_empty() {
        let (cert, after) = counted(rest).context("a certificate is cut off")?;
        certs.push(CertificateDer::from(cert.to_vec()));
        rest = after;
    }
    Ok(certs)
}

/// Bytes behind a length of three bytes, and what follows.
fn counted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(3)?;
    rest.split_at_checked(length(head))
}

/// What servers of before 2015 can do, by the names of IANA.
const CIPHERS: [(u16, &str); 24] = [
    (0xc02b, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (0xc02f, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0xc02c, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (0xc030, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (0xc023, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256"),
    (0xc027, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0xc028, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384"),
    (0xc009, "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA"),
    (0xc00a, "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA"),
    (0xc013, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA"),
    (0xc014, "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x009e, "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256"),
    (0x0033, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA"),
    (0x0039, "TLS_DHE_RSA_WITH_AES_256_CBC_SHA"),
    (0x0067, "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256"),
    (0x009c, "TLS_RSA_WITH_AES_128_GCM_SHA256"),
    (0x009d, "TLS_RSA_WITH_AES_256_GCM_SHA384"),
    (0x003c, "TLS_RSA_WITH_AES_128_CBC_SHA256"),
    (0x003d, "TLS_RSA_WITH_AES_256_CBC_SHA256"),
    (0x002f, "TLS_RSA_WITH_AES_128_CBC_SHA"),
    (0x0035, "TLS_RSA_WITH_AES_256_CBC_SHA"),
    (0x000a, "TLS_RSA_WITH_3DES_EDE_CBC_SHA"),
    (0x0005, "TLS_RSA_WITH_RC4_128_SHA"),
    (0x0004, "TLS_RSA_WITH_RC4_128_MD5"),
];

fn name(cipher: u16) -> String {
    let known = CIPHERS.iter().find(|(code, _)| *code == cipher);
    known.map_or_else(|| format!("0x{cipher:04x}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_list_of_certificates_is_taken_apart() {
        let certs = certificates(&[0, 0, 9, 0, 0, 2, 1, 2, 0, 0, 1, 3]).unwrap();

        assert_eq!(certs.iter().map(|cert| cert.to_vec()).collect::<Vec<_>>(), [vec![1, 2], vec![3]]);
        assert!(certificates(&[0, 0, 4, 0, 0, 2, 1]).is_err());
        assert!(certificates(&[0xff, 0xff, 0xff, 0]).is_err());
    }

    #[test]
    fn the_version_and_the_cipher_stand_behind_the_session() {
        let hello = [&[3, 1][..], &[0; 32], &[2, 9, 9], &[0xc0, 0x14, 0]].concat();

        let (version, cipher) = server_hello(&hello).unwrap();

        assert_eq!((version.as_str(), name(cipher).as_str()), ("TLS 1.0", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA"));
        assert!(server_hello(&hello[..38]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            drop(server_hello(&bytes));
            drop(certificates(&bytes));
        }
    }
}
