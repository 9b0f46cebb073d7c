//! Reads any part of an archive's plain stream, from many threads at once, without reading the rest.
//!
//! Every member was digested when the archive was verified, and is digested again when it is read: what is loaded is
//! what was verified, also where somebody writes into the file in between (THREATS R6).

use super::archive::{Codec, MEMBER_LIMIT, MemberReader};
use super::index::Member;
use super::manifest::Archive;
use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};
use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use xxhash_rust::xxh3::xxh3_128_with_seed;

/// An archive whose bytes were found to be the recorded ones.
#[derive(Debug)]
pub struct Seekable {
    file: File,
    codec: Codec,
    members: Vec<Place>,
    plain_bytes: u64,
    /// Nobody can make another member with the same digest who does not know it.
    seed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    stored: u64,
    plain: u64,
    size: Member,
    digest: u128,
}

impl Seekable {
    /// Reads the whole archive once and compares it with what was recorded; nothing is inflated yet.
    ///
    /// # Errors
    ///
    /// Bytes that are not the recorded ones, members that do not fit the archive.
    pub fn verified(mut file: File, recorded: &Archive, members: impl Iterator<Item = Member>) -> Result<Self> {
        let seed = RandomState::new().build_hasher().finish();
        let mut digest = Sha256::new();
        let (mut stored, mut plain) = (0_u64, 0_u64);
        let mut places = Vec::new();
        let mut buffer = Vec::new();
        for size in members {
            crate::interrupt::check()?;
            ensure!(
                size.0 as usize <= MEMBER_LIMIT && size.1 as usize <= MEMBER_LIMIT,
                "the member at byte {stored} claims to be {} bytes long",
                size.0.max(size.1)
            );
            buffer.resize(size.0 as usize, 0);
            file.read_exact(&mut buffer).with_context(|| format!("cannot read the member at byte {stored}"))?;
            digest.update(&buffer);
            places.push(Place { stored, plain, size, digest: xxh3_128_with_seed(&buffer, seed) });
            stored += u64::from(size.0);
            plain += u64::from(size.1);
        }
        // Behind the members of a zstd archive stands its seek table: at most 8 bytes a member, and 17.
        let mut rest = Vec::new();
        (&file).take(places.len() as u64 * 8 + 18).read_to_end(&mut rest).context("cannot read the archive")?;
        digest.update(&rest);
        ensure!(
            stored + rest.len() as u64 == recorded.stored_bytes,
            "the archive has not the {} bytes that were written",
            recorded.stored_bytes
        );
        ensure!(
            super::hex(&digest.finalize()) == recorded.stored_sha256,
            "the archive is damaged: its SHA-256 is not the recorded one"
        );
        ensure!(plain == recorded.plain_bytes, "the members hold {plain} bytes, not {}", recorded.plain_bytes);
        Ok(Self { file, codec: recorded.codec, members: places, plain_bytes: plain, seed })
    }

    /// Bytes of the plain stream.
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Where members begin in the plain stream, within a range: places to cut it at.
    pub fn starts_within(&self, range: std::ops::Range<u64>) -> impl Iterator<Item = u64> + '_ {
        let first = self.members.partition_point(|place| place.plain < range.start);
        self.members[first..].iter().map(|place| place.plain).take_while(move |start| *start < range.end)
    }

    /// A reader of the plain stream from an offset on.
    ///
    /// # Errors
    ///
    /// Where the inflater cannot be made.
    pub fn reader(&self, offset: u64) -> Result<Plain<'_>> {
        let next = self.members.partition_point(|place| place.plain + u64::from(place.size.1) <= offset);
        Ok(Plain {
            archive: self,
            inflater: MemberReader::new(self.codec)?,
            next,
            at: offset,
            stored: Vec::new(),
            block: Vec::new(),
            taken: 0,
        })
    }
}

/// The plain stream from some offset on.
pub struct Plain<'a> {
    archive: &'a Seekable,
    inflater: MemberReader,
    next: usize,
    /// The offset of the next byte that is handed out.
    at: u64,
    stored: Vec<u8>,
    block: Vec<u8>,
    taken: usize,
}

impl Plain<'_> {
    /// The offset of the next byte.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The next bytes, as many as are at hand; empty at the end.
    ///
    /// # Errors
    ///
    /// A member that is damaged or is not the one that was verified.
    pub fn fill(&mut self) -> Result<&[u8]> {
        while self.taken == self.block.len() {
            let Some(place) = self.archive.members.get(self.next).copied() else { return Ok(&[]) };
            self.load(place).with_context(|| format!("the member at byte {} is damaged", place.stored))?;
            self.next += 1;
            self.taken = usize::try_from(self.at.saturating_sub(place.plain))?.min(self.block.len());
        }
        Ok(&self.block[self.taken..])
    }

    fn load(&mut self, place: Place) -> Result<()> {
        self.stored.resize(place.size.0 as usize, 0);
        self.archive.file.read_exact_at(&mut self.stored, place.stored)?;
        ensure!(
            xxh3_128_with_seed(&self.stored, self.archive.seed) == place.digest,
            "somebody has written to it since it was verified"
        );
        self.inflater.inflate(place.size, &self.stored, &mut self.block)
    }

    /// Goes on that many bytes further, without reading what lies between.
    ///
    /// # Errors
    ///
    /// As [`Seekable::reader`].
    pub fn skip(&mut self, count: u64) -> Result<()> {
        let offset = self.at.checked_add(count).context("a place behind the end")?;
        *self = self.archive.reader(offset)?;
        Ok(())
    }

    /// Says how many of the bytes were used.
    pub fn consume(&mut self, count: usize) {
        self.taken += count;
        self.at += count as u64;
    }
}
