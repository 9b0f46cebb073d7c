//! Certificates on disk: in every form, in directories, with their keys, beside the server that should serve them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use harness::{Authority, Files, Sandbox, Serving, app_user};

use crate::certcheck::{certcheck, said};

fn leaf(dir: &Sandbox, name: &str) -> Files {
    Authority::shared().leaf(name).write(dir.path(), name)
}

fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

const LEFT: &str = "60d left, until DATE; ";
const BY: &str = "by nightshift test intermediate\n";

#[test]
fn der_and_pkcs12_are_read_as_pem_is() {
    let dir = Sandbox::new();
    let files = leaf(&dir, "a.test");
    fs::write(dir.join("pw"), "geheim\n").unwrap();
    chmod(dir.join("pw"), 0o600);
    let openssl = |args: &str| dir.program("openssl").args(args.split(' ')).run().code(0);
    openssl("x509 -in a.test.pem -outform DER -out a.der");
    let export = "pkcs12 -export -in a.test.chain.pem -inkey a.test.key -passout";
    openssl(&format!("{export} file:pw -out a.p12"));
    openssl(&format!("{export} pass: -out empty.pfx"));
    openssl(&format!("{export} file:pw -legacy -out old.p12"));

    let ran =
        certcheck(&dir).args(["--password-file", "pw", "a.der", "a.p12", "old.p12"]).arg(&files.cert).run().code(0);
    let empty = certcheck(&dir).arg("empty.pfx").run().code(0);
    let locked = certcheck(&dir).arg("a.p12").run().code(2);

    assert_eq!(said(&ran).matches(&format!("{LEFT}a.test {BY}")).count(), 4, "{ran:?}");
    assert_eq!(said(&empty), format!("OK empty.pfx: {LEFT}a.test {BY}"));
    assert_eq!(
        said(&locked),
        "CRITICAL a.p12: cannot read PKCS#12: an empty password does not open it\n  hint: name a file with the password: \
         --password-file FILE, or password-file=FILE in a list\n"
    );
    chmod(dir.join("pw"), 0o666);
    let open = certcheck(&dir).args(["--password-file", "pw", "a.p12"]).run();
    open.stdout_has("can be written by others").stdout_lacks("geheim").code(2);
}

#[test]
fn a_pkcs12_that_wants_two_billion_rounds_is_a_finding() {
    let dir = Sandbox::new();
    let _files = leaf(&dir, "a.test");
    let export = "pkcs12 -export -in a.test.pem -inkey a.test.key -passout pass: -iter 77777 -macalg sha256 -out a.p12";
    dir.program("openssl").args(export.split(' ')).run().code(0);
    let mut bytes = fs::read(dir.join("a.p12")).unwrap();
    // INTEGER 77777 becomes 2^24 - 1 in the same three bytes of the MAC, which is checked first.
    let at = bytes.windows(5).rposition(|window| window == [2, 3, 1, 0x2f, 0xd1]).expect("the count of the MAC");
    bytes[at + 2..at + 5].copy_from_slice(&[0x7f, 0xff, 0xff]);
    fs::write(dir.join("bomb.p12"), bytes).unwrap();
    let began = std::time::Instant::now();

    let ran = certcheck(&dir).arg("bomb.p12").run().code(2);

    assert!(said(&ran).starts_with("CRITICAL bomb.p12: cannot read PKCS#12: "), "{ran:?}");
    assert!(began.elapsed().as_secs() < 40, "{:?}", began.elapsed());
}

#[test]
fn a_directory_of_certbot_shows_each_lineage_once() {
    let dir = Sandbox::new();
    for name in ["a.test", "b.test"] {
        let files = leaf(&dir, name);
        let (live, archive) = (dir.join(format!("le/live/{name}")), dir.join(format!("le/archive/{name}")));
        fs::create_dir_all(&live).unwrap();
        fs::create_dir_all(&archive).unwrap();
        for (from, to) in
            [(&files.cert, "cert"), (&files.above, "chain"), (&files.chain, "fullchain"), (&files.key, "privkey")]
        {
            fs::copy(from, archive.join(format!("{to}1.pem"))).unwrap();
            symlink(format!("../../archive/{name}/{to}1.pem"), live.join(format!("{to}.pem"))).unwrap();
        }
    }
    fs::write(dir.join("le/live/README"), "This directory contains your keys and certificates.").unwrap();

    let ran = certcheck(&dir).arg("le/live").run().stderr_is("").code(0);
    let pattern = certcheck(&dir).arg("le/live/*/fullchain.pem").run().code(0);

    let expected = ["a.test", "b.test"].map(|name| format!("OK le/live/{name}/fullchain.pem: {LEFT}{name} {BY}"));
    assert_eq!(said(&ran), expected.concat());
    assert_eq!(said(&pattern), expected.concat());
}

