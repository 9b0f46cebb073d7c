//! TLS of every tool that speaks it: the provider of cryptography and the roots of the system, each in one place.
//!
//! Users: certcheck; healthprobe for HTTP and for PostgreSQL; pgrestore-safe. Settings of a connection, such as
//! its verifier, are the tool's.

use anyhow::{Result, anyhow};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use std::sync::{Arc, OnceLock};

use crate::hint::Hint as _;

/// The cryptography that is used for TLS and certificates.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())))
}

/// The certificates that the system trusts; `SSL_CERT_FILE` and `SSL_CERT_DIR` are honoured as OpenSSL has them.
///
/// # Errors
///
/// Where there is none at all. Single files that cannot be read are skipped, as OpenSSL does.
pub fn system_roots() -> Result<Vec<CertificateDer<'static>>> {
    let loaded = rustls_native_certs::load_native_certs();
    if loaded.certs.is_empty() {
        let cause = loaded.errors.first().map_or_else(String::new, |error| format!(": {error}"));
        return Err(anyhow!("cannot read the roots of the system{cause}"))
            .hint("install them: apt-get install ca-certificates; or name a file with them");
    }
    Ok(loaded.certs)
}
