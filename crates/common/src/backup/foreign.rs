//! Backups of others, which have no manifest: judged as far as they can be, by backup-verify, and read by pgrestore-safe.
//!
//! ```text
//! file or directory -> form by its first bytes -> inflate, or pg_restore -f - -> scan -> end marker, counts
//! ```
//!
//! The stream is read to its end, so a damaged or cut file is found; whether rows are missing that were there when it
//! was made, nothing can say.

use super::index::Record;
use super::manifest::{Content, Kind};
use super::scan::Scanner;
use crate::dirfd::Dir;
use crate::hint::Hint as _;
use crate::interrupt;
use crate::pg::client::Clients;
use crate::process::{self, Input, Patient, Program, Running};
use crate::progress::Progress;
use anyhow::{Context as _, Result, anyhow, bail};
use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How much of the stream is looked at for pg_dump's header.
const HEAD: usize = 4096;
/// zstd's own limit for windows, 128 MiB; a frame may ask for 2 GiB.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How long a program may say nothing. pg_restore 15.20 goes round for ever in a tar that ends in the middle of a file.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long it may take to end once its output has.
const GRACE: Duration = Duration::from_secs(60);
const TAR_BLOCK: u64 = 512;

/// What a foreign backup turned out to be.
#[derive(Debug)]
pub struct Judged {
    /// `gzip`, `pg_dump custom format`, …
    pub form: &'static str,
    /// What it holds.
    pub content: Content,
    /// Bytes of the dump.
    pub plain_bytes: u64,
    /// Whether it is of a database or of a whole server.
    pub kind: Kind,
    /// The major version of the pg_dump that made it, where it says so.
    pub client: Option<u32>,
    /// The major version of the server that it came from, where it says so.
    pub server: Option<u32>,
}

/// What a reading meets.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A record, as an index would have it.
    Record(Record),
    /// A statement, or the first 256 KiB of it.
    Statement(&'a [u8]),
}

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
    Custom,
    Tar,
    Directory,
}

impl Form {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [b'P', b'G', b'D', b'M', b'P', ..] => Self::Custom,
            _ if head.get(257..262) == Some(b"ustar") => Self::Tar,
            _ => Self::Plain,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain SQL",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Custom => "pg_dump custom format",
            Self::Tar => "pg_dump tar format",
            Self::Directory => "pg_dump directory format",
        }
    }
}

/// Whether a directory is a dump of `pg_dump -Fd`.
pub fn is_directory_format(path: &Path) -> bool {
    path.join("toc.dat").is_file()
}

/// Reads a foreign backup to its end: the inner error says where it is damaged, cut off, or no dump of pg_dump.
///
/// # Errors
///
/// What keeps us from judging it: a program that is missing or may not read it.
pub fn judge(path: &Path, clients: &Clients, seen: &mut dyn FnMut(Seen<'_>)) -> Result<Result<Judged>> {
    let dump = match Dump::open(path, clients)? {
        Ok(dump) => dump,
        Err(error) => return Ok(Err(error)),
    };
    let form = dump.form;
    match scan(path, dump, seen) {
        Err(error) if form == Form::Directory && is_locked_out(&error) => Err(error)
            .hint("pg_restore does not run as root; let its user read the directory, or name another with --run-as"),
        judged => match form {
            Form::Custom | Form::Tar | Form::Directory => readable(judged, clients),
            Form::Plain | Form::Gzip | Form::Zstd | Form::Bzip2 | Form::Xz => Ok(judged),
        },
    }
}

/// The plain stream of a dump, from its start to its end.
#[derive(Debug)]
pub struct Dump {
    form: Form,
    stream: Stream,
}

impl Dump {
    /// Opens a dump: the inner error says that it is no backup that can be read.
    ///
    /// # Errors
    ///
    /// A program that is missing.
    pub fn open(path: &Path, clients: &Clients) -> Result<Result<Self>> {
        if is_directory_format(path) {
            if let Err(error) = only_regular_files(path) {
                return Ok(Err(error));
            }
            let program = pg_restore(clients)?.arg("--").arg(std::path::absolute(path)?);
            return Ok(Ok(Self { form: Form::Directory, stream: from(program.start(Input::None)?) }));
        }
        match open(path) {
            Ok((form, file)) => Ok(Ok(Self { form, stream: stream(form, file, clients)? })),
            Err(error) => Ok(Err(error)),
        }
    }

    /// What it is called in messages.
    pub fn form(&self) -> &'static str {
        self.form.name()
    }
}

impl Read for Dump {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.reader.read(buffer)
    }
}

/// A dump that this pg_restore is too old for, or was built without a compression for, may be as good as any.
fn readable(judged: Result<Judged>, clients: &Clients) -> Result<Result<Judged>> {
    let Err(error) = judged else { return Ok(judged) };
    let said = format!("{error:#}");
    let told = if said.contains("unsupported version (") {
        "it was made by a newer pg_dump than pg_restore"
    } else if said.contains("not support compression") || said.contains("compression not supported") {
        "it is compressed in a way that was left out of pg_restore"
    } else {
        return Ok(Err(error));
    };
    let version = clients.all("pg_restore")?.first().map(|client| client.version.to_string()).unwrap_or_default();
    Err(error.context(format!("{told} {version}")))
        .hint("install the postgresql-client of the version that made it, or name its directory with --pg-bin")
}

