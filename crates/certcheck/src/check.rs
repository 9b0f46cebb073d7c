//! Gathers the evidence of each target, and makes its items.

use crate::fetch::{self, Served};
use crate::inspect::{self, Facts};
use crate::item;
use crate::judge::{Evidence, Finding, Limits, Session, Trusted};
use crate::name::Host;
use crate::ocsp;
use crate::pair::{self, Pair};
use crate::pem::{PrivateKey, Sections};
use crate::store::{self, Held, Origin};
use crate::target::{Endpoint, Settings, Target, Trust, What};
use crate::verify::{self, NotFor, Roots, Untrusted};
use crate::{Wanted, judge};
use anyhow::{Context as _, Result, anyhow};
use common::report::{Item, Value};
use common::status::Status;
use common::{dirfd, hint, interrupt};
use rustls::pki_types::CertificateDer;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How targets are checked in this run.
pub struct Check {
    /// What is trusted; `None` where no target asks for it.
    pub roots: Option<Roots>,
    /// Seconds since 1970.
    pub now: i64,
}

/// One piece of work.
#[derive(Debug)]
pub enum Job {
    /// Somebody else has found what is to be said.
    Said(Item),
    /// Ask a server.
    Endpoint(Target, Endpoint),
    /// Read a file.
    File(PathBuf, Origin, Settings),
    /// Say that nothing was found for a target, where all jobs before it back to the target's first say nothing.
    Else(Item, usize),
}

impl Job {
    /// What the report calls it.
    pub fn subject(&self) -> String {
        match self {
            Self::Said(item) | Self::Else(item, _) => item.subject.clone(),
            Self::Endpoint(target, _) => target.shown.clone(),
            Self::File(path, _, _) => dirfd::shown(path),
        }
    }
}

/// Whether a target asks for roots.
pub fn needs_roots(target: &Target) -> bool {
    match target.what {
        What::Endpoint(_) => target.settings.trust != Some(Trust::No),
        What::Path(_) => target.settings.trust == Some(Trust::Yes),
    }
}

impl Check {
    /// The work that the targets stand for, in their order.
    pub fn jobs(&self, wanted: Vec<Wanted>) -> Vec<Job> {
        let mut jobs = Vec::new();
        for wanted in wanted {
            match wanted {
                Err(item) => jobs.push(Job::Said(*item)),
                Ok(target) => match target.what.clone() {
                    What::Endpoint(endpoint) => jobs.push(Job::Endpoint(target, endpoint)),
                    What::Path(path) => jobs.extend(files(&path, &target)),
                },
            }
        }
        jobs
    }

    /// Does one piece of work.
    pub fn job(&self, job: &Job) -> Vec<Item> {
        match job {
            Job::Said(item) => vec![item.clone()],
            Job::Else(..) => Vec::new(),
            Job::Endpoint(target, endpoint) => {
                let checked = self.endpoint(target, endpoint);
                vec![checked.unwrap_or_else(|error| failed(target.shown.clone(), &error))]
            }
            Job::File(path, origin, settings) => self.file(path, *origin, settings),
        }
    }

    fn endpoint(&self, target: &Target, endpoint: &Endpoint) -> Result<Item> {
        let settings = &target.settings;
        let served = fetch::fetch(endpoint, settings, Instant::now() + settings.timeout)?;
        let chain = inspect::all(served.certs.iter().map(|cert| cert.as_ref()))?;
        let asks = settings.trust != Some(Trust::No);
        let host = settings.host.as_ref().or_else(|| endpoint.host());
        let kind = if endpoint.starttls.is_some() { "starttls" } else { "tls" };
        let mut evidence = self.evidence(chain, asks, host);
        evidence.served = Some(session(&served));
        Ok(item::of(target.shown.clone(), kind, &evidence, self.now, &limits(settings)))
    }

    fn evidence(&self, chain: Vec<Facts>, asks: bool, host: Option<&Host>) -> Evidence {
        let trust =
            self.roots.as_ref().filter(|_| asks && !chain.is_empty()).map(|roots| trusted(roots, &chain, self.now));
        let leaf = chain.first();
        let host = host.zip(leaf).map(|(host, leaf)| (host.clone(), verify::host(&leaf.der, host)));
        Evidence { chain, trust, host, served: None, more: Vec::new() }
    }

