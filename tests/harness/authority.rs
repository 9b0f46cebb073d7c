//! A certificate authority of the tests' own: a root, an intermediate, and leaves with every defect one can think of.
//!
//! It is openssl's `ca`, which takes any dates and digests. Its keys are made anew in every test process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::Sandbox;

/// A root and an intermediate.
pub struct Authority {
    dir: Sandbox,
}

/// A leaf to be.
#[must_use = "nothing is made before write()"]
pub struct Leaf<'a> {
    authority: &'a Authority,
    key: &'static str,
    names: Vec<String>,
    common_name: String,
    from_days: i64,
    to_days: i64,
    digest: &'static str,
    signer: Signer,
    extensions: String,
}

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The intermediate.
    Intermediate,
    /// The root.
    Root,
    /// The leaf's own key.
    Itself,
}

/// The files of a leaf.
#[derive(Clone, Debug)]
pub struct Files {
    /// The leaf alone.
    pub cert: PathBuf,
    /// The leaf and the intermediate.
    pub chain: PathBuf,
    /// The intermediate alone, or nothing where it has none.
    pub above: PathBuf,
    /// Its private key, mode 0600.
    pub key: PathBuf,
}

impl Authority {
    /// The one that all tests of a process share.
    #[must_use]
    pub fn shared() -> &'static Authority {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(|| Authority::new("nightshift test root"))
    }

    /// Another one, which nobody trusts but who is told to.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let dir = Sandbox::new();
        let authority = Authority { dir };
        authority.openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "root.key"]);
        authority.openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "inter.key"]);
        let subject = format!("/CN={name}");
        let ca =
            "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n";
        authority.sign("root", &subject, (-3650, 3650), "sha256", ("root.key", None), ca);
        authority.sign(
            "inter",
            "/CN=nightshift test intermediate",
            (-365, 1800),
            "sha256",
            ("inter.key", Some("root")),
            ca,
        );
        authority
    }

    /// The certificate of the root.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir.join("root.pem")
    }

    /// The private key of the root.
    #[must_use]
    pub fn root_key(&self) -> PathBuf {
        self.dir.join("root.key")
    }

    /// The certificate of the intermediate.
    #[must_use]
    pub fn intermediate(&self) -> PathBuf {
        self.dir.join("inter.pem")
    }

    /// A good leaf of 90 days, 60 of which are left, for that name; until it is changed.
    pub fn leaf(&self, name: &str) -> Leaf<'_> {
        Leaf {
            authority: self,
            key: "P-256",
            names: vec![format!("DNS:{name}")],
            common_name: name.to_owned(),
            from_days: -30,
            to_days: 60,
            digest: "sha256",
            signer: Signer::Intermediate,
            extensions: "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n".to_owned(),
        }
    }

    fn openssl(&self, args: &[&str]) {
        self.dir.program("openssl").args(args).run().code(0);
    }

    /// Makes `NAME.pem` for a key: signed by `ROOT.key` and as `ROOT.pem`, or by itself.
    fn sign(
        &self,
        name: &str,
        subject: &str,
        days: (i64, i64),
        digest: &str,
        keys: (&str, Option<&str>),
        extensions: &str,
    ) {
        let (key, issuer) = keys;
        let date = |days: i64| {
            let ran =
                self.dir.program("date").args(["-u", "+%Y%m%d%H%M%SZ", "-d", &format!("{days} days 10 minutes")]).run();
            ran.code(0).stdout_text().trim().to_owned()
        };
        // A database of its own, so that leaves are made at the same time.
        let config = format!(
            "[ca]\ndefault_ca=it\n[it]\ndatabase={name}.index\nrand_serial=yes\nnew_certs_dir=.\nunique_subject=no\n\
             policy=any\nemail_in_dn=no\nstring_mask=utf8only\n[any]\ncommonName=optional\n[req]\ndistinguished_name=dn\n[dn]\n\
             [ext]\n{extensions}"
        );
        fs::write(self.dir.join(format!("{name}.cnf")), config).expect("write a configuration");
        fs::write(self.dir.join(format!("{name}.index")), "").expect("write an index");
        let (config, request, out) = (format!("{name}.cnf"), format!("{name}.csr"), format!("{name}.pem"));
        self.openssl(&["req", "-new", "-utf8", "-config", &config, "-key", key, "-subj", subject, "-out", &request]);
        let (from, to) = (date(days.0), date(days.1));
        let mut args =
            vec!["ca", "-batch", "-notext", "-utf8", "-config", &config, "-in", &request, "-out", &out, "-md", digest];
        args.extend(["-startdate", &from, "-enddate", &to, "-extensions", "ext", "-preserveDN"]);
        let (issuer_cert, issuer_key) =
            (format!("{}.pem", issuer.unwrap_or_default()), format!("{}.key", issuer.unwrap_or_default()));
        match issuer {
            Some(_) => args.extend(["-cert", &issuer_cert, "-keyfile", &issuer_key]),
            None => args.extend(["-selfsign", "-keyfile", key]),
        }
        self.openssl(&args);
    }
}

