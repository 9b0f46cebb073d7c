//! Servers that mean harm: each gives a finding in time, and takes no memory.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use harness::{Sandbox, stub};

use crate::certcheck::{certcheck, said};

/// What certcheck may hold: 20 MiB, and one for the connection. Source: THREATS C2.
const MOST_KIB: u64 = 21 << 10;

/// Checks a server that does this with every connection; the report after `CRITICAL TARGET: `.
#[track_caller]
fn told(prefix: &str, answer: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static) -> String {
    let dir = Sandbox::new();
    let stub = stub::answering(answer);
    let target = format!("{prefix}127.0.0.1:{}", stub.port());
    let began = Instant::now();

    let ran = certcheck(&dir).args(["--timeout", "1s", &target]).run().stderr_is("").code(2);

    assert!(began.elapsed() < Duration::from_secs(3), "{ran:?}");
    assert!(ran.max_rss_kib.unwrap_or(0) < MOST_KIB, "{:?} KiB\n{ran:?}", ran.max_rss_kib);
    let text = said(&ran);
    let start = format!("CRITICAL {target}: ");
    assert!(text.starts_with(&start), "{ran:?}");
    text[start.len()..].to_owned()
}

fn hello(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read(&mut [0; 4096]).map(drop)
}

#[test]
fn silence() {
    assert_eq!(told("", |_| Ok(())), "no TLS handshake: no answer in time\n");
    assert_eq!(told("starttls:smtp:", |_| Ok(())), "no STARTTLS by smtp: no answer in time\n");
}

