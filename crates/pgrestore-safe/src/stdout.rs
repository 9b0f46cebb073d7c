//! `--stdout`: the plain stream of a backup, verified as it flows. Its end comes last.

use crate::cli::Cli;
use crate::select;
use anyhow::{Context as _, Result, anyhow, ensure};
use common::backup::archive;
use common::backup::found::Found;
use common::backup::stored;
use common::hint::Hint as _;
use common::report::{Item, Key, Value};
use common::status::Status;
use common::units;
use std::io::Write;
use std::time::Instant;

const PLAIN: Key = Key::new("plain_bytes", "Size of the stream");

/// Writes the stream that the options name.
///
/// # Errors
///
/// Where there is no such backup; what is damaged is an item, because bytes may have been written then.
pub fn run(cli: &Cli) -> Result<Item> {
    let name = cli.backup.as_deref().unwrap_or_default();
    if name == "latest" {
        return Err(anyhow!("--stdout takes a path or a label, not `latest`"))
            .hint("see what there is: backup-verify --depth list --every DIR");
    }
    let found = select::named(cli, name)?;
    stored::check_small(&found).with_context(|| format!("cannot restore from {}", found.manifest.label))?;
    let began = Instant::now();
    let written = write(&found, cli.jobs(), &mut std::io::stdout());
    Ok(match written {
        Ok(bytes) => {
            let message = format!("{} written in {}", units::size(bytes), units::duration(began.elapsed()));
            Item::new(&found.manifest.label, Status::Ok, message).with(PLAIN, Value::Bytes(bytes))
        }
        Err(error) => Item::failed(&found.manifest.label, Status::Critical, &error),
    })
}

/// Holds the last member back until all was found to be what was recorded: a reader of a damaged backup sees a stream
/// that is cut off, never one that is whole and wrong.
fn write(found: &Found, threads: usize, sink: &mut (impl Write + Send)) -> Result<u64> {
    let recorded = &found.manifest.archive;
    let (members, end) = found.members()?;
    let mut held = Vec::new();
    let mut put = |bytes: &[u8]| sink.write_all(bytes).context("cannot write standard output");
    let read = archive::read(recorded.codec, threads, found.open_archive()?, members, |piece| {
        common::interrupt::check()?;
        put(&held)?;
        held.clear();
        held.extend_from_slice(piece);
        common::failpoint!("stream-running")?;
        Ok(())
    });
    end.failure()?;
    let totals = read?;
    ensure!(end.left() == 0, "the index lists {} members too few", end.left());
    stored::compare(
        "the archive",
        (totals.stored_bytes, &totals.stored_sha256),
        (recorded.stored_bytes, &recorded.stored_sha256),
    )?;
    let plain = (totals.plain_bytes, totals.plain_sha256.as_str());
    stored::compare("the stream", plain, (recorded.plain_bytes, &recorded.plain_sha256))?;
    put(&held)?;
    sink.flush().context("cannot write standard output")?;
    Ok(totals.plain_bytes)
}