impl Leaf<'_> {
    /// `P-256` (the default), `P-384`, `P-521`, `ed25519`, or `rsa:BITS`.
    pub fn key(mut self, key: &'static str) -> Self {
        self.key = key;
        self
    }

    /// Its names, as `DNS:a.test`, `IP:127.0.0.1`; none is none.
    pub fn names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.names = names.into_iter().map(Into::into).collect();
        self
    }

    /// Its common name; empty is none.
    pub fn common_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.common_name);
        self
    }

    /// When it begins and ends to be valid, in days from now (ten minutes later, in fact).
    pub fn days(mut self, from: i64, to: i64) -> Self {
        (self.from_days, self.to_days) = (from, to);
        self
    }

    /// The digest of its signature.
    pub fn digest(mut self, digest: &'static str) -> Self {
        self.digest = digest;
        self
    }

    /// Who signs it.
    pub fn signer(mut self, signer: Signer) -> Self {
        self.signer = signer;
        self
    }

    /// Other extensions than those of a leaf of a server, in openssl's words.
    pub fn extensions(mut self, extensions: &str) -> Self {
        extensions.clone_into(&mut self.extensions);
        self
    }

    /// Makes it: `LABEL.pem`, `LABEL.chain.pem`, `LABEL.key` in `into`.
    ///
    /// # Panics
    ///
    /// If openssl does not want to.
    #[must_use]
    pub fn write(self, into: &Path, label: &str) -> Files {
        let authority = self.authority;
        // Two tests may use one label.
        let unique = format!(
            "{label}-{:x}",
            into.to_string_lossy().bytes().fold(5381_u64, |hash, byte| hash.wrapping_mul(33) ^ u64::from(byte))
        );
        let key = format!("{unique}.key");
        make_key(authority, self.key, &key);
        let mut extensions = self.extensions;
        if !self.names.is_empty() {
            // A section has no limit, a line of openssl's configuration has.
            extensions.push_str("subjectAltName=@names\n[names]\n");
            for (number, name) in self.names.iter().enumerate() {
                let (kind, name) = name.split_once(':').expect("a name has a kind");
                extensions.push_str(&format!("{kind}.{number}={name}\n"));
            }
        }
        let subject = if self.common_name.is_empty() { "/".to_owned() } else { format!("/CN={}", self.common_name) };
        let signer = match self.signer {
            Signer::Intermediate => Some("inter"),
            Signer::Root => Some("root"),
            Signer::Itself => None,
        };
        authority.sign(&unique, &subject, (self.from_days, self.to_days), self.digest, (&key, signer), &extensions);
        let place = |end: &str| into.join(format!("{label}.{end}"));
        let files =
            Files { cert: place("pem"), chain: place("chain.pem"), above: place("above.pem"), key: place("key") };
        let cert = fs::read_to_string(authority.dir.join(format!("{unique}.pem"))).expect("read what was made");
        let above = fs::read_to_string(authority.intermediate()).expect("read what was made");
        let above = if self.signer == Signer::Intermediate { above } else { String::new() };
        fs::write(&files.cert, &cert).expect("write a certificate");
        fs::write(&files.above, &above).expect("write a chain");
        fs::write(&files.chain, cert + &above).expect("write a chain");
        fs::copy(authority.dir.join(&key), &files.key).expect("write a key");
        files
    }
}

fn make_key(authority: &Authority, kind: &str, file: &str) {
    let option = match kind.strip_prefix("rsa:") {
        Some(bits) => format!("rsa_keygen_bits:{bits}"),
        None => format!("ec_paramgen_curve:{kind}"),
    };
    match kind {
        "ed25519" => authority.openssl(&["genpkey", "-algorithm", "ED25519", "-out", file]),
        kind if kind.starts_with("rsa:") => {
            authority.openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", &option, "-out", file])
        }
        _ => authority.openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", &option, "-out", file]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openssl_accepts_a_good_leaf_and_refuses_an_expired_one() {
        let (dir, authority) = (Sandbox::new(), Authority::shared());
        let good = authority.leaf("a.test").write(dir.path(), "good");
        let bad = authority.leaf("a.test").days(-90, -1).write(dir.path(), "bad");
        let verify = |files: &Files| {
            let openssl = dir.program("openssl").arg("verify").arg("-CAfile").arg(authority.root());
            openssl.arg("-untrusted").arg(authority.intermediate()).arg(&files.cert).run()
        };

        verify(&good).code(0);
        verify(&bad).stderr_has("certificate has expired").code(2);
    }
}