    fn file(&self, path: &Path, origin: Origin, settings: &Settings) -> Vec<Item> {
        let subject = dirfd::shown(path);
        match store::read(path, settings.password_file.as_deref()) {
            Err(error) => vec![failed(subject, &error)],
            Ok(Held::Acme { entries, mode }) => {
                let open = open_to_others(mode, "it holds private keys, and");
                let items = entries.into_iter().map(|entry| {
                    let subject = format!("{subject}: {}", entry.domain);
                    let item =
                        entry.sections.and_then(|held| self.bundle(&subject, "acme", held, settings, open.clone()));
                    item.unwrap_or_else(|error| failed(subject, &error))
                });
                let items: Vec<_> = items.collect();
                match items.is_empty() {
                    true => vec![Item::new(subject, Status::Unknown, "it holds no certificate yet")],
                    false => items,
                }
            }
            // A directory holds keys and parameters, too.
            Ok(Held::Bundle { sections, .. }) if sections.certs.is_empty() && origin == Origin::Found => {
                common::info!("{subject} holds no certificate");
                Vec::new()
            }
            Ok(Held::Bundle { kind, sections, mode }) => {
                let more = match sections.keys.is_empty() {
                    true => self.key_file(path, &sections, settings),
                    false => open_to_others(mode, "it holds a private key, and").into_iter().collect(),
                };
                let item = self.bundle(&subject, kind, sections, settings, more);
                vec![item.unwrap_or_else(|error| failed(subject, &error))]
            }
        }
    }

    fn bundle(
        &self,
        subject: &str,
        kind: item::Kind,
        held: Sections,
        settings: &Settings,
        more: impl IntoIterator<Item = Finding>,
    ) -> Result<Item> {
        let chain = inspect::all(held.certs.iter().map(Vec::as_slice))?;
        let asks = settings.trust == Some(Trust::Yes);
        let leaf = chain.first().context("it holds no certificate")?.clone();
        let mut evidence = self.evidence(chain, asks, settings.host.as_ref().filter(|_| settings.served_by.is_none()));
        evidence.more.extend(more);
        evidence.more.extend(held.keys.first().and_then(|key| mismatch(key, &leaf, "the private key in it")));
        if let Some(endpoint) = &settings.served_by {
            evidence.more.extend(self.served_by(&leaf, endpoint, settings));
        }
        Ok(item::of(subject.to_owned(), kind, &evidence, self.now, &limits(settings)))
    }

    /// What is wrong with the private key beside a file of certificates.
    fn key_file(&self, path: &Path, sections: &Sections, settings: &Settings) -> Vec<Finding> {
        let beside = || store::key_beside(path).filter(|_| !sections.certs.is_empty());
        let (key_path, is_named) = match &settings.key {
            Some(path) => (path.clone(), true),
            None => match beside() {
                Some(path) => (path, false),
                None => return Vec::new(),
            },
        };
        let shown = dirfd::shown(&key_path);
        let (held, mode) = match store::read_key(&key_path) {
            Ok(read) => read,
            // The certificate is what we were asked about; that its key may not be read is as it should be.
            Err(error) if !is_named && is_denied(&error) => return Vec::new(),
            Err(error) => return vec![Finding::new(Status::Unknown, format!("its key: {error:#}"))],
        };
        let leaf = sections.certs.first().and_then(|der| Facts::read(der).ok());
        let open = open_to_others(mode, &format!("its private key {shown}"));
        let mismatch = held
            .keys
            .first()
            .zip(leaf)
            .and_then(|(key, leaf)| mismatch(key, &leaf, &format!("the private key {shown}")));
        open.into_iter().chain(mismatch).collect()
    }

    /// What is wrong with how a file's certificate is served.
    fn served_by(&self, leaf: &Facts, endpoint: &Endpoint, settings: &Settings) -> Option<Finding> {
        let name = served_name(endpoint);
        let unreachable = |error: anyhow::Error| Finding::new(Status::Critical, format!("served by {name}: {error:#}"));
        let served = match fetch::fetch(endpoint, settings, Instant::now() + settings.timeout) {
            Ok(served) => served,
            Err(error) => return Some(unreachable(error)),
        };
        let first = served.certs.first()?;
        if *first == leaf.der {
            return None;
        }
        let other = match Facts::read(first) {
            Ok(other) => other,
            Err(error) => return Some(unreachable(error.context("the certificate is damaged"))),
        };
        let when = judge::when(&other, self.now);
        if other.not_before > leaf.not_before {
            let text = format!("{name} serves a newer one than is on disk ({when})");
            return Some(Finding::new(Status::Warning, text));
        }
        let limits = limits(settings);
        let status = limits.status(other.not_after.saturating_sub(self.now), other.lifetime()).max(Status::Warning);
        let text = format!("{name} still serves another one ({} by {}, {when})", other.name, other.issuer_name);
        Some(Finding::new(status, text).hint("tell the server to read its certificates again: systemctl reload"))
    }
}

fn served_name(endpoint: &Endpoint) -> String {
    match &endpoint.address {
        crate::target::Address::Tcp(host, port) => format!("{host}:{port}"),
        crate::target::Address::Unix(path) => dirfd::shown(path),
    }
}

