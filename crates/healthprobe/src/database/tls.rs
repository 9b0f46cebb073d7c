//! TLS of connections to PostgreSQL, as strict as `sslmode` says.
//!
//! libpq verifies a certificate wherever it finds roots, and its host name with `verify-full` only. Two habits of servers in
//! the field are honoured as libpq does, though rustls alone refuses them: a self-signed certificate that is itself the
//! root (the recipe of PostgreSQL's own documentation), and a name that stands in the common name only.

use super::file;
use super::login::SslMode;
use super::settings::Settings;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::hint::Hint as _;
use common::secret::Secret;
use common::tls;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

/// What TLS connections are made with.
///
/// # Errors
///
/// Roots, a certificate or a key that cannot be read, or are missing where they are needed.
pub fn config(settings: &Settings, mode: SslMode, is_direct: bool) -> Result<ClientConfig> {
    let provider = tls::provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(settings)?)
        .context("cannot start TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(settings, mode)?));
    let mut config = match client_certificate(settings)? {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            builder.with_client_auth_cert(chain, key).context("cannot use the certificate of sslcert")?
        }
    };
    config.enable_sni = settings.get("sslsni") != Some("0");
    if is_direct {
        // Without it the server ends the connection. Source: PostgreSQL 17, "SSL Session Encryption".
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

/// TLS 1.2 and 1.3, between what the keywords allow.
fn versions(settings: &Settings) -> Result<&'static [&'static rustls::SupportedProtocolVersion]> {
    use rustls::version::{TLS12, TLS13};
    const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS13, &TLS12];
    let at_least = settings.get("ssl_min_protocol_version").unwrap_or("TLSv1.2").to_ascii_lowercase();
    let at_most = settings.get("ssl_max_protocol_version").unwrap_or("TLSv1.3").to_ascii_lowercase();
    match (at_least.as_str(), at_most.as_str()) {
        ("tlsv1" | "tlsv1.1" | "tlsv1.2", "tlsv1.3") => Ok(BOTH),
        ("tlsv1" | "tlsv1.1" | "tlsv1.2", "tlsv1.2") => Ok(&BOTH[1..]),
        ("tlsv1.3", "tlsv1.3") => Ok(&BOTH[..1]),
        _ => bail!("ssl_min_protocol_version and ssl_max_protocol_version leave neither TLS 1.2 nor 1.3"),
    }
}

/// Our own certificate and its key.
fn client_certificate(settings: &Settings) -> Result<Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>> {
    if settings.get("sslcertmode") == Some("disable") {
        return Ok(None);
    }
    let Some(cert) = settings.file("sslcert", "postgresql.crt") else { return Ok(None) };
    let key = settings.file("sslkey", "postgresql.key");
    let key =
        key.ok_or_else(|| anyhow!("there is no key for the certificate {cert:?}")).hint("name it with sslkey=")?;
    let (pem, stat) = file::read(&key)?.with_context(|| format!("cannot read {key:?}: there is no such file"))?;
    let pem = Secret::from(String::from_utf8(pem).map_err(|_| anyhow!("cannot use {key:?}: it is not PEM"))?);
    let allowed = if stat.uid() == 0 { 0o640 } else { 0o600 };
    if stat.mode() & 0o777 & !allowed != 0 {
        return Err(anyhow!("{key:?} can be read by others (mode {:04o})", stat.mode() & 0o7777))
            .hint(format!("run: chmod 600 {key:?}"));
    }
    // What is wrong with a key is told without a byte of it.
    let read = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes());
    let read = read.map_err(|_| anyhow!("cannot use {key:?}: it holds no plain private key"));
    Ok(Some((certificates(&cert)?, read.hint("an encrypted key cannot be used here")?)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let act = || format!("cannot read certificates from {path:?}");
    let (pem, _) = file::read(path)?.with_context(|| format!("{}: there is no such file", act()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| anyhow!("{}: it is not PEM", act()))?;
    ensure!(!found.is_empty(), "{}: it holds none", act());
    Ok(found)
}

/// Judges the certificate of a server.
#[derive(Debug)]
struct Verifier {
    /// Who verifies chains; nobody where there are no roots.
    chain: Option<Arc<WebPkiServerVerifier>>,
    roots: Vec<CertificateDer<'static>>,
    checks_name: bool,
}

impl Verifier {
    fn new(settings: &Settings, mode: SslMode) -> Result<Self> {
        let is_needed = matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull);
        let roots = match (settings.get("sslrootcert"), settings.file("sslrootcert", "root.crt")) {
            (Some("system"), _) => tls::system_roots()?,
            (_, Some(path)) if path.exists() || is_needed => certificates(&path)?,
            (_, _) if is_needed => {
                return Err(anyhow!("there are no roots to verify the server by"))
                    .hint("name a file with sslrootcert=, or sslrootcert=system, or put it at ~/.postgresql/root.crt");
            }
            (_, _) => Vec::new(),
        };
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().cloned());
        let chain = match store.is_empty() {
            true => None,
            false => Some(
                WebPkiServerVerifier::builder_with_provider(Arc::new(store), tls::provider())
                    .build()
                    .context("cannot use the roots of sslrootcert")?,
            ),
        };
        ensure!(chain.is_some() || !is_needed, "none of the roots of sslrootcert can be used");
        Ok(Self { chain, roots, checks_name: mode == SslMode::VerifyFull })
    }

    fn check_name(&self, leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
        if !self.checks_name {
            return Ok(());
        }
        match rustls::client::verify_server_name(&ParsedCertificate::try_from(leaf)?, name) {
            Err(_) if common_name_is(leaf, name) => Ok(()),
            verdict => verdict,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(leaf, others, name, ocsp, now) {
            Ok(verified) => return Ok(verified),
            // The chain is good: rustls looks at the name last.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {}
            // A certificate that is a root is trusted as it stands; its dates were looked at first.
            Err(Error::InvalidCertificate(CertificateError::Other(other)))
                if self.roots.iter().any(|root| root == leaf) && format!("{other:?}").contains("CaUsedAsEndEntity") => {
            }
            Err(error) => return Err(error),
        }
        self.check_name(leaf, name).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &tls::provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        tls::provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Whether a certificate without other names has this one as its common name. Source: RFC 6125, 6.4.4, and libpq.
fn common_name_is(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let Ok((_, cert)) = x509_parser::parse_x509_certificate(leaf) else { return false };
    let has_names = !matches!(cert.subject_alternative_name(), Ok(None));
    let wanted = name.to_str();
    let fits = |common: &str| {
        common.eq_ignore_ascii_case(&wanted)
            || common.strip_prefix("*.").is_some_and(|rest| {
                wanted.split_once('.').is_some_and(|(first, host)| !first.is_empty() && host.eq_ignore_ascii_case(rest))
            })
    };
    !has_names && cert.subject().iter_common_name().any(|common| common.as_str().is_ok_and(fits))
}
