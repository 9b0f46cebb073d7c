//! Compression: in process on all cores, or by the program that the configuration names.
//!
//! ```text
//! NAME -> .NAME.gz.partial -> fsync -> NAME.gz -> NAME is removed
//! ```
//!
//! So a name that ends in .gz is always a whole file, whenever we are killed and however full the disk is.

use crate::child;
use crate::config::{Compressor, Rules};
use crate::error;
use crate::message::{Told, shown, why};
use crate::run::{self, Run};
use crate::site::{self, Access, Acl, Dir, Hardlinks};
use jiff::Zoned;
use rustix::fs::Stat;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Plain bytes of a gzip member or a zstd frame: large enough to compress as well as a whole, small enough for memory.
const BLOCK: usize = 1 << 20;
/// The level of libdeflate that takes the place of gzip's default, 6: logs become smaller by it (by 2 to 4 %, source code
/// larger by 1 %), in two fifths of the time.
const AS_GZIP_6: i32 = 5;

/// What compresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// gzip members, by libdeflate.
    Gzip(i32),
    /// zstd frames.
    Zstd(i32),
    /// A program that reads standard input and writes standard output.
    Program(PathBuf, Vec<OsString>),
}

impl Method {
    /// In process where the configuration names no path and asks for nothing that only the program can do.
    pub fn of(compressor: &Compressor) -> Self {
        let command = compressor.command.clone().unwrap_or_else(|| "gzip".into());
        let level = |most| level(&compressor.options, most);
        match (command.as_os_str().as_bytes(), level(9), level(19)) {
            (b"gzip", Some(level), _) => Self::Gzip(level.unwrap_or(6)),
            (b"zstd", _, Some(level)) => Self::Zstd(level.unwrap_or(3)),
            _ => Self::Program(command, compressor.options.clone()),
        }
    }

    fn shown(&self) -> String {
        match self {
            Self::Gzip(level) => format!("gzip -{level} (in process)"),
            Self::Zstd(level) => format!("zstd -{level} (in process)"),
            Self::Program(path, _) => shown(path).to_string(),
        }
    }
}

/// The level that options ask for, if they ask for one; `None` where they ask for more than that.
fn level(options: &[OsString], most: i32) -> Option<Option<i32>> {
    let mut level = None;
    for option in options {
        match option.to_str()? {
            "--fast" => level = Some(1),
            "--best" => level = Some(9),
            "-n" | "--no-name" | "-q" | "--quiet" | "-f" | "--force" | "-c" | "--stdout" | "-T0" | "--threads=0" => {}
            other => {
                let number: i32 = other.strip_prefix('-')?.parse().ok()?;
                level = Some(Some(number).filter(|number| (1..=most).contains(number))?);
            }
        }
    }
    Some(level)
}

/// The name under which a file is written.
pub fn partial(name: &OsStr) -> OsString {
    OsString::from_vec([b".", name.as_bytes(), b".partial"].concat())
}

/// What compression needs to know of a stanza; several threads may.
pub struct Press<'a> {
    rules: &'a Rules,
    now: &'a Zoned,
    limit: Duration,
    dry: bool,
    hardlinks: Hardlinks,
}

impl<'a> Press<'a> {
    /// That of a stanza at work.
    pub fn of(run: &Run<'a>) -> Self {
        let (rules, now) = (&run.stanza.rules, run.now);
        Self { rules, now, limit: run.how.limit, dry: run.is_dry(), hardlinks: run.hardlinks() }
    }
}

/// Compresses a copy into a file beside it; the copy itself is left to the caller.
///
/// Returns the copy, still open, for whoever removes it.
pub fn compress(run: &Press<'_>, dir: &Dir, name: &OsStr, target: &OsStr, cores: usize) -> Told<Option<File>> {
    let method = Method::of(&run.rules.compressor);
    crate::tell!("compressing log with: {}", method.shown());
    if run.dry {
        return Ok(None);
    }
    let path = dir.join(name);
    let access = if run.rules.shred { Access::Change } else { Access::Read };
    let (source, stat) = dir.open_log(name, access, run.hardlinks).map_err(|error| {
        let mode = if access == Access::Change { "read-write" } else { "read-only" };
        error!("unable to open {} ({mode}) for compression: {}", shown(&path), why(&error));
        crate::message::Failed
    })?;
    let hidden = partial(target);
    let made = || -> io::Result<File> {
        // What a killed run left, or somebody planted; we never write into it.
        dir.remove(&hidden)?;
        let file = dir.create(&hidden)?;
        common::failpoint!("compressed-open")?;
        Ok(file)
    };
    let file = made().map_err(|error| {
        error!("error creating output file {}: {}", shown(&dir.join(target)), why(&error));
        crate::message::Failed
    })?;
    let written = write(run, &method, &path, &source, &file, cores)
        .and_then(|()| publish(run, dir, &hidden, target, &file, (&source, &stat)).map_err(|error| why(&error)));
    match written {
        Ok(()) => Ok(Some(source)),
        Err(why) => {
            error!("failed to compress log {}: {why}", shown(&path));
            drop(dir.remove(&hidden));
            Err(crate::message::Failed)
        }
    }
}

