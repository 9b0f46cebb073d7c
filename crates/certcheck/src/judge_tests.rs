use super::*;
use crate::inspect::{Key, KeyKind, Raw, Signature};
use rustls::pki_types::CertificateDer;

const DAY: i64 = 86_400;
const NOW: i64 = 1_800_000_000;
const LIMITS: Limits = Limits { warning: Limit::WARNING, critical: Limit::CRITICAL };

/// A certificate of that name, signed by another, with so many days behind and before it.
fn facts(name: &str, issuer: &str, days: (i64, i64)) -> Facts {
    Facts {
        der: CertificateDer::from(format!("{name} by {issuer}").into_bytes()),
        subject: format!("CN={name}"),
        issuer: format!("CN={issuer}"),
        name: name.to_owned(),
        issuer_name: issuer.to_owned(),
        serial: "01".to_owned(),
        not_before: NOW + days.0 * DAY,
        not_after: NOW + days.1 * DAY,
        names: vec![name.to_owned()],
        key: Key { shown: "EC P-256".to_owned(), kind: KeyKind::Curve, bits: 256 },
        signature: Signature { shown: "ecdsa-with-SHA256".to_owned(), weak_digest: None },
        is_ca: !name.contains('.'),
        odd_extension: None,
        is_self_issued: name == issuer,
        raw: Raw { subject: name.into(), issuer: issuer.into(), spki: name.into() },
    }
}

fn leaf() -> Facts {
    facts("a.test", "R1", (-30, 60))
}

fn evidence(chain: Vec<Facts>) -> Evidence {
    Evidence { chain, trust: None, host: None, served: None, more: Vec::new() }
}

fn found(evidence: &Evidence) -> Vec<String> {
    let findings = judge(evidence, NOW, &LIMITS);
    findings.iter().map(|finding| format!("{} {}", finding.status.word(), finding.text)).collect()
}

fn untrusted(chain: Vec<Facts>, why: Untrusted) -> Evidence {
    Evidence { trust: Some(Trusted { now: Err(why), but_for_dates: None }), ..evidence(chain) }
}

#[test]
fn a_good_chain_gives_no_finding() {
    assert_eq!(found(&evidence(vec![leaf(), facts("R1", "root", (-300, 900))])), Vec::<String>::new());
}

#[test]
fn the_limits_follow_the_lifetime() {
    let status = |days| of_dates(&facts("a.test", "R1", days), NOW, &LIMITS);

    for (days, expected) in [
        ((-69, 21), Status::Ok),
        ((-70, 20), Status::Warning),
        ((-84, 6), Status::Critical),
        ((-30, 15), Status::Ok),
        ((-31, 14), Status::Warning),
        ((-41, 4), Status::Critical),
        ((-4, 2), Status::Ok),
        ((-90, -1), Status::Critical),
        ((1, 90), Status::Critical),
    ] {
        assert_eq!(status(days), expected, "{days:?}");
    }
}

#[test]
fn dates_are_told_from_both_sides() {
    let when = |days| when(&facts("a.test", "R1", days), NOW);

    assert_eq!(when((-30, 60)), "60d left, until 2027-03-16T08:00:00Z");
    assert_eq!(when((-30, -2)), "expired 2d ago, on 2027-01-13T08:00:00Z");
    assert_eq!(when((2, 30)), "is not valid before 2027-01-17T08:00:00Z");
}

#[test]
fn an_old_root_that_a_server_sends_and_no_path_needs_is_no_finding() {
    let (inter, old) = (facts("R1", "root", (-300, 900)), facts("root", "older root", (-3000, -1)));
    let root = facts("root", "root", (-3000, 3000));
    let path = Path { above_leaf: vec![inter.der.clone(), root.der.clone()], root };
    let chain = vec![leaf(), inter, old];

    let asked = Evidence { trust: Some(Trusted { now: Ok(path), but_for_dates: None }), ..evidence(chain.clone()) };

    assert_eq!(found(&asked), Vec::<String>::new());
    assert_eq!(found(&evidence(chain)).len(), 1);
}

#[test]
fn what_is_missing_is_named() {
    let unknown = |chain| found(&untrusted(chain, Untrusted::UnknownIssuer)).remove(0);

    assert_eq!(
        unknown(vec![leaf()]),
        "CRITICAL the chain is incomplete: the certificate of \"R1\" is missing, or not trusted"
    );
    assert_eq!(
        unknown(vec![leaf(), facts("root", "root", (-9, 900)), facts("R1", "root", (-9, 900))]),
        "CRITICAL its root \"root\" is not trusted"
    );
    assert_eq!(
        unknown(vec![facts("a.test", "a.test", (-30, 60))]),
        "CRITICAL it is self-signed, and not among the roots that are trusted"
    );
}

