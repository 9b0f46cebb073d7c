//! What is to be said of certificates: pure functions of what was seen, the time, and the limits.

use crate::fetch::Possession;
use crate::inspect::Facts;
use crate::limit::Limit;
use crate::name::Host;
use crate::ocsp::{Revocation, Staple};
use crate::policy;
use crate::verify::{NotFor, Path, Untrusted};
use common::status::Status;
use common::units::{self, Stamp};
use std::time::Duration;

/// How many names of a certificate are told.
const NAMES: usize = 5;

/// What was seen of one target.
#[derive(Debug)]
pub struct Evidence {
    /// The certificates in the order they were shown or stored, the leaf first.
    pub chain: Vec<Facts>,
    /// Whether they lead to a root; `None` where nobody asked.
    pub trust: Option<Trusted>,
    /// The host that the leaf must be for, and why it is not.
    pub host: Option<(Host, Result<(), NotFor>)>,
    /// How it was served, where it was.
    pub served: Option<Session>,
    /// What else was found, by whoever gathered the evidence.
    pub more: Vec<Finding>,
}

/// How certificates were served.
#[derive(Clone, Debug)]
pub struct Session {
    /// As in `TLS 1.3`.
    pub version: String,
    /// The name of the cipher suite.
    pub cipher: String,
    /// Whether no client of today could have spoken with it.
    pub is_legacy: bool,
    /// Whether the server has shown that it holds the key.
    pub possession: Possession,
    /// The OCSP response that came along.
    pub staple: Option<Staple>,
    /// The address that answered.
    pub peer: String,
}

/// Whether a chain is trusted.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// Now.
    pub now: Result<Path, Untrusted>,
    /// While the leaf was valid, where only dates stand against it now.
    pub but_for_dates: Option<Result<Path, Untrusted>>,
}

/// One thing to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub status: Status,
    /// One clause, lower case.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    /// A finding without advice.
    pub fn new(status: Status, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), hint: None }
    }

    /// Adds advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// When a target has to be looked after.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Warn below this.
    pub warning: Limit,
    /// CRITICAL below this.
    pub critical: Limit,
}

impl Limits {
    /// The status of what is left of a lifetime, in seconds.
    pub fn status(&self, left: i64, lifetime: i64) -> Status {
        if left < 0 || left < self.critical.seconds(lifetime) {
            Status::Critical
        } else if left < self.warning.seconds(lifetime) {
            Status::Warning
        } else {
            Status::Ok
        }
    }
}

/// All findings, the worst first.
pub fn judge(evidence: &Evidence, now: i64, limits: &Limits) -> Vec<Finding> {
    let mut findings = dates(evidence, now, limits);
    if let Some(leaf) = evidence.chain.first() {
        findings.extend(host(evidence, leaf));
        findings.extend(trust(evidence, leaf));
        findings.extend(strength(evidence));
        findings.extend(possession(evidence));
    }
    findings.extend(order(&evidence.chain));
    findings.extend(evidence.served.as_ref().map(session).unwrap_or_default());
    findings.extend(evidence.more.iter().cloned());
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.status));
    findings
}

/// The certificates whose dates matter: all, or those on the path that was found. A server may send an old root that no
/// client looks at any more.
pub fn that_matter(evidence: &Evidence) -> Vec<&Facts> {
    let path = evidence.trust.as_ref().and_then(|trust| trust.now.as_ref().ok());
    let Some(path) = path else { return evidence.chain.iter().collect() };
    let is_on_path = |facts: &&Facts| path.above_leaf.contains(&facts.der);
    let leaf = evidence.chain.first().into_iter();
    let root = std::iter::once(&path.root);
    let between = evidence.chain.iter().skip(1).filter(is_on_path).filter(|facts| facts.der != path.root.der);
    leaf.chain(between).chain(root.filter(|_| !path.above_leaf.is_empty())).collect()
}

fn dates(evidence: &Evidence, now: i64, limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, facts) in that_matter(evidence).into_iter().enumerate() {
        let status = of_dates(facts, now, limits);
        // The dates of the leaf are in every message, so that it only gives the status here.
        let text = match number {
            0 => String::new(),
            _ => format!("{} {:?} {}", role(facts), facts.name, when(facts, now)),
        };
        if status != Status::Ok {
            findings.push(Finding::new(status, text));
        }
    }
    findings
}