#[test]
fn a_key_of_another_certificate_is_found() {
    let dir = Sandbox::new();
    for (name, kind) in [("ec.test", "P-256"), ("rsa.test", "rsa:2048"), ("ed.test", "ed25519"), ("big.test", "P-521")]
    {
        let files = Authority::shared().leaf(name).key(kind).write(dir.path(), name);
        let other = Authority::shared().leaf("other").key(kind).write(dir.path(), "other");
        let together = [&files.cert, &files.key].map(|file| fs::read_to_string(file).unwrap()).concat();
        fs::write(dir.join("together.pem"), together).unwrap();
        chmod(dir.join("together.pem"), 0o600);
        certcheck(&dir).arg("together.pem").run().stdout_has("OK ").code(0);
        certcheck(&dir).arg(&files.cert).run().stdout_has("OK ").code(0);

        fs::copy(&other.key, &files.key).unwrap();
        let ran = certcheck(&dir).arg(&files.cert).run().code(2);

        let expected = format!("the private key {name}.key belongs to another certificate; {name} by");
        assert!(said(&ran).replace(&format!("{}/", dir.path().display()), "").contains(&expected), "{kind}\n{ran:?}");
    }
}

#[test]
fn keys_in_the_forms_of_old_are_compared_too() {
    let dir = Sandbox::new();
    for (name, kind) in [("ec.test", "P-256"), ("rsa.test", "rsa:1024")] {
        let files = Authority::shared().leaf(name).key(kind).write(dir.path(), name);
        let convert = if kind == "P-256" { "ec" } else { "rsa" };
        let key = dir.join("old.key");
        let openssl =
            dir.program("openssl").arg(convert).args(["-traditional", "-in"]).arg(&files.key).arg("-out").arg(&key);
        if convert == "rsa" {
            openssl
        } else {
            dir.program("openssl").args(["ec", "-in"]).arg(&files.key).arg("-out").arg(&key)
        }
        .run()
        .code(0);
        assert!(fs::read_to_string(&key).unwrap().contains(&format!("BEGIN {} PRIVATE KEY", convert.to_uppercase())));

        certcheck(&dir).args(["--key", "old.key"]).arg(&files.cert).run().stdout_lacks("belongs to another");
        let other = leaf(&dir, "other.test");
        certcheck(&dir).args(["--key", "old.key"]).arg(&other.cert).run().stdout_lacks("OK ");
    }
}

#[test]
fn a_key_that_everybody_can_read_is_a_warning() {
    let dir = Sandbox::new();
    let files = leaf(&dir, "a.test");
    chmod(&files.key, 0o644);

    let ran = certcheck(&dir).arg("a.test.pem").run().code(1);

    assert_eq!(
        said(&ran),
        format!(
            "WARNING a.test.pem: {LEFT}its private key a.test.key is open to every user (mode 0644); a.test {BY}  hint: take it from them: chmod o= FILE\n"
        )
    );
    chmod(&files.key, 0o640);
    certcheck(&dir).arg("a.test.pem").run().code(0);
}

