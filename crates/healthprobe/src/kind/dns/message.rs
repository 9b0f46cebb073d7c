//! The messages of DNS, as far as one question and its answers need them. Source: RFC 1035, 4; RFC 6891 for the size.
//!
//! An answer is foreign: nothing in it is believed before its length is checked, and names may not lead in circles.

use anyhow::{Context as _, Result, bail, ensure};
use common::text;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The types that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    A,
    Aaaa,
    Cname,
    Mx,
    Ns,
    Ptr,
    Soa,
    Txt,
}

impl Type {
    const ALL: [(&'static str, Self, u16); 8] = [
        ("A", Self::A, 1),
        ("AAAA", Self::Aaaa, 28),
        ("CNAME", Self::Cname, 5),
        ("MX", Self::Mx, 15),
        ("NS", Self::Ns, 2),
        ("PTR", Self::Ptr, 12),
        ("SOA", Self::Soa, 6),
        ("TXT", Self::Txt, 16),
    ];

    /// # Errors
    ///
    /// Another word.
    pub(crate) fn parse(word: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(known, ..)| known.eq_ignore_ascii_case(word));
        let words = || Self::ALL.map(|(word, ..)| word).join(", ");
        found.map(|(_, kind, _)| *kind).with_context(|| format!("{word:?} is none of {}", words()))
    }

    pub(crate) fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind, _)| *kind == self).map_or("", |(word, ..)| word)
    }

    fn number(self) -> u16 {
        Self::ALL.iter().find(|(_, kind, _)| *kind == self).map_or(0, |(.., number)| *number)
    }
}

