//! The messages of D-Bus, as far as one question for properties and its answer need them.
//!
//! Source: D-Bus Specification 0.43, "Message Protocol" and "Marshaling". Numbers are in the order of the machine: the other
//! side runs on it. Nothing in a message is believed before its length is checked.

use super::units::Properties;
use std::io;

/// The first bytes of a message, which tell how long it is.
pub(super) const HEAD: usize = 16;
/// The most of one message that is taken: the properties of a service are some 20 KiB.
const LARGEST: usize = 4 << 20;
/// How deep values may lie in values. Source: "Message Protocol", where it is 64.
const DEPTH: usize = 64;

const ORDER: u8 = if cfg!(target_endian = "little") { b'l' } else { b'B' };
/// Types of messages.
const CALL: u8 = 1;
const ANSWER: u8 = 2;
const ERROR: u8 = 3;
/// The fields of a header.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// A call of a method, with one string as its argument or none.
pub(super) struct Call<'a> {
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    /// Nobody, where the other side is the only one.
    pub(super) destination: Option<&'a str>,
    pub(super) argument: Option<&'a str>,
}

impl Call<'_> {
    /// The bytes of the message.
    pub(super) fn bytes(&self, serial: u32) -> Vec<u8> {
        let mut body = Writer::default();
        if let Some(argument) = self.argument {
            body.string(argument);
        }
        let fields = [
            (PATH, "o", Some(self.path)),
            (DESTINATION, "s", self.destination),
            (INTERFACE, "s", Some(self.interface)),
            (MEMBER, "s", Some(self.member)),
            (SIGNATURE, "g", self.argument.map(|_| "s")),
        ];
        let mut header = Writer::default();
        header.bytes.extend([ORDER, CALL, 0, 1]);
        header.number(body.bytes.len());
        header.bytes.extend(serial.to_ne_bytes());
        header.number(0);
        for (field, kind, value) in fields {
            let Some(value) = value else { continue };
            header.align(8);
            header.bytes.push(field);
            header.signature(kind);
            if kind == "g" { header.signature(value) } else { header.string(value) }
        }
        let length = (header.bytes.len() - HEAD) as u32;
        header.bytes[12..HEAD].copy_from_slice(&length.to_ne_bytes());
        header.align(8);
        header.bytes.extend(body.bytes);
        header.bytes
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    fn align(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    fn number(&mut self, number: usize) {
        self.align(4);
        self.bytes.extend((number as u32).to_ne_bytes());
    }

    fn string(&mut self, text: &str) {
        self.number(text.len());
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }

    fn signature(&mut self, text: &str) {
        self.bytes.push(text.len() as u8);
        self.bytes.extend(text.as_bytes());
        self.bytes.push(0);
    }
}

/// How long the whole message is.
///
/// # Errors
///
/// `InvalidData` where it is too long, or no message.
pub(super) fn length(head: [u8; HEAD]) -> io::Result<usize> {
    let mut reader = Reader { bytes: &head, at: 0 };
    if reader.byte()? != ORDER {
        return Err(malformed());
    }
    reader.take(3)?;
    let (body, _serial, fields) = (reader.length()?, reader.length()?, reader.length()?);
    let whole = (HEAD + fields.min(LARGEST)).next_multiple_of(8) + body.min(LARGEST);
    if whole < LARGEST { Ok(whole) } else { Err(malformed()) }
}

/// An answer to a call.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    /// The call that is answered.
    pub(super) serial: u32,
    /// The name of an error.
    pub(super) error: Option<String>,
    signature: String,
    body: Reader<'a>,
}

/// Reads a whole message; `None` where it is no answer.
///
/// # Errors
///
/// `InvalidData` where it cannot be understood.
pub(super) fn read(bytes: &[u8]) -> io::Result<Option<Answer<'_>>> {
    let mut reader = Reader { bytes, at: 0 };
    reader.take(1)?;
    let kind = reader.byte()?;
    reader.take(10)?;
    let end = reader.length()?.saturating_add(HEAD);
    let (mut serial, mut error, mut signature) = (None, None, String::new());
    while reader.at < end {
        reader.align(8)?;
        let field = reader.byte()?;
        let of_field = reader.signature()?;
        let value = reader.value(of_field, 0)?;
        match (field, value) {
            (REPLY_SERIAL, Some(value)) => serial = value.parse().ok(),
            (ERROR_NAME, value) => error = value,
            (SIGNATURE, Some(value)) => signature = value,
            _ => {}
        }
    }
    reader.align(8)?;
    match (kind, serial) {
        (ANSWER, Some(serial)) => Ok(Some(Answer { serial, error: None, signature, body: reader })),
        (ERROR, Some(serial)) => {
            Ok(Some(Answer { serial, error: Some(error.unwrap_or_default()), signature, body: reader }))
        }
        _ => Ok(None),
    }
}

