//! One item of the report for each target: status, sentence, facts.

use crate::inspect::Facts;
use crate::judge::{self, Evidence, Finding, Limits};
use crate::keys;
use common::report::{Item, Row, Value};
use common::status::Status;

/// What kind of target it is, as reports say it.
pub type Kind = &'static str;

/// How many findings are told.
const FINDINGS: usize = 5;

/// The item of a target of which certificates were seen.
pub fn of(subject: String, kind: Kind, evidence: &Evidence, now: i64, limits: &Limits) -> Item {
    let findings = judge::judge(evidence, now, limits);
    let status = findings.iter().map(|finding| finding.status).max().unwrap_or(Status::Ok);
    let Some(leaf) = evidence.chain.first() else {
        return Item::new(subject, Status::Unknown, "it holds no certificate");
    };
    let soonest = soonest(evidence, leaf);
    let left = soonest.not_after.saturating_sub(now);
    let said = said(&findings, leaf);
    let mut item = Item::new(subject, status, format!("{}; {said}", judge::when(leaf, now)));
    item.hints = findings.iter().filter_map(|finding| finding.hint.clone()).collect();
    item.row = Some(Row { rank: left, columns: columns(soonest, now), message: said });
    item = item
        .with(keys::KIND, Value::Text(kind.to_owned()))
        .with(keys::CERTIFICATE, Value::Text(leaf.subject.clone()))
        .with(keys::ISSUER, Value::Text(leaf.issuer.clone()))
        .with(keys::SERIAL, Value::Text(leaf.serial.clone()))
        .with(keys::LEFT, Value::SecondsLeft(left))
        .with(keys::EXPIRES, Value::At(judge::stamp(soonest.not_after)))
        .with(keys::PUBLIC_KEY, Value::Text(leaf.key.shown.clone()))
        .with(keys::SIGNATURE, Value::Text(leaf.signature.shown.clone()))
        .with(keys::NAMES, Value::Texts(leaf.names.iter().take(5).cloned().collect()));
    if let Some(is_verified) = judge::is_verified(evidence) {
        item = item.with(keys::VERIFIED, Value::Flag(is_verified));
    }
    served(item, evidence).with(keys::CERTIFICATES, Value::Rows(evidence.chain.iter().map(row).collect()))
}

fn soonest<'a>(evidence: &'a Evidence, leaf: &'a Facts) -> &'a Facts {
    judge::that_matter(evidence).into_iter().min_by_key(|facts| facts.not_after).unwrap_or(leaf)
}

/// What was found, then whose certificate it is.
fn said(findings: &[Finding], leaf: &Facts) -> String {
    let who = match leaf.is_self_issued {
        true => leaf.name.clone(),
        false => format!("{} by {}", leaf.name, leaf.issuer_name),
    };
    let mut texts: Vec<_> =
        findings.iter().map(|finding| finding.text.clone()).filter(|text| !text.is_empty()).collect();
    // A bundle of a hundred roots may have dozens.
    if texts.len() > FINDINGS {
        let more = texts.split_off(FINDINGS).len();
        texts.push(format!("and {more} more findings"));
    }
    texts.into_iter().chain([who]).collect::<Vec<_>>().join("; ")
}

/// Time left and last day, for the table.
fn columns(facts: &Facts, now: i64) -> Vec<String> {
    let left = facts.not_after.saturating_sub(now);
    let sign = if left < 0 { "-" } else { "" };
    let day = judge::shown(facts.not_after);
    vec![format!("{sign}{}", judge::span(left)), day.split('T').next().unwrap_or_default().to_owned()]
}

fn served(item: Item, evidence: &Evidence) -> Item {
    let Some(session) = &evidence.served else { return item };
    let mut item = item;
    for (key, text) in
        [(keys::TLS_VERSION, &session.version), (keys::CIPHER, &session.cipher), (keys::PEER, &session.peer)]
    {
        if !text.is_empty() {
            item = item.with(key, Value::Text(text.clone()));
        }
    }
    match &session.staple {
        Some(staple) => item.with(keys::OCSP, Value::Text(staple.revocation.word().to_owned())),
        None => item,
    }
}

fn row(facts: &Facts) -> Vec<(common::report::Key, Value)> {
    vec![
        (keys::SUBJECT, Value::Text(facts.subject.clone())),
        (keys::SERIAL, Value::Text(facts.serial.clone())),
        (keys::NOT_BEFORE, Value::At(judge::stamp(facts.not_before))),
        (keys::NOT_AFTER, Value::At(judge::stamp(facts.not_after))),
    ]
}
