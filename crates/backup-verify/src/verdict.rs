//! Keeps the result of a check beside the backup, for retention and for whoever asks how long ago it was proven.

use crate::cli::Depth;
use anyhow::{Context as _, Result};
use common::backup::catalog::{MANIFEST, VERIFIED, Verified};
use common::backup::found::Found;
use common::publish::{self, Partial};
use common::status::Status;
use common::units::Stamp;

/// What a deeper check has said against the very bytes that the manifest names.
///
/// Nothing that looks less deep can clear them.
pub fn against(found: &Found, depth: Depth) -> Option<Verified> {
    let verdict = Verified::read(&found.dir, &found.manifest.label)?;
    let is_deeper = rank(&verdict.depth) > rank(depth.word());
    (is_deeper && verdict.condemns(&found.manifest.archive.stored_sha256)).then_some(verdict)
}

/// Writes `LABEL.verified.json`, unless this is good news and a deeper check has spoken of the same bytes.
///
/// A place that may not be written to is no trouble of the backup: it is said with `-v`.
pub fn keep(found: &Found, depth: Depth, status: Status, at: Stamp) {
    if depth == Depth::List {
        return;
    }
    if let Err(error) = write(found, depth, status, at) {
        common::info!("the verdict is not kept: {error:#}");
    }
}

/// Takes back what was said against a backup that is about to be proven anew: pgrestore-safe would not touch it.
///
/// # Errors
///
/// "cannot remove …".
pub fn withdraw(found: &Found) -> Result<Option<Verified>> {
    let name = found.name(VERIFIED);
    let verdict = Verified::read(&found.dir, &found.manifest.label)
        .filter(|verdict| verdict.condemns(&found.manifest.archive.stored_sha256));
    if verdict.is_some() {
        found.dir.remove(&name).with_context(|| format!("cannot remove {:?}", found.dir.join(&name)))?;
    }
    Ok(verdict)
}

/// Says again what was taken back, where nothing new came of it.
pub fn put_back(found: &Found, verdict: Option<Verified>) {
    if let Some(verdict) = verdict
        && let Err(error) = replace(found, &verdict)
    {
        common::warn!("what was found against {} is no longer recorded: {error:#}", found.manifest.label);
    }
}

fn write(found: &Found, depth: Depth, status: Status, at: Stamp) -> Result<()> {
    let stored_sha256 = &found.manifest.archive.stored_sha256;
    let before =
        Verified::read(&found.dir, &found.manifest.label).filter(|before| before.stored_sha256 == *stored_sha256);
    if status == Status::Ok && before.is_some_and(|before| rank(&before.depth) > rank(depth.word())) {
        return Ok(());
    }
    let verdict = Verified {
        at,
        depth: depth.word().to_owned(),
        status: status.word().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        stored_sha256: stored_sha256.clone(),
    };
    replace(found, &verdict)
}

fn replace(found: &Found, verdict: &Verified) -> Result<()> {
    let name = found.name(VERIFIED);
    let document = serde_json::to_string_pretty(verdict).context("cannot write the verdict")?;
    // What another check that was killed left under this name.
    let partial = publish::partial_name(&name);
    let act = |name: &str| format!("cannot remove {:?}", found.dir.join(name));
    found.dir.remove(&partial).with_context(|| act(&partial))?;
    let mut file = Partial::create(&found.dir, &name)?;
    file.write(format!("{document}\n").as_bytes())?;
    file.sync()?;
    file.commit()?;
    // Expired in the meantime: nobody would ever remove a verdict about nothing.
    if found.dir.size_of(&found.name(MANIFEST)).is_ok_and(|manifest| manifest.is_none()) {
        found.dir.remove(&name).with_context(|| act(&name))?;
    }
    found.dir.sync().with_context(|| format!("cannot write directory {:?}", found.dir.path()))
}

/// How deep a verdict's word goes; one that a later version writes goes deeper than all we know.
fn rank(depth: &str) -> u8 {
    let known =
        [Depth::List, Depth::Stored, Depth::Content, Depth::Restored].into_iter().find(|known| known.word() == depth);
    match known {
        Some(Depth::List) => 0,
        Some(Depth::Stored) => 1,
        Some(Depth::Content) => 2,
        Some(Depth::Restored) | None => 3,
    }
}
