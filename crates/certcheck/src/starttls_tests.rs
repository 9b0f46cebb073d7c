use super::*;
use crate::target::Address;
use proptest::prelude::*;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

/// What comes of it when a server says this, whatever it is asked, and how much it was told.
fn told(protocol: Protocol, parts: Vec<Vec<u8>>) -> Result<(), String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        for (number, part) in parts.iter().enumerate() {
            // Every part but the first is an answer.
            if number > 0 && socket.read(&mut [0; 1024]).unwrap_or(0) == 0 {
                return;
            }
            if socket.write_all(part).is_err() {
                return;
            }
        }
        drop(socket.read(&mut [0; 1024]));
    });
    let mut wire = dial::dial(&Address::Unix(path), Instant::now() + Duration::from_millis(500)).unwrap();
    let asked = ask(protocol, &mut wire).map_err(|error| format!("{error:#}"));
    drop(wire);
    server.join().unwrap();
    asked
}

fn parts(parts: &[&[u8]]) -> Vec<Vec<u8>> {
    parts.iter().map(|part| part.to_vec()).collect()
}

const MYSQL: &[u8] = b"\x17\0\0\0\x0a8.0\0\x01\0\0\0abcdefgh\0\0\x08\x21\0\0";
const LDAP: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0";

/// Each protocol with a server that gives the go-ahead.
fn go_aheads() -> Vec<(Protocol, Vec<Vec<u8>>)> {
    vec![
        (Protocol::Smtp, parts(&[b"220-a\r\n220 b\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n"])),
        (Protocol::Imap, parts(&[b"* OK ready\r\n", b"* CAPABILITY x\r\na1 OK go\r\n"])),
        (Protocol::Pop3, parts(&[b"+OK ready\r\n", b"+OK go\r\n"])),
        (Protocol::Ftp, parts(&[b"220-a\r\n b\r\n220 c\r\n", b"234 go\r\n"])),
        (Protocol::Ldap, parts(&[b"", LDAP])),
        (Protocol::Postgres, parts(&[b"", b"S"])),
        (Protocol::Mysql, parts(&[MYSQL])),
    ]
}

#[test]
fn every_protocol_gets_its_go_ahead() {
    for (protocol, parts) in go_aheads() {
        assert_eq!(told(protocol, parts), Ok(()), "{protocol:?}");
    }
}

#[test]
fn a_tail_behind_the_go_ahead_is_refused() {
    for (protocol, mut parts) in go_aheads() {
        parts.last_mut().unwrap().extend(b"a2 OK forged\r\n");

        let error = told(protocol, parts).unwrap_err();

        assert!(error.contains("data before TLS"), "{protocol:?}: {error}");
    }
}

#[test]
fn an_answer_before_the_question_is_refused() {
    let said = parts(&[b"220 hello\r\n250 STARTTLS\r\n220 go\r\n"]);

    assert!(told(Protocol::Smtp, said).unwrap_err().contains("data before TLS"));
}

#[test]
fn a_server_that_does_not_offer_it_says_so() {
    for (protocol, said, expected) in [
        (Protocol::Smtp, parts(&[b"220 a\r\n", b"250 SIZE\r\n"]), "no STARTTLS by smtp: the server does not offer it"),
        (Protocol::Smtp, parts(&[b"554 no\r\n"]), "no STARTTLS by smtp: the server answers \"554 no\""),
        (
            Protocol::Imap,
            parts(&[b"* OK x\r\n", b"a1 BAD no\r\n"]),
            "no STARTTLS by imap: the server refuses: \"a1 BAD no\"",
        ),
        (Protocol::Postgres, parts(&[b"", b"N"]), "no STARTTLS by postgres: the server does not offer it (ssl = off)"),
        (
            Protocol::Mysql,
            parts(&[b"\x17\0\0\0\x0a8.0\0\x01\0\0\0abcdefgh\0\0\x00\x21\0\0"]),
            "no STARTTLS by mysql: the server does not offer it",
        ),
        (
            Protocol::Ldap,
            parts(&[b"", b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x35\x04\0\x04\0"]),
            "no STARTTLS by ldap: the server refuses: LDAP result 53",
        ),
    ] {
        assert_eq!(told(protocol, said).unwrap_err(), expected);
    }
}

#[test]
fn no_length_from_outside_takes_memory() {
    for (protocol, said) in [
        (Protocol::Ldap, parts(&[b"", b"\x30\x84\xff\xff\xff\xff"])),
        (Protocol::Ldap, parts(&[b"", b"\x30\x88\x7f\xff\xff\xff\xff\xff\xff\xff"])),
        (Protocol::Mysql, parts(&[b"\xff\xff\xff\0"])),
        (Protocol::Imap, parts(&[b"* OK {4294967295}\r\n", b"* {4294967295}\r\nx\r\na1 NO\r\n"])),
        (Protocol::Smtp, vec![b"220-x\r\n".repeat(200)]),
        (Protocol::Pop3, vec![vec![b'x'; 70_000]]),
    ] {
        assert!(told(protocol, said).is_err(), "{protocol:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn no_answer_makes_it_panic(protocol in 0..7_usize, bytes in proptest::collection::vec(any::<u8>(), 0..60), cut in 0..20_usize) {
        let (protocol, mut parts) = go_aheads().swap_remove(protocol);
        let last = parts.last_mut().unwrap();
        last.truncate(cut);
        last.extend(bytes);
        drop(told(protocol, parts));
    }
}
