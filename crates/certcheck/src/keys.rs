//! Names of the facts in reports.

use common::report::Key;

pub const KIND: Key = Key::new("kind", "What the target is");
pub const CERTIFICATE: Key = Key::new("certificate", "Subject of the leaf");
pub const ISSUER: Key = Key::new("issuer", "Issuer");
pub const SERIAL: Key = Key::new("serial", "Serial number");
pub const SUBJECT: Key = Key::new("subject", "Subject");
pub const NAMES: Key = Key::new("names", "The first names that the leaf is for");
pub const LEFT: Key = Key::new("left_seconds", "Time until the first certificate that matters ends");
pub const EXPIRES: Key = Key::new("expires_at", "When the first certificate that matters ends");
pub const NOT_BEFORE: Key = Key::new("not_before_at", "When the certificate begins to be valid");
pub const NOT_AFTER: Key = Key::new("not_after_at", "When the certificate ends");
pub const VERIFIED: Key =
    Key::new("verified", "Whether the chain is trusted, for the host, and shown by who holds its key");
pub const PUBLIC_KEY: Key = Key::new("public_key", "Kind and size of the public key of the leaf");
pub const SIGNATURE: Key = Key::new("signature", "How the leaf is signed");
pub const TLS_VERSION: Key = Key::new("tls_version", "The version of TLS that was spoken");
pub const CIPHER: Key = Key::new("cipher", "The cipher suite that was chosen");
pub const OCSP: Key = Key::new("ocsp", "What the stapled OCSP response says");
pub const PEER: Key = Key::new("peer", "The address that answered");
pub const CERTIFICATES: Key = Key::new("certificates", "All certificates that were shown");