fn of_dates(facts: &Facts, now: i64, limits: &Limits) -> Status {
    if facts.not_before > now {
        return Status::Critical;
    }
    limits.status(facts.not_after.saturating_sub(now), facts.lifetime())
}

fn role(facts: &Facts) -> &'static str {
    match (facts.is_ca, facts.is_self_issued) {
        (true, true) => "the root",
        (true, false) => "the intermediate",
        (false, _) => "the certificate",
    }
}

/// The dates in words: `62d 3h left, until 2027-01-22T10:00:00Z`.
pub fn when(facts: &Facts, now: i64) -> String {
    if facts.not_before > now {
        return format!("is not valid before {}", shown(facts.not_before));
    }
    let left = facts.not_after.saturating_sub(now);
    match left < 0 {
        true => format!("expired {} ago, on {}", span(left), shown(facts.not_after)),
        false => format!("{} left, until {}", span(left), shown(facts.not_after)),
    }
}

/// How long something is, without its sign.
pub fn span(seconds: i64) -> String {
    units::duration(Duration::from_secs(seconds.unsigned_abs()))
}

/// A time for people; those before 1970 and after 9999 are cut.
pub fn shown(seconds: i64) -> String {
    stamp(seconds).rfc3339()
}

/// A time as reports have it.
pub fn stamp(seconds: i64) -> Stamp {
    Stamp::from_seconds(seconds).unwrap_or(if seconds < 0 { Stamp::MIN } else { Stamp::MAX })
}

fn host(evidence: &Evidence, leaf: &Facts) -> Option<Finding> {
    let (host, Err(why)) = evidence.host.as_ref()? else { return None };
    if let NotFor::Unclear(why) = why {
        return Some(Finding::new(Status::Critical, format!("whether it is for {host} cannot be told: {why}")));
    }
    let names = match leaf.names.as_slice() {
        [] => "no name at all (no subjectAltName)".to_owned(),
        names => listed(names),
    };
    let finding = Finding::new(Status::Critical, format!("it is not for {host} but for {names}"));
    Some(match leaf.names.is_empty() {
        true => finding.hint("clients look at subjectAltName only, and no longer at the common name"),
        false => finding,
    })
}

/// The first names, and how many there are.
pub fn listed(names: &[String]) -> String {
    let first = names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    match names.len() > NAMES {
        true => format!("{first} and {} more", units::count((names.len() - NAMES) as u64)),
        false => first,
    }
}

fn trust(evidence: &Evidence, leaf: &Facts) -> Option<Finding> {
    let trust = evidence.trust.as_ref()?;
    let why = match (&trust.now, &trust.but_for_dates) {
        (Ok(_), _) | (Err(Untrusted::Dates), Some(Ok(_))) => return None,
        (Err(Untrusted::Dates), Some(Err(why))) => why,
        (Err(why), _) => why,
    };
    let text = match why {
        Untrusted::Dates => return Some(expired_above()),
        Untrusted::UnknownIssuer => return Some(unknown_issuer(&evidence.chain, leaf)),
        Untrusted::Because(why) => format!("it is not trusted: {why}"),
    };
    Some(Finding::new(Status::Critical, text))
}

/// The leaf's dates are fine, and still every path has one that is not.
fn expired_above() -> Finding {
    Finding::new(
        Status::Critical,
        "it is not trusted: a certificate above it, or its root, is expired or not yet valid",
    )
}

fn unknown_issuer(chain: &[Facts], leaf: &Facts) -> Finding {
    let critical = |text: String| Finding::new(Status::Critical, text);
    if leaf.is_self_issued {
        return critical("it is self-signed, and not among the roots that are trusted".to_owned())
            .hint("to trust exactly this one, name it with --trust-roots");
    }
    let top = top_of(chain);
    if top.is_self_issued {
        return critical(format!("its root {:?} is not trusted", top.name))
            .hint("to trust it, name it with --trust-roots");
    }
    critical(format!("the chain is incomplete: the certificate of {:?} is missing, or not trusted", top.issuer_name))
        .hint("a server has to send its intermediates, too: its certificate file should be the full chain")
}

/// The end of the chain as far as it can be followed from the leaf, in whatever order it was sent.
fn top_of(chain: &[Facts]) -> &Facts {
    let mut top = &chain[0];
    for _ in 0..chain.len() {
        let above = chain.iter().find(|facts| facts.raw.subject == top.raw.issuer && facts.der != top.der);
        match above {
            Some(above) if !top.is_self_issued => top = above,
            Some(_) | None => break,
        }
    }
    top
}