impl Answer<'_> {
    /// The properties with these names, as text: `a{sv}`. Those of a type that has no plain text are left out.
    ///
    /// # Errors
    ///
    /// `InvalidData` where it is anything else.
    pub(super) fn properties(mut self, wanted: &[&str]) -> io::Result<Properties> {
        if self.signature != "a{sv}" {
            return Err(malformed());
        }
        let mut properties = Properties::new();
        let length = self.body.length()?;
        self.body.align(8)?;
        let end = self.body.at.saturating_add(length);
        while self.body.at < end {
            self.body.align(8)?;
            let name = self.body.string()?;
            let signature = self.body.signature()?;
            let value = self.body.value(signature, 0)?;
            if wanted.contains(&name)
                && let Some(value) = value
            {
                properties.insert(name.to_owned(), value);
            }
        }
        Ok(properties)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it sends no message that can be understood")
}

#[derive(Debug)]
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> io::Result<&'a [u8]> {
        let end = self.at.checked_add(count).ok_or_else(malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        self.align(N)?;
        self.take(N)?.try_into().map_err(|_| malformed())
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.array().map(|[byte]| byte)
    }

    fn align(&mut self, to: usize) -> io::Result<()> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn length(&mut self) -> io::Result<usize> {
        Ok(u32::from_ne_bytes(self.array()?) as usize)
    }

    fn string(&mut self) -> io::Result<&'a str> {
        let length = self.length()?;
        self.text(length)
    }

    fn signature(&mut self) -> io::Result<&'a str> {
        let length = self.byte()?;
        self.text(usize::from(length))
    }

    /// What ends with a zero byte.
    fn text(&mut self, length: usize) -> io::Result<&'a str> {
        let text = self.take(length)?;
        self.take(1)?;
        std::str::from_utf8(text).map_err(|_| malformed())
    }

    /// A value of one complete type, as systemctl writes it; `None` for types that are of no use here.
    fn value(&mut self, signature: &str, depth: usize) -> io::Result<Option<String>> {
        if depth > DEPTH {
            return Err(malformed());
        }
        let text = match signature.as_bytes() {
            b"s" | b"o" => self.string()?.to_owned(),
            b"g" => self.signature()?.to_owned(),
            b"b" => if self.length()? == 0 { "no" } else { "yes" }.to_owned(),
            b"y" => self.byte()?.to_string(),
            b"n" => i16::from_ne_bytes(self.array()?).to_string(),
            b"q" => u16::from_ne_bytes(self.array()?).to_string(),
            b"i" => i32::from_ne_bytes(self.array()?).to_string(),
            b"u" | b"h" => u32::from_ne_bytes(self.array()?).to_string(),
            b"x" => i64::from_ne_bytes(self.array()?).to_string(),
            b"t" => u64::from_ne_bytes(self.array()?).to_string(),
            b"d" => f64::from_ne_bytes(self.array()?).to_string(),
            b"v" => {
                let inner = self.signature()?;
                return self.value(inner, depth + 1);
            }
            [b'a', element @ ..] => return self.list(element),
            [b'(', inner @ .., b')'] => return self.structure(std::str::from_utf8(inner).unwrap_or_default(), depth),
            _ => return Err(malformed()),
        };
        Ok(Some(text))
    }

    /// An array: words with blanks between them, or nothing that is of use.
    fn list(&mut self, element: &[u8]) -> io::Result<Option<String>> {
        let length = self.length()?;
        self.align(match element.first() {
            Some(b'y' | b'g' | b'v') => 1,
            Some(b'n' | b'q') => 2,
            Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
            _ => 4,
        })?;
        let end = self.at.saturating_add(length);
        if element != b"s" {
            return self.take(length).map(|_| None);
        }
        let mut words = Vec::new();
        while self.at < end {
            words.push(self.string()?);
        }
        Ok(Some(words.join(" ")))
    }

    /// A structure: its texts, in quotes from the second on.
    fn structure(&mut self, mut inner: &str, depth: usize) -> io::Result<Option<String>> {
        self.align(8)?;
        let mut text = String::new();
        while !inner.is_empty() {
            let (first, rest) = inner.split_at_checked(complete(inner.as_bytes())).ok_or_else(malformed)?;
            inner = rest;
            match self.value(first, depth + 1)? {
                Some(value) if text.is_empty() => text = value,
                Some(value) => text = format!("{text} \"{value}\""),
                None => {}
            }
        }
        Ok(Some(text))
    }
}

/// How long the first complete type of a signature is.
fn complete(signature: &[u8]) -> usize {
    let arrays = signature.iter().take_while(|byte| **byte == b'a').count();
    let mut open = 0_usize;
    for (number, byte) in signature.iter().enumerate().skip(arrays) {
        match byte {
            b'(' | b'{' => open += 1,
            b')' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open == 0 {
            return number + 1;
        }
    }
    signature.len()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