/// Gives a complete file its owner, its times and its name.
fn publish(
    run: &Press<'_>,
    dir: &Dir,
    hidden: &OsStr,
    target: &OsStr,
    file: &File,
    (source, stat): (&File, &Stat),
) -> io::Result<()> {
    site::give(file, stat, Some(source), Acl::Kept)?;
    site::keep_times(file, stat);
    file.sync_all()?;
    common::failpoint!("compressed")?;
    run::place(run.now, (dir, hidden), dir, target)
}

fn write(run: &Press<'_>, method: &Method, path: &Path, from: &File, to: &File, cores: usize) -> Result<(), String> {
    match method {
        Method::Gzip(level) => blocks(from, to, cores, || gzip(*level)).map_err(|error| why(&error)),
        Method::Zstd(level) => blocks(from, to, cores, || zstd(*level)).map_err(|error| why(&error)),
        Method::Program(program, options) => external(run, program, options, path, from, to),
    }
}

/// Turns a block into a member.
type Packer = Box<dyn FnMut(&[u8]) -> io::Result<Vec<u8>>>;

fn gzip(level: i32) -> io::Result<Packer> {
    let level = if level == 6 { AS_GZIP_6 } else { level };
    let level = libdeflater::CompressionLvl::new(level).map_err(|_| io::Error::other("no such level"))?;
    let mut compressor = libdeflater::Compressor::new(level);
    Ok(Box::new(move |plain| {
        let mut member = vec![0; compressor.gzip_compress_bound(plain.len())];
        let length =
            compressor.gzip_compress(plain, &mut member).map_err(|error| io::Error::other(error.to_string()))?;
        member.truncate(length);
        Ok(member)
    }))
}

fn zstd(level: i32) -> io::Result<Packer> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.include_checksum(true)?;
    Ok(Box::new(move |plain| compressor.compress(plain)))
}

/// Whose turn it is to write, where the file ended, and what went wrong.
#[derive(Default)]
struct Turn {
    next: u64,
    end: Option<u64>,
    failed: Option<io::Error>,
}

/// Compresses blocks on several cores and writes them in their order. An empty file becomes one empty member.
fn blocks(from: &File, to: &File, cores: usize, packer: impl Fn() -> io::Result<Packer> + Sync) -> io::Result<()> {
    let taken = AtomicU64::new(0);
    let turn = Mutex::new(Turn::default());
    let moved = Condvar::new();
    let lock = || turn.lock().unwrap_or_else(PoisonError::into_inner);
    let work = || -> io::Result<()> {
        let mut pack = packer()?;
        let mut plain = vec![0; BLOCK];
        loop {
            let number = taken.fetch_add(1, Ordering::Relaxed);
            if lock().end.is_some() {
                return Ok(());
            }
            let offset = number * BLOCK as u64;
            let length = read_at(from, &mut plain, offset)?;
            let member = if length > 0 || number == 0 { pack(&plain[..length])? } else { Vec::new() };
            let waits = |turn: &mut Turn| turn.next != number && turn.end.is_none() && turn.failed.is_none();
            let mut turn = moved.wait_while(lock(), waits).unwrap_or_else(PoisonError::into_inner);
            if turn.end.is_some() || turn.failed.is_some() {
                return Ok(());
            }
            (&mut &*to).write_all(&member)?;
            turn.end = (length < BLOCK).then_some(offset + length as u64);
            turn.next += 1;
            moved.notify_all();
        }
    };
    let blocks = usize::try_from(from.metadata()?.len() / BLOCK as u64).unwrap_or(usize::MAX).saturating_add(1);
    std::thread::scope(|scope| {
        for _ in 0..cores.clamp(1, blocks) {
            scope.spawn(|| {
                if let Err(error) = work() {
                    lock().failed.get_or_insert(error);
                    moved.notify_all();
                }
            });
        }
    });
    let turn = turn.into_inner().unwrap_or_else(PoisonError::into_inner);
    match turn.failed {
        Some(error) => Err(error),
        None => appended(from, to, turn.end.unwrap_or(0), &mut packer()?),
    }
}

/// What a writer that still has the file open has appended while we worked.
fn appended(from: &File, to: &File, mut done: u64, pack: &mut Packer) -> io::Result<()> {
    let mut plain = vec![0; BLOCK];
    loop {
        let length = read_at(from, &mut plain, done)?;
        if length == 0 {
            return Ok(());
        }
        (&mut &*to).write_all(&pack(&plain[..length])?)?;
        done += length as u64;
    }
}

fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// By a program: our file is its standard input, its standard output is our file.
fn external(
    run: &Press<'_>,
    program: &Path,
    options: &[OsString],
    path: &Path,
    from: &File,
    to: &File,
) -> Result<(), String> {
    let unknown = || format!("cannot execute compress command '{}'", shown(program));
    let mut command = child::quiet(child::program(program).ok_or_else(unknown)?);
    let files = from.try_clone().and_then(|from| Ok((from, to.try_clone()?))).map_err(|error| why(&error))?;
    command.args(options).stdin(Stdio::from(files.0)).stdout(Stdio::from(files.1));
    command.env("LOGROTATE_COMPRESSED_FILENAME", path);
    let ended = child::run(command, run.limit).map_err(|error| format!("{}: {}", unknown(), why(&error)))?;
    if !ended.stderr.is_empty() {
        let said = common::text::bytes(&ended.stderr);
        let said: Vec<_> = said.lines().map(common::text::visible).collect();
        let path = shown(path);
        error!(
            "Compressing program wrote following message to stderr when compressing log {path}:\n{}",
            said.join("\n")
        );
    }
    ended.result
}

/// Whether a compressed file holds exactly what a plain one does: then a killed run did not come to removing that.
pub fn holds_the_same(compressed: File, plain: File, method: &Method) -> bool {
    match method {
        Method::Gzip(_) => is_equal(flate2::read::MultiGzDecoder::new(io::BufReader::new(compressed)), plain),
        Method::Zstd(_) => zstd::Decoder::new(compressed).is_ok_and(|text| is_equal(text, plain)),
        Method::Program(..) => false,
    }
}

fn is_equal(mut one: impl io::Read, other: File) -> bool {
    let mut buffers = (vec![0; 65_536], vec![0; 65_536]);
    let mut done = 0;
    loop {
        let Ok(length) = one.read(&mut buffers.0) else { return false };
        let wanted = if length == 0 { 1 } else { length };
        match read_at(&other, &mut buffers.1[..wanted], done) {
            Ok(0) if length == 0 => return true,
            Ok(count) if count == length && buffers.0[..length] == buffers.1[..length] => done += length as u64,
            Ok(_) | Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn packed(plain: &[u8], cores: usize, packer: impl Fn() -> io::Result<Packer> + Sync) -> Vec<u8> {
        let temp = tempfile::tempdir().unwrap();
        let (from, to) = (temp.path().join("from"), temp.path().join("to"));
        std::fs::write(&from, plain).unwrap();
        blocks(&File::open(from).unwrap(), &File::create(&to).unwrap(), cores, packer).unwrap();
        std::fs::read(to).unwrap()
    }

    #[test]
    fn members_come_in_their_order_whatever_the_size() {
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 77] {
            let plain: Vec<u8> = (0..size).map(|at| (at / 1000 % 251) as u8).collect();

            let mut text = Vec::new();
            flate2::read::MultiGzDecoder::new(packed(&plain, 4, || gzip(6)).as_slice()).read_to_end(&mut text).unwrap();
            assert!(text == plain, "gzip {size}");
            assert!(zstd::decode_all(packed(&plain, 4, || zstd(3)).as_slice()).unwrap() == plain, "zstd {size}");
        }
    }

    #[test]
    fn in_process_is_what_needs_no_program() {
        let of = |command: Option<&str>, options: &[&str]| {
            let options = options.iter().map(OsString::from).collect();
            Method::of(&Compressor { command: command.map(PathBuf::from), options, ..Compressor::default() })
        };

        assert_eq!(of(None, &[]), Method::Gzip(6));
        assert_eq!(of(None, &["-9"]), Method::Gzip(9));
        assert_eq!(of(Some("gzip"), &["--fast", "-n"]), Method::Gzip(1));
        assert_eq!(of(Some("zstd"), &["-19", "-T0"]), Method::Zstd(19));
        assert_eq!(of(Some("/bin/gzip"), &[]), Method::Program("/bin/gzip".into(), vec![]));
        assert_eq!(of(None, &["--rsyncable"]), Method::Program("gzip".into(), vec!["--rsyncable".into()]));
        assert_eq!(of(Some("xz"), &[]), Method::Program("xz".into(), vec![]));
    }

    #[test]
    fn the_same_is_every_byte() {
        let temp = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            std::fs::write(temp.path().join(name), bytes).unwrap();
            File::open(temp.path().join(name)).unwrap()
        };
        let plain = vec![b'x'; 200_000];
        let same = |text: &[u8]| {
            let compressed = packed(&plain, 2, || gzip(6));
            holds_the_same(file("gz", &compressed), file("plain", text), &Method::Gzip(6))
        };

        assert!(same(&plain));
        assert!(!same(&plain[1..]) && !same(&[&plain[..], b"y"].concat()) && !same(b""));
        assert!(!holds_the_same(file("bad", b"no gzip"), file("p", b"x"), &Method::Gzip(6)));
    }
}
