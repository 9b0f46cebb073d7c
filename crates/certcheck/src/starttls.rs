//! Asks a server in its own protocol to go on in TLS.
//!
//! Nothing is read beyond the go-ahead, and what stands behind it in the same packet is refused: it came in clear text,
//! and a client that took it for TLS would believe whoever sent it. Source: CVE-2011-0411; THREATS C1, C2.

use crate::dial::{self, Wire};
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use common::text;
use std::io::{Read as _, Write as _};

/// The longest greeting or answer.
const ANSWER: usize = 64 * 1024;
/// The most lines of it.
const LINES: usize = 100;

/// A protocol that can change to TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// RFC 3207.
    Smtp,
    /// RFC 9051.
    Imap,
    /// RFC 2595.
    Pop3,
    /// RFC 4217.
    Ftp,
    /// RFC 4511, 4.14.
    Ldap,
    /// PostgreSQL's SSLRequest.
    Postgres,
    /// MySQL's and MariaDB's SSLRequest.
    Mysql,
}

impl Protocol {
    /// Reads its name.
    ///
    /// # Errors
    ///
    /// Any other.
    pub fn parse(name: &str) -> Result<Self> {
        Ok(match name {
            "smtp" => Self::Smtp,
            "imap" => Self::Imap,
            "pop3" => Self::Pop3,
            "ftp" => Self::Ftp,
            "ldap" => Self::Ldap,
            "postgres" | "postgresql" => Self::Postgres,
            "mysql" => Self::Mysql,
            _ => bail!("unknown protocol {name:?}; there are smtp, imap, pop3, ftp, ldap, postgres and mysql"),
        })
    }

    /// Where it usually listens.
    pub fn port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Imap => 143,
            Self::Pop3 => 110,
            Self::Ftp => 21,
            Self::Ldap => 389,
            Self::Postgres => 5432,
            Self::Mysql => 3306,
        }
    }
}

/// Asks for TLS; afterwards the next byte on the wire is TLS's.
///
/// # Errors
///
/// A server that does not offer it, or says anything unexpected.
pub fn ask(protocol: Protocol, wire: &mut Wire) -> Result<()> {
    let mut talk = Talk { wire, buffer: Vec::new(), taken: 0, total: 0, lines: 0 };
    match protocol {
        Protocol::Smtp => smtp(&mut talk),
        Protocol::Imap => imap(&mut talk),
        Protocol::Pop3 => pop3(&mut talk),
        Protocol::Ftp => ftp(&mut talk),
        Protocol::Ldap => ldap(&mut talk),
        Protocol::Postgres => postgres(&mut talk),
        Protocol::Mysql => mysql(&mut talk),
    }
    .with_context(|| format!("no STARTTLS by {protocol:?}").to_lowercase().replace("starttls", "STARTTLS"))?;
    ensure!(talk.buffer.len() == talk.taken, "data before TLS: the server sends more than its go-ahead in clear text");
    Ok(())
}

fn smtp(talk: &mut Talk<'_>) -> Result<()> {
    let greeting = talk.reply()?;
    expect(&greeting, "220")?;
    talk.send(b"EHLO certcheck.invalid\r\n")?;
    let offers = talk.reply()?;
    expect(&offers, "250")?;
    let is_offered =
        offers.iter().any(|line| line.get(4..).unwrap_or_default().trim().eq_ignore_ascii_case("STARTTLS"));
    ensure!(is_offered, "the server does not offer it");
    talk.send(b"STARTTLS\r\n")?;
    expect(&talk.reply()?, "220")
}

fn ftp(talk: &mut Talk<'_>) -> Result<()> {
    expect(&talk.reply()?, "220")?;
    talk.send(b"AUTH TLS\r\n")?;
    expect(&talk.reply()?, "234")
}

fn imap(talk: &mut Talk<'_>) -> Result<()> {
    let greeting = talk.line()?;
    ensure!(starts(&greeting, "* OK"), "unexpected greeting {greeting:?}");
    talk.send(b"a1 STARTTLS\r\n")?;
    loop {
        let line = talk.line()?;
        if starts(&line, "a1 OK") {
            return Ok(());
        }
        ensure!(line.starts_with("* "), "the server refuses: {line:?}");
    }
}

fn pop3(talk: &mut Talk<'_>) -> Result<()> {
    let greeting = talk.line()?;
    ensure!(starts(&greeting, "+OK"), "unexpected greeting {greeting:?}");
    talk.send(b"STLS\r\n")?;
    let line = talk.line()?;
    ensure!(starts(&line, "+OK"), "the server refuses: {line:?}");
    Ok(())
}

