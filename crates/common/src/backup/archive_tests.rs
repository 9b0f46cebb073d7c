use super::*;
use std::io::Cursor;

const ALL: [(Codec, i32); 3] = [(Codec::Gzip, 6), (Codec::Zstd, 3), (Codec::None, 0)];

fn text(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes + 40);
    let mut number = 0_u64;
    while text.len() < bytes {
        number += 1;
        text.extend_from_slice(format!("{number}\t{}\trow\n", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)).as_bytes());
    }
    text
}

fn stored(codec: Codec, level: i32, plain: &[u8]) -> (Vec<u8>, Vec<Member>, Totals) {
    let mut sink = Vec::new();
    let mut seen = Vec::new();
    let (totals, members) = write(codec, level, 2, plain, (&mut sink, "the archive"), |piece| {
        seen.extend_from_slice(piece);
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, plain);
    (sink, members, totals)
}

fn read_back(codec: Codec, bytes: &[u8], members: &[Member]) -> Result<(Totals, Vec<u8>)> {
    let mut plain = Vec::new();
    let totals = read(codec, 2, Cursor::new(bytes), members.iter().copied(), |piece| {
        plain.extend_from_slice(piece);
        Ok(())
    })?;
    Ok((totals, plain))
}

#[test]
fn what_is_written_is_what_is_read() {
    for (codec, level) in ALL {
        for size in [0, 1, 100, MEMBER - 1, MEMBER, MEMBER + 1, 5 * MEMBER + 77] {
            let plain = text(size);
            let (bytes, members, totals) = stored(codec, level, &plain);

            let (again, back) = read_back(codec, &bytes, &members).unwrap();

            assert_eq!(back, plain, "{codec:?} {size}");
            assert_eq!(again, totals, "{codec:?} {size}");
            assert_eq!(totals.stored_bytes, bytes.len() as u64);
        }
    }
}

#[test]
fn members_end_at_line_ends() {
    let plain = text(5 * MEMBER);
    let (_, members, _) = stored(Codec::None, 0, &plain);

    assert!(members.len() > 4);
    let mut at = 0;
    for member in &members {
        at += member.1 as usize;
        assert_eq!(plain[at - 1], b'\n');
    }
}

#[test]
fn a_line_longer_than_a_member_is_cut_inside() {
    let plain = [b"short\n".to_vec(), vec![b'x'; 3 * MEMBER + 5], b"\nend\n".to_vec()].concat();
    let (bytes, members, _) = stored(Codec::Gzip, 1, &plain);

    assert!(members.iter().all(|member| member.1 as usize <= MEMBER));
    assert_eq!(read_back(Codec::Gzip, &bytes, &members).unwrap().1, plain);
}

#[test]
fn every_flipped_byte_is_found() {
    let plain = text(3000);
    for (codec, level) in ALL {
        let (bytes, members, totals) = stored(codec, level, &plain);
        for place in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[place] ^= 0x10;

            let found = read_back(codec, &damaged, &members);

            // Some bits of a gzip stream mean nothing; then the stored digest tells.
            let is_seen = found.as_ref().map_or(true, |(again, _)| again.stored_sha256 != totals.stored_sha256);
            assert!(is_seen, "{codec:?} byte {place}");
        }
    }
}

#[test]
fn every_cut_is_found() {
    let (bytes, members, _) = stored(Codec::Gzip, 6, &text(2 * MEMBER + 9));

    for cut in [0, 1, 10, members[0].0 as usize, members[0].0 as usize + 1, bytes.len() - 1] {
        assert!(read_back(Codec::Gzip, &bytes[..cut], &members).is_err(), "{cut}");
    }
}

#[test]
fn bytes_behind_the_last_member_are_found() {
    for (codec, level) in ALL {
        let (mut bytes, members, _) = stored(codec, level, &text(1000));
        bytes.push(0);

        let error = read_back(codec, &bytes, &members).unwrap_err();

        assert!(format!("{error:#}").contains("does not belong there"), "{error:#}");
    }
}

#[test]
fn bytes_between_the_end_of_a_gzip_stream_and_its_trailer_are_found() {
    let (mut bytes, members, _) = stored(Codec::Gzip, 6, &text(1000));
    bytes.splice(bytes.len() - 8..bytes.len() - 8, *b"smuggled");
    let longer = Member(members[0].0 + 8, members[0].1);
    bytes[16..20].copy_from_slice(&longer.0.to_le_bytes());

    let error = read_back(Codec::Gzip, &bytes, &[longer]).unwrap_err();

    assert_eq!(format!("{error:#}"), "the member at byte 0 is damaged: 8 bytes stand behind its end");
}

#[test]
fn a_member_that_claims_gigabytes_is_refused_before_memory_is_taken() {
    let error = read_back(Codec::Gzip, b"", &[Member(u32::MAX, u32::MAX)]).unwrap_err();

    assert_eq!(error.to_string(), "the member at byte 0 claims to be 4294967295 bytes long");
}

#[test]
fn gunzip_and_zstd_read_it_as_one_stream() {
    let plain = text(2 * MEMBER + 500);
    for (codec, program) in [(Codec::Gzip, "gzip"), (Codec::Zstd, "zstd")] {
        let (bytes, _, _) = stored(codec, 3, &plain);
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("archive");
        std::fs::write(&path, bytes).unwrap();

        let input = std::fs::File::open(&path).unwrap();
        let output = std::process::Command::new(program).arg("-dc").stdin(input).output().unwrap();

        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, plain, "{program}");
    }
}
