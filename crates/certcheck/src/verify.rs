//! Trust: does a chain lead to a root, now, for a server of that name?
//!
//! webpki finds the path and checks every signature; nothing else may say "verified" (THREATS C6). What it leaves to its
//! caller is in `policy`: webpki knows of a root only its name and key, so an expired root would do, and it takes any key
//! that its algorithms can compute with.

use crate::inspect::Facts;
use crate::name::Host;
use crate::policy;
use anyhow::{Result, bail};
use common::tls;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::time::Duration;
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

/// More than this webpki need not be asked about. Source: THREATS C4.
const CHAIN_BYTES: usize = 64 * 1024;

/// The certificates that are trusted.
#[derive(Debug)]
pub struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    /// What each anchor was made of.
    certs: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Takes the certificates that can be an anchor; a system has some that nothing can be made of.
    ///
    /// # Errors
    ///
    /// Where none is left.
    pub fn new(ders: Vec<CertificateDer<'static>>) -> Result<Self> {
        let mut roots = Self { anchors: Vec::new(), certs: Vec::new() };
        for der in ders {
            if let Ok(anchor) = webpki::anchor_from_trusted_cert(&der).map(|anchor| anchor.to_owned()) {
                roots.anchors.push(anchor);
                roots.certs.push(der);
            }
        }
        if roots.anchors.is_empty() {
            bail!("no certificate in it can be a root");
        }
        Ok(roots)
    }

    /// The roots of that name and key: one may be there twice, with different dates.
    fn behind(&self, anchor: &TrustAnchor<'_>) -> Vec<&CertificateDer<'static>> {
        let pairs = self.anchors.iter().zip(&self.certs);
        pairs
            .filter(|(it, _)| {
                it.subject == anchor.subject && it.subject_public_key_info == anchor.subject_public_key_info
            })
            .map(|(_, der)| der)
            .collect()
    }

    /// Whether a certificate is itself one of the roots.
    fn holds(&self, der: &CertificateDer<'_>) -> bool {
        self.certs.iter().any(|cert| cert == der)
    }
}

/// A path that was found.
#[derive(Clone, Debug)]
pub struct Path {
    /// The certificates between leaf and root, and the root, by their bytes.
    pub above_leaf: Vec<CertificateDer<'static>>,
    /// The root.
    pub root: Facts,
}

/// Why there is no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untrusted {
    /// A certificate on every path is expired or not yet valid.
    Dates,
    /// No root is behind it.
    UnknownIssuer,
    /// Anything else, in words.
    Because(String),
}

/// Looks for a path from the leaf to a root.
///
/// # Errors
///
/// Why none was found.
pub fn path(
    roots: &Roots,
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    now: i64,
) -> Result<Path, Untrusted> {
    let size = leaf.len() + others.iter().map(|other| other.len()).sum::<usize>();
    if size > CHAIN_BYTES {
        return Err(because(too_large("the chain")));
    }
    policy::leaf(leaf)?;
    if roots.holds(leaf) {
        return itself(leaf, now);
    }
    let parsed = EndEntityCert::try_from(leaf).map_err(|error| reason(&error))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
    let algorithms = tls::provider().signature_verification_algorithms.all;
    let refused = std::cell::RefCell::new(None);
    let accept = |path: &VerifiedPath<'_>| {
        let between: Vec<_> = path.intermediate_certificates().map(|cert| cert.der()).collect();
        policy::path(&between, &roots.behind(path.anchor()), now).map_err(|why| {
            refused.borrow_mut().get_or_insert(why);
            webpki::Error::UnknownIssuer
        })
    };
    let found =
        parsed.verify_for_usage(algorithms, &roots.anchors, others, time, KeyUsage::server_auth(), None, Some(&accept));
    // What our policy refused is a better answer than what webpki says after having tried all other ways.
    let found = found.map_err(|error| refused.take().unwrap_or_else(|| reason(&error)))?;
    let root = roots.behind(found.anchor()).into_iter().filter_map(|der| Facts::read(der).ok());
    let root = root.max_by_key(|facts| facts.not_after).ok_or_else(|| because("the root cannot be read".to_owned()))?;
    let between = found.intermediate_certificates().map(|cert| cert.der().into_owned());
    Ok(Path { above_leaf: between.chain([root.der.clone()]).collect(), root })
}

/// A leaf that is itself a root, as with the self-signed certificate of one server.
fn itself(leaf: &CertificateDer<'_>, now: i64) -> Result<Path, Untrusted> {
    let root = Facts::read(leaf).map_err(|error| because(format!("{error:#}")))?;
    if now < root.not_before || now > root.not_after {
        return Err(Untrusted::Dates);
    }
    Ok(Path { above_leaf: Vec::new(), root })
}

fn too_large(what: &str) -> String {
    format!("{what} is larger than {}, which no client takes", common::units::size(CHAIN_BYTES as u64))
}

/// Why a leaf is not known to be for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFor {
    /// It is for others, or for none.
    Others,
    /// It cannot be told, in words.
    Unclear(String),
}

/// Whether the leaf is for a host, by its subjectAltName alone. Source: RFC 9525.
///
/// # Errors
///
/// Why it is not.
pub fn host(leaf: &CertificateDer<'_>, host: &Host) -> Result<(), NotFor> {
    if leaf.len() > CHAIN_BYTES {
        return Err(NotFor::Unclear(too_large("it")));
    }
    let name = host.server_name().map_err(|error| NotFor::Unclear(format!("{error:#}")))?;
    let parsed = EndEntityCert::try_from(leaf).map_err(|error| NotFor::Unclear(said(&error)))?;
    parsed.verify_is_valid_for_subject_name(&name).map_err(|error| match error {
        webpki::Error::CertNotValidForName(_) => NotFor::Others,
        other => NotFor::Unclear(said(&other)),
    })
}

/// For [`policy`].
pub fn because(why: String) -> Untrusted {
    Untrusted::Because(why)
}

fn reason(error: &webpki::Error) -> Untrusted {
    match error {
        webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. } => Untrusted::Dates,
        webpki::Error::UnknownIssuer => Untrusted::UnknownIssuer,
        other => because(said(other)),
    }
}

/// An error of webpki in our words.
fn said(error: &webpki::Error) -> String {
    use webpki::Error as E;
    let words = match error {
        E::BadDer | E::TrailingData(_) | E::MalformedExtensions | E::ExtensionValueInvalid => "it is not well-formed",
        E::BadDerTime | E::InvalidCertValidity => "its dates are not well-formed",
        E::CaUsedAsEndEntity => "it is the certificate of an authority and not of a server",
        E::EndEntityUsedAsCa => "one in the chain may not sign others",
        E::CertDistrusted => "a key in the chain is known to be in wrong hands",
        E::InvalidSerialNumber => "its serial number is not well-formed",
        E::InvalidSignatureForPublicKey => "a signature in the chain is wrong",
        E::NameConstraintViolation => "its names are not among those that its issuer may sign",
        E::PathLenConstraintViolated => "the chain is longer than one of its authorities allows",
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => "it is not for servers",
        E::UnsupportedCertVersion => "it is not of version 3",
        E::UnsupportedCriticalExtension => "it has a critical extension that is not known",
        E::UnsupportedSignatureAlgorithmContext(_) | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a signature in the chain is of a kind that is no longer trusted"
        }
        E::SignatureAlgorithmMismatch => "it names two different algorithms for its signature",
        E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded
        | E::MaximumNameConstraintComparisonsExceeded => "the chain is too tangled",
        other => return other.to_string(),
    };
    words.to_owned()
}
