//! Members of archives as hostile bytes: what is accepted is what `gunzip` and `zstd -d` read, and no foreign number
//! takes memory. The fuzzer runs with a limit of 16 MiB for one allocation.

use common::backup::archive::{Codec, MEMBER_LIMIT, Totals, read, write};
use common::backup::index::Member;
use flate2::{Crc, read::DeflateDecoder, read::MultiGzDecoder};
use std::io::Read;

/// First byte: codec (bits 0 and 1), case (bits 2 and 3), threads (bit 4).
pub fn check(data: &[u8]) {
    let Some((how, rest)) = super::case(data) else { return };
    let codec = [Codec::Gzip, Codec::Zstd, Codec::None, Codec::Gzip][usize::from(how & 3)];
    let threads = 1 + usize::from(how >> 4 & 1);
    match how >> 2 & 3 {
        0 => foreign(codec, threads, rest),
        1 => well_framed(codec, threads, rest),
        2 => damaged(codec, threads, rest),
        _ => edited(codec, threads, rest),
    }
}

type Plain = Result<(Totals, Vec<u8>), String>;

fn read_all(codec: Codec, threads: usize, stored: &[u8], members: &[Member]) -> Plain {
    let mut plain = Vec::new();
    let totals = read(codec, threads, stored, members.iter().copied(), |piece| {
        plain.extend_from_slice(piece);
        Ok(())
    });
    totals.map(|totals| (totals, plain)).map_err(|error| super::shown(&error))
}

/// What others make of the archive; `None` where they refuse it, or would take more memory than they may.
fn judged(codec: Codec, stored: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let limit = 8 * MEMBER_LIMIT as u64;
    match codec {
        Codec::Gzip => MultiGzDecoder::new(stored).take(limit).read_to_end(&mut plain).ok()?,
        Codec::Zstd => zstd::stream::read::Decoder::new(stored).ok()?.take(limit).read_to_end(&mut plain).ok()?,
        Codec::None => stored.take(limit).read_to_end(&mut plain).ok()?,
    };
    Some(plain)
}

/// Any members over any bytes: their number, their lengths, the archive.
fn foreign(codec: Codec, threads: usize, data: &[u8]) {
    let Some((count, mut rest)) = super::case(data) else { return };
    let mut members = Vec::new();
    for _ in 0..count % 8 {
        let Some((lengths, after)) = rest.split_at_checked(8) else { break };
        members.push(Member(word(&lengths[..4]), word(&lengths[4..])));
        rest = after;
    }
    agrees(codec, threads, rest, &members);
}

/// A foreign body in a frame that is right in all its lengths and sums, which no random bytes would be.
fn well_framed(codec: Codec, threads: usize, data: &[u8]) {
    let Some((claimed, body)) = data.split_at_checked(3) else { return };
    let claimed = u32::from(claimed[0]) | u32::from(claimed[1]) << 8 | u32::from(claimed[2]) << 16;
    let (stored, member) = match codec {
        Codec::Gzip => gzip_member(body, claimed),
        Codec::Zstd => zstd_archive(body, claimed),
        Codec::None => (body.to_vec(), Member(body.len() as u32, claimed)),
    };
    agrees(codec, threads, &stored, &[member]);
}

fn gzip_member(body: &[u8], claimed: u32) -> (Vec<u8>, Member) {
    let mut plain = Vec::new();
    let inflated = DeflateDecoder::new(body).take(MEMBER_LIMIT as u64).read_to_end(&mut plain);
    let length = inflated.map_or(claimed, |length| length as u32);
    let mut crc = Crc::new();
    crc.update(&plain);
    let total = 20 + body.len() as u32 + 8;
    let mut stored = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0, b'N', b'S', 4, 0];
    stored.extend_from_slice(&total.to_le_bytes());
    stored.extend_from_slice(body);
    stored.extend_from_slice(&crc.sum().to_le_bytes());
    stored.extend_from_slice(&length.to_le_bytes());
    (stored, Member(total, length))
}

