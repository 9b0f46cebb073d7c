//! Asks a server for its certificates.
//!
//! ```text
//! dial -> starttls -> rustls -> Served
//!                       └ nothing in common -> dial -> starttls -> legacy -> Served
//! ```
//!
//! Every certificate is taken here, so that its dates are told also where it is not trusted: whether it is, `verify` alone
//! says afterwards (THREATS C6).

use crate::dial::{self, Wire};
use crate::legacy;
use crate::name::Host;
use crate::starttls;
use crate::target::{Endpoint, Settings};
use anyhow::{Result, anyhow};
use common::hint;
use common::{text, tls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What a server showed.
#[derive(Debug, Default)]
pub struct Served {
    /// Its certificates, the leaf first.
    pub certs: Vec<CertificateDer<'static>>,
    /// The OCSP response that it stapled.
    pub ocsp: Vec<u8>,
    /// Whether it has shown that it holds the private key.
    pub possession: Possession,
    /// As in `TLS 1.3`.
    pub version: String,
    /// The name of the cipher suite.
    pub cipher: String,
    /// Whether a client of today could speak with it.
    pub is_legacy: bool,
    /// The address that answered.
    pub peer: String,
}

/// Whether a server has shown that it holds the private key of its certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Possession {
    /// By a signature over the handshake.
    Proven,
    /// It was not asked to, or asked in a way that we cannot check.
    #[default]
    NotShown,
    /// The signature is wrong, or of a kind that is not taken.
    Refused(String),
}

/// Gets the certificates of an endpoint.
///
/// # Errors
///
/// Why there are none: no connection, no TLS, an alert.
pub fn fetch(endpoint: &Endpoint, settings: &Settings, deadline: Instant) -> Result<Served> {
    let address = match &settings.connect {
        Some(connect) => connect.instead_of(&endpoint.address)?,
        None => endpoint.address.clone(),
    };
    let host = settings.host.as_ref().or_else(|| endpoint.host());
    let connect = || -> Result<Wire> {
        let mut wire = dial::dial(&address, deadline)?;
        if let Some(protocol) = endpoint.starttls {
            starttls::ask(protocol, &mut wire)?;
        }
        wire.begin_tls();
        Ok(wire)
    };
    let mut wire = connect()?;
    let error = match handshake(&mut wire, host) {
        Ok(served) => return Ok(served),
        Err(error) => error,
    };
    if !is_worth_another_try(&error) {
        return Err(told(error, &wire));
    }
    // Neither side has a version or a cipher in common: what it has, an older hello finds out.
    match connect().and_then(|mut wire| legacy::fetch(&mut wire, host)) {
        Ok(served) => Ok(served),
        Err(_) => Err(told(error, &wire)),
    }
}

/// A handshake that ended, in the words of rustls or of the socket.
#[derive(Debug)]
enum Ended {
    Tls(rustls::Error),
    Io(std::io::Error),
}

fn handshake(wire: &mut Wire, host: Option<&Host>) -> Result<Served, Ended> {
    let seen = Arc::new(Witness::default());
    let config = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(Ended::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&seen) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let name = match host {
        Some(host) => host.server_name().map_err(|error| Ended::Tls(rustls::Error::General(format!("{error:#}"))))?,
        // A socket has no name; an address sends none.
        None => wire.ip().map_or_else(|| ServerName::from(std::net::Ipv4Addr::LOCALHOST), ServerName::from),
    };
    let mut tls = ClientConnection::new(Arc::new(config), name).map_err(Ended::Tls)?;
    let ended = drive(&mut tls, wire);
    let mut served = std::mem::take(&mut *seen.served.lock().unwrap_or_else(PoisonError::into_inner));
    match ended {
        // A server that wants a certificate of ours, or is gone once it has shown its own, has shown it.
        Err(error) if served.certs.is_empty() => return Err(error),
        Err(_) | Ok(()) => {}
    }
    served.version = tls.protocol_version().map(version).unwrap_or_default();
    served.cipher = tls
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .map(|name| name.replace("TLS13_", "TLS_"))
        .unwrap_or_default();
    served.peer.clone_from(&wire.peer);
    Ok(served)
}

