//! A password on its way through a tool.
//!
//! It can be handed on, and read on purpose with [`Secret::expose`]. It cannot be printed, compared,
//! copied or written out by accident, and its bytes are overwritten when it goes. Source: THREATS G12.

use std::fmt;

/// Text that no message, log, manifest or argument may show.
pub struct Secret(String);

impl Secret {
    /// The text itself, for the one place that has to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    /// Takes the text over without copying it, so that nothing is left behind.
    fn from(text: String) -> Self {
        Secret(text)
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(std::mem::take(&mut self.0).into_bytes());
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Overwrites bytes that held a secret before the memory is given back.
pub(crate) fn wipe(mut bytes: Vec<u8>) {
    bytes.fill(0);
    // Without a reader the compiler may leave out a write to memory that is freed next.
    std::hint::black_box(&bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_only_on_purpose() {
        let secret = Secret::from(String::from("CANARY"));

        assert_eq!(secret.expose(), "CANARY");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert!(!format!("{:#?}", Some(&secret)).contains("CANARY"));
    }
}