#[test]
fn the_certificates_of_traefik_are_judged_one_by_one() {
    let dir = Sandbox::new();
    let base64 = |path: &Path| {
        let ran = dir.program("base64").arg("-w0").arg(path).run();
        ran.stdout_text().to_owned()
    };
    let (a, b) = (leaf(&dir, "a.test"), leaf(&dir, "b.test"));
    let entry = |files: &Files, key: &Path, name: &str| {
        format!(
            r#"{{"domain":{{"main":"{name}"}},"certificate":"{}","key":"{}","Store":"default"}}"#,
            base64(&files.chain),
            base64(key)
        )
    };
    let broken = r#"{"domain":{"main":"c.test"},"certificate":"CANARY","key":"CANARY"}"#;
    let list = [entry(&a, &a.key, "a.test"), entry(&b, &a.key, "b.test"), broken.to_owned()].join(",");
    fs::write(
        dir.join("acme.json"),
        format!(r#"{{"le":{{"Account":{{"PrivateKey":"CANARY"}},"Certificates":[{list}]}}}}"#),
    )
    .unwrap();
    chmod(dir.join("acme.json"), 0o600);

    let ran = certcheck(&dir).arg("acme.json").run().stdout_lacks("CANARY").stderr_is("").code(2);

    assert_eq!(
        said(&ran),
        format!(
            "OK acme.json: a.test: {LEFT}a.test {BY}CRITICAL acme.json: b.test: {LEFT}the private key in it belongs to another \
             certificate; b.test {BY}  hint: a server that reads both will not start\nCRITICAL acme.json: c.test: its \
             certificate is damaged: it is not base64\n"
        )
    );
    chmod(dir.join("acme.json"), 0o644);
    certcheck(&dir)
        .arg("acme.json")
        .run()
        .stdout_has("it holds private keys, and is open to every user (mode 0644)")
        .code(2);
    fs::write(dir.join("acme.json"), "{\"le\": {\"Account\": {\"PrivateKey\": CANARY").unwrap();
    let cut = certcheck(&dir).arg("acme.json").run().stdout_lacks("CANARY").code(2);
    assert_eq!(said(&cut), "CRITICAL acme.json: it is no JSON, at line 1 column 35\n");
}

#[test]
fn what_is_renewed_on_disk_and_not_served_is_found() {
    let dir = Sandbox::new();
    let old = Authority::shared().leaf("a.test").days(-75, 15).write(dir.path(), "old");
    let new = leaf(&dir, "a.test");
    let server = Serving::openssl(&dir, &old, &[]);
    let by = format!("127.0.0.1:{}", server.port());

    let ran = certcheck(&dir).args(["--served-by", &by, "a.test.chain.pem"]).run().code(1);
    let same = certcheck(&dir).args(["--served-by", &by]).arg(&old.chain).run();
    drop(server);
    let gone = certcheck(&dir).args(["--served-by", &by]).arg(&new.chain).run().code(2);

    assert_eq!(
        said(&ran),
        format!(
            "WARNING a.test.chain.pem: {LEFT}{by} still serves another one (a.test by nightshift test intermediate, 15d left, \
             until DATE); a.test {BY}  hint: tell the server to read its certificates again: systemctl reload\n"
        )
    );
    assert!(!said(&same).contains("serves"), "{same:?}");
    assert!(said(&gone).contains(&format!("served by {by}: cannot connect to {by}: Connection refused")), "{gone:?}");
}

#[test]
fn hostile_files_are_findings() {
    let dir = Sandbox::new();
    let files = leaf(&dir, "a.test");
    let good = fs::read(&files.cert).unwrap();
    dir.program("mkfifo").arg("fifo.pem").run().code(0);
    dir.program("openssl").args(["x509", "-in", "a.test.pem", "-outform", "DER", "-out", "a.der"]).run().code(0);
    let der = fs::read(dir.join("a.der")).unwrap();
    let huge = fs::File::create(dir.join("huge.pem")).unwrap();
    huge.set_len(1 << 40).unwrap();
    let escape = "\x1b]0;owned\x07.pem";
    for (name, bytes, expected) in [
        ("cut.pem", &good[..good.len() / 2], "PEM section 1 has no end: it is cut off"),
        ("cut.der", &der[..der.len() / 2], "certificate 1 is damaged: it is cut off"),
        ("lying.der", b"\x30\x84\xff\xff\xff\xff\x30", "certificate 1 is damaged: it is cut off"),
        ("deep.der", &b"\x30\x80".repeat(50_000), "certificate 1 is damaged: "),
        ("binary.pem", b"\x7fELF\x02\x01\x01\x00", "it holds no certificate: it is no PEM, no DER"),
        ("empty.pem", b"", "it holds no certificate: it is no PEM, no DER"),
        (escape, b"-----BEGIN CERTIFICATE-----\n\x1b[31m\n-----END CERTIFICATE-----\n", "PEM section 1 is damaged"),
    ] {
        fs::write(dir.join(name), bytes).unwrap();

        let ran = certcheck(&dir).arg(format!("./{name}")).run().stdout_lacks("\x1b").stderr_is("").code(2);

        assert!(ran.stdout_text().contains(expected), "{name}\n{ran:?}");
    }
    certcheck(&dir).arg("fifo.pem").run().stdout_has("is not a regular file").code(2);
    let ran = certcheck(&dir).arg("huge.pem").run().stdout_has("is larger than 8.0 MiB").code(2);
    assert!(ran.max_rss_kib.unwrap_or(0) < 40 << 10, "{:?}", ran.max_rss_kib);
    certcheck(&dir).arg("nosuch.pem").run().stdout_has("cannot open \"nosuch.pem\"").code(2);
    certcheck(&dir).arg("no*such.pem").run().stdout_has("\"no*such.pem\" fits no file").code(2);
    fs::create_dir(dir.join("empty")).unwrap();
    fs::create_dir(dir.join("keys")).unwrap();
    fs::copy(&files.key, dir.join("keys/a.pem")).unwrap();
    certcheck(&dir).arg("keys").run().stdout_is("UNKNOWN keys: no file in it holds a certificate\n").code(3);
    certcheck(&dir).arg("empty").run().stdout_has("\"empty\" holds no file with certificates").code(2);
}

#[test]
fn what_may_not_be_read_is_unknown() {
    let dir = Sandbox::new();
    let files = leaf(&dir, "a.test");
    fs::create_dir(dir.join("closed")).unwrap();
    fs::copy(&files.cert, dir.join("closed/b.pem")).unwrap();
    chmod(dir.join("closed"), 0o700);
    chmod(&files.cert, 0o600);
    let (uid, gid) = app_user();
    let as_app = |path: &str| dir.tool("certcheck").args(["--no-config", path]).as_user(uid, gid).run();

    as_app("closed").stdout_has("UNKNOWN closed: cannot ").stdout_has("ermission denied").code(3);
    as_app("closed/b.pem").stdout_has("UNKNOWN closed/b.pem: cannot open").code(3);
    as_app("a.test.pem").stdout_has("UNKNOWN a.test.pem: cannot open").code(3);
    // The key of a certificate is closed to others, as it should be.
    chmod(&files.cert, 0o644);
    as_app("a.test.pem").stdout_has("OK a.test.pem").code(0);
}