/// Whether pg_restore, as its own user, may not enter the directory; we have seen that toc.dat exists.
fn is_locked_out(error: &anyhow::Error) -> bool {
    let said = format!("{error:#}");
    said.contains("Permission denied") || said.contains("(\"toc.dat\" does not exist)")
}

fn open(path: &Path) -> Result<(Form, File)> {
    let name = path.file_name().and_then(|name| name.to_str()).context("not a file name")?;
    let parent = path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let mut file = Dir::open(parent)?.open_file(name).with_context(|| format!("cannot open {path:?}"))?;
    let mut head = Vec::new();
    (&file).take(512).read_to_end(&mut head).with_context(|| format!("cannot read {path:?}"))?;
    let form = Form::of(&head);
    if form == Form::Tar {
        whole_tar(&mut file).with_context(|| format!("the {} is damaged or cut off", form.name()))?;
    }
    file.seek(SeekFrom::Start(0)).with_context(|| format!("cannot read {path:?}"))?;
    Ok((form, file))
}

/// Walks over the headers of a tar to the empty block at its end, because pg_restore would never come back from less.
fn whole_tar(file: &mut File) -> Result<()> {
    let length = file.metadata()?.len();
    let mut at = 0;
    loop {
        let mut header = [0; TAR_BLOCK as usize];
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut header).with_context(|| format!("no header at byte {at}"))?;
        if header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let size = tar_size(&header[124..136]).with_context(|| format!("no size in the header at byte {at}"))?;
        let blocks = size.div_ceil(TAR_BLOCK).checked_add(1).and_then(|blocks| blocks.checked_mul(TAR_BLOCK));
        let next = blocks.and_then(|bytes| bytes.checked_add(at)).filter(|next| *next <= length);
        at = next.with_context(|| format!("the file that begins at byte {at} ends behind the end"))?;
    }
}

/// A size in octal, or, with the first bit set, in binary: PostgreSQL writes it so from 8 GiB on.
fn tar_size(field: &[u8]) -> Option<u64> {
    if field[0] == 0x80 {
        return Some(u64::from_be_bytes(field[4..12].try_into().ok()?));
    }
    let digits: Vec<u8> = field.iter().copied().filter(|byte| !b" \0".contains(byte)).collect();
    u64::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()
}

/// pg_restore opens the files of a directory by itself, and follows links.
fn only_regular_files(path: &Path) -> Result<()> {
    let dir = Dir::open(path)?;
    for name in dir.names().with_context(|| format!("cannot read directory {path:?}"))? {
        let size = dir.size_of(&name).with_context(|| format!("cannot read {:?}", dir.join(&name)))?;
        size.with_context(|| format!("cannot read {:?}: not a regular file", dir.join(&name)))?;
    }
    Ok(())
}

fn stream(form: Form, file: File, clients: &Clients) -> Result<Stream> {
    Ok(match form {
        Form::Plain => Stream { reader: Box::new(file), child: None },
        Form::Gzip => Stream { reader: Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))), child: None },
        Form::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(file).context("cannot start zstd")?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).context("cannot start zstd")?;
            Stream { reader: Box::new(decoder), child: None }
        }
        Form::Bzip2 => from(unpacker("bzip2", file, clients)?.start(Input::None)?),
        Form::Xz => from(unpacker("xz", file, clients)?.start(Input::None)?),
        Form::Custom | Form::Tar => from(pg_restore(clients)?.stdin(file).start(Input::None)?),
        Form::Directory => bail!("a file cannot be in directory format"),
    })
}

struct Stream {
    reader: Box<dyn Read + Send>,
    child: Option<Running>,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("child", &self.child).finish_non_exhaustive()
    }
}

/// The standard output of a program, whose end must be a good one.
fn from(mut child: Running) -> Stream {
    match child.stdout() {
        Ok(stdout) => Stream { reader: Box::new(Patient::new(stdout, PATIENCE)), child: Some(child) },
        Err(_) => Stream { reader: Box::new(std::io::empty()), child: Some(child) },
    }
}

fn unpacker(name: &str, file: File, clients: &Clients) -> Result<Program> {
    let path = process::find(name).with_context(|| format!("cannot find the program {name}"));
    let program = Program::new(&path.hint(format!("install {name}"))?).args(["-d", "-c"]).stdin(file);
    Ok(match &clients.run_as {
        Some(user) => program.run_as(user),
        None => program,
    })
}

/// pg_restore as a filter: it writes SQL and connects nowhere. Old minors run code of the archive (CVE-2026-116314), and open
/// files outside the directory that a toc.dat names (THREATS R8).
fn pg_restore(clients: &Clients) -> Result<Program> {
    let client = clients.all("pg_restore")?.into_iter().next().context("cannot find the program pg_restore")?;
    if let Some(safe) = client.version.safe_minor() {
        return Err(anyhow!("pg_restore {} has known holes that a hostile archive can use", client.version))
            .hint(format!("update it to {safe} or later"));
    }
    Ok(clients.bare(&client)?.arg("--file=-"))
}

