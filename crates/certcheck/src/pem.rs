//! Certificates in a file: PEM with any number of sections, or DER.

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::hint::Hint as _;
use common::units;
use rustix::fs::{Mode, OFlags};
use rustls::pki_types::pem::{self, SectionKind};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The largest file that is read. Source: THREATS G13.
const FILE: u64 = 8 * 1024 * 1024;
/// The most certificates of one file: a system's bundle has 150.
const CERTIFICATES: usize = 10_000;

/// A file that was read.
#[derive(Debug)]
pub struct Read {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its permission bits.
    pub mode: u32,
}

/// Certificates and private keys of a file.
#[derive(Debug, Default)]
pub struct Sections {
    /// The certificates, as DER, in their order.
    pub certs: Vec<Vec<u8>>,
    /// The private keys.
    pub keys: Vec<PrivateKey>,
    /// Whether a private key is there that a password protects.
    pub has_locked_key: bool,
}

/// A private key, as DER; its bytes are overwritten when it goes.
pub struct PrivateKey {
    /// How it is encoded.
    pub form: KeyForm,
    der: Vec<u8>,
}

/// How a private key is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyForm {
    /// PKCS#1: RSA.
    Pkcs1,
    /// SEC 1: an elliptic curve.
    Sec1,
    /// PKCS#8: any.
    Pkcs8,
}

impl PrivateKey {
    /// A key of a file that is nothing else.
    pub fn pkcs8(der: Vec<u8>) -> Self {
        Self { form: KeyForm::Pkcs8, der }
    }

    /// The bytes, for the one place that compares keys.
    pub fn expose(&self) -> &[u8] {
        &self.der
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.der.fill(0);
        // Without a reader the compiler may leave out a write to memory that is freed next.
        std::hint::black_box(&self.der);
    }
}

impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

/// Opens and reads a file whole; links are followed, because certbot's directories are made of them.
///
/// # Errors
///
/// What is no regular file, or larger than 8 MiB.
pub fn read(path: &Path) -> Result<Read> {
    let file = open(path)?;
    let mode = file.metadata().with_context(|| format!("cannot read {path:?}"))?.mode() & 0o7777;
    let mut bytes = Vec::new();
    file.take(FILE + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {path:?}"))?;
    ensure!(bytes.len() as u64 <= FILE, "cannot read {path:?}: is larger than {}", units::size(FILE));
    Ok(Read { bytes, mode })
}

/// Opens a regular file.
///
/// # Errors
///
/// As [`read`].
pub fn open(path: &Path) -> Result<File> {
    // NONBLOCK so that a FIFO cannot hold us before fstat has seen what it is.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(std::io::Error::from);
    let file: File = fd.with_context(|| format!("cannot open {path:?}"))?.into();
    let stat = file.metadata().with_context(|| format!("cannot read {path:?}"))?;
    if !stat.is_file() {
        return Err(anyhow!("cannot read {path:?}: is not a regular file"))
            .hint("name a file with certificates, a directory of such files, or HOST:PORT");
    }
    Ok(file)
}

/// Whether the bytes are PEM: text with a section in it.
pub fn is_pem(bytes: &[u8]) -> bool {
    const BEGIN: &[u8] = b"-----BEGIN ";
    bytes.windows(BEGIN.len()).any(|window| window == BEGIN)
}

/// All sections of a PEM file that concern us.
///
/// # Errors
///
/// A section without its end, or whose inside is no base64; the bytes themselves are never quoted.
pub fn sections(bytes: &[u8]) -> Result<Sections> {
    let mut sections = Sections { has_locked_key: has_locked_key(bytes), ..Sections::default() };
    let mut rest = bytes;
    for number in 1.. {
        let section = pem::from_buf(&mut rest).map_err(|error| damaged(number, &error))?;
        let Some((kind, der)) = section else { break };
        let form = match kind {
            SectionKind::Certificate => {
                sections.certs.push(der);
                ensure!(sections.certs.len() <= CERTIFICATES, "it holds more than {CERTIFICATES} certificates");
                continue;
            }
            SectionKind::RsaPrivateKey => KeyForm::Pkcs1,
            SectionKind::EcPrivateKey => KeyForm::Sec1,
            SectionKind::PrivateKey => KeyForm::Pkcs8,
            _ => continue,
        };
        sections.keys.push(PrivateKey { form, der });
    }
    Ok(sections)
}

fn damaged(number: usize, error: &pem::Error) -> anyhow::Error {
    match error {
        pem::Error::MissingSectionEnd { .. } => anyhow!("PEM section {number} has no end: it is cut off"),
        pem::Error::Base64Decode(_) => anyhow!("PEM section {number} is damaged: it is not base64"),
        _ => anyhow!("PEM section {number} is damaged"),
    }
}

/// Old PEM marks an encrypted key by a header inside of the section, PKCS#8 by its name.
fn has_locked_key(bytes: &[u8]) -> bool {
    [&b"BEGIN ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| bytes.windows(mark.len()).any(|window| window == *mark))
}

/// The certificates of a file of roots or intermediates.
///
/// # Errors
///
/// Where it holds none, or a damaged one.
pub fn certificates(path: &Path) -> Result<Vec<Vec<u8>>> {
    let read = read(path)?;
    let certs = match is_pem(&read.bytes) {
        true => sections(&read.bytes).with_context(|| format!("cannot read {path:?}"))?.certs,
        false => vec![read.bytes],
    };
    if certs.is_empty() {
        bail!("{path:?} holds no certificate");
    }
    Ok(certs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_cut_off_is_said_to_be() {
        let error = sections(b"-----BEGIN CERTIFICATE-----\nMIIB\n").unwrap_err();

        assert_eq!(error.to_string(), "PEM section 1 has no end: it is cut off");
    }

    #[test]
    fn a_damaged_key_is_not_quoted() {
        let error = sections(b"-----BEGIN PRIVATE KEY-----\nCANARY!\n-----END PRIVATE KEY-----\n").unwrap_err();

        assert_eq!(error.to_string(), "PEM section 1 is damaged: it is not base64");
    }

    #[test]
    fn sections_that_do_not_concern_us_are_passed_over() {
        let text = b"words\n-----BEGIN DH PARAMETERS-----\nMIIB\n-----END DH PARAMETERS-----\n\
            -----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\nAAAA\n\
            -----END EC PRIVATE KEY-----\n";

        let found = sections(text).unwrap();

        assert_eq!((found.certs.len(), found.keys.len()), (1, 1));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            drop(sections(&bytes));
            drop(sections(&[b"-----BEGIN CERTIFICATE-----\n", &bytes[..], b"\n-----END CERTIFICATE-----\n"].concat()));
        }
    }
}
