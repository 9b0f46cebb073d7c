//! PKCS#12, read by `openssl pkcs12`: its ciphers are many and old, and none of them belongs in here.
//!
//! The program gets the file as standard input, the password by the name of its file, and ten seconds: a file may ask for
//! any number of rounds. Private keys stay where they are. Source: THREATS C5.

use crate::pem::{self, Sections};
use anyhow::{Context as _, Result, anyhow};
use common::dirfd;
use common::hint::{self, Hint as _};
use common::process::{self, Program};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// For one try of the program.
const TIME: Duration = Duration::from_secs(10);
/// The most that is read of what it prints.
const PRINTED: usize = 8 * 1024 * 1024;

/// Whether the bytes begin as PKCS#12 does: a sequence with the version 3. Source: RFC 7292, 4.
pub fn is_one(bytes: &[u8]) -> bool {
    let inside = match bytes {
        [0x30, 0x80, rest @ ..] => rest,
        [0x30, length @ 0x81..=0x84, rest @ ..] => rest.get(usize::from(length & 0x7f)..).unwrap_or_default(),
        [0x30, _, rest @ ..] => rest,
        _ => return false,
    };
    inside.starts_with(&[0x02, 0x01, 0x03])
}

/// The certificates of a file.
///
/// # Errors
///
/// A password that is wrong or missing, a file that is damaged, no openssl.
pub fn read(path: &Path, password_file: Option<&Path>) -> Result<Sections> {
    let openssl = process::find("openssl")
        .ok_or_else(|| anyhow!("cannot read PKCS#12: there is no program openssl"))
        .hint("apt-get install openssl")?;
    if let Some(password_file) = password_file {
        // Only whether we may be told by it: openssl reads it by itself, so that the password is in no argument.
        dirfd::read_orders(password_file, 64 * 1024).context("the password file")?;
    }
    let text = match run(&openssl, pem::open(path)?, password_file, None) {
        // What Windows and Java made for many years needs the ciphers that OpenSSL 3 keeps apart.
        Err(error) if says(&error, "unsupported") => run(&openssl, pem::open(path)?, password_file, Some("-legacy")),
        other => other,
    };
    let text = text.map_err(|error| told(&error, password_file))?;
    pem::sections(&text)
}

fn run(openssl: &Path, file: File, password_file: Option<&Path>, option: Option<&str>) -> Result<Vec<u8>> {
    let mut password = std::ffi::OsString::from("pass:");
    if let Some(path) = password_file {
        password = "file:".into();
        password.push(path);
    }
    let program = Program::new(openssl).args(["pkcs12", "-nokeys", "-passin"]).arg(password);
    program.args(option).stdin(file).output(TIME, PRINTED)
}

fn says(error: &anyhow::Error, what: &str) -> bool {
    format!("{error:#}").to_lowercase().contains(what)
}

/// openssl prints a stack of its own functions; of three causes one can do something about.
fn told(error: &anyhow::Error, password_file: Option<&Path>) -> anyhow::Error {
    if says(error, "mac verify") || says(error, "invalid password") {
        let password = if password_file.is_some() { "the password of its file" } else { "an empty password" };
        return hint::with(
            anyhow!("cannot read PKCS#12: {password} does not open it"),
            "name a file with the password: --password-file FILE, or password-file=FILE in a list",
        );
    }
    if says(error, "no answer within") {
        return anyhow!("cannot read PKCS#12: openssl takes longer than {} for it", common::units::duration(TIME));
    }
    anyhow!("cannot read PKCS#12: it is damaged, or has ciphers that openssl does not know")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_known_by_its_first_bytes() {
        assert!(is_one(&[0x30, 0x82, 1, 0, 2, 1, 3, 0x30]));
        assert!(is_one(&[0x30, 0x80, 2, 1, 3]));
        assert!(!is_one(&[0x30, 0x82, 1, 0, 0x30, 0x82]));
        for short in [&b""[..], &[0x30], &[0x30, 0x84], &[0x30, 0x82, 1]] {
            assert!(!is_one(short));
        }
    }
}