/// The body as one frame, with a seek table behind it.
fn zstd_archive(body: &[u8], claimed: u32) -> (Vec<u8>, Member) {
    let length = zstd::zstd_safe::get_frame_content_size(body).ok().flatten().map_or(claimed, |length| length as u32);
    let stored = body.len() as u32;
    let mut archive = body.to_vec();
    for word in [0x184D_2A5E, 17, stored, length, 1] {
        archive.extend_from_slice(&u32::to_le_bytes(word));
    }
    archive.push(0);
    archive.extend_from_slice(&0x8F92_EAB1_u32.to_le_bytes());
    (archive, Member(stored, length))
}

fn agrees(codec: Codec, threads: usize, stored: &[u8], members: &[Member]) {
    let Ok((totals, plain)) = read_all(codec, threads, stored, members) else { return };
    assert_eq!(totals.stored_bytes, stored.len() as u64);
    assert_eq!(totals.plain_bytes, plain.len() as u64);
    assert_eq!(plain.len(), members.iter().map(|member| member.1 as usize).sum::<usize>());
    if !members.is_empty() {
        assert_eq!(judged(codec, stored).as_deref(), Some(plain.as_slice()), "others read something else");
    }
}

fn written(codec: Codec, threads: usize, plain: &[u8]) -> (Vec<u8>, Vec<Member>, Totals) {
    let mut stored = Vec::new();
    let level = if codec == Codec::None { 0 } else { 1 };
    let (totals, members) =
        write(codec, level, threads, plain, (&mut stored, "the archive"), |_| Ok(())).expect("memory can be written");
    (stored, members, totals)
}

/// One byte of a good archive is another: it is refused, or means the same.
fn damaged(codec: Codec, threads: usize, data: &[u8]) {
    let Some((damage, plain)) = data.split_at_checked(3) else { return };
    let (mut stored, members, totals) = written(codec, threads, plain);
    assert_eq!(read_all(codec, threads, &stored, &members), Ok((totals.clone(), plain.to_vec())));
    assert_eq!(judged(codec, &stored).as_deref(), Some(plain), "others cannot read it");

    if stored.is_empty() || damage[2] == 0 {
        return;
    }
    let place = (usize::from(damage[0]) | usize::from(damage[1]) << 8) % stored.len();
    stored[place] ^= damage[2];

    if let Ok((found, read)) = read_all(codec, threads, &stored, &members) {
        assert!(codec == Codec::None || read == plain, "byte {place} changed what is read, unseen");
        assert_ne!(found.stored_sha256, totals.stored_sha256);
    }
}

/// The list of members of a good archive is not the one it was written with.
fn edited(codec: Codec, threads: usize, data: &[u8]) {
    let Some((edit, plain)) = data.split_at_checked(6) else { return };
    let (stored, members, totals) = written(codec, threads, plain);
    let (twice, mut list) = ([stored.clone(), stored].concat(), [members.clone(), members.clone()].concat());
    let at = usize::from(edit[0]) % list.len().max(1);
    match (edit[1] % 4, list.get_mut(at)) {
        (_, None) => return,
        (0, Some(member)) => member.0 = member.0.wrapping_add(word(&edit[2..])),
        (1, Some(member)) => member.1 = member.1.wrapping_add(word(&edit[2..])),
        (2, Some(_)) => drop(list.remove(at)),
        (_, Some(member)) => {
            let again = *member;
            list.insert(at, again);
        }
    }
    if let Ok((found, read)) = read_all(codec, threads, &twice, &list) {
        // Of an archive that is not compressed, any cut is right that adds up.
        assert!(codec != Codec::Zstd || plain.is_empty(), "a seek table in the middle is no member");
        assert_eq!(read, [plain, plain].concat());
        assert_eq!(found.stored_bytes, 2 * totals.stored_bytes);
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte))
}
