//! Every defect that a certificate can have, each made by an authority of our own: what is said of it, and how bad it is.

use std::fs;
use std::path::Path;

use harness::{Authority, Leaf, Ran, Sandbox, Serving, Signer};

use crate::certcheck::{certcheck, said};

/// A leaf in a file, trusted or not, for `a.test`.
fn judged(leaf: Leaf<'_>) -> (Sandbox, Ran) {
    let dir = Sandbox::new();
    let files = leaf.write(dir.path(), "it");
    let ran = certcheck(&dir).args(["--trust", "yes", "--host", "a.test"]).arg(&files.chain).run();
    (dir, ran)
}

#[track_caller]
fn finds(leaf: Leaf<'_>, code: i32, parts: &[&str]) {
    let (_dir, ran) = judged(leaf);
    let text = said(&ran);
    assert!(ran.stderr.is_empty() && parts.iter().all(|part| text.contains(part)), "expected {parts:?}\n{ran:?}");
    ran.code(code);
}

fn leaf() -> Leaf<'static> {
    Authority::shared().leaf("a.test")
}

#[test]
fn good_ones_of_every_kind_are_good() {
    for key in ["P-256", "P-384", "ed25519", "rsa:2048"] {
        finds(leaf().key(key), 0, &["OK ", "60d left, until DATE; a.test by nightshift test intermediate\n"]);
    }
    finds(leaf().common_name(""), 0, &["60d left, until DATE; a.test by"]);
    finds(leaf().signer(Signer::Root), 0, &["a.test by nightshift test root"]);
}

#[test]
fn dates() {
    finds(leaf().days(-90, -3), 2, &["CRITICAL ", "expired 2d 23h ago, on DATE; a.test by"]);
    finds(leaf().days(3, 93), 2, &["CRITICAL ", "is not valid before DATE; a.test by"]);
    finds(leaf().days(-84, 6), 2, &["CRITICAL ", "6d left, until DATE; a.test by"]);
    finds(leaf().days(-70, 20), 1, &["WARNING ", "20d left"]);
    finds(leaf().days(-68, 22), 0, &["OK ", "22d left"]);
    finds(leaf().days(-25, 20), 0, &["OK ", "20d left"]);
    finds(leaf().days(-31, 14), 1, &["WARNING ", "14d left"]);
    finds(leaf().days(-2, 4), 0, &["OK ", "4d left"]);
}

#[test]
fn names() {
    finds(leaf().names(["DNS:b.test"]), 2, &["it is not for a.test but for b.test"]);
    finds(leaf().names(["DNS:*.a.test"]), 2, &["it is not for a.test but for *.a.test"]);
    finds(leaf().names(["DNS:*"]), 2, &["it is not for a.test but for *"]);
    finds(
        leaf().names::<&str>([]),
        2,
        &[
            "it is not for a.test but for no name at all (no subjectAltName)",
            "hint: clients look at subjectAltName only",
        ],
    );
    let many = |count| leaf().names((0..count).map(|number| format!("DNS:n{number}.test")));
    finds(many(1_000), 2, &["it is not for a.test but for n0.test, n1.test,", "n4.test and 995 more"]);
    finds(many(10_000), 2, &["60d left", "whether it is for a.test cannot be told: it is larger than 64.0 KiB"]);
}

#[test]
fn international_names_are_compared_as_a_labels() {
    let dir = Sandbox::new();
    let files = Authority::shared().leaf("idn").names(["DNS:xn--bcher-kva.test"]).write(dir.path(), "idn");

    certcheck(&dir).args(["--host", "Bücher.test"]).arg(&files.cert).run().stdout_has("OK ").code(0);
    certcheck(&dir)
        .args(["--host", "bucher.test"])
        .arg(&files.cert)
        .run()
        .stdout_has("it is not for bucher.test")
        .code(2);
}

#[test]
fn trust() {
    finds(
        leaf().signer(Signer::Itself),
        2,
        &[
            "60d left",
            "it is self-signed, and not among the roots that are trusted; a.test\n",
            "hint: to trust exactly this one",
        ],
    );
    let other = Authority::new("another root");
    finds(
        other.leaf("a.test"),
        2,
        &["60d left", "the chain is incomplete: the certificate of \"another root\" is missing, or not trusted"],
    );
    finds(leaf().extensions("extendedKeyUsage=clientAuth\n"), 2, &["it is not trusted: it is not for servers"]);
    finds(leaf().extensions("basicConstraints=critical,CA:TRUE\n"), 2, &["it is the certificate of an authority"]);
    finds(leaf().extensions("1.2.3.4=critical,DER:05:00\n"), 2, &["it has a critical extension that is not known"]);
}

#[test]
fn an_expired_one_that_is_also_untrusted_says_both() {
    finds(leaf().days(-90, -3).signer(Signer::Itself), 2, &["expired 2d 23h ago", "it is self-signed"]);
}

