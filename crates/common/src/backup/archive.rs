//! The archive: a stream cut into independent members, compressed and read on many cores.
//!
//! A member is a gzip member (RFC 1952) or a zstd frame (RFC 8878) of about a MiB of plain bytes, cut at a line end unless
//! a line is longer than that. `gunzip` and `zstd -d` read the whole as one stream. A gzip member carries its own length in
//! an extra field `NS`, a zstd archive ends in a seek table (the "seekable format" of zstd's contrib directory), so a
//! reader can hop even without the index.

use super::index::Member;
use super::inflate::Libdeflate;
use super::ordered::{self, Pool};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use libdeflater::{CompressionLvl, Compressor, Crc};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::{ErrorKind, Read, Write};

/// Plain bytes of a member.
pub const MEMBER: usize = 1 << 20;
/// No reader inflates a member that claims to be longer than this, plain or stored.
pub const MEMBER_LIMIT: usize = 4 << 20;

/// gzip header with an extra field of 8 bytes: `NS`, its length 4, the member's stored length.
const GZIP_HEADER: [u8; 16] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'N', b'S', 4, 0];
const GZIP_FRONT: usize = 20;
const GZIP_TRAILER: usize = 8;
const ZSTD_SKIPPABLE: u32 = 0x184D_2A5E;
const ZSTD_SEEKABLE: u32 = 0x8F92_EAB1;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// gzip, by libdeflate: levels 1–12.
    Gzip,
    /// zstd: levels 1–19.
    Zstd,
    /// Not at all.
    None,
}

impl Codec {
    /// What follows `.sql` in the name of the archive.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::None => "",
        }
    }
}

/// Sizes and digests of an archive that was written or read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of the archive.
    pub stored_bytes: u64,
    /// SHA-256 of them, hexadecimal.
    pub stored_sha256: String,
    /// Bytes of the stream.
    pub plain_bytes: u64,
    /// SHA-256 of them, hexadecimal.
    pub plain_sha256: String,
}

/// Writes a stream as an archive; `plain` sees every byte of it, in order, before it is compressed.
///
/// # Errors
///
/// "cannot read the dump", what `plain` says, "cannot write …" with `name`, which says what the sink is.
pub fn write(
    codec: Codec,
    level: i32,
    threads: usize,
    mut source: impl Read,
    (mut sink, name): (impl Write + Send, &str),
    mut plain: impl FnMut(&[u8]) -> Result<()>,
) -> Result<(Totals, Vec<Member>)> {
    let pool = Pool::default();
    let ((plain_bytes, plain_sha256), (stored_bytes, stored_sha256, members)) = ordered::run(
        threads,
        || {
            let mut compressor = MemberWriter::new(codec, level);
            let pool = &pool;
            move |block: Vec<u8>| {
                let mut stored = pool.get();
                compressor.as_mut().map_err(|error| anyhow!("{error:#}"))?.compress(&block, &mut stored)?;
                let member = Member(length(stored.len())?, length(block.len())?);
                pool.put(block);
                Ok((member, stored))
            }
        },
        |feeder| {
            let mut digest = Sha256::new();
            let mut bytes = 0;
            let mut rest = Vec::new();
            loop {
                let mut block = std::mem::replace(&mut rest, pool.get());
                let is_last = fill(&mut source, &mut block).context("cannot read the dump")?;
                if !is_last {
                    let cut = memchr::memrchr(b'\n', &block).map_or(block.len(), |newline| newline + 1);
                    rest.extend_from_slice(&block[cut..]);
                    block.truncate(cut);
                }
                digest.update(&block);
                bytes += block.len() as u64;
                plain(&block)?;
                if !block.is_empty() {
                    feeder.push(block)?;
                }
                if is_last {
                    return Ok((bytes, super::hex(&digest.finalize())));
                }
            }
        },
        |next| {
            let mut digest = Sha256::new();
            let mut bytes = 0;
            let mut members = Vec::new();
            let mut put = |stored: &[u8]| {
                digest.update(stored);
                bytes += stored.len() as u64;
                sink.write_all(stored).with_context(|| format!("cannot write {name}"))
            };
            while let Some(result) = next() {
                let (member, stored) = result?;
                put(&stored)?;
                pool.put(stored);
                members.push(member);
            }
            if members.is_empty() && codec != Codec::None {
                // An empty stream is still a valid archive.
                let mut stored = Vec::new();
                MemberWriter::new(codec, level)?.compress(&[], &mut stored)?;
                put(&stored)?;
                members.push(Member(length(stored.len())?, 0));
            }
            put(&trailer(codec, &members))?;
            sink.flush().with_context(|| format!("cannot write {name}"))?;
            Ok((bytes, super::hex(&digest.finalize()), members))
        },
    )?;
    Ok((Totals { stored_bytes, stored_sha256, plain_bytes, plain_sha256 }, members))
}

