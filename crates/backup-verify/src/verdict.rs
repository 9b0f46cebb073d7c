//! Keeps the result of a check beside the backup, for retention and for whoever asks how long ago it was proven.

use crate::cli::Depth;
use crate::found::Found;
use anyhow::{Context as _, Result};
use common::backup::catalog::{VERIFIED, Verified};
use common::publish::{self, Partial};
use common::status::Status;
use common::units::Stamp;

/// The largest verdict that is read.
const LIMIT: u64 = 64 * 1024;

/// Writes `LABEL.verified.json`, unless a deeper check has said OK of the same bytes and this one has nothing against it.
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

fn write(found: &Found, depth: Depth, status: Status, at: Stamp) -> Result<()> {
    let name = found.name(VERIFIED);
    let stored_sha256 = &found.manifest.archive.stored_sha256;
    let before = found.dir.read(&name, LIMIT).ok().and_then(|bytes| serde_json::from_slice::<Verified>(&bytes).ok());
    if status == Status::Ok && depth < Depth::Content && before.is_some_and(|before| before.proves(stored_sha256)) {
        return Ok(());
    }
    let verdict = Verified {
        at,
        depth: depth.word().to_owned(),
        status: status.word().to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        stored_sha256: stored_sha256.clone(),
    };
    let document = serde_json::to_string_pretty(&verdict).context("cannot write the verdict")?;
    // What another check that was killed left under this name.
    let partial = publish::partial_name(&name);
    found.dir.remove(&partial).with_context(|| format!("cannot remove {:?}", found.dir.join(&partial)))?;
    let mut file = Partial::create(&found.dir, &name)?;
    file.write(format!("{document}\n").as_bytes())?;
    file.sync()?;
    file.commit()?;
    found.dir.sync().with_context(|| format!("cannot write directory {:?}", found.dir.path()))
}