/// What a server answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The records of the type that was asked for, as text.
    Records(Vec<String>),
    /// The name is not there, or the question is wrong: so would others say.
    Refused(&'static str),
    /// It cannot or will not answer; another server may.
    Unable(&'static str),
    /// The answer was too long for a packet.
    Cut,
}

/// A question for one name and type.
pub(crate) fn question(id: u16, name: &str, kind: Type) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(300);
    bytes.extend(id.to_be_bytes());
    // Recursion desired; one question, and one record for the size of an answer that we take.
    bytes.extend([0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        bytes.push(label.len() as u8);
        bytes.extend(label);
    }
    bytes.push(0);
    bytes.extend(kind.number().to_be_bytes());
    bytes.extend([0, 1]);
    bytes.extend([0, 0, 41, 0x04, 0xd0, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// Reads an answer.
///
/// # Errors
///
/// What is no answer to this question.
pub(crate) fn read(bytes: &[u8], id: u16, kind: Type) -> Result<Answer> {
    let mut reader = Reader { bytes, at: 0 };
    ensure!(reader.u16()? == id, "an answer to another question");
    let flags = reader.u16()?;
    ensure!(flags & 0x8000 != 0, "a question, not an answer");
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.skip(4)?;
    if flags & 0x0200 != 0 {
        return Ok(Answer::Cut);
    }
    match flags & 0xf {
        0 => {}
        1 => return Ok(Answer::Refused("that it does not understand the question (FORMERR)")),
        2 => return Ok(Answer::Unable("that it cannot tell (SERVFAIL)")),
        3 => return Ok(Answer::Refused("that there is nothing (NXDOMAIN)")),
        4 => return Ok(Answer::Unable("that it does not answer such questions (NOTIMP)")),
        5 => return Ok(Answer::Unable("that it does not want to answer (REFUSED)")),
        _ => return Ok(Answer::Refused("that it failed")),
    }
    for _ in 0..questions {
        reader.name()?;
        reader.skip(4)?;
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        reader.name()?;
        let number = reader.u16()?;
        reader.skip(6)?;
        let length = usize::from(reader.u16()?);
        let end = reader.at + length;
        ensure!(end <= bytes.len(), "a record that is cut");
        if number == kind.number() {
            records.push(record(&mut reader, kind, end)?);
        }
        reader.at = end;
    }
    Ok(Answer::Records(records))
}

fn record(reader: &mut Reader<'_>, kind: Type, end: usize) -> Result<String> {
    Ok(match kind {
        Type::A => Ipv4Addr::from(reader.array::<4>()?).to_string(),
        Type::Aaaa => Ipv6Addr::from(reader.array::<16>()?).to_string(),
        Type::Cname | Type::Ns | Type::Ptr => reader.name()?,
        Type::Mx => format!("{} {}", reader.u16()?, reader.name()?),
        Type::Soa => {
            let (server, mail) = (reader.name()?, reader.name()?);
            format!("{server} {mail} {}", u32::from_be_bytes(reader.array()?))
        }
        Type::Txt => {
            let mut text = String::new();
            while reader.at < end {
                let length = usize::from(reader.array::<1>()?[0]);
                text.push_str(&text::bytes(reader.take(length)?));
            }
            text
        }
    })
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count).context("a message that is cut")?;
        let taken = self.bytes.get(self.at..end).context("a message that is cut")?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn skip(&mut self, count: usize) -> Result<()> {
        self.take(count).map(drop)
    }

    /// A name; it may lead back to an earlier one, and from there only further back.
    fn name(&mut self) -> Result<String> {
        let mut labels: Vec<String> = Vec::new();
        let (mut length, mut after, mut limit) = (0, None, self.at);
        loop {
            let first = self.array::<1>()?[0];
            match first {
                0 => break,
                1..=63 => {
                    let label = self.take(usize::from(first))?;
                    length += label.len() + 1;
                    ensure!(length <= 255, "a name that is too long");
                    labels.push(text::bytes(label));
                }
                0xc0.. => {
                    let target = usize::from(first & 0x3f) << 8 | usize::from(self.array::<1>()?[0]);
                    ensure!(target < limit, "a name that leads in a circle");
                    after.get_or_insert(self.at);
                    (self.at, limit) = (target, target);
                }
                64..=191 => bail!("a name of an unknown form"),
            }
        }
        self.at = after.unwrap_or(self.at);
        Ok(labels.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// An answer to a question for a.test, with these records.
    fn answer(flags: u16, records: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = question(7, "a.test", Type::A);
        bytes.truncate(bytes.len() - 11);
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        bytes[7] = records.len() as u8;
        bytes[11] = 0;
        for (number, data) in records {
            bytes.extend([0xc0, 12]);
            bytes.extend(number.to_be_bytes());
            bytes.extend([0, 1, 0, 0, 0, 60]);
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(*data);
        }
        bytes
    }

    #[test]
    fn records_of_the_type_are_read() {
        let bytes = answer(0x8180, &[(5, b"\x01b\xc0\x0c"), (1, &[192, 0, 2, 1]), (1, &[192, 0, 2, 2])]);
        assert_eq!(read(&bytes, 7, Type::A).unwrap(), Answer::Records(vec!["192.0.2.1".into(), "192.0.2.2".into()]));
        assert_eq!(read(&bytes, 7, Type::Cname).unwrap(), Answer::Records(vec!["b.a.test".into()]));

        let bytes = answer(0x8180, &[(15, b"\x00\x0a\x04mail\xc0\x0c"), (16, b"\x02ab\x01c")]);
        assert_eq!(read(&bytes, 7, Type::Mx).unwrap(), Answer::Records(vec!["10 mail.a.test".into()]));
        assert_eq!(read(&bytes, 7, Type::Txt).unwrap(), Answer::Records(vec!["abc".into()]));
    }

    #[test]
    fn a_refusal_and_a_cut_answer_are_told() {
        assert!(
            matches!(read(&answer(0x8183, &[]), 7, Type::A).unwrap(), Answer::Refused(why) if why.contains("NXDOMAIN"))
        );
        for flags in [0x8182, 0x8184, 0x8185] {
            assert!(matches!(read(&answer(flags, &[]), 7, Type::A).unwrap(), Answer::Unable(_)), "{flags:x}");
        }
        assert_eq!(read(&answer(0x8380, &[]), 7, Type::A).unwrap(), Answer::Cut);
        assert!(read(&answer(0x8180, &[]), 8, Type::A).is_err());
    }

    #[test]
    fn a_name_in_a_circle_ends() {
        let mut bytes = answer(0x8180, &[(5, &[0xc0, 0])]);
        let at = bytes.len() - 1;
        bytes[at] = (at - 1) as u8;

        assert!(read(&bytes, 7, Type::Cname).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), flip in 0usize..60, to in any::<u8>()) {
            drop(read(&bytes, 7, Type::Txt));
            let mut damaged = answer(0x8180, &[(15, b"\x00\x0a\x04mail\xc0\x0c"), (16, b"\x02ab\x01c")]);
            let at = flip % damaged.len();
            damaged[at] = to;
            drop((read(&damaged, 7, Type::Mx), read(&damaged, 7, Type::Txt), read(&damaged, 7, Type::Aaaa)));
        }
    }
}