/// Reads an archive of these members; `plain` sees every byte of the stream, in order.
///
/// Every stored byte must belong to a member or be the trailer that the members call for.
///
/// # Errors
///
/// Names the member that is damaged and where it begins.
pub fn read(
    codec: Codec,
    threads: usize,
    mut source: impl Read,
    members: impl IntoIterator<Item = Member>,
    mut plain: impl FnMut(&[u8]) -> Result<()> + Send,
) -> Result<Totals> {
    let pool = Pool::default();
    let ((stored_bytes, stored_sha256), (plain_bytes, plain_sha256)) = ordered::run(
        threads,
        || {
            let mut inflater = MemberReader::new(codec);
            let pool = &pool;
            move |(at, member, stored): (u64, Member, Vec<u8>)| {
                let mut block = pool.get();
                inflater
                    .as_mut()
                    .map_err(|error| anyhow!("{error:#}"))?
                    .inflate(member, &stored, &mut block)
                    .with_context(|| format!("the member at byte {at} is damaged"))?;
                pool.put(stored);
                Ok(block)
            }
        },
        |feeder| {
            let mut digest = Sha256::new();
            let mut at = 0;
            let mut seen = Vec::new();
            for member in members {
                let stored_length = member.0 as usize;
                ensure!(
                    stored_length <= MEMBER_LIMIT && member.1 as usize <= MEMBER_LIMIT,
                    "the member at byte {at} claims to be {} bytes long",
                    member.0.max(member.1)
                );
                let mut stored = pool.get();
                stored.resize(stored_length, 0);
                source.read_exact(&mut stored).map_err(|error| match error.kind() {
                    ErrorKind::UnexpectedEof => anyhow!("the archive is cut off in the member at byte {at}"),
                    _ => anyhow!(error).context(format!("cannot read the member at byte {at}")),
                })?;
                digest.update(&stored);
                feeder.push((at, member, stored))?;
                at += u64::from(member.0);
                if codec == Codec::Zstd {
                    seen.push(member);
                }
            }
            let expected = trailer(codec, &seen);
            let mut rest = Vec::new();
            (&mut source).take(expected.len() as u64 + 1).read_to_end(&mut rest).context("cannot read the archive")?;
            ensure!(rest == expected, "behind the last member, at byte {at}, stands what does not belong there");
            digest.update(&rest);
            Ok((at + rest.len() as u64, super::hex(&digest.finalize())))
        },
        |next| {
            let mut digest = Sha256::new();
            let mut bytes = 0;
            while let Some(result) = next() {
                let block = result?;
                digest.update(&block);
                bytes += block.len() as u64;
                plain(&block)?;
                pool.put(block);
            }
            Ok((bytes, super::hex(&digest.finalize())))
        },
    )?;
    Ok(Totals { stored_bytes, stored_sha256, plain_bytes, plain_sha256 })
}

