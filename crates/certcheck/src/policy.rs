//! What every client asks of a chain, and webpki leaves to its caller.

use crate::inspect::{Facts, KeyKind};
use crate::verify::{Untrusted, because};
use rustls::pki_types::CertificateDer;

/// The fewest bits of an RSA key. Source: CA/Browser Forum Baseline Requirements 6.1.5.
const RSA_BITS: usize = 2048;
/// The most, because checking a signature takes the longer the longer the key is. Source: THREATS C4.
const MOST_RSA_BITS: usize = 16384;
/// The fewest bits of a curve.
const CURVE_BITS: usize = 256;

/// What is wrong with the leaf by itself.
///
/// # Errors
///
/// Why it cannot be trusted on any path.
pub fn leaf(der: &CertificateDer<'_>) -> Result<(), Untrusted> {
    let facts = Facts::read(der).map_err(|error| because(format!("{error:#}")))?;
    one(&facts)
}

fn one(facts: &Facts) -> Result<(), Untrusted> {
    let why = weak_key(facts).or_else(|| facts.odd_extension.map(|what| format!("in the chain, {what}")));
    why.map_or(Ok(()), |why| Err(because(why)))
}

/// What is wrong with a path: the certificates above the leaf, and the roots that its anchor stands for.
///
/// # Errors
///
/// Why this path does not count; another may.
pub fn path(between: &[CertificateDer<'_>], roots: &[&CertificateDer<'static>], now: i64) -> Result<(), Untrusted> {
    for der in between {
        one(&Facts::read(der).map_err(|error| because(format!("{error:#}")))?)?;
    }
    // One root may be there twice, renewed with the same key.
    let mut verdict = Err(Untrusted::Dates);
    for facts in roots.iter().filter_map(|der| Facts::read(der).ok()) {
        if facts.not_before <= now && now <= facts.not_after {
            verdict = root(&facts);
        }
        if verdict.is_ok() {
            break;
        }
    }
    verdict
}

/// A root is trusted as it is: its key may be old, but not what it asks for.
fn root(facts: &Facts) -> Result<(), Untrusted> {
    facts.odd_extension.map_or(Ok(()), |what| Err(because(format!("in its root, {what}"))))
}

/// Why a key is too weak or too strange to be trusted.
pub fn weak_key(facts: &Facts) -> Option<String> {
    let (fewest, most) = match facts.key.kind {
        KeyKind::Rsa => (RSA_BITS, MOST_RSA_BITS),
        KeyKind::Curve => (CURVE_BITS, usize::MAX),
        KeyKind::Other => return Some(format!("its key is of a kind that no client takes ({})", facts.key.shown)),
    };
    let shown = &facts.key.shown;
    if facts.key.bits < fewest {
        return Some(format!("its key is too weak ({shown})"));
    }
    (facts.key.bits > most).then(|| format!("its key is too large to be checked ({shown})"))
}