/// Keys and signatures that no client should take. The signature of a root counts for nothing.
fn strength(evidence: &Evidence) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, facts) in that_matter(evidence).into_iter().enumerate() {
        let who = if number == 0 { "it".to_owned() } else { format!("{} {:?}", role(facts), facts.name) };
        if let Some(why) = policy::weak_key(facts) {
            // The verifier has said so already where it was asked.
            let is_told =
                matches!(&evidence.trust, Some(Trusted { now: Err(Untrusted::Because(said)), .. }) if *said == why);
            if !is_told {
                findings.push(Finding::new(Status::Critical, format!("{who} cannot be trusted: {why}")));
            }
        }
        if let (Some(digest), false) = (facts.signature.weak_digest, facts.is_self_issued) {
            findings
                .push(Finding::new(Status::Critical, format!("{who} is signed with {digest}, which can be forged")));
        }
    }
    findings
}

/// Whether each certificate is followed by that of its issuer. Source: RFC 5246, 7.4.2; of RFC 8446 only the leaf's place.
fn order(chain: &[Facts]) -> Option<Finding> {
    let [first, .., last] = chain else { return None };
    if first.is_ca && !last.is_ca {
        return Some(Finding::new(
            Status::Critical,
            "the chain is reversed: its first certificate is not the server's",
        ));
    }
    // A bundle of authorities has no order.
    if first.is_ca {
        return None;
    }
    let follows = |pair: &[Facts]| pair[0].raw.issuer == pair[1].raw.subject;
    let is_in_order = chain.windows(2).all(follows);
    let has_leaves = chain.iter().skip(1).any(|facts| !facts.is_ca);
    match (is_in_order, has_leaves) {
        (true, _) | (false, true) => None,
        (false, false) => Some(Finding::new(
            Status::Warning,
            "the chain is out of order: a certificate is not followed by that of its issuer",
        )),
    }
}

/// Whether what was shown belongs to who showed it: anybody can send the certificates of another.
fn possession(evidence: &Evidence) -> Option<Finding> {
    let session = evidence.served.as_ref()?;
    let is_trusted = evidence.trust.as_ref().is_some_and(|trust| trust.now.is_ok());
    let why = match &session.possession {
        Possession::Proven => return None,
        Possession::Refused(why) => why,
        // Of an old server nothing was asked, and a chain that is not trusted need not be proven.
        Possession::NotShown if session.is_legacy || !is_trusted => return None,
        Possession::NotShown => "its signature is of a kind that is not taken",
    };
    let text = format!("the server does not prove that it holds the private key: {why}");
    Some(Finding::new(Status::Critical, text))
}

/// Whether a chain may be called verified: trusted, for the host, and shown by who holds its key. Source: THREATS C6.
pub fn is_verified(evidence: &Evidence) -> Option<bool> {
    let trust = evidence.trust.as_ref()?;
    let is_for_host = evidence.host.as_ref().is_none_or(|(_, host)| host.is_ok());
    let is_proven = evidence.served.as_ref().is_none_or(|session| session.possession == Possession::Proven);
    Some(trust.now.is_ok() && is_for_host && is_proven)
}

fn session(session: &Session) -> Vec<Finding> {
    let mut findings = Vec::new();
    if session.is_legacy {
        let is_modern = session.cipher.contains("ECDHE") && session.cipher.contains("GCM");
        let what = match session.version.as_str() {
            "TLS 1.2" if is_modern => {
                "the server and we have no kind of signature in common: its key is unusual".to_owned()
            }
            "TLS 1.2" => format!("the server speaks TLS 1.2 only with ciphers of before 2015 ({})", session.cipher),
            version => format!("the server speaks nothing newer than {version}"),
        };
        let finding = Finding::new(Status::Warning, what);
        findings.push(
            finding.hint("browsers of today may refuse it; allow TLS 1.2 and 1.3 on the server, and a usual key"),
        );
    }
    match session.staple.as_ref().map(|staple| &staple.revocation) {
        Some(Revocation::Revoked) => {
            let text = "it is revoked, by the OCSP response that the server itself sends";
            findings.push(Finding::new(Status::Critical, text).hint("have a new certificate made"));
        }
        Some(Revocation::Good | Revocation::Unknown) | None => {}
    }
    findings
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