fn ldap(talk: &mut Talk<'_>) -> Result<()> {
    // LDAPMessage { 1, ExtendedRequest { [0] 1.3.6.1.4.1.1466.20037 } }
    const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
    talk.send(REQUEST)?;
    let head = talk.exactly(2)?;
    ensure!(head[0] == 0x30, "the answer is no LDAP message");
    let length = match head[1] {
        short @ 0..=0x7f => usize::from(short),
        // Up to four bytes of length, which some servers always send.
        long @ 0x81..=0x84 => {
            let bytes = talk.exactly(usize::from(long & 0x7f))?;
            bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => bail!("the answer is no LDAP message"),
    };
    ensure!(length <= ANSWER, "the answer is longer than {ANSWER} bytes");
    let body = talk.exactly(length)?;
    match ldap_result(&body) {
        Some(0) => Ok(()),
        Some(code) => bail!("the server refuses: LDAP result {code}"),
        None => bail!("the answer is no LDAP result"),
    }
}

/// The result code of `messageID, ExtendedResponse { resultCode, … }`. Source: RFC 4511, 4.12.
fn ldap_result(body: &[u8]) -> Option<u8> {
    let (tag, id, rest) = element(body)?;
    let (response, inside, _) = element(rest)?;
    let (code, value, _) = element(inside)?;
    match (tag, id, response, code, value) {
        (0x02, [1], 0x78, 0x0a, [value]) => Some(*value),
        _ => None,
    }
}

/// Tag, content and rest of one BER element of definite length.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        short @ 0..=0x7f => (usize::from(short), rest),
        long @ 0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn postgres(talk: &mut Talk<'_>) -> Result<()> {
    // Length 8, code 1234.5679: SSLRequest.
    talk.send(&[0, 0, 0, 8, 4, 210, 22, 47])?;
    match talk.exactly(1)?[..] {
        [b'S'] => Ok(()),
        [b'N'] => bail!("the server does not offer it (ssl = off)"),
        [b'E'] => bail!("the server answers with an error"),
        _ => bail!("the answer is not PostgreSQL's"),
    }
}

fn mysql(talk: &mut Talk<'_>) -> Result<()> {
    const CLIENT_PROTOCOL_41: u32 = 0x200;
    const CLIENT_SSL: u32 = 0x800;
    const CLIENT_SECURE_CONNECTION: u32 = 0x8000;
    let head = talk.exactly(4)?;
    let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    ensure!(length <= ANSWER, "the greeting is longer than {ANSWER} bytes");
    let greeting = talk.exactly(length)?;
    ensure!(greeting.first() != Some(&0xff), "the server refuses: {}", shown(greeting.get(3..).unwrap_or_default()));
    ensure!(greeting.first() == Some(&10), "the greeting is not MySQL's");
    let version = greeting.iter().position(|byte| *byte == 0).context("the greeting is cut off")?;
    // After the version: thread 4, salt 8, filler 1, then the lower two bytes of the capabilities.
    let flags = greeting.get(version + 14..version + 16).context("the greeting is cut off")?;
    let flags = u32::from(flags[0]) | u32::from(flags[1]) << 8;
    ensure!(flags & CLIENT_SSL != 0, "the server does not offer it");
    let ours = CLIENT_PROTOCOL_41 | CLIENT_SSL | CLIENT_SECURE_CONNECTION;
    let mut request = vec![32, 0, 0, head[3].wrapping_add(1)];
    request.extend(ours.to_le_bytes());
    request.extend(0x0100_0000_u32.to_le_bytes());
    request.push(45); // utf8mb4
    request.extend([0; 23]);
    // The greeting is all that a server may say before the handshake.
    ensure!(talk.buffer.len() == talk.taken, "data before TLS: the server sends more than its greeting in clear text");
    talk.send(&request)
}

fn starts(line: &str, start: &str) -> bool {
    line.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

fn expect(reply: &[String], code: &str) -> Result<()> {
    let last = reply.last().map_or("", String::as_str);
    ensure!(last.starts_with(code), "the server answers {last:?}");
    Ok(())
}

fn shown(bytes: &[u8]) -> String {
    format!("{:?}", text::line(&text::bytes(bytes)))
}

/// A conversation in clear text, with a limit on all that is said.
struct Talk<'a> {
    wire: &'a mut Wire,
    buffer: Vec<u8>,
    /// How much of the buffer was read.
    taken: usize,
    total: usize,
    lines: usize,
}

impl Talk<'_> {
    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        // An answer that was there before the question is none.
        ensure!(self.buffer.len() == self.taken, "data before TLS: the server answers before it is asked");
        self.wire.write_all(bytes).map_err(|error| anyhow!(dial::why(&error)))
    }

    fn fill(&mut self) -> Result<()> {
        let mut chunk = [0; 4096];
        let count = self.wire.read(&mut chunk).map_err(|error| anyhow!(dial::why(&error)))?;
        ensure!(count > 0, "the server closed the connection");
        self.total += count;
        ensure!(self.total <= ANSWER, "the server says more than {ANSWER} bytes");
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.extend_from_slice(&chunk[..count]);
        Ok(())
    }

    fn exactly(&mut self, count: usize) -> Result<Vec<u8>> {
        while self.buffer.len() - self.taken < count {
            self.fill()?;
        }
        let bytes = self.buffer[self.taken..self.taken + count].to_vec();
        self.taken += count;
        Ok(bytes)
    }

    /// One line, made safe for messages.
    fn line(&mut self) -> Result<String> {
        self.lines += 1;
        ensure!(self.lines <= LINES, "the server says more than {LINES} lines");
        loop {
            let rest = &self.buffer[self.taken..];
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line = text::bytes(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]));
                self.taken += end + 1;
                return Ok(text::line(&line));
            }
            self.fill()?;
        }
    }

    /// The lines of a reply: `220-…`, and the last one `220 …`.
    fn reply(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = self.line()?;
            let is_code = line.len() >= 3 && line.bytes().take(3).all(|byte| byte.is_ascii_digit());
            // FTP has lines without a code between the first and the last.
            let is_inside = !lines.is_empty();
            ensure!(is_code || is_inside, "unexpected answer {line:?}");
            if line.len() == 3 {
                line.push(' ');
            }
            let is_last = is_code && line.as_bytes()[3] == b' ';
            lines.push(if is_code { line } else { format!("    {line}") });
            if is_last {
                return Ok(lines);
            }
        }
    }
}

#[cfg(test)]
#[path = "starttls_tests.rs"]
mod tests;
