//! What a certificate says: facts, read leniently, without a judgement.

use anyhow::{Context as _, Result, anyhow};
use common::text;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

/// The facts of one certificate.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    /// The distinguished name, as text.
    pub subject: String,
    /// The distinguished name of the issuer, as text.
    pub issuer: String,
    /// The shortest name of the subject: its common name, or the first name it is for.
    pub name: String,
    /// The shortest name of the issuer.
    pub issuer_name: String,
    /// Hexadecimal, with colons.
    pub serial: String,
    /// Seconds since 1970; may be before it.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
    /// DNS names and addresses of the extension subjectAltName.
    pub names: Vec<String>,
    /// Its public key.
    pub key: Key,
    /// The algorithm of its signature.
    pub signature: Signature,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// What is critical in it and must not be, or is not known.
    pub odd_extension: Option<&'static str>,
    /// Whether subject and issuer are the same name.
    pub is_self_issued: bool,
    /// The names and the key as they are encoded, to find out who signed whom.
    pub raw: Raw,
}

/// Encoded parts of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// The name of the subject.
    pub subject: Vec<u8>,
    /// The name of the issuer.
    pub issuer: Vec<u8>,
    /// The SubjectPublicKeyInfo.
    pub spki: Vec<u8>,
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// As in `RSA 2048`, `EC P-256`, `Ed25519`.
    pub shown: String,
    /// Its strength class.
    pub kind: KeyKind,
    /// Its size.
    pub bits: usize,
}

/// Kinds of keys that differ in how many bits are enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, also RSASSA-PSS.
    Rsa,
    /// Elliptic curves, Edwards curves among them.
    Curve,
    /// DSA, GOST and what we do not know.
    Other,
}

/// The algorithm of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// As in `sha256WithRSAEncryption`.
    pub shown: String,
    /// The digest, where it is one that must not be used.
    pub weak_digest: Option<&'static str>,
}

impl Facts {
    /// Reads a certificate.
    ///
    /// # Errors
    ///
    /// What is no certificate; which bytes are wrong is not said, because nobody could use it.
    pub fn read(der: &[u8]) -> Result<Self> {
        let (_, cert) = X509Certificate::from_der(der).map_err(|error| anyhow!(cause(&error)))?;
        let names = names(&cert);
        Ok(Self {
            der: CertificateDer::from(der.to_vec()),
            subject: shown(&cert.subject),
            issuer: shown(&cert.issuer),
            name: short(&cert.subject).or_else(|| names.first().cloned()).unwrap_or_else(|| shown(&cert.subject)),
            issuer_name: short(&cert.issuer).unwrap_or_else(|| shown(&cert.issuer)),
            serial: serial(cert.raw_serial()),
            not_before: cert.validity.not_before.timestamp(),
            not_after: cert.validity.not_after.timestamp(),
            key: key(&cert.subject_pki),
            signature: signature(&cert.signature_algorithm.algorithm),
            // A certificate of version 1 cannot say; a self-signed one of them is a root.
            is_ca: cert.basic_constraints().ok().flatten().map_or(cert.version.0 == 0, |it| it.value.ca),
            odd_extension: odd_extension(&cert),
            is_self_issued: cert.subject.as_raw() == cert.issuer.as_raw(),
            raw: Raw {
                subject: cert.subject.as_raw().to_vec(),
                issuer: cert.issuer.as_raw().to_vec(),
                spki: cert.subject_pki.raw.to_vec(),
            },
            names,
        })
    }

    /// Seconds between its first and its last moment.
    pub fn lifetime(&self) -> i64 {
        self.not_after.saturating_sub(self.not_before)
    }
}

fn cause(error: &x509_parser::nom::Err<x509_parser::error::X509Error>) -> String {
    let text = match error {
        x509_parser::nom::Err::Incomplete(_) => return "it is cut off".to_owned(),
        x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => error.to_string(),
    };
    match text.contains("Eof") || text.contains("ncomplete") {
        true => "it is cut off".to_owned(),
        false => format!("it is not well-formed ({text})"),
    }
}