fn scan(path: &Path, dump: Dump, seen: &mut dyn FnMut(Seen<'_>)) -> Result<Judged> {
    let Dump { form, mut stream } = dump;
    let mut head = Vec::new();
    let read = |error: std::io::Error| anyhow!(error).context(format!("the {} is damaged or cut off", form.name()));
    (&mut stream.reader).take(HEAD as u64).read_to_end(&mut head).map_err(read)?;
    let kind = kind_of(&head);
    let mut plain_bytes = 0;
    let scanned = match kind {
        Some(kind) => whole(kind, &head, &mut stream.reader, &mut plain_bytes, path, read, seen),
        None => Err(anyhow!("it does not start as a dump of pg_dump or pg_dumpall does")),
    };
    // A program that failed is the reason for a stream that makes no sense.
    drop(stream.reader);
    if let Some(child) = stream.child {
        match (&scanned, child.finish(Some(GRACE))) {
            (Ok(_), finished) => finished?.success()?,
            (Err(_), Ok(finished)) if !finished.said().is_empty() => finished.success()?,
            // It was still busy with what we have found bad.
            (Err(_), Ok(_) | Err(_)) => {}
        }
    }
    let content = scanned?;
    Ok(Judged {
        form: form.name(),
        content,
        plain_bytes,
        kind: kind.unwrap_or(Kind::Database),
        client: version_in(&head, "-- Dumped by pg_dump version "),
        server: version_in(&head, "-- Dumped from database version "),
    })
}

fn whole(
    kind: Kind,
    head: &[u8],
    reader: &mut dyn Read,
    plain_bytes: &mut u64,
    path: &Path,
    damaged: impl Fn(std::io::Error) -> anyhow::Error,
    seen: &mut dyn FnMut(Seen<'_>),
) -> Result<Content> {
    let statements = Arc::new(Mutex::new(Vec::new()));
    let watched = Arc::clone(&statements);
    let take = || std::mem::take(&mut *statements.lock().unwrap_or_else(PoisonError::into_inner));
    let mut scanner = Scanner::for_foreign(kind)
        .watch(move |text| watched.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_vec()));
    let mut progress = Progress::start(&path.to_string_lossy(), 0);
    let mut buffer = vec![0; 1 << 20];
    let mut piece = head;
    loop {
        interrupt::check()?;
        scanner.feed(piece)?;
        take().iter().for_each(|text| seen(Seen::Statement(text)));
        scanner.records().for_each(|record| seen(Seen::Record(record)));
        *plain_bytes += piece.len() as u64;
        progress.update(scanner.rows(), *plain_bytes);
        let count = match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(damaged(error)),
        };
        piece = &buffer[..count];
    }
    let content = scanner.finish()?;
    scanner.records().for_each(|record| seen(Seen::Record(record)));
    Ok(content)
}

/// Reads the major version of `-- Dumped by pg_dump version 15.20 (Debian …)`.
fn version_in(head: &[u8], start: &str) -> Option<u32> {
    let text = String::from_utf8_lossy(head);
    let rest = text.lines().find_map(|line| line.strip_prefix(start))?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn kind_of(head: &[u8]) -> Option<Kind> {
    let text = String::from_utf8_lossy(head);
    let has = |title: &str| text.lines().any(|line| line == title);
    if has("-- PostgreSQL database cluster dump") {
        Some(Kind::Globals)
    } else if has("-- PostgreSQL database dump") {
        Some(Kind::Database)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_known_by_its_first_bytes() {
        assert_eq!(Form::of(b"PGDMP\x01"), Form::Custom);
        assert_eq!(Form::of(b"BZh9"), Form::Bzip2);
        assert_eq!(Form::of(b"--\n-- Postgre"), Form::Plain);
        assert_eq!(Form::of(b""), Form::Plain);
    }

    #[test]
    fn the_size_of_a_file_in_a_tar_is_octal_or_binary() {
        assert_eq!(tar_size(b"00000000017\0"), Some(15));
        assert_eq!(tar_size(b"\x80\0\0\0\0\0\0\x02\0\0\0\0"), Some(8 << 30));
        assert_eq!(tar_size(b"9\0\0\0\0\0\0\0\0\0\0\0"), None);
    }

    #[test]
    fn a_dump_says_which_pg_dump_made_it() {
        let of = |head: &[u8]| version_in(head, "-- Dumped by pg_dump version ");

        assert_eq!(of(b"--\n-- Dumped by pg_dump version 15.20 (Debian)\n"), Some(15));
        assert_eq!(of(b"-- Dumped by pg_dump version 19beta1"), Some(19));
        assert_eq!(of(b"-- something"), None);
    }

    #[test]
    fn a_title_in_the_middle_of_a_line_is_none() {
        assert_eq!(kind_of(b"--\n-- PostgreSQL database dump\n--\n"), Some(Kind::Database));
        assert_eq!(kind_of(b"INSERT INTO t VALUES ('-- PostgreSQL database dump')"), None);
    }
}