#[test]
fn weak_keys_and_signatures() {
    finds(leaf().key("rsa:1024"), 2, &["60d left", "its key is too weak (RSA 1024)"]);
    finds(leaf().key("rsa:512"), 2, &["60d left", "its key is too weak (RSA 512)"]);
    finds(
        leaf().digest("sha1"),
        2,
        &["60d left", "it is signed with SHA-1, which can be forged", "a signature in the chain is of a kind"],
    );
    finds(leaf().digest("md5"), 2, &["60d left", "it is signed with MD5, which can be forged"]);
    // Keys of servers that no verification of ours has to compute with.
    finds(leaf().key("P-521"), 0, &["OK "]);
}

#[test]
fn a_large_key_is_no_defect() {
    finds(leaf().key("rsa:8192"), 0, &["OK ", "60d left"]);
}

fn concatenated(dir: &Sandbox, name: &str, parts: &[&Path]) -> std::path::PathBuf {
    let text: String = parts.iter().map(|part| fs::read_to_string(part).unwrap()).collect();
    fs::write(dir.join(name), text).unwrap();
    dir.join(name)
}

#[test]
fn chains_that_are_incomplete_reversed_or_out_of_order() {
    let (dir, authority) = (Sandbox::new(), Authority::shared());
    let files = leaf().write(dir.path(), "it");
    let (root, inter) = (authority.root(), authority.intermediate());
    let check = |file: &Path| {
        let ran = certcheck(&dir).args(["--trust", "yes", "--host", "a.test"]).arg(file).run();
        (said(&ran), ran.code)
    };

    let (text, code) = check(&files.cert);
    assert!(
        text.contains("the chain is incomplete: the certificate of \"nightshift test intermediate\" is missing")
            && code == Some(2),
        "{text}"
    );
    let (text, code) = check(&concatenated(&dir, "reversed.pem", &[&inter, &files.cert]));
    assert!(
        text.contains("the chain is reversed: its first certificate is not the server's") && code == Some(2),
        "{text}"
    );
    let (text, code) = check(&concatenated(&dir, "mixed.pem", &[&files.cert, &root, &inter]));
    assert!(text.contains("the chain is out of order") && code == Some(1), "{text}");
    let (text, code) = check(&concatenated(&dir, "with-root.pem", &[&files.cert, &inter, &root]));
    assert!(text.starts_with("OK ") && code == Some(0), "{text}");
    let (text, code) =
        check(&concatenated(&dir, "untrusted-root.pem", &[&files.cert, &inter, &Authority::new("r").root()]));
    assert!(text.contains("the chain is out of order") && code == Some(1), "{text}");
}

#[test]
fn the_same_is_said_of_what_a_server_sends() {
    let dir = Sandbox::new();
    let authority = Authority::shared();
    let cases = [
        (authority.leaf("a.test").days(-90, -3), "expired 2d 23h ago"),
        (authority.leaf("a.test").signer(Signer::Itself), "it is self-signed"),
        (authority.leaf("b.test"), "it is not for a.test but for b.test"),
    ];
    for (leaf, expected) in cases {
        let files = leaf.write(dir.path(), "it");
        let server = Serving::openssl(&dir, &files, &[]);

        let ran = certcheck(&dir).args(["--connect", &format!("127.0.0.1:{}", server.port()), "a.test"]).run().code(2);

        assert!(said(&ran).contains(expected), "{ran:?}");
    }
    let files = authority.leaf("a.test").write(dir.path(), "bare");
    let server = Serving::openssl_with(&dir, &files.cert, None, &files.key, &[]);
    let connect = format!("127.0.0.1:{}", server.port());
    let ran = certcheck(&dir).args(["--connect", &connect, "a.test"]).run().code(2);
    assert!(said(&ran).contains("60d left, until DATE; the chain is incomplete"), "{ran:?}");
    let ran = certcheck(&dir).args(["--connect", &connect, "--trust", "no", "a.test"]).run().code(0);
    assert!(said(&ran).starts_with("OK a.test: 60d left"), "{ran:?}");
}

#[test]
fn keys_that_we_cannot_compute_with_are_seen_when_served_too() {
    let (dir, authority) = (Sandbox::new(), Authority::shared());
    let old = ["-cipher", "DEFAULT@SECLEVEL=0"];
    for (leaf, more, code, expected) in [
        (authority.leaf("a.test").key("rsa:1024"), &old[..], 2, "its key is too weak (RSA 1024)"),
        (
            authority.leaf("a.test").key("rsa:512"),
            &["-tls1_2", "-cipher", "AES128-SHA@SECLEVEL=0"],
            2,
            "its key is too weak (RSA 512)",
        ),
        (authority.leaf("a.test").digest("sha1"), &old, 2, "it is signed with SHA-1"),
        (authority.leaf("a.test").key("P-521"), &["-tls1_2"], 1, "no kind of signature in common"),
        (authority.leaf("a.test").key("ed25519"), &[], 0, "OK a.test"),
        (authority.leaf("a.test").key("rsa:4096"), &[], 0, "OK a.test"),
    ] {
        let files = leaf.write(dir.path(), "it");
        let server = Serving::openssl(&dir, &files, more);

        let ran =
            certcheck(&dir).args(["--connect", &format!("127.0.0.1:{}", server.port()), "a.test"]).run().code(code);

        assert!(said(&ran).contains(expected) && said(&ran).contains("60d left"), "{ran:?}");
    }
}

