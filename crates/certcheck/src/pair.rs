//! Whether a private key belongs to a certificate: their public halves are compared, no cryptography is done.

use crate::pem::{KeyForm, PrivateKey};
use common::tls;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use x509_parser::asn1_rs::{Any, FromDer as _, Oid};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// What comparing a key with a certificate came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pair {
    /// They belong together.
    Match,
    /// They do not.
    Mismatch,
    /// The key does not say what its public half is.
    Unknown,
}

/// Compares a private key with the SubjectPublicKeyInfo of a certificate.
pub fn compare(key: &PrivateKey, spki: &[u8]) -> Pair {
    by_fields(key, spki).or_else(|| by_provider(key, spki)).unwrap_or(Pair::Unknown)
}

fn pair(is_same: bool) -> Pair {
    if is_same { Pair::Match } else { Pair::Mismatch }
}

/// By the public half that stands in the private key.
fn by_fields(key: &PrivateKey, spki: &[u8]) -> Option<Pair> {
    let (_, parsed) = SubjectPublicKeyInfo::from_der(spki).ok()?;
    if !is_of_kind(key, &parsed)? {
        return Some(Pair::Mismatch);
    }
    let inner = match key.form {
        KeyForm::Pkcs1 | KeyForm::Sec1 => key.expose(),
        // version, algorithm, then the key as an octet string. Source: RFC 5958.
        KeyForm::Pkcs8 => elements(key.expose())?.get(2).filter(|any| any.header.tag().0 == 4)?.data,
    };
    let fields = elements(inner)?;
    match parsed.parsed().ok()? {
        // version, modulus, publicExponent. Source: RFC 8017, A.1.2.
        PublicKey::RSA(rsa) if fields.len() >= 9 => Some(pair(trimmed(fields[1].data) == trimmed(rsa.modulus))),
        // version, privateKey, [0] parameters, [1] publicKey as a bit string. Source: RFC 5915.
        PublicKey::EC(point) => {
            let public = fields.iter().find(|any| any.header.is_contextspecific() && any.header.tag().0 == 1)?;
            let (_, bits) = Any::from_der(public.data).ok()?;
            Some(pair(bits.data.get(1..)? == point.data()))
        }
        _ => None,
    }
}

/// Whether key and certificate are of one algorithm at all.
fn is_of_kind(key: &PrivateKey, spki: &SubjectPublicKeyInfo<'_>) -> Option<bool> {
    const RSA: &str = "1.2.840.113549.1.1.1";
    const RSA_PSS: &str = "1.2.840.113549.1.1.10";
    const CURVE: &str = "1.2.840.10045.2.1";
    let ours = spki.algorithm.algorithm.to_id_string();
    let theirs = match key.form {
        KeyForm::Pkcs1 => RSA.to_owned(),
        KeyForm::Sec1 => CURVE.to_owned(),
        KeyForm::Pkcs8 => {
            let fields = elements(key.expose())?;
            let (_, oid) = Oid::from_der(fields.get(1)?.data).ok()?;
            oid.to_id_string()
        }
    };
    let plain = |kind: &str| if kind == RSA_PSS { RSA.to_owned() } else { kind.to_owned() };
    Some(plain(&ours) == plain(&theirs))
}

/// By the public half that the provider makes of the key.
fn by_provider(key: &PrivateKey, spki: &[u8]) -> Option<Pair> {
    let bytes = key.expose();
    let der = match key.form {
        KeyForm::Pkcs1 => PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(bytes)),
        KeyForm::Sec1 => PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(bytes)),
        KeyForm::Pkcs8 => PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes)),
    };
    let signing = tls::provider().key_provider.load_private_key(der.clone_key()).ok()?;
    Some(pair(signing.public_key()?.as_ref() == spki))
}

/// The elements of a sequence.
fn elements(der: &[u8]) -> Option<Vec<Any<'_>>> {
    let (_, sequence) = Any::from_der(der).ok()?;
    let (mut rest, mut elements) = (sequence.data, Vec::new());
    while !rest.is_empty() && elements.len() < 16 {
        let (after, any) = Any::from_der(rest).ok()?;
        elements.push(any);
        rest = after;
    }
    Some(elements)
}

fn trimmed(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(key in proptest::collection::vec(any::<u8>(), 0..80), spki in proptest::collection::vec(any::<u8>(), 0..80)) {
            compare(&PrivateKey::pkcs8(key), &spki);
        }
    }
}