fn drive(tls: &mut ClientConnection, wire: &mut Wire) -> Result<(), Ended> {
    while tls.is_handshaking() {
        while tls.wants_write() {
            tls.write_tls(wire).map_err(Ended::Io)?;
        }
        if !tls.is_handshaking() {
            break;
        }
        if tls.read_tls(wire).map_err(Ended::Io)? == 0 {
            return Err(Ended::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
        let processed = tls.process_new_packets();
        if let Err(error) = processed {
            // The alert that says why; the server may be gone.
            drop(tls.write_tls(wire));
            return Err(Ended::Tls(error));
        }
    }
    tls.send_close_notify();
    while tls.wants_write() {
        if tls.write_tls(wire).is_err() {
            break;
        }
    }
    Ok(())
}

fn version(version: rustls::ProtocolVersion) -> String {
    match version {
        rustls::ProtocolVersion::TLSv1_3 => "TLS 1.3".to_owned(),
        rustls::ProtocolVersion::TLSv1_2 => "TLS 1.2".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Whether the server may speak only what rustls does not: then it sends an alert, or closes.
fn is_worth_another_try(error: &Ended) -> bool {
    match error {
        Ended::Tls(error) => matches!(
            error,
            rustls::Error::AlertReceived(_)
                | rustls::Error::PeerIncompatible(_)
                | rustls::Error::PeerMisbehaved(_)
                | rustls::Error::NoCertificatesPresented
        ),
        Ended::Io(error) => {
            matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset)
        }
    }
}

/// What the end of a handshake means to an administrator.
fn told(error: Ended, wire: &Wire) -> anyhow::Error {
    if let Some(error) = not_tls(&wire.head) {
        return error;
    }
    match error {
        Ended::Io(error) => anyhow!("no TLS handshake: {}", dial::why(&error)),
        Ended::Tls(rustls::Error::AlertReceived(alert)) => {
            let error = anyhow!("no TLS handshake: the server refuses it ({alert:?})");
            match alert {
                AlertDescription::UnrecognisedName
                | AlertDescription::HandshakeFailure
                | AlertDescription::InternalError => hint::with(error, "does it know the name? see --host"),
                _ => error,
            }
        }
        Ended::Tls(error) => anyhow!("no TLS handshake: {error}"),
    }
}

/// What speaks there if it is not TLS, by its first bytes.
fn not_tls(head: &[u8]) -> Option<anyhow::Error> {
    const PROTOCOLS: [(&[u8], &str); 4] =
        [(b"* OK", "imap"), (b"+OK", "pop3"), (b"220", "smtp or ftp"), (b"HTTP/", "http")];
    // Records of TLS begin with 20 to 23; those of SSL 2 with the high bit.
    let first = *head.first()?;
    if (20..=23).contains(&first) || first >= 0x80 {
        return None;
    }
    let line = head.split(|byte| *byte == b'\n' || *byte == b'\r').next().unwrap_or_default();
    let error = anyhow!("no TLS: the server answers {:?}", text::line(&text::bytes(line)));
    let protocol = PROTOCOLS.iter().find(|(start, _)| head.starts_with(start)).map(|(_, protocol)| *protocol);
    Some(match protocol {
        Some("http") => hint::with(error, "is this the port of HTTPS?"),
        Some(protocol) => hint::with(error, format!("to ask for TLS there: starttls:PROTOCOL:HOST:PORT ({protocol})")),
        None => error,
    })
}

/// Takes every certificate, and remembers what was shown.
#[derive(Debug, Default)]
struct Witness {
    served: Mutex<Served>,
}

impl Witness {
    fn possession(&self, shown: Result<HandshakeSignatureValid, rustls::Error>) -> HandshakeSignatureValid {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.possession = match shown {
            Ok(_) => Possession::Proven,
            Err(rustls::Error::InvalidCertificate(rustls::CertificateError::BadSignature)) => {
                Possession::Refused("its signature is wrong".to_owned())
            }
            Err(_) => Possession::NotShown,
        };
        HandshakeSignatureValid::assertion()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let all = std::iter::once(leaf).chain(others);
        served.certs = all.map(|cert| cert.clone().into_owned()).collect();
        served.ocsp = ocsp.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        Ok(self.possession(rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        Ok(self.possession(rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}
