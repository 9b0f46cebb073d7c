use super::*;
use crate::kind::Shared;
use common::units::Stamp;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;

fn parse(line: &str) -> Result<Probe, Vec<String>> {
    let mut words = common::words::list(line).unwrap();
    let address = words.remove(0);
    let mut options = Options::new(words, Origin::Operator);
    let probe = Probe::parse(&address, &mut options, Origin::Operator).map_err(|error| vec![format!("{error:#}")])?;
    let mistakes: Vec<_> = options.finish().iter().map(|error| format!("{error:#}")).collect();
    if mistakes.is_empty() { Ok(probe) } else { Err(mistakes) }
}

/// A server that gives each connection one answer; PORT in the line is its port.
fn look(answer: &str, line: &str) -> Found {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let answer = answer.to_owned();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            drop(stream.read(&mut request));
            drop(stream.write_all(answer.as_bytes()));
        }
    });
    let deadline = Instant::now() + Duration::from_secs(10);
    let context = Context {
        deadline,
        now: Stamp::MIN,
        is_again: false,
        shared: Arc::new(Shared::default()),
        group: String::new(),
    };
    parse(&line.replace("PORT", &port)).unwrap().look(&context)
}

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 27\r\nX-Frame-Options: DENY\r\nSet-Cookie: s=SECRET; HttpOnly\r\n\r\n\
                    {\"status\":\"ok\",\"queue\":[1,2]}";

#[test]
fn expectations_are_met_or_said() {
    let good = GOOD.replace("27", "29");
    for (line, fault) in [
        ("", ""),
        (
            "status=200 body=ok body!=error body~'\"q.*2' header:x-frame-options=DENY json:/status=ok json:/queue/1>1",
            "",
        ),
        ("cookie:s~HttpOnly no-header=server", ""),
        ("status=201", "status 200, not 201"),
        ("body=missing", "the body does not hold \"missing\""),
        ("body!~ok", "something in the body matches \"ok\""),
        ("header:content-security-policy", "header content-security-policy is missing"),
        ("header:x-frame-options=SAMEORIGIN", "header x-frame-options is \"DENY\", not \"SAMEORIGIN\""),
        ("no-header=x-frame-options", "header x-frame-options is there"),
        ("cookie:s~Secure", "cookie s is, not like \"Secure\""),
        ("cookie:t", "cookie t is missing"),
        ("json:/status=bad", "json /status is \"ok\", not \"bad\""),
        ("json:/queue/0>5", "json /queue/0 is \"1\", not > 5"),
        ("json:/none", "json /none is missing"),
        ("redirect=/x", "status 200, not 300-399; redirect is missing"),
    ] {
        let found = look(&good, &format!("http://127.0.0.1:PORT/ {line}"));

        let said = found.message.rsplit_once("; ").map_or("", |(fault, _)| fault);
        assert_eq!(said, fault, "{line}: {found:?}");
        assert_eq!(found.verdict() == Status::Ok, fault.is_empty(), "{line}");
        assert!(!format!("{found:?}").contains("SECRET"), "{found:?}");
    }
}

#[test]
fn a_redirect_is_looked_at_and_not_followed() {
    let answer = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: http://169.254.169.254/x\r\n\r\n";

    assert_eq!(look(answer, "http://127.0.0.1:PORT/ redirect~169").verdict(), Status::Ok);
    let followed = look(answer, "http://127.0.0.1:PORT/ follow=3");
    assert_eq!(followed.verdict(), Status::Critical);
    assert!(followed.message.contains("another server and is not followed"), "{followed:?}");
}

#[test]
fn the_last_of_many_answers_may_be_another() {
    let found = look("HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n", "http://127.0.0.1:PORT/ repeat=3 last=429");

    assert!(found.message.starts_with("answer 1 of 3: status 429, not 200-399"), "{found:?}");
}

#[test]
fn what_is_no_http_is_critical() {
    for answer in ["SSH-2.0-OpenSSH_9.2\r\n", "", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort"] {
        assert_eq!(look(answer, "http://127.0.0.1:PORT/").verdict(), Status::Critical, "{answer:?}");
    }
}

#[test]
fn mistakes_of_a_line_are_told() {
    for (line, said) in [
        ("http://u:p@h/", "a URL holds no user and password here"),
        ("ftp://h/", "a URL is http://HOST/… or https://HOST/…"),
        ("http://h/ last=429", "last= needs repeat="),
        ("http://h/ json:status=ok", "json:status: write json:/POINTER"),
        ("http://h/ body~(", "body: \"(\" is no pattern"),
        ("http://h/ status=2xx", "status=: \"2xx\" is no status"),
        ("http://h/ secret=p:/x", "a secret is sent by http:// only to this machine"),
        ("http://h/ method=GET data=x", "GET sends no data"),
        ("http://h/ save=csrf", "save=csrf: write NAME:body:REGEX"),
        ("http://h/ send-header=x", "send-header= is NAME: VALUE"),
    ] {
        let mistakes = parse(line).unwrap_err();

        assert!(mistakes.iter().any(|mistake| mistake.starts_with(said)), "{line}: {mistakes:?}");
    }
}

#[test]
fn a_subject_shows_no_query() {
    assert_eq!(parse("https://h:8443/a?token=x").unwrap().subject(), "https://h:8443/a");
    assert_eq!(parse("https://h data=x").unwrap().subject(), "POST https://h/");
}

#[test]
fn values_are_filled_in_once_and_encoded_for_their_place() {
    let probe = parse(r#"https://h/{a}?x={b} data='t={a}&j={"k":1}' send-header='X: {a}{c}'"#).unwrap();
    let mut session = Session::default();
    assert_eq!(probe.takes().collect::<Vec<_>>(), ["a", "b", "a", "c", "a"]);
    session.keep("a", "1 &{b}".into());
    session.keep("b", "β".into());
    session.keep("c", "c".into());

    let filled = probe.request.filled(&session).unwrap();

    assert_eq!(filled.url.path, "/1%20%26%7Bb%7D?x=%CE%B2");
    assert_eq!(filled.body.unwrap(), b"t=1%20%26%7Bb%7D&j={\"k\":1}");
    assert_eq!(filled.headers[0], ("X".to_owned(), "1 &{b}c".to_owned()));
}
