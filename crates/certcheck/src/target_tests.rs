use super::*;
use proptest::prelude::*;

fn settings() -> Settings {
    Settings {
        warning: Limit::WARNING,
        critical: Limit::CRITICAL,
        host: None,
        connect: None,
        served_by: None,
        key: None,
        password_file: None,
        trust: None,
        timeout: Duration::from_secs(10),
    }
}

fn endpoint(text: &str) -> String {
    match Target::parse(text, settings()).unwrap().what {
        What::Path(path) => format!("path {}", path.display()),
        What::Endpoint(Endpoint { address: Address::Tcp(host, port), starttls }) => {
            format!("{starttls:?} {host} {port}")
        }
        What::Endpoint(Endpoint { address: Address::Unix(path), starttls }) => {
            format!("{starttls:?} {}", path.display())
        }
    }
}

#[test]
fn targets_are_what_they_look_like() {
    for (typed, is) in [
        ("example.test", "None example.test 443"),
        ("example.test:8443", "None example.test 8443"),
        ("192.0.2.1:443", "None 192.0.2.1 443"),
        ("::1", "None ::1 443"),
        ("[::1]:993", "None ::1 993"),
        ("starttls:smtp:mail.test:587", "Some(Smtp) mail.test 587"),
        ("starttls:imap:mail.test", "Some(Imap) mail.test 143"),
        ("starttls:postgres:unix:/run/s", "Some(Postgres) /run/s"),
        ("unix:/run/s", "None /run/s"),
        ("/etc/letsencrypt/live", "path /etc/letsencrypt/live"),
        ("a.pem", "path a.pem"),
        ("certs/*.crt", "path certs/*.crt"),
        ("file:localhost", "path localhost"),
    ] {
        assert_eq!(endpoint(typed), is, "{typed}");
    }
}

#[test]
fn what_is_no_target_is_refused() {
    for bad in ["", "a b", "-x", "a:0", "a:65536", "a:+1", "starttls:gopher:a", "starttls:smtp", "unix:", "a\r\nb"] {
        assert!(Target::parse(bad, settings()).is_err(), "{bad:?}");
    }
}

#[test]
fn an_option_of_a_line_changes_its_setting() {
    let mut it = settings();
    for (key, value) in [("warning", "5%"), ("trust", "no"), ("connect", "127.0.0.1:1"), ("timeout", "2s")] {
        it.set(key, value, Author::Pipe).unwrap();
    }

    assert_eq!(it.warning, Limit::parse("5%").unwrap());
    assert_eq!(it.trust, Some(Trust::No));
    assert_eq!(it.timeout, Duration::from_secs(2));
    for (key, value) in [("warnin", "1d"), ("trust", "maybe"), ("host", ""), ("timeout", "0s"), ("timeout", "2h")] {
        assert!(it.set(key, value, Author::Operator).is_err(), "{key}={value}");
    }
}

#[test]
fn a_pipe_cannot_make_us_read_a_secret() {
    for key in ["key", "password-file"] {
        assert!(settings().set(key, "/etc/shadow", Author::Pipe).is_err());
        settings().set(key, "/root/key.pem", Author::Operator).unwrap();
    }
}

#[test]
fn connect_keeps_the_port_of_the_target() {
    let address = Address::Tcp(Host::parse("a.test").unwrap(), 443);

    let same = Connect::parse("127.0.0.1").unwrap().instead_of(&address).unwrap();
    let other = Connect::parse("[::1]:8443").unwrap().instead_of(&address).unwrap();

    assert_eq!(same, Address::Tcp(Host::parse("127.0.0.1").unwrap(), 443));
    assert_eq!(other, Address::Tcp(Host::parse("::1").unwrap(), 8443));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,60}", key in "[a-z-]{1,13}") {
        drop(Target::parse(&text, settings()));
        drop(settings().set(&key, &text, Author::Pipe));
    }
}
