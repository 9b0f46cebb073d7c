//! Minutes of damaged input for every parser: none may panic, whatever it says.

use crate::pem::{self, PrivateKey};
use crate::{acme, inspect, ocsp, pair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(300);

/// Marsaglia's xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap()
    }

    /// Changes, repeats, removes or cuts off some bytes; lengths of DER are hit often, because they are many.
    fn damage(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..1 + self.below(6) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 | 1 => bytes[at] = [0, 1, 0x7f, 0x80, 0x84, 0xff][self.below(6)],
                2 => bytes[at] ^= 1 << self.below(8),
                3 => {
                    drop(bytes.splice(at..at, vec![[0x30, 0x31, 0xa0, 0x02, 0x06][self.below(5)]; 1 + self.below(300)]))
                }
                4 => drop(bytes.drain(at..(at + self.below(40)).min(bytes.len()))),
                _ => bytes.truncate(at.max(1)),
            }
            if bytes.is_empty() {
                bytes.push(0x30);
            }
        }
        bytes
    }
}

#[test]
#[ignore = "takes five minutes"]
fn campaign_of_damaged_input() {
    let text = include_bytes!("../../../tests/fixtures/certificate.pem");
    let der = pem::sections(text).unwrap().certs.remove(0);
    let spki = inspect::Facts::read(&der).unwrap().raw.spki;
    let file = STANDARD.encode(text);
    let store =
        format!(r#"{{"le":{{"Certificates":[{{"domain":{{"main":"a"}},"certificate":"{file}","key":"{file}"}}]}}}}"#);
    let (began, mut random, mut rounds) = (Instant::now(), Random(0x9e37_79b9_7f4a_7c15), 0_u64);

    while began.elapsed() < LONG {
        let damaged = random.damage(&der);
        drop(inspect::Facts::read(&damaged));
        pair::compare(&PrivateKey::pkcs8(damaged.clone()), &spki);
        pair::compare(&PrivateKey::pkcs8(der.clone()), &random.damage(&spki));
        let _staple = ocsp::read(&damaged);
        drop(pem::sections(&random.damage(text)));
        drop(acme::read(&random.damage(store.as_bytes())));
        rounds += 1;
    }

    assert!(rounds > 100_000, "only {rounds} rounds");
}
