//! The OCSP response that a server staples: what it says, without checking who signed it.
//!
//! It is shown, and believed only where it speaks against the certificate. Source: RFC 6960, 4.2.1.

use x509_parser::asn1_rs::{Any, FromDer as _, GeneralizedTime};

/// What a stapled response says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staple {
    /// Of the first certificate in it, which is the leaf.
    pub revocation: Revocation,
    /// Until when it may be used, in seconds since 1970.
    pub next_update: Option<i64>,
}

/// Whether a certificate was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// No.
    Good,
    /// Yes.
    Revoked,
    /// The responder does not know it.
    Unknown,
}

impl Revocation {
    /// As reports say it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Revoked => "revoked",
            Self::Unknown => "unknown",
        }
    }
}

/// Reads a response; `None` where it holds no answer.
pub fn read(der: &[u8]) -> Option<Staple> {
    const SEQUENCE: u32 = 0x10;
    let response = inside(der, SEQUENCE)?;
    let (rest, status) = Any::from_der(response).ok()?;
    // 0 is "successful"; all others come without an answer.
    if status.data != [0] {
        return None;
    }
    let bytes = inside(inside(rest, 0)?, SEQUENCE)?;
    let (rest, _kind) = Any::from_der(bytes).ok()?;
    let basic = inside(inside(rest, 4)?, SEQUENCE)?;
    let mut data = inside(basic, SEQUENCE)?;
    // version [0], responderID [1] or [2], producedAt, then the responses: the first plain sequence.
    let responses = loop {
        let (rest, any) = Any::from_der(data).ok()?;
        if any.header.is_universal() && any.header.tag().0 == SEQUENCE {
            break any.data;
        }
        data = rest;
    };
    single(inside(responses, SEQUENCE)?)
}

/// `certID, certStatus, thisUpdate, [0] nextUpdate`.
fn single(bytes: &[u8]) -> Option<Staple> {
    let (rest, _id) = Any::from_der(bytes).ok()?;
    let (rest, status) = Any::from_der(rest).ok()?;
    let revocation = match status.header.tag().0 {
        0 => Revocation::Good,
        1 => Revocation::Revoked,
        _ => Revocation::Unknown,
    };
    let (rest, _this_update) = Any::from_der(rest).ok()?;
    let next = inside(rest, 0).and_then(|bytes| GeneralizedTime::from_der(bytes).ok());
    let next_update = next.and_then(|(_, time)| time.utc_datetime().ok()).map(|time| time.unix_timestamp());
    Some(Staple { revocation, next_update })
}

/// The content of the first element, where it has that tag.
fn inside(bytes: &[u8], tag: u32) -> Option<&[u8]> {
    let (_, any) = Any::from_der(bytes).ok()?;
    (any.header.tag().0 == tag).then_some(any.data)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _staple = read(&bytes);
        }
    }

    #[test]
    fn a_refusal_holds_no_answer() {
        assert_eq!(read(&[0x30, 0x03, 0x0a, 0x01, 0x06]), None);
    }
}