/// The name as text, cut so that a report stays readable.
fn shown(name: &X509Name<'_>) -> String {
    text::line(&name.to_string())
}

fn short(name: &X509Name<'_>) -> Option<String> {
    let first = |mut values: Box<dyn Iterator<Item = String> + '_>| values.find(|value| !value.is_empty());
    let common = name.iter_common_name().filter_map(|value| value.as_str().ok().map(str::to_owned));
    let organisation = name.iter_organization().filter_map(|value| value.as_str().ok().map(str::to_owned));
    first(Box::new(common)).or_else(|| first(Box::new(organisation))).map(|name| text::line(&name))
}

fn names(cert: &X509Certificate<'_>) -> Vec<String> {
    let Some(names) = cert.subject_alternative_name().ok().flatten() else { return Vec::new() };
    let shown = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    shown.collect()
}

/// An extension that forbids to go on. Source: RFC 5280, 4.2: a critical one that is not known, and those that 4.2.1.1 and
/// 4.2.1.2 say are never critical.
fn odd_extension(cert: &X509Certificate<'_>) -> Option<&'static str> {
    cert.extensions().iter().filter(|extension| extension.critical).find_map(|extension| {
        match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(_) => Some("authorityKeyIdentifier is critical"),
            ParsedExtension::SubjectKeyIdentifier(_) => Some("subjectKeyIdentifier is critical"),
            ParsedExtension::UnsupportedExtension { .. } => Some("a critical extension is not known"),
            ParsedExtension::ParseError { .. } => Some("a critical extension is not well-formed"),
            _ => None,
        }
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    let four = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    let sixteen = <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
    four.or(sixteen).ok().map(|address| address.to_string())
}

fn serial(bytes: &[u8]) -> String {
    // RFC 5280 allows 20 bytes; a longer one is only cut for people.
    let shown = bytes.iter().take(32).map(|byte| format!("{byte:02X}"));
    shown.collect::<Vec<_>>().join(":")
}

fn key(spki: &SubjectPublicKeyInfo<'_>) -> Key {
    let of = |shown: String, kind, bits| Key { shown, kind, bits };
    match spki.parsed() {
        Ok(PublicKey::RSA(rsa)) => {
            let bits = rsa_bits(rsa.modulus);
            of(format!("RSA {bits}"), KeyKind::Rsa, bits)
        }
        Ok(PublicKey::EC(point)) => {
            let curve = spki.algorithm.parameters.as_ref().and_then(|it| it.as_oid().ok());
            let (name, bits) = curve.as_ref().map_or((None, point.key_size()), |oid| curve_of(oid));
            of(name.map_or_else(|| format!("EC {bits}"), |name| format!("EC {name}")), KeyKind::Curve, bits)
        }
        _ => match spki.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => of("Ed25519".to_owned(), KeyKind::Curve, 256),
            "1.3.101.113" => of("Ed448".to_owned(), KeyKind::Curve, 448),
            "1.2.840.10040.4.1" => of("DSA".to_owned(), KeyKind::Other, 0),
            other => of(format!("key of kind {other}"), KeyKind::Other, 0),
        },
    }
}

/// The bits of a modulus without its leading zeros.
fn rsa_bits(modulus: &[u8]) -> usize {
    let start = modulus.iter().position(|byte| *byte != 0).unwrap_or(modulus.len());
    let digits = &modulus[start..];
    digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize)
}

fn curve_of(oid: &Oid<'_>) -> (Option<&'static str>, usize) {
    match oid.to_id_string().as_str() {
        "1.2.840.10045.3.1.7" => (Some("P-256"), 256),
        "1.3.132.0.34" => (Some("P-384"), 384),
        "1.3.132.0.35" => (Some("P-521"), 521),
        "1.3.132.0.10" => (Some("secp256k1"), 256),
        "1.2.840.10045.3.1.1" => (Some("P-192"), 192),
        "1.3.132.0.33" => (Some("P-224"), 224),
        _ => (None, 0),
    }
}

