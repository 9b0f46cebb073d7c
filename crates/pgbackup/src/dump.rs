//! One streaming pass: dump -> scan -> compress -> hash -> partial files -> verdict -> names.
//!
//! Nothing has its final name before the verdict, and the manifest gets its own last. Killed at any instant, a run leaves
//! hidden files that the next run sweeps, and no backup.

use crate::cli::Compress;
use crate::stdin::Stdin;
use anyhow::{Context as _, Result, anyhow};
use common::backup::archive::{self, Codec, Totals};
use common::backup::catalog::{INDEX, MANIFEST, SHA256, archive_end};
use common::backup::index::{MEMBERS_PER_LINE, Member, Record};
use common::backup::label::Label;
use common::backup::manifest::{self, Content, FORMAT, Kind, Lineage, Manifest};
use common::backup::scan::Scanner;
use common::dirfd::Dir;
use common::hint::Hint as _;
use common::pg::advice;
use common::pg::client::PINNED;
use common::process::Running;
use common::progress::Progress;
use common::publish::{Partial, partial_name};
use common::units::Stamp;
use common::{failpoint, interrupt};
use std::io::{BufWriter, Read, Write};
use std::time::SystemTime;

/// What is dumped, and what the manifest says about it beside the digests.
#[derive(Debug)]
pub struct Plan {
    /// What it is.
    pub kind: Kind,
    /// The database or stream.
    pub subject: String,
    /// `--name`.
    pub name: Option<String>,
    /// The server.
    pub source: Option<manifest::Source>,
    /// The program.
    pub client: Option<manifest::Client>,
    /// Codec and level.
    pub compress: Compress,
    /// Cores.
    pub threads: usize,
    /// Rows expected, for the bar.
    pub expected_rows: u64,
    /// What a reader of the manifest should know.
    pub notes: Vec<String>,
    /// What the operator should know; recorded with the notes.
    pub warnings: Vec<String>,
}

/// Where the stream comes from.
pub enum Input {
    /// A client program's standard output.
    Child(Running),
    /// Our standard input.
    Stdin,
}

/// What the pass found.
#[derive(Debug)]
pub struct Pass {
    /// Sizes and digests.
    pub totals: Totals,
    /// The members of the archive.
    members: Vec<Member>,
    /// What the dump held, unless this is a stream.
    pub content: Option<Content>,
    /// What a program that succeeded said on standard error.
    said: Vec<String>,
}

/// Runs the pass into a directory and gives the files their names.
///
/// `lineage` judges the result before it is published.
///
/// # Errors
///
/// What went wrong first; no file with a final name is left.
pub fn to_directory(
    dir: &Dir,
    label: &Label,
    plan: Plan,
    input: Input,
    lineage: impl FnOnce(&Pass) -> Lineage,
) -> Result<Manifest> {
    let started_at = label.stamp;
    let archive_name = format!("{label}{}", archive_end(plan.kind, plan.compress.codec));
    let archive_file = Partial::create(dir, &archive_name)?;
    let mut index_file = Partial::create(dir, &format!("{label}{INDEX}"))?;
    failpoint!("files-created")?;

    let mut index = BufWriter::new(index_file.file());
    let index_name = dir.join(&partial_name(&format!("{label}{INDEX}")));
    let mut put = |record: &Record| {
        index.write_all(record.line().as_bytes()).with_context(|| format!("cannot write {index_name:?}"))
    };
    let sink_name = format!("{:?}", dir.join(&partial_name(&archive_name)));
    let pass = run(&plan, input, (archive_file.file(), &sink_name), &mut put)
        .with_context(|| format!("no backup was made in {:?}", dir.path()))?;
    for chunk in pass.members.chunks(MEMBERS_PER_LINE) {
        put(&Record::Members(chunk.to_vec()))?;
    }
    index.flush().with_context(|| format!("cannot write {index_name:?}"))?;
    drop(index);
    failpoint!("dump-proven")?;

    archive_file.sync()?;
    index_file.sync()?;
    let index = digest_of(&mut index_file)?;
    let lineage = lineage(&pass);
    let manifest = Manifest {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        label: label.to_string(),
        kind: plan.kind,
        name: plan.name,
        subject: plan.subject,
        source: plan.source,
        client: plan.client,
        started_at,
        finished_at: Stamp::from(SystemTime::now()),
        settings: match plan.kind {
            Kind::Database | Kind::Globals => PINNED.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            Kind::Stream => Default::default(),
        },
        archive: manifest::Archive {
            codec: plan.compress.codec,
            level: plan.compress.level,
            members: pass.members.len() as u64,
            stored_bytes: pass.totals.stored_bytes,
            stored_sha256: pass.totals.stored_sha256,
            plain_bytes: pass.totals.plain_bytes,
            plain_sha256: pass.totals.plain_sha256,
        },
        index,
        lineage,
        content: pass.content,
        notes: [plan.notes, plan.warnings, pass.said].concat(),
    };
    publish(dir, label, &manifest, archive_file, index_file)?;
    Ok(manifest)
}

/// Runs the pass into standard output. Where it fails, the stream ends in a cut-off member, so that no reader takes it
/// for whole.
///
/// # Errors
///
/// What went wrong first.
pub fn to_stdout(plan: &Plan, input: Input) -> Result<()> {
    let sink = std::io::stdout();
    let result = run(plan, input, (&sink, "standard output"), &mut |_| Ok(()));
    if result.is_err() {
        let start: &[u8] = match plan.compress.codec {
            Codec::Gzip => &[0x1f, 0x8b, 8, 0],
            Codec::Zstd => &[0x28, 0xb5, 0x2f, 0xfd],
            Codec::None => &[],
        };
        // The reader may be gone, which is then the error that we report anyway.
        drop((&sink).write_all(start).and_then(|()| (&sink).flush()));
    }
    result.map(|_| ())
}