fn files(path: &Path, target: &Target) -> Vec<Job> {
    let file = |origin| move |path: PathBuf| Job::File(path, origin, target.settings.clone());
    match store::files(path) {
        Ok((files, origin)) => {
            let mut jobs: Vec<_> = files.into_iter().map(file(origin)).collect();
            let nothing = Item::new(target.shown.clone(), Status::Unknown, "no file in it holds a certificate");
            jobs.push(Job::Else(nothing, jobs.len()));
            jobs
        }
        Err(error) => vec![Job::Said(failed(target.shown.clone(), &error))],
    }
}

fn limits(settings: &Settings) -> Limits {
    Limits { warning: settings.warning, critical: settings.critical }
}

fn session(served: &Served) -> Session {
    Session {
        version: served.version.clone(),
        cipher: served.cipher.clone(),
        is_legacy: served.is_legacy,
        possession: served.possession.clone(),
        staple: ocsp::read(&served.ocsp),
        peer: served.peer.clone(),
    }
}

fn trusted(roots: &Roots, chain: &[Facts], now: i64) -> Trusted {
    let leaf = &chain[0];
    let others: Vec<CertificateDer<'_>> = chain.iter().skip(1).map(|facts| facts.der.clone()).collect();
    let at = |time| verify::path(roots, &leaf.der, &others, time);
    let found = at(now);
    let is_leaf_out_of_date = now < leaf.not_before || now > leaf.not_after;
    // An expired certificate may also be untrusted, and that is another repair.
    let but_for_dates = match (&found, is_leaf_out_of_date) {
        (Err(Untrusted::Dates), true) => Some(at(now.clamp(leaf.not_before, leaf.not_after.saturating_sub(1)))),
        _ => None,
    };
    Trusted { now: found, but_for_dates }
}

/// A private key that everybody can read; a group such as ssl-cert is fine.
fn open_to_others(mode: u32, what: &str) -> Option<Finding> {
    (mode & 0o007 != 0).then(|| {
        let text = format!("{what} is open to every user (mode {mode:04o})");
        Finding::new(Status::Warning, text).hint("take it from them: chmod o= FILE")
    })
}

fn mismatch(key: &PrivateKey, leaf: &Facts, what: &str) -> Option<Finding> {
    match pair::compare(key, &leaf.raw.spki) {
        Pair::Match => None,
        Pair::Mismatch => Some(
            Finding::new(Status::Critical, format!("{what} belongs to another certificate"))
                .hint("a server that reads both will not start"),
        ),
        Pair::Unknown => {
            common::info!("{what} does not say whether it belongs to the certificate");
            None
        }
    }
}

/// An item for what cannot be had; what we may not read is no finding about it.
fn failed(subject: String, error: &anyhow::Error) -> Item {
    let status = if is_denied(error) { Status::Unknown } else { Status::Critical };
    Item::failed(subject, status, error)
}

fn is_denied(error: &anyhow::Error) -> bool {
    hint::find::<std::io::Error>(error).is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied)
}

/// `--verify`: the item of one leaf.
pub fn verdict(subject: String, roots: Result<Roots>, certs: &[Vec<u8>], host: Option<&Host>, now: i64) -> Item {
    match trusted_for(roots, certs, host, now) {
        Ok(root) => {
            let message = format!("it is trusted, by the root {root:?}");
            Item::new(subject, Status::Ok, message).with(crate::keys::VERIFIED, Value::Flag(true))
        }
        Err(error) => Item::failed(subject, Status::Critical, &error).with(crate::keys::VERIFIED, Value::Flag(false)),
    }
}

fn trusted_for(roots: Result<Roots>, certs: &[Vec<u8>], host: Option<&Host>, now: i64) -> Result<String> {
    let roots = roots?;
    let ders: Vec<CertificateDer<'_>> = certs.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (leaf, others) = ders.split_first().context("it holds no certificate")?;
    let path = verify::path(&roots, leaf, others, now).map_err(|why| match why {
        Untrusted::Dates => anyhow!("it is not trusted: a certificate of the chain is expired or not yet valid"),
        Untrusted::UnknownIssuer => anyhow!("it is not trusted: no root is behind it"),
        Untrusted::Because(why) => anyhow!("it is not trusted: {why}"),
    })?;
    if let Some(host) = host {
        verify::host(leaf, host).map_err(|why| match why {
            NotFor::Others => anyhow!("it is not for {host}"),
            NotFor::Unclear(why) => anyhow!("whether it is for {host} cannot be told: {why}"),
        })?;
    }
    interrupt::check()?;
    Ok(path.root.name)
}