#[test]
fn one_byte_at_a_time() {
    let dribble = |stream: &mut TcpStream| {
        hello(stream)?;
        // The beginning of a record of 16 KiB.
        for byte in [22, 3, 3, 0x40, 0].into_iter().chain(std::iter::repeat(2)) {
            stream.write_all(&[byte])?;
            thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    };
    assert_eq!(told("", dribble), "no TLS handshake: no answer in time\n");
    let greeting = |stream: &mut TcpStream| {
        loop {
            stream.write_all(b"2")?;
            thread::sleep(Duration::from_millis(100));
        }
    };
    assert_eq!(told("starttls:smtp:", greeting), "no STARTTLS by smtp: no answer in time\n");
}

#[test]
fn an_endless_banner() {
    for (prefix, banner, expected) in [
        ("starttls:smtp:", &b"220-x\r\n"[..], "no STARTTLS by smtp: the server says more than 100 lines\n"),
        ("starttls:imap:", b"x", "no STARTTLS by imap: the server says more than 65536 bytes\n"),
        ("", b"hello ", "no TLS: the server answers "),
        ("starttls:pop3:", b"+OK {4294967295}", "no STARTTLS by pop3: the server says more than 65536 bytes\n"),
    ] {
        let said = told(prefix, move |stream| {
            loop {
                stream.write_all(&banner.repeat(1000))?;
            }
        });
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn reset_and_closed() {
    let reset = |stream: &mut TcpStream| {
        hello(stream)?;
        // A close with unread bytes, or after linger 0, is a reset.
        rustix::net::sockopt::set_socket_linger(&*stream, Some(Duration::ZERO))?;
        stream.shutdown(Shutdown::Both)
    };
    let said = told("", reset);
    assert!(said.starts_with("no TLS handshake: the server c"), "{said}");
    let closed = told("", |stream| stream.shutdown(Shutdown::Both));
    assert!(closed.starts_with("no TLS handshake: the server c"), "{closed}");
}

#[test]
fn clear_text() {
    let http = |stream: &mut TcpStream| {
        hello(stream)?;
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nServer: \x1b[31mred\r\n\r\n")?;
        stream.shutdown(Shutdown::Write)
    };
    let expected = "no TLS: the server answers \"HTTP/1.1 400 Bad Request\"\n  hint: is this the port of HTTPS?\n";
    assert_eq!(told("", http), expected);
    let smtp = told("", |stream| stream.write_all(b"220 mail.test \x1b]0;owned\x07ESMTP\r\n"));
    assert!(smtp.starts_with("no TLS: the server answers \"220 mail.test ") && !smtp.contains('\x1b'), "{smtp:?}");
    assert!(smtp.contains("hint: to ask for TLS there: starttls:PROTOCOL:HOST:PORT (smtp or ftp)"), "{smtp}");
}

#[test]
fn alerts() {
    for (alert, expected) in [(40, "HandshakeFailure"), (70, "ProtocolVersion"), (112, "UnrecognisedName"), (200, "")] {
        let said = told("", move |stream| {
            hello(stream)?;
            stream.write_all(&[21, 3, 3, 0, 2, 2, alert])?;
            stream.shutdown(Shutdown::Write)
        });
        assert!(said.starts_with("no TLS handshake: the server refuses it (") && said.contains(expected), "{said}");
    }
}

#[test]
fn answers_before_starttls_is_granted() {
    let eager = |stream: &mut TcpStream| {
        stream.write_all(b"220 a\r\n250-a\r\n250 STARTTLS\r\n220 go\r\n\x16\x03\x03")?;
        hello(stream)
    };
    let said = told("starttls:smtp:", eager);
    assert_eq!(said, "no STARTTLS by smtp: data before TLS: the server answers before it is asked\n");
    // CVE-2011-0411: what stands behind the go-ahead would be taken for an answer inside of TLS.
    let injected = |stream: &mut TcpStream| {
        stream.write_all(b"* OK ready\r\n")?;
        hello(stream)?;
        stream.write_all(b"a1 OK go\r\na2 OK forged\r\n")
    };
    let said = told("starttls:imap:", injected);
    assert_eq!(said, "data before TLS: the server sends more than its go-ahead in clear text\n");
    let injected = |stream: &mut TcpStream| {
        hello(stream)?;
        stream.write_all(b"SE")
    };
    let said = told("starttls:postgres:", injected);
    assert_eq!(said, "data before TLS: the server sends more than its go-ahead in clear text\n");
}

#[test]
fn a_handshake_of_ten_megabytes() {
    // A ServerHello that says it has 16 MiB, in full records.
    let huge = |stream: &mut TcpStream| {
        hello(stream)?;
        let record = [&[22, 3, 3, 0x40, 0][..], &[2, 0xff, 0xff, 0xff], &[0; 0x3ffc]].concat();
        for _ in 0..640 {
            stream.write_all(&record)?;
        }
        Ok(())
    };
    let said = told("", huge);
    assert!(said.starts_with("no TLS handshake: "), "{said}");
}

/// A ServerHello of TLS 1.2, and then this as its certificates.
fn legacy_with(certificates: Vec<u8>) -> impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + 'static {
    move |stream: &mut TcpStream| {
        hello(stream)?;
        let body = [&[3, 1][..], &[7; 32], &[0, 0, 0x2f, 0]].concat();
        let message = |kind: u8, body: &[u8]| {
            let length = u32::try_from(body.len()).unwrap().to_be_bytes();
            [&[kind][..], &length[1..], body].concat()
        };
        let messages = [message(2, &body), message(11, &certificates)].concat();
        for part in messages.chunks(16_000) {
            stream.write_all(&[22, 3, 1])?;
            stream.write_all(&u16::try_from(part.len()).unwrap().to_be_bytes())?;
            stream.write_all(part)?;
        }
        stream.shutdown(Shutdown::Write)
    }
}

#[test]
fn half_a_certificate() {
    let half = [0, 0, 9, 0, 0, 6, 0x30, 0x82, 1, 0, 0x30, 0x82];
    let said = told("", legacy_with(half.to_vec()));
    assert!(said.starts_with("certificate 1 is damaged: "), "{said}");
    let lying = told("", legacy_with(vec![0, 0, 9, 0xff, 0xff, 0xff, 0x30]));
    assert!(lying.starts_with("no TLS handshake: "), "{lying}");
    let rubbish = told("", legacy_with([&[0, 0xc3, 0x53, 0, 0xc3, 0x50][..], &[0x30; 50_000]].concat()));
    assert!(rubbish.starts_with("certificate 1 is damaged: "), "{rubbish}");
    let none = told("", legacy_with(vec![0, 0, 0]));
    assert!(none.starts_with("no TLS handshake: "), "{none}");
}

#[test]
fn lengths_that_lie() {
    for (prefix, bytes, expected) in [
        (
            "starttls:ldap:",
            &b"\x30\x84\xff\xff\xff\xff"[..],
            "no STARTTLS by ldap: the answer is longer than 65536 bytes\n",
        ),
        (
            "starttls:ldap:",
            b"\x30\x88\x7f\xff\xff\xff\xff\xff\xff\xff",
            "no STARTTLS by ldap: the answer is no LDAP message\n",
        ),
        ("starttls:mysql:", b"\xff\xff\xff\x00\x0a", "no STARTTLS by mysql: the greeting is longer than 65536 bytes\n"),
    ] {
        assert_eq!(told(prefix, move |stream| stream.write_all(bytes)), expected);
    }
}

#[test]
fn a_name_that_is_a_command_reaches_no_server() {
    let dir = Sandbox::new();
    let stub = stub::silent();
    for name in ["a\r\nRCPT TO:<x>", "-rf", "a b", "a'b"] {
        let connect = format!("127.0.0.1:{}", stub.port());

        let ran = certcheck(&dir)
            .args(["--timeout", "1s", "--connect", &connect, "--"])
            .arg(format!("starttls:smtp:{name}"))
            .run();

        ran.stdout_has("is no host name and no address").code(3);
    }
    assert_eq!(stub.connections(), 0);
}

#[test]
fn a_name_server_that_does_not_answer_costs_the_time_limit() {
    let dir = Sandbox::new();
    // Nobody has this address; where packets are refused at once, that is an answer, too.
    let resolv = "nameserver 127.0.0.2\noptions timeout:30 attempts:1\n";
    std::fs::write(dir.join("resolv.conf"), resolv).unwrap();
    let script = "mount --bind resolv.conf /etc/resolv.conf && exec \"$@\"";
    let socket = std::net::UdpSocket::bind("127.0.0.2:53").expect("the test answers for a name server, as root");
    let began = Instant::now();

    let unshare =
        dir.program("unshare").args(["--mount", "sh", "-c", script, "sh"]).arg(harness::tool_path("certcheck"));
    let ran = unshare.args(["--no-config", "--timeout", "1s", "a.nosuch.test"]).run().code(2);

    assert!(ran.stdout_text().contains("cannot look up a.nosuch.test: no answer in time"), "{ran:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{ran:?}");
    drop(socket);
}

#[test]
fn a_hundred_hostile_servers_take_as_long_as_one() {
    let dir = Sandbox::new();
    let stub = stub::silent();
    let list = format!("127.0.0.1:{}\n", stub.port()).repeat(100);
    let began = Instant::now();

    let ran = certcheck(&dir).args(["--timeout", "1s", "--concurrency", "100", "-"]).stdin_bytes(list).run().code(2);

    assert_eq!(ran.stdout_text().matches("no answer in time").count(), 100);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(ran.max_rss_kib.unwrap_or(0) < 32 << 10, "{:?} KiB", ran.max_rss_kib);
}