fn run(
    plan: &Plan,
    input: Input,
    sink: (impl Write + Send, &str),
    put: &mut impl FnMut(&Record) -> Result<()>,
) -> Result<Pass> {
    let mut scanner = (plan.kind != Kind::Stream).then(|| Scanner::new(plan.kind));
    let mut progress = Progress::start(&plan.subject, plan.expected_rows);
    let mut bytes = 0;
    let mut look = |piece: &[u8]| {
        interrupt::check()?;
        bytes += piece.len() as u64;
        if let Some(scanner) = &mut scanner {
            scanner.feed(piece).context("the dump is not what pg_dump writes")?;
            scanner.records().try_for_each(|record| put(&record))?;
        }
        progress.update(scanner.as_ref().map_or(0, Scanner::rows), bytes);
        failpoint!("dump-running")?;
        Ok(())
    };
    let Compress { codec, level } = plan.compress;
    let mut said = Vec::new();
    let written = match input {
        Input::Stdin => archive::write(codec, level, plan.threads, Stdin::new(), sink, &mut look),
        Input::Child(mut child) => {
            let stdout = child.stdout()?;
            let written =
                widen(stdout).and_then(|stdout| archive::write(codec, level, plan.threads, stdout, sink, &mut look));
            // A child that failed is the reason for a stream that ends early; an error of our own is the reason why the
            // child could not go on.
            match written {
                Ok(written) => {
                    let finished = child.finish(None)?;
                    said.extend(remark(plan, &finished.said()));
                    advice::success(&finished).map(|()| written)
                }
                Err(error) => Err(error),
            }
        }
    };
    interrupt::check()?;
    let (totals, members) = written?;
    let content = match &mut scanner {
        None => None,
        Some(scanner) => {
            let content = scanner.finish()?;
            scanner.records().try_for_each(|record| put(&record))?;
            Some(content)
        }
    };
    if plan.kind == Kind::Stream && totals.plain_bytes == 0 {
        return Err(anyhow!("standard input was empty"))
            .hint("did the program in front of the pipe fail? bash says so with: set -o pipefail");
    }
    Ok(Pass { totals, members, content, said })
}

/// What a program that did its work still wanted to say: a collation that changed, a table it could not lock at once.
fn remark(plan: &Plan, said: &str) -> Option<String> {
    if said.is_empty() {
        return None;
    }
    let program = plan.client.as_ref()?.program.as_str();
    common::info!("{program} says: {said}");
    Some(format!("{program} said: {}", common::text::line(said)))
}

/// A pipe of a MiB instead of 64 KiB: fewer changes between pg_dump and us.
fn widen(stdout: std::process::ChildStdout) -> Result<impl Read> {
    if let Err(error) = rustix::pipe::fcntl_setpipe_size(&stdout, archive::MEMBER) {
        common::debug!("cannot widen the pipe: {error}");
    }
    Ok(stdout)
}

fn digest_of(file: &mut Partial<'_>) -> Result<manifest::File> {
    use std::io::{Seek as _, SeekFrom};
    let mut handle = file.file();
    let act = "cannot read the index back";
    handle.seek(SeekFrom::Start(0)).context(act)?;
    let (bytes, sha256) = common::backup::sha256_of(handle).context(act)?;
    Ok(manifest::File { bytes, sha256 })
}

/// Gives the files their names. The partial manifest is there before the first of them, and tells the next run's sweep
/// whose they are; its own renaming is the commit.
fn publish(dir: &Dir, label: &Label, manifest: &Manifest, archive: Partial<'_>, index: Partial<'_>) -> Result<()> {
    let name = |end: &str| format!("{label}{end}");
    let bytes = manifest.to_bytes();
    let lines = [
        (&manifest.archive.stored_sha256, name(&archive_end(manifest.kind, manifest.archive.codec))),
        (&manifest.index.sha256, name(INDEX)),
        (&common::backup::sha256(&bytes), name(MANIFEST)),
    ];
    let mut sums = Partial::create(dir, &name(SHA256))?;
    for (digest, file) in lines {
        sums.write(format!("{digest}  {file}\n").as_bytes())?;
    }
    sums.sync()?;
    let mut commit = Partial::create(dir, &name(MANIFEST))?;
    commit.write(&bytes)?;
    commit.sync()?;
    let sync = || dir.sync().with_context(|| format!("cannot write directory {:?}", dir.path()));
    sync()?;
    failpoint!("manifest-written")?;

    let named = (|| {
        archive.commit()?;
        failpoint!("archive-named")?;
        index.commit()?;
        failpoint!("index-named")?;
        sums.commit()?;
        sync()?;
        failpoint!("all-but-manifest-named")?;
        commit.rename()
    })();
    if let Err(error) = named {
        // Files may have final names already; only the sweep knows how to take them back in the right order, and by the
        // partial manifest, which the next run needs too if this sweep fails.
        std::mem::forget(commit);
        if let Err(also) = common::backup::catalog::sweep(dir, &label.prefix) {
            common::warn!("the next run has to sweep: {also:#}");
        }
        return Err(error);
    }
    sync()?;
    failpoint!("manifest-named")?;
    Ok(())
}