#[test]
fn an_authority_in_between_is_critical_whoever_it_says_it_is() {
    // The same names all the way up, other keys: who sits in between can copy names only.
    let (dir, interposed) = (Sandbox::new(), Authority::new("nightshift test root"));
    let files = interposed.leaf("a.test").write(dir.path(), "it");
    let server = Serving::openssl(&dir, &files, &[]);

    let ran = certcheck(&dir)
        .args(["--connect", &format!("127.0.0.1:{}", server.port()), "--format", "json", "a.test"])
        .run();

    ran.stdout_has("\"status\":\"CRITICAL\"").stdout_has("\"verified\":false").code(2);
}

#[test]
fn an_intermediate_that_ends_soon_is_told_apart_from_the_leaf() {
    let (dir, authority) = (Sandbox::new(), Authority::shared());
    let ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
    let _soon = authority
        .leaf("x")
        .common_name("soon ending")
        .names::<&str>([])
        .days(-300, 5)
        .signer(Signer::Root)
        .extensions(ca)
        .write(dir.path(), "soon");
    let files = leaf().write(dir.path(), "it");
    let bundle = concatenated(&dir, "bundle.pem", &[&files.chain, &dir.join("soon.pem")]);

    let ran = certcheck(&dir).arg(&bundle).run().code(2);
    // It leads nowhere, and where trust is asked for it is seen that nobody needs it.
    let trusted = certcheck(&dir).args(["--trust", "yes"]).arg(&bundle).run();

    assert!(
        said(&ran).contains("60d left, until DATE; the intermediate \"soon ending\" 5d left, until DATE"),
        "{ran:?}"
    );
    assert!(!said(&trusted).contains("soon ending"), "{trusted:?}");
}

#[test]
fn the_root_of_one_server_can_be_its_own_certificate() {
    let dir = Sandbox::new();
    let server =
        leaf().signer(Signer::Itself).extensions("basicConstraints=critical,CA:TRUE\n").write(dir.path(), "it");

    let tool = dir.tool("certcheck").args(["--no-config", "--trust", "yes", "--host", "a.test", "--trust-roots"]);

    tool.arg(&server.cert).arg(&server.cert).run().stdout_has("OK ").code(0);
}

#[test]
fn verify_says_valid_or_invalid_and_nothing_else() {
    let (dir, authority) = (Sandbox::new(), Authority::shared());
    let files = leaf().write(dir.path(), "it");
    let verify = |more: &[&str]| {
        certcheck(&dir)
            .args(["--verify", "--untrusted"])
            .arg(authority.intermediate())
            .args(more)
            .arg(&files.cert)
            .run()
    };

    verify(&[]).stdout_has("it is trusted, by the root \"nightshift test root\"").code(0);
    verify(&["--host", "a.test"]).code(0);
    verify(&["--host", "b.test"]).stdout_has("it is not for b.test").code(2);
    verify(&["--at", "2020-01-01T00:00:00Z"]).stdout_has("expired or not yet valid").code(2);
    certcheck(&dir).arg("--verify").arg(&files.cert).run().stdout_has("no root is behind it").code(2);
    certcheck(&dir).arg("--verify").arg("nosuch.pem").run().stderr_has("cannot open \"nosuch.pem\"").code(3);
}

/// The cases of x509-limbo (github.com/C2SP/x509-limbo, Apache-2.0) on which at least three of OpenSSL, Go, rustls-webpki and
/// pyca agree: `limbo.jsonl.gz`, one object a line.
#[test]
fn chains_are_judged_as_established_validators_do() {
    let dir = Sandbox::new();
    let cases = dir.program("gzip").arg("-dc").arg(harness::workspace().join("tests/fixtures/limbo.jsonl.gz")).run();
    let mut count = 0;
    for line in cases.code(0).stdout_text().lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| case[key].as_str().unwrap();
        let file = |key: &str| {
            let all = case[key].as_array().unwrap().iter().map(|pem| pem.as_str().unwrap().to_owned() + "\n");
            fs::write(dir.join(key), all.collect::<String>()).unwrap();
        };
        file("roots");
        file("untrusted");
        fs::write(dir.join("leaf"), text("leaf")).unwrap();
        let mut tool =
            dir.tool("certcheck").args(["--no-config", "--verify", "--trust-roots", "roots", "--host", text("host")]);
        if !case["untrusted"].as_array().unwrap().is_empty() {
            tool = tool.args(["--untrusted", "untrusted"]);
        }
        if !text("at").is_empty() {
            tool = tool.args(["--at", text("at")]);
        }

        let ran = tool.arg("leaf").run();

        let expected = if case["valid"].as_bool().unwrap() { 0 } else { 2 };
        assert_eq!(ran.code, Some(expected), "{}\n{ran:?}", text("id"));
        count += 1;
    }
    assert_eq!(count, 196);
}