#[test]
fn a_circle_of_issuers_ends() {
    let chain = vec![leaf(), facts("R1", "R2", (-9, 900)), facts("R2", "R1", (-9, 900))];

    assert_eq!(found(&untrusted(chain, Untrusted::UnknownIssuer)).len(), 1);
}

#[test]
fn an_expired_leaf_that_would_be_trusted_is_only_expired() {
    let expired = facts("a.test", "R1", (-90, -1));
    let root = facts("R1", "R1", (-300, 900));
    let path = Path { above_leaf: vec![root.der.clone()], root };
    let trust = |then| Some(Trusted { now: Err(Untrusted::Dates), but_for_dates: Some(then) });

    let only = Evidence { trust: trust(Ok(path)), ..evidence(vec![expired.clone()]) };
    let both = Evidence { trust: trust(Err(Untrusted::UnknownIssuer)), ..evidence(vec![expired]) };

    assert_eq!(found(&only), ["CRITICAL "]);
    assert_eq!(found(&both).len(), 2);
}

#[test]
fn order_is_judged_of_chains_and_not_of_bundles() {
    let (inter, root) = (facts("R1", "root", (-9, 900)), facts("root", "root", (-9, 900)));

    assert_eq!(order(&[leaf(), inter.clone(), root.clone()]), None);
    assert_eq!(order(&[root.clone(), inter.clone()]), None);
    assert_eq!(order(&[leaf(), root.clone(), inter.clone()]).map(|it| it.status), Some(Status::Warning));
    assert_eq!(order(&[inter, leaf()]).map(|it| it.status), Some(Status::Critical));
}

#[test]
fn weak_keys_and_digests_count_wherever_they_are_on_the_path_but_not_the_signature_of_a_root() {
    let mut weak = leaf();
    weak.key = Key { shown: "RSA 1024".to_owned(), kind: KeyKind::Rsa, bits: 1024 };
    let mut inter = facts("R1", "root", (-300, 900));
    inter.signature.weak_digest = Some("SHA-1");
    let mut root = facts("root", "root", (-300, 900));
    root.signature.weak_digest = Some("MD5");

    assert_eq!(
        found(&evidence(vec![weak, inter, root])),
        [
            "CRITICAL it cannot be trusted: its key is too weak (RSA 1024)",
            "CRITICAL the intermediate \"R1\" is signed with SHA-1, which can be forged"
        ]
    );
}

#[test]
fn a_server_that_cannot_sign_is_critical_and_a_stapled_revocation_too() {
    let session = Session {
        version: "TLS 1.3".to_owned(),
        cipher: String::new(),
        is_legacy: false,
        possession: Possession::Refused("its signature is wrong".to_owned()),
        staple: Some(Staple { revocation: Revocation::Revoked, next_update: None }),
        peer: String::new(),
    };

    let found = found(&Evidence { served: Some(session), ..evidence(vec![leaf()]) });

    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("CRITICAL the server does not prove"), "{found:?}");
    assert!(found[1].starts_with("CRITICAL it is revoked"), "{found:?}");
}

#[test]
fn a_trusted_chain_that_anybody_could_have_sent_is_not_verified() {
    let root = facts("R1", "R1", (-300, 900));
    let path = Path { above_leaf: vec![root.der.clone()], root };
    let shown = |possession, is_legacy| Evidence {
        trust: Some(Trusted { now: Ok(path.clone()), but_for_dates: None }),
        served: Some(Session {
            version: "TLS 1.0".to_owned(),
            cipher: String::new(),
            is_legacy,
            possession,
            staple: None,
            peer: String::new(),
        }),
        ..evidence(vec![leaf()])
    };
    let worst = |evidence: &Evidence| judge(evidence, NOW, &LIMITS).first().map(|finding| finding.status);

    let (proven, strange, old) =
        (shown(Possession::Proven, false), shown(Possession::NotShown, false), shown(Possession::NotShown, true));

    assert_eq!([&proven, &strange, &old].map(is_verified), [Some(true), Some(false), Some(false)]);
    assert_eq!([&proven, &strange, &old].map(worst), [None, Some(Status::Critical), Some(Status::Warning)]);
}

#[test]
fn only_five_names_are_told() {
    let names: Vec<String> = (0..1234).map(|number| format!("n{number}")).collect();

    assert_eq!(listed(&names), "n0, n1, n2, n3, n4 and 1,229 more");
    assert_eq!(listed(&names[..2]), "n0, n1");
}