fn signature(oid: &Oid<'_>) -> Signature {
    let (shown, weak_digest) = match oid.to_id_string().as_str() {
        "1.2.840.113549.1.1.2" => ("md2WithRSAEncryption", Some("MD2")),
        "1.2.840.113549.1.1.4" => ("md5WithRSAEncryption", Some("MD5")),
        "1.2.840.113549.1.1.5" => ("sha1WithRSAEncryption", Some("SHA-1")),
        "1.3.14.3.2.29" => ("sha1WithRSA", Some("SHA-1")),
        "1.2.840.113549.1.1.10" => ("rsassaPss", None),
        "1.2.840.113549.1.1.11" => ("sha256WithRSAEncryption", None),
        "1.2.840.113549.1.1.12" => ("sha384WithRSAEncryption", None),
        "1.2.840.113549.1.1.13" => ("sha512WithRSAEncryption", None),
        "1.2.840.113549.1.1.14" => ("sha224WithRSAEncryption", None),
        "1.2.840.10045.4.1" => ("ecdsa-with-SHA1", Some("SHA-1")),
        "1.2.840.10045.4.3.1" => ("ecdsa-with-SHA224", None),
        "1.2.840.10045.4.3.2" => ("ecdsa-with-SHA256", None),
        "1.2.840.10045.4.3.3" => ("ecdsa-with-SHA384", None),
        "1.2.840.10045.4.3.4" => ("ecdsa-with-SHA512", None),
        "1.2.840.10040.4.3" => ("dsa-with-SHA1", Some("SHA-1")),
        "1.3.101.112" => ("Ed25519", None),
        "1.3.101.113" => ("Ed448", None),
        other => return Signature { shown: other.to_owned(), weak_digest: None },
    };
    Signature { shown: shown.to_owned(), weak_digest }
}

/// Reads all certificates of a list.
///
/// # Errors
///
/// Which of them is none.
pub fn all<'a>(ders: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Facts>> {
    let numbered = ders.into_iter().zip(1..);
    numbered.map(|(der, number)| Facts::read(der).with_context(|| format!("certificate {number} is damaged"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bits_of_a_key_are_counted_without_zeros() {
        assert_eq!(rsa_bits(&[0, 0x80, 0]), 16);
        assert_eq!(rsa_bits(&[0x01, 0xff]), 9);
        assert_eq!(rsa_bits(&[0, 0]), 0);
    }

    fn certificate() -> Vec<u8> {
        let text = include_bytes!("../../../tests/fixtures/certificate.pem");
        crate::pem::sections(text).unwrap().certs.remove(0)
    }

    #[test]
    fn the_facts_are_those_that_openssl_prints() {
        let facts = Facts::read(&certificate()).unwrap();

        assert_eq!((facts.subject.as_str(), facts.issuer_name.as_str()), ("CN=a.test", "Test CA"));
        assert_eq!(facts.names, ["a.test", "*.w.test", "127.0.0.1"]);
        assert_eq!((facts.key.shown.as_str(), facts.signature.shown.as_str()), ("EC P-256", "ecdsa-with-SHA256"));
        assert_eq!(facts.lifetime(), 60 * 86_400);
        assert!(!facts.is_self_issued);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn no_damage_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut der = certificate();
            let at = at.index(der.len());
            der[at] = byte;
            drop(Facts::read(&der));
            drop(Facts::read(&der[..cut.index(der.len())]));
        }
    }

    #[test]
    fn rubbish_is_an_error_and_no_panic() {
        for bytes in [&b""[..], b"\x30", b"\x30\x84\xff\xff\xff\xff", b"\x30\x80\x30\x80\x30\x80", &[0x30; 10_000]] {
            assert!(Facts::read(bytes).is_err());
        }
    }
}