/// Fills the block up to [`MEMBER`] bytes; true at the end of the stream.
fn fill(source: &mut impl Read, block: &mut Vec<u8>) -> std::io::Result<bool> {
    // A rest can be no longer than a member, since a line longer than one is cut anywhere.
    let mut filled = block.len();
    block.resize(MEMBER.max(filled), 0);
    while filled < block.len() {
        match source.read(&mut block[filled..]) {
            Ok(0) => {
                block.truncate(filled);
                return Ok(true);
            }
            Ok(count) => filled += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

fn length(bytes: usize) -> Result<u32> {
    u32::try_from(bytes).context("a member over 4 GiB")
}

fn trailer(codec: Codec, members: &[Member]) -> Vec<u8> {
    if codec != Codec::Zstd {
        return Vec::new();
    }
    let count = members.len() as u32;
    let mut bytes = Vec::with_capacity(17 + members.len() * 8);
    bytes.extend_from_slice(&ZSTD_SKIPPABLE.to_le_bytes());
    bytes.extend_from_slice(&(count.wrapping_mul(8).wrapping_add(9)).to_le_bytes());
    for member in members {
        bytes.extend_from_slice(&member.0.to_le_bytes());
        bytes.extend_from_slice(&member.1.to_le_bytes());
    }
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.push(0);
    bytes.extend_from_slice(&ZSTD_SEEKABLE.to_le_bytes());
    bytes
}

/// Compresses members, one thread's state.
enum MemberWriter {
    Gzip(Compressor),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    None,
}

impl MemberWriter {
    fn new(codec: Codec, level: i32) -> Result<Self> {
        Ok(match codec {
            Codec::Gzip => {
                let level = CompressionLvl::new(level).map_err(|_| anyhow!("gzip has no level {level}"))?;
                Self::Gzip(Compressor::new(level))
            }
            Codec::Zstd => {
                let mut compressor = zstd::bulk::Compressor::new(level).context("cannot start zstd")?;
                compressor.include_checksum(true).context("cannot start zstd")?;
                Self::Zstd(Box::new(compressor))
            }
            Codec::None => Self::None,
        })
    }

    fn compress(&mut self, plain: &[u8], stored: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Gzip(compressor) => {
                let bound = compressor.deflate_compress_bound(plain.len());
                stored.resize(GZIP_FRONT + bound + GZIP_TRAILER, 0);
                let body = compressor
                    .deflate_compress(plain, &mut stored[GZIP_FRONT..GZIP_FRONT + bound])
                    .map_err(|error| anyhow!("cannot compress: {error}"))?;
                let end = GZIP_FRONT + body;
                stored[end..end + 4].copy_from_slice(&crc32(plain).to_le_bytes());
                stored[end + 4..end + 8].copy_from_slice(&length(plain.len())?.to_le_bytes());
                stored.truncate(end + GZIP_TRAILER);
                let total = length(stored.len())?.to_le_bytes();
                stored[..16].copy_from_slice(&GZIP_HEADER);
                stored[16..20].copy_from_slice(&total);
            }
            Self::Zstd(compressor) => {
                stored.reserve(zstd::zstd_safe::compress_bound(plain.len()));
                compressor.compress_to_buffer(plain, stored).context("cannot compress")?;
            }
            Self::None => stored.extend_from_slice(plain),
        }
        Ok(())
    }
}

/// Inflates members, one thread's state.
pub(super) enum MemberReader {
    Gzip(Libdeflate),
    Zstd(Box<zstd::bulk::Decompressor<'static>>),
    None,
}

impl MemberReader {
    pub(super) fn new(codec: Codec) -> Result<Self> {
        Ok(match codec {
            Codec::Gzip => Self::Gzip(Libdeflate::new()?),
            Codec::Zstd => Self::Zstd(Box::new(zstd::bulk::Decompressor::new().context("cannot start zstd")?)),
            Codec::None => Self::None,
        })
    }

    /// Inflates one member into exactly the plain length that the index gives it.
    pub(super) fn inflate(&mut self, member: Member, stored: &[u8], plain: &mut Vec<u8>) -> Result<()> {
        let expected = member.1 as usize;
        plain.resize(expected, 0);
        match self {
            Self::Gzip(inflater) => {
                ensure!(stored.len() >= GZIP_FRONT + GZIP_TRAILER, "too short for a gzip member");
                ensure!(stored[..16] == GZIP_HEADER, "not the header of a member");
                ensure!(stored[16..20] == member.0.to_le_bytes(), "it carries another length");
                let (body, trailer) = stored[GZIP_FRONT..].split_at(stored.len() - GZIP_FRONT - GZIP_TRAILER);
                ensure!(trailer[4..] == member.1.to_le_bytes(), "it holds another number of bytes");
                inflater.inflate(body, plain)?;
                ensure!(trailer[..4] == crc32(plain).to_le_bytes(), "its CRC-32 does not match");
            }
            Self::Zstd(inflater) => {
                let count = inflater
                    .decompress_to_buffer(stored, plain.as_mut_slice())
                    .map_err(|error| anyhow!("cannot inflate: {error}"))?;
                ensure!(count == expected, "it holds {count} bytes, not {expected}");
            }
            Self::None => {
                if stored.len() != expected {
                    bail!("it holds {} bytes, not {expected}", stored.len());
                }
                plain.copy_from_slice(stored);
            }
        }
        Ok(())
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
